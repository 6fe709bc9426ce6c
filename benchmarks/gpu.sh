#!/bin/sh
# All that needs a GPU, in one run of nine minutes on a borrowed machine without network:
#   tests  the tests marked gpu
#   speed  of a volume through each network, beside what the card can multiply, and the memory that one
#          of 0.5 mm takes (docs/performance.md)
#   report the report's preset on every fold
#   train  the preset `scan` of slice_unet on all subjects: as many steps as the time allows. All
#          volumes lie on the card, patches are drawn there, the network runs in bfloat16 with channels
#          last. The weights are packed at the end, the last checkpoint every minute.
#
# Here, before:   make gpu-pack DATASET=FOLDER      wheels and data into .gpu/, which git ignores
#                 sh benchmarks/gpu.sh --rehearse   every part on the CPU, two steps of a small network
# There:          sh benchmarks/gpu.sh              in the root of the repository, with .gpu/ beside it
# A second call on the same machine goes on with the training, if STEPS is that of the first.
#
# OUT=/tmp/out       gets log, tables and the model, at most 8 files of 16 MiB
# SECONDS_LEFT=530   of this call
# PYTHON=python3
# STEPS=...          of the training; by default what a short one before says that the time allows
# RUNS=/tmp/runs     run folders, which stay while the machine does
set -u
cd "$(dirname "$0")/.." || exit
OUT=${OUT:-/tmp/out} DEVICE=${DEVICE:-cuda} RUNS=${RUNS:-/tmp/runs} DATA=${DATA:-.gpu/data}
PROBE=200 MOST=100000 MODELS=slice_unet,watnet,basic_cnn SIZES=1,0.5 SMALL="" QUICK=""
TUNED="--set batch_size=64 --set patch_size=96"
PACKING=25 MINUTE=60
if [ "${1:-}" = --rehearse ]; then
    DEVICE=cpu PROBE=4 MOST=2 MODELS=basic_cnn SIZES=3 MINUTE=5
    QUICK="--set n_steps=2 --set batch_size=2 --set patch_size=16 --set end_slices=0 --set inference.end_slices=0"
    SMALL="--set-network widths=[4,8] --set-network n_blocks=1"
    TUNED="--set batch_size=2 --set patch_size=32"
    OUT=$(mktemp -d) RUNS=$(mktemp -d)
fi
END=$(($(date +%s) + ${SECONDS_LEFT:-530} - PACKING))
mkdir -p "$OUT" "$RUNS"
export PYTHONPATH=$PWD PYTHONUNBUFFERED=1
PYTHON=${PYTHON:-python3}
if [ -d .gpu/wheels ] && ! "$PYTHON" -c 'import nibabel, pywt, nilearn' 2> /dev/null; then
    "$PYTHON" -m pip install -q --no-index --no-deps --no-compile --upgrade --target "$RUNS/site" .gpu/wheels/*.whl
    export PYTHONPATH="$RUNS/site:$PYTHONPATH"
fi

left() { echo $((END - $(date +%s))); }

python() { timeout "$(left)" "$PYTHON" "$@"; }

mri7t() { python -c 'import sys; from napari_mri7t.cli import main; sys.argv[0] = "mri7t"; main()' "$@"; }

# part NAME SECONDS COMMAND...: run it if that much time is left, and write down what it took
part() {
    name=$1 need=$2
    shift 2
    if [ "$(left)" -lt "$need" ]; then
        echo "== $name: left out, $(left) s remain" | tee -a "$OUT/log.txt"
        return 1
    fi
    echo "== $name" | tee -a "$OUT/log.txt"
    since=$(date +%s)
    "$@" > "$RUNS/$name.log" 2>&1
    code=$?
    echo "   exit $code, $(($(date +%s) - since)) s" | tee -a "$OUT/log.txt"
    tail -n 25 "$RUNS/$name.log" | tee -a "$OUT/log.txt"
    return $code
}

tests() { # without the options of pyproject.toml: they name plugins that are not there
    python -m pytest -q -m gpu -o addopts=--import-mode=importlib -p no:cacheprovider tests/engine/synthesis tests/engine/training/test_run.py
}

speed() {
    python benchmarks/synthesis_speed.py "$(first_volume)" --device "$DEVICE" --models "$MODELS" || return
    python benchmarks/memory.py "$(first_volume)" --device "$DEVICE" --model "${MODELS%%,*}" --sizes "$SIZES"
}

first_volume() { find "$DATA" -name '*.nii.gz' | sort | head -n 1; }

report() { # the report's preset on all folds
    # shellcheck disable=SC2086 # several words each
    mri7t train "$DATA" "$RUNS/report" --network basic_cnn --preset report --device "$DEVICE" --folds all $QUICK
}

train() { # RUN STEPS STEPS_TO_CHECKPOINT
    # shellcheck disable=SC2086 # several words each
    mri7t train "$DATA" "$RUNS/$1" --network slice_unet --preset scan --set "n_steps=$2" \
        --set precision=bfloat16 --device "$DEVICE" --folds none --final \
        $TUNED --set "checkpoint_steps=$3" $SMALL
}

probe() { # a short training; the time between its two checkpoints is that of half its steps
    started=$(date +%s)
    train probe "$PROBE" $((PROBE / 2)) && "$PYTHON" - "$RUNS/probe/final" "$PROBE" $(($(date +%s) - started)) << 'END' > "$RUNS/pace"
import sys
from pathlib import Path

folder, n_steps, seconds = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
last, before = (folder / f"state{name}.safetensors" for name in ("", ".previous"))
pace = (last.stat().st_mtime - before.stat().st_mtime) / (n_steps / 2)
print(max(pace, 1e-4), max(0.0, seconds - pace * n_steps))
END
}

chosen_steps() {
    "$PYTHON" -c "
pace, start = map(float, open('$RUNS/pace').read().split())
print(max(2, min($MOST, int(0.95 * ($(left) - start) / pace))))"
}

pack() { # RUN: the model if it is trained, else the last checkpoint
    if [ -e "$RUNS/$1/final/card.json" ]; then
        "$PYTHON" -c 'import sys; from napari_mri7t.engine.training.export import export_model as e; e(*sys.argv[1:3], half=True)' \
            "$RUNS/$1" "$RUNS/$1-model" && tar cf "$OUT/model.tar" -C "$RUNS" "$1-model" && rm -f "$OUT/checkpoint.tar"
    elif [ -d "$RUNS/$1/final" ]; then
        # Files are replaced meanwhile, each as a whole: tar says so, and has the old one.
        tar cf "$OUT/part.tar" --exclude '.mri7t-*' --exclude '*.previous.*' -C "$RUNS" "$1" 2> /dev/null
        mv "$OUT/part.tar" "$OUT/checkpoint.tar"
    fi
}

pack_each_minute() { while sleep "$MINUTE"; do pack "$1"; done; }

part tests 60 tests
part speed 60 speed
part report 120 report
[ -n "${STEPS:-}" ] || part probe 90 probe
[ -n "${STEPS:-}" ] || { [ -e "$RUNS/pace" ] && STEPS=$(chosen_steps); }
if [ -n "${STEPS:-}" ]; then
    pack_each_minute scan &
    packing=$!
    part train 30 train scan "$STEPS" 500
    kill "$packing"
    wait "$packing" 2> /dev/null
    pack scan >> "$OUT/log.txt" 2>&1
fi
tar czf "$OUT/logs.tar.gz" -C "$RUNS" $(cd "$RUNS" && ls -d ./*.log ./*/study.json ./*/final/*.csv ./*/final/card.json 2> /dev/null)
ls -l "$OUT"
[ -e "$OUT/model.tar" ]
