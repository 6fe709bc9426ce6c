"""Memory: how many slabs are computed at once, and what a volume of 0.5 mm takes in all."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from napari_mri7t.engine.synthesis.config import SynthesisConfig
from napari_mri7t.engine.synthesis.slabs import BYTES_PER_VOXEL, Runner
from napari_mri7t.engine.volumes.volume import Volume, save_volume

MOST_MB_AT_HALF_A_MM = 2048


@pytest.mark.parametrize(
    ("n_threads", "n_fitting", "expected"),
    [(2, 9, 1), (2, 1, 2), (4, 2, 2), (16, 10, 2), (16, 100, 1), (3, 2, 2), (1, 0, 1)],
)
def test_a_slab_gets_the_cores_that_memory_leaves_without_one(
    monkeypatch, n_threads, n_fitting, expected
):
    monkeypatch.setattr(torch, "get_num_threads", lambda: n_threads)
    size = (64, 64 * 2**20 // BYTES_PER_VOXEL // 64)  # 64 MB of activations
    config = SynthesisConfig(memory_mb=max(1, 64 * n_fitting))
    runner = Runner(nn.Identity(), config, torch.device("cpu"), torch.float32)
    assert runner.threads_per_slab(*size) == expected
    assert n_threads // expected <= max(1, n_fitting)
    on_gpu = replace(runner, device=torch.device("cuda"))
    assert on_gpu.threads_per_slab(*size) == n_threads  # a single lane: its batches fill the memory
    assert on_gpu.fitting(*size) == max(1, n_fitting)


MEASURE = """
import resource, sys, torch
from napari_mri7t.engine.models.model import load_model
from napari_mri7t.engine.synthesis.config import SynthesisConfig
from napari_mri7t.engine.synthesis.synthesize import estimate
from napari_mri7t.engine.volumes.volume import load_volume
model = load_model("slice_unet")
torch.ones(64, 64) @ torch.ones(64, 64)
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
base = peak()
estimate(load_volume(sys.argv[1]), model, SynthesisConfig(device="cpu", step=3))
print(peak() - base)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no peak of memory from the standard library")
def test_volume_of_half_a_mm_takes_less_than_2_gb_above_the_interpreter(tmp_path):
    shape = (364, 436, 364)
    where = np.meshgrid(*(np.linspace(-1, 1, n, dtype=np.float32) for n in shape), sparse=True)
    radius = sum((each / 0.75) ** 2 for each in where).transpose(1, 0, 2)
    brain = np.where(radius < 1, 300 + 500 * (1 - radius), 0).astype(np.float32)
    path = tmp_path / "brain.nii.gz"
    save_volume(Volume(brain, np.diag([0.5, 0.5, 0.5, 1])), path)
    program = [sys.executable, "-c", MEASURE, str(path)]
    run = subprocess.run(program, capture_output=True, text=True, check=True)
    assert float(run.stdout) < MOST_MB_AT_HALF_A_MM
