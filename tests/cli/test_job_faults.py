"""Faults in the middle of a command's work: workers, memory, half precision, interrupts."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_mri7t.engine.errors import Mri7tWarning
from napari_mri7t.engine.networks.unet import SliceUNet
from napari_mri7t.engine.synthesis import slabs, synthesize
from napari_mri7t.engine.training import loop
from napari_mri7t.engine.volumes.volume import load_volume
from napari_mri7t.engine.workflows import batch, cluster, outlook
from napari_mri7t.engine.workflows import tasks as distribution

UNET = ("widths=[8,8]", "n_blocks=1", "n_slices=3")
TINY = ("batch_size=2", "patch_size=16", "warmup_steps=0", "end_slices=0", "precision=float32")


def train(dataset, run, *settings, options=()):
    """The words of a training of fold 0, with settings over those of `TINY`."""
    words = ["train", dataset, run, "--network", "slice_unet", "--preset", "best", "--folds", "0"]
    words += [word for setting in UNET for word in ("--set-network", setting)]
    words += [word for setting in (*TINY, *settings) for word in ("--set", setting)]
    return [str(word) for word in (*words, "--device", "cpu", *options)]


def weights(run):
    return (run / "fold-00" / "weights.safetensors").read_bytes()


def truncated(content: bytearray) -> bytes:
    return bytes(content[:-1000])


def other_step(content: bytearray) -> bytes:
    """A checkpoint that says it is one step further than it is: JSON and tensors are sound."""
    spoilt = bytes(content).replace(b'\\"step\\": 4', b'\\"step\\": 5')
    assert spoilt != content
    return spoilt


@pytest.mark.parametrize("damage", [truncated, other_step])
def test_fault_20_damaged_checkpoint_costs_only_the_steps_since_the_one_before(
    run_cli, dataset, tmp_path, monkeypatch, damage
):
    settings = ("n_steps=6", "checkpoint_steps=2")
    assert run_cli(*train(dataset, tmp_path / "whole", *settings))[0] == 0

    step, begun = loop.take_step, []

    def interrupted(*arguments):
        begun.append(None)
        if len(begun) == 5:
            raise KeyboardInterrupt
        return step(*arguments)

    monkeypatch.setattr(loop, "take_step", interrupted)
    words = train(dataset, tmp_path / "run", *settings)
    assert run_cli(*words)[0] == 130  # as a shell says it of Ctrl-C
    monkeypatch.setattr(loop, "take_step", step)
    state = tmp_path / "run" / "fold-00" / "state.safetensors"
    state.write_bytes(damage(bytearray(state.read_bytes())))
    code, _, error = run_cli(*words)
    assert (code, "Traceback" in error) == (0, False)
    assert weights(tmp_path / "run") == weights(tmp_path / "whole")


def test_fault_29_not_a_number_in_half_precision_is_never_saved(
    run_cli, phantom_file, tiny_model, tmp_path, monkeypatch
):
    forward = SliceUNet.forward

    def overflowing(self, x):
        return forward(self, x) * (float("nan") if torch.is_autocast_enabled("cpu") else 1)

    monkeypatch.setattr(SliceUNet, "forward", overflowing)
    monkeypatch.setattr(synthesize, "resolve_precision", lambda *_: torch.bfloat16)
    output = tmp_path / "o.nii"
    words = ("synthesize", phantom_file, output, "--model", tiny_model, "--device", "cpu")
    code, _, error = run_cli(*words)
    assert code == 0
    assert "warning: bfloat16 overflowed: recomputed in float32" in error
    facts = json.loads((tmp_path / "o.json").read_text())
    assert facts["Precision"] == "float32"
    assert "bfloat16 overflowed: recomputed in float32" in facts["Warnings"]
    assert np.isfinite(load_volume(output).array).all()


def test_fault_30_scan_too_large_for_the_memory_does_not_end_a_batch(
    run_cli, dataset, tiny_model, tmp_path, monkeypatch
):
    load = outlook.load_scan

    def greedy(scan, index=None):
        if "sub-B" in scan.name:
            raise MemoryError
        return load(scan, index)

    monkeypatch.setattr(outlook, "load_scan", greedy)
    words = ("batch", dataset, tmp_path / "out", "--model", tiny_model, "--device", "cpu")
    code, out, error = run_cli(*words)
    assert code == 1
    assert "2 written" in out
    assert re.search(r"failed: sub-B.*memory", error)
    monkeypatch.setattr(outlook, "load_scan", load)
    code, out, _ = run_cli(*words)
    assert code == 0
    assert "1 written" in out


def test_fault_31_worker_killed_for_memory_is_told_with_that_word(
    run_cli, dataset, tmp_path, monkeypatch
):
    """The scheduler's own error, without the minute that it takes to come."""
    scheduler = pytest.importorskip("distributed.scheduler", reason="needs napari-mri7t[cluster]")
    label = "fold 0 (sub-A held out)"
    ended = {label: scheduler.KilledWorker("fold 0", None, 3)}
    monkeypatch.setattr(cluster, "open_client", lambda _: contextlib.nullcontext())
    monkeypatch.setattr(distribution, "run_tasks", lambda *_: ended)
    words = train(dataset, tmp_path / "run", options=("--cluster", "local:2"))
    code, out, error = run_cli(*words)
    assert (code, out, error.count("\n")) == (1, "", 1)
    assert label in error
    assert "memory" in error


def test_fault_35_interrupt_in_mid_job_leaves_no_file(
    run_cli, phantom_file, tiny_model, tmp_path, monkeypatch
):
    """There is no viewer to close here, but a Ctrl-C."""
    run, begun = slabs.Runner.run, []

    def interrupted(*arguments):
        begun.append(None)
        if len(begun) == 3:
            raise KeyboardInterrupt
        return run(*arguments)

    monkeypatch.setattr(slabs, "GROUP_BYTES", 1)  # a pass for every slab
    monkeypatch.setattr(slabs.Runner, "run", interrupted)
    words = ("synthesize", phantom_file, tmp_path / "o.nii", "--model", tiny_model)
    code, _, error = run_cli(*words, "--device", "cpu")
    assert (code, "Traceback" in error) == (130, False)
    assert os.listdir(tmp_path) == [phantom_file.name]


@pytest.mark.parametrize("place", ["examine", "save_volume"])
def test_fault_36_error_and_warning_in_a_thread_of_a_batch_are_told(
    run_cli, dataset, tiny_model, tmp_path, monkeypatch, place
):
    """One thread reads ahead, one writes behind: what nobody foresaw there is told, and why."""
    original = getattr(batch, place)

    def failing(*arguments, **options):
        if any("sub-B" in str(argument) for argument in arguments):
            raise RuntimeError("what nobody foresaw")
        warnings.warn("something odd", Mri7tWarning, stacklevel=1)
        return original(*arguments, **options)

    monkeypatch.setattr(batch, place, failing)
    words = ("batch", dataset, tmp_path / "out", "--model", tiny_model, "--device", "cpu")
    code, out, error = run_cli(*words)
    assert code == 1
    assert "2 written" in out
    assert "warning: something odd" in error
    assert re.search(r"failed: sub-B.*what nobody foresaw.*please report", error)


def children(parent: int) -> set[int]:
    """The processes below one, its own and theirs; none of one that has ended meanwhile."""
    with contextlib.suppress(OSError):
        tasks = Path(f"/proc/{parent}/task").glob("*/children")
        own = {int(pid) for task in tasks for pid in task.read_text().split()}
        return own.union(*map(children, own))
    return set()


def worker_in(pids: set[int], log: Path) -> set[int]:
    """Those that hold the training's lock file open."""
    found = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            links = [os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir()]
            found |= {pid} if str(log) in links else set()
    return found


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds processes as Linux does")
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_fault_40_killed_worker_does_not_end_the_command(dataset, run_cli, tmp_path):
    pytest.importorskip("distributed", reason="needs napari-mri7t[cluster]")
    settings = ("n_steps=150", "checkpoint_steps=5", "inference.step=3")
    run = tmp_path / "run"
    words = train(dataset, run, *settings, options=("--cluster", "local:2"))
    program = [sys.executable, "-c", "from napari_mri7t.cli import main; main()", *words]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    started = subprocess.Popen(
        program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    try:
        killed: set[int] = set()
        while not killed and started.poll() is None:
            if (run / "fold-00" / "state.safetensors").exists():
                killed = worker_in(children(started.pid), run / "fold-00" / "lock")
                for pid in killed:
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)
        out, error = started.communicate()
    finally:
        started.kill()
    assert killed, error
    assert started.returncode == 0, error
    assert "fold 0 (sub-A held out): done" in out
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // 2))  # as the workers
    try:
        assert run_cli(*train(dataset, tmp_path / "alone", *settings))[0] == 0
    finally:
        torch.set_num_threads(threads)
    assert weights(run) == weights(tmp_path / "alone")


def test_stopped_training_says_that_the_same_command_resumes_it(
    dataset, tmp_path, run_cli, monkeypatch
):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("napari_mri7t.engine.training.run.run_fold", stop)
    code, _, err = run_cli(*train(dataset, tmp_path / "run"))
    assert code == 130
    assert "fold 0 (sub-A held out): stopped; the same command resumes it" in err
