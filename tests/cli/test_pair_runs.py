"""`mri7t pair` from scans to a training, with the whole engine: on a cluster, and killed."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from napari_mri7t.engine.datasets.paired import PairPaths
from napari_mri7t.engine.volumes.provenance import read_sidecar
from napari_mri7t.engine.volumes.template import load_template
from napari_mri7t.engine.volumes.volume import Volume, load_volume, save_volume

pytestmark = pytest.mark.timeout(900)  # half a minute alone, more beside other work
AS_THEY_ARE = ("--prepare", "none", "--grid", "7t", "--allow-out-of-domain")
PEOPLE = ("sub-01", "sub-02")
SHIFT_MM, SCALE = 5.0, 1.06


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Two people with the template's brain at 5 mm, warped in two ways; the 3T lies elsewhere.

    Both transforms are given, so that a pair takes seconds.
    """
    place = tmp_path_factory.mktemp("raw")
    template, random = load_template(), np.random.default_rng(0)
    array, affine = template.array[::5, ::5, ::5], template.affine @ np.diag([5, 5, 5, 1])
    for name in PEOPLE:
        texture = gaussian_filter(random.normal(size=array.shape), 2)
        brain = np.where(array > 0, (array * (1 + 1.5 * texture)).clip(0.01), 0)
        for field, power in (("3", 0.8), ("7", 1.0)):
            noisy = brain**power + random.normal(0, 0.03, brain.shape)
            scan = Volume(np.where(brain > 0, noisy.clip(0.01), 0), affine)
            save_volume(
                scan.moved(to_3t(1.0) if field == "3" else np.eye(4)),
                place / f"{name}_{field}T.nii.gz",
            )
    np.savetxt(place / "to_7t.txt", np.linalg.inv(to_3t(1.0)))
    np.savetxt(place / "to_mni.txt", np.eye(4))
    rows = [f"{n}\t{n}_3T.nii.gz\t{n}_7T.nii.gz\tto_7t.txt\tto_mni.txt" for n in PEOPLE]
    (place / "own.tsv").write_text("\n".join(["subject\t3T\t7T\ttransform\tto_mni", *rows]))
    return place / "own.tsv"


def to_3t(scale):
    """Where a point of the 7T lies in the 3T, mm."""
    matrix = np.diag([1, scale, 1, 1])
    matrix[0, 3] = SHIFT_MM
    return matrix


@pytest.fixture(scope="module")
def made(table, tmp_path_factory):
    """The pairs as one process makes them."""
    folder = tmp_path_factory.mktemp("made") / "pairs"
    subprocess.run([*MRI7T, "pair", table, folder, *AS_THEY_ARE], check=True, capture_output=True)
    return folder


MRI7T = (sys.executable, "-c", "from napari_mri7t.cli import main; main()")


def images_of(folder):
    """The SHA-256 of each image of the pairs in a folder, as far as there are any."""
    paths = [path for name in PEOPLE for path in PairPaths(folder, name).images]
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in paths if p.exists()}


def test_train_takes_what_pair_has_made_as_it_is(made, run_cli, tmp_path):
    quick = [word for setting in ("n_steps=2", "batch_size=1", "patch_size=16", "end_slices=0")
             for word in ("--set", setting)]  # fmt: skip
    words = ("train", made, tmp_path / "run", "--network", "basic_cnn", "--folds", "0", *quick)
    code, _, error = run_cli(*words, "--device", "cpu")
    assert code == 0, error
    assert (tmp_path / "run/fold-00/weights.safetensors").exists()
    facts = read_sidecar(tmp_path / "run/fold-00/estimate.nii.gz")
    assert "sub-01" in str(facts["Sources"])


@pytest.mark.slow
def test_pairs_of_a_cluster_are_those_of_one_process(made, table, run_cli, tmp_path):
    pytest.importorskip("distributed", reason="needs napari-mri7t[cluster]")
    words = ("pair", table, tmp_path / "out", *AS_THEY_ARE, "--cluster", "local:2")
    code, out, error = run_cli(*words)
    assert code == 0, error
    assert "2 written" in out
    assert (len(images_of(made)), images_of(tmp_path / "out")) == (6, images_of(made))
    assert "2 already done, 0 failed" in run_cli(*words)[1]


def test_killed_pair_leaves_whole_files_and_what_is_done_is_not_done_again(
    made, table, run_cli, tmp_path
):
    words = ("pair", table, tmp_path / "out", *AS_THEY_ARE)
    first, second = (PairPaths(tmp_path / "out", name) for name in PEOPLE)
    running = subprocess.Popen(
        [*MRI7T, *map(str, words)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while running.poll() is None and not all(path.exists() for path in first.images):
            time.sleep(0.02)
        os.kill(running.pid, signal.SIGKILL)
    finally:
        running.kill()
        running.wait()
    assert running.returncode == -signal.SIGKILL
    assert not any(path.exists() for path in second.images), "it was killed before the second"
    whole = images_of(made)
    assert images_of(tmp_path / "out").items() <= whole.items()
    assert all(read_sidecar(path) for path in first.images)
    times = [path.stat().st_mtime_ns for path in first.images]
    code, out, error = run_cli(*words)
    assert code == 0, error
    assert "1 written" in out
    assert "1 already done, 0 failed" in out
    assert [path.stat().st_mtime_ns for path in first.images] == times
    assert images_of(tmp_path / "out") == whole


@pytest.mark.slow
def test_affine_registration_finds_a_3t_that_is_stretched(table, run_cli, tmp_path):
    for path in table.parent.iterdir():
        shutil.copy(path, tmp_path)
    scan = load_volume(tmp_path / "sub-01_3T.nii.gz")
    stretched = scan.moved(to_3t(SCALE) @ np.linalg.inv(to_3t(1.0)))
    save_volume(stretched, tmp_path / "sub-01_3T.nii.gz", overwrite=True)
    row = "sub-01\tsub-01_3T.nii.gz\tsub-01_7T.nii.gz\tto_mni.txt"
    (tmp_path / "one.tsv").write_text(f"subject\t3T\t7T\tto_mni\n{row}")
    words = ("pair", tmp_path / "one.tsv", tmp_path / "out", *AS_THEY_ARE)
    code, out, error = run_cli(*words, "--registration", "affine")
    assert code == 0, error
    assert "affine registration of the 3T to the 7T" in out
    settings = read_sidecar(PairPaths(tmp_path / "out", "sub-01").source)["Settings"]
    found = np.array(settings["transform_3t_to_7t"])
    expected = np.linalg.inv(to_3t(SCALE))
    assert np.allclose(found[:3, :3], expected[:3, :3], atol=0.005), "a rigid one is 0.06 off"
    assert np.allclose(found[:3, 3], expected[:3, 3], atol=0.3)
