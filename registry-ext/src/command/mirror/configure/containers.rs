//! The edits for podman, buildah, skopeo and cri-o: a file in registries.conf.d (containers-registries.conf.d(5)).

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use cli::Misuse;
use toml_edit::{ArrayOfTables, DocumentMut, InlineTable, Item, Table, Value, value};

use super::super::super::args::ConfigureArgs;
use super::Plan;
use super::document::{parse, rest};
use super::file::{Edit, Root};
use super::names::{MirrorAddress, RegistryHost};

const MAIN: &str = "/etc/containers/registries.conf";
const DROP_INS: &str = "/etc/containers/registries.conf.d";
const OURS: &str = "50-registry-ext-mirror.conf";
const HEADER: &str = "\
# Images of these registries are pulled through a mirror, and from the registry itself if the mirror does not answer.
# `registry-ext mirror configure` writes this file.
";

/// Plans the edit of the file that is ours.
pub(super) fn plan(root: &Root, args: &ConfigureArgs, reload: Option<&'static str>) -> Result<Plan> {
    let mut file = DropIn { mirror: args.mirror.clone(), registries: args.registry.clone() };
    let mut notes = Vec::new();
    if args.remove {
        if file.registries.is_empty() {
            let text = root.read(&file.path())?.unwrap_or_default();
            file.registries = file.mirrored(&text)?;
        }
    } else if file.registries.is_empty() {
        return Err(Misuse(
            "the registries that are to be pulled from through the mirror are missing; give --registry \
                           HOST for each"
                .into(),
        )
        .into());
    } else {
        for path in others(root)? {
            let text = root.read(&path)?.unwrap_or_default();
            file.respect(&path, &text, &mut notes)?;
        }
    }
    let edits: Vec<Box<dyn Edit>> = match file.registries.is_empty() {
        true => Vec::new(),
        false => vec![Box::new(file)],
    };
    Ok(Plan { edits, notes, reload })
}

/// The other files that are read: the main one, and the drop-ins.
fn others(root: &Root) -> Result<Vec<PathBuf>> {
    let drop_ins = root.names(Path::new(DROP_INS))?;
    let drop_ins = drop_ins.iter().filter(|name| name.ends_with(".conf") && *name != OURS);
    Ok([PathBuf::from(MAIN)].into_iter().chain(drop_ins.map(|name| Path::new(DROP_INS).join(name))).collect())
}

/// The file that is ours, with a mirror for each of some registries.
struct DropIn {
    mirror: MirrorAddress,
    registries: Vec<RegistryHost>,
}

impl DropIn {
    /// Looks for entries of the same registries in another file. Of two entries, only the later is read: ours would
    /// take away what the other says, or would not be read.
    fn respect(&mut self, path: &Path, text: &str, notes: &mut Vec<String>) -> Result<()> {
        let document = parse(path, text)?;
        for entry in registries(path, &document)?.into_iter().flatten() {
            let Some(prefix) = prefix(entry) else { continue };
            if let Some(at) = self.registries.iter().position(|registry| registry.as_str() == prefix) {
                let location = self.mirror.location(&self.registries[at]);
                if mirrors(entry).contains(&location.as_str()) {
                    notes.push(format!("{} has the mirror for {prefix} already", path.display()));
                    self.registries.remove(at);
                    continue;
                }
                let mut inline = InlineTable::new();
                inline.insert("location", location.into());
                if self.mirror.is_insecure() {
                    inline.insert("insecure", true.into());
                }
                // Tables that are there cannot be gone on with as a list.
                let line = match entry.contains_key("mirror") {
                    true => format!("to its mirrors: {inline}"),
                    false => format!("to that entry: mirror = [{inline}]"),
                };
                bail!(
                    "{} has an entry [[registry]] for {prefix}, and of two entries only one is read; nothing is \
                     written. Add {line}",
                    path.display(),
                );
            }
            let is_below = |registry: &RegistryHost| prefix.starts_with(&format!("{registry}/"));
            if let Some(registry) = self.registries.iter().find(|registry| is_below(registry)) {
                notes.push(format!(
                    "images of {prefix} are pulled without the mirror for {registry}: {} has an entry for them",
                    path.display()
                ));
            }
        }
        Ok(())
    }

    /// Returns the registries that the text gives this mirror.
    fn mirrored(&self, text: &str) -> Result<Vec<RegistryHost>> {
        let document = parse(&self.path(), text)?;
        let entries = registries(&self.path(), &document)?.into_iter().flatten();
        Ok(entries.flat_map(mirrors).filter_map(|location| self.mirror.registry(location)).collect())
    }

    fn mirror_table(&self, registry: &RegistryHost) -> Table {
        let mut table = Table::new();
        table["location"] = value(self.mirror.location(registry));
        if self.mirror.is_insecure() {
            table["insecure"] = value(true);
        }
        table
    }
}

impl Edit for DropIn {
    fn path(&self) -> PathBuf {
        Path::new(DROP_INS).join(OURS)
    }

    fn with(&self, text: Option<&str>) -> Result<String> {
        let mut document = parse(&self.path(), text.unwrap_or_default())?;
        registries(&self.path(), &document)?;
        let mut is_changed = false;
        for registry in &self.registries {
            let item = document.entry("registry").or_insert(Item::ArrayOfTables(ArrayOfTables::new()));
            let entries = item.as_array_of_tables_mut().context("[[registry]] is an array of tables")?;
            let at = entries.iter().position(|entry| prefix(entry) == Some(registry.as_str()));
            let at = match at {
                Some(at) => at,
                None => {
                    let mut entry = Table::new();
                    entry["location"] = value(registry.as_str());
                    entries.push(entry);
                    entries.len() - 1
                }
            };
            let entry = entries.get_mut(at).context("the entry is there")?;
            if mirrors(entry).contains(&self.mirror.location(registry).as_str()) {
                continue;
            }
            let of_entry = entry.entry("mirror").or_insert(Item::ArrayOfTables(ArrayOfTables::new()));
            let Some(of_entry) = of_entry.as_array_of_tables_mut() else {
                bail!("{}: write the mirrors of {registry} as [[registry.mirror]]", self.path().display());
            };
            of_entry.push(self.mirror_table(registry));
            is_changed = true;
        }
        Ok(match text {
            None => format!("{HEADER}{document}"),
            Some(_) if is_changed => document.to_string(),
            Some(text) => text.to_owned(),
        })
    }

    fn without(&self, text: &str) -> Result<Option<String>> {
        let mut document = parse(&self.path(), text)?;
        let mut is_changed = false;
        if let Some(entries) = document.get_mut("registry").and_then(Item::as_array_of_tables_mut) {
            for registry in &self.registries {
                let location = self.mirror.location(registry);
                for entry in entries.iter_mut() {
                    let Some(of_entry) = entry.get_mut("mirror").and_then(Item::as_array_of_tables_mut)
                    else {
                        continue;
                    };
                    let before = of_entry.len();
                    of_entry.retain(|mirror| of(mirror, "location") != Some(&location));
                    is_changed |= before != of_entry.len();
                    if of_entry.is_empty() {
                        entry.remove("mirror");
                    }
                }
            }
            if is_changed {
                // An entry that says nothing but the name of a registry is what is left of ours.
                entries.retain(|entry| entry.iter().any(|(key, _)| key != "location" && key != "prefix"));
            }
        }
        if !is_changed {
            return Ok(Some(text.to_owned()));
        }
        Ok(rest(&document))
    }
}

fn registries<'d>(path: &Path, document: &'d DocumentMut) -> Result<Option<&'d ArrayOfTables>> {
    match document.get("registry") {
        None => Ok(None),
        Some(Item::ArrayOfTables(entries)) => Ok(Some(entries)),
        Some(_) => {
            bail!("{}: its registries are not written as [[registry]]; write them so first", path.display())
        }
    }
}

fn of<'t>(table: &'t Table, key: &str) -> Option<&'t str> {
    table.get(key)?.as_str()
}

/// The images that an entry is for: those of its location, unless it says otherwise.
fn prefix(entry: &Table) -> Option<&str> {
    of(entry, "prefix").filter(|prefix| !prefix.is_empty()).or_else(|| of(entry, "location"))
}

/// The locations of an entry's mirrors, however they are written.
fn mirrors(entry: &Table) -> Vec<&str> {
    match entry.get("mirror") {
        Some(Item::ArrayOfTables(tables)) => {
            tables.iter().filter_map(|mirror| of(mirror, "location")).collect()
        }
        Some(Item::Value(Value::Array(mirrors))) => {
            let mirrors = mirrors.iter().filter_map(Value::as_inline_table);
            mirrors.filter_map(|mirror| mirror.get("location")?.as_str()).collect()
        }
        _ => Vec::new(),
    }
}
