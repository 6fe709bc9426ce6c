"""Trainings that start from another model's weights: fine-tuning, and going on fold by fold."""

import json
import shutil
from dataclasses import replace

import nibabel
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from napari_mri7t.cli.commands import app
from napari_mri7t.engine.errors import ModelError, StateError
from napari_mri7t.engine.models.card import DIGEST_KEYS, find_model, read_card
from napari_mri7t.engine.models.model import load_model
from napari_mri7t.engine.progress import Cancelled
from napari_mri7t.engine.training.config import FINAL, TrainConfig
from napari_mri7t.engine.training.export import training_command
from napari_mri7t.engine.training.loop import TrainJob, TrainProgress, train
from napari_mri7t.engine.training.run import prepare_study, run_fold
from napari_mri7t.engine.training.seen import was_trained_on
from napari_mri7t.engine.training.start import check_start, start_training
from napari_mri7t.engine.training.study import StudySettings, keep_study, open_study, plan_study
from napari_mri7t.engine.volumes.volume import load_volume, save_volume

TINY = TrainConfig(
    n_steps=4, batch_size=2, patch_size=24, checkpoint_steps=2, warmup_steps=1, precision="float32"
)
UNET = {"widths": (8, 16), "n_blocks": 1, "n_slices": 3}
STILL = replace(TINY, n_steps=1, learning_rate=1e-12, final_learning_rate=0.0)  # learns nothing


def begin(dataset, folder, config=TINY, start_from="", network="slice_unet"):
    built = UNET if network == "slice_unet" else {}
    asked = StudySettings(network, "best", config, built, start_from=str(start_from))
    return start_training(dataset, folder, asked, [])[0]


@pytest.fixture
def first(dataset, tmp_path):
    """A study whose folds 0 and 1 and final training are done."""
    study = begin(dataset, tmp_path / "first")
    pairs = prepare_study(study)
    for k in (0, 1, FINAL):
        run_fold(study, k, "cpu", pairs)
    return study


def stop_training(progress):
    """Cancel after the first training step."""
    if isinstance(progress, TrainProgress):
        raise Cancelled


def weights(study, k):
    return load_model(study.fold_folder(k)).network.state_dict()


def are_close(one, other):
    return all(torch.allclose(one[key], other[key], atol=1e-6) for key in one)


@pytest.mark.parametrize("k", [0, 1, FINAL])
def test_every_fold_goes_on_from_the_weights_of_the_same_fold(first, dataset, tmp_path, k):
    study = begin(dataset, tmp_path / "next", STILL, first.folder)
    card = run_fold(study, k, "cpu")
    assert are_close(weights(study, k), weights(first, k))
    assert not are_close(weights(study, k), weights(first, 1 if k == 0 else 0))
    started = card.training["started_from"]
    assert started["sha256"] == load_model(first.fold_folder(k)).card.sha256
    assert "--set n_steps=4" in started["command"]
    assert card.training["command"].count("--start-from START") == 1


def test_a_start_is_told_whole_and_handed_on(first, dataset, tmp_path):
    before = load_model(first.fold_folder(0)).card
    second = begin(dataset, tmp_path / "second", STILL, first.folder)
    run_fold(second, 0, "cpu")
    card = load_model(second.fold_folder(0)).card
    started = card.training["started_from"]
    assert started == {
        "model": before.name,
        "held_out": "sub-A",
        "sha256": before.sha256,
        "subjects": ["sub-B", "sub-C"],
        **{key: sorted(before.training[key]) for key in DIGEST_KEYS},
        "command": before.training["command"],
    }
    third = begin(dataset, tmp_path / "third", STILL, second.folder)
    assert check_start(third, 0).facts["started_from"] == started
    path = second.fold_folder(0) / "card.json"
    facts = json.loads(path.read_text())
    del facts["training"]["command"]
    path.write_text(json.dumps(facts))
    assert check_start(third, 0).facts["command"] == ""


def test_a_damaged_record_of_the_start_is_refused_in_words(first, dataset, tmp_path):
    study = begin(dataset, tmp_path / "next", STILL, first.folder)
    run_fold(study, 0, "cpu")
    assert check_start(study, 0).folder == first.fold_folder(0)
    (study.fold_folder(0) / "start.json").write_text("{")
    with pytest.raises(StateError, match=r"start\.json: .*: train the fold again"):
        check_start(study, 0)


def test_a_start_draws_other_patches_than_the_training_before(dataset, tmp_path):
    still = begin(dataset, tmp_path / "still", STILL)
    run_fold(still, 0, "cpu")
    again = begin(dataset, tmp_path / "again", STILL, still.folder)
    run_fold(again, 0, "cpu")
    before, after = (
        float((study.fold_folder(0) / "history.csv").read_text().splitlines()[1].split(",")[1])
        for study in (still, again)
    )
    assert before != pytest.approx(after, rel=1e-4), "equal weights: only the patches can differ"


def test_a_start_stopped_in_the_middle_ends_with_the_same_bits(first, dataset, tmp_path):
    whole = begin(dataset, tmp_path / "whole", TINY, first.folder)
    stopped = begin(dataset, tmp_path / "stopped", TINY, first.folder)
    run_fold(whole, 0, "cpu")
    with pytest.raises(Cancelled):
        run_fold(stopped, 0, "cpu", report=stop_training)
    run_fold(stopped, 0, "cpu")
    one, other = weights(whole, 0), weights(stopped, 0)
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_a_model_that_knows_the_held_out_subject_is_no_start(first, dataset, tmp_path):
    study = begin(dataset, tmp_path / "leak", TINY, first.fold_folder(1))
    with pytest.raises(StateError, match=r"trained on sub-A, which fold 0 holds out; start from"):
        run_fold(study, 0, "cpu")
    assert check_start(study, 1) is not None, "fold 1's model does not know fold 1's subject"


def test_subjects_seen_two_trainings_ago_still_count(first, dataset, tmp_path):
    second = begin(dataset, tmp_path / "second", STILL, first.fold_folder(FINAL))
    final = run_fold(second, FINAL, "cpu")
    assert final.training["started_from"]["subjects"] == ["sub-A", "sub-B", "sub-C"]
    other = tmp_path / "others"
    other.mkdir()
    for letter, path in zip("XYZ", sorted(dataset.iterdir()), strict=True):
        shutil.copy(path, other / f"sub-{letter}.nii.gz")
    tuned = begin(other, tmp_path / "tuned", STILL, second.fold_folder(FINAL))
    run_fold(tuned, FINAL, "cpu")
    back = begin(dataset, tmp_path / "back", TINY, tuned.fold_folder(FINAL))
    with pytest.raises(StateError, match=r"trained on sub-A"):
        check_start(back, 0)


def test_the_same_scan_under_another_name_is_still_known(first, dataset, tmp_path):
    for name in ("renamed", "bids"):
        (tmp_path / name).mkdir()
    for letter, path in zip("XYZ", sorted(dataset.iterdir()), strict=True):
        shutil.copy(path, tmp_path / "renamed" / f"person-{letter}.nii.gz")
    for letter in "ABC":  # another reconstruction of the same people: other bytes, same label
        changed = nibabel.load(dataset / f"sub-{letter}.nii.gz")
        array = np.asarray(changed.dataobj)[::-1]
        image = nibabel.Nifti1Image(array, changed.affine)
        nibabel.save(image, tmp_path / "bids" / f"sub-{letter}_T1w.nii.gz")
    for name, held_out in (
        (
            "renamed",
            r"person-X, which fold 0 holds out \(the same volume under another name\); start from "
            "a run folder whose folds hold out the same subjects, or train on all subjects only$",
        ),
        ("bids", "sub-A_T1w, which fold 0 holds out; .* of the same name, rename it$"),
    ):
        study = begin(tmp_path / name, tmp_path / f"run-{name}", TINY, first.fold_folder(FINAL))
        with pytest.raises(StateError, match=f"trained on {held_out}") as error:
            check_start(study, 0)
        assert error.value.argument == "folds"


def test_the_same_scan_resaved_is_still_known(first, dataset, tmp_path):
    """Of the digests of a card, that of the voxels alone finds it, also two trainings later."""
    (tmp_path / "resaved").mkdir()
    for letter, path in zip("XYZ", sorted(dataset.iterdir()), strict=True):
        image = nibabel.load(path)
        copy = nibabel.Nifti1Image(image.get_fdata(dtype=np.float32), image.affine)
        nibabel.save(copy, tmp_path / "resaved" / f"person-{letter}.nii")
    folder = first.fold_folder(FINAL)
    card = json.loads((folder / "card.json").read_text())
    direct = {"subjects": ["x"], **{key: card["training"][key] for key in DIGEST_KEYS}}
    for training in (direct, {"subjects": ["x"], "started_from": direct}):
        (folder / "card.json").write_text(json.dumps(card | {"training": training}))
        study = begin(tmp_path / "resaved", tmp_path / "run", TINY, folder)
        with pytest.raises(StateError, match=r"trained on person-X, .*under another name"):
            check_start(study, 0)
        assert check_start(study, FINAL).facts["targets_voxels_sha256"] == sorted(
            direct["targets_voxels_sha256"]
        ), "handed on to the next card"


def test_a_copy_that_was_changed_a_little_is_still_known(first, dataset, tmp_path):
    (tmp_path / "changed").mkdir()
    changes = (lambda a: 3.3 * a + 40, lambda a: np.round(20 * a), lambda a: a[::-1])
    for letter, path, change in zip("XYZ", sorted(dataset.iterdir()), changes, strict=True):
        image = nibabel.load(path)
        array = change(image.get_fdata(dtype=np.float32))
        copy = nibabel.Nifti1Image(array.astype(np.float32), image.affine)
        nibabel.save(copy, tmp_path / "changed" / f"person-{letter}.nii")
    study = begin(tmp_path / "changed", tmp_path / "run", TINY, first.fold_folder(FINAL))
    for k, letter in enumerate("XYZ"):
        with pytest.raises(StateError, match=f"trained on person-{letter}, .*under another name"):
            check_start(study, k)


@pytest.mark.parametrize("known_by", ["subjects", *DIGEST_KEYS])
def test_names_and_digests_of_the_start_are_each_enough(first, dataset, tmp_path, known_by):
    """Of a model that went on elsewhere, with all but one of its start's traces lost."""
    study = begin(dataset, tmp_path / "run", TINY, first.fold_folder(FINAL))
    traces = check_start(study, FINAL).facts
    assert len(traces[known_by]) == (0 if known_by.startswith("sources") else 3)
    told = traces[known_by] or traces[known_by.replace("sources", "targets")]  # of any image
    folder = shutil.copytree(first.fold_folder(FINAL), tmp_path / "elsewhere")
    card = json.loads((folder / "card.json").read_text())
    card["training"] = {"subjects": ["stranger"], "started_from": {known_by: told}}
    (folder / "card.json").write_text(json.dumps(card))
    back = begin(dataset, tmp_path / "back", TINY, folder)
    with pytest.raises(StateError, match="was trained on sub-A, which fold 0 holds out"):
        check_start(back, 0)


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ("sub-A", "sub-a"),
        ("S01_ses-1", "S01_ses-2"),
        ("S1_T1w", "S1"),
        ("M\u00fcller", "M\u00dcLLER"),
        ("Andr\u00e9", "Andre\u0301"),
    ],
)
def test_one_person_is_known_whatever_the_case_session_or_encoding_of_the_name(before, now):
    card = replace(load_model("basic_cnn").card, training={"subjects": [before]})
    assert was_trained_on(card, now)
    assert not was_trained_on(card, "somebody else")


def test_the_same_3t_scan_is_known_whatever_became_of_its_7t(dataset, tmp_path):
    """Of a pair whose 7T was corrected anew: its 3T file is that of the training."""
    folders = {}
    for n, place in enumerate(("before", "now")):
        folders[place] = tmp_path / place
        for path, name in zip(sorted(dataset.iterdir()), ("p", "q", "r"), strict=True):
            target = load_volume(path)
            noise = np.random.default_rng(ord(name)).normal(
                0, 0.2 * target.array.max(), target.shape
            )
            source = target.with_array(np.abs(target.array + noise))
            changed = target.with_array(np.roll(target.array, 4 * n, 0) ** (1 + n))
            stem = name if place == "before" else f"other-{name}"
            for field, volume in (("3T", source), ("7T", changed)):
                (folders[place] / f"{field}_images").mkdir(parents=True, exist_ok=True)
                save_volume(volume, folders[place] / f"{field}_images" / f"{stem}.nii.gz")
    first = begin(folders["before"], tmp_path / "run", network="basic_cnn")
    run_fold(first, FINAL, "cpu")
    start = first.fold_folder(FINAL)
    again = begin(folders["now"], tmp_path / "next", start_from=start, network="basic_cnn")
    with pytest.raises(StateError, match="was trained on other-p"):
        check_start(again, 0)


def test_weights_that_changed_since_the_start_was_recorded_are_refused(first, dataset, tmp_path):
    study = begin(dataset, tmp_path / "run", TINY, first.fold_folder(FINAL))
    own = check_start(study, FINAL)
    job = TrainJob(
        "slice_unet", TINY, 3, tmp_path, torch.device("cpu"), UNET,
        replace(own, facts=own.facts | {"sha256": "0" * 64}),
    )  # fmt: skip
    with pytest.raises(StateError, match="the model has changed since"):
        train(job, prepare_study(study))


def test_a_card_that_does_not_say_whom_it_knows_holds_nobody_out(first, dataset, tmp_path):
    folder = tmp_path / "unnamed"
    shutil.copytree(first.fold_folder(FINAL), folder)
    card = json.loads((folder / "card.json").read_text())
    for odd in ({}, {"subjects": None}, {"subjects": 3, "started_from": ["x"]}):
        (folder / "card.json").write_text(json.dumps(card | {"training": odd}))
        study = begin(dataset, tmp_path / "run", TINY, folder)
        with pytest.raises(StateError, match="subjects, so no subject can be held out;") as error:
            check_start(study, 0)
        assert error.value.argument == "folds"
        assert check_start(study, FINAL).sha256 == card["sha256"]


def test_a_fold_without_a_model_to_start_from_is_refused(first, dataset, tmp_path):
    study = begin(dataset, tmp_path / "run", TINY, first.folder)
    with pytest.raises(StateError, match="no model for fold-02 to start from"):
        check_start(study, 2)


@pytest.mark.parametrize(
    ("place", "network", "error", "words"),
    [
        ("no-such-model", "slice_unet", ModelError, "no-such-model: no such model: choose"),
        ("first", "basic_cnn", StateError, r"is network slice_unet .*, not basic_cnn"),
        ("empty", "slice_unet", StateError, "neither a model nor a run folder with trained"),
    ],
)
def test_a_refused_start_leaves_no_study_behind(
    first, dataset, tmp_path, monkeypatch, place, network, error, words
):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=words):
        begin(dataset, tmp_path / "run", TINY, place, network)
    begin(dataset, tmp_path / "run", TINY, "first")


def test_a_training_goes_on_when_its_start_is_gone(first, dataset, tmp_path):
    study = begin(dataset, tmp_path / "run", TINY, first.folder)
    with pytest.raises(Cancelled):
        run_fold(study, 0, "cpu", report=stop_training)
    sha256 = load_model(first.fold_folder(0)).card.sha256
    shutil.rmtree(first.folder)
    again = begin(dataset, tmp_path / "run", TINY, first.folder)
    card = run_fold(again, 0, "cpu")
    assert card.training["started_from"]["sha256"] == sha256
    with pytest.raises(ModelError, match="no such model"):
        run_fold(again, 1, "cpu")


def test_another_model_in_the_place_of_the_start_is_refused(first, dataset, tmp_path):
    begin(dataset, tmp_path / "run", TINY, first.folder)
    run_fold(open_study(tmp_path / "run"), 0, "cpu")
    shutil.rmtree(first.folder)
    other = begin(dataset, first.folder, replace(TINY, seed=77))
    run_fold(other, 1, "cpu")
    with pytest.raises(StateError, match="differs in start_from; use another folder"):
        begin(dataset, tmp_path / "run", TINY, first.folder)


def test_one_fold_s_start_that_was_trained_anew_is_refused(first, dataset, tmp_path):
    study = begin(dataset, tmp_path / "run", TINY, first.folder)
    run_fold(study, 0, "cpu")
    other = begin(dataset, tmp_path / "other", replace(TINY, seed=77))
    run_fold(other, 1, "cpu")
    shutil.rmtree(first.fold_folder(1))
    shutil.copytree(other.fold_folder(1), first.fold_folder(1))
    again = begin(dataset, tmp_path / "run", TINY, first.folder)
    with pytest.raises(
        StateError, match="fold-01: holds another model than when this study began"
    ) as caught:
        run_fold(again, 1, "cpu")
    assert caught.value.argument == "start_from"
    assert not again.is_done(1)


def test_a_start_that_was_trained_later_counts_from_then_on(first, dataset, tmp_path):
    begin(dataset, tmp_path / "run", TINY, first.folder)
    run_fold(first, 2, "cpu")
    study = begin(dataset, tmp_path / "run", TINY, first.folder)
    run_fold(study, 2, "cpu")
    assert open_study(study.folder).starts["fold-02"] == read_card(first.fold_folder(2)).sha256


def test_a_start_that_was_trained_after_the_study_was_opened_is_taken(first, dataset, tmp_path):
    study = begin(dataset, tmp_path / "run", TINY, first.folder)
    card = run_fold(first, 2, "cpu")
    assert run_fold(study, 2, "cpu").training["started_from"]["sha256"] == card.sha256


def test_of_two_processes_that_see_new_starts_none_drops_the_other_s(first, dataset, tmp_path):
    begin(dataset, tmp_path / "run", TINY, first.folder)
    planned = plan_study(dataset, tmp_path / "run", open_study(tmp_path / "run").settings)
    run_fold(first, 2, "cpu")
    begin(dataset, tmp_path / "run", TINY, first.folder)  # another process, meanwhile
    kept = keep_study(planned)
    assert kept.starts["fold-02"] == read_card(first.fold_folder(2)).sha256


def test_a_start_that_was_moved_is_known_again(first, dataset, tmp_path):
    begin(dataset, tmp_path / "run", TINY, first.folder)
    moved = first.folder.rename(tmp_path / "moved")
    study = begin(dataset, tmp_path / "run", TINY, moved)
    assert open_study(study.folder).settings.start_from == str(moved)
    run_fold(study, 0, "cpu")


def test_a_folder_named_like_a_bundled_model_is_no_such_model(dataset, tmp_path, monkeypatch):
    (tmp_path / "slice_unet").mkdir()
    monkeypatch.chdir(tmp_path)
    network = load_model("slice_unet").card
    asked = StudySettings(network.network, "best", TINY, {}, start_from="slice_unet")
    study = start_training(dataset, tmp_path / "run", asked, [])[0]
    assert training_command(study, 0).count("--start-from slice_unet") == 1
    asked = replace(asked, start_from=str(find_model("slice_unet")))  # as the window has it
    assert (
        start_training(dataset, tmp_path / "run", asked, [])[0].settings.start_from == "slice_unet"
    )


def test_a_run_folder_keeps_its_start(first, dataset, tmp_path):
    begin(dataset, tmp_path / "run", TINY, first.folder)
    begin(dataset, tmp_path / "run", TINY, first.folder)
    for start in ("", first.fold_folder(1)):
        with pytest.raises(StateError, match="differs in start_from; use another folder"):
            begin(dataset, tmp_path / "run", TINY, start)
    with pytest.raises(StateError, match="differs in start_from"):
        begin(dataset, first.folder, TINY, first.folder)


def test_a_start_that_knows_a_subject_leaves_the_run_folder_free(first, dataset, tmp_path):
    def train(run, start, *more):
        arguments = ["train", str(dataset), str(run), "--start-from", str(start), "--device", "cpu"]
        arguments += [
            f"--set-network={key}={list(v) if isinstance(v, tuple) else v}"
            for key, v in UNET.items()
        ]
        arguments += [
            f"--set={key}={getattr(TINY, key)}" for key in ("n_steps", "batch_size", "patch_size")
        ]
        return CliRunner().invoke(app, [*arguments, *more])

    run = tmp_path / "run"
    refused = train(run, first.fold_folder(FINAL), "--folds", "0")
    assert refused.exit_code == 1
    assert "was trained on sub-A, which fold 0 holds out" in str(refused.exception)
    assert not (run / "study.json").exists()
    missing = train(run, first.fold_folder(0), "--folds", "7")
    assert "fold 7 does not exist: the study has folds 0 to 2" in str(missing.exception)
    assert not run.exists(), "nothing is left behind"
    unclear = train(run, first.fold_folder(0), "--folds", "-1")
    assert "expected all, none, or numbers such as 0,3,7" in str(unclear.exception)
    done = train(run, first.fold_folder(0), "--folds", "0")
    assert done.exit_code == 0, done.output
    train(run, first.fold_folder(0), "--folds", "1")
    assert (run / "study.json").exists(), "a study that has begun stays"


def test_refused_training_leaves_no_folder_and_keeps_those_that_exist(first, dataset, tmp_path):
    asked = replace(first.settings, start_from=str(first.fold_folder(FINAL)))
    for run in (tmp_path / "new" / "run", tmp_path):
        before = set(run.parent.rglob("*"))
        with pytest.raises(ValueError, match="fold 7 does not exist: the study has folds 0 to 2"):
            start_training(dataset, run, first.settings, [0, 7])
        with pytest.raises(StateError, match="was trained on sub-A, which fold 0 holds out"):
            start_training(dataset, run, asked)
        assert set(run.parent.rglob("*")) == before
    study, folds = start_training(dataset, first.folder, first.settings, [1, 2, 1], final=True)
    assert (study, folds) == (first, [1, 2, FINAL])
    assert start_training(dataset, first.folder, first.settings)[1] == [0, 1, 2]


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
    asked = StudySettings("slice_unet", "best", TINY, {}, start_from="slice_unet-loo")
    study = start_training(dataset, tmp_path / "run", asked, [])[0]
    models = [check_start(study, k).facts["model"] for k in (0, 1)]
    assert models == ["slice_unet-loo/fold-00", "slice_unet-loo/fold-01"]


def test_start_of_a_training_is_reported(first, dataset, tmp_path):
    told = []
    start_training(dataset, tmp_path / "again", first.settings, [0], report=told.append)
    assert told


def test_a_renamed_scan_counts_for_its_own_fold_alone(first, dataset, tmp_path):
    """Fold 1 has not seen the second subject, under whatever name."""
    (tmp_path / "renamed").mkdir()
    for letter, path in zip("XYZ", sorted(dataset.iterdir()), strict=True):
        shutil.copy(path, tmp_path / "renamed" / f"person-{letter}.nii.gz")
    study = begin(tmp_path / "renamed", tmp_path / "run", TINY, first.fold_folder(1))
    assert check_start(study, 1) is not None
    for k, letter in ((0, "X"), (2, "Z")):
        with pytest.raises(StateError, match=f"trained on person-{letter}, .*under another name"):
            check_start(study, k)
