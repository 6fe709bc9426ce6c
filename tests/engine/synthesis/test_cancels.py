"""Cancels of a synthesis: nothing but the slabs being computed is finished, no file, no thread.

Two seconds are promised. `make cancels` measures them at random moments; MRI7T_CANCELS says how
many. A Ctrl-C on the command line and a cancel in the window both end in the report, which raises.
"""

import contextlib
import os
import sys
import threading
import time

import numpy as np
import pytest
import torch

from napari_mri7t.engine.models.model import load_model
from napari_mri7t.engine.progress import Cancelled
from napari_mri7t.engine.synthesis import slabs
from napari_mri7t.engine.synthesis.config import SynthesisConfig
from napari_mri7t.engine.synthesis.slabs import Runner
from napari_mri7t.engine.synthesis.synthesize import estimate
from napari_mri7t.engine.volumes.volume import Volume

MOST_SECONDS = 2.0
EVERYTHING = SynthesisConfig(device="cpu", planes=("axial", "coronal", "sagittal"), flips=True)


@pytest.mark.parametrize("n", [1, 2, 5, 9])
def test_cancel_finishes_only_the_slabs_in_the_lanes(phantom, tiny_model, monkeypatch, n):
    model, before = load_model(tiny_model), threading.active_count()
    run, begun, reported = Runner.run, [], []
    monkeypatch.setattr(slabs, "GROUP_BYTES", 1)  # a pass for every slab
    monkeypatch.setattr(Runner, "run", lambda *given: begun.append(1) or run(*given))

    def cancel_at_the_nth(progress):
        reported.append(len(begun))
        if len(reported) == n:
            raise Cancelled

    with pytest.raises(Cancelled):
        estimate(phantom, model, EVERYTHING, report=cancel_at_the_nth)
    assert len(reported) == n
    # one in each lane and one that waits, beside those that were begun and are not reported yet
    assert len(begun) - n <= 2 * (torch.get_num_threads() + 1)
    assert threading.active_count() <= before


@pytest.mark.slow
def test_cancels_at_random_moments_take_at_most_two_seconds(
    phantom, model_folder, tmp_path, capsys
):
    n_cancels = int(os.environ.get("MRI7T_CANCELS", "20"))
    volume = Volume(np.tile(phantom.array, (4, 4, 1)), phantom.affine, name="large")
    model, before = load_model(model_folder), threading.active_count()
    rng, seconds = np.random.default_rng(0), []
    for _ in range(n_cancels):
        until = time.monotonic() + rng.uniform(0, 0.5)
        asked = [time.monotonic()]

        def cancel_when_due(_, until=until, asked=asked):
            if time.monotonic() > until:
                raise Cancelled
            asked.append(time.monotonic())  # a cancel right after this waits for the next report

        with contextlib.suppress(Cancelled):
            estimate(volume, model, EVERYTHING, report=cancel_when_due)
        seconds.append(time.monotonic() - asked[-1])
    with capsys.disabled():
        text = f"median {np.median(seconds):.2f} s, longest {max(seconds):.2f} s"
        size = "basic_cnn on slices of 160 x 192, CPU"
        sys.stdout.write(f"\n{n_cancels} cancels, {size}: {text}\n")
    assert threading.active_count() <= before
    assert os.listdir(tmp_path) == []
    assert max(seconds) < MOST_SECONDS
