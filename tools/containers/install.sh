#!/bin/sh
# usage: tools/containers/install.sh FOLDER WHEEL [EXTRAS], e.g. install.sh /opt/mri7t dist/*.whl native,dicom
# Installs the wheel into the virtual environment FOLDER, which is made if it is missing, with the
# versions of constraints.txt, and with the BIDS validator. Both recipes of this folder and continuous
# integration run it. PYTHON names the interpreter. TORCH_INDEX names the package index for torch:
# PyTorch's own for CPUs by default; https://download.pytorch.org/whl/cu128 for NVIDIA cards; empty for pip's.
set -eu

folder=$1
wheel=$2
extras=${3:-native,dicom}
constraints=$(cd "$(dirname "$0")/../.." && pwd)/constraints.txt
index=${TORCH_INDEX-https://download.pytorch.org/whl/cpu}

[ -x "$folder/bin/python" ] || "${PYTHON:-python3}" -m venv "$folder"
pip() { "$folder/bin/python" -m pip "$@" --quiet --no-input --disable-pip-version-check </dev/null; }

if ! pip show torch >/dev/null 2>&1; then
    pip install --no-cache-dir --no-deps ${index:+--index-url "$index"} "$(grep '^torch==' "$constraints")"
fi
pip install --no-cache-dir -c "$constraints" "$wheel[$extras]" bids-validator-deno
pip check
"$folder/bin/mri7t" --version
"$folder/bin/mri7t" bids-app --version
