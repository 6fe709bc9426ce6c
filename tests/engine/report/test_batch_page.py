"""The page of a batch: the worst first, sortable in a real browser, inert whatever the names."""

from __future__ import annotations

import csv
import json
import re
import shutil
from dataclasses import replace
from urllib.parse import quote

import numpy as np
import pytest

from napari_mri7t.engine.datasets.bids import MNI_SPACE, in_space, start_derivative
from napari_mri7t.engine.models.card import DEFAULT_MODEL, find_model, read_card
from napari_mri7t.engine.preparation.prepare import PreparationConfig, prepare
from napari_mri7t.engine.preparation.steps import REGISTRATION, Decision
from napari_mri7t.engine.report.batch_page import (
    COLUMNS,
    batch_rows,
    write_batch_page,
    write_batch_table,
)
from napari_mri7t.engine.report.scan_figures import (
    MASK,
    NUMBERS,
    PAGE,
    figure_path,
    read_scan_figures,
    write_scan_figures,
)
from napari_mri7t.engine.volumes.files.sidecars import sidecar_of
from napari_mri7t.engine.volumes.volume import Volume, save_volume

HOSTILE = 'sub-04/"><script>document.title="owned"</script>\u202e\udcff_T1w.nii.gz'


def output_of(label):
    return f"sub-{label}/anat/sub-{label}_desc-synth7T_T1w.nii.gz"


def scan_of(label):
    return f"sub-{label}/anat/sub-{label}_T1w.nii.gz"


@pytest.fixture(scope="module")
def small():
    rng = np.random.default_rng(0)
    array = np.zeros((32, 40, 24), np.float32)
    array[6:26, 6:34, 5:19] = rng.uniform(100, 900, (20, 28, 14))
    return Volume(array, np.diag([2.0, 2, 2, 1]), "sub-01_T1w")


@pytest.fixture(scope="module")
def prepared(small):
    mask = small.with_array(small.array > 0)
    return prepare(small, PreparationConfig(prepare="none", mask=mask))


@pytest.fixture(scope="module")
def card():
    return read_card(find_model(DEFAULT_MODEL))


def add_estimate(folder, label, warnings=(), scan=None):
    """What a batch leaves of a scan, without voxels."""
    image = folder / output_of(label)
    image.parent.mkdir(parents=True)
    image.write_bytes(b"image")
    uri = f"bids:source:{quote(scan or scan_of(label), errors='surrogateescape')}"
    facts = {
        "GeneratedBy": [{"Name": "napari-mri7t"}],
        "Model": {"Name": "watnet"},
        "Sources": [uri],
        "Warnings": list(warnings),
    }
    (folder / output_of(label).replace(".nii.gz", ".json")).write_text(json.dumps(facts))


@pytest.fixture(scope="module")
def folder(tmp_path_factory, small, prepared, card):
    """Three estimates of different quality, one scan that failed and one that was skipped."""
    place = tmp_path_factory.mktemp("derivative")
    start_derivative(place)
    for label, score, seconds in (("01", 0.78, 31.0), ("02", 0.75, 200.0), ("03", 0.79, 9.0)):
        quality = replace(prepared, registration_score=score, bias_field_strength=0.25)
        write_scan_figures(place, output_of(label), quality, small, card, seconds)
    add_estimate(place, "01")
    add_estimate(place, "02")
    add_estimate(place, "03", ["look <b>here</b>"])
    (place / "logs").mkdir(exist_ok=True)
    summary = {
        "written": [scan_of("01")],
        "known": [scan_of("02")],
        "failed": {HOSTILE: "is broken: mend it"},
        "skipped": {"sub-05": "has no T1w"},
    }
    (place / "logs/batch.json").write_text(json.dumps(summary))
    write_batch_page(place)
    return place


@pytest.fixture
def page(folder):
    return (folder / "quality.html").read_text(encoding="utf-8")


def names_in(html):
    """The subjects of the rows, from the top."""
    return re.findall(r'<tr data-rank="\d+" data-scan="(sub-\d+)', html)


def test_rows_come_from_the_disk_the_worst_first(folder):
    rows = batch_rows(folder)
    assert [row.scan for row in rows] == [
        HOSTILE, scan_of("03"), scan_of("02"), scan_of("01"), "sub-05",
    ]  # fmt: skip
    assert [row.state for row in rows] == ["failed", "written", "known", "written", "skipped"]
    assert rows[1].warnings == ("look <b>here</b>",)
    assert rows[3].figures.seconds == 31.0
    assert rows[3].figures.quality.registration_score == 0.78


def test_estimate_of_dicom_files_has_the_row_of_its_scan(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "copy")
    path = sidecar_of(tmp_path / "copy" / output_of("01"))
    facts = json.loads(path.read_text())
    del facts["Sources"]
    path.write_text(json.dumps(facts))
    (tmp_path / "copy/logs/names.tsv").write_text(f"scan\testimate\nP001\t{output_of('01')}\n")
    for state in ("known", "failed"):
        said = {"failed": {"P001": "why"}} if state == "failed" else {"known": ["P001"]}
        (tmp_path / "copy/logs/batch.json").write_text(json.dumps(said))
        (row,) = [row for row in batch_rows(tmp_path / "copy") if row.scan == "P001"]
        assert (row.state, row.output) == (state, output_of("01"))


def test_row_of_a_scan_that_failed_again_keeps_its_old_estimate(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "copy/logs/batch.json").write_text(json.dumps({"failed": {scan_of("01"): "why"}}))
    (row,) = [row for row in batch_rows(tmp_path / "copy") if row.scan == scan_of("01")]
    assert (row.state, row.reason, row.output) == ("failed", "why", output_of("01"))


@pytest.mark.parametrize("is_there", [False, True])
def test_estimate_is_told_apart_from_one_in_another_space_that_failed(folder, tmp_path, is_there):
    shutil.copytree(folder, tmp_path / "copy")
    lacks = in_space(output_of("01"), MNI_SPACE)
    said = {"failed": {scan_of("01"): "why"}, "outputs": {scan_of("01"): lacks}}
    (tmp_path / "copy/logs/batch.json").write_text(json.dumps(said))
    if is_there:
        for end in (".nii.gz", ".json"):
            old, new = (
                tmp_path / "copy" / o.replace(".nii.gz", end) for o in (output_of("01"), lacks)
            )
            shutil.copy(old, new)
    rows = [row for row in batch_rows(tmp_path / "copy") if row.scan == scan_of("01")]
    why = "why" if is_there else "no estimate in MNI space: why"
    assert [(row.state, row.reason, row.output) for row in rows] == [
        ("failed", why, lacks if is_there else ""),
        ("known", "", output_of("01")),
    ]


@pytest.mark.parametrize("content", ["", "[1]", '{"failed": [1], "known": 3, "skipped": {"a": 1}}'])
def test_a_spoilt_summary_costs_no_estimate_its_row(folder, tmp_path, content):
    shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "copy/logs/batch.json").write_text(content)
    assert len([row for row in batch_rows(tmp_path / "copy") if row.output]) == 3


def test_spoilt_or_missing_figures_leave_the_row(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "copy" / figure_path(output_of("01"), NUMBERS)).write_text('{"seconds": "x"}')
    (tmp_path / "copy" / figure_path(output_of("01"), MASK)).write_bytes(b"<svg>")
    (tmp_path / "copy" / figure_path(output_of("01"), PAGE)).unlink()
    found = read_scan_figures(tmp_path / "copy", output_of("01"))
    assert (found.quality, found.seconds, found.page, found.mask) == (None, None, "", b"")
    assert found.result
    write_batch_page(tmp_path / "copy")


def test_number_of_400_digits_is_no_figure(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "copy")
    path = tmp_path / "copy" / figure_path(output_of("01"), NUMBERS)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"seconds": 10**400}))
    found = read_scan_figures(tmp_path / "copy", output_of("01"))
    assert found.seconds is None
    assert found.quality is not None


def test_the_same_estimate_has_the_same_figures(folder, tmp_path, prepared, small, card):
    quality = replace(prepared, registration_score=0.78, bias_field_strength=0.25)
    write_scan_figures(tmp_path, output_of("01"), quality, small, card, 31.0)
    made = sorted((tmp_path / "sub-01/figures").iterdir())
    assert len(made) == 4
    for path in made:
        assert path.read_bytes() == (folder / "sub-01/figures" / path.name).read_bytes()


def test_a_result_in_mni_space_is_shown_in_the_planes_of_its_scan(prepared, small, card, tmp_path):
    moved = np.eye(4)
    moved[:3, 3] = 40, -30, 20
    there = replace(small, affine=moved @ small.affine)
    for result, name in ((small, "01"), (there, "02")):
        own = replace(prepared, to_mni=moved)
        write_scan_figures(tmp_path, output_of(name), own, result, card, 1.0)
    first, second = (read_scan_figures(tmp_path, output_of(n)).result for n in ("01", "02"))
    assert first == second


def test_page_loads_nothing_and_names_stay_inert(page):
    assert page.count("<script>") == 1
    assert "<script>document" not in page
    assert "<b>here" not in page
    assert "\\udcff" in page
    assert not re.search(r'(src|href)="(?!data:image/webp;base64,|sub-)', page)
    assert "default-src &#39;none&#39;; img-src data:; style-src" in page


def test_page_links_each_quality_page(page, folder):
    links = set(re.findall(r'href="([^"]+)"', page))
    assert len(links) == 3
    assert all((folder / link).is_file() for link in links)


def test_table_holds_the_numbers_and_describes_its_columns(folder):
    path = write_batch_table(folder)
    rows = list(csv.DictReader(path.open(encoding="utf-8"), delimiter="\t"))
    assert list(rows[0]) == list(COLUMNS)
    assert list(json.loads(path.with_suffix(".json").read_text())) == list(COLUMNS)
    first = next(row for row in rows if row["participant_id"] == "sub-01")
    assert (first["session_id"], first["state"], first["registration_score"]) == (
        "n/a", "written", "0.78",
    )  # fmt: skip
    assert {row["brain_litres"] for row in rows if row["state"] == "failed"} == {"n/a"}


def test_reason_of_any_text_is_one_cell_and_no_formula(tmp_path):
    start_derivative(tmp_path)
    (tmp_path / "logs").mkdir(exist_ok=True)
    failed = {"sub-01": "=1+1\tis broken\nhere", "sub-02": "\u202eback"}
    (tmp_path / "logs/batch.json").write_text(json.dumps({"failed": failed}))
    lines = write_batch_table(tmp_path).read_text(encoding="utf-8").splitlines()
    assert [len(line.split("\t")) for line in lines] == [len(COLUMNS)] * 3
    reasons = [line.split("\t")[-1] for line in lines[1:]]
    assert not any(reason.startswith("=") or "\u202e" in reason for reason in reasons)
    columns = dict(zip(lines[0].split("\t"), lines[1].split("\t"), strict=True))
    assert columns["n_warnings"] == "n/a"  # there is no sidecar to count them in


def test_sessions_have_rows_of_their_own(tmp_path):
    add_estimate(tmp_path, "01")
    add_estimate(tmp_path, "02")
    (tmp_path / "sub-02/ses-a").mkdir()
    (tmp_path / "sub-02/anat").rename(tmp_path / "sub-02/ses-a/anat")
    rows = [row.output for row in batch_rows(tmp_path)]
    assert sorted(rows) == [output_of("01"), output_of("02").replace("/anat/", "/ses-a/anat/")]


def test_page_tells_percent_and_what_was_not_registered(
    folder, tmp_path, prepared, small, card, page
):
    shown = re.findall(r'data-label="Bias field, %" data-bias="([^"]*)">([^<]*)<', page)
    assert shown.count(("25.0", "25")) == 3
    assert page.count("not registered") == 3  # prepared without a registration
    decisions = prepared.decisions | {REGISTRATION: Decision.COMPUTE}
    registered = replace(prepared, decisions=decisions)
    shutil.copytree(folder, tmp_path / "copy")
    write_scan_figures(tmp_path / "copy", output_of("01"), registered, small, card, 1.0)
    html = write_batch_page(tmp_path / "copy").read_text(encoding="utf-8")
    assert html.count("not registered") == 2


def test_truth_is_no_number(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "copy")
    path = tmp_path / "copy" / figure_path(output_of("01"), NUMBERS)
    facts = json.loads(path.read_text())
    path.write_text(json.dumps(facts | {"seconds": True, "brain_litres": True}))
    found = read_scan_figures(tmp_path / "copy", output_of("01"))
    assert (found.seconds, found.quality) == (None, None)


def test_the_validator_is_silent_on_page_figures_and_table(
    prepared, small, card, tmp_path, bids_errors
):
    start_derivative(tmp_path / "out")
    for path in (output_of("01"), "sub-02/ses-a/anat/sub-02_ses-a_desc-synth7T_T1w.nii.gz"):
        write_scan_figures(tmp_path / "out", path, prepared, small, card, 1.0)
        image = tmp_path / "out" / path
        image.parent.mkdir(parents=True)
        save_volume(small, image)
        stem = image.name.removesuffix("_desc-synth7T_T1w.nii.gz")
        for kept, facts in (
            ("desc-brain_mask", {}),
            ("desc-biasfield_T1w", {"SkullStripped": False}),
        ):
            save_volume(small, image.with_name(f"{stem}_{kept}.nii.gz"), sidecar=facts)
        save_volume(small, image, sidecar={"SkullStripped": True}, overwrite=True)
        xfm = image.with_name(f"{stem}_from-T1w_to-MNI152NLin6Asym_mode-image_xfm.txt")
        xfm.write_text("#Insight Transform File V1.0")
    write_batch_page(tmp_path / "out")
    write_batch_table(tmp_path / "out")
    assert bids_errors(tmp_path / "out") == []


def test_a_real_browser_sorts_by_a_column_either_way(folder, browsed):
    def shown(hash_):
        found = browsed(folder / "quality.html", hash_)
        assert "<title>Quality of 5 scans</title>" in found  # the hostile name ran no script
        return names_in(found)

    assert shown("") == ["sub-04", "sub-03", "sub-02", "sub-01", "sub-05"]
    assert shown("#seconds") == ["sub-03", "sub-01", "sub-02", "sub-04", "sub-05"]
    assert shown("#-seconds") == ["sub-02", "sub-01", "sub-03", "sub-04", "sub-05"]
    assert shown("#scan") == ["sub-01", "sub-02", "sub-03", "sub-04", "sub-05"]
    assert shown("#-warnings") == ["sub-03", "sub-02", "sub-01", "sub-04", "sub-05"]
    assert shown("#warnings") == ["sub-02", "sub-01", "sub-03", "sub-04", "sub-05"], (
        "what has no estimate has no warnings to count"
    )


def test_number_of_warnings_is_of_estimates_also_of_those_without_a_quality_page(tmp_path):
    add_estimate(tmp_path, "01")
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs/batch.json").write_text(json.dumps({"failed": {"sub-02": "why"}}))
    html = write_batch_page(tmp_path).read_text(encoding="utf-8")
    shown = re.findall(r'data-label="Warnings">([^<]*)<', html)
    assert shown == ["–", "0"], "sub-02 failed, sub-01 was made"
