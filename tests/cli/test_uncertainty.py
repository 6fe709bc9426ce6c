"""`mri7t synthesize --uncertainty`: a second file, which `mri7t repeat` makes again."""

import json
from collections.abc import Callable
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest

from napari_mri7t.engine.volumes.volume import Volume, load_volume, save_volume

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def scan(phantom: Volume, tmp_path: Path) -> Path:
    part = Volume(phantom.array[8:32, 8:40, 10:20], phantom.affine)
    return save_volume(part, tmp_path / "t1w.nii.gz")


@pytest.fixture
def calibrated(tiny_model: Path, tmp_path: Path) -> Path:
    """A small untrained model with three estimates of each slice, and a calibration."""
    folder = Path(copytree(tiny_model, tmp_path / "own"))
    values = json.loads((folder / "card.json").read_text())
    settings = {"step": 1, "planes": ["axial"], "flips": False}
    values["uncertainty"] = {
        "settings": settings, "interval": 0.9, "intensity": [0.5], "factor": [4.0], "coverage": 0.9,
    }  # fmt: skip
    (folder / "card.json").write_text(json.dumps(values))
    return folder


def test_uncertainty_becomes_a_second_file_that_can_be_repeated(
    scan: Path, calibrated: Path, tmp_path: Path, run_cli: Run
) -> None:
    estimate, uncertainty = tmp_path / "7t.nii.gz", tmp_path / "7t_uncertainty.nii.gz"
    given = ("--model", calibrated, "--device", "cpu", "--prepare", "none")

    code, _, err = run_cli("synthesize", scan, estimate, *given, "--uncertainty", uncertainty)

    assert code == 0, err
    width = load_volume(uncertainty)
    assert width.shape == load_volume(estimate).shape
    assert width.array.max() > 0
    facts = json.loads((tmp_path / "7t_uncertainty.json").read_text())
    assert facts["Units"] == "arbitrary"
    assert facts["Calibration"] == {"interval": 0.9, "coverage": 0.9}

    code, out, err = run_cli(
        "repeat", tmp_path / "7t_uncertainty.json", "--input", scan, "--model", calibrated
    )

    assert code == 0, err
    assert "equal, bit for bit" in out


def test_estimate_is_the_same_as_without_uncertainty(
    scan: Path, calibrated: Path, tmp_path: Path, run_cli: Run
) -> None:
    given = ("--model", calibrated, "--device", "cpu", "--prepare", "none")
    run_cli("synthesize", scan, tmp_path / "with.nii", *given, "--uncertainty", tmp_path / "u.nii")
    run_cli("synthesize", scan, tmp_path / "without.nii", *given)

    with_it, without = (load_volume(tmp_path / f"{name}.nii") for name in ("with", "without"))
    np.testing.assert_array_equal(with_it.array, without.array)


def test_an_uncalibrated_model_writes_nothing_and_names_one_that_is(
    scan: Path, tiny_model: Path, tmp_path: Path, run_cli: Run
) -> None:
    code, _, err = run_cli(
        "synthesize", scan, tmp_path / "7t.nii.gz", "--model", tiny_model,
        "--uncertainty", tmp_path / "u.nii.gz",
    )  # fmt: skip

    assert code != 0
    assert "never calibrated" in err
    assert "slice_unet" in err
    assert not (tmp_path / "7t.nii.gz").exists()


def test_step_that_changes_the_spread_is_refused(
    scan: Path, calibrated: Path, tmp_path: Path, run_cli: Run
) -> None:
    code, _, err = run_cli(
        "synthesize", scan, tmp_path / "7t.nii.gz", "--model", calibrated, "--step", "3",
        "--uncertainty", tmp_path / "u.nii.gz",
    )  # fmt: skip

    assert code != 0
    assert "calibrated with step 1" in err


def test_one_file_cannot_be_both(
    scan: Path, calibrated: Path, tmp_path: Path, run_cli: Run
) -> None:
    both = tmp_path / "7t.nii.gz"
    code, _, err = run_cli("synthesize", scan, both, "--model", calibrated, "--uncertainty", both)

    assert code != 0
    assert "used for two outputs" in err
