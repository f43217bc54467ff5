//! A tar that had to go from the cache: unpacked from the blob of its layer.

use std::io::{self, Write};
use std::sync::Arc;

use layer::{BlobDigest, DiffId, Spool, SpoolOptions};

use super::Tar;
use crate::error::blocking;
use crate::mirror::productions::{Product, Progress, Receiver, Sender};
use crate::mirror::shared::Shared;
use crate::mirror::upstreams::Upstream;
use crate::oci::check_diff_id;
use crate::scratch::ScratchDir;
use crate::{Error, Result};

/// Begins to unpack a tar, or joins who does.
pub(crate) fn unpack(shared: &Arc<Shared>, upstream: &Arc<Upstream>, tar: &Tar) -> Receiver {
    let repository = Some(upstream.client.name());
    let product = Product { digest: BlobDigest(tar.digest), repository, size: tar.size };
    shared.productions.join(product.clone(), None, |sender| {
        let (upstream, tar) = (Arc::clone(upstream), tar.clone());
        let unpacking = Unpacking { shared: Arc::clone(shared), product };
        shared.spawn(async move {
            if let Err(error) = run(&unpacking.shared, &upstream, &tar, &sender).await {
                tracing::warn!(tar = %tar.digest, "it cannot be unpacked: {}", error.one_line());
                sender.send_replace(Progress::Failed(Arc::new(error)));
            }
        });
    })
}

/// A tar that is being unpacked, until this is dropped, also when its task is cancelled.
struct Unpacking {
    shared: Arc<Shared>,
    product: Product,
}

impl Drop for Unpacking {
    fn drop(&mut self) {
        self.shared.productions.end(&self.product);
    }
}

async fn run(shared: &Shared, upstream: &Upstream, tar: &Tar, sender: &Sender) -> Result<()> {
    let _permit = shared.rebuilds.acquire().await;
    let (reserving, size) = (Arc::clone(&shared.cache), tar.size);
    let room = blocking(move || reserving.reserve(size)).await?;
    let parent = shared.scratch_dir().await?;
    let scratch = blocking(move || ScratchDir::new_in(&parent)).await?;
    let (path, dir) = (scratch.path().join("blob"), scratch.path().to_owned());
    upstream.client.get_blob(&tar.blob, &path, &|_| ()).await?;
    let (cache, tar) = (Arc::clone(&shared.cache), tar.clone());
    let (size, digest) = (tar.size, tar.digest);
    let file = blocking({
        let cache = Arc::clone(&cache);
        move || {
            let spool = Spool::open_blob(&path, &SpoolOptions::default().temp_dir(dir).max_size(size))?;
            check_diff_id(spool.diff_id()?, DiffId(digest))?;
            let mut file = cache.temporary()?;
            io::copy(&mut spool.reader(0..spool.size()), file.as_file_mut())
                .map_err(Error::io("write", file.path()))?;
            file.as_file_mut().flush().map_err(Error::io("write", file.path()))?;
            drop(scratch);
            Ok(file)
        }
    })
    .await?;
    let reading = file.reopen().map_err(Error::io("open", file.path()))?;
    sender.send_replace(Progress::Growing { file: Arc::new(reading), available: size });
    // Who waits for it has it already.
    let kept = blocking(move || {
        let _room = room;
        cache.keep(digest, size, file)
    });
    if let Err(error) = kept.await {
        tracing::warn!(tar = %digest, "not kept in the cache: {}", error.one_line());
    }
    Ok(())
}
