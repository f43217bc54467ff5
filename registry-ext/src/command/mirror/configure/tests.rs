use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use clap::Parser;
use tempfile::TempDir;

use super::*;
use crate::command::Args;
use crate::command::args::{Command, MirrorCommand};

const DROP_IN: &str = "etc/containers/registries.conf.d/50-registry-ext-mirror.conf";
const DAEMON: &str = "etc/docker/daemon.json";
const ALL_HOSTS: &str = "etc/containerd/certs.d/_default/hosts.toml";

/// Runs a command line on a root, and returns its notes.
fn configure(root: &Path, line: &str) -> Result<Vec<String>> {
    let line = format!("registry-ext mirror configure {line} --root {}", root.display());
    let args = Args::try_parse_from(line.split_whitespace())?;
    let Some(Command::Mirror(args)) = args.command else { panic!("{line}") };
    let Some(MirrorCommand::Configure(args)) = args.command else { panic!("{line}") };
    let root = Root::open(&args.root)?;
    let (plan, changes) = prepare(&root, &args)?;
    if args.write || args.remove {
        changes.iter().try_for_each(|change| change.apply(&root))?;
    }
    Ok(plan.notes)
}

fn root_with(files: &[(&str, &str)]) -> TempDir {
    let root = TempDir::new().unwrap();
    for (path, text) in files {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    root
}

fn read(root: &TempDir, path: &str) -> Option<String> {
    fs::read_to_string(root.path().join(path)).ok()
}

/// Names of all files, with what is in them.
fn files(dir: &Path) -> Vec<(String, String)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
        match entry.is_dir() {
            true => files.extend(self::files(&entry)),
            false => files.push((entry.display().to_string(), fs::read_to_string(&entry).unwrap())),
        }
    }
    files.sort();
    files
}

/// Files as people have them, and the client that they belong to.
const PRESENT: &[(&str, &str, &[&str])] = &[
    (
        "docker",
        DAEMON,
        &[
            "",
            "\n",
            "{}",
            "{ }\n",
            "{\"data-root\": \"/x\"}",
            "{\n\t\"zeta\": 1e2,\n\t\"alpha\": [ ],\n\t\"log-opts\": {\"b\": \"\\u0041\", \"a\": \"2\"}\n}\n",
            "{\r\n  \"registry-mirrors\": [\"https://other.example\"],\r\n  \"debug\": true\r\n}",
            "{\"registry-mirrors\": [\n    \"https://a.example\",\n    \"https://b.example\"\n]}\n",
            "{\"registry-mirrors\": []}",
        ],
    ),
    (
        "containerd",
        ALL_HOSTS,
        &[
            "",
            "# nothing but words\n",
            "server = \"https://a.example\" # the last\n",
            "server = \"https://a.example\"\n\n# another one\n[host.\"https://b.example\"]\n  capabilities = [\"pull\"]\n\n    \
             [host.\"https://b.example\".header]\n  x = \"y\"\n",
            "[host]\n[host.'https://b.example']\n",
        ],
    ),
    (
        "podman --registry registry.example --registry localhost:5000",
        DROP_IN,
        &[
            "",
            "# nothing but words\n",
            "unqualified-search-registries = [\"a.example\"] # why\n",
            "[[registry]]\nprefix = \"registry.example\" # ours\nlocation = \"b.example\"\n\n[[registry.mirror]]\nlocation \
             = \"c.example\"\n\n[aliases]\n\"a\" = \"b.example/a\"\n",
        ],
    ),
];

#[test]
fn what_was_there_comes_back_byte_for_byte() {
    for (client, path, texts) in PRESENT {
        for text in *texts {
            let root = root_with(&[(path, text)]);
            fs::set_permissions(root.path().join(path), fs::Permissions::from_mode(0o640)).unwrap();
            let before = files(root.path());
            configure(root.path(), client).unwrap();
            assert_eq!(files(root.path()), before, "nothing is written unless it is asked for");
            configure(root.path(), &format!("{client} --write")).unwrap();
            let written = files(root.path());
            assert_ne!(written, before, "{client} {text:?}");
            assert_eq!(written.len(), 2, "there is a copy: {client} {text:?}");
            configure(root.path(), &format!("{client} --write")).unwrap();
            assert_eq!(files(root.path()), written, "the second time changes nothing: {client} {text:?}");
            let mode = fs::metadata(root.path().join(path)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o640, "{client}");
            configure(root.path(), &format!("{client} --remove")).unwrap();
            assert_eq!(files(root.path()), before, "{client} {text:?}");
        }
        // Without a file.
        let root = root_with(&[]);
        configure(root.path(), &format!("{client} --write")).unwrap();
        assert_eq!(files(root.path()).len(), 1);
        configure(root.path(), &format!("{client} --remove")).unwrap();
        assert_eq!(files(root.path()), [], "{client}");
        configure(root.path(), &format!("{client} --remove")).unwrap();
    }
}

#[test]
fn the_files_are_as_their_clients_read_them() {
    let root = root_with(&[(DAEMON, "{\n  \"zeta\": 1,\n  \"alpha\": [2]\n}\n")]);
    configure(root.path(), "docker --write").unwrap();
    let text =
        "{\n  \"zeta\": 1,\n  \"alpha\": [2],\n  \"registry-mirrors\": [\"http://127.0.0.1:5050\"]\n}\n";
    assert_eq!(read(&root, DAEMON).unwrap(), text);
    configure(root.path(), "containerd --write --registry localhost:5000 --mirror https://m.example")
        .unwrap();
    let text = read(&root, "etc/containerd/certs.d/localhost:5000/hosts.toml").unwrap();
    let own: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(own, ["[host.\"https://m.example\"]", "capabilities = [\"pull\", \"resolve\"]"]);
    configure(root.path(), "cri-o --write --registry localhost:5000").unwrap();
    configure(root.path(), "podman --write --registry registry.example --mirror https://m.example").unwrap();
    let text = read(&root, DROP_IN).unwrap();
    let own: Vec<&str> = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
    assert_eq!(
        own,
        [
            "[[registry]]",
            "location = \"localhost:5000\"",
            "[[registry.mirror]]",
            "location = \"127.0.0.1:5050/localhost__5000\"",
            "insecure = true",
            "[[registry]]",
            "location = \"registry.example\"",
            "[[registry.mirror]]",
            "location = \"m.example/registry.example\"",
        ]
    );
    // Each mirror goes by itself.
    configure(root.path(), "podman --remove").unwrap();
    let text = read(&root, DROP_IN).unwrap();
    assert!(!text.contains("127.0.0.1") && text.contains("m.example/registry.example"), "{text}");
}

#[test]
fn the_mirror_stands_before_all_others() {
    for (client, path, text) in [
        ("docker", DAEMON, PRESENT[0].2[7]),
        ("containerd", ALL_HOSTS, PRESENT[1].2[3]),
        ("containerd", ALL_HOSTS, PRESENT[1].2[4]),
    ] {
        let root = root_with(&[(path, text)]);
        configure(root.path(), &format!("{client} --write")).unwrap();
        let text = read(&root, path).unwrap();
        let place = |url: &str| text.find(url).unwrap();
        assert!(place("http://127.0.0.1:5050") < place("https://b.example"), "{text}");
        assert!(text.find("server").is_none_or(|server| server < place("http://127.0.0.1:5050")), "{text}");
    }
}

#[test]
fn what_was_changed_since_stays() {
    for (client, path, text, before, after) in [
        ("docker", DAEMON, "{\n  \"debug\": true\n}\n", "true", "false"),
        ("containerd", ALL_HOSTS, "server = \"https://a.example\"\n", "a.example", "c.example"),
        (
            "podman --registry registry.example",
            DROP_IN,
            "short-name-mode = \"enforcing\"\n",
            "enforcing",
            "disabled",
        ),
    ] {
        let root = root_with(&[(path, text)]);
        configure(root.path(), &format!("{client} --write")).unwrap();
        let changed = read(&root, path).unwrap().replace(before, after);
        fs::write(root.path().join(path), &changed).unwrap();
        configure(root.path(), &format!("{client} --remove")).unwrap();
        let rest = read(&root, path).unwrap();
        assert!(rest.contains(after) && !rest.contains("5050"), "{rest}");
        let copy = format!("{path}.before-registry-ext");
        assert_eq!(read(&root, &copy).unwrap(), text, "the copy stays");
        // And again: the first copy is never overwritten.
        configure(root.path(), &format!("{client} --write")).unwrap();
        assert_eq!(read(&root, &copy).unwrap(), text);
        assert_eq!(read(&root, &format!("{copy}.1")).unwrap(), rest);
        configure(root.path(), &format!("{client} --remove")).unwrap();
        assert_eq!(read(&root, path).unwrap(), rest);
        assert_eq!(read(&root, &format!("{copy}.1")), None);
    }
}

#[test]
fn broken_files_are_errors_and_nothing_is_written() {
    for (client, path, texts) in [
        ("docker", DAEMON, &["{", "[]", "{\"a\": 1,}", "{} // x", "{\"registry-mirrors\": \"x\"}"][..]),
        ("containerd", ALL_HOSTS, &["x", "[host", "host = 1"]),
        ("containerd", "etc/containerd/config.toml", &["[plugins"]),
        ("podman --registry a.example", DROP_IN, &["[[registry]", "[registry]"]),
        ("podman --registry a.example", "etc/containers/registries.conf", &["= 1"]),
        ("podman --registry a.example", "etc/containers/registries.conf.d/99-x.conf", &["[["]),
    ] {
        for text in texts {
            let root = root_with(&[(path, text)]);
            let before = files(root.path());
            let error = configure(root.path(), &format!("{client} --write")).unwrap_err();
            let error = format!("{error:#}");
            assert!(error.contains(path), "{error}");
            assert_eq!(files(root.path()), before, "{text}");
        }
    }
    // One of two.
    let second = "etc/containerd/certs.d/b.example/hosts.toml";
    let root = root_with(&[(second, "x")]);
    configure(root.path(), "containerd --registry a.example --registry b.example --write").unwrap_err();
    assert_eq!(files(root.path()).len(), 1);
}

#[test]
fn entries_of_other_files_are_not_replaced() {
    let entry = "[[registry]]\nprefix = \"\"\nlocation = \"a.example\"\nblocked = false\n";
    for path in ["etc/containers/registries.conf", "etc/containers/registries.conf.d/60-site.conf"] {
        let root = root_with(&[(path, entry)]);
        let error = configure(root.path(), "podman --registry a.example --write").unwrap_err().to_string();
        assert!(error.contains(path), "{error}");
        // The line that it asks for does it.
        let line = error.rsplit_once("Add to that entry: ").unwrap().1;
        fs::write(root.path().join(path), format!("{entry}{line}\n")).unwrap();
        let notes = configure(root.path(), "podman --registry a.example --write").unwrap();
        assert!(notes[0].contains("has the mirror for a.example already"), "{notes:?}");
        let mirror = "[[registry.mirror]]\nlocation = \"127.0.0.1:5050/a.example\"\ninsecure = true\n";
        fs::write(root.path().join(path), format!("{entry}{mirror}")).unwrap();
        let notes = configure(root.path(), "podman --registry a.example --write").unwrap();
        assert!(notes[0].contains("has the mirror for a.example already"), "{notes:?}");
        assert_eq!(files(root.path()).len(), 1);
    }
    // What no client reads is none of them, and a closer entry is worth a note.
    let closer = "[[registry]]\nlocation = \"a.example/team\"\n";
    let root = root_with(&[
        ("etc/containers/registries.conf.d/60-site.conf.old", entry),
        ("etc/containers/registries.conf", closer),
    ]);
    let notes = configure(root.path(), "podman --registry a.example --write").unwrap();
    assert!(notes[0].contains("images of a.example/team are pulled without the mirror"), "{notes:?}");
}

#[test]
fn the_steps_that_are_left_are_told() {
    let config = "etc/containerd/config.toml";
    for (text, missing) in [
        ("", "config_path = \"/etc/containerd/certs.d\""),
        (
            "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry.mirrors.x]\nendpoint = []\n",
            "move the mirrors",
        ),
        (
            "version = 3\n[plugins.'io.containerd.cri.v1.images'.registry]\nconfig_path = '/x'\n",
            "restart containerd",
        ),
    ] {
        let root = root_with(&[(config, text)]);
        let notes = configure(root.path(), "containerd").unwrap();
        assert!(notes[0].contains(missing), "{notes:?}");
    }
    for plugin in ["io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images"] {
        let text = format!(
            "[plugins.'{plugin}'.registry]\nconfig_path = '/etc/docker/certs.d:/etc/containerd/certs.d/'\n"
        );
        let root = root_with(&[(config, &text), ("etc/containerd/certs.d/a.example/hosts.toml", "")]);
        let notes = configure(root.path(), "containerd").unwrap();
        assert_eq!(notes.len(), 1);
        assert!(notes[0].contains("give --registry a.example, too"), "{notes:?}");
        assert_eq!(configure(root.path(), "containerd --registry a.example").unwrap(), [""; 0]);
    }
    let root = root_with(&[]);
    assert!(configure(root.path(), "docker").unwrap()[0].contains("--upstream docker.io"));
    let error = configure(root.path(), "docker --registry a.example").unwrap_err().to_string();
    assert!(error.contains("docker.io alone"), "{error}");
    let error = configure(root.path(), "podman --write").unwrap_err().to_string();
    assert!(error.contains("--registry"), "{error}");
}

#[test]
fn links_in_another_root_are_not_followed() {
    let outside = root_with(&[]);
    for link in ["etc", "etc/docker", DAEMON] {
        let root = root_with(&[]);
        fs::create_dir_all(root.path().join(link).parent().unwrap()).unwrap();
        symlink(outside.path(), root.path().join(link)).unwrap();
        let error = configure(root.path(), "docker --write").unwrap_err().to_string();
        assert!(error.contains("symbolic link"), "{error}");
    }
    assert_eq!(files(outside.path()), []);
}
