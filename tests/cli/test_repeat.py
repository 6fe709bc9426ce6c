"""`mri7t repeat`: equal bits end with 0, anything else with a sentence."""

import json

import nibabel
import pytest

from napari_mri7t.engine.errors import Mri7tError, StateError
from napari_mri7t.engine.volumes.volume import load_volume
from napari_mri7t.engine.workflows.repeat import SourcePaths, repeat


@pytest.fixture
def estimate(run_cli, phantom_file, tiny_model, tmp_path):
    output = tmp_path / "estimate.nii.gz"
    assert run_cli("synthesize", phantom_file, output, "--model", tiny_model, "--step", 3)[0] == 0
    return output


def test_repeat_finds_equal_bits(run_cli, estimate, tiny_model, tmp_path):
    again = tmp_path / "again.nii.gz"
    code, out, _ = run_cli(
        "repeat", tmp_path / "estimate.json", "--model", tiny_model, "--output", again
    )
    assert code == 0
    assert "equal, bit for bit" in out
    assert again.read_bytes() == estimate.read_bytes()
    first, second = (
        json.loads((tmp_path / f"{n}.json").read_text()) for n in ("estimate", "again")
    )
    assert [each.pop("Image")["File"] for each in (first, second)] == [
        "estimate.nii.gz",
        "again.nii.gz",
    ]
    first["Settings"] |= {"device": "cpu", "precision": second["Precision"]}  # what auto came to
    assert first == second


def test_repetition_is_saved_with_its_sidecar_and_its_sources_may_be_text(
    estimate, phantom_file, tiny_model, tmp_path
):
    paths = SourcePaths(input=str(phantom_file))
    found = repeat(str(estimate.with_name("estimate.json")), model=tiny_model, sources=paths)
    assert found.is_equal
    saved = found.save(tmp_path / "again.nii.gz")
    assert saved.read_bytes() == estimate.read_bytes()
    assert json.loads((tmp_path / "again.json").read_text()).items() >= found.sidecar.items()
    with pytest.raises(Mri7tError, match="already exists"):
        found.save(saved)
    with pytest.raises(StateError, match="the input is not there"):
        repeat(
            estimate.with_name("estimate.json"), model=tiny_model, sources=SourcePaths("none.nii")
        )


def test_repeat_tells_of_a_changed_image(run_cli, estimate, tiny_model, tmp_path):
    volume = load_volume(estimate)
    nibabel.save(volume.with_array(volume.array * 1.5).to_nibabel(), estimate)
    code, out, error = run_cli("repeat", tmp_path / "estimate.json", "--model", tiny_model)
    assert (code, out) == (1, "")
    assert error.startswith(f"{estimate}: ")
    assert "differs in" in error
    assert error.count("\n") == 1


def test_repeat_without_its_model_or_sidecar_ends_in_one_sentence(run_cli, estimate, tmp_path):
    for sidecar in (tmp_path / "estimate.json", tmp_path / "none.json", estimate):
        code, out, error = run_cli("repeat", sidecar)
        assert (code, out, error.count("\n")) == (1, "", 1)
        assert error.startswith(f"{sidecar}: ")


def test_repeat_replaces_no_file_unasked(run_cli, estimate, tiny_model, tmp_path):
    before = estimate.read_bytes()
    options = ("--model", tiny_model, "--output", estimate)
    code, _, error = run_cli("repeat", tmp_path / "estimate.json", *options)
    assert code == 1
    assert "already exists" in error
    assert estimate.read_bytes() == before
