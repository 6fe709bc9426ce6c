#!/bin/sh
# usage: tools/environment.sh FOLDER EXTRAS, e.g. tools/environment.sh .venv all,test
# Makes the virtual environment FOLDER and installs this checkout into it, editable, with the
# versions of constraints.txt. PYTHON names the interpreter, TORCH_INDEX a package index for torch.
set -eu

folder=$1
extras=$2
python=${PYTHON:-python3}

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    echo "$python: Python 3.11 or later is needed: name one with PYTHON=..." >&2
    exit 1
fi

# Debian's python3 comes without ensurepip: `python3 -m venv` fails half-way there.
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        echo "Installing the system package: python3-venv"
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -qq </dev/null || true
        apt-get install -y -qq --no-install-recommends python3-venv </dev/null >/dev/null
    else
        echo "Python cannot make virtual environments here. Install what it lacks with this line, then run make again:" >&2
        echo "    sudo apt-get update && sudo apt-get install -y --no-install-recommends python3-venv" >&2
        exit 1
    fi
fi

if ! "$folder/bin/python" -m pip --version >/dev/null 2>&1; then
    "$python" -m venv --clear "$folder"
fi

quiet=""
[ -t 1 ] || quiet="--quiet"
pip_install() { "$folder/bin/python" -m pip install --disable-pip-version-check --no-input $quiet "$@" </dev/null; }

# On Linux, PyPI's torch is the CUDA build, several GB. Where there is no NVIDIA card and pip has not
# been told where to look, take the CPU build from PyTorch's own index, if that answers.
if [ -z "${TORCH_INDEX+set}" ] && [ "$(uname -s)" = Linux ] && [ ! -e /proc/driver/nvidia/version ] &&
    ! "$folder/bin/python" -m pip config list 2>/dev/null | grep -Eq 'index-url|find-links|no-index'; then
    TORCH_INDEX=https://download.pytorch.org/whl/cpu
    "$folder/bin/python" -c "import sys, urllib.request as u; u.urlopen(sys.argv[1] + '/torch/', timeout=5)" \
        "$TORCH_INDEX" >/dev/null 2>&1 || TORCH_INDEX=""
fi
if [ -n "${TORCH_INDEX:-}" ] && ! "$folder/bin/python" -m pip show --quiet torch 2>/dev/null; then
    pip_install --no-deps --index-url "$TORCH_INDEX" "$(grep '^torch==' constraints.txt)"
fi

echo "Installing napari-mri7t[$extras] into $folder (a few minutes the first time)"
pip_install -c constraints.txt -e ".[$extras]"
