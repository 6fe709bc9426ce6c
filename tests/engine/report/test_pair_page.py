"""The page of a dataset of pairs: the doubtful first, sortable in a real browser, inert."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
from PIL import Image

from napari_mri7t.engine.datasets.paired import PairPaths
from napari_mri7t.engine.report.pair_page import PairRecord, write_pair_page

HOSTILE = 'sub-05"><script>document.title="owned"</script>'


def record(folder, name, **more):
    paths = PairPaths(folder, name)
    figures = {
        "mutual_information": 1.2,
        "best_other_information": 1.04,
        "boundary_mm": 0.2,
        "overlap": 0.97,
        "rotation_degrees": 12.3,
        "shift_mm": 8.0,
    } | more.pop("figures", {})
    place = (*paths.images, paths.figure, paths.thumbnail)
    return PairRecord(name, *place, figures, **more)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three pairs, one of them flagged and one rejected, and a person without a pair."""
    place = tmp_path_factory.mktemp("pairs")
    records = [
        record(place, "sub-01", figures={"boundary_mm": 0.4}),
        record(place, "sub-02", flags=("It is <b>mirrored</b>.",), is_used=False),
        record(place, "sub-03", figures={"shift_mm": 31.0}, best_other="sub-01"),
        record(place, "sub-04", verdict="reject", is_used=False, figures={"boundary_mm": 1.1}),
    ]
    figure = records[0].figure
    figure.parent.mkdir(parents=True)
    figure.write_bytes(b"\x89PNG")
    picture = io.BytesIO()
    Image.fromarray(np.zeros((8, 24, 3), np.uint8)).save(picture, "WEBP")
    records[0].thumbnail.write_bytes(picture.getvalue())
    write_pair_page(place, records, {HOSTILE: "has no 7T scan: add it"})
    return place


@pytest.fixture
def page(folder):
    return (folder / "quality.html").read_text(encoding="utf-8")


def names_in(html):
    """The people of the rows, from the top."""
    return re.findall(r'<tr data-rank="\d+" data-name="(sub-\d+)', html)


def test_doubtful_pairs_come_first(page):
    assert names_in(page) == ["sub-05", "sub-02", "sub-04", "sub-01", "sub-03"]
    assert "2 used" in page
    assert "2 left out" in page
    assert "1 failed" in page


def test_page_loads_nothing_and_names_stay_inert(page):
    assert page.count("<script>") == 1
    assert "<script>document" not in page
    assert "<b>mirrored" not in page
    assert not re.search(r'(src|href)="(?!data:image/webp;base64,|sub-)', page)
    assert "default-src &#39;none&#39;; img-src data:; style-src" in page


def test_page_shows_the_picture_and_links_the_page_of_a_pair(page, folder):
    assert page.count('src="data:image/webp;base64,') == 1
    links = set(re.findall(r'href="([^"]+)"', page))
    assert links == {"sub-01/figures/sub-01_pair.png"}


def test_a_real_browser_sorts_by_a_column_either_way(folder, browsed):
    def shown(hash_):
        found = browsed(folder / "quality.html", hash_)
        assert "<title>Quality of 4 pairs</title>" in found  # the hostile name ran no script
        return names_in(found)

    assert shown("") == ["sub-05", "sub-02", "sub-04", "sub-01", "sub-03"]
    assert shown("#-boundary") == ["sub-04", "sub-01", "sub-02", "sub-03", "sub-05"]
    assert shown("#verdict") == ["sub-05", "sub-02", "sub-01", "sub-03", "sub-04"]
