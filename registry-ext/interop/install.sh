#!/usr/bin/env bash
# Installs what the scripts beside it run: on Debian, as root. Safe to repeat.
#   install.sh              the apt packages (minutes)
#   install.sh composefs    also cfsctl, compiled from the Rust registry (over ten minutes)
set -euo pipefail

packages=(
    buildah curl dbus docker-registry flatpak fuse-overlayfs jq libssl-dev
    ostree pkg-config podman python3 skopeo
)
missing=()
for package in "${packages[@]}"; do
    status=$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null || true)
    [[ $status == 'install ok installed' ]] || missing+=("$package")
done
if ((${#missing[@]})); then
    apt-get -o DPkg::Lock::Timeout=300 update
    DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 \
        install -y --no-install-recommends "${missing[@]}"
fi

if [[ ${1:-} == composefs ]] && ! command -v cfsctl >/dev/null; then
    nice cargo install composefs-ctl --version 0.9.4
fi
