"""Stress results are saved, resumed and summarised."""

from __future__ import annotations

import json

import pytest
from scipy.ndimage import gaussian_filter

from napari_mri7t.engine.evaluation import stress as module
from napari_mri7t.engine.evaluation.robustness import Condition, LesionConfig
from napari_mri7t.engine.evaluation.stress import StressCase, is_known, stress, summarize_stress
from napari_mri7t.engine.progress import Cancelled, Progress, ignore
from napari_mri7t.engine.texts import to_json

CONDITIONS = (Condition("noise", 0.001), Condition("noise", 0.01), Condition("blur", 0.0))
LESIONS = LesionConfig(diameters_mm=(4.0, 8.0), n_each=1)


class Smoothing:
    """A method that counts how often it is run."""

    def __init__(self) -> None:
        self.runs = 0

    def __call__(self, volume, report):
        self.runs += 1
        report(Progress(0, 1, "step"))
        return volume.with_array(gaussian_filter(volume.array, 0.6))


@pytest.fixture
def method() -> Smoothing:
    return Smoothing()


@pytest.fixture
def case(brain, method) -> StressCase:
    return StressCase("mark", brain, method)


def run(case, folder, report=ignore):
    return stress(case, folder, conditions=CONDITIONS, lesions=LESIONS, report=report)


def test_every_condition_and_the_lesions_are_there(case, tmp_path):
    found = run(case, tmp_path)
    assert [(p.kind, p.level) for p in found.points] == [(c.kind, c.level) for c in CONDITIONS]
    assert {r.lesion.diameter_mm for r in found.lesions} == {4.0, 8.0}


def test_a_second_run_reads_what_the_first_wrote(case, method, tmp_path):
    first = run(case, tmp_path)
    n_runs = method.runs
    assert run(case, tmp_path) == first
    assert method.runs == n_runs == len(CONDITIONS) + 2


@pytest.mark.parametrize("stop_after", [1, 4, 7, 9])
def test_a_stopped_run_ends_with_the_same_figures(case, tmp_path, stop_after):
    whole = run(case, tmp_path / "whole")
    calls = iter(range(1, stop_after))

    def cancel(_: object) -> None:
        if next(calls, None) is None:
            raise Cancelled

    with pytest.raises(Cancelled):
        run(case, tmp_path / "stopped", report=cancel)
    assert run(case, tmp_path / "stopped") == whole


def test_another_model_is_run_anew(case, brain, method, tmp_path):
    run(case, tmp_path)
    n_runs = method.runs
    run(StressCase("other mark", brain, method), tmp_path)
    assert method.runs == 2 * n_runs


def test_other_definitions_and_other_lesions_are_run_anew(case, method, tmp_path, monkeypatch):
    run(case, tmp_path)
    n_runs = method.runs
    more = LesionConfig(diameters_mm=(4.0, 8.0), n_each=2)
    found = stress(case, tmp_path, conditions=CONDITIONS, lesions=more)
    assert method.runs == n_runs + 2
    assert len(found.lesions) == 8
    monkeypatch.setattr(module, "STRESS_VERSION", module.STRESS_VERSION + 1)
    run(case, tmp_path)
    assert method.runs == 2 * n_runs + 2


def test_the_summary_is_what_a_card_can_hold(case, tmp_path):
    summary = summarize_stress(run(case, tmp_path))
    assert json.loads(to_json(summary)) == json.loads(json.dumps(summary))
    noise = summary["robustness"]["noise"]
    assert [entry["level"] for entry in noise["levels"]] == [0.001, 0.01]
    assert noise["levels"][1]["estimate_psnr"] > noise["levels"][1]["source_psnr"]
    assert noise["helps_from"][-1]["helps"]
    assert [row["diameter_mm"] for row in summary["lesions"]["bright"]] == [4.0, 8.0]
    assert all(row["n"] == 1 for row in summary["lesions"]["dark"])


@pytest.mark.parametrize("name", ["source", "estimate", "lesions"])
@pytest.mark.parametrize("value", [..., {"brain_psnr": None}])
def test_damaged_record_counts_as_missing(case, tmp_path, name, value):
    whole = run(case, tmp_path)
    assert is_known(case, tmp_path, conditions=CONDITIONS, lesions=LESIONS)
    for path in tmp_path.iterdir():
        record = json.loads(path.read_text())
        if name in record:
            record[name] = value
            path.write_text(json.dumps({k: v for k, v in record.items() if v is not ...}))
            break
    assert not is_known(case, tmp_path, conditions=CONDITIONS, lesions=LESIONS)
    assert run(case, tmp_path) == whole
    assert is_known(case, tmp_path, conditions=CONDITIONS, lesions=LESIONS)
