#!/usr/bin/env bash
# The time of an update over slow and fast lines: pull-times.sh OLD.tar.gz NEW.tar.gz [MBIT...]
#
# Each layer is an image. podman pulls the new one from docker-registry over a line of so many Mbit/s, with the old one in its
# storage: plainly, and through `registry-ext mirror`, which saves time or bytes. `registry-ext pull` does it whole and with
# deltas. One line of JSON for each way and rate is added to $OUT, if that is set, with $PAIR as the name of the update. The
# line is a veth pair with a token bucket. `benches pull-times` makes a table and a picture of the figures; of a rate that is
# given several times it takes the median. Every other round goes through the ways backwards.
# There is no PASS to this one: it measures. It takes minutes.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
need curl docker-registry ip jq podman tc
(($# >= 2)) || fail "the old and the new layer are missing: pull-times.sh OLD.tar.gz NEW.tar.gz [MBIT...]"
if [[ -z ${PUSH_LAYERS:-} ]]; then
    find_registry_ext
    (cd "$workspace" && cargo build --release -p registry-ext --features demo --bin push-layers)
    export REGISTRY_EXT PUSH_LAYERS=${CARGO_TARGET_DIR:-$workspace/target}/release/push-layers
    rm -r "$work"
    # Mounts, and the addresses of this machine, are those of the script alone.
    exec unshare --mount --net -- "$0" "$@"
fi
old=$1 new=$2
shift 2
rates=("$@")
((${#rates[@]})) || rates=(10 100 1000)

host=10.200.0.2:5000 mirror=127.0.0.1:5050
ip link set lo up
unshare --net sleep infinity &
far=$!
pids+=("$far")
sleep 0.2
over_there() {
    nsenter --target "$far" --net "$@"
}
ip link add near type veth peer name far netns "$far"
ip address add 10.200.0.1/24 dev near
ip link set near up
over_there ip link set lo up
over_there ip address add 10.200.0.2/24 dev far
over_there ip link set far up
cat >"$work/registry.yml" <<YML
version: 0.1
log: {level: error}
storage: {filesystem: {rootdirectory: $work/registry}}
http: {addr: "0.0.0.0:5000"}
YML
over_there docker-registry serve "$work/registry.yml" >"$work/registry.log" 2>&1 &
pids+=($!)
wait_for_url "http://$host/v2/"
over_there "$PUSH_LAYERS" 127.0.0.1:5000/app:v1 "$old"
over_there "$PUSH_LAYERS" 127.0.0.1:5000/app:v2 "$new"
over_there "$REGISTRY_EXT" publish -q 127.0.0.1:5000/app:v2 --from 127.0.0.1:5000/app:v1

touch "$work/registries.conf"
mount --bind "$work/registries.conf" /etc/containers/registries.conf
direct="[[registry]]
location = \"$host\"
insecure = true"
through="$direct
[[registry.mirror]]
location = \"$mirror/${host/:/__}\"
insecure = true"
echo "$direct" >"$work/registries.conf"
podman_in overlay pull -q "$host/app:v1" >/dev/null
source=containers-storage:[overlay@$work/storage-overlay+$work/run-overlay]
blob=$(stat -c %s "$new")

received() {
    ip -json -statistics link show near | jq '.[0].stats64.rx.bytes'
}

# measured WAY COMMAND...: runs the command, and writes down its time and the bytes that came over the line.
measured() {
    local way=$1 began bytes
    shift
    # What was removed before, and what was written, is work for the disk that is no part of this pull.
    sync
    bytes=$(received)
    began=$(date +%s.%N)
    "$@" >/dev/null
    jq -nc --arg pair "${PAIR:-update}" --arg way "$way" --argjson mbit "$rate" --argjson blob "$blob" --argjson bytes "$(($(received) - bytes))" \
        --argjson began "$began" --argjson ended "$(date +%s.%N)" \
        '{pair: $pair, way: $way, mbit: $mbit, seconds: (($ended - $began) * 100 | round / 100), bytes: $bytes, blob: $blob}' |
        tee -a "$work/figures"
}

# through_mirror PREFER: podman pulls the new image through a mirror that has no cache yet.
through_mirror() {
    local process
    "$REGISTRY_EXT" mirror -q --plain-http --source "$source" --cache "$work/cache" --line "$rate" --prefer "$1" >/dev/null &
    process=$!
    pids+=("$process")
    wait_for_url "http://$mirror/readyz"
    echo "$through" >"$work/registries.conf"
    measured "mirror, $1" podman_in overlay pull -q "$host/app:v2"
    echo "$direct" >"$work/registries.conf"
    kill "$process"
    wait "$process" || true
    podman_in overlay rmi -f "$host/app:v2" >/dev/null
    rm -rf "$work/cache"
}

plainly() {
    measured "podman" podman_in overlay pull -q "$host/app:v2"
    podman_in overlay rmi -f "$host/app:v2" >/dev/null
}

whole() {
    measured "pull, whole" "$REGISTRY_EXT" pull -q "$host/app:v2" --plain-http --no-deltas --into "oci:$work/whole:v2"
    rm -r "$work/whole"
}

deltas() {
    measured "pull, deltas" "$REGISTRY_EXT" pull -q "$host/app:v2" --plain-http --source "$source" --line "$rate" \
        --into "oci:$work/deltas:v2"
    rm -r "$work/deltas"
}

there=(plainly "through_mirror time" "through_mirror size" whole deltas)
back=(deltas whole "through_mirror size" "through_mirror time" plainly)
for ((round = 0; round < ${#rates[@]}; round++)); do
    rate=${rates[round]}
    step "$rate Mbit/s"
    over_there tc qdisc replace dev far root tbf rate "${rate}mbit" burst 256kb latency 300ms
    # A disk that grows slower over time is then no disadvantage of the same way in each round.
    if ((round % 2)); then ways=("${back[@]}"); else ways=("${there[@]}"); fi
    for way in "${ways[@]}"; do
        # shellcheck disable=SC2086 # A way is a function with its arguments.
        $way
    done
done
[[ -z ${OUT:-} ]] || cat "$work/figures" >>"$OUT"
