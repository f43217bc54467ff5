//! The connections of clients: their number, and those whose clients do not read.
//!
//! Bytes that a client does not take stay in memory, and its connection is one of a bounded number. So a client that
//! takes none for minutes loses its connection; where connections are short, it does after seconds.

use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep_until};

/// Most connections at one time. Others wait until one ends.
const MAX_CONNECTIONS: usize = 2048;
/// Most connections of one other host at one time. All users of this host have the same address.
const MAX_OF_HOST: usize = 256;
/// The time for which a client need not read: a slow disk may hold it up.
const PATIENCE: Duration = Duration::from_secs(300);
/// The same while connections are short.
const SHORT_PATIENCE: Duration = Duration::from_secs(15);
/// Connections are short while fewer than this are free.
const SHORT: usize = MAX_CONNECTIONS / 2;
/// The time between two looks at a client that does not read.
const LOOK: Duration = Duration::from_secs(1);

/// The connections that may be open at one time.
#[derive(Debug, Clone)]
pub(super) struct Connections {
    free: Arc<Semaphore>,
    of_hosts: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// A connection that is one of those that may be open, until this is dropped.
#[derive(Debug)]
pub(super) struct Admitted {
    _permit: OwnedSemaphorePermit,
    host: IpAddr,
    connections: Connections,
}

impl Default for Connections {
    fn default() -> Self {
        Self { free: Arc::new(Semaphore::new(MAX_CONNECTIONS)), of_hosts: Arc::default() }
    }
}

impl Connections {
    fn of_hosts(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.of_hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until another connection may be open.
    pub(super) async fn wait(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.free).acquire_owned().await.ok()
    }

    /// Admits a connection of a host, unless that has too many.
    pub(super) fn admit(&self, permit: OwnedSemaphorePermit, host: IpAddr) -> Option<Admitted> {
        let host = host.to_canonical();
        let mut of_hosts = self.of_hosts();
        let count = of_hosts.entry(host).or_default();
        if *count >= MAX_OF_HOST && !host.is_loopback() {
            return None;
        }
        *count += 1;
        Some(Admitted { _permit: permit, host, connections: self.clone() })
    }

    /// The time for which a client need not read.
    fn patience(&self) -> Duration {
        if self.free.available_permits() < SHORT { SHORT_PATIENCE } else { PATIENCE }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut of_hosts = self.connections.of_hosts();
        if let Some(count) = of_hosts.get_mut(&self.host) {
            *count -= 1;
            if *count == 0 {
                of_hosts.remove(&self.host);
            }
        }
    }
}

/// A stream that breaks when its client does not read for too long.
#[derive(Debug)]
pub(super) struct Watched<S> {
    stream: S,
    connections: Connections,
    /// The time since which the client takes nothing, and the next look at it.
    stalled: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl<S: Unpin> Watched<S> {
    pub(super) const fn new(stream: S, connections: Connections) -> Self {
        Self { stream, connections, stalled: None }
    }

    fn stream(&mut self) -> Pin<&mut S> {
        Pin::new(&mut self.stream)
    }

    /// Passes an answer of the stream on, unless that has let wait for too long.
    fn watch<T>(&mut self, context: &mut Context<'_>, answer: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if answer.is_ready() {
            self.stalled = None;
            return answer;
        }
        let (since, look) = self.stalled.get_or_insert_with(|| {
            let now = Instant::now();
            (now, Box::pin(sleep_until(now + LOOK)))
        });
        loop {
            ready!(look.as_mut().poll(context));
            if since.elapsed() >= self.connections.patience() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            look.as_mut().reset(Instant::now() + LOOK);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.stream().poll_read(context, bytes)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let answer = self.stream().poll_write(context, bytes);
        self.watch(context, answer)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let answer = self.stream().poll_write_vectored(context, parts);
        self.watch(context, answer)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let answer = self.stream().poll_flush(context);
        self.watch(context, answer)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let answer = self.stream().poll_shutdown(context);
        self.watch(context, answer)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    /// Writes more than the other end takes. Returns the time until the connection broke.
    async fn time_until_it_breaks(connections: &Connections) -> Duration {
        let (stream, other) = duplex(1000);
        let mut watched = Watched::new(stream, connections.clone());
        let began = Instant::now();
        let error = watched.write_all(&[0; 2000]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(other);
        began.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn clients_that_do_not_read_lose_their_connections() {
        let connections = Connections::default();
        let nearly = |time: Duration, wanted: Duration| time >= wanted && time < wanted + 2 * LOOK;
        assert!(nearly(time_until_it_breaks(&connections).await, PATIENCE));
        let many = u32::try_from(MAX_CONNECTIONS - SHORT + 1).unwrap();
        let permits = connections.free.try_acquire_many(many).unwrap();
        assert!(nearly(time_until_it_breaks(&connections).await, SHORT_PATIENCE));
        drop(permits);
    }

    #[tokio::test(start_paused = true)]
    async fn slow_clients_keep_theirs() {
        let (stream, mut other) = duplex(10);
        let mut watched = Watched::new(stream, Connections::default());
        let reader = tokio::spawn(async move {
            let mut bytes = [0; 10];
            for _ in 0..10 {
                tokio::time::sleep(PATIENCE - LOOK).await;
                other.read_exact(&mut bytes).await.unwrap();
            }
        });
        watched.write_all(&[0; 100]).await.unwrap();
        reader.await.unwrap();
    }

    #[tokio::test]
    async fn another_host_cannot_take_all_connections() {
        let connections = Connections::default();
        let admit = async |host: &str| {
            let permit = connections.wait().await.unwrap();
            connections.admit(permit, host.parse().unwrap())
        };
        let mut all = Vec::new();
        for _ in 0..MAX_OF_HOST {
            all.push(admit("192.0.2.1").await.unwrap());
        }
        assert!(admit("192.0.2.1").await.is_none() && admit("::ffff:192.0.2.1").await.is_none());
        assert!(admit("192.0.2.2").await.is_some());
        for _ in 0..=MAX_OF_HOST {
            all.push(admit("127.0.0.1").await.unwrap());
        }
        drop(all);
        assert!(admit("192.0.2.1").await.is_some());
        assert_eq!(connections.free.available_permits(), MAX_CONNECTIONS);
        assert!(connections.of_hosts().is_empty());
    }
}
