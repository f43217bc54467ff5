//! The arguments of `registry-ext mirror`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};
use registry_ext::mirror::Window;
use registry_ext::reference::ImageRef;
use registry_ext::store::StoreRef;

use super::line::LineArgs;
use crate::command::mirror::{MirrorAddress, RegistryHost};

const AFTER_HELP: &str = "\
Clients are pointed to it as to any mirror; `registry-ext mirror configure` writes that for podman, cri-o, containerd
and docker.

Examples:
  registry-ext mirror --source containers-storage:
  registry-ext mirror --listen 127.0.0.1:5050 --upstream docker.io --cache /var/cache/mirror --cache-size 20480
  registry-ext mirror --upstream registry.example --pass-through
  registry-ext mirror --prefetch registry.example/app:stable --prefetch-window 02:00-05:00 --rate 20
  registry-ext mirror configure podman --registry registry.example";

const AFTER_CONFIGURE_HELP: &str = "\
Without --write and --remove, the files are shown and nothing is written. --write keeps a copy of a file that was there,
and may be run again. --remove brings that copy back if the file has not been changed since, or takes out the mirror
alone.

Examples:
  registry-ext mirror configure podman --registry registry.example
  registry-ext mirror configure containerd --write
  registry-ext mirror configure docker --write --root /mnt/image
  registry-ext mirror configure podman --remove";

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP, args_conflicts_with_subcommands = true)]
pub(crate) struct MirrorArgs {
    #[command(subcommand)]
    pub(crate) command: Option<MirrorCommand>,
    /// The address to listen on; a socket from systemd takes its place
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:5050", value_parser = listen_address)]
    pub(crate) listen: SocketAddr,
    /// A registry that clients may ask for, as HOST[:PORT]; may be given several times. The first is meant where a
    /// request names none [default: any that a request names]
    #[arg(long, value_name = "HOST")]
    pub(crate) upstream: Vec<RegistryHost>,
    /// A store that has old images; may be given several times. The cache is always one
    #[arg(long, value_name = "STORE")]
    pub(crate) source: Vec<StoreRef>,
    /// The directory of the cache [default: $CACHE_DIRECTORY, or registry-ext/mirror where the user's caches are]
    #[arg(long, value_name = "DIR")]
    pub(crate) cache: Option<PathBuf>,
    /// Most MiB of the blobs in the cache
    #[arg(long, value_name = "MIB", default_value = "10240", value_parser = clap::value_parser!(u64).range(1..=1 << 40))]
    pub(crate) cache_size: u64,
    #[command(flatten)]
    pub(crate) line: LineArgs,
    /// Give clients that ask for a tag another manifest where a layer has a delta and no recipe: it names that layer
    /// uncompressed. Its digest is not the registry's, so signatures of the image do not hold
    #[arg(long)]
    pub(crate) rewrite: bool,
    #[command(flatten)]
    pub(crate) prefetch: PrefetchArgs,
    /// Ask clients for a name and a password that this file has, as `htpasswd -B` writes it. It is read again when it
    /// changes
    #[arg(long, value_name = "FILE", conflicts_with = "pass_through")]
    pub(crate) htpasswd: Option<PathBuf>,
    /// Ask clients for their own credentials as the registry does, and pass them on to it: each reads what the registry
    /// lets it read. Those of the mirror are not used for clients
    #[arg(long)]
    pub(crate) pass_through: bool,
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

/// Reads the address to listen on. Names other than that of this host are looked up by nobody.
fn listen_address(text: &str) -> Result<SocketAddr, String> {
    let numbers =
        text.strip_prefix("localhost:").map_or_else(|| text.to_owned(), |port| format!("127.0.0.1:{port}"));
    numbers.parse().map_err(|_| "this is no ADDRESS:PORT, such as 127.0.0.1:5050 or [::1]:5050".into())
}

/// The images that a mirror fetches before anybody asks.
#[derive(Debug, clap::Args)]
#[group(skip)]
#[command(group = clap::ArgGroup::new("followed").multiple(true))]
pub(crate) struct PrefetchArgs {
    /// A tag that is followed: what it leads to is in the cache before anybody asks; may be given several times
    #[arg(long, value_name = "REF", group = "followed")]
    pub(crate) prefetch: Vec<ImageRef>,
    /// A file with such tags, one a line
    #[arg(long, value_name = "FILE", group = "followed")]
    pub(crate) prefetch_file: Option<PathBuf>,
    /// The minutes after which the tags are looked at again
    #[arg(long, value_name = "MINUTES", default_value = "15", value_parser = clap::value_parser!(u64).range(1..=10_080))]
    pub(crate) prefetch_every: u64,
    /// A time of the day, of this host, at which prefetching may begin something, as in 22:00-05:30; may be given
    /// several times [default: any time]
    #[arg(long, value_name = "FROM-TO", requires = "followed")]
    pub(crate) prefetch_window: Vec<Window>,
    /// Most Mbit/s that prefetching takes. What a client waits for is not limited [default: no limit]
    #[arg(long, value_name = "MBIT", requires = "followed", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub(crate) rate: Option<u64>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum MirrorCommand {
    /// Show or write the configuration by which a client pulls through a mirror
    Configure(ConfigureArgs),
}

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_CONFIGURE_HELP)]
pub(crate) struct ConfigureArgs {
    /// The client
    #[arg(value_enum, value_name = "CLIENT")]
    pub(crate) client: ClientArg,
    /// The address of the mirror, as HOST:PORT or https://HOST:PORT
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:5050")]
    pub(crate) mirror: MirrorAddress,
    /// A registry that is pulled from through the mirror, as HOST[:PORT]; may be given several times [default:
    /// docker.io for docker, all for containerd; with --remove, all]
    #[arg(long, value_name = "HOST")]
    pub(crate) registry: Vec<RegistryHost>,
    /// Write the files
    #[arg(long, conflicts_with = "remove")]
    pub(crate) write: bool,
    /// Take the mirror at the address of --mirror out of the files
    #[arg(long)]
    pub(crate) remove: bool,
    /// The root of the file system with the files, for images and containers
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub(crate) root: PathBuf,
}

/// A client that can pull through a mirror.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ClientArg {
    /// podman, buildah and skopeo
    Podman,
    /// containerd, by its CRI plugin, nerdctl and ctr
    Containerd,
    /// docker, for images of docker.io alone
    Docker,
    /// CRI-O
    #[value(name = "cri-o")]
    CriO,
}
