//! Accepts connections and answers their requests.
//!
//! Clients are not trusted: headers are bounded and must come soon, a connection that says nothing is closed, so is one
//! whose client does not read, and there are only so many connections at one time.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::connections::{Connections, Watched};
use super::dispatch::answer;
use super::shared::Shared;

/// The longest time until a connection is encrypted.
const TLS_TIMEOUT: Duration = Duration::from_secs(10);
/// Most bytes of the headers of a request.
const MAX_HEADER_SIZE: usize = 64 << 10;
/// The pause after a connection could not be accepted, which mostly means that no file can be opened.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The longest time for which running answers go on after the end was asked for.
const GRACE: Duration = Duration::from_secs(600);

/// Answers requests until `end`, and then ends those that are running. Speaks TLS if there is a `tls`.
pub(super) async fn serve(
    shared: Arc<Shared>,
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    header_timeout: Duration,
    end: impl Future<Output = ()>,
) {
    let (connections, graceful) = (Connections::default(), GracefulShutdown::new());
    let is_local = listener.local_addr().is_ok_and(|address| address.ip().is_loopback());
    let mut end = pin!(end);
    loop {
        let accept = async {
            let permit = connections.wait().await;
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            accepted = accept => accepted,
            () = &mut end => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(failure) => {
                tracing::warn!("cannot accept a connection: {failure}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Answers are written in large pieces, and waiting for more helps nobody.
        let _ = stream.set_nodelay(true);
        let Some(admitted) = permit.and_then(|permit| connections.admit(permit, peer.ip())) else {
            tracing::debug!(%peer, "refused: this host has too many connections");
            continue;
        };
        let (tls, watcher) = (tls.clone(), graceful.watcher());
        let (shared, stream) = (Arc::clone(&shared), Watched::new(stream, connections.clone()));
        let connection = Connection { shared, peer, is_local, header_timeout, watcher };
        tokio::spawn(async move {
            connection.greet(stream, tls).await;
            drop(admitted);
        });
    }
    drop(listener);
    let _ = timeout(GRACE, graceful.shutdown()).await;
    shared.end().await;
}

/// A connection of a client.
struct Connection {
    shared: Arc<Shared>,
    peer: SocketAddr,
    /// True if it listens for this host alone.
    is_local: bool,
    header_timeout: Duration,
    watcher: Watcher,
}

impl Connection {
    /// Encrypts the connection, if that is wanted, and serves it.
    async fn greet(self, stream: Watched<TcpStream>, tls: Option<TlsAcceptor>) {
        let peer = self.peer;
        match tls {
            None => self.serve(stream).await,
            Some(tls) => match timeout(TLS_TIMEOUT, tls.accept(stream)).await {
                Ok(Ok(stream)) => self.serve(stream).await,
                Ok(Err(failure)) => tracing::debug!(%peer, "no TLS: {failure}"),
                Err(_) => tracing::debug!(%peer, "no TLS within {} s", TLS_TIMEOUT.as_secs()),
            },
        }
    }

    async fn serve<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(self, stream: S) {
        let Self { shared, peer, is_local, header_timeout, watcher } = self;
        let service = service_fn(move |request| {
            let shared = Arc::clone(&shared);
            async move { Ok::<_, Infallible>(answer(&shared, (peer, is_local), request).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(header_timeout)
            .max_buf_size(MAX_HEADER_SIZE)
            .serve_connection(TokioIo::new(stream), service);
        // Clients break off as they like.
        let _ = watcher.watch(connection).await;
    }
}
