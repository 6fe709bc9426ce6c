"""The report: complete, one file, inert whatever the names, and alive in a real browser."""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import re
import unicodedata
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest

from napari_mri7t.engine.errors import Mri7tError
from napari_mri7t.engine.evaluation.results import StudyResults, SubjectResult
from napari_mri7t.engine.evaluation.robustness import Lesion, LesionResult, RobustnessPoint
from napari_mri7t.engine.evaluation.stress import Stress
from napari_mri7t.engine.metrics.scoring import flatten, score
from napari_mri7t.engine.progress import Cancelled, Progress
from napari_mri7t.engine.report.report import (
    OWN_PAGE,
    PairVolumes,
    ReportData,
    ReportSubject,
    write_pair_report,
    write_report,
    write_tables,
)
from napari_mri7t.engine.report.sections import N_PLOTS, TESTED, table_sections
from napari_mri7t.engine.texts import INVISIBLE, from_cell
from napari_mri7t.engine.volumes.provenance import NOTICE

HOSTILE = '"><script>document.title="owned"</script><img src=x onerror=alert(1)>'
ODD = "=1+1 $x$ a_b^{ \udcff\x1b[31m\u202e"  # formula, mathtext, no UTF-8, escape, bidi
SHOWN = "=1+1 $x$ a_b^{ \\udcff\\u001b[31m\\u202e"
SUBJECTS = ("sub-01", HOSTILE, ODD)


class Page(HTMLParser):
    """What a browser would find: elements, their attributes, and the text of style and script."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.content: dict[int, str] = {}
        self.inside = False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.inside = True

    def handle_endtag(self, tag):
        self.inside = False

    def handle_data(self, data):
        last = len(self.elements) - 1
        if self.inside:
            self.content[last] = self.content.get(last, "") + data

    def of(self, tag: str) -> list[tuple[dict[str, str | None], str]]:
        found = enumerate(self.elements)
        return [(attrs, self.content.get(i, "")) for i, (name, attrs) in found if name == tag]


@pytest.fixture(scope="module")
def volumes():
    from napari_mri7t.engine.volumes.volume import Volume

    rng = np.random.default_rng(0)
    target = np.zeros((40, 48, 36), np.float32)
    target[6:34, 6:42, 4:32] = rng.uniform(0.2, 1, (28, 36, 28))
    made = {
        "source": target + rng.normal(0, 0.05, target.shape),
        "basic_cnn": target * 0.95,
        "watnet": target * 0.98,
        "target": target,
    }
    return {name: Volume(array.astype(np.float32), np.eye(4), name) for name, array in made.items()}


@pytest.fixture(scope="module")
def data(volumes) -> ReportData:
    results = [
        SubjectResult(subject, method, flatten(score(volumes["target"], volumes[method])))
        for subject in SUBJECTS
        for method in ("source", "basic_cnn", "watnet")
    ]
    steps = np.arange(1.0, 21)
    figures = {"brain_psnr": 20.0}
    points = tuple(
        RobustnessPoint("noise", v, figures, {"brain_psnr": 25 - 1000 * v}) for v in (0.001, 0.01)
    )
    lesions = tuple(LesionResult(Lesion((1, 1, 1), 4.0, c), c, 1.0, 0.5) for c in (0.2, -0.2))
    return ReportData(
        title=f"Study of {HOSTILE}",
        facts=[("Seed", "0"), (HOSTILE, HOSTILE)],
        results=StudyResults(tuple(results), is_of_report=True),
        subjects=[ReportSubject(name, lambda: volumes) for name in SUBJECTS],
        histories={"watnet": [(f"fold {ODD}", steps, 1 / steps)]},
        stress={"watnet": Stress(points, lesions)},
    )


@pytest.fixture(scope="module")
def records() -> list[Progress]:
    """What `folder` reports."""
    return []


@pytest.fixture(scope="module")
def folder(data, records, tmp_path_factory):
    place = tmp_path_factory.mktemp("report")
    write_report(data, place, place / "report.html", report=records.append)
    return place


@pytest.fixture(scope="module")
def text(folder) -> str:
    return (folder / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(text) -> Page:
    return Page(text)


def test_every_part_is_there(page):
    titles = [content for _, content in page.of("h2")]
    assert titles == [
        "Data and settings",
        "Results",
        "Inside the brain",
        "Whole volume",
        "Statistical tests",
        "Individual subjects",
        "Box plots",
        "Subjects",
        "Details",
        "Error maps",
        "Agreement of intensities",
        "Training",
        "Robustness",
        "Lesions",
        "Slice browser",
    ]


def test_the_notice_of_synthetic_images_stands_at_both_ends(text):
    assert text.count(NOTICE) == 2


def test_published_values_stand_beside_ours_only_where_the_study_is_the_report_s(text, data):
    assert "28.8904 ± 2.8821" in text
    assert "WATNet, published" in text
    others = table_sections(replace(data.results, is_of_report=False))
    titles = [table.title for section in others for table in section.tables]
    assert not [title for title in titles if "report" in title]
    assert not [t for s in others for t in s.tables if "published" in f"{t.header}{t.note}"]


def test_names_stay_inert(page):
    assert len(page.of("script")) == 2  # the data and our own
    assert not [tag for tag, attrs in page.elements if any(key.startswith("on") for key in attrs)]
    assert not [
        attrs for attrs, _ in page.of("img") if not (attrs["src"] or "").startswith("data:")
    ]
    assert HOSTILE in [content for _, content in page.of("th")]  # shown as what it is


def test_names_that_are_no_text_are_shown_by_their_escapes(text, page, folder):
    assert SHOWN in [content for _, content in page.of("th")]
    assert not [sign for sign in text if sign != "\n" and unicodedata.category(sign) in INVISIBLE]
    for path in (folder / "figures").glob("*.svg"):
        ElementTree.parse(path)


def test_names_in_csv_are_no_formulas_and_are_read_back(folder):
    """The bytes that are no UTF-8 become escapes: CSV has no other way."""
    with (folder / "tables" / "subjects.csv").open(encoding="utf-8", newline="") as file:
        names = [row[0] for row in csv.reader(file)]
    assert not [name for name in names if name.startswith("=")]
    assert ODD.replace("\udcff", "\\udcff") in [from_cell(name) for name in names]


def test_nothing_is_fetched_from_anywhere(page):
    for tag, attrs in page.elements:
        for key in ("src", "href", "action", "data", "srcset", "poster"):
            assert (attrs.get(key) or "#").startswith(("data:image/", "#")), (tag, attrs)
    assert not page.of("link")
    assert not page.of("iframe")
    assert not [attrs for _, attrs in page.elements if "style" in attrs]


def test_the_policy_allows_this_style_and_this_script_only(page):
    (policy,) = [a["content"] for a, _ in page.of("meta") if a.get("http-equiv")]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    assert "unsafe" not in policy
    assert "http" not in policy
    (_, style), (attrs, script) = page.of("style")[0], page.of("script")[1]
    assert attrs == {}
    for rule, content in (("style-src", style), ("script-src", script)):
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"


def test_the_browser_has_all_subjects_and_labels(page):
    slices = json.loads(page.of("script")[0][1])
    assert [subject["subject"] for subject in slices] == ["sub-01", HOSTILE, SHOWN]
    labels = ["3T as is", "BasicCNN", "WATNet", "7T", "BasicCNN − 7T", "WATNet − 7T"]
    assert list(slices[0]["images"]) == labels


def test_tables_are_written_in_three_formats(folder):
    stems = {path.stem for path in (folder / "tables").iterdir()}
    assert {"results", "table-1", "summary", "subjects", "tests-brain_psnr"} <= stems
    for stem in stems:
        assert all(
            (folder / "tables" / f"{stem}.{suffix}").stat().st_size
            for suffix in ("csv", "md", "tex")
        )


def test_figures_are_written_as_png_and_svg_under_harmless_names(folder):
    names = sorted(path.name for path in (folder / "figures").iterdir())
    assert {"boxes.png", "boxes.svg", "overview.svg", "losses.svg", "lesions.png"} <= set(names)
    assert len([name for name in names if name.startswith("slice-")]) == 2 * len(SUBJECTS)
    assert all(re.fullmatch(r"[A-Za-z0-9.-]+", name) for name in names)


def test_the_same_data_give_the_same_page(data, folder, tmp_path, text):
    write_report(data, tmp_path, tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == text


def test_a_stopped_report_leaves_the_old_page_alone(data, tmp_path):
    page = tmp_path / "report.html"
    old = f"<meta {OWN_PAGE.decode()}>old"
    page.write_text(old)
    calls = iter(range(3))

    def cancel(_: object) -> None:
        if next(calls, None) is None:
            raise Cancelled

    with pytest.raises(Cancelled):
        write_report(data, tmp_path, page, report=cancel)
    assert page.read_text() == old


def test_progress_counts_subjects_and_two_more(folder, records):
    assert {record.total for record in records} == {len(SUBJECTS) + 2}
    assert [record.done for record in records] == sorted(record.done for record in records)
    assert records[-1].done == records[-1].total


def test_every_plot_is_reported(records, folder):
    before_the_plots, before_the_page = len(SUBJECTS), len(SUBJECTS) + 1
    shares = [each.done for each in records if before_the_plots <= each.done < before_the_page]
    assert len(set(shares)) == N_PLOTS


def test_report_of_a_pair_ends_at_its_total(data, volumes, tmp_path):
    one = StudyResults(tuple(r for r in data.results if r.subject == SUBJECTS[0]))
    records = []
    pair = PairVolumes(volumes, None, 1.0)
    page = write_pair_report((("Seed", "0"),), one, pair, tmp_path, report=records.append)
    assert page.is_file()
    done = [record.done for record in records]
    assert (done, done[-1]) == (sorted(done), records[-1].total)


def test_pair_on_both_sides_of_0_is_drawn_whole(phantom):
    inside = phantom.array > 0
    scored = phantom.with_array(np.where(inside, phantom.array - 0.5, 0))
    pair = PairVolumes({"estimate": scored, "target": scored}, None, 1.0)
    for volume in pair.normalized().values():
        assert np.array_equal(volume.array > 0, inside)


def test_one_subject_has_no_paired_tests_and_no_empty_tables_of_them(data, tmp_path):
    def tests(results):
        return [
            table
            for part in table_sections(results)
            if part.title == "Statistical tests"
            for table in part.tables
        ]

    one = StudyResults(tuple(r for r in data.results if r.subject == SUBJECTS[0]))
    assert len(tests(data.results)) == len(TESTED)
    assert all(table.rows for table in tests(data.results))
    assert tests(one) == []
    write_tables(data.results, tmp_path)
    assert list(tmp_path.glob("tests-*"))
    (tmp_path / "tests-mine.csv").touch()
    write_tables(one, tmp_path)  # in place of the earlier evaluation's
    assert (tmp_path / "summary.csv").exists()
    assert not (tmp_path / "table-1.csv").exists()
    assert [path.name for path in tmp_path.glob("tests-*")] == ["tests-mine.csv"]


def test_a_study_without_anything_still_says_so(tmp_path):
    empty = ReportData("Nothing", [], StudyResults(), [])
    write_report(empty, tmp_path, tmp_path / "report.html")
    page = Page((tmp_path / "report.html").read_text())
    assert not page.of("script")


def test_a_real_browser_runs_the_page_and_reports_no_violation(folder, browsed):
    shown = Page(browsed(folder / "report.html", "", "--virtual-time-budget=5000"))
    (title,) = (content for _, content in shown.of("title"))
    assert title.startswith("Study of")  # the hostile name ran no script
    options = [content for _, content in shown.of("option")]
    assert options == ["sub-01", HOSTILE, SHOWN]
    pictures = [
        a for a, _ in shown.of("img") if "slice" in (a.get("alt") or "") and "sub-01" in a["alt"]
    ]
    assert len([a for a in pictures if a["alt"].startswith(("3T as is,", "WATNet − 7T,"))]) == 2
    (where,) = (content for _, content in shown.of("output"))
    assert re.fullmatch(r"slice \d+", where)


def test_a_page_replaces_a_page_and_no_other_file(data, text, tmp_path):
    page = tmp_path / "page.html"
    page.write_text(text, encoding="utf-8")
    write_report(data, tmp_path / "out", page)
    for name, content in (("study.json", "{}"), ("mine.html", "<!DOCTYPE html><title>x</title>")):
        (tmp_path / name).write_text(content)
        with pytest.raises(Mri7tError, match=f"{name}: is no page of this program"):
            write_report(data, tmp_path / "out", tmp_path / name)
        assert (tmp_path / name).read_text() == content
    with pytest.raises(Mri7tError, match=r"the folder .*missing does not exist: create it first"):
        write_report(data, tmp_path / "out2", tmp_path / "missing" / "page.html")
    assert not (tmp_path / "out2").exists()
