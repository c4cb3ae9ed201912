#!/bin/sh
# Makes a machine ready to build: names what is missing with the command that installs it, installs what apt can,
# and puts libtorch into the user's cache folder. `setup.sh test` adds what only the tests need. Quick when all is there.
set -eu
cd "$(dirname "$0")/.."

fail() {
    printf 'setup: %s\n' "$*" >&2
    exit 1
}

need() {
    command -v "$1" >/dev/null 2>&1 || fail "$1 is missing: $2"
}

need cargo "install Rust 1.95 or later with rustup"
need python3 "apt-get install python3"
python3 -m pip --version >/dev/null 2>&1 || fail "pip for python3 is missing: apt-get install python3-pip"
need node "install Node.js 20.19 or later"
need npm "install Node.js 20.19 or later, which brings npm"
need gcc "apt-get install gcc"
need g++ "apt-get install g++"
need make "apt-get install make"
need curl "apt-get install curl"

# at_least HAVE WANTED: versions with dots.
at_least() {
    [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]
}
node_version="$(node --version | tr -d v)"
at_least "$node_version" 20.19 || fail "Node.js is too old ($node_version): 20.19 or later is needed"
rust_version="$(rustc --version | cut -d ' ' -f 2)"
at_least "$rust_version" 1.95 || fail "Rust is too old ($rust_version): 1.95 or later is needed"

# cmake and nasm build libjpeg-turbo; Chromium is for the browser tests.
packages=""
want() {
    command -v "$1" >/dev/null 2>&1 || packages="$packages $2"
}
want cmake cmake
want nasm nasm
if [ "${1:-}" = test ]; then
    command -v google-chrome >/dev/null 2>&1 || want chromium chromium
fi
if [ -n "$packages" ]; then
    as_root=""
    if [ "$(id -u)" != 0 ]; then
        sudo -n true 2>/dev/null && as_root="sudo -n" || fail "missing system packages; as root: apt-get install$packages"
    fi
    command -v apt-get >/dev/null 2>&1 || fail "missing:$packages; install them with this system's package manager"
    printf 'setup: installing%s\n' "$packages"
    $as_root apt-get update -qq
    # shellcheck disable=SC2086
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages >/dev/null
fi

python3 deploy/libtorch.py
