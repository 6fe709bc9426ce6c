#!/bin/sh
# The Debian packages that a napari window needs (libraries) and that stand in for a screen (Xvfb).
# As root: installs the missing ones. Otherwise: prints the exact line, and exits 1 so that the
# caller may decide whether to go on.
set -eu

packages="libgl1 libegl1 libxkbcommon0 libfontconfig1 libdbus-1-3 libglib2.0-0 xvfb xauth
libxkbcommon-x11-0 libxcb-cursor0 libxcb-icccm4 libxcb-keysyms1 libxcb-image0 libxcb-render-util0
libxcb-xkb1 libxcb-shape0 libxcb-render0 libxcb-util1"

if ! command -v dpkg-query >/dev/null 2>&1; then
    echo "Not a Debian system: if napari's window does not open, install your system's OpenGL and xcb libraries for Qt 6." >&2
    exit 0
fi

missing=""
for package in $packages "$@"; do
    # libglib2.0-0 is called libglib2.0-0t64 since Debian 13: any of the two will do
    if ! dpkg-query -W -f '${Status}\n' "$package" "${package}t64" 2>/dev/null | grep -q "ok installed"; then
        missing="$missing $package"
    fi
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ]; then
    echo "Installing the system packages:$missing"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq </dev/null || echo "apt-get update failed: trying with the lists there are" >&2
    # shellcheck disable=SC2086 # one word per package
    apt-get install -y -qq --no-install-recommends $missing </dev/null >/dev/null
else
    echo "Missing system packages. Install them with this line, then run make again:" >&2
    echo "    sudo apt-get update && sudo apt-get install -y --no-install-recommends$missing" >&2
    exit 1
fi
