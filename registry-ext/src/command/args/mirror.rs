//! The arguments of `registry-ext mirror`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::ValueEnum;
use registry_ext::store::StoreRef;

const AFTER_HELP: &str = "\
Clients are pointed to it as to any mirror. With podman, buildah, skopeo and cri-o, in registries.conf:
  [[registry]]
  location = \"registry.example\"
  [[registry.mirror]]
  location = \"127.0.0.1:5050/registry.example\"
  insecure = true
With containerd, in certs.d/registry.example/hosts.toml:
  [host.\"http://127.0.0.1:5050\"]
  capabilities = [\"pull\", \"resolve\"]
With docker, for images of its default registry alone, in daemon.json, with --upstream docker.io:
  { \"registry-mirrors\": [\"http://127.0.0.1:5050\"] }

Examples:
  registry-ext mirror --source containers-storage:
  registry-ext mirror --listen 127.0.0.1:5050 --upstream docker.io --cache /var/cache/mirror --cache-size 20480";

/// What a mirror saves first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum PreferArg {
    /// Time
    #[default]
    Time,
    /// Bytes, whatever they cost to make
    Size,
}

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct MirrorArgs {
    /// The address to listen on; a socket from systemd takes its place
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:5050")]
    pub(crate) listen: SocketAddr,
    /// A registry that clients may ask for, as HOST[:PORT]; may be given several times. The first is meant where a
    /// request names none [default: any that a request names]
    #[arg(long, value_name = "HOST")]
    pub(crate) upstream: Vec<String>,
    /// A store that has old images; may be given several times. The cache is always one
    #[arg(long, value_name = "STORE")]
    pub(crate) source: Vec<StoreRef>,
    /// The directory of the cache [default: $CACHE_DIRECTORY, or registry-ext/mirror where the user's caches are]
    #[arg(long, value_name = "DIR")]
    pub(crate) cache: Option<PathBuf>,
    /// Most MiB of the blobs in the cache
    #[arg(long, value_name = "MIB", default_value = "10240", value_parser = clap::value_parser!(u64).range(1..=1 << 40))]
    pub(crate) cache_size: u64,
    /// What to save first: with time, a layer that its registry sends sooner than it is made of its delta is fetched
    #[arg(long, value_enum, default_value_t, value_name = "WHAT")]
    pub(crate) prefer: PreferArg,
    /// The rate at which registries send, in Mbit/s [default: as measured, over an unknown line every delta is used]
    #[arg(long, value_name = "MBIT", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub(crate) line: Option<u64>,
    /// The certificate to show, with those between it and the CA (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// Its private key (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Listen on an address that other hosts reach, without TLS. They read all that the credentials of the mirror open
    #[arg(long)]
    pub(crate) allow_remote: bool,
}
