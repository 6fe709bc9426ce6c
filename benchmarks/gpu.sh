#!/bin/sh
# All that needs a GPU, in one go on a borrowed machine without network: the tests marked gpu, the
# speeds of docs/performance.md, the report's preset on ten folds of both networks, and long trainings
# of `best`. Every part begins only while there is time for it; trainings go on where they were when
# the script is called again on the same machine.
#
# Here, before:   make gpu-pack DATASET=FOLDER      wheels and data into .gpu/, which git ignores
# There:          sh benchmarks/gpu.sh              in the root of the repository, with .gpu/ beside it
# Where what travels is limited: napari_mri7t/models/slice_unet-loo is not needed there.
#
# OUT      gets log, tables, and the models as bfloat16, packed: at most 8 files of 16 MiB
# SECONDS_LEFT=500   of this call; packing comes after
#             DEVICE=cuda      STEPS=8000 of slice_unet, half for the others
# RUNS=/tmp/runs     run folders, which stay while the machine does
set -u
OUT=${OUT:-/tmp/out} DEVICE=${DEVICE:-cuda} STEPS=${STEPS:-8000} RUNS=${RUNS:-/tmp/runs}
END=$(($(date +%s) + ${SECONDS_LEFT:-500}))
DATA=.gpu/data
mkdir -p "$OUT" "$RUNS"
if [ -d .gpu/wheels ]; then
    python3 -m pip install -q --no-index --no-deps --no-compile --upgrade --target /tmp/site .gpu/wheels/*.whl
    export PYTHONPATH=/tmp/site:$PWD
else
    export PYTHONPATH=$PWD
fi
export PYTHONUNBUFFERED=1

python() { timeout $((END - $(date +%s))) python3 "$@"; }

mri7t() { python -c 'import sys; from napari_mri7t.cli import main; sys.argv[0] = "mri7t"; main()' "$@"; }

# part NAME SECONDS COMMAND...: run it if that much time is left, and write down what it took
part() {
    name=$1 need=$2
    shift 2
    left=$((END - $(date +%s)))
    if [ "$left" -lt "$need" ]; then
        echo "== $name: left out, $left s remain" | tee -a "$OUT/log.txt"
        return
    fi
    echo "== $name" | tee -a "$OUT/log.txt"
    begun=$(date +%s)
    "$@" > "$RUNS/$name.log" 2>&1
    echo "   exit $?, $(($(date +%s) - begun)) s" | tee -a "$OUT/log.txt"
    tail -n 25 "$RUNS/$name.log" >> "$OUT/log.txt"
}

train() { # NAME NETWORK PRESET STEPS
    mri7t train "$DATA" "$RUNS/$1" --network "$2" --preset "$3" --set "n_steps=$4" --device "$DEVICE" \
        --set checkpoint_steps=1000 --folds "${FOLDS:-all}"
}

report() { # of both networks, all folds: the target is two minutes
    for network in basic_cnn watnet; do
        mri7t train "$DATA" "$RUNS/$network-report" --network $network --preset report --device "$DEVICE" \
            --folds "${FOLDS:-all}" || return
    done
}

pack() { # NAME: the models of a run's folds as bfloat16 with their figures, a few folds a file
    python3 - "$RUNS/$1" "$RUNS/packed/$1" << 'EOF'
import shutil
import sys
from pathlib import Path

from napari_mri7t.engine.training.run import Export, export_model
from napari_mri7t.engine.training.study import open_study

study, packed = open_study(sys.argv[1]), Path(sys.argv[2])
for k in range(len(study.subjects)):
    if study.is_done(k):
        fold = study.fold_folder(k)
        export_model(study, k, packed / fold.name, Export(fold.name, half=True))
        shutil.copy(fold / "metrics.json", packed / fold.name)
EOF
    for folds in 0[0-3] 0[4-7] 0[89]; do
        (cd "$RUNS/packed" && tar cf "$OUT/$1-$(echo "$folds" | tr -d '[]').tar" "$1"/fold-$folds)
    done
}

part tests 60 python -m pytest -q -m gpu tests/engine -p no:cacheprovider
part speed 60 python benchmarks/synthesis_speed.py "$(ls "$DATA"/*.nii.gz | head -1)" --device "$DEVICE"
part report 150 report
part slice_unet 30 train slice_unet-best slice_unet best "$STEPS"
part watnet 30 train watnet-best watnet best $((STEPS / 2))
part basic_cnn 30 train basic_cnn-best basic_cnn best $((STEPS / 2))
part gan 30 train watnet-gan watnet gan $((STEPS / 2))
part qu2020 30 train watnet_qu2020-best watnet_qu2020 best $((STEPS / 2))
pack slice_unet-best >> "$OUT/log.txt" 2>&1
tar czf "$OUT/figures.tar.gz" -C "$RUNS" $(cd "$RUNS" && ls -d ./*.log ./*/study.json ./*/fold-*/metrics.json ./*/fold-*/card.json 2> /dev/null)
ls -l "$OUT"
