"""An evaluation is complete, resumable, and tunes on training subjects alone."""

from __future__ import annotations

import json
from functools import partial

import numpy as np
import pytest

from napari_mri7t.engine.evaluation import evaluate as ev
from napari_mri7t.engine.evaluation.baselines import BASELINES, Baseline
from napari_mri7t.engine.metrics.basic import psnr
from napari_mri7t.engine.progress import Cancelled
from napari_mri7t.engine.volumes.volume import Volume, save_volume

SUBJECTS = ("a", "b", "c")
GAUSSIAN = {"gaussian": BASELINES["gaussian"]}


class Study:
    """Three phantoms with noise of their own, and one estimate each."""

    def __init__(self, target: Volume, folder) -> None:
        self.target, self.loads = target, []
        self.pairs = {name: ev.Pair(f"pair {name}", partial(self.load, name)) for name in SUBJECTS}
        self.cases = []
        for name in SUBJECTS:
            path = folder / f"{name}.nii.gz"
            save_volume(target.with_array(target.array * np.float32(0.9)), path)
            training = tuple(other for other in SUBJECTS if other != name)
            self.cases.append(ev.Case(name, training, {"net": path}))

    def load(self, name: str) -> tuple[Volume, Volume]:
        self.loads.append(name)
        noise = np.random.default_rng(SUBJECTS.index(name)).normal(0, 0.05, self.target.shape)
        return self.target.with_array(self.target.array + noise), self.target


@pytest.fixture
def study(target, tmp_path) -> Study:
    return Study(target, tmp_path)


def test_every_method_is_scored_on_every_held_out_subject(study, tmp_path):
    found = ev.evaluate(study.pairs, study.cases, tmp_path / "r", baselines=GAUSSIAN)
    assert [(r.subject, r.method) for r in found] == [
        (subject, method) for subject in SUBJECTS for method in ("source", "gaussian", "net")
    ]
    source, target = study.load("b")
    expected = psnr(target.array, source.array, data_range=1)
    assert found.results[3].metrics["whole_psnr"] == pytest.approx(expected)
    assert found.results[4].note.startswith("sigma, voxels: 0.")
    key = "brain_nrmse"
    assert found.results[5].metrics[key] == pytest.approx(
        0.1, rel=1e-5
    )  # 0.9 of the target, float32


def test_progress_counts_to_the_total(study, tmp_path):
    records = []
    ev.evaluate(study.pairs, study.cases, tmp_path / "r", baselines=GAUSSIAN, report=records.append)
    assert {record.total for record in records} == {3 + 9}
    done = [record.done for record in records]
    assert done == sorted(done)
    assert done[0] == 0
    assert done[-1] == 12
    assert any("tuning" in record.message for record in records)


def test_a_second_evaluation_computes_nothing(study, tmp_path):
    first = ev.evaluate(study.pairs, study.cases, tmp_path / "r", baselines=GAUSSIAN)
    study.loads.clear()
    again = ev.evaluate(study.pairs, study.cases, tmp_path / "r", baselines=GAUSSIAN)
    assert again == first
    assert study.loads == []


@pytest.mark.parametrize("stop_after", [1, 5, 20, 30, 33])
def test_a_stopped_evaluation_ends_with_the_same_figures(study, tmp_path, stop_after):
    whole = ev.evaluate(study.pairs, study.cases, tmp_path / "r", baselines=GAUSSIAN)
    calls = iter(range(1, stop_after))

    def cancel(_: object) -> None:
        if next(calls, None) is None:
            raise Cancelled

    with pytest.raises(Cancelled):
        ev.evaluate(study.pairs, study.cases, tmp_path / "s", baselines=GAUSSIAN, report=cancel)
    resumed = ev.evaluate(study.pairs, study.cases, tmp_path / "s", baselines=GAUSSIAN)
    assert resumed == whole
    assert not [path for path in tmp_path.rglob(".*") if path.is_file()]  # no temporary is left


def test_scores_of_another_definition_are_made_anew(study, tmp_path, monkeypatch):
    ev.evaluate(study.pairs, study.cases, tmp_path / "r", baselines=GAUSSIAN)
    study.loads.clear()
    monkeypatch.setattr(ev, "SCORING_VERSION", ev.SCORING_VERSION + 1)
    ev.evaluate(study.pairs, study.cases, tmp_path / "r", baselines=GAUSSIAN)
    assert set(study.loads) == set(SUBJECTS)


def test_an_estimate_made_anew_is_scored_anew(study, tmp_path, target):
    ev.evaluate(study.pairs, study.cases, tmp_path / "r", baselines={})
    study.loads.clear()
    save_volume(target, study.cases[1].estimates["net"], overwrite=True)
    found = ev.evaluate(study.pairs, study.cases, tmp_path / "r", baselines={})
    assert study.loads == ["b"]
    assert found.results[3].metrics["brain_mae"] == 0
    assert len(list((tmp_path / "r" / ev.SCORES_FOLDER).iterdir())) == 6


def test_baselines_are_tuned_without_the_held_out_subject(target, tmp_path):
    """Subject c alone likes parameter 2; its own fold must therefore not choose it."""
    liked = {"a": 1.0, "b": 1.0, "c": 2.0}
    pairs = {name: ev.Pair(name, partial(_marked_pair, target, liked[name])) for name in SUBJECTS}
    cases = [ev.Case("c", ("a", "b"), {}), ev.Case("a", ("c",), {})]
    picky = Baseline("picky", "Picky", "p", (1.0, 2.0), _worse_unless_liked)
    found = ev.evaluate(pairs, cases, tmp_path, baselines={"picky": picky})
    notes = {r.subject: r.note for r in found if r.method == "picky"}
    assert notes == {"c": "p: 1", "a": "p: 2"}


@pytest.mark.parametrize(
    "psnr", [None, {"picky": None}, {}, {"picky": [1.0]}, {"picky": [1.0, None]},
             {"picky": [1.0, 10**400]}], ids=range(6)
)  # fmt: skip
def test_damaged_record_of_a_tuning_counts_as_missing(target, tmp_path, psnr):
    pairs = {name: ev.Pair(name, partial(_marked_pair, target, 1.0)) for name in SUBJECTS}
    picky = Baseline("picky", "Picky", "p", (1.0, 2.0), _worse_unless_liked)
    cases = [ev.Case("c", ("a", "b"), {})]
    whole = ev.evaluate(pairs, cases, tmp_path, baselines={"picky": picky})
    path = next((tmp_path / ev.TUNING_FOLDER).iterdir())
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"psnr": psnr}))
    assert ev.evaluate(pairs, cases, tmp_path, baselines={"picky": picky}) == whole
    assert json.loads(path.read_text()) == record


def _marked_pair(target: Volume, liked: float) -> tuple[Volume, Volume]:
    array = target.array.copy()
    array[target.array > 0] += np.float32(liked / 1000)
    return target.with_array(array), target


def _worse_unless_liked(array: np.ndarray, parameter: float) -> np.ndarray:
    liked = round(1000 * float(array[array > 0].min() - 0.2))
    return array + (0 if parameter == liked else 0.1)


def test_a_case_without_training_subjects_goes_without_baselines(study, tmp_path):
    case = ev.Case("a", (), study.cases[0].estimates)
    found = ev.evaluate(study.pairs, [case], tmp_path / "r", baselines=GAUSSIAN)
    assert [r.method for r in found] == ["source", "net"]


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (ev.Case("x", (), {}), "x: has no pair of volumes"),
        (ev.Case("a", ("y",), {}), "y: has no pair of volumes"),
        (ev.Case("a", ("a",), {}), "both held out and trained on"),
    ],
)
def test_a_study_that_means_nothing_is_refused(study, tmp_path, case, message):
    with pytest.raises(ValueError, match=message):
        ev.evaluate(study.pairs, [case], tmp_path)


def test_a_network_named_like_a_baseline_is_refused(study, tmp_path):
    case = ev.Case("a", (), {"median": tmp_path / "x.nii"})
    with pytest.raises(ValueError, match="name of a baseline"):
        ev.evaluate(study.pairs, [case], tmp_path)


def test_one_pair_on_both_sides_of_a_fold_is_refused_under_two_names(study, tmp_path):
    pairs = study.pairs | {"b": ev.Pair(study.pairs["a"].fingerprint, study.pairs["a"].load)}
    with pytest.raises(ValueError, match="a and b: are one pair, both held out and trained on"):
        ev.evaluate(pairs, [ev.Case("a", ("c", "b"), {})], tmp_path / "r")
    assert not (tmp_path / "r").exists()
