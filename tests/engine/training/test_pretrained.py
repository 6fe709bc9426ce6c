"""Trainings that start from another model's weights: fine-tuning, and going on fold by fold."""

import shutil
from dataclasses import replace

import pytest
import torch
from typer.testing import CliRunner

from napari_mri7t.cli import app
from napari_mri7t.engine.errors import ModelError, StateError
from napari_mri7t.engine.networks.model import load_model
from napari_mri7t.engine.progress import run_to_end
from napari_mri7t.engine.training.presets import TrainConfig
from napari_mri7t.engine.training.pretrained import check_start
from napari_mri7t.engine.training.run import prepare_study, run_fold
from napari_mri7t.engine.training.study import FINAL, StudySettings, create_study

TINY = TrainConfig(
    n_steps=4, batch_size=2, patch_size=24, checkpoint_steps=2, warmup_steps=1, precision="float32"
)
UNET = {"widths": (8, 16), "n_blocks": 1, "n_slices": 3}
STILL = replace(TINY, n_steps=1, learning_rate=1e-12, final_learning_rate=0.0)  # learns nothing


def begin(dataset, folder, config=TINY, start_from="", network="slice_unet"):
    built = UNET if network == "slice_unet" else {}
    asked = StudySettings(network, "best", config, built, start_from=str(start_from))
    return create_study(dataset, folder, asked)


@pytest.fixture
def first(dataset, tmp_path):
    """Give a study whose folds 0 and 1 and final training are done."""
    study = begin(dataset, tmp_path / "first")
    pairs = run_to_end(prepare_study(study))
    for k in (0, 1, FINAL):
        run_to_end(run_fold(study, k, "cpu", pairs))
    return study


def weights(study, k):
    return load_model(study.fold_folder(k)).network.state_dict()


def are_close(one, other):
    return all(torch.allclose(one[key], other[key], atol=1e-6) for key in one)


@pytest.mark.parametrize("k", [0, 1, FINAL])
def test_every_fold_goes_on_from_the_weights_of_the_same_fold(first, dataset, tmp_path, k):
    study = begin(dataset, tmp_path / "next", STILL, first.folder)
    card = run_to_end(run_fold(study, k, "cpu"))
    assert are_close(weights(study, k), weights(first, k))
    assert not are_close(weights(study, k), weights(first, 1 if k == 0 else 0))
    started = card.training["started_from"]
    assert started["sha256"] == load_model(first.fold_folder(k)).card.sha256
    assert "--set n_steps=4" in started["command"]
    assert card.training["command"].count("--start-from START") == 1


def test_a_start_draws_other_patches_than_the_training_before(first, dataset, tmp_path):
    again = begin(dataset, tmp_path / "again", TINY, first.folder)
    run_to_end(run_fold(again, 0, "cpu"))
    text = [(study.fold_folder(0) / "history.csv").read_text() for study in (first, again)]
    assert text[0] != text[1]
    before, after = (float(history.splitlines()[1].split(",")[1]) for history in text)
    assert before != pytest.approx(after, rel=0.01), "the same patches, with the same noise"


def test_a_start_stopped_in_the_middle_ends_with_the_same_bits(first, dataset, tmp_path):
    whole = begin(dataset, tmp_path / "whole", TINY, first.folder)
    stopped = begin(dataset, tmp_path / "stopped", TINY, first.folder)
    run_to_end(run_fold(whole, 0, "cpu"))
    steps = run_fold(stopped, 0, "cpu")
    while next(steps).training is None:
        pass
    steps.close()
    run_to_end(run_fold(stopped, 0, "cpu"))
    one, other = weights(whole, 0), weights(stopped, 0)
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_a_model_that_knows_the_held_out_subject_is_no_start(first, dataset, tmp_path):
    study = begin(dataset, tmp_path / "leak", TINY, first.fold_folder(1))
    with pytest.raises(StateError, match=r"trained on sub-A, which fold 0 holds out; start from"):
        run_to_end(run_fold(study, 0, "cpu"))
    assert check_start(study, 1) is not None, "fold 1's model does not know fold 1's subject"


def test_subjects_seen_two_trainings_ago_still_count(first, dataset, tmp_path):
    second = begin(dataset, tmp_path / "second", STILL, first.fold_folder(FINAL))
    final = run_to_end(run_fold(second, FINAL, "cpu"))
    assert final.training["started_from"]["subjects"] == ["sub-A", "sub-B", "sub-C"]
    other = tmp_path / "others"
    other.mkdir()
    for letter, path in zip("XYZ", sorted(dataset.iterdir()), strict=True):
        shutil.copy(path, other / f"sub-{letter}.nii.gz")
    tuned = begin(other, tmp_path / "tuned", STILL, second.fold_folder(FINAL))
    run_to_end(run_fold(tuned, FINAL, "cpu"))
    back = begin(dataset, tmp_path / "back", TINY, tuned.fold_folder(FINAL))
    with pytest.raises(StateError, match=r"trained on sub-A"):
        check_start(back, 0)


def test_starts_that_are_no_model_of_the_fold_are_refused(first, dataset, tmp_path):
    missing = begin(dataset, tmp_path / "a", TINY, first.folder)
    with pytest.raises(StateError, match=r"no model for fold 2 \(sub-C held out\) to start from"):
        check_start(missing, 2)
    unknown = begin(dataset, tmp_path / "b", TINY, "no-such-model")
    with pytest.raises(ModelError, match="no-such-model: no such model: choose"):
        check_start(unknown, 0)
    other = begin(dataset, tmp_path / "c", TINY, first.folder, "basic_cnn")
    with pytest.raises(StateError, match=r"is network slice_unet .*, not basic_cnn"):
        check_start(other, 0)


def test_a_run_folder_keeps_its_start(first, dataset, tmp_path):
    begin(dataset, tmp_path / "run", TINY, first.folder)
    begin(dataset, tmp_path / "run", TINY, first.folder)
    for start in ("", first.fold_folder(0)):
        with pytest.raises(StateError, match="differs in start_from; use another folder"):
            begin(dataset, tmp_path / "run", TINY, start)
    with pytest.raises(StateError, match="differs in start_from"):
        begin(dataset, first.folder, TINY, first.folder)


def test_bundled_model_is_fine_tuned_by_name(dataset, tmp_path):
    arguments = ["--start-from", "slice_unet", "--folds", "0", "--device", "cpu"]
    arguments += ["--set", "n_steps=1", "--set", "batch_size=1", "--set", "patch_size=24"]
    run = ["train", str(dataset), str(tmp_path / "run"), *arguments]
    result = CliRunner().invoke(app, run)
    assert result.exit_code == 0, result.output
    card = load_model(tmp_path / "run" / "fold-00").card
    assert card.training["command"].endswith("--start-from slice_unet --folds 0")
    assert "sub-TELL0101_T1w_brain_homog_mni" in card.training["started_from"]["subjects"]


def test_bundled_folds_start_each_its_own(dataset, tmp_path):
    study = begin(dataset, tmp_path / "run", TINY, "slice_unet-loo")
    study = replace(study, settings=replace(study.settings, network_config={}))
    cards = [check_start(study, k) for k in (0, 1)]
    assert [card.name for card in cards] == ["slice_unet-loo/fold-00", "slice_unet-loo/fold-01"]
