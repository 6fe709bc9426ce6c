"""A training killed again and again ends with the same bits as one that was left alone.

The full number runs under `make kills`; MRI7T_KILLS says how many. The trainings are forks of one
process that has imported torch, so that a kill costs a second and not the imports.
"""

import json
import os
import subprocess
import sys

import pytest

from napari_mri7t.engine.training.config import TrainConfig
from napari_mri7t.engine.training.start import start_training
from napari_mri7t.engine.training.study import StudySettings

HARNESS = """
import json, os, random, signal, sys, time
from pathlib import Path
import torch
from napari_mri7t.engine.atomic import TEMPORARY_PREFIX
from napari_mri7t.engine.training.checkpoint import CURRENT
from napari_mri7t.engine.training.run import run_fold
from napari_mri7t.engine.training.study import open_study

torch.set_num_threads(1)  # before the first sum: a fork has no other threads
whole, killed, n_kills = open_study(sys.argv[1]), open_study(sys.argv[2]), int(sys.argv[3])

def start(study):
    child = os.fork()
    if child:
        return child
    try:
        run_fold(study, 0, "cpu")
        os._exit(0)
    except BaseException as error:
        print(repr(error), file=sys.stderr, flush=True)
        os._exit(1)

def ended(child):
    return os.waitpid(child, os.WNOHANG)[0] != 0

started = time.monotonic()
assert os.waitpid(start(whole), 0)[1] == 0
step_seconds = (time.monotonic() - started) / whole.settings.config.n_steps

folder, rng = killed.fold_folder(0), random.Random(0)
state = folder / CURRENT

def temporaries():
    return [p for p in folder.glob(TEMPORARY_PREFIX + "*")] if folder.exists() else []

def stamp():
    try:
        return state.stat().st_mtime_ns
    except OSError:
        return 0

counts = {"random": 0, "in a checkpoint's write": 0, "before the first step": 0}
while sum(counts.values()) < n_kills:
    number = sum(counts.values())
    before, child = stamp(), start(killed)
    kind = "random"
    if number % 10 == 9:  # while it starts
        kind = "before the first step"
        time.sleep(rng.uniform(0, 0.05))
    else:
        while stamp() in (0, before) and not ended(child):  # until it has moved on
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 3) * step_seconds)
        if number % 10 in (1, 4, 7):
            # The state before is aside already, the new one not in its place yet.
            while not (temporaries() and not state.exists()):
                assert not ended(child), "it ended before it could be killed"
    os.kill(child, signal.SIGKILL)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1]), "it ended before it could be killed"
    if temporaries() and not state.exists():
        kind = "in a checkpoint's write"
    counts[kind] += 1
assert os.waitpid(start(killed), 0)[1] == 0
counts["seconds"] = round(time.monotonic() - started)
counts["temporaries left"] = len(temporaries())
print(json.dumps(counts))
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_training_ends_with_the_same_bits(dataset, tmp_path, capsys):
    n_kills = int(os.environ.get("MRI7T_KILLS", "6"))
    config = TrainConfig(
        n_steps=10 * n_kills + 20,
        batch_size=1,
        patch_size=16,
        checkpoint_steps=2,
        warmup_steps=2,
        precision="float32",
    )
    network = {"widths": (16, 32), "n_blocks": 1, "n_slices": 3}
    settings = StudySettings("slice_unet", "best", config, network)
    studies = [
        start_training(dataset, tmp_path / name, settings, [])[0] for name in ("whole", "killed")
    ]
    program = [sys.executable, "-c", HARNESS, *(str(s.folder) for s in studies), str(n_kills)]
    ran = subprocess.run(program, capture_output=True, text=True, env=os.environ)
    assert ran.returncode == 0, ran.stderr[-3000:]
    counts = json.loads(ran.stdout.splitlines()[-1])
    with capsys.disabled():
        sys.stdout.write(f"\n{n_kills} kills: {counts}\n")
    assert counts["in a checkpoint's write"] >= n_kills // 5
    assert counts["temporaries left"] == 0
    first, second = (s.fold_folder(0) for s in studies)
    for name in ("weights.safetensors", "estimate.nii.gz", "history.csv"):
        assert (first / name).read_bytes() == (second / name).read_bytes(), name
