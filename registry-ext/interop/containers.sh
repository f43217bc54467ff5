#!/usr/bin/env bash
# skopeo, podman and buildah beside the deltas of registry-ext in one repository.
#
# They pull its images as if no delta were there; `skopeo copy --all` carries every tag to another registry with digests
# unchanged, and the deltas are of use there; what podman or skopeo installed (drivers vfs and overlay) is the source from
# which registry-ext pulls the next version, and podman takes what it pulled.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
need buildah curl docker-registry jq podman python3 skopeo
find_registry_ext
[[ $(id -u) == 0 ]] || fail "root is needed: containers-storage is read where the tools keep it"

copy() {
    skopeo --insecure-policy copy --quiet --src-tls-verify=false --dest-tls-verify=false "$@"
}

# digest_at REGISTRY TAG: of the manifest as the registry serves it.
digest_at() {
    skopeo inspect --raw --tls-verify=false "docker://$1/$repository:$2" | sha256_of
}

# entries_at REGISTRY TAG: the entries of an index, but for their artifactType.
entries_at() {
    skopeo inspect --raw --tls-verify=false "docker://$1/$repository:$2" | jq -cS '[.manifests[] | del(.artifactType)]'
}

tags_at() {
    skopeo list-tags --tls-verify=false "docker://$1/$repository" | jq -r '.Tags[]' | LC_ALL=C sort
}

# same_tree DIR: is it v2's, over the base?
same_tree() {
    mkdir -p "$work/expected"
    cp -a "$work/base/." "$work/tree-v2/." "$work/expected/"
    rm "$work/expected/usr/share/deleted"
    diff -r --no-dereference "$work/expected" "$1" || fail "$1 is not v2's tree"
}

# same_image DIR: is what registry-ext pulled into the OCI layout v2? It keeps a rebuilt layer as a plain tar, so the
# manifest may be another; the config, which is the image's id and names the layers' diff_ids, may not. skopeo reads all
# blobs and compares them with their digests, podman with the diff_ids.
same_image() {
    local manifest mounted
    manifest=$(layout_blob "$1" "$(layout_manifest "$1")")
    [[ $(jq -r .config.digest "$manifest") == "$config" ]] || fail "$1: another config"
    [[ $(jq -r --arg v2 "$v2" '.annotations["registry-ext.original-manifest"] // $v2' "$manifest") == "$v2" ]] ||
        fail "$1: it names another manifest as its original"
    copy "oci:$1:v2" "dir:$1.dir"
    copy "oci:$1:v2" "containers-storage:[vfs@$work/storage-vfs+$work/run-vfs]localhost/check:v2"
    mounted=$(podman_in vfs image mount localhost/check:v2)
    same_tree "$mounted"
    podman_in vfs image umount localhost/check:v2 >/dev/null
    podman_in vfs image rm -f localhost/check:v2 >/dev/null
}

# pull_checked WHAT REGISTRY LOG INTO SOURCE: registry-ext pulls v2; the registry must have sent the delta and not the layer
# that it rebuilds. Nor the shared layer, unless a layout is to be complete and the source has it unpacked alone.
pull_checked() {
    local start
    start=$(wc -l <"$3")
    "$REGISTRY_EXT" pull "$2/$repository:v2" --into "$4" --source "$5" --plain-http
    requests_since "$3" "$start" >"$work/requests"
    grep -F "GET /v2/$repository/blobs/$layer" "$work/requests" && fail "$1: the layer was fetched in spite of the delta"
    if [[ $4 == containers-storage:* || $5 == oci:* ]]; then
        grep -F "GET /v2/$repository/blobs/$base_layer" "$work/requests" && fail "$1: the shared layer was fetched"
    fi
    grep -qE "GET /v2/$repository/blobs/($deltas)" "$work/requests" || fail "$1: no delta was fetched"
}

# publish_and_list READER TAG: registry-ext publishes v1 -> v2 for one program, which takes one more tag; $deltas are its deltas.
publish_and_list() {
    local digest
    for version in 1 2; do
        copy "oci:$work/v$version:v$version" "docker://$first/$repository:v$version"
    done
    [[ $(digest_at "$first" v2) == "$v2" ]] || fail "skopeo changed the manifest of v2"
    "$REGISTRY_EXT" publish "$first/$repository:v2" --from "$first/$repository:v1" --for "$1" --plain-http
    [[ $(digest_at "$first" v2) == "$v2" ]] || fail "publish changed v2"
    tags_at "$first" >"$work/tags"
    printf '%s\n' "$2" v1 v2 | diff - "$work/tags" || fail "there are other tags than those of the images and $2"
    digest=$(skopeo inspect --raw --tls-verify=false "docker://$first/$repository:$2" | jq -r '.manifests[].digest')
    deltas=$(curl -fsS -H 'Accept: application/vnd.oci.image.manifest.v1+json' "http://$first/v2/$repository/manifests/$digest" |
        jq -r '[.layers[] | select(.mediaType == "application/vnd.tar-diff").digest] | join("|")')
    [[ -n $deltas ]] || fail "no delta was published"
}

# pull_untouched: podman and skopeo pull v2 as if there were no delta.
pull_untouched() {
    local driver mounted
    rm -rf "$work/copied"
    copy "docker://$first/$repository:v2" "oci:$work/copied:v2"
    [[ $(layout_manifest "$work/copied") == "$v2" ]] || fail "skopeo copied another manifest"
    for driver in vfs overlay; do
        podman_in "$driver" pull -q --tls-verify=false "$first/$repository:v2" >/dev/null
        [[ $(podman_in "$driver" image inspect "$first/$repository:v2" | jq -r '.[0].Digest') == "$v2" ]] ||
            fail "podman ($driver) has another manifest"
        mounted=$(podman_in "$driver" image mount "$first/$repository:v2")
        same_tree "$mounted"
        podman_in "$driver" image umount "$first/$repository:v2" >/dev/null
        podman_in "$driver" image rm -f "$first/$repository:v2" >/dev/null
    done
}

# copy_all: skopeo carries every tag to the second registry, where registry-ext pulls with the deltas.
copy_all() {
    local tag
    while read -r tag; do
        copy --all "docker://$first/$repository:$tag" "docker://$second/$repository:$tag"
        if [[ $tag == sha256-* ]]; then
            # skopeo 1.9 knows no artifactType in an index and drops it; whoever reads the copy has to look into the manifests.
            [[ $(entries_at "$first" "$tag") == "$(entries_at "$second" "$tag")" ]] || fail "tag $tag changed on the way"
        else
            [[ $(digest_at "$first" "$tag") == "$(digest_at "$second" "$tag")" ]] || fail "tag $tag changed on the way"
        fi
    done <"$work/tags"
    tags_at "$second" | diff "$work/tags" - || fail "tags were lost"
    pull_checked "the copy" "$second" "$work/second.log" "oci:$work/$repository-copy:v2" "oci:$work/v1"
    same_image "$work/$repository-copy"
}

# install_v1 TOOL DRIVER: into the storage.
install_v1() {
    case $1 in
        podman) podman_in "$2" pull -q --tls-verify=false "$first/$repository:v1" >/dev/null ;;
        skopeo) copy "docker://$first/$repository:v1" "containers-storage:$store$first/$repository:v1" ;;
    esac
}

step "registries and images"
make_images
start_registry first
first=$registry
start_registry second
second=$registry
v2=$(layout_manifest "$work/v2")
base_layer=$(jq -r '.layers[0].digest' "$(layout_blob "$work/v2" "$v2")")
layer=$(jq -r '.layers[1].digest' "$(layout_blob "$work/v2" "$v2")")
config=$(jq -r '.config.digest' "$(layout_blob "$work/v2" "$v2")")

for reader in flatpak oci-delta; do
    repository=interop/$reader
    mkdir -p "$work/interop"
    case $reader in
        flatpak) tag=_deltaindex ;;
        oci-delta) tag=sha256-${v2#sha256:} ;;
    esac

    step "for $reader: registry-ext publishes v1 -> v2"
    publish_and_list "$reader" "$tag"

    step "for $reader: podman and skopeo pull v2 as if there were no delta"
    pull_untouched

    step "for $reader: skopeo copy --all carries every tag, and the copy is of use"
    copy_all

    for driver in vfs overlay; do
        store="[$driver@$work/storage-$driver+$work/run-$driver]"
        for tool in podman skopeo; do
            step "for $reader: registry-ext pulls v2 from the v1 that $tool stored ($driver)"
            install_v1 "$tool" "$driver"
            into=$work/$repository-$driver-$tool
            pull_checked "$driver, $tool" "$first" "$work/first.log" "oci:$into:v2" "containers-storage:$store"
            same_image "$into"
            podman_in "$driver" image rm -f "$first/$repository:v1" >/dev/null
        done

        step "for $reader: registry-ext pulls v2 into the storage that holds v1 ($driver)"
        install_v1 podman "$driver"
        pull_checked "$driver" "$first" "$work/first.log" "containers-storage:$store$first/$repository:v2" "containers-storage:$store"
        mounted=$(podman_in "$driver" image mount "$first/$repository:v2")
        same_tree "$mounted"
        podman_in "$driver" image umount "$first/$repository:v2" >/dev/null
        podman_in "$driver" image rm -f "$first/$repository:v1" "$first/$repository:v2" >/dev/null
    done
done

echo "PASS containers: $(podman --version), $(skopeo --version), $(buildah --version)"
