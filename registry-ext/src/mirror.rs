//! A read-only registry in front of others, for clients that know no deltas.
//!
//! A client that asks it for a layer gets the blob of that layer, bit for bit as its registry has it. Where a delta is
//! published whose old image is on this host, the mirror fetches that delta, rebuilds the layer of it and compresses
//! it again by its recipe; in all other cases, and whenever anything goes wrong, it passes on the registry's bytes.
//!
//! | step | module |
//! |---|---|
//! | the registry, repository and object of a request | `route` |
//! | who may read what | `htpasswd`, `login` |
//! | what is known of a repository | `upstreams` |
//! | how each layer of an image is had | `decision`, `decide`, `cost` |
//! | one task makes each blob, for however many clients | `productions`, `produce`, `proven` |
//! | the bytes of an answer, whatever fails | `reader` |
//! | connections, and the answer to each request | `server`, `tls`, `dispatch`, `objects`, `answer` |
//! | manifests in which layers are tars | `rewrite` |
//! | tags that are fetched before anybody asks | `prefetch`, `window` |
//! | the blobs that are kept | `cache` |
//! | what was saved, and what was pulled | `metrics`, `pulls`, `history`, `page` |
//!
//! ```no_run
//! use registry_ext::mirror::{Mirror, MirrorOptions};
//! # async fn example() -> registry_ext::Result<()> {
//! let mut options = MirrorOptions::new("/var/cache/registry-ext");
//! options.sources.push("containers-storage:".parse()?);
//! let mirror = Mirror::open(options)?;
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:5050").await.expect("the port is free");
//! mirror.serve(listener, std::future::pending()).await;
//! # Ok(())
//! # }
//! ```

mod answer;
mod cache;
mod connections;
mod decide;
mod decision;
mod dispatch;
mod history;
mod htpasswd;
mod login;
mod metrics;
mod objects;
mod options;
mod page;
mod prefetch;
mod produce;
mod productions;
mod proven;
mod pulls;
mod reader;
mod rewrite;
mod route;
mod server;
mod shared;
mod tls;
mod upstreams;
mod window;

use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::Result;
use shared::Shared;

pub use options::{MirrorOptions, Readers, TlsFiles};
pub use prefetch::PrefetchOptions;
pub use window::Window;

/// A mirror that is ready to serve.
#[derive(Debug)]
pub struct Mirror {
    shared: Arc<Shared>,
    tls: Option<Arc<ServerConfig>>,
    header_timeout: Duration,
}

impl Mirror {
    /// Opens the cache, and looks for what an earlier mirror has left there. Blocks.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io); [`Error::Malformed`](crate::Error::Malformed) if another mirror uses
    /// the cache, or the certificate or its key is broken.
    pub fn open(options: MirrorOptions) -> Result<Self> {
        let tls = options.tls.as_ref().map(tls::config).transpose()?;
        let header_timeout = options.header_timeout;
        Ok(Self { shared: Arc::new(Shared::open(options)?), tls, header_timeout })
    }

    /// Answers requests until `end` completes. What is being sent then is sent to its end.
    pub async fn serve(self, listener: TcpListener, end: impl Future<Output = ()>) {
        let tls = self.tls.map(TlsAcceptor::from);
        let mut prefetching = JoinSet::new();
        prefetching.spawn(prefetch::follow(Arc::clone(&self.shared)));
        let end = async move {
            end.await;
            prefetching.shutdown().await;
        };
        server::serve(self.shared, listener, tls, self.header_timeout, end).await;
    }
}
