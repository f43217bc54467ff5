//! The edits for containerd: a file `hosts.toml` for each registry, or for all (containerd, docs/hosts.md).

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use toml_edit::{Array, Item, Table, value};

use super::super::super::args::ConfigureArgs;
use super::Plan;
use super::document::{parse, rest};
use super::file::{Edit, Root};
use super::names::{MirrorAddress, RegistryHost};

const CONFIG: &str = "/etc/containerd/config.toml";
const DIR: &str = "/etc/containerd/certs.d";
const FILE: &str = "hosts.toml";
/// The directory for all registries that have none of their own.
const ALL: &str = "_default";
const HEADER: &str = "\
# Images are pulled through a mirror, and from the registry itself if the mirror does not answer.
# `registry-ext mirror configure` writes this file.
";
/// The tables of the CRI plugin that have `registry` in them: containerd 1, and containerd 2.
const PLUGINS: [&str; 2] = ["io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images"];

/// Plans the edits of the files of some registries, or of all.
pub(super) fn plan(root: &Root, args: &ConfigureArgs) -> Result<Plan> {
    let named = args.registry.iter().map(RegistryHost::to_string);
    let names = match (args.registry.is_empty(), args.remove) {
        (false, _) => named.collect(),
        (true, false) => vec![ALL.to_owned()],
        (true, true) => root.names(Path::new(DIR))?,
    };
    let mut edits: Vec<Box<dyn Edit>> = Vec::new();
    for name in names {
        edits.push(Box::new(HostsFile { mirror: args.mirror.clone(), name }));
    }
    let mut notes = Vec::new();
    if !args.remove {
        notes.extend(way_to(&root.read(Path::new(CONFIG))?.unwrap_or_default())?);
        if args.registry.is_empty() {
            // The directory of a registry takes the place of the one for all.
            let own = root.names(Path::new(DIR))?.into_iter().filter(|name| name != ALL);
            notes.extend(own.map(|name| {
                format!("{DIR}/{name} takes the place of {ALL} for its registry: give --registry {name}, too")
            }));
        }
    }
    Ok(Plan { edits, notes, reload: None })
}

/// Returns the step that is missing for the CRI plugin to read the files, if one is.
fn way_to(config: &str) -> Result<Option<String>> {
    let document = parse(Path::new(CONFIG), config)?;
    let plugins = document.get("plugins").and_then(Item::as_table_like);
    let registries = PLUGINS.iter().filter_map(|plugin| plugins?.get(plugin)?.get("registry"));
    let registries: Vec<&Item> = registries.collect();
    let has_way = registries.iter().filter_map(|registry| registry.get("config_path")?.as_str());
    if has_way.flat_map(|path| path.split(':')).any(|dir| Path::new(dir) == Path::new(DIR)) {
        return Ok(None);
    }
    let old = registries.iter().any(|registry| registry.get("mirrors").is_some());
    let old =
        if old { ", move the mirrors of registry.mirrors, which exclude it, to such files," } else { "" };
    Ok(Some(format!(
        "kubelet's images do not come through the mirror yet: {CONFIG} has to say config_path = \"{DIR}\" under \
         [plugins.\"{}\".registry] (containerd 2: [plugins.\"{}\".registry]). Write that{old} and run `systemctl \
         restart containerd`. ctr reads the files with --hosts-dir {DIR}, nerdctl always",
        PLUGINS[0], PLUGINS[1]
    )))
}

/// The file of one registry.
struct HostsFile {
    mirror: MirrorAddress,
    name: String,
}

impl Edit for HostsFile {
    fn path(&self) -> PathBuf {
        Path::new(DIR).join(&self.name).join(FILE)
    }

    fn with(&self, text: Option<&str>) -> Result<String> {
        let mut document = parse(&self.path(), text.unwrap_or_default())?;
        let item = document.entry("host").or_insert_with(|| {
            let mut hosts = Table::new();
            hosts.set_implicit(true);
            Item::Table(hosts)
        });
        let Some(hosts) = item.as_table_mut() else {
            bail!("{}: write its hosts as [host.\"URL\"] first", self.path().display());
        };
        if hosts.contains_key(&self.mirror.url()) {
            return Ok(text.unwrap_or_default().to_owned());
        }
        let mut host = Table::new();
        host["capabilities"] = value(Array::from_iter(["pull", "resolve"]));
        // containerd asks the hosts in the order of the file.
        let first = hosts.iter().filter_map(|(_, host)| host.as_table()?.position()).min();
        if let Some(first) = first {
            host.set_position(Some(first - 1));
            host.decor_mut().set_prefix("\n");
        }
        hosts.insert(&self.mirror.url(), Item::Table(host));
        Ok(if text.is_none() { format!("{HEADER}{document}") } else { document.to_string() })
    }

    fn without(&self, text: &str) -> Result<Option<String>> {
        let mut document = parse(&self.path(), text)?;
        let is_changed = match document.get_mut("host").and_then(Item::as_table_mut) {
            Some(hosts) => {
                let removed = hosts.remove(&self.mirror.url());
                if hosts.is_empty() {
                    document.remove("host");
                }
                removed.is_some()
            }
            None => false,
        };
        if !is_changed {
            return Ok(Some(text.to_owned()));
        }
        Ok(rest(&document))
    }
}
