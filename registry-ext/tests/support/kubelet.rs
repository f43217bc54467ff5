//! containerd with its CRI plugin, asked for images as kubelet asks for them: by gRPC over its socket.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::daemons::Daemon;
use super::registry_ext;

/// A running containerd that kubelet could use.
#[derive(Debug)]
pub(crate) struct Kubelet {
    daemon: Daemon,
    dir: PathBuf,
}

impl Kubelet {
    /// Starts containerd, which reads the configuration of mirrors below a directory.
    pub(crate) fn start(dir: PathBuf) -> Self {
        let hosts = dir.join("etc/containerd/certs.d");
        fs::create_dir_all(&hosts).unwrap();
        let plugin = "[plugins.\"io.containerd.grpc.v1.cri\"";
        let config = format!(
            "{plugin}]\ndisable_tcp_service = true\nstream_server_port = \"0\"\n{plugin}.registry]\n\
             config_path = \"{}\"\n",
            hosts.display(),
        );
        Self { daemon: Daemon::containerd_with(&config), dir }
    }

    /// The store as `--source` names it.
    pub(crate) fn source(&self) -> String {
        format!("containerd:{}", self.daemon.root().display())
    }

    /// Lets it pull from all registries through a mirror.
    pub(crate) fn configure(&self, mirror: impl ToString) {
        let (mirror, root) = (mirror.to_string(), self.dir.display());
        let line = format!("mirror configure containerd --mirror {mirror} --write --root {root}");
        registry_ext(&line).assert().success();
    }

    /// Calls a method of the image service (k8s.io/cri-api, `runtime.v1.ImageService`). Returns the answer.
    fn call(&self, method: &str, request: &[u8]) -> Vec<u8> {
        let file = |name: &str| self.dir.join(name).display().to_string();
        // gRPC over HTTP/2: a byte that says that nothing is compressed, the size, the message.
        let size = u32::try_from(request.len()).unwrap().to_be_bytes();
        fs::write(file("request"), [&[0], &size[..], request].concat()).unwrap();
        let output = Command::new("curl")
            .args(["--silent", "--show-error", "--http2-prior-knowledge", "--unix-socket"])
            .arg(self.daemon.socket())
            .args(["--header", "content-type: application/grpc", "--header", "te: trailers"])
            .args(["--data-binary", &format!("@{}", file("request"))])
            .args(["--dump-header", &file("headers"), "--output", &file("answer")])
            .arg(format!("http://localhost/runtime.v1.ImageService/{method}"))
            .output()
            .expect("curl has to be installed for this test");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        // Trailers are dumped as headers are.
        let headers = fs::read_to_string(file("headers")).unwrap();
        assert!(headers.contains("grpc-status: 0\r\n"), "{method}: {headers}");
        fs::read(file("answer")).unwrap()[5..].to_vec()
    }

    /// Pulls an image. Returns its ID, the digest of its config.
    pub(crate) fn pull(&self, image: &str) -> String {
        // PullImageRequest { image: ImageSpec { image } }, PullImageResponse { image_ref }
        let answer = self.call("PullImage", &message(&message(image.as_bytes())));
        let id = String::from_utf8(answer[2..].to_vec()).unwrap();
        assert!(id.starts_with("sha256:"), "{id}");
        id
    }
}

/// A message of protobuf with one field, the first one, of so few bytes that its size takes one of them.
fn message(field: &[u8]) -> Vec<u8> {
    let size = u8::try_from(field.len()).unwrap();
    assert!(size < 128);
    [&[0x0a, size], field].concat()
}
