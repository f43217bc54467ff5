//! The command line.

mod artifacts;
mod line;
mod mirror;
mod operands;
mod plan;
mod readers;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::{ArgAction, Parser, Subcommand};
use cli::generate::GenerateArgs;
use layer::Digest;
use registry_ext::image::Platform;
use registry_ext::reference::ImageRef;
use registry_ext::store::StoreRef;
use tar_diff::{DiffArgs, DiffOptions, Method};

use artifacts::ArtifactArgs;
pub(crate) use line::BYTES_OF_MBIT;
use line::LineArgs;
pub(crate) use mirror::{ClientArg, ConfigureArgs, MirrorArgs, MirrorCommand, PrefetchArgs};
pub(crate) use operands::Measured;
use operands::image;
pub(crate) use plan::{JobArgs, PlanArgs};
use readers::ReadersArgs;

const AFTER_HELP: &str = "\
Images:  HOST[:PORT]/NAME[:TAG][@DIGEST]   oci:DIR[:TAG]   oci-archive:FILE[:TAG]
         docker-archive:FILE[:NAME[:TAG]], which docker save writes (to read from)
Stores:  oci:DIR[:TAG]   oci-archive:FILE[:TAG]   containers-storage:[[DRIVER@ROOT+RUNROOT]]NAME   tree:DIR[@sha256:HEX]
         docker-archive:FILE   docker:[ROOT]   containerd:[ROOT]   composefs:[ROOT]   ostree:[ROOT][@REF] (sources only)

Examples:
  registry-ext publish registry.example/app:v2 --from registry.example/app:v1
  registry-ext list registry.example/app:v2
  registry-ext pull registry.example/app:v2 --into oci:/var/lib/app
  registry-ext pull registry.example/app:v2 --into tree:/srv/app
  registry-ext prune registry.example/app:v2 --keep registry.example/app:v1
  registry-ext plan registry.example/app --output plan.json
  registry-ext publish --plan plan.json --job 1/4
  registry-ext mirror --source containers-storage: --upstream registry.example

Exit status:
  0    done
  1    failed
  2    wrong usage
  3    verify: a published delta is wrong
  4    the image, or something that it consists of, does not exist
  5    the registry wants other credentials
  130  ended by Ctrl-C; 129 and 143 by SIGHUP and SIGTERM
  141  stdout was closed";

/// Deltas in a container registry: publishes them, and pulls images with them
#[derive(Debug, Parser)]
#[command(
    name = "registry-ext",
    version = concat!("v", env!("CARGO_PKG_VERSION")),
    long_version = cli::version::long(),
    after_help = AFTER_HELP,
    disable_help_subcommand = true,
    subcommand_required = false
)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) common: CommonArgs,
    #[command(flatten)]
    pub(crate) generate: GenerateArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make deltas to an image, prove them, and publish those that save something
    Publish(PublishArgs),
    /// Show which images of repositories deserve deltas by a policy, and why
    Plan(PlanArgs),
    /// Show the deltas to an image, and the share that each saves
    List(ListArgs),
    /// Pull an image, as deltas where they save bytes
    Pull(PullArgs),
    /// Fetch and apply the deltas of an image, and compare the results
    Verify(VerifyArgs),
    /// Remove the deltas from images that no host runs any more
    Prune(PruneArgs),
    /// Show the bytes that deltas between two images would save
    Measure(MeasureArgs),
    /// Serve images to clients that know no deltas: a read-only registry in front of others
    Mirror(MirrorArgs),
}

impl Command {
    /// The image that credentials given on the command line are for.
    pub(crate) fn first_image(&self) -> Option<&ImageRef> {
        Some(match self {
            Self::Publish(args) => match &args.to {
                Some(to @ ImageRef::Registry(_)) => to,
                _ => return args.new.as_ref(),
            },
            Self::Plan(args) => return args.repositories.first(),
            Self::List(args) => &args.image,
            Self::Pull(args) => &args.image,
            Self::Verify(args) => &args.image,
            Self::Prune(args) => &args.image,
            Self::Measure(MeasureArgs { new: Measured::Image(new), .. }) => new,
            Self::Measure(_) | Self::Mirror(_) => return None,
        })
    }
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Registry and output")]
pub(crate) struct CommonArgs {
    /// Use http; the default for loopback addresses, unless --ca-file is given
    #[arg(long, global = true, action = ArgAction::Set, num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_name = "BOOL")]
    pub(crate) plain_http: Option<bool>,
    /// Trust the CA certificates (PEM) in this file too; may be given several times
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) ca_file: Vec<PathBuf>,
    /// Log in as this user, with --password-stdin; for the registry of the first image alone
    #[arg(long, global = true, value_name = "NAME", requires = "password_stdin")]
    pub(crate) username: Option<String>,
    /// Read the password from stdin
    #[arg(long, global = true, requires = "username")]
    pub(crate) password_stdin: bool,
    /// Credentials in the form of docker's config.json or podman's auth.json [default:
    /// $REGISTRY_AUTH_FILE, or where podman and docker keep them]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) authfile: Option<PathBuf>,
    /// Look for blobs that the repository lacks at the URLs that their descriptors name, on any server
    #[arg(long, global = true)]
    pub(crate) foreign_urls: bool,
    /// Directory for downloads and unpacked layers; downloads for a tree lie beside it
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) tmp_dir: Option<PathBuf>,
    /// Downloads at one time
    #[arg(long, global = true, value_name = "N", default_value = "4")]
    pub(crate) concurrency: NonZeroUsize,
    /// Print JSON; all sizes are in bytes
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Print only errors and the result
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
}

impl CommonArgs {
    /// The directory for temporary files.
    pub(crate) fn temp_dir(&self) -> PathBuf {
        self.tmp_dir.clone().unwrap_or_else(std::env::temp_dir)
    }
}

/// The flags that say how deltas are made.
#[derive(Debug, clap::Args)]
pub(crate) struct MakeArgs {
    /// How deltas of files are made; _deltaindex is always bsdiff, since its clients read no other
    #[arg(long, value_enum, default_value_t, value_name = "METHOD")]
    binary_diff: Method,
    #[command(flatten)]
    pub(crate) readers: ReadersArgs,
    #[command(flatten)]
    effort: DiffArgs,
}

impl MakeArgs {
    /// The options of the diffs, whose temporary files lie in `temp_dir`.
    pub(crate) fn options(&self, temp_dir: &Path) -> DiffOptions {
        let options = self.effort.options(cli::resources::memory_budget());
        options.method(self.binary_diff).sees_through(self.readers.registry_ext()).temp_dir(temp_dir)
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct PublishArgs {
    /// The new image
    #[arg(value_name = "REF_NEW", value_parser = image, required_unless_present = "plan")]
    pub(crate) new: Option<ImageRef>,
    #[command(flatten)]
    pub(crate) job: JobArgs,
    /// An old image that may be installed somewhere; may be given several times
    #[arg(long, value_name = "REF_OLD", value_parser = image)]
    pub(crate) from: Vec<ImageRef>,
    /// Publish here instead of where the new image is: a repository, oci:DIR or oci-archive:FILE
    #[arg(long, value_name = "REF", value_parser = image)]
    pub(crate) to: Option<ImageRef>,
    /// Only this platform of an index [default: all]
    #[arg(long, value_name = "OS/ARCH")]
    pub(crate) platform: Option<Platform>,
    /// Publish the recipes of all compressed layers, also to a layout and where no delta is smaller. With them
    /// `registry-ext mirror` and `pull --exact` make the layers bit for bit
    #[arg(long)]
    pub(crate) exact: bool,
    /// Publish no recipes [default: those of the layers that have a delta, to a registry, for registry-ext]
    #[arg(long, conflicts_with = "exact")]
    pub(crate) no_exact: bool,
    /// Publish only recipes of at most so many percent of their layers
    #[arg(long, value_name = "PERCENT", default_value_t = registry_ext::blob_recipe::MAX_SHARE,
        value_parser = clap::value_parser!(u64).range(1..=25), conflicts_with = "no_exact")]
    pub(crate) max_recipe: u64,
    /// Make and replace deltas that are published already
    #[arg(long)]
    pub(crate) force: bool,
    /// Merge published deltas that follow each other, layer by layer, in place of comparing the layers: with less CPU,
    /// and perhaps larger. Where that is not possible, as with a tardf2, the output says why, and they are compared
    #[arg(long)]
    pub(crate) merge: bool,
    #[command(flatten)]
    pub(crate) artifacts: ArtifactArgs,
    /// Fail if an old image does not exist, instead of going on without it
    #[arg(long)]
    pub(crate) strict: bool,
    #[command(flatten)]
    pub(crate) make: MakeArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    /// The image
    #[arg(value_name = "REF", value_parser = image)]
    pub(crate) image: ImageRef,
    /// Only this platform of an index [default: all]
    #[arg(long, value_name = "OS/ARCH")]
    pub(crate) platform: Option<Platform>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct PullArgs {
    /// The image
    #[arg(value_name = "REF", value_parser = image)]
    pub(crate) image: ImageRef,
    /// The store that takes the image: oci:DIR[:TAG], oci-archive:FILE[:TAG], containers-storage:NAME
    /// (written by skopeo, podman or buildah), or tree:DIR for the unpacked files; TAG is that of REF unless
    /// another is given
    #[arg(long, value_name = "STORE")]
    pub(crate) into: StoreRef,
    /// A store that has old images, besides the one that takes the new image; may be given several times.
    /// docker: and containerd: are the directories of these daemons, which only root may read;
    /// docker-archive: is a file of docker save
    #[arg(long, value_name = "STORE")]
    pub(crate) source: Vec<StoreRef>,
    /// The platform of an index [default: this machine's]
    #[arg(long, value_name = "OS/ARCH")]
    pub(crate) platform: Option<Platform>,
    /// Fetch layers whole
    #[arg(long)]
    pub(crate) no_deltas: bool,
    /// Store the image under the digest that the registry has: compress each layer bit for bit by the recipe
    /// that `publish --exact` published, and fetch layers without a recipe whole; for oci: and oci-archive:
    #[arg(long)]
    pub(crate) exact: bool,
    #[command(flatten)]
    pub(crate) line: LineArgs,
    /// The most Mbit/s that the pull takes of the line [default: no limit]
    #[arg(long, value_name = "MBIT", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub(crate) rate: Option<u64>,
    /// Pull only if the holder of the public key in FILE (PEM) has signed the image, as `cosign sign
    /// --key` does
    #[arg(long, value_name = "FILE")]
    pub(crate) verify_key: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct VerifyArgs {
    /// The image
    #[arg(value_name = "REF", value_parser = image)]
    pub(crate) image: ImageRef,
    /// An old image that deltas are made from; images named in artifacts are found without this option
    #[arg(long, value_name = "REF_OLD", value_parser = image)]
    pub(crate) from: Vec<ImageRef>,
    /// Only this platform of an index [default: all]
    #[arg(long, value_name = "OS/ARCH")]
    pub(crate) platform: Option<Platform>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct PruneArgs {
    /// The image whose deltas are looked at
    #[arg(value_name = "REF", value_parser = image)]
    pub(crate) image: ImageRef,
    /// Deltas from this image stay; may be given several times
    #[arg(long, value_name = "REF_OLD", value_parser = image)]
    pub(crate) keep: Vec<ImageRef>,
    /// Keep the deltas that the policy in FILE asks for, and remove all others of the repository
    #[arg(long, value_name = "FILE", conflicts_with_all = ["keep", "all"])]
    pub(crate) policy: Option<PathBuf>,
    /// The plan that was made last, for a policy with tags that move: it has the images that they named before
    #[arg(long, value_name = "FILE", requires = "policy")]
    pub(crate) previous: Option<PathBuf>,
    /// The figures of a mirror that `plan` got, so that the deltas from the images in them stay. May be given several
    /// times
    #[arg(long, value_name = "FILE", requires = "policy")]
    pub(crate) pulls: Vec<PathBuf>,
    /// Look at the deltas to every image of the repository, also to images that are gone
    #[arg(long)]
    pub(crate) all: bool,
    /// Change nothing, show what would be removed
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not ask for confirmation when, without --keep, all deltas are removed
    #[arg(long, short)]
    pub(crate) yes: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct MeasureArgs {
    /// The old image, or a file with an old layer
    #[arg(value_name = "OLD")]
    pub(crate) old: Measured,
    /// The new image, or a file with a new layer
    #[arg(value_name = "NEW")]
    pub(crate) new: Measured,
    /// Only this platform of an index [default: all]
    #[arg(long, value_name = "OS/ARCH")]
    pub(crate) platform: Option<Platform>,
    #[command(flatten)]
    pub(crate) make: MakeArgs,
}

/// The first digits of a digest, for people.
pub(crate) fn short(digest: impl ToString) -> String {
    let digest = digest.to_string();
    let hex = digest.strip_prefix("sha256:").unwrap_or(&digest);
    hex.get(..12).filter(|_| digest.parse::<Digest>().is_ok()).unwrap_or(&digest).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn every_command_is_read() {
        for line in [
            "publish h/a:v2 --from h/a:v1 --from oci:x:v0 --for flatpak --plain-http",
            "publish oci:x:v2 --from oci:x:v1 --to oci-archive:d.tar --json",
            "publish h/a:v2 --from h/a:v1 --for registry-ext,oci-delta --exact",
            "publish --plan plan.json --job 2/4 --for oci-delta",
            "publish h/a:v3 --from h/a:v1 --merge",
            "plan h/a h/b --policy p.toml --previous old.json --output plan.json --json",
            "prune h/a --policy p.toml --dry-run",
            "list h/a:v2 --plain-http=false --platform linux/arm64/v8",
            "pull h/a:v2 --into oci:x --exact --prefer size --line 100 --rate 20 --verify-key cosign.pub",
            "pull h/a:v2 --into tree:x --source tree:/ --source containers-storage: --source docker: --source containerd:/srv/c",
            "measure docker-archive:old.tar docker-archive:new.tar:app:v2",
            "pull h/a:v2 --into oci:x --source docker-archive:old.tar",
            "verify h/a:v2 --from h/a:v1",
            "prune h/a:v2 --keep h/a:v1 --all --dry-run",
            "prune h/a:v2 --yes",
            "measure h/a:v1 h/a:v2 --for flatpak --binary-diff auto --level 3",
            "publish h/a:v2 --from h/a:v1 --layout artifact",
            "mirror --source containers-storage: --upstream h.io",
            "mirror configure podman --registry h.io --registry localhost:5000 --write --root x --mirror [::1]:5050",
            "mirror configure cri-o --remove --json",
        ] {
            let args = std::iter::once("registry-ext").chain(line.split(' '));
            assert!(Args::try_parse_from(args).is_ok(), "{line}");
        }
        // A first release has no old image.
        assert!(Args::try_parse_from(["registry-ext", "publish", "h/a:v2"]).is_ok());
        assert!(Args::try_parse_from(["registry-ext", "list", "h/a", "--username", "x"]).is_err());
        for line in ["publish", "publish h/a:v2 --plan p", "publish --job 1/2", "plan"] {
            let args = ["registry-ext"].into_iter().chain(line.split(' '));
            assert!(Args::try_parse_from(args).is_err(), "{line}");
        }
        for line in [
            "configure podman --write --remove",
            "--cache-size 1 configure docker",
            "configure docker --registry a/b",
        ] {
            let args = ["registry-ext", "mirror"].into_iter().chain(line.split(' '));
            assert!(Args::try_parse_from(args).is_err(), "{line}");
        }
    }
}
