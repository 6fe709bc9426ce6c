"""Running out of memory at every stage: a clear message, no half-written file, nothing lost.

numpy raises MemoryError, CUDA torch.OutOfMemoryError, torch on the CPU a plain RuntimeError, which
napari's worker would swallow.
"""

import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from napari_mri7t.engine.errors import DeviceError, Mri7tError, is_out_of_memory
from napari_mri7t.engine.networks.unet import SliceUNet
from napari_mri7t.engine.synthesis import slabs, synthesize
from napari_mri7t.engine.training import checkpoint, loop, pairs, run
from napari_mri7t.engine.training.config import TrainConfig
from napari_mri7t.engine.training.loop import TrainJob, train
from napari_mri7t.engine.training.patches import PatchPool
from napari_mri7t.engine.training.run import run_fold
from napari_mri7t.engine.training.start import start_training
from napari_mri7t.engine.training.study import StudySettings
from napari_mri7t.engine.volumes.files import writing
from napari_mri7t.engine.volumes.intensity import Harmonization

ON_CPU = RuntimeError(
    "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you "
    "tried to allocate 4000000000 bytes. Error code 12 (Cannot allocate memory)"
)
ON_GPU = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 80.00 GiB.")
IN_NUMPY = MemoryError("Unable to allocate 27.5 MiB for an array")
ERRORS = {"cpu": ON_CPU, "gpu": ON_GPU, "numpy": IN_NUMPY}


class Failing:
    """Raises from the n-th call on, as where memory is full; does as the original before."""

    def __init__(self, error, original, at=1):
        self.error, self.original, self.left = error, original, at

    def __call__(self, *arguments, **options):
        self.left -= 1
        if self.left <= 0:
            raise self.error
        return self.original(*arguments, **options)


def inject(monkeypatch, place, name, error, at=1):
    failing = Failing(error, getattr(place, name), at)
    # A plain function, so that methods are bound as ever.
    monkeypatch.setattr(place, name, lambda *a, **o: failing(*a, **o))
    return failing


@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS)
def test_lack_of_memory_is_known_by_every_name(error):
    assert is_out_of_memory(error)
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not is_out_of_memory(ValueError("out of memory"))


def test_lack_of_memory_of_this_torch_is_known():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(10**15)
    assert is_out_of_memory(caught.value)


SYNTHESIS = [
    ("load", "napari_mri7t.engine.volumes.volume", "read_intensities", "numpy", 1),
    ("orient", "napari_mri7t.engine.volumes.volume", "to_ras", "numpy", 1),
    ("weights", "napari_mri7t.engine.models.weights", "load", "numpy", 1),
    ("quantiles", synthesize, "harmonize", "numpy", 1),
    ("harmonise", Harmonization, "to_model", "numpy", 1),
    ("domain", synthesize, "check_domain", "numpy", 1),
    ("to device", slabs, "to_device", "cpu", 1),
    ("to device", slabs, "to_device", "gpu", 1),
    ("pad", np, "pad", "numpy", 1),
    ("first slab", slabs.Runner, "run", "cpu", 1),
    ("first slab", slabs.Runner, "run", "gpu", 1),
    ("last slab", slabs.Runner, "run", "cpu", 30),
    ("trace", SliceUNet, "forward", "cpu", 1),
    ("back", Harmonization, "to_scan", "numpy", 1),
    ("sidecar", "napari_mri7t.engine.synthesis.synthesize", "sidecar", "numpy", 1),
    ("write", writing, "_write_plain", "numpy", 1),
    ("json", writing, "json_writer", "numpy", 1),
]


@pytest.mark.parametrize(
    ("place", "name", "error", "at"),
    [pytest.param(*case[1:], id=f"{case[0]}-{case[3]}-{case[4]}") for case in SYNTHESIS],
)
def test_fault_30_lack_of_memory_anywhere_in_a_synthesis_is_a_sentence(
    run_cli, phantom_file, tiny_model, tmp_path, monkeypatch, place, name, error, at
):
    monkeypatch.setattr(slabs, "GROUP_BYTES", 1)  # a pass for every slab
    module = pytest.importorskip(place) if isinstance(place, str) else place
    failing = inject(monkeypatch, module, name, ERRORS[error], at)
    code, out, text = run_cli(
        "synthesize", phantom_file, tmp_path / "o.nii.gz", "--model", tiny_model, "--device", "cpu"
    )
    assert failing.left <= 0, "never reached"
    assert (code, out) == (1, "")
    assert "memory" in text.splitlines()[-1]
    assert "Traceback" not in text
    assert os.listdir(tmp_path) == [phantom_file.name]


TINY = TrainConfig(
    n_steps=6, batch_size=2, patch_size=16, checkpoint_steps=2, warmup_steps=0, precision="float32"
)
TRAINING = [
    ("load", pairs, "load_volume", "numpy", 1),
    ("match", pairs, "match_histogram", "numpy", 2),
    ("network", loop, "new_learner", "cpu", 1),
    ("pool", loop, "PatchPool", "cpu", 1),
    ("patches", PatchPool, "draw", "gpu", 4),
    ("forward", SliceUNet, "forward", "cpu", 3),
    ("backward", torch.Tensor, "backward", "gpu", 5),
    ("optimiser", torch.optim.Adam, "step", "cpu", 2),
    ("first checkpoint", checkpoint, "save", "numpy", 1),
    ("second checkpoint", checkpoint, "write_atomically", "numpy", 2),
    ("history", loop, "write_content", "numpy", 1),
    ("estimate", run, "estimate", "cpu", 1),
    ("estimate's file", synthesize, "save_volumes", "numpy", 1),
    ("figures", run, "compare", "numpy", 1),
    ("weights", run, "save_model", "numpy", 1),
]


@pytest.fixture
def study(dataset, tmp_path):
    network = {"widths": (8, 8), "n_blocks": 1, "n_slices": 3}
    settings = StudySettings("slice_unet", "best", TINY, network)
    start_training(dataset, tmp_path / "whole", settings, [])[0]
    return start_training(dataset, tmp_path / "run", settings, [])[0]


@pytest.mark.parametrize(
    ("place", "name", "error", "at"),
    [pytest.param(*case[1:], id=f"{case[0]}-{case[3]}-{case[4]}") for case in TRAINING],
)
def test_fault_30_lack_of_memory_anywhere_in_a_training_loses_nothing(
    study, tmp_path, place, name, error, at
):
    with pytest.MonkeyPatch.context() as patched:
        failing = inject(patched, place, name, ERRORS[error], at)
        with pytest.raises((Mri7tError, MemoryError, RuntimeError)) as caught:
            run_fold(study, 0, "cpu")
        assert failing.left <= 0, "never reached"
    if place is not run:  # there it is not ours that failed, but the stand-in for it
        assert isinstance(caught.value, (Mri7tError, MemoryError))
        assert "memory" in str(caught.value) or isinstance(caught.value, MemoryError)
    left = [path.name for path in study.folder.rglob("*") if path.name.startswith(".mri7t-")]
    assert left == []
    assert not study.is_done(0)
    run_fold(study, 0, "cpu")
    whole = replace(study, folder=tmp_path / "whole")
    run_fold(whole, 0, "cpu")
    first, second = (load_file(s.fold_folder(0) / "weights.safetensors") for s in (study, whole))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize(
    ("batch_size", "patch_size", "advice"),
    [
        (16, 96, r"batch_size 16 and patch_size 96; set batch_size to 8, in a new run folder"),
        (1, 96, r"set patch_size to 48, in a new run folder"),
        (1, 24, r"set patch_size to 16, in a new run folder"),
        (1, 16, r"choose a smaller network, in a new run folder, or another device"),
    ],
)
def test_fault_30_training_without_memory_says_what_to_set(
    tmp_path, monkeypatch, batch_size, patch_size, advice
):
    inject(monkeypatch, loop, "new_learner", ON_CPU)
    config = TrainConfig(batch_size=batch_size, patch_size=patch_size)
    job = TrainJob("basic_cnn", config, 0, tmp_path, torch.device("cpu"))
    with pytest.raises(DeviceError, match=rf"^cpu: out of memory at .*{advice}"):
        train(job, [])
