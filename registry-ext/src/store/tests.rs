//! The names of stores.

use super::*;

#[test]
fn stores_are_read() {
    let digest = format!("sha256:{}", "ab".repeat(32));
    let storage = StorageRef {
        driver: Some("vfs".into()),
        root: Some("/r".into()),
        runroot: Some("/run".into()),
        name: Some("localhost/a:v1".into()),
    };
    for (text, wanted) in [
        ("oci:dir", StoreRef::Layout("dir".into(), None)),
        ("oci:dir:v1", StoreRef::Layout("dir".into(), Some("v1".into()))),
        ("oci-archive:a.tar:v1", StoreRef::Archive("a.tar".into(), Some("v1".into()))),
        ("docker-archive:a.tar", StoreRef::DockerArchive("a.tar".into())),
        ("docker-archive:a.tar:app:v1", StoreRef::DockerArchive("a.tar".into())),
        ("containers-storage:", StoreRef::Storage(StorageRef::default())),
        ("containers-storage:[vfs@/r+/run]localhost/a:v1", StoreRef::Storage(storage)),
        ("docker:", StoreRef::Docker("/var/lib/docker".into())),
        ("docker:/srv/docker", StoreRef::Docker("/srv/docker".into())),
        ("containerd:", StoreRef::Containerd("/var/lib/containerd".into())),
        ("containerd:/srv/c", StoreRef::Containerd("/srv/c".into())),
        ("composefs:", StoreRef::Composefs("/sysroot/composefs".into())),
        ("composefs:/srv/c", StoreRef::Composefs("/srv/c".into())),
        ("ostree:", StoreRef::Ostree("/ostree/repo".into(), None)),
        ("ostree:@app/x86_64", StoreRef::Ostree("/ostree/repo".into(), Some("app/x86_64".into()))),
        ("ostree:/r@origin:app", StoreRef::Ostree("/r".into(), Some("origin:app".into()))),
        // A path may have an @, a ref has none.
        ("ostree:/r@1@app", StoreRef::Ostree("/r@1".into(), Some("app".into()))),
        ("ostree:/r@1@", StoreRef::Ostree("/r@1".into(), None)),
        ("tree:/srv/root", StoreRef::Tree("/srv/root".into(), None)),
        (&format!("tree:/srv/root@{digest}"), StoreRef::Tree("/srv/root".into(), digest.parse().ok())),
    ] {
        assert_eq!(text.parse::<StoreRef>().unwrap(), wanted, "{text}");
    }
    for text in [
        "",
        "dir",
        "oci:",
        "tree:",
        "tree:/x@sha256:1",
        "containers-storage:[/r",
        // skopeo would write to the usual storage, with the usual driver.
        "containers-storage:[vfs@]a",
        "containers-storage:[+/run]a",
        "containers-storage:[vfs@relative+/run]a",
        "containers-storage:[/r+run]a",
        "containers-storage:[--log-level=debug]a",
        "containers-storage:[vfs@/r+/run:overlay.mountopt=nodev]a",
        "docker://h/a:v1",
        "ostree:/r@",
        "rkt:x",
    ] {
        assert!(text.parse::<StoreRef>().is_err(), "{text}");
    }
}

#[test]
fn stores_are_written_as_they_are_read() {
    for text in [
        "docker:/var/lib/docker",
        "containerd:/srv/c",
        "composefs:/srv/c",
        "ostree:/srv/r",
        "ostree:/srv/r@app",
        "ostree:/srv/r@1@",
        "ostree:/srv/r@1@app",
        "tree:/srv/root",
        "oci:dir:v1",
        "docker-archive:a.tar",
    ] {
        assert_eq!(text.parse::<StoreRef>().unwrap().to_string(), text);
    }
}

#[test]
fn storage_names_are_written_as_skopeo_reads_them() {
    for text in [
        "containers-storage:localhost/a:v1",
        "containers-storage:[overlay@/r+/run]a",
        "containers-storage:[/r]a",
    ] {
        let Ok(StoreRef::Storage(storage)) = text.parse() else { panic!("{text}") };
        assert_eq!(storage.to_string(), text);
    }
}

#[tokio::test]
async fn a_store_that_cannot_be_read_is_told_of_once() {
    let dir = tempfile::tempdir().unwrap();
    let layout = OciLayout::create(dir.path()).unwrap();
    std::fs::write(dir.path().join("index.json"), "{").unwrap();
    let stores: Vec<Arc<dyn LayerStore>> = vec![Arc::new(layout)];
    let (send, receive) = std::sync::mpsc::channel();
    let watch = Watch::new(move |event| {
        if let crate::watch::Event::Warning(text) = event {
            send.send(text.to_owned()).unwrap();
        }
    });
    let base = |name: u8| Base::Layer(DiffId(Digest::from_bytes([name; 32])));
    for wanted in [1..20, 10..40] {
        assert!(bases(&stores, wanted.map(base).collect(), &watch, None).await.unwrap().is_empty());
    }
    drop(watch);
    let warnings: Vec<String> = receive.try_iter().collect();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("is not used"), "{warnings:?}");
}
