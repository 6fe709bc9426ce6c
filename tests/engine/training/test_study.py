"""Several runs that begin in one new folder at the same time."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from napari_mri7t.engine.datasets.subjects import find_subjects
from napari_mri7t.engine.errors import Mri7tError, StateError
from napari_mri7t.engine.training import run as run_module
from napari_mri7t.engine.training import start as start_module
from napari_mri7t.engine.training.config import TrainConfig
from napari_mri7t.engine.training.run import run_fold
from napari_mri7t.engine.training.start import start_training
from napari_mri7t.engine.training.study import (
    StudySettings,
    keep_study,
    lock_fold,
    open_study,
    plan_study,
)
from napari_mri7t.engine.volumes.volume import load_volume, save_volume

TINY = TrainConfig(n_steps=1, batch_size=1, patch_size=16, precision="float32")
SETTINGS = StudySettings(
    "slice_unet", "best", TINY, {"widths": (8, 8), "n_blocks": 1, "n_slices": 3}
)
OTHERS = [replace(SETTINGS, config=replace(TINY, seed=seed)) for seed in range(4)]


def keep_all(plans):
    """Write the studies in threads that begin at once; return studies and errors."""
    barrier = threading.Barrier(len(plans))

    def keep(plan):
        barrier.wait()
        try:
            return keep_study(plan)
        except StateError as error:
            return error

    with ThreadPoolExecutor(len(plans)) as pool:
        return list(pool.map(keep, plans))


def test_of_runs_with_other_settings_one_gets_the_folder_and_keeps_it(dataset, tmp_path):
    for n in range(5):
        folder = tmp_path / f"runs-{n}" / "run"
        results = keep_all([plan_study(dataset, folder, settings) for settings in OTHERS])
        (study,) = (result for result in results if not isinstance(result, StateError))
        assert open_study(folder) == study
        assert study.settings.config.seed == results.index(study), "its own settings"
        refused = [str(result) for result in results if isinstance(result, StateError)]
        assert all("a study that differs in settings seed" in text for text in refused)
        assert [path.name for path in folder.iterdir()] == ["study.json"]


def test_runs_with_the_same_settings_share_the_folder(dataset, tmp_path):
    folder = tmp_path / "run"
    results = keep_all([plan_study(dataset, folder, SETTINGS)] * 8)
    assert results == [open_study(folder)] * 8
    assert [path.name for path in folder.iterdir()] == ["study.json"]


def test_a_refused_run_removes_nothing_of_another(dataset, tmp_path, monkeypatch):
    def meanwhile(*_):
        monkeypatch.undo()
        start_training(dataset, tmp_path / "run", SETTINGS, [])[0]
        raise StateError("was trained on sub-A")

    monkeypatch.setattr(start_module, "check_start", meanwhile)
    with pytest.raises(StateError, match="was trained on sub-A"):
        start_training(dataset, tmp_path / "run", OTHERS[1])
    assert open_study(tmp_path / "run").settings.config.seed == 0


def test_a_study_that_cannot_be_written_leaves_no_folder(dataset, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(Mri7tError, match="No space left on device"):
        start_training(dataset, tmp_path / "new" / "run", SETTINGS)
    assert not (tmp_path / "new").exists()
    (tmp_path / "file").touch()
    with pytest.raises(StateError, match="file: is not a folder: choose another run folder"):
        start_training(dataset, tmp_path / "file", SETTINGS)


def test_a_fold_that_another_process_has_just_done_is_not_done_again(
    dataset, tmp_path, monkeypatch
):
    study = start_training(dataset, tmp_path / "run", SETTINGS, [])[0]

    def after_another(*arguments):
        monkeypatch.undo()
        run_fold(study, 0, "cpu")
        monkeypatch.delattr(run_module, "train")
        return lock_fold(*arguments)

    monkeypatch.setattr(run_module, "lock_fold", after_another)
    run_fold(study, 0, "cpu")


def test_data_that_was_moved_is_found_there(dataset, tmp_path):
    start_training(dataset, tmp_path / "run", SETTINGS, [])[0]
    dataset.rename(tmp_path / "moved")
    study = start_training(tmp_path / "moved", tmp_path / "run", SETTINGS, [])[0]
    assert study.subjects[0].target == (tmp_path / "moved" / "sub-A.nii.gz").resolve()
    run_fold(open_study(tmp_path / "run"), 0, "cpu")


def test_a_study_without_voxel_digests_gets_them(dataset, tmp_path):
    """As the first version wrote it."""
    study = start_training(dataset, tmp_path / "run", SETTINGS, [])[0]
    path = study.folder / "study.json"
    facts = json.loads(path.read_text())
    for entry in facts["subjects"]:
        del entry["target_voxels_sha256"], entry["source_voxels_sha256"]
    path.write_text(json.dumps(facts))
    assert open_study(study.folder).digests[0].target.voxels == ""
    assert start_training(dataset, study.folder, SETTINGS, [])[0] == study


def test_patches_that_do_not_fit_are_refused_before_anything_is_written(dataset, tmp_path):
    settings = StudySettings("basic_cnn", "report", TrainConfig(patch_size=504))
    with pytest.raises(ValueError, match=r"nii.*: patches of 504 voxels do not fit"):
        plan_study(dataset, tmp_path / "run", settings)
    assert not (tmp_path / "run").exists()


def test_end_slices_that_leave_nothing_are_refused_before_the_training(dataset, tmp_path):
    n_slices = load_volume(find_subjects(dataset)[0].target).shape[2]
    ends = replace(SETTINGS.config.inference, end_slices=n_slices // 2)
    settings = replace(SETTINGS, config=replace(SETTINGS.config, inference=ends))
    with pytest.raises(ValueError, match=r"nii.*of \d+ axial slices.*leave fewer"):
        plan_study(dataset, tmp_path / "run", settings)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("left", ["state.safetensors", "card.json", "start.json"])
@pytest.mark.parametrize("fold", ["fold-01", "final"])
def test_folds_whose_study_is_lost_are_not_gone_on_with(dataset, tmp_path, left, fold):
    """Nothing says which people they were trained on."""
    study = start_training(dataset, tmp_path / "run", SETTINGS, [])[0]
    (study.folder / fold).mkdir()
    (study.folder / fold / left).touch()
    plan_study(dataset, study.folder, SETTINGS)
    (study.folder / "study.json").unlink()
    with pytest.raises(StateError, match=f"holds {fold}, but no study.json"):
        start_training(dataset, study.folder, SETTINGS, [])
    (study.folder / fold / left).rename(study.folder / fold / "lock")
    start_training(dataset, study.folder, SETTINGS, [])


def test_another_3t_in_mid_study_is_named(dataset, tmp_path):
    for field in ("3T", "7T"):
        (tmp_path / f"pairs/{field}_images").mkdir(parents=True)
    for n, path in enumerate(sorted(dataset.iterdir())):
        target = load_volume(path)
        noise = np.random.default_rng(n).normal(0, 0.2 * target.array.max(), target.shape)
        save_volume(target, tmp_path / f"pairs/7T_images/p{n}.nii.gz")
        source = target.with_array(np.abs(target.array + noise))
        save_volume(source, tmp_path / f"pairs/3T_images/p{n}.nii.gz")
    study = start_training(tmp_path / "pairs", tmp_path / "run", SETTINGS, [])[0]
    first = study.subjects[0].source
    volume = load_volume(first)
    save_volume(volume.with_array(volume.array * 2), first, overwrite=True)
    with pytest.raises(StateError, match="the 3T image of p0 has changed"):
        plan_study(tmp_path / "pairs", study.folder, SETTINGS)
    noisy = replace(SETTINGS, network_config={**SETTINGS.network_config, "noise_map": True})
    with pytest.raises(ValueError, match="learns from simulated noise only"):
        start_training(tmp_path / "pairs", tmp_path / "scan", noisy, [])
    assert not (tmp_path / "scan").exists()


def test_changed_data_are_named(dataset, tmp_path):
    study = start_training(dataset, tmp_path / "run", SETTINGS, [])[0]
    first, second = study.subjects[:2]
    volume = load_volume(first.target)
    save_volume(volume.with_array(volume.array * 2), first.target, overwrite=True)
    second.target.rename(second.target.with_name("sub-new.nii.gz"))
    named = f"{second.name} is gone.*is new.*the 7T image of {first.name} has changed"
    with pytest.raises(StateError, match=named):
        plan_study(dataset, study.folder, SETTINGS)
