"""Tables say the same in every format and let no name break out of its cell."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import replace

import numpy as np
import pytest

from napari_mri7t.engine.evaluation.results import Cost, StudyResults, SubjectResult
from napari_mri7t.engine.metrics.scoring import METRICS
from napari_mri7t.engine.report import tables
from napari_mri7t.engine.report.statistics import network_tests
from napari_mri7t.engine.report.tables import Table

ODD = "a|b & <script>_{x}\\ 50% é"


def study(n_subjects: int = 10) -> StudyResults:
    """Made-up figures: watnet gains 1 dB on all, median 0.5 dB, basic_cnn nothing on the mean."""
    made = []
    for index in range(n_subjects):
        gains = {"watnet": 1.0, "median": 0.5, "basic_cnn": 0.1 * (-1) ** index, "source": 0.0}
        for method, gain in gains.items():
            figures = dict.fromkeys(METRICS, 0.5)
            figures |= {"brain_psnr": 20 + index + gain, "whole_psnr": 28 + index / 10 + gain}
            made.append(SubjectResult(f"sub-{index}", method, figures))
    return StudyResults(tuple(made))


def test_numbers():
    assert tables.number(1.23456, 2) == "1.23"
    assert tables.number(math.nan, 2) == "–"
    assert tables.number(math.inf, 2) == "∞"
    assert tables.number(-math.inf, 2) == "-∞"
    assert tables.spread(1, 0.5, 1) == "1.0 ± 0.5"
    assert tables.spread(math.nan, math.nan, 1) == "–"


def test_csv_comes_back_as_it_was():
    made = Table("t", ("a", "b"), ((ODD, "1,2"), ('"q"', "line\nbreak")))
    rows = list(csv.reader(io.StringIO(tables.as_csv(made))))
    assert [tuple(row) for row in rows] == [made.header, *made.rows]


def test_csv_has_no_formula_of_a_name_and_keeps_its_figures():
    cells = ("=1+1", "@SUM(A1)", "-1.50", "-0.1 to 0.2", "-0.5 ± 0.1", "-∞")
    written = tables.as_csv(Table("t", ("-h",) * 6, (cells,))).splitlines()
    assert written[0] == ",".join(["'-h"] * 6)
    assert written[1] == "'=1+1,'@SUM(A1),-1.50,-0.1 to 0.2,-0.5 ± 0.1,-∞"


def test_markdown_escapes_and_embolds():
    text = tables.as_markdown(Table("t", ("h", "x"), ((ODD, "1"),), frozenset({(0, 1)}), "note"))
    assert r"| a\|b & \<script\>\_{x}\\ 50% é | **1** |" in text
    assert text.startswith("**t**\n\n| h | x |\n| --- | --- |\n")
    assert text.endswith("\n\nnote\n")


def test_latex_escapes_and_embolds():
    text = tables.as_latex(Table("t", ("h", "x"), ((ODD, "1 ± 2"),), frozenset({(0, 1)})))
    cell = r"a|b \& \textless{}script\textgreater{}\_\{x\}\textbackslash{} 50\% é"
    assert rf"{cell} & \textbf{{1 $\pm$ 2}} \\" in text
    assert r"\begin{tabular}{lr}" in text
    assert r"\caption{t}" in text


def test_methods_come_in_their_order():
    assert study().methods == ["source", "median", "basic_cnn", "watnet"]
    assert study().networks == ["basic_cnn", "watnet"]
    unknown = SubjectResult("s", "my_net", {})
    assert StudyResults((unknown, *study(1))).methods[-1] == "my_net"


def test_table_1_stands_beside_what_was_published():
    made = tables.table_1(study())
    assert made.header[1:3] == ("3T as is, ours", "3T as is, published")
    assert [row[0] for row in made.rows] == ["MAE", "PSNR", "SSIM"]
    psnr = dict(zip(made.header, made.rows[1], strict=True))
    assert psnr["3T as is, published"] == "28.7586 ± 2.8865"
    # 28 + 0 .. 0.9: mean 28.45, std sqrt(8.25) / 10, by hand
    assert psnr["3T as is, ours"] == f"28.4500 ± {math.sqrt(8.25) / 10:.4f}"
    assert psnr["WATNet, published"] == "28.8904 ± 2.8821"
    assert "Median filter" not in "".join(made.header)
    assert "Published: the report's ten subjects" in made.note


def test_table_1_says_which_method_has_fewer_subjects():
    (first,) = (r for r in study(3) if r.method == "watnet" and r.subject == study(3).subjects[0])
    rest = [r for r in study(3) if r.method != "watnet"]
    made = tables.table_1(StudyResults((*rest, first)))
    assert "WATNet (1 of 3 subjects), ours" in made.header
    assert "over 3 held-out subjects" in made.note
    assert "3T as is, ours" in made.header


def test_table_1_gives_other_networks_one_column():
    made = tables.table_1(StudyResults((SubjectResult("s", "slice_unet", {"whole_mae": 0.25}),)))
    assert made.header == ("", "SliceUNet")
    assert made.rows[0][1] == "0.250000"
    assert made.rows[1][1] == "–"


def test_summary_shows_every_method_and_marks_the_best():
    made = tables.summary_table(study(), ["brain_psnr", "whole_psnr"])
    assert [row[0] for row in made.rows] == ["3T as is", "Median filter", "BasicCNN", "WATNet"]
    assert made.header[1] == "PSNR, brain, dB ↑"
    assert made.strong == {(3, 1), (3, 2)}


def test_result_table_by_hand():
    results = [replace(r, cost=Cost(3.0, 672_963)) if r.method == "watnet" else r for r in study()]
    made = tables.result_table(StudyResults(tuple(results)))
    rows = {row[0]: dict(zip(made.header, row, strict=True)) for row in made.rows}
    assert rows["WATNet"]["Parameters"] == "672,963"
    assert rows["WATNet"]["Seconds"] == "3.0"
    assert rows["WATNet"]["Gain, dB"] == "1.00"
    assert rows["3T as is"]["Parameters"] == rows["3T as is"]["Seconds"] == "–"
    assert rows["WATNet"]["PSNR, brain, dB ↑"] == "25.50 ± 2.87"  # 20 + 0 .. 9, and 1
    assert (3, made.header.index("PSNR, brain, dB ↑")) in made.strong


def test_seconds_are_the_median_of_those_that_were_measured():
    seconds = iter([3.0, 3.0, 60.0, math.nan, 3.0, 3.0, 60.0, 3.0, 3.0, 60.0])  # others worked, too
    results = [
        replace(r, cost=Cost(next(seconds), 1)) if r.method == "watnet" else r for r in study()
    ]
    made = tables.result_table(StudyResults(tuple(results)))
    (row,) = [row for row in made.rows if row[0] == "WATNet"]
    assert row[made.header.index("Seconds")] == "3.0"


def test_method_with_fewer_subjects_is_counted_and_never_in_bold():
    best = SubjectResult("sub-9", "slice_unet", {"brain_psnr": 99.0})
    made = tables.result_table(StudyResults((*study(), best)))
    rows = {row[0]: row for row in made.rows}
    assert rows["SliceUNet"][1] == "1"
    assert rows["SliceUNet"][4] == "70.00"  # against its own subject's 29 dB
    assert made.rows.index(rows["SliceUNet"]) not in {line for line, _ in made.strong}


def test_every_table_leads_with_the_brain():
    assert "brain" in tables.summary_table(study()).header[1]


def test_spread_by_hand():
    made = tables.spread_table(study(3), "brain_psnr")
    source = dict(zip(made.header, made.rows[0], strict=True))
    assert source == {
        "Method": "3T as is",
        "Subjects": "3",
        "Mean": "21.00",
        "Std": "0.82",  # sqrt(2/3)
        "Median": "21.00",
        "Worst": "20.00",
    }


def test_subject_table_keeps_full_precision():
    result = SubjectResult("s", "watnet", {"brain_psnr": 1 / 3}, "note")
    made = tables.subject_table(StudyResults((result,)))
    row = dict(zip(made.header, made.rows[0], strict=True))
    assert float(row["brain_psnr"]) == 1 / 3
    assert row["whole_mae"] == "nan"
    assert row["note"] == "note"


def test_networks_are_tested_against_source_best_baseline_and_each_other():
    tests = {(t.ours, t.theirs): t for t in network_tests(study(), "brain_psnr")}
    assert set(tests) == {
        ("basic_cnn", "source"),
        ("basic_cnn", "median"),
        ("watnet", "source"),
        ("watnet", "median"),
        ("watnet", "basic_cnn"),
    }
    best = tests["watnet", "source"]
    assert best.gain == pytest.approx(1)
    assert best.p == pytest.approx(2 / 2**10)
    assert best.p_holm == pytest.approx(5 * 2 / 2**10)  # the smallest of a family of five
    assert tests["basic_cnn", "source"].p_holm == 1


def test_method_with_one_subject_is_not_tested_and_costs_the_others_nothing():
    lone = SubjectResult("sub-0", "slice_unet", {"brain_psnr": 30.0})
    tests = {
        (t.ours, t.theirs): t for t in network_tests(StudyResults((*study(), lone)), "brain_psnr")
    }
    assert tests["watnet", "source"].p_holm == pytest.approx(5 * 2 / 2**10)
    assert len(tests) == 5
    assert not any("slice_unet" in pair for pair in tests)


def test_published_figures_stand_beside_the_report_s_preset_alone():
    short, long = (
        [
            SubjectResult(r.subject, f"watnet ({remark})", r.metrics)
            for r in study()
            if r.method == "watnet"
        ]
        for remark in ("report", "best")
    )
    header = tables.table_1(StudyResults((*short, *long))).header
    assert header[1:] == ("WATNet (report), ours", "WATNet (report), published", "WATNet (best)")


def test_mean_over_fewer_subjects_is_not_the_best():
    lone = SubjectResult("sub-0", "slice_unet", dict.fromkeys(METRICS, 99.0))
    made = tables.summary_table(StudyResults((*study(), lone)), ["brain_psnr"])
    (place,) = made.strong
    assert made.rows[place[0]][0] == "WATNet"


def test_tests_are_given_the_direction_of_the_metric():
    lower = [
        SubjectResult(f"{i}", method, {"brain_mae": value + i / 100})
        for i in range(3)
        for method, value in (("source", 0.5), ("watnet", 0.4))
    ]
    (test,) = network_tests(StudyResults(tuple(lower)), "brain_mae")
    assert test.gain == pytest.approx(0.1)


def test_tests_table_has_a_row_for_each_test():
    made = tables.tests_table(study(), "brain_psnr")
    assert len(made.rows) == 5
    assert all(len(row) == len(made.header) for row in made.rows)
    assert made.rows[2][:4] == ("WATNet", "3T as is", "10", "1.00")


def test_nothing_evaluated_makes_empty_tables_not_errors():
    assert tables.summary_table(StudyResults()).rows == ()
    assert tables.tests_table(StudyResults(), "brain_psnr").rows == ()
    assert np.all([len(row) == 1 for row in tables.table_1(StudyResults()).rows])
