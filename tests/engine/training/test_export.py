"""Figures without a bound, such as the PSNR of equal images: strict JSON on disk, then numbers."""

import json
import math
import shlex
from dataclasses import replace

import pytest
import torch

from napari_mri7t.cli.train import _figures
from napari_mri7t.engine.atomic import write_json
from napari_mri7t.engine.errors import Mri7tError, StateError
from napari_mri7t.engine.models.model import load_model, save_model
from napari_mri7t.engine.training.config import TrainConfig
from napari_mri7t.engine.training.export import export_model, training_command
from napari_mri7t.engine.training.figures import METRICS_FILE, read_figures, summarize_figures
from napari_mri7t.engine.training.start import start_training
from napari_mri7t.engine.training.study import Study, StudySettings


def refuse(constant):
    raise ValueError(constant)


def figures_of(subject, psnr):
    regions = {"brain": {"psnr": psnr}, "whole": {"psnr": 30.0}}
    roles = {"source": regions, "estimate": regions}
    return {"subject": subject, **roles, "seconds": 1.0, "hardware": "CPU"}


@pytest.mark.parametrize("psnr", [math.inf, -math.inf, math.nan])
def test_infinite_figures_survive_metrics_card_and_summary(tmp_path, tiny_model, psnr):
    written = [figures_of("NaN", psnr), figures_of("sub-2", 20.0)]
    for number, figures in enumerate(written):
        (tmp_path / str(number)).mkdir()
        write_json(tmp_path / str(number) / METRICS_FILE, figures)
        json.loads((tmp_path / str(number) / METRICS_FILE).read_text(), parse_constant=refuse)
    read = read_figures([tmp_path / "0", tmp_path / "1"])
    assert repr(read) == repr(written), "a subject may be named NaN"
    model = load_model(tiny_model)
    card = replace(model.card, metrics=summarize_figures(read))
    save_model(tmp_path / "model", model.network, card)
    json.loads((tmp_path / "model" / "card.json").read_text(), parse_constant=refuse)
    metrics = load_model(tmp_path / "model").card.metrics
    assert metrics["subjects"] == ["NaN", "sub-2"]
    found = metrics["estimate"]["brain"]["psnr"]
    assert repr(found["mean"]) == repr(psnr)
    assert math.isnan(found["std"])
    assert metrics["estimate"]["whole"]["psnr"] == {"mean": 30.0, "std": 0.0}
    assert f"brain PSNR {psnr:.2f} dB" in _figures(metrics)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seconds", ...),
        ("seconds", None),
        ("seconds", 10**400),
        ("subject", 7),
        ("hardware", ...),
        ("estimate.brain", {"brain": {"psnr": "high"}, "whole": {"psnr": 30.0}}),
        ("source.whole", {"brain": {"psnr": 30.0}, "whole": {"psnr": None}}),
        ("source.brain", {"whole": {"psnr": 30.0}}),
    ],
)
def test_figures_that_were_edited_are_refused_with_their_file(tmp_path, name, value):
    edited = figures_of("sub-1", 20.0) | {name.partition(".")[0]: value}
    kept = {key: entry for key, entry in edited.items() if entry is not ...}
    path = tmp_path / METRICS_FILE
    write_json(path, kept)
    words = rf"{METRICS_FILE}: holds no readable figures \({name} is missing.*\); remove it"
    with pytest.raises(StateError, match=words):
        read_figures([tmp_path])


@pytest.mark.parametrize("source", [[], None, "none"])
def test_figures_of_another_form_are_refused_with_their_file(tmp_path, source):
    write_json(tmp_path / METRICS_FILE, figures_of("sub-1", 20.0) | {"source": source})
    with pytest.raises(StateError, match=f"{METRICS_FILE}: holds no readable figures"):
        read_figures([tmp_path])


def test_folds_with_other_metrics_are_not_summarised(tmp_path):
    folders = [tmp_path / "0", tmp_path / "1"]
    for folder, metric in zip(folders, ("psnr", "ssim"), strict=True):
        folder.mkdir()
        figures = figures_of("sub-1", 20.0)
        figures["estimate"] = figures["estimate"] | {"brain": {metric: 1.0}}
        write_json(folder / METRICS_FILE, figures)
    with pytest.raises(StateError, match=r"holds other metrics than .*; remove one of the two"):
        read_figures(folders)


@pytest.fixture
def run(dataset, tmp_path):
    """A run folder whose folds pass for done."""
    config = TrainConfig(n_steps=1, batch_size=1, patch_size=16)
    asked = StudySettings("slice_unet", "best", config)
    return start_training(dataset, tmp_path / "run", asked)[0]


@pytest.mark.parametrize("fold", [-1, "-1", 1.9, True, "1.0", "last", None, []])
def test_what_is_no_fold_is_not_exported(run, tmp_path, fold):
    with pytest.raises(ValueError, match="expected final or a number from 0"):
        export_model(run, tmp_path / "model", fold=fold)


@pytest.mark.parametrize(
    ("folder", "name"), [("slice_unet", ""), ("slice_unet", "a"), ("m", "watnet")]
)
def test_model_named_like_a_bundled_one_is_refused(run, tmp_path, monkeypatch, folder, name):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Study, "is_done", lambda self, k: True)
    with pytest.raises(Mri7tError, match="is the name of a bundled model"):
        export_model(run, folder, fold=0, name=name)


def test_spread_is_that_of_all_tables_divided_by_n():
    figures = [figures_of("sub-1", 20.0), figures_of("sub-2", 22.0)]
    assert summarize_figures(figures)["estimate"]["brain"]["psnr"] == {"mean": 21.0, "std": 1.0}


@pytest.mark.parametrize("place", ["run/fold-01/deep", "link", "link/deep"])
def test_run_folder_gets_no_model_by_a_link_or_deeper_either(run, tmp_path, monkeypatch, place):
    monkeypatch.setattr(Study, "is_done", lambda self, k: True)
    (tmp_path / "run/fold-00").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "run/fold-00")
    with pytest.raises(Mri7tError, match="lies in the run folder of a training"):
        export_model(run, tmp_path / place, fold=0, overwrite=True)


def test_command_of_a_card_is_what_a_shell_takes(dataset, tmp_path):
    (tmp_path / "odd").mkdir()
    for path, name in zip(sorted(dataset.iterdir()), ("a b", "$(c)", "d;e"), strict=True):
        path.rename(tmp_path / "odd" / f"{name}.nii.gz")
    config = TrainConfig(n_steps=1, batch_size=1, patch_size=16, planes=("axial", "coronal"))
    network = {"widths": [8, 8], "n_blocks": 1, "n_slices": 3}
    asked = StudySettings("slice_unet", "best", config, network, reference="$(c)")
    study = start_training(tmp_path / "odd", tmp_path / "run", asked, [])[0]
    words = shlex.split(training_command(study, 0))
    assert words[words.index("--reference") + 1] == "$(c)"
    assert "widths=[8, 8]" in words
    assert "planes=axial,coronal" in words


@pytest.mark.parametrize("folds", [0, "0", [True], [0.0], ["0"]])
def test_folds_of_a_training_are_numbers(dataset, tmp_path, folds):
    config = TrainConfig(n_steps=1, batch_size=1, patch_size=16)
    asked = StudySettings("slice_unet", "best", config)
    with pytest.raises(ValueError, match=r"expected a number|a list of numbers"):
        start_training(dataset, tmp_path / "run", asked, folds)
    assert not (tmp_path / "run").exists()


def test_loading_a_model_draws_no_random_number_of_the_user(tiny_model):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    load_model(tiny_model)
    assert torch.equal(torch.get_rng_state(), before)
