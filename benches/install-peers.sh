#!/usr/bin/env bash
# Installs the differs that `benches measure` compares with: on Debian, as root. Safe to repeat.
#
# Not packaged for Debian, and used if they are on the PATH:
#   hdiffz, hpatchz   build HDiffPatch (github.com/sisong/HDiffPatch)
#   tar-diff          the Go tool (github.com/containers/tar-diff), with its tar-patch beside it
# qbsdiff is a library that the benches have built in.
set -euo pipefail

"$(dirname "$0")/../.ci/apt-install" bsdiff coreutils gzip tar xdelta3 zstd
for program in bsdiff xdelta3 zstd hdiffz tar-diff; do
    printf '%-10s %s\n' "$program" "$(command -v "$program" || echo 'is not here')"
done
