"""`mri7t robustness` prints what a model card can hold, and goes on where it was stopped."""

import json
import shutil
import sys

import numpy as np
import pytest

from napari_mri7t import cli
from napari_mri7t.engine.errors import Mri7tError
from napari_mri7t.engine.evaluation import stress
from napari_mri7t.engine.training.config import TrainConfig
from napari_mri7t.engine.training.start import start_training
from napari_mri7t.engine.training.study import StudySettings
from napari_mri7t.engine.volumes.fingerprint import fingerprint
from napari_mri7t.engine.volumes.volume import Volume, save_volume


@pytest.mark.slow
def test_robustness_prints_json_and_does_nothing_twice(
    phantom_file, model_folder, tmp_path, monkeypatch, capsys
):
    records = tmp_path / "records"
    arguments = [
        "robustness", phantom_file, "--model", model_folder, "--records", records,
        "--device", "cpu",
    ]  # fmt: skip
    printed = []
    for _ in range(2):
        monkeypatch.setattr(sys, "argv", ["mri7t", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        assert not end.value.code
        printed.append(json.loads(capsys.readouterr().out))
        written = {path: path.stat().st_mtime_ns for path in records.iterdir()}
    assert printed[0] == printed[1]
    assert written == {path: path.stat().st_mtime_ns for path in records.iterdir()}
    assert set(printed[0]) == {"stressed", "robustness", "lesions"}
    assert printed[0]["stressed"]["brain"] == "phantom"
    noise = printed[0]["robustness"]["noise"]["levels"]
    assert [entry["level"] for entry in noise][0::6] == [0.001, 0.01]
    assert {row["diameter_mm"] for row in printed[0]["lesions"]["dark"]} >= {2.0, 4.0, 8.0}


def test_an_estimate_is_no_brain_to_test_a_model_on(run_cli, phantom_file, model_folder, tmp_path):
    made = tmp_path / "made.nii.gz"
    assert run_cli("synthesize", phantom_file, made, "--model", model_folder)[0] == 0
    code, _, error = run_cli("robustness", made, "--model", model_folder)
    assert code == 1
    assert "made: is a synthetic image, by its sidecar, and no 7T scan: use the scan" in error


def test_a_brain_that_the_model_was_trained_on_is_named_before_the_work(
    run_cli, phantom_file, model_folder, tmp_path, monkeypatch
):
    own = shutil.copytree(model_folder, tmp_path / "own")
    card = json.loads((own / "card.json").read_text())
    (own / "card.json").write_text(json.dumps(card | {"training": {"subjects": ["phantom"]}}))

    def stopped(*_, **__):
        raise Mri7tError("stopped here")

    monkeypatch.setattr(stress, "stress", stopped)
    for folder, is_seen in ((own, True), (model_folder, False)):
        _, _, error = run_cli("robustness", phantom_file, "--model", folder)
        assert error.rstrip().endswith("stopped here")
        assert ("was trained on phantom" in error) is is_seen


def test_a_rescaled_brain_of_the_training_is_known_under_another_name(
    run_cli, phantom, model_folder, tmp_path, monkeypatch
):
    own = shutil.copytree(model_folder, tmp_path / "own")
    card = json.loads((own / "card.json").read_text())
    training = {"subjects": ["x"], "targets_fingerprints": [fingerprint(phantom)]}
    (own / "card.json").write_text(json.dumps(card | {"training": training}))
    path = save_volume(phantom.with_array(0.5 * phantom.array), tmp_path / "other.nii.gz")

    def stopped(*_, **__):
        raise Mri7tError("stopped here")

    monkeypatch.setattr(stress, "stress", stopped)
    assert "was trained on other" in run_cli("robustness", path, "--model", own)[2]


NO_MODEL = '{"stressed": {"sha256": null}, "robustness": {}, "lesions": {}}'


@pytest.mark.parametrize("text", ["", "[]", "[" * 100_000, NO_MODEL], ids=range(4))
def test_file_that_robustness_did_not_print_is_refused_by_its_name(
    run_cli, phantom, tmp_path, text
):
    (tmp_path / "dataset").mkdir()
    for name, power in (("sub-A", 1), ("sub-B", 2)):
        volume = phantom.with_array(phantom.array**power)
        save_volume(volume, tmp_path / "dataset" / f"{name}.nii.gz")
    settings = StudySettings("slice_unet", "best", TrainConfig(patch_size=16))
    start_training(tmp_path / "dataset", tmp_path / "run", settings, [])[0]
    (tmp_path / "printed.json").write_text(text)
    printed = ("--robustness", tmp_path / "printed.json")
    code, _, error = run_cli("export", tmp_path / "run", tmp_path / "model", *printed)
    assert code == 1
    assert "printed.json: " in error
    assert "use the output of `mri7t robustness`" in error
    assert "Traceback" not in error


@pytest.mark.parametrize("what", ["mask", "records"])
def test_what_makes_no_sense_is_refused_before_the_work(
    run_cli, phantom, model_folder, tmp_path, monkeypatch, what
):
    monkeypatch.setattr(stress, "stress", lambda *_, **__: pytest.fail("was measured"))
    values = phantom.array > 0.5 if what == "mask" else phantom.array
    brain = save_volume(phantom.with_array(values.astype("f4")), tmp_path / "brain.nii.gz")
    (tmp_path / "records").write_text("a file")
    records = ("--records", tmp_path / "records") if what == "records" else ()
    code, _, error = run_cli("robustness", brain, "--model", model_folder, *records)
    assert code == 1
    assert ("looks like a mask" if what == "mask" else "cannot be written into") in error


def test_brain_unlike_those_of_the_training_is_warned_of(
    run_cli, phantom, model_folder, tmp_path, monkeypatch
):
    def stopped(*_, **__):
        raise Mri7tError("stopped here")

    monkeypatch.setattr(stress, "stress", stopped)
    coarse = Volume(phantom.array, phantom.affine @ np.diag([3, 3, 3, 1]))
    brain = save_volume(coarse, tmp_path / "brain.nii.gz")
    assert "voxels are 3 x" in run_cli("robustness", brain, "--model", model_folder)[2]
