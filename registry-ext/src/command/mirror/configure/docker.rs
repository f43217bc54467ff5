//! The edit for docker: `registry-mirrors` in daemon.json. They are for images of docker.io alone.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use jsonc_parser::ParseOptions;
use jsonc_parser::cst::{CstArray, CstNode, CstRootNode};
use serde_json::{Map, Value};

use super::super::super::args::ConfigureArgs;
use super::Plan;
use super::file::Edit;
use super::names::MirrorAddress;

/// The registry that docker has mirrors for.
pub(super) const REGISTRY: &str = "docker.io";
const FILE: &str = "/etc/docker/daemon.json";
const MIRRORS: &str = "registry-mirrors";

/// Plans the edit.
pub(super) fn plan(args: &ConfigureArgs) -> Plan {
    let note = format!(
        "docker pulls images of {REGISTRY} alone through a mirror, and does not name the registry: run the mirror with \
         --upstream {REGISTRY} before all other --upstream"
    );
    Plan {
        edits: vec![Box::new(DaemonFile { mirror: args.mirror.clone() })],
        notes: if args.remove { Vec::new() } else { vec![note] },
        reload: Some("systemctl reload docker"),
    }
}

/// The file of the daemon.
struct DaemonFile {
    mirror: MirrorAddress,
}

impl DaemonFile {
    /// Parses a text as docker does, which takes an empty file for no options; and again with its layout.
    fn parse(&self, text: &str) -> Result<CstRootNode> {
        let text = if text.trim().is_empty() { "{}\n" } else { text };
        let broken = || format!("{FILE} is broken; mend it first, nothing is written");
        let options: Map<String, Value> = serde_json::from_str(text).with_context(broken)?;
        let is_list =
            |mirrors: &Value| mirrors.as_array().is_some_and(|list| list.iter().all(Value::is_string));
        if options.get(MIRRORS).is_some_and(|mirrors| !is_list(mirrors)) {
            bail!("{FILE}: {MIRRORS} is no list of URLs; mend it first, nothing is written");
        }
        CstRootNode::parse(text, &ParseOptions::default()).with_context(broken)
    }

    fn is_ours(&self, element: &CstNode) -> bool {
        let url = element.as_string_lit().and_then(|text| text.decoded_value().ok());
        url.is_some_and(|url| url.strip_suffix('/').unwrap_or(&url) == self.mirror.url())
    }
}

impl Edit for DaemonFile {
    fn path(&self) -> PathBuf {
        Path::new(FILE).to_owned()
    }

    fn with(&self, text: Option<&str>) -> Result<String> {
        let root = self.parse(text.unwrap_or_default())?;
        let mirrors = root.object_value_or_set().array_value_or_set(MIRRORS);
        if mirrors.elements().iter().any(|element| self.is_ours(element)) {
            return Ok(text.unwrap_or_default().to_owned());
        }
        // docker asks the mirrors in the order of the list.
        mirrors.insert(0, self.mirror.url().into());
        Ok(root.to_string())
    }

    fn without(&self, text: &str) -> Result<Option<String>> {
        let root = self.parse(text)?;
        let Some(options) = root.object_value() else { return Ok(Some(text.to_owned())) };
        let mirrors: Option<CstArray> = options.array_value(MIRRORS);
        let ours = mirrors.iter().flat_map(CstArray::elements).filter(|element| self.is_ours(element));
        let ours: Vec<CstNode> = ours.collect();
        if ours.is_empty() {
            return Ok(Some(text.to_owned()));
        }
        ours.into_iter().for_each(CstNode::remove);
        if let Some(list) =
            options.get(MIRRORS).filter(|_| mirrors.is_some_and(|list| list.elements().is_empty()))
        {
            list.remove();
        }
        Ok((!options.properties().is_empty()).then(|| root.to_string()))
    }
}
