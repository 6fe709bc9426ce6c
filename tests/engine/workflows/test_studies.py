"""Finished folds are judged: one study or several, resumable, refused where not comparable."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from napari_mri7t import cli
from napari_mri7t.engine.errors import StateError, SubjectError
from napari_mri7t.engine.evaluation.evaluate import evaluate
from napari_mri7t.engine.evaluation.robustness import Condition, LesionConfig
from napari_mri7t.engine.evaluation.stress import is_known, stress_steps
from napari_mri7t.engine.metrics.basic import compare
from napari_mri7t.engine.progress import run_to_end
from napari_mri7t.engine.training.config import TrainConfig
from napari_mri7t.engine.training.export import read_figures
from napari_mri7t.engine.training.run import run_fold
from napari_mri7t.engine.training.study import StudySettings, create_study
from napari_mri7t.engine.volumes.volume import load_volume
from napari_mri7t.engine.workflows import studies as oc
from napari_mri7t.engine.workflows.studies import facts_of

TINY = TrainConfig(n_steps=3, batch_size=1, patch_size=16, warmup_steps=0, precision="float32")
UNET = {"widths": (8, 16), "n_blocks": 1, "n_slices": 3}


def settings(preset="best", **changes) -> StudySettings:
    from dataclasses import replace

    return StudySettings("slice_unet", preset, replace(TINY, **changes), UNET)


@pytest.fixture
def study(dataset, tmp_path):
    made = create_study(dataset, tmp_path / "runs" / "one", settings())
    for k in (0, 2):
        run_to_end(run_fold(made, k, "cpu"))
    return made


def test_a_study_alone_is_an_outcome(study):
    outcome = oc.open_studies(study.folder)
    assert list(outcome.studies) == ["slice_unet"]
    assert outcome.folds_done("slice_unet") == [0, 2]
    cases = oc.cases_of(outcome)
    assert [case.subject for case in cases] == ["sub-A", "sub-C"]
    assert cases[0].training == ("sub-B", "sub-C")
    assert cases[0].estimates["slice_unet"].exists()


def test_the_pair_is_the_one_the_training_scored(study):
    outcome = oc.open_studies(study.folder)
    source, target = oc.pairs_of(outcome)["sub-C"].load()
    (figures,) = read_figures([study.fold_folder(2)])
    assert compare(target, source) == figures["source"]
    estimate = load_volume(oc.cases_of(outcome)[1].estimates["slice_unet"])
    again = compare(target, estimate)
    assert again["brain"]["psnr"] == pytest.approx(figures["estimate"]["brain"]["psnr"], abs=1e-6)


def test_studies_of_one_network_are_told_apart_by_their_preset(study, dataset, tmp_path):
    create_study(dataset, tmp_path / "runs" / "two", settings("report", n_steps=4))
    create_study(dataset, tmp_path / "runs" / "three", settings("report", n_steps=5))
    outcome = oc.open_studies(tmp_path / "runs")
    assert set(outcome.studies) == {
        "slice_unet (best)", "slice_unet (report)", "slice_unet (two)",
    }  # fmt: skip


def test_study_with_fewer_folds_costs_the_pictures_no_subject(study, dataset, tmp_path):
    short = create_study(dataset, tmp_path / "runs" / "short", settings("report"))
    run_to_end(run_fold(short, 0, "cpu"))
    outcome = oc.open_studies(tmp_path / "runs")
    subjects = oc.report_subjects(outcome)
    assert [subject.name for subject in subjects] == ["sub-A", "sub-C"]
    assert list(subjects[0].load()) == ["source", "slice_unet (best)", "target"]
    both = {"source", "slice_unet (best)", "slice_unet (report)", "target"}
    assert set(oc.load_subject(outcome, "sub-A")) == both
    with pytest.raises(SubjectError, match="sub-B: no study has its estimate yet"):
        oc.load_subject(outcome, "sub-B")


def test_studies_of_other_pairs_are_not_compared(study, dataset, tmp_path):
    create_study(dataset, tmp_path / "runs" / "noisier", settings(variance=0.01))
    with pytest.raises(StateError, match="cannot be compared"):
        oc.open_studies(tmp_path / "runs")


def test_no_study_and_no_fold_are_said(dataset, tmp_path):
    with pytest.raises(StateError, match="no study here"):
        oc.open_studies(tmp_path)
    create_study(dataset, tmp_path / "run", settings())
    outcome = oc.open_studies(tmp_path / "run")
    with pytest.raises(StateError, match="no fold is done"):
        oc.cases_of(outcome)
    with pytest.raises(StateError, match="no fold is done"):
        oc.stress_case(outcome, "slice_unet")


def test_facts_and_histories_tell_what_was_done(study):
    outcome = oc.open_studies(study.folder)
    facts = dict(facts_of(outcome))
    assert facts["Design"] == "leave-one-out over 3 subjects"
    assert "variance 0.003" in facts["Input"]
    assert "n_steps 3" in facts["SliceUNet, settings"]
    assert facts["SliceUNet"] == "preset best, 2 of 3 folds done"
    assert "torch" in facts["Versions"]
    assert len(facts["SHA-256 of sub-B"]) == 64
    ((label, steps, losses), _) = oc.histories_of(outcome)["slice_unet"]
    assert label == "fold 0 (sub-A held out)"
    assert steps[-1] == 3
    assert np.isfinite(losses).all()


def test_a_study_is_evaluated_and_evaluated_again_at_once(study):
    outcome = oc.open_studies(study.folder)
    arguments = (oc.pairs_of(outcome), oc.cases_of(outcome), study.folder / oc.RESULTS_FOLDER)
    first = run_to_end(evaluate(*arguments, baselines={}))
    assert [(r.subject, r.method) for r in first] == [
        (subject, method) for subject in ("sub-A", "sub-C") for method in ("source", "slice_unet")
    ]
    assert run_to_end(evaluate(*arguments, baselines={})) == first


def test_the_model_is_stressed_on_the_subject_it_has_not_seen(study):
    case = oc.stress_case(oc.open_studies(study.folder), "slice_unet", "cpu")
    assert case.target.name == "sub-A"
    folder = study.folder / "stress"
    asked = {
        "conditions": [Condition("noise", 0.003)],
        "lesions": LesionConfig(diameters_mm=(4.0,), n_each=1),
    }
    assert not is_known(case, folder, **asked)
    stress = run_to_end(stress_steps(case, folder, **asked))
    assert is_known(case, folder, **asked)
    assert np.isfinite(stress.points[0].estimate["brain_psnr"])
    assert len(stress.lesions) == 2


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_reproduce_does_the_whole_study_and_nothing_twice(dataset, tmp_path, monkeypatch, capsys):
    run = tmp_path / "run"
    arguments = [
        "reproduce", dataset, run, "--networks", "basic_cnn", "--device", "cpu",
        "--set", "n_steps=2", "--set", "batch_size=1", "--set", "patch_size=16",
        "--set", "patches_per_epoch=0", "--set", "inference_end_slices=0", "--set", "end_slices=0",
    ]  # fmt: skip
    for _ in range(2):
        monkeypatch.setattr(sys, "argv", ["mri7t", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        assert not end.value.code
        pages = (run / "report.html").read_bytes()
    out = capsys.readouterr().out
    assert out.count("fold 2 (sub-C held out): done already") == 1
    assert "| BasicCNN |" in out.replace("**", "")
    assert (run / "results" / "tables" / "table-1.tex").exists()
    assert b"BasicCNN" in pages
    assert pages.count(b", published") == 2  # of 3T as is and BasicCNN
