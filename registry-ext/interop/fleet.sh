#!/usr/bin/env bash
# Jobs of Slurm publish the deltas of an organisation: fleet.sh [REPOSITORIES] [TAGS] [JOBS], by default 40, 25 and 8.
#
# An organisation of so many repositories with so many tags each lies on two docker-registries. On the first one, a single
# process publishes the plan. On the second one, an array of Slurm does, and some of its tasks are killed and queued again
# while they run. Both registries have the same manifests and tags afterwards, byte for byte, and publishing once more writes
# nothing.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
need docker-registry jq munged python3 sbatch slurmctld slurmd
find_registry_ext
if [[ -z ${PUSH_LAYERS:-} ]]; then
    (cd "$workspace" && cargo build --release -p registry-ext --features demo --bin push-layers)
    PUSH_LAYERS=${CARGO_TARGET_DIR:-$workspace/target}/release/push-layers
fi
repositories=${1:-40} tags=${2:-25} jobs=${3:-8}

start_registry clean
clean=$registry
step "$repositories repositories with $tags tags each"
python3 - "$work/layers" "$repositories" "$tags" <<'PY'
import gzip, io, os, random, sys, tarfile
place, repositories, tags = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])

def write(name, files):
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as tar:
        for path, content in files:
            entry = tarfile.TarInfo(path)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    with open(name, "wb") as out:
        out.write(gzip.compress(plain.getvalue(), 6, mtime=0))

for repository in range(repositories):
    rng = random.Random(repository)
    program, base = bytearray(rng.randbytes(40_000)), rng.randbytes(20_000)
    os.makedirs(f"{place}/app-{repository}")
    for tag in range(tags):
        # Five releases for each minor version, which has a base of its own.
        minor, patch = divmod(tag, 5)
        name = f"{place}/app-{repository}/v1.{minor}.{patch}"
        write(f"{name}.base.tar.gz", [("lib/base", base[:15_000] + random.Random(minor).randbytes(5_000))])
        at = rng.randrange(len(program) - 200)
        program[at:at + 200] = rng.randbytes(200)
        write(f"{name}.app.tar.gz", [("bin/app", bytes(program)), ("version", f"{minor}.{patch}".encode())])
PY
for repository in $(seq 0 $((repositories - 1))); do
    for layer in "$work/layers/app-$repository"/*.app.tar.gz; do
        tag=$(basename "$layer" .app.tar.gz)
        "$PUSH_LAYERS" "$clean/app-$repository:$tag" "${layer%.app.tar.gz}.base.tar.gz" "$layer"
    done
done
cp -r "$work/clean" "$work/rough"
start_registry rough
rough=$registry

# state REGISTRY: the tags, and the manifests that they lead to, in a form that two registries can be compared by.
state() {
    python3 - "$1" "$repositories" <<'PY'
import hashlib, json, sys, urllib.request
registry, repositories = sys.argv[1], int(sys.argv[2])
accept = {"Accept": ", ".join("application/vnd.oci.image." + kind + ".v1+json" for kind in ("manifest", "index"))}

def get(path):
    with urllib.request.urlopen(urllib.request.Request(f"http://{registry}/v2/{path}", headers=accept)) as answer:
        return answer.read()

for repository in range(repositories):
    name = f"app-{repository}"
    waiting, seen = sorted(json.loads(get(f"{name}/tags/list"))["tags"]), set()
    while waiting:
        reference = waiting.pop()
        if reference in seen:
            continue
        seen.add(reference)
        bytes_ = get(f"{name}/manifests/{reference}")
        print(name, reference, hashlib.sha256(bytes_).hexdigest())
        waiting.extend(entry["digest"] for entry in json.loads(bytes_).get("manifests", []))
PY
}

# written LOG FROM: the requests that change something, of those behind so many lines.
written() {
    requests_since "$1" "$2" | grep -cE '"(PUT|POST|PATCH|DELETE) ' || true
}

publish=("$REGISTRY_EXT" publish --quiet --level 3)
name_list() {
    seq -f "$1/app-%g" 0 $((repositories - 1))
}
step "one process publishes the plan"
# shellcheck disable=SC2046
"$REGISTRY_EXT" plan $(name_list "$clean") --quiet --output "$work/plan.json"
pairs=$(jq '[.repositories[].pairs[] | select(.verdict == "make")] | length' "$work/plan.json")
((pairs > 0)) || fail "the plan is empty"
before=$(wc -l <"$work/clean.log")
started=$SECONDS
"${publish[@]}" --plan "$work/plan.json" || fail "the plan was not published"
echo "$pairs updates in $((SECONDS - started)) s, $(requests_since "$work/clean.log" "$before" | grep -c '" [0-9]* [0-9]* "') requests"

step "an array of $jobs tasks of Slurm does, some of which are killed"
sed "s/$clean/$rough/g" "$work/plan.json" >"$work/rough.json"
mkdir "$work/slurm" "$work/munge"
dd if=/dev/urandom of="$work/munge/key" bs=1024 count=1 status=none
chmod 711 "$work"
chmod 400 "$work/munge/key"
chown -R munge: "$work/munge"
runuser -u munge -- munged --foreground --force --num-threads 2 --key-file "$work/munge/key" --socket "$work/munge/socket" \
    --pid-file "$work/munge/pid" --log-file "$work/munge/log" --seed-file "$work/munge/seed" >/dev/null 2>&1 &
pids+=($!)
host=$(hostname -s)
export SLURM_CONF=$work/slurm/slurm.conf
cat >"$SLURM_CONF" <<CONF
ClusterName=fleet
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$(free_port)
SlurmdPort=$(free_port)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$work/munge/socket
StateSaveLocation=$work/slurm/state
SlurmdSpoolDir=$work/slurm/spool
SlurmctldPidFile=$work/slurm/slurmctld.pid
SlurmdPidFile=$work/slurm/slurmd.pid
ProctrackType=proctrack/pgid
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
NodeName=$host NodeAddr=127.0.0.1 CPUs=$jobs State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES State=UP
CONF
slurmctld -D -f "$SLURM_CONF" >"$work/slurm/slurmctld.log" 2>&1 &
pids+=($!)
slurmd -D -f "$SLURM_CONF" >"$work/slurm/slurmd.log" 2>&1 &
pids+=($!)
for _ in $(seq 100); do
    [[ $(sinfo --noheader --format %T 2>/dev/null) == idle ]] && break
    sleep 0.3
done
[[ $(sinfo --noheader --format %T) == idle ]] || fail "Slurm did not start: $(cat "$work"/slurm/*.log)"

mkdir "$work/bin"
ln -s "$(realpath "$REGISTRY_EXT")" "$work/bin/registry-ext"
export PATH=$work/bin:$PATH
before=$(wc -l <"$work/rough.log")
started=$SECONDS
job=$(sbatch --parsable --array="1-$jobs" --output "$work/slurm/%a.log" --open-mode append \
    "$workspace/packaging/fleet/slurm.sh" "$work/rough.json" --quiet --level 3)
for round in 1 2; do
    sleep 2
    for task in $(seq "$round" 2 "$jobs"); do
        # One that has ended is run again, too.
        scontrol requeue "${job}_$task" 2>/dev/null || true
    done
done
# An array whose tasks are queued again waits for two minutes, which is for schedulers of many machines.
until [[ -z $(squeue --noheader --jobs "$job" 2>/dev/null) ]]; do
    for task in $(squeue --noheader --states PENDING --array --format %i --jobs "$job" 2>/dev/null); do
        scontrol update JobId="$task" StartTime=now 2>/dev/null || true
    done
    sleep 1
    ((SECONDS - started < 3600)) || fail "the jobs do not end: $(squeue)"
done
echo "$((SECONDS - started)) s, $(requests_since "$work/rough.log" "$before" | grep -c '" [0-9]* [0-9]* "') requests"
[[ ! -s $(ls "$work"/slurm/[0-9]*.log | head -1) ]] || cat "$work"/slurm/[0-9]*.log | sort | uniq -c | sort -rn | head

step "both registries have the same"
state "$clean" >"$work/clean.state"
state "$rough" >"$work/rough.state"
diff "$work/clean.state" "$work/rough.state" | head -20
cmp "$work/clean.state" "$work/rough.state" || fail "the jobs published something else"
echo "$(wc -l <"$work/clean.state") tags and manifests"

step "publishing once more writes nothing"
before=$(wc -l <"$work/rough.log")
"${publish[@]}" --plan "$work/rough.json" || fail "the second publishing failed"
((0 == $(written "$work/rough.log" "$before"))) || fail "something was written: $(requests_since "$work/rough.log" "$before" | grep -E '"(PUT|POST)' | head -3)"
# shellcheck disable=SC2046
[[ 0 == $("$REGISTRY_EXT" plan $(name_list "$rough") --json | jq '[.repositories[].pairs[] | select(.verdict == "make")] | length') ]] ||
    fail "something is planned again"
echo "PASS fleet: $pairs updates of $repositories repositories, by $jobs jobs of which some were killed"
