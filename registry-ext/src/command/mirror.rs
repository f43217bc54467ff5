//! `registry-ext mirror`

mod configure;
mod prefetch;

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use cli::{LogWriter, Misuse, Text};
use registry_ext::mirror::{Mirror, MirrorOptions, Readers, TlsFiles};
use registry_ext::scratch;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sd_notify::NotifyState;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use super::args::{MirrorArgs, MirrorCommand};
use super::context::Context;

pub(super) use configure::{MirrorAddress, RegistryHost};

/// Runs a mirror until SIGTERM or Ctrl-C, or deals with the configuration of its clients.
pub(super) async fn run(context: &Context, args: &MirrorArgs) -> Result<()> {
    match &args.command {
        Some(MirrorCommand::Configure(args)) => configure::run(context, args),
        None => serve(context, args).await,
    }
}

async fn serve(context: &Context, args: &MirrorArgs) -> Result<()> {
    check_consent(args, args.listen)?;
    if args.pass_through && args.upstream.is_empty() {
        return Err(Misuse(
            "a mirror that passes credentials on has to know their registries, whose word it takes for what a client may \
             read; give --upstream"
                .into(),
        )
        .into());
    }
    log(context)?;
    raise_file_limit();
    // Its other name, which references do not keep.
    let known = |host: &RegistryHost| host.to_string().replace("index.docker.io", "docker.io");
    let mut options = MirrorOptions::new(args.cache.clone().map_or_else(default_cache, Ok)?)
        .registry(context.registry.clone())
        .upstreams(args.upstream.iter().map(known).collect())
        .sources(args.source.clone())
        .cache_size(args.cache_size << 20)
        .line(args.line.rate())
        .prefer(args.line.prefer())
        .rewrite(args.rewrite)
        .prefetch(prefetch::options(&args.prefetch)?);
    let is_out_of_reach =
        |registry: &str| !options.upstreams.is_empty() && !options.upstreams.iter().any(|of| of == registry);
    if let Some(tag) = options.prefetch.tags.iter().find(|tag| is_out_of_reach(tag.registry())) {
        let text = format!("no client could ask for {tag}: --upstream does not name {}", tag.registry());
        return Err(Misuse(text).into());
    }
    options.readers = match &args.htpasswd {
        Some(file) => Readers::Users(file.clone()),
        None if args.pass_through => Readers::PassThrough,
        None => Readers::All,
    };
    if let (Some(certificates), Some(key)) = (args.tls_cert.clone(), args.tls_key.clone()) {
        options.tls = Some(TlsFiles { certificates, key });
    }
    let scheme = if options.tls.is_some() { "https" } else { "http" };
    let cache = options.cache_dir.clone();
    let mirror = tokio::task::spawn_blocking(move || Mirror::open(options)).await??;
    let listener = listener(args).await?;
    let address = listener.local_addr().context("cannot tell the address")?;
    // A socket from systemd has an address of its own.
    check_consent(args, address)?;
    let (mut end, mut interrupt) = (
        signal(SignalKind::terminate()).context("cannot watch for SIGTERM")?,
        signal(SignalKind::interrupt()).context("cannot watch for Ctrl-C")?,
    );
    Text::of(format!("listening on {scheme}://{address}, cache {}", cache.display())).print()?;
    let _ = sd_notify::notify(&[NotifyState::Ready]);
    let ended = async move {
        let exit = tokio::select! {
            _ = end.recv() => 143,
            _ = interrupt.recv() => 130,
        };
        let _ = sd_notify::notify(&[NotifyState::Stopping]);
        tracing::info!("ends once the running answers are sent; a second signal ends it at once");
        tokio::spawn(async move {
            tokio::select! {
                _ = end.recv() => {}
                _ = interrupt.recv() => {}
            }
            scratch::remove_all();
            std::process::exit(exit);
        });
    };
    mirror.serve(listener, ended).await;
    Ok(())
}

/// Refuses an address that other hosts reach, unless what they could do there was agreed to.
fn check_consent(args: &MirrorArgs, address: SocketAddr) -> Result<()> {
    if address.ip().is_loopback() {
        return Ok(());
    }
    if args.tls_cert.is_none() && !args.allow_remote {
        let danger = match args.htpasswd.is_some() || args.pass_through {
            true => "whose passwords then come over the network for others to read",
            false => "which then read all that the credentials of this mirror open",
        };
        return Err(Misuse(format!(
            "{address} can be reached from other hosts, {danger}; give --tls-cert and --tls-key, or --allow-remote if \
             that is wanted"
        ))
        .into());
    }
    if args.upstream.is_empty() {
        return Err(Misuse(
            "a mirror for other hosts has to know its registries, since it would fetch from any server otherwise; \
             give --upstream"
                .into(),
        )
        .into());
    }
    Ok(())
}

/// Takes the socket over that systemd has opened, or opens one.
async fn listener(args: &MirrorArgs) -> Result<TcpListener> {
    let given = listenfd::ListenFd::from_env().take_tcp_listener(0).context("cannot take the socket over")?;
    if let Some(given) = given {
        given.set_nonblocking(true).context("cannot use the socket")?;
        return TcpListener::from_std(given).context("cannot use the socket");
    }
    let address: SocketAddr = args.listen;
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
}

/// The directory that systemd gives, or the user's.
fn default_cache() -> Result<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(dir) = variable("CACHE_DIRECTORY") {
        return Ok(dir);
    }
    let caches = variable("XDG_CACHE_HOME").or_else(|| Some(variable("HOME")?.join(".cache")));
    match caches {
        Some(caches) => Ok(caches.join("registry-ext/mirror")),
        None => bail!("there is no place for the cache; give --cache"),
    }
}

/// Writes the log to stderr: one line a request, as text or as JSON.
fn log(context: &Context) -> Result<()> {
    let usual = if context.quiet { "warn" } else { "info" };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(usual));
    let writer = LogWriter { is_json: context.json };
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(move || writer);
    let log = log.with_target(false).with_ansi(false);
    let set = if context.json { log.json().try_init() } else { log.try_init() };
    set.map_err(|error| anyhow::anyhow!("cannot write a log: {error}"))
}

/// Lets the process open as many files as it may: each connection is one, and most systems begin with 1024.
fn raise_file_limit() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}
