#!/usr/bin/env bash
# Installs what the scripts beside it run: on Debian, as root. Safe to repeat.
#   install.sh              the apt packages (minutes)
#   install.sh fleet        also Slurm, for fleet.sh
#   install.sh composefs    also cfsctl, compiled from the Rust registry (over ten minutes)
set -euo pipefail

"$(dirname "$0")/../../.ci/apt-install" \
    buildah curl dbus docker-registry flatpak fuse-overlayfs iproute2 jq libssl-dev \
    ostree pkg-config podman python3 skopeo

if [[ ${1:-} == composefs ]] && ! command -v cfsctl >/dev/null; then
    nice cargo install composefs-ctl --version 0.9.4
fi

if [[ ${1:-} == fleet ]]; then
    "$(dirname "$0")/../../.ci/apt-install" munge slurm-wlm
fi
