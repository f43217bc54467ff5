#!/usr/bin/env bash
# cfsctl, the client of composefs-rs, takes the oci-delta artifact that registry-ext wrote into an OCI layout.
#
# It has v1 in its repository, gets the artifact alone (v2's layer is not in it) and must come out with v2 under its original
# manifest and config digests, with the same composefs image as if it had pulled v2 itself. From a registry it does the same,
# by the artifact's digest, which the tag for v2's referrers tells. Without v1 it must refuse. It also takes the hand-made
# artifact of fixtures/interop, which shows that the fixtures are what they say. At last registry-ext reads the repositories of
# cfsctl, with each of its digests, as sources of old files.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
need buildah curl docker-registry jq python3 skopeo "${CFSCTL:=cfsctl}"
find_registry_ext

# repository NAME: a repository of cfsctl, in files only: no fs-verity is asked of the file system.
repository() {
    "$CFSCTL" --repo "$work/$1" init --insecure --erofs-version 2 >/dev/null
}

in_repository() {
    local name=$1
    shift
    "$CFSCTL" --repo "$work/$name" "$@"
}

# inspected REPOSITORY NAME PART: digest of the bytes that cfsctl stored; it prints a line end after them.
inspected() {
    local bytes
    bytes=$(in_repository "$1" oci inspect "$2" "--$3")
    printf %s "$bytes" | sha256_of
}

# same_image REPOSITORY NAME MANIFEST CONFIG: what is stored under NAME has these digests, and is whole.
same_image() {
    local stored
    stored=$(inspected "$1" "$2" manifest)
    [[ $stored == "$3" ]] || fail "$1: the manifest is $stored and not $3"
    stored=$(inspected "$1" "$2" config)
    [[ $stored == "$4" ]] || fail "$1: the config is $stored and not $4"
    in_repository "$1" oci fsck "$2"
}

step "images"
make_images
manifest=$(layout_manifest "$work/v2")
config=$(jq -r .config.digest "$(layout_blob "$work/v2" "$manifest")")
layer=$(jq -r '.layers[-1].digest' "$(layout_blob "$work/v2" "$manifest")")
diff_id=$(jq -r '.rootfs.diff_ids[-1]' "$(layout_blob "$work/v2" "$config")")

step "registry-ext writes the artifact"
"$REGISTRY_EXT" publish "oci:$work/v2:v2" --from "oci:$work/v1:v1" --to "oci:$work/delta" --for oci-delta
artifact=$(layout_blob "$work/delta" "$(layout_manifest "$work/delta")")
[[ -e $(layout_blob "$work/delta" "$layer") ]] && fail "the artifact holds the whole layer"
echo "artifact: $(jq '[.layers[].size] | add' "$artifact") bytes, layer: $(stat -c %s "$(layout_blob "$work/v2" "$layer")") bytes"

step "cfsctl, which has v1, pulls the artifact"
repository with-delta
in_repository with-delta oci pull "oci:$work/v1:v1" v1
in_repository with-delta oci pull "oci:$work/delta" v2
same_image with-delta v2 "$manifest" "$config"
rebuilt=$(in_repository with-delta oci layer "$diff_id" | sha256_of)
[[ $rebuilt == "$diff_id" ]] || fail "the layer is $rebuilt and not $diff_id"

step "it has the same image as a plain pull of v2"
repository plain
in_repository plain oci pull "oci:$work/v2:v2" v2
same_image plain v2 "$manifest" "$config"
[[ $(in_repository with-delta oci compute-id v2) == "$(in_repository plain oci compute-id v2)" ]] ||
    fail "the composefs images differ"

step "the same from a registry, by the artifact's digest"
start_registry registry
mkdir -p "$work/home/.config/containers"
printf '[[registry]]\nlocation = "%s"\ninsecure = true\n' "$registry" >"$work/home/.config/containers/registries.conf"
for version in v1 v2; do
    skopeo --insecure-policy copy --quiet --dest-tls-verify=false "oci:$work/$version:$version" "docker://$registry/app:$version"
done
"$REGISTRY_EXT" publish "$registry/app:v2" --from "$registry/app:v1" --for oci-delta --plain-http
published=$(skopeo inspect --raw --tls-verify=false "docker://$registry/app:sha256-${manifest#sha256:}" |
    jq -r '.manifests | if length == 1 then .[0].digest else error("\(length) referrers") end')
repository from-registry
start=$(wc -l <"$work/registry.log")
HOME=$work/home in_repository from-registry oci pull "docker://$registry/app:v1" v1
HOME=$work/home in_repository from-registry oci pull "docker://$registry/app@$published" v2
same_image from-registry v2 "$manifest" "$config"
requests_since "$work/registry.log" "$start" >"$work/requests"
grep -qF "/manifests/$published" "$work/requests" || fail "cfsctl did not ask for the artifact"
grep -F "/blobs/$layer" "$work/requests" && fail "cfsctl fetched the layer"

step "without v1 it refuses"
repository empty
in_repository empty oci pull "oci:$work/delta" v2 >"$work/refused.log" 2>&1 && fail "cfsctl applied a delta without its source"
grep -F 'not present in the repository' "$work/refused.log" || { cat "$work/refused.log" >&2; fail "cfsctl failed otherwise"; }

step "the hand-made artifact of fixtures/interop"
fixtures=$workspace/fixtures
for name in images oci-delta; do
    mkdir "$work/$name"
    tar -xf "$fixtures/interop/$name.tar" -C "$work/$name"
done
for name in old new; do
    cp "$fixtures/golden/$name.tar.gz" "$(layout_blob "$work/images" "$(sha256_of "$fixtures/golden/$name.tar.gz")")"
done
manifest=$(jq -r '.manifests[] | select(.annotations["org.opencontainers.image.ref.name"] == "new").digest' "$work/images/index.json")
config=$(jq -r .config.digest "$(layout_blob "$work/images" "$manifest")")
repository fixtures
in_repository fixtures oci pull "oci:$work/images:old" old
in_repository fixtures oci pull "oci:$work/oci-delta" new
same_image fixtures new "$manifest" "$config"

step "registry-ext reads the old image in a repository of cfsctl"
for algorithm in sha256 sha512; do
    "$CFSCTL" --repo "$work/of-$algorithm" init --insecure --algorithm "fsverity-$algorithm-12" >/dev/null
    in_repository "of-$algorithm" oci pull "oci:$work/v1:v1" v1
    "$REGISTRY_EXT" pull "$registry/app:v2" --into "oci:$work/pulled-$algorithm:v2" --source "composefs:$work/of-$algorithm" \
        --plain-http --json >"$work/pulled.json"
    jq -e '.layers[-1].from.delta' "$work/pulled.json" >/dev/null || { cat "$work/pulled.json" >&2; fail "no delta was used"; }
    echo "$algorithm: $(jq .fetched "$work/pulled.json") bytes of $(jq .plain "$work/pulled.json") were fetched"
done

echo "PASS composefs: $("$CFSCTL" --version)"
