"""Finished folds are judged: one study or several, resumable, refused where not comparable."""

from __future__ import annotations

import json
import math
import shutil
import sys
from dataclasses import replace
from functools import partial, partialmethod

import numpy as np
import pytest

from napari_mri7t import cli
from napari_mri7t.engine.datasets.subjects import Subject, find_subjects
from napari_mri7t.engine.errors import DeviceError, Mri7tError, StateError, SubjectError
from napari_mri7t.engine.evaluation.results import StudyResults, file_name
from napari_mri7t.engine.evaluation.robustness import Condition, LesionConfig
from napari_mri7t.engine.evaluation.stress import is_known, stress
from napari_mri7t.engine.metrics.basic import compare
from napari_mri7t.engine.models.card import read_card
from napari_mri7t.engine.simulation.pseudo_3t import SimulationConfig
from napari_mri7t.engine.synthesis import slabs
from napari_mri7t.engine.training.config import FINAL, TrainConfig
from napari_mri7t.engine.training.export import export_model, find_trained
from napari_mri7t.engine.training.figures import read_figures
from napari_mri7t.engine.training.run import run_fold
from napari_mri7t.engine.training.start import start_training
from napari_mri7t.engine.training.study import Study, StudySettings
from napari_mri7t.engine.volumes.files.streams import sidecar_of
from napari_mri7t.engine.volumes.volume import load_volume
from napari_mri7t.engine.workflows import studies as studies_module
from napari_mri7t.engine.workflows.simulate import simulate_dataset
from napari_mri7t.engine.workflows.stress import case_of_study
from napari_mri7t.engine.workflows.studies import Studies, evaluate, open_studies, train
from napari_mri7t.engine.workflows.study_facts import describe_studies, is_of_report

KEPT = ("weights.safetensors", "estimate.nii.gz")
TINY = TrainConfig(n_steps=3, batch_size=1, patch_size=16, warmup_steps=0, precision="float32")
UNET = {"widths": (8, 16), "n_blocks": 1, "n_slices": 3}


def settings(preset="best", **changes) -> StudySettings:
    return StudySettings("slice_unet", preset, replace(TINY, **changes), UNET)


@pytest.fixture
def study(dataset, tmp_path):
    made = start_training(dataset, tmp_path / "runs" / "one", settings(), [])[0]
    for k in (0, 2):
        run_fold(made, k, "cpu")
    return made


def test_a_run_folder_alone_can_be_opened(study):
    studies = open_studies(study.folder)
    assert list(studies.studies) == ["slice_unet"]
    assert studies.folds_done("slice_unet") == [0, 2]
    cases = studies.cases()
    assert [case.subject for case in cases] == ["sub-A", "sub-C"]
    assert cases[0].training == ("sub-B", "sub-C")
    assert cases[0].estimates["slice_unet"].exists()


def test_the_pair_is_the_one_the_training_scored(study):
    studies = open_studies(study.folder)
    source, target = studies.pairs()["sub-C"].load()
    (figures,) = read_figures([study.fold_folder(2)])
    assert compare(target, source) == figures["source"]
    estimate = load_volume(studies.cases()[1].estimates["slice_unet"])
    again = compare(target, estimate)
    assert again["brain"]["psnr"] == pytest.approx(figures["estimate"]["brain"]["psnr"], abs=1e-6)


def swap(one, two, *names):
    for name in names:
        first, second, spare = one / name, two / name, one / "spare"
        first.rename(spare)
        second.rename(first)
        spare.rename(second)


@pytest.mark.parametrize("names", [("estimate.nii.gz", "estimate.json"), ("estimate.nii.gz",)])
def test_estimates_that_changed_places_are_not_scored(study, names):
    swap(study.fold_folder(0), study.fold_folder(2), *names)
    with pytest.raises(StateError, match=r"fold-00/estimate\.nii\.gz: .*: remove it"):
        open_studies(study.folder).cases()


def test_a_fold_in_the_place_of_another_is_not_scored(study):
    study.fold_folder(0).rename(study.folder / "kept")
    shutil.copytree(study.fold_folder(2), study.fold_folder(0))
    with pytest.raises(StateError, match="fold-00: holds the fold of sub-C, not of sub-A"):
        open_studies(study.folder).cases()


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("network", "watnet", r"of another network \(watnet\)"),
        ("targets_sha256", ["0" * 64], "trained on other images"),
        ("subjects", None, "trained on other people"),
        ("subjects", ["sub-B", "sub-A"], "trained on other people"),
    ],
)
def test_a_fold_of_another_study_is_not_scored(study, key, value, told):
    path = study.fold_folder(0) / "card.json"
    facts = json.loads(path.read_text())
    place = facts if key == "network" else facts["training"]
    place[key] = value
    path.write_text(json.dumps(facts))
    with pytest.raises(StateError, match=f"holds a fold {told} than study.json says"):
        open_studies(study.folder).cases()


@pytest.mark.parametrize("made_from", [0, FINAL])
def test_folds_that_changed_places_are_not_exported(study, tmp_path, made_from):
    if made_from == FINAL:
        run_fold(study, FINAL, "cpu")
    study.fold_folder(0).rename(study.folder / "aside")
    study.fold_folder(2).rename(study.fold_folder(0))
    fold = "final" if made_from == FINAL else made_from
    told = "fold-00: holds the fold of sub-C, not of sub-A"
    with pytest.raises(StateError, match=told):
        export_model(study, tmp_path / "model", fold=fold)
    with pytest.raises(StateError, match=told):
        find_trained(study.folder, 0)
    assert not (tmp_path / "model").exists()


def test_a_final_model_takes_no_figures_of_folds_that_changed_places(study):
    study.fold_folder(0).rename(study.folder / "aside")
    study.fold_folder(2).rename(study.fold_folder(0))
    with pytest.raises(StateError, match="fold-00: holds the fold of sub-C, not of sub-A"):
        run_fold(study, FINAL, "cpu")
    assert not study.is_done(FINAL)


@pytest.mark.parametrize("how", ["of another fold", "edited"])
def test_figures_that_are_not_the_fold_s_are_not_exported(study, tmp_path, how):
    run_fold(study, FINAL, "cpu")
    one, other = (study.fold_folder(k) / "metrics.json" for k in (0, 2))
    facts = json.loads((other if how == "of another fold" else one).read_text())
    if how == "edited":
        facts["estimate"]["brain"]["psnr"] = 99.0
    one.write_text(json.dumps(facts))
    with pytest.raises(StateError, match=r"fold-00/metrics\.json: holds other figures than the"):
        export_model(study, tmp_path / "model")


def test_figures_that_are_gone_are_left_out_of_the_final_model(study):
    (study.fold_folder(0) / "metrics.json").unlink()
    assert run_fold(study, FINAL, "cpu").metrics["subjects"] == ["sub-C_7T"]


def test_a_fold_in_the_place_of_the_final_training_is_not_exported(study, tmp_path):
    shutil.copytree(study.fold_folder(2), study.fold_folder(FINAL))
    with pytest.raises(StateError, match="final: holds the fold of sub-C, not of nobody"):
        export_model(study, tmp_path / "model")


def test_settings_that_were_edited_after_the_training_are_not_reported(study):
    path = study.folder / "study.json"
    facts = json.loads(path.read_text())
    facts["config"]["n_steps"] += 1
    path.write_text(json.dumps(facts))
    with pytest.raises(
        StateError, match=r"trained with other settings than study\.json has .n_steps"
    ):
        open_studies(study.folder).evaluate(baselines={})


def test_an_estimate_that_was_lost_is_made_again_from_the_same_weights(study):
    before = [(study.fold_folder(0) / name).read_bytes() for name in KEPT]
    (study.fold_folder(0) / "estimate.nii.gz").unlink()
    assert [case.subject for case in open_studies(study.folder).cases()] == ["sub-C"]
    run_fold(study, 0, "cpu")
    assert [(study.fold_folder(0) / name).read_bytes() for name in KEPT] == before


def test_studies_of_one_network_are_told_apart_by_their_preset(study, dataset, tmp_path):
    start_training(dataset, tmp_path / "runs" / "two", settings("report", n_steps=4), [])[0]
    start_training(dataset, tmp_path / "runs" / "three", settings("report", n_steps=5), [])[0]
    studies = open_studies(tmp_path / "runs")
    assert set(studies.studies) == {
        "slice_unet (best)", "slice_unet (three)", "slice_unet (two)",
    }  # fmt: skip


def test_study_in_a_folder_named_like_its_preset_hides_no_other(study, dataset, tmp_path):
    runs = tmp_path / "runs"
    for name in ("a_long", "best", "report"):
        start_training(dataset, runs / name, settings(n_steps=4), [])[0]
    studies = open_studies(runs).studies
    assert {method: study.folder.name for method, study in studies.items()} == {
        "slice_unet (a_long)": "a_long",
        "slice_unet (best)": "best",
        "slice_unet (one)": "one",
        "slice_unet (report 2)": "report",  # of the preset "best": not the published network
    }


def test_study_in_a_folder_named_like_the_preset_of_another_hides_no_other(
    study, dataset, tmp_path
):
    runs = tmp_path / "runs"
    start_training(dataset, runs / "gan", settings(n_steps=4), [])[0]
    start_training(dataset, runs / "rival", settings("gan", adversarial_weight=0.1), [])[0]
    studies = open_studies(runs).studies
    assert {method: study.folder.name for method, study in studies.items()} == {
        "slice_unet (gan 2)": "gan",
        "slice_unet (gan)": "rival",
        "slice_unet (one)": "one",
    }


def test_study_with_fewer_folds_costs_the_pictures_no_subject(study, dataset, tmp_path):
    short = start_training(dataset, tmp_path / "runs" / "short", settings("report"), [])[0]
    run_fold(short, 0, "cpu")
    studies = open_studies(tmp_path / "runs")
    subjects = studies.report_data(StudyResults(())).subjects
    assert [subject.name for subject in subjects] == ["sub-A", "sub-C"]
    assert list(subjects[0].load()) == ["source", "slice_unet (best)", "target"]
    both = {"source", "slice_unet (best)", "slice_unet (report)", "target"}
    assert set(studies.load_subject("sub-A")) == both
    with pytest.raises(SubjectError, match="sub-B: no study has its estimate yet"):
        studies.load_subject("sub-B")


def test_studies_of_other_pairs_are_not_compared(study, dataset, tmp_path):
    start_training(dataset, tmp_path / "runs" / "noisier", settings(variance=0.01), [])[0]
    with pytest.raises(StateError, match="cannot be compared"):
        open_studies(tmp_path / "runs")


def test_no_study_and_no_fold_are_said(dataset, tmp_path):
    with pytest.raises(StateError, match="no study in this folder"):
        open_studies(tmp_path)
    start_training(dataset, tmp_path / "run", settings(), [])[0]
    studies = open_studies(tmp_path / "run")
    with pytest.raises(StateError, match="no fold is done"):
        studies.cases()
    assert studies.stress("cpu") == {}


def test_facts_and_histories_tell_what_was_done(study):
    studies = open_studies(study.folder)
    facts = dict(studies.facts())
    assert facts["Design"] == "leave-one-out over 3 subjects"
    assert "variance 0.003" in facts["Input"]
    assert "n_steps 3" in facts["SliceUNet, settings"]
    assert facts["SliceUNet"] == "preset best, 2 of 3 folds done"
    assert "torch" in facts["Versions"]
    assert len(facts["SHA-256 of sub-B"]) == 64
    ((label, steps, losses), _) = studies.histories()["slice_unet"]
    assert label == "fold 0 (sub-A held out)"
    assert steps[-1] == 3
    assert np.isfinite(losses).all()


def test_report_says_how_its_3t_volumes_were_made(dataset, tmp_path):
    pairs = tmp_path / "pairs"
    simulate_dataset(find_subjects(dataset), pairs, config=SimulationConfig(variance=0.01))
    made = start_training(pairs, tmp_path / "run", settings(), [])[0]
    said = "pseudo-3T volumes, simulated before the training: Gaussian noise of variance 0.01"
    assert dict(describe_studies({"slice_unet": made}))["Input"].startswith(said)
    for subject in made.subjects[:2]:
        sidecar_of(subject.source).unlink()
    facts = dict(describe_studies({"slice_unet": made}))
    assert facts["Input"].startswith("2 3T volumes of the dataset; 1 pseudo-3T volumes")


@pytest.mark.parametrize(
    ("first", "changes", "expected"),
    [
        (101, {}, True),
        (102, {}, False),
        (101, {"variance": 0.01}, False),
        (101, {"pseudo_3t": "realistic"}, False),
    ],
)
def test_only_the_report_s_own_setting_is_set_beside_its_figures(
    tmp_path, first, changes, expected
):
    names = [f"sub-TELL{number:04d}_T1w" for number in range(first, first + 10)]
    subjects = tuple(Subject(name, tmp_path / f"{name}.nii.gz") for name in names)
    reference = next(subject for subject in subjects if "TELL0106" in subject.name)
    study = Study(tmp_path, settings(**changes), subjects, reference, ())
    assert is_of_report(study) is expected
    given = tuple(replace(subject, source=tmp_path / "3T.nii.gz") for subject in subjects)
    assert not is_of_report(replace(study, subjects=given))


def test_a_study_is_evaluated_and_evaluated_again_at_once(study):
    studies = open_studies(study.folder)
    first = studies.evaluate(baselines={})
    assert [(r.subject, r.method) for r in first] == [
        (subject, method) for subject in ("sub-A", "sub-C") for method in ("source", "slice_unet")
    ]
    assert studies.evaluate(baselines={}) == first


def test_the_model_is_stressed_on_the_subject_it_has_not_seen(study):
    case = case_of_study(study, 0, "cpu")
    assert case.target.name == "sub-A"
    folder = study.folder / "stress"
    asked = {
        "conditions": [Condition("noise", 0.003)],
        "lesions": LesionConfig(diameters_mm=(4.0,), n_each=1),
    }
    assert not is_known(case, folder, **asked)
    found = stress(case, folder, **asked)
    assert is_known(case, folder, **asked)
    assert np.isfinite(found.points[0].estimate["brain_psnr"])
    assert len(found.lesions) == 2


def test_several_studies_are_stressed_on_a_brain_that_all_hold_out(
    study, dataset, tmp_path, monkeypatch
):
    asked = replace(settings(), network="watnet", network_config={})
    other = start_training(dataset, tmp_path / "runs" / "two", asked, [])[0]
    studies, tested = open_studies(tmp_path / "runs"), []
    monkeypatch.setattr(Studies, "folds_done", lambda self, method: done[method])
    monkeypatch.setattr(
        studies_module, "case_of_study", lambda study, k, device: tested.append(k) or study
    )
    monkeypatch.setattr(studies_module, "stress", lambda *_, **__: None)
    monkeypatch.setattr(studies_module, "summarize_stress", lambda found: {})
    monkeypatch.setattr(studies_module, "write_json", lambda *_: None)
    done = {"slice_unet": [0, 2], "watnet": [1, 2]}
    assert set(studies.stress("cpu", run_all=True)) == set(done)
    assert tested == [2, 2]
    done["watnet"] = []
    assert list(studies.stress("cpu", run_all=True)) == ["slice_unet"]
    done["watnet"] = [1]
    assert studies.stress("cpu") == {}
    with pytest.raises(StateError, match="the same in all studies"):
        studies.stress("cpu", run_all=True)
    assert other.settings.network == "watnet"


@pytest.mark.parametrize("command", ["report", "python"])
def test_page_that_is_not_its_own_is_refused_before_the_scoring(
    study, run_cli, monkeypatch, command
):
    (study.folder / "report.html").write_text("mine")
    monkeypatch.setattr(Studies, "evaluate", lambda *_, **__: pytest.fail("was scored"))
    if command == "python":
        with pytest.raises(Mri7tError, match="is no page of this program"):
            studies_module.report(study.folder)
    else:
        code, _, error = run_cli("report", study.folder)
        assert code == 1
        assert "is no page of this program" in error


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--robustness", "--device", "bogus"), "device 'bogus' is not available"),
        (("--device", "cpu"), "add --robustness, or omit it"),
    ],
)
@pytest.mark.parametrize("command", ["evaluate", "report"])
def test_device_is_refused_before_the_scoring(study, run_cli, monkeypatch, command, options, words):
    monkeypatch.setattr(Studies, "evaluate", lambda *_, **__: pytest.fail("was scored"))
    code, _, error = run_cli(command, study.folder, *options)
    assert code == 1
    assert words in error


def test_reproduce_refuses_another_study_before_the_first_training(
    dataset, tmp_path, run_cli, monkeypatch
):
    asked = StudySettings("slice_unet", "best", replace(TINY, seed=7), {})
    start_training(dataset, tmp_path / "run" / "slice_unet", asked, [])
    monkeypatch.setattr("napari_mri7t.cli.train.train", lambda *_, **__: pytest.fail("was trained"))
    networks = ("--networks", "basic_cnn,slice_unet", "--preset", "best", "--set", "patch_size=16")
    code, _, error = run_cli("reproduce", dataset, tmp_path / "run", *networks)
    assert code == 1
    assert "holds a study that differs in" in error


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_reproduce_does_the_whole_study_and_nothing_twice(dataset, tmp_path, monkeypatch, capsys):
    run = tmp_path / "run"
    arguments = [
        "reproduce", dataset, run, "--networks", "basic_cnn", "--device", "cpu",
        "--set", "n_steps=2", "--set", "batch_size=1", "--set", "patch_size=16",
        "--set", "patches_per_epoch=0", "--set", "inference.end_slices=0", "--set", "end_slices=0",
    ]  # fmt: skip
    for _ in range(2):
        monkeypatch.setattr(sys, "argv", ["mri7t", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        assert not end.value.code
        pages = (run / "report.html").read_bytes()
    out = capsys.readouterr().out
    assert out.count("fold 2 (sub-C held out): already done") == 1
    assert "| BasicCNN |" in out.replace("**", "")
    assert (run / "results" / "tables" / "results.tex").exists()
    assert b"BasicCNN" in pages
    others = pages.replace(b"start published", b"")  # a setting of the preset
    assert b"published" not in others  # these are not the report's subjects


def test_python_trains_and_evaluates_in_two_calls(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(studies_module, "network_settings", lambda *_: UNET)
    seen = []
    studies = train(
        dataset, tmp_path / "run", config=TINY, folds=[1], device="cpu", report=seen.append
    )
    assert studies.folds_done("slice_unet") == [1]
    assert seen[-1].done == seen[-1].total == 1
    assert studies.evaluate(baselines={}).subjects == ["sub-B"]
    n_reports = len(seen)
    train(dataset, tmp_path / "run", config=TINY, folds=[1], device="cpu", report=seen.append)
    assert len(seen) == n_reports, "what is done is not done again"
    with pytest.raises(ValueError, match="fold 7 does not exist: the study has folds 0 to 2"):
        train(dataset, tmp_path / "other", config=TINY, folds=[7])
    assert not (tmp_path / "other").exists()
    options = {"config": TINY, "folds": [1], "device": "cpu", "reference": "sub-C"}
    tuned = train(dataset, tmp_path / "t", start_from=tmp_path / "run", **options)
    assert tuned.first.reference.name == "sub-C"
    started = read_card(tuned.first.fold_folder(1)).training["started_from"]
    assert started["held_out"] == "sub-B"


def never_falls(seen):
    shares = [now.done / now.total for now in seen]
    return shares == sorted(shares) and shares[0] == 0 and shares[-1] == 1


def test_progress_of_two_folds_and_of_their_report_never_falls(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(studies_module, "network_settings", lambda *_: UNET)
    monkeypatch.setattr(slabs, "GROUP_BYTES", 1)  # a report for every slab
    seen, run = [], tmp_path / "run"
    train(dataset, run, config=TINY, folds=[0, 2], device="cpu", report=seen.append)
    assert never_falls(seen)
    seen.clear()
    evaluate(run, baselines={}, report=seen.append)
    assert seen[0].done == 0
    assert {"reading the reference sub-A", "preparing sub-C"} <= {now.message for now in seen}
    monkeypatch.setattr(Studies, "evaluate", partialmethod(Studies.evaluate, baselines={}))
    seen.clear()
    page = studies_module.report(run, report=seen.append)
    assert page.exists()
    assert never_falls(seen)
    messages = [now.message for now in seen]
    assert "describing the studies" in messages
    assert "loading SliceUNet" in messages
    assert messages.count("preparing sub-A") == 1, "scores are known, the picture is not"


def test_report_of_the_window_holds_what_the_command_line_measured(study, monkeypatch):
    """One way to report: what `stress` measured before is in it, unasked."""
    studies = open_studies(study.folder)
    assert studies.stress() == {}
    quick = {
        "conditions": [Condition("noise", 0.003)],
        "lesions": LesionConfig(diameters_mm=(4.0,), n_each=1),
    }
    monkeypatch.setattr(studies_module, "stress", partial(stress, **quick))
    monkeypatch.setattr(studies_module, "is_known", partial(is_known, **quick))
    seen = []
    found = studies.stress("cpu", run_all=True, report=seen.append)
    assert seen[0].message.startswith("SliceUNet, ")
    assert found["slice_unet"].points[0].kind == "noise"
    summary = studies.robustness_folder / file_name("slice_unet")
    assert set(json.loads(summary.read_text())) == {"robustness", "lesions"}
    summary.write_text("{}")
    seen.clear()
    results = studies.evaluate(baselines={})
    data = studies.report_data(results, report=seen.append)
    assert data.stress == found
    assert "SliceUNet, loading model and brain" in [now.message for now in seen]
    assert summary.read_text() == "{}", "what is only read is not written again"
    summary.unlink()
    assert studies.stress("cpu", run_all=True) == found
    assert summary.exists()


def test_estimate_whose_figures_are_lost_has_an_unknown_time(study):
    (study.fold_folder(0) / "metrics.json").unlink()
    cost = open_studies(study.folder).cases()[0].costs["slice_unet"]
    assert math.isnan(cost.seconds)
    assert cost.n_parameters == read_card(study.fold_folder(0)).n_parameters


def test_estimate_whose_figures_were_edited_is_refused_with_their_file(study):
    path = study.fold_folder(0) / "metrics.json"
    path.write_text(path.read_text().replace('"seconds"', '"minutes"'))
    with pytest.raises(StateError, match=r"fold-00.metrics.json: .*seconds is missing"):
        open_studies(study.folder).cases()


@pytest.mark.parametrize(
    ("networks", "words"),
    [
        ("basic_cnn,wattnet", "network 'wattnet' is unknown; choose one of basic_cnn, watnet"),
        ("basic_cnn,", "expected different names, such as basic_cnn,watnet"),
        ("basic_cnn, basic_cnn", "expected different names, such as basic_cnn,watnet"),
    ],
)
def test_networks_to_reproduce_are_refused_before_the_first_is_trained(
    dataset, tmp_path, run_cli, networks, words
):
    code, _, error = run_cli("reproduce", dataset, tmp_path / "run", "--networks", networks)
    assert code == 1
    assert words in error
    assert not (tmp_path / "run").exists()


def test_device_that_is_not_there_is_refused_before_a_run_is_begun(dataset, tmp_path):
    with pytest.raises(DeviceError, match="cuda:77"):
        train(dataset, tmp_path / "run", config=TINY, device="cuda:77")
    assert not (tmp_path / "run").exists()
