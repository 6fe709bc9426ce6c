"""Names from files as text: visible on a screen, short in a message, harmless in a table."""

import csv
import io
import json

import pytest

from napari_mri7t.engine.texts import (
    as_cell,
    brief,
    from_cell,
    is_file_name,
    visible,
    visible_lines,
)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("\x1b[2J\x1b]0;title\x07", "\\u001b[2J\\u001b]0;title\\u0007"),
        ("\x9b31m\x7f", "\\u009b31m\\u007f"),
        ("a\nb\r\tc\u2028d", "a\\u000ab\\u000d\\u0009c\\u2028d"),
        ("gz.exe\u202eiin", "gz.exe\\u202eiin"),
        ("\u2066x\u200b\ufeff", "\\u2066x\\u200b\\ufeff"),
        ("bad\udcff", "bad\\udcff"),
        ("tag\U000e0041", "tag\\U000e0041"),
        ("sub-Müller 张_é.nii", "sub-Müller 张_é.nii"),
    ],
)
def test_invisible_characters_become_visible(name, shown):
    assert visible(name) == shown
    assert visible_lines(f"{name.splitlines()[0]}\nnext").endswith("\nnext")


def test_json_stays_valid_and_means_the_same_when_made_visible():
    content = {"name": "a\x7f\x9b\u202e\udcff\n"}
    assert json.loads(visible(json.dumps(content, ensure_ascii=False))) == content


def test_quoted_value_is_short_whatever_it_is():
    for value in ("x" * 10**6, ["axial"] * 10**6, ("axial",) * 10**6, {"a": "x" * 10**6}, 10**4000):
        assert len(brief(value)) <= 80
    assert brief(1.5) == "1.5"


@pytest.mark.parametrize(
    "name",
    ["=1+1", "+1+1", "-1+1", "-2+3+cmd|' /C calc'!A0", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1"],
)
def test_name_in_a_table_is_no_formula_and_is_read_back(name):
    assert as_cell(name) == f"'{name}"
    assert from_cell(as_cell(name)) == name


@pytest.mark.parametrize(
    "figure", ["-0.5", "+1", "-1e-05", "-inf", "nan", "-∞", "-0.50 ± 0.10", "-0.1 to 0.2", "–"]
)
def test_figures_of_a_table_stay_numbers(figure):
    assert as_cell(figure) == figure


@pytest.mark.parametrize("name", ["'=1+1", "'", "", "plain", "''"])
def test_other_cells_are_read_back_too(name):
    text = io.StringIO()
    csv.writer(text).writerow([as_cell(name)])
    assert from_cell(next(csv.reader(io.StringIO(text.getvalue())))[0]) == name


def test_file_name_leads_nowhere_else():
    for name in ("", ".", "..", "a/b", "/a", "../a", "a\0b", "\ud800"):
        assert not is_file_name(name)
    for name in ("a.nii", "..a", "-dash", "bad\udcff.nii", "two\nlines"):
        assert is_file_name(name)
