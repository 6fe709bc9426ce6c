"""Result files: what is written comes back, what does not fit counts as missing."""

from __future__ import annotations

import math

import pytest

from napari_mri7t.engine.evaluation import results
from napari_mri7t.engine.evaluation.results import Cost, StudyResults, SubjectResult

RESULT = SubjectResult(
    "sub-01", "watnet", {"brain_psnr": 25.125, "brain_cnr": math.inf}, "a note", Cost(2.5, 7)
)


def test_a_result_comes_back_as_it_was(tmp_path):
    results.save_result(tmp_path / "new", RESULT, "mark")
    back = results.load_result(tmp_path / "new", "sub-01", "watnet", "mark")
    assert back == RESULT
    assert back.cost == RESULT.cost


def test_nan_comes_back_as_nan(tmp_path):
    results.save_result(tmp_path, SubjectResult("a", "b", {"x": math.nan}), "mark")
    back = results.load_result(tmp_path, "a", "b", "mark")
    assert back is not None
    assert math.isnan(back.metrics["x"])


def test_another_fingerprint_counts_as_missing(tmp_path):
    results.save_result(tmp_path, RESULT, "mark")
    assert results.load_result(tmp_path, "sub-01", "watnet", "other") is None


def test_nothing_there_is_no_error(tmp_path):
    assert results.load_result(tmp_path, "sub-01", "watnet", "mark") is None
    assert results.load_result(tmp_path / "none", "sub-01", "watnet", "mark") is None


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[1]", "[" * 100_000, '{"fingerprint": "mark"}',
        '{"fingerprint": "mark", "metrics": {"x": []}}',
        f'{{"fingerprint": "mark", "metrics": {{"x": 1{"0" * 400}}}}}',
    ],
    ids=range(7),
)  # fmt: skip
def test_a_damaged_file_counts_as_missing(tmp_path, text):
    results.save_result(tmp_path, RESULT, "mark")
    (path,) = tmp_path.glob("*.json")
    path.write_text(text)
    assert results.load_result(tmp_path, "sub-01", "watnet", "mark") is None


@pytest.mark.parametrize("name", ['"><script>', "../../etc/passwd", "é" * 300, "", "a b"])
def test_any_name_gives_a_harmless_file_name(name):
    made = results.file_name(name, "method")
    assert made.isascii()
    assert len(made) < 100
    assert not set(made) & set('/\\<>:"| ')
    assert not made.startswith(".")


def test_names_that_look_alike_get_files_of_their_own():
    assert results.file_name("a/b", "m") != results.file_name("a b", "m")
    assert results.file_name("a_b", "c") != results.file_name("a", "b_c")


def test_values_of_one_method():
    some = StudyResults(
        (
            SubjectResult("1", "net", {"x": 1.0}),
            SubjectResult("2", "net", {}),
            SubjectResult("1", "source", {"x": 3.0}),
        )
    )
    values = some.values("net", "x")
    assert values["1"] == 1
    assert math.isnan(values["2"])


def test_gains_are_those_of_the_subjects_that_both_methods_have():
    some = StudyResults(
        (
            SubjectResult("1", "net", {"brain_mae": 0.25}),
            SubjectResult("2", "net", {"brain_mae": 0.5}),
            SubjectResult("2", "source", {"brain_mae": 1.0}),
        )
    )
    assert some.gains("net", "source", "brain_mae").tolist() == [0.5]  # lower is better
