#!/usr/bin/env bash
# A real flatpak client updates with a delta that registry-ext published.
#
# v1, v2 and v3 of an app lie as OCI images in a docker-registry, the remote's index is a static file. The client
# installs v1 and updates to v2 for which a delta from v1 exists: it must say "Using OCI delta", fetch the delta and
# not v2's layer, and deploy v2's tree. Then it updates to v3, which has no delta, although `_deltaindex` exists. A
# second client updates from v0, which the delta to v2 does not know. Neither may be harmed.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# flatpak talks to a session bus: run again under a private one, with nothing of the user's own directories.
if [[ ${INTEROP_BUS:-} != private ]]; then
    need flatpak ostree docker-registry skopeo dbus-run-session curl jq python3
    find_registry_ext
    export REGISTRY_EXT INTEROP_BUS=private
    rm -rf "$work"
    unset TMPDIR
    exec dbus-run-session -- bash "${BASH_SOURCE[0]}" "$@"
fi

app=org.example.Interop
repository=interop/app
case $(flatpak --default-arch) in
    x86_64) arch=x86_64 goarch=amd64 ;;
    aarch64) arch=aarch64 goarch=arm64 ;;
    *) fail "unknown architecture $(flatpak --default-arch)" ;;
esac
ref=app/$app/$arch/master

# become NAME: the flatpak commands that follow are those of this user.
become() {
    local home=$work/user-$1
    mkdir -p "$home/run"
    chmod 700 "$home/run"
    export HOME=$home XDG_DATA_HOME=$home/data XDG_CACHE_HOME=$home/cache XDG_CONFIG_HOME=$home/config
    export XDG_RUNTIME_DIR=$home/run XDG_STATE_HOME=$home/state
    export XDG_DATA_DIRS=$XDG_DATA_HOME/flatpak/exports/share:/usr/share
    export FLATPAK_SYSTEM_DIR=$home/system FLATPAK_CONFIG_DIR=$home/etc FLATPAK_SYSTEM_CACHE_DIR=$home/system-cache
    deployed=$XDG_DATA_HOME/flatpak/$ref/active
}

# make_version N SEED: the tree $work/vN, and the image oci:$work/image-N. Versions share most of a program.
make_version() {
    local tree=$work/v$1
    mkdir -p "$tree/files/bin" "$tree/files/share/doc" "$tree/export"
    printf '[Application]\nname=%s\nruntime=org.example.Platform/%s/1\nsdk=org.example.Sdk/%s/1\ncommand=interop\n' \
        "$app" "$arch" "$arch" >"$tree/metadata"
    { random_file 1 700; random_file "$2" 2; random_file 2 700; } >"$tree/files/bin/interop"
    chmod 755 "$tree/files/bin/interop"
    random_file 3 300 >"$tree/files/share/data"
    seq -f "version $1, line %g" 2000 >"$tree/files/share/doc/README"
    echo "only in $1" >"$tree/files/share/doc/NEWS-$1"
    ln -s interop "$tree/files/bin/interop-link"
    flatpak build-export --disable-sandbox --no-update-summary "$work/export-$1" "$tree" master >/dev/null
    flatpak build-bundle --oci "$work/export-$1" "$work/image-$1" "$app" master >/dev/null
    skopeo --insecure-policy copy --quiet --dest-tls-verify=false "oci:$work/image-$1" "docker://$registry/$repository:v$1"
}

manifest() {
    skopeo inspect --raw --tls-verify=false "docker://$registry/$repository:$1"
}

# serve_version N: from here on the remote's index offers vN.
serve_version() {
    local digest
    digest=sha256:$(manifest "v$1" | sha256sum | cut -d' ' -f1)
    skopeo inspect --config --tls-verify=false "docker://$registry/$repository:v$1" |
        jq --arg registry "http://$registry/" --arg name "$repository" --arg digest "$digest" --arg arch "$goarch" '{
            Registry: $registry,
            Results: [{
                Name: $name,
                Images: [{
                    Digest: $digest,
                    MediaType: "application/vnd.oci.image.manifest.v1+json",
                    OS: "linux",
                    Architecture: $arch,
                    Tags: ["latest"],
                    Labels: .config.Labels
                }]
            }]
        }' >"$work/www/index/static.new"
    mv "$work/www/index/static.new" "$work/www/index/static"
    # The client compares HTTP dates, which have seconds.
    index_time=$((${index_time:-$(date +%s) - 1000} + 10))
    touch -d "@$index_time" "$work/www/index/static"
    layer=$(manifest "v$1" | jq -r '.layers[-1].digest')
}

install_app() {
    flatpak remote-add --user --no-gpg-verify interop "oci+http://$index"
    flatpak install --user -y --no-deps --no-related interop "$app" >"$work/install.log" 2>&1 ||
        { cat "$work/install.log" >&2; fail "flatpak install"; }
}

# update_to N with|without: updates and checks how the client came by vN.
update_to() {
    local log=$work/update-$1-$2.log start
    start=$(wc -l <"$work/registry.log")
    flatpak update --user -v -y --no-deps --no-related >"$log" 2>&1 || { cat "$log" >&2; fail "flatpak update to v$1"; }
    requests_since "$work/registry.log" "$start" >"$log.requests"
    if [[ $2 == with ]]; then
        grep -F 'Using OCI delta' "$log" || { cat "$log" >&2; fail "v$1 came without the delta"; }
        grep -qF "blobs/$layer" "$log.requests" && fail "v$1: the client fetched the layer although it had the delta"
    else
        grep -qF 'Using OCI delta' "$log" && fail "v$1 came with a delta"
        grep -qF "blobs/$layer" "$log.requests" || { cat "$log" >&2; fail "v$1: the client fetched no layer"; }
    fi
    same_as "$1"
}

same_as() {
    # flatpak puts an empty .ref into what it deploys.
    diff -r --no-dereference --exclude=.ref "$work/v$1/files" "$deployed/files" || fail "the deployed tree is not v$1"
    [[ -x $deployed/files/bin/interop ]] || fail "v$1: the program is not executable"
}

# flatpak has the bus start an authenticator, which outlives the bus.
stop_authenticator() {
    local pid
    pid=$(dbus-send --print-reply=literal --dest=org.freedesktop.DBus / \
        org.freedesktop.DBus.GetConnectionUnixProcessID string:org.flatpak.Authenticator.Oci 2>/dev/null |
        awk '{ print $2 }')
    [[ -z $pid ]] || kill "$pid"
}
cleanups+=(stop_authenticator)

step "registry, index, versions"
become maker
mkdir -p "$work/www/index"
start_registry registry
port=$(free_port)
index=127.0.0.1:$port
# Without Cache-Control a client keeps an index for half an hour.
cat >"$work/www.py" <<'PY'
import functools, http.server, sys

class Handler(http.server.SimpleHTTPRequestHandler):
    def end_headers(self):
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

handler = functools.partial(Handler, directory=sys.argv[2])
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), handler).serve_forever()
PY
python3 "$work/www.py" "$port" "$work/www" >"$work/www.log" 2>&1 &
pids+=($!)
wait_for_url "http://$index/"
make_version 0 10
make_version 1 11
make_version 2 12
make_version 3 13

step "the client installs v1"
become first
serve_version 1
install_app
same_as 1

step "another client installs v0"
become second
serve_version 0
install_app
same_as 0

step "registry-ext publishes v1 -> v2"
"$REGISTRY_EXT" publish "$registry/$repository:v2" --from "$registry/$repository:v1" --for flatpak --plain-http
serve_version 2
delta_size=$(curl -fsS -H 'Accept: application/vnd.oci.image.manifest.v1+json' \
    "http://$registry/v2/$repository/manifests/$(manifest _deltaindex | jq -r '.manifests[0].digest')" | jq '.layers[0].size')
layer_size=$(manifest v2 | jq '.layers[-1].size')
((delta_size < layer_size)) || fail "the delta has $delta_size bytes, the layer $layer_size"
echo "delta: $delta_size bytes, layer: $layer_size bytes"

step "v1 -> v2 uses the delta"
become first
update_to 2 with

step "v0 -> v2, to which no delta leads, takes the layer"
become second
update_to 2 without

step "v2 -> v3, of which the index knows nothing, takes the layer"
become first
serve_version 3
update_to 3 without

step "registry-ext adds v2 -> v3 to the same index; the second client, at v2, uses it"
"$REGISTRY_EXT" publish "$registry/$repository:v3" --from "$registry/$repository:v2" --for flatpak --plain-http
[[ $(manifest _deltaindex | jq '.manifests | length') == 2 ]] || fail "the index lost an entry: $(manifest _deltaindex)"
become second
update_to 3 with

echo "PASS flatpak: $(flatpak --version)"
