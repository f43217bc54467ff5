#!/bin/bash
# Makes pairs with a middle version that was released, for `benches merge`: three-versions.sh DIR [NAME...]
#
# Each pair is a directory with old.tar, middle.tar and new.tar: the same packages of npm or PyPI in three releases that
# followed each other, installed into a tree. Needs npm, pip and GNU tar, and room for 3 GB.
set -euo pipefail
umask 022
export LC_ALL=C TZ=UTC
place=$(mkdir -p "${1:?say where the pairs go}" && cd "$1" && pwd)
shift
work=$(mktemp -d "$place/.work.XXXXXX")
trap 'rm -rf "$work"' EXIT

# layer OUT TIME: a layer of $work/tree, as if it had been built at that time.
layer() {
    find "$work/tree" -newermt "@$2" -print0 | xargs -0 -r touch -h -d "@$2"
    (cd "$work/tree" && tar --sort=name --numeric-owner --owner=0 --group=0 --format=pax \
        --pax-option='delete=atime,delete=ctime,exthdr.name=%d/PaxHeaders/%f' -cf "$1" -- *)
    rm -rf "$work/tree"
}

# of_npm DEPENDENCIES: a tree with packages of npm, as JSON names them.
of_npm() {
    mkdir -p "$work/tree/app"
    printf '{"name":"app","version":"1.0.0","private":true,"dependencies":%s}\n' "$1" >"$work/tree/app/package.json"
    (cd "$work/tree/app" && npm install --no-audit --no-fund --no-update-notifier --omit-lockfile-registry-resolved \
        --cache "$work/npm" --loglevel=error >/dev/null)
}

# of_pypi NAME==VERSION...: a tree with wheels of PyPI for x86-64.
of_pypi() {
    pip install -q --no-cache-dir --no-compile --no-deps --only-binary=:all: --python-version 3.11 --implementation cp \
        --platform manylinux2014_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux_2_28_x86_64 \
        --target "$work/tree/site" "$@"
}

# three NAME HOW OLD MIDDLE NEW: the layers of a pair, from three lists of packages.
three() {
    local name=$1 how=$2 version time=1792800000
    shift 2
    mkdir -p "$place/$name"
    for version in old middle new; do
        # A list of several packages is several arguments.
        # shellcheck disable=SC2086
        "$how" $1
        layer "$place/$name/$version.tar" "$time"
        time=$((time + 1300000))
        shift
    done
}

(($#)) || set -- npm python wheels
for name; do
    case $name in
        npm)
            three npm of_npm '{"typescript":"5.4.3","webpack":"5.90.3","react":"18.2.0","react-dom":"18.2.0","next":"14.2.1"}' \
                '{"typescript":"5.4.4","webpack":"5.91.0","react":"18.2.0","react-dom":"18.2.0","next":"14.2.2"}' \
                '{"typescript":"5.4.5","webpack":"5.92.0","react":"18.3.1","react-dom":"18.3.1","next":"14.2.3"}'
            ;;
        python)
            three python of_pypi 'numpy==2.0.0 pandas==2.2.0 django==5.0.6 scikit-learn==1.5.0 botocore==1.34.130' \
                'numpy==2.0.1 pandas==2.2.1 django==5.0.7 scikit-learn==1.5.1 botocore==1.34.140' \
                'numpy==2.0.2 pandas==2.2.2 django==5.0.8 scikit-learn==1.5.2 botocore==1.34.150'
            ;;
        wheels)
            three wheels of_pypi 'ruff==0.6.0 uv==0.3.5 duckdb==1.1.1' 'ruff==0.6.1 uv==0.4.0 duckdb==1.1.2' \
                'ruff==0.6.2 uv==0.4.1 duckdb==1.1.3'
            ;;
        *)
            echo "there is no pair named $name" >&2
            exit 1
            ;;
    esac
done
