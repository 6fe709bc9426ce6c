"""Training end to end on phantoms: deterministic, resumable, nothing lost."""

import json
from dataclasses import replace

import nibabel
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from napari_mri7t.engine.errors import Mri7tError, StateError
from napari_mri7t.engine.models.card import read_card
from napari_mri7t.engine.models.model import load_model
from napari_mri7t.engine.progress import Cancelled
from napari_mri7t.engine.synthesis.config import SynthesisConfig
from napari_mri7t.engine.training import checkpoint, loop
from napari_mri7t.engine.training.checkpoint import CURRENT, PREVIOUS, load_state
from napari_mri7t.engine.training.config import FINAL, TrainConfig
from napari_mri7t.engine.training.export import export_model, training_command
from napari_mri7t.engine.training.figures import read_figures
from napari_mri7t.engine.training.fold_checks import check_done
from napari_mri7t.engine.training.learner import HISTORY_COLUMNS, take_step
from napari_mri7t.engine.training.loop import TrainJob, TrainProgress, train
from napari_mri7t.engine.training.run import prepare_study, run_fold
from napari_mri7t.engine.training.start import Start, start_training
from napari_mri7t.engine.training.study import (
    StudySettings,
    adopt_training,
    open_study,
)
from napari_mri7t.engine.volumes.volume import load_volume

TINY = TrainConfig(
    n_steps=12, batch_size=2, patch_size=24, checkpoint_steps=4, warmup_steps=2, precision="float32"
)
UNET = {"widths": (8, 16), "n_blocks": 1, "n_slices": 3}


def settings(config=TINY, network="slice_unet"):
    return StudySettings(network, "best", config, UNET if network == "slice_unet" else {})


@pytest.fixture
def study(dataset, tmp_path):
    return start_training(dataset, tmp_path / "run", settings(), [])[0]


@pytest.fixture
def pairs(study):
    return prepare_study(study)


def job_in(folder, config=TINY, network="slice_unet"):
    folder.mkdir(exist_ok=True)
    return TrainJob(
        network, config, 0, folder, torch.device("cpu"), settings(config, network).network_config
    )


def train_until(job, pairs, n, stop=Cancelled):
    """Train n steps, and stop between two steps, as the window and the command line do."""
    seen = []

    def report(progress):
        seen.append(progress)
        if len(seen) == n:
            raise stop

    with pytest.raises(stop):
        train(job, pairs, report=report)


def weights_of(network):
    return {key: value.clone() for key, value in network.state_dict().items()}


def assert_equal_bits(first, second):
    assert first.keys() == second.keys()
    assert [key for key in first if not torch.equal(first[key], second[key])] == []


def test_same_training_twice_gives_the_same_bits(pairs, tmp_path):
    first = train(job_in(tmp_path / "a"), pairs[1:])
    second = train(job_in(tmp_path / "b"), pairs[1:])
    assert_equal_bits(weights_of(first), weights_of(second))


@pytest.mark.parametrize("network", ["slice_unet", "basic_cnn", "watnet_qu2020"])
def test_training_stopped_at_any_step_ends_with_the_same_bits(pairs, tmp_path, network):
    small = replace(TINY, n_steps=6, patch_size=8)
    whole = train(job_in(tmp_path / "whole", small, network), pairs[1:])
    job = job_in(tmp_path / "stopped", small, network)
    for n_steps in (1, 2, 2):  # stopped three times, never at a checkpoint's step
        train_until(job, pairs[1:], n_steps)
    resumed = train(job, pairs[1:])
    assert_equal_bits(weights_of(whole), weights_of(resumed))


def test_ctrl_c_between_two_steps_saves_and_within_a_step_does_not(pairs, tmp_path, monkeypatch):
    whole = train(job_in(tmp_path / "whole"), pairs[1:])
    job = job_in(tmp_path / "stopped")
    train_until(job, pairs[1:], 6, stop=KeyboardInterrupt)
    assert load_state(job.folder)[1]["step"] == 6

    def interrupted(*arguments):
        take_step(*arguments)  # the weights have moved on, the step is not counted yet
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(loop, "take_step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train(job, pairs[1:])
    assert load_state(job.folder)[1]["step"] == 6
    assert_equal_bits(weights_of(whole), weights_of(train(job, pairs[1:])))


def test_gan_stopped_and_resumed_ends_with_the_same_bits(pairs, tmp_path):
    config = replace(TINY, adversarial_weight=0.01, n_steps=8)
    whole = train(job_in(tmp_path / "whole", config), pairs[1:])
    train_until(job_in(tmp_path / "stopped", config), pairs[1:], 5)
    resumed = train(job_in(tmp_path / "stopped", config), pairs[1:])
    assert_equal_bits(weights_of(whole), weights_of(resumed))


def test_history_counts_no_step_that_a_failed_save_loses(pairs, tmp_path, monkeypatch):
    job = job_in(tmp_path / "a")

    def full(folder, tensors, facts):
        if facts["step"] > 4:
            raise OSError("No space left on device")
        return checkpoint.save_state(folder, tensors, facts)

    monkeypatch.setattr(loop, "save_state", full)
    with pytest.raises(OSError, match="No space"):
        train(job, pairs[1:])
    assert load_state(job.folder)[1]["step"] == 4
    assert (job.folder / checkpoint.HISTORY).read_text().splitlines()[-1].startswith("4.0,")


def test_training_lowers_the_loss(pairs, tmp_path):
    config = replace(TINY, n_steps=80, patch_size=16, learning_rate=3e-3)
    records = []
    train(job_in(tmp_path / "a", config), pairs[1:], report=records.append)
    assert np.isfinite([record.loss for record in records]).all()
    rows = (tmp_path / "a" / "history.csv").read_text().split()
    assert tuple(rows[0].split(",")) == HISTORY_COLUMNS
    losses = [float(row.split(",")[1]) for row in rows[1:]]
    assert len(losses) == 80
    assert np.mean(losses[-20:]) < 0.8 * np.mean(losses[:5])


def test_pace_is_that_of_the_steps_and_not_of_a_pause_between_them(pairs, tmp_path, monkeypatch):
    clock = [0.0]

    def half_a_second(*arguments):
        clock.append(clock[-1] + 0.5)
        return take_step(*arguments)

    monkeypatch.setattr(loop, "take_step", half_a_second)
    monkeypatch.setattr(loop.time, "perf_counter", lambda: clock[-1])
    records = []

    def pause_for_an_hour(record):
        clock.append(clock[-1] + 3600)
        records.append(record)

    train(job_in(tmp_path / "a"), pairs[1:], report=pause_for_an_hour)
    assert [record.done for record in records] == list(range(1, 13))
    for n, record in enumerate(records, start=1):
        assert record.patches_per_second == 2 / 0.5
        assert record.seconds_left == (12 - n) * 0.5


def test_fault_20_damaged_checkpoint_falls_back_on_the_one_before(pairs, tmp_path):
    whole = train(job_in(tmp_path / "whole"), pairs[1:])
    job = job_in(tmp_path / "damaged")
    train_until(job, pairs[1:], 9)
    current = job.folder / CURRENT
    assert (job.folder / PREVIOUS).exists()
    content = bytearray(current.read_bytes())
    content[-100] ^= 1  # a flipped bit, which safetensors alone would not notice
    current.write_bytes(content)
    resumed = train(job, pairs[1:])
    assert_equal_bits(weights_of(whole), weights_of(resumed))


def test_fault_20_without_a_whole_checkpoint_the_error_names_the_file(pairs, tmp_path):
    job = job_in(tmp_path / "a")
    (job.folder / CURRENT).write_bytes(b"not a checkpoint")
    with pytest.raises(StateError, match=r"state\.safetensors.*damaged"):
        train(job, pairs[1:])


def test_fault_21_checkpoint_of_other_settings_is_refused(pairs, tmp_path):
    train_until(job_in(tmp_path / "a"), pairs[1:], 4)
    with pytest.raises(StateError, match="settings differ from the requested"):
        train(job_in(tmp_path / "a", replace(TINY, batch_size=3)), pairs[1:])


def test_checkpoint_of_other_images_is_refused(pairs, tmp_path):
    own = replace(job_in(tmp_path), data="a" * 64)
    train_until(own, pairs, 4)
    with pytest.raises(StateError, match="the checkpoint's data differ"):
        train(replace(own, data="b" * 64), pairs)


def test_checkpoint_of_another_fold_is_refused(pairs, tmp_path):
    """It was trained on the subject that this fold holds out."""
    train_until(job_in(tmp_path / "a"), pairs[1:], 4)
    with pytest.raises(StateError, match="the checkpoint's fold differ"):
        train(replace(job_in(tmp_path / "a"), fold=1), pairs[:2])


def test_history_of_a_later_state_that_was_damaged_goes_back_with_the_weights(pairs, tmp_path):
    job = job_in(tmp_path / "a")
    train_until(job, pairs[1:], 6)
    (job.folder / CURRENT).write_bytes(b"damaged")
    train_until(job, pairs[1:], 1)
    rows = (job.folder / "history.csv").read_text().split()[1:]
    assert [float(row.split(",")[0]) for row in rows] == list(range(1, 6))


def test_diverging_training_stops_with_advice(pairs, tmp_path):
    config = replace(TINY, learning_rate=1e30, gradient_clip=0.0, warmup_steps=0)
    with pytest.raises(StateError, match=r"diverged; lower learning_rate"):
        train(job_in(tmp_path / "a", config), pairs[1:])


def test_fold_leaves_estimate_figures_weights_and_card(study, pairs, dataset):
    card = run_fold(study, 1, "cpu", pairs)
    folder = study.fold_folder(1)
    assert study.is_done(1)
    assert not study.is_done(0)
    assert card.training["held_out"] == "sub-B"
    assert card.training["subjects"] == ["sub-A", "sub-C"]
    estimate = load_volume(folder / "estimate.nii.gz")
    target = load_volume(dataset / "sub-B.nii.gz")
    np.testing.assert_allclose(estimate.affine, target.affine, atol=1e-6)
    sidecar = json.loads((folder / "estimate.json").read_text())
    assert sidecar["Synthetic"] is True
    assert sidecar["Model"]["SHA256"] == card.sha256
    check_done(study, 1)
    folder.rename(study.fold_folder(2))  # as somebody may exchange two folds
    with pytest.raises(StateError, match="holds the fold of sub-B, not of sub-C: put it back"):
        run_fold(study, 2, "cpu", pairs)
    with pytest.raises(StateError, match="holds the fold of sub-B, not of sub-C: put it back"):
        start_training(dataset, study.folder, study.settings)
    study.fold_folder(2).rename(folder)
    assert run_fold(study, 1, "cpu", pairs) == card
    start_training(dataset, study.folder, study.settings)
    (folder / "estimate.json").rename(folder / "elsewhere.json")
    with pytest.raises(StateError, match="remove it; training the fold again makes it anew"):
        check_done(study, 1)
    (folder / "weights.safetensors").rename(folder / "elsewhere.safetensors")
    assert not study.is_done(1)
    (folder / "elsewhere.safetensors").rename(folder / "weights.safetensors")
    figures = json.loads((folder / "metrics.json").read_text())
    assert card.metrics["estimate"]["brain"]["psnr"]["mean"] == pytest.approx(
        figures["estimate"]["brain"]["psnr"], abs=1e-5
    )
    assert load_model(folder).card == card


def test_done_fold_is_skipped(study, pairs):
    card = run_fold(study, 0, "cpu", pairs)
    before = (study.fold_folder(0) / "weights.safetensors").stat().st_mtime_ns
    seen = []
    assert run_fold(study, 0, "cpu", pairs, report=seen.append) == card
    assert seen == []
    assert (study.fold_folder(0) / "weights.safetensors").stat().st_mtime_ns == before


def change(path, waves):
    """Change an image so that it is no copy of another one."""
    image = nibabel.load(path)
    array = np.asarray(image.dataobj) * (1 + 0.2 * np.sin(waves * np.indices(image.shape)[0]))
    nibabel.save(nibabel.Nifti1Image(array.clip(0, 255).astype(np.uint8), image.affine), path)


def test_held_out_subject_has_no_part_in_its_fold(dataset, tmp_path):
    folders = []
    for waves in (0.5, 0.9, 1.3):
        change(dataset / "sub-A.nii.gz", waves)
        # The reference is sub-A unless said otherwise: take one that does not change.
        asked = replace(settings(), reference="sub-C")
        study = start_training(dataset, tmp_path / f"run-{waves}", asked, [])[0]
        run_fold(study, 0, "cpu")
        folders.append(study.fold_folder(0))
    first, second, third = (load_file(folder / "weights.safetensors") for folder in folders)
    assert_equal_bits(first, second)
    assert_equal_bits(second, third)


def test_final_training_uses_everyone_and_reports_the_folds(study, pairs, tmp_path):
    run_fold(study, 0, "cpu", pairs)
    card = run_fold(study, FINAL, "cpu", pairs)
    assert card.training["subjects"] == ["sub-A", "sub-B", "sub-C"]
    assert card.metrics["n_held_out"] == 1
    assert card.metrics["seconds"] > 0
    stress = {"lesions": {"bright": []}, "robustness": {}, "estimate": {"brain": "mine"}}
    facts = {"name": "mine", "title": "Mine", "data": "phantoms, public domain", "stress": stress}
    exported = export_model(study.folder, tmp_path / "model", half=True, **facts)
    assert load_model(tmp_path / "model").card == exported
    assert (exported.name, exported.title) == ("mine", "Mine")
    assert exported.metrics["lesions"] == {"bright": []}
    assert exported.metrics["estimate"] == card.metrics["estimate"], "no figures but those"
    with pytest.raises(Mri7tError, match="holds a model already") as caught:
        export_model(study.folder, tmp_path / "model")
    assert caught.value.argument == "overwrite"
    export_model(study.folder, tmp_path / "model", overwrite=True)
    for inside in (study.folder / "fold-01", study.folder):
        with pytest.raises(Mri7tError, match="lies in the run folder of a training"):
            export_model(study.folder, inside, overwrite=True)
    stress["stressed"] = {"sha256": "0" * 64}
    with pytest.raises(ValueError, match="measured on another model"):
        export_model(study.folder, tmp_path / "other", stress=stress)
    with pytest.raises(ValueError, match="no measurement of robustness"):
        export_model(study.folder, tmp_path / "other", stress={"robustness": 3, "lesions": {}})
    for measured in (exported, read_card(study.fold_folder(0))):
        stress["stressed"] = {"sha256": measured.sha256}
        made = export_model(
            study.folder, tmp_path / "other", stress=stress, half=True, overwrite=True
        )
        assert made.metrics["stressed"] == stress["stressed"]
    assert exported.training["data"] == "phantoms, public domain"
    assert "--set n_steps=12" in exported.training["command"]
    assert exported.training["command"].endswith("--folds none --final")
    assert exported.training["held_out_command"].endswith("--folds 0")
    assert training_command(study, 0, 2).endswith("--folds 0,2")
    assert "--folds" not in training_command(study, 0, 1, 2)


def test_export_of_an_open_fold_is_refused(study, tmp_path):
    with pytest.raises(StateError, match=r"fold 2 \(sub-C held out\): not trained yet"):
        export_model(study, tmp_path / "model", fold=2)
    with pytest.raises(ValueError, match="fold 3 does not exist: the study has folds 0 to 2"):
        export_model(study, tmp_path / "model", fold="3")


def test_estimates_made_anew_take_the_weights_of_a_finished_study(study, pairs, dataset, tmp_path):
    run_fold(study, 0, "cpu", pairs)
    config = replace(TINY, inference=SynthesisConfig(planes=("axial", "coronal"), flips=True))
    other = start_training(dataset, tmp_path / "planes", settings(config), [])[0]
    assert adopt_training(other, study.folder, 0)
    seen = []
    run_fold(other, 0, "cpu", pairs, report=seen.append)
    assert not any(isinstance(now, TrainProgress) for now in seen), "nothing is trained again"
    first, second = (
        load_file(place.fold_folder(0) / "weights.safetensors") for place in (study, other)
    )
    assert_equal_bits(first, second)
    before, after = (read_figures([place.fold_folder(0)])[0] for place in (study, other))
    assert before["source"] == after["source"]
    assert before["estimate"] != after["estimate"]
    assert not adopt_training(other, study.folder, 0), "a done fold stays as it is"


def test_weights_of_a_study_that_learnt_otherwise_are_refused(study, pairs, dataset, tmp_path):
    run_fold(study, 0, "cpu", pairs)
    other = start_training(dataset, tmp_path / "o", settings(replace(TINY, learning_rate=0.1)), [])[
        0
    ]
    with pytest.raises(StateError, match=r"learning_rate .* use another folder"):
        adopt_training(other, study.folder, 0)
    flipped = replace(TINY, inference=SynthesisConfig(flips=True))
    same = start_training(dataset, tmp_path / "s", settings(flipped), [])[0]
    with pytest.raises(StateError, match=r"fold 1 .* not trained yet"):
        adopt_training(same, study.folder, 1)


def test_run_folder_with_other_settings_is_refused(study, dataset):
    with pytest.raises(StateError, match=r"differs in settings n_steps 12 -> 13; use another"):
        start_training(dataset, study.folder, settings(replace(TINY, n_steps=13)), [])[0]


def test_run_folder_older_than_a_setting_goes_on(study, dataset):
    path = study.folder / "study.json"
    facts = json.loads(path.read_text())
    del facts["config"]["gradient_weight"]
    path.write_text(json.dumps(facts))
    assert start_training(dataset, study.folder, settings(), [])[0].settings == study.settings


def test_run_folder_whose_subjects_changed_is_refused(study, dataset):
    change(dataset / "sub-C.nii.gz", 0.4)
    with pytest.raises(StateError, match="differs in subjects"):
        start_training(dataset, study.folder, settings(), [])[0]


def test_opened_study_is_the_created_one(study):
    assert open_study(study.folder) == study


@pytest.mark.parametrize("content", ["", "[]", '{"format": 99}', '{"format": 1}'])
def test_folder_without_a_study_is_refused(tmp_path, content):
    (tmp_path / "study.json").write_text(content)
    with pytest.raises(StateError, match=r"study\.json"):
        open_study(tmp_path)


def test_fold_that_does_not_exist_is_refused(study, pairs):
    with pytest.raises(ValueError, match="folds 0 to 2"):
        run_fold(study, 3, "cpu", pairs)


def test_fault_39_second_run_on_one_fold_is_refused(study, pairs):
    def run_a_second_time(progress):
        with pytest.raises(StateError, match="another process is training this fold"):
            run_fold(study, 0, "cpu", pairs)
        raise Cancelled

    with pytest.raises(Cancelled):
        run_fold(study, 0, "cpu", pairs, report=run_a_second_time)
    run_fold(study, 0, "cpu", pairs)


def test_checkpoint_of_another_start_is_refused(pairs, tmp_path):
    """One of random weights, too: the card would name a start that the weights do not have."""
    job = job_in(tmp_path / "a")
    train_until(job, pairs, 4)
    with pytest.raises(StateError, match="the checkpoint's start differ"):
        train(replace(job, start=Start({"sha256": "0" * 64}, "", "")), pairs)


def test_state_that_is_there_is_replaced_by_no_other_study_s(study, pairs, dataset, tmp_path):
    run_fold(study, 0, "cpu", pairs)
    config = replace(TINY, inference=SynthesisConfig(flips=True))
    other = start_training(dataset, tmp_path / "flips", settings(config), [])[0]
    assert adopt_training(other, study.folder, 0)
    assert not adopt_training(other, study.folder, 0), "not estimated yet, but trained"
