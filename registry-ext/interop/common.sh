# shellcheck shell=bash disable=SC2034,SC2119,SC2120
# Sourced by the scripts beside it: a temporary world on 127.0.0.1 that is gone when the script ends.

interop=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
workspace=$(cd "$interop/../.." && pwd)
work=$(mktemp -d)
mkdir "$work/tmp"
export TMPDIR=$work/tmp
pids=()
cleanups=()

fail() {
    echo "FAIL: $*" >&2
    exit 1
}

step() {
    echo "== $*"
}

# Runs once, at any end: stops what was started here, then removes the directory. KEEP=1 leaves the directory.
cleanup() {
    local status=$? pid line
    trap - EXIT INT TERM ERR
    for line in "${cleanups[@]}"; do
        eval "$line" || true
    done
    for pid in "${pids[@]}"; do
        kill "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    # What container tools left mounted, innermost first.
    awk -v root="$work/" 'index($2, root) == 1 { print $2 }' /proc/mounts | sort -r | while read -r line; do
        umount "$line" || true
    done
    if [[ ${KEEP:-} == 1 ]]; then
        echo "kept $work" >&2
    else
        chmod -R u+rwX "$work" 2>/dev/null || true
        rm -rf "$work"
    fi
    exit "$status"
}
trap cleanup EXIT
set -E
trap 'echo "FAIL: line $LINENO: $BASH_COMMAND" >&2' ERR
trap 'exit 130' INT
trap 'exit 143' TERM

need() {
    local tool
    for tool in "$@"; do
        command -v "$tool" >/dev/null || fail "$tool is missing: run $interop/install.sh"
    done
}

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

wait_for_url() {
    local _
    for _ in $(seq 100); do
        curl -fsS -o /dev/null "$1" 2>/dev/null && return
        sleep 0.1
    done
    fail "no answer from $1"
}

# start_registry NAME: a docker-registry of its own; sets registry=127.0.0.1:PORT. Its requests stand in $work/NAME.log.
start_registry() {
    local port
    port=$(free_port)
    cat >"$work/$1.yml" <<YML
version: 0.1
log: {accesslog: {disabled: false}, level: info}
storage: {filesystem: {rootdirectory: $work/$1}, delete: {enabled: true}}
http: {addr: "127.0.0.1:$port"}
YML
    docker-registry serve "$work/$1.yml" >"$work/$1.log" 2>&1 &
    pids+=($!)
    wait_for_url "http://127.0.0.1:$port/v2/"
    registry=127.0.0.1:$port
}

# requests_since LOG LINES: what was asked of a registry after its log had so many lines. It logs after it has answered.
requests_since() {
    sleep 0.5
    tail -n "+$(($2 + 1))" "$1"
}

# REGISTRY_EXT names the binary under test; by default it is built from this workspace.
find_registry_ext() {
    if [[ -z ${REGISTRY_EXT:-} ]]; then
        (cd "$workspace" && cargo build --release -p registry-ext)
        REGISTRY_EXT=${CARGO_TARGET_DIR:-$workspace/target}/release/registry-ext
    fi
    [[ -x $REGISTRY_EXT ]] || fail "no binary at $REGISTRY_EXT"
}

# random_file SEED KIB: bytes that do not compress, the same on every run.
random_file() {
    python3 -c 'import random, sys; sys.stdout.buffer.write(random.Random(int(sys.argv[1])).randbytes(int(sys.argv[2]) * 1024))' "$1" "$2"
}

# Container tools with storage of their own in $work: DRIVER is vfs or overlay.
buildah_in() {
    local driver=$1
    shift
    buildah --root "$work/storage-$driver" --runroot "$work/run-$driver" --storage-driver "$driver" "$@"
}

podman_in() {
    local driver=$1
    shift
    podman --root "$work/storage-$driver" --runroot "$work/run-$driver" --storage-driver "$driver" \
        --cgroup-manager cgroupfs --events-backend file "$@"
}

# make_tree DIR SEED: one version of the files of an application. Versions share most of a program.
make_tree() {
    mkdir -p "$1/usr/bin" "$1/usr/share/doc/app" "$1/etc"
    { random_file 1 700; random_file "$2" 2; random_file 2 700; } >"$1/usr/bin/app"
    chmod 755 "$1/usr/bin/app"
    ln -s app "$1/usr/bin/app-link"
    ln "$1/usr/bin/app" "$1/usr/bin/app-hard"
    random_file 3 300 >"$1/usr/share/app.dat"
    seq -f "version $2, line %g" 2000 >"$1/usr/share/doc/app/README"
    echo "version=$2" >"$1/etc/app.conf"
}

# make_images: OCI layouts $work/v1 and $work/v2 (tags v1, v2), each a base layer that both share and the application. The
# application's layer deletes a file of the base; v2 has a file much like it, for which the deleted one must not be a source.
make_images() {
    local container version
    mkdir -p "$work/base/usr/lib" "$work/base/usr/share"
    random_file 5 400 >"$work/base/usr/lib/libbase.so"
    random_file 6 100 >"$work/base/usr/share/deleted"
    container=$(buildah_in vfs from scratch)
    buildah_in vfs copy -q "$container" "$work/base" / >/dev/null
    buildah_in vfs commit -q --rm "$container" localhost/base >/dev/null
    for version in 1 2; do
        make_tree "$work/tree-v$version" "1$version"
        if [[ $version == 2 ]]; then
            cp "$work/base/usr/share/deleted" "$work/tree-v2/usr/share/like-deleted"
            echo more >>"$work/tree-v2/usr/share/like-deleted"
        fi
        container=$(buildah_in vfs from localhost/base)
        rm "$(buildah_in vfs mount "$container")/usr/share/deleted"
        buildah_in vfs umount "$container" >/dev/null
        buildah_in vfs copy -q "$container" "$work/tree-v$version" / >/dev/null
        buildah_in vfs commit -q --rm --disable-compression=false "$container" "oci:$work/v$version:v$version" >/dev/null
    done
}

# layout_manifest DIR: digest of the only manifest of an OCI layout.
layout_manifest() {
    jq -r '.manifests | if length == 1 then .[0].digest else error("\(length) manifests") end' "$1/index.json"
}

# layout_blob DIR DIGEST: the path of a blob.
layout_blob() {
    echo "$1/blobs/sha256/${2#sha256:}"
}

sha256_of() {
    echo "sha256:$(sha256sum "$@" | cut -d' ' -f1)"
}
