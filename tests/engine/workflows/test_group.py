"""The group level: page and table of a derivative, written as a batch writes them."""

import pytest

from napari_mri7t.engine.datasets.bids import start_derivative
from napari_mri7t.engine.errors import StateError
from napari_mri7t.engine.workflows import group
from napari_mri7t.engine.workflows.group import write_group


@pytest.fixture
def derivative(tmp_path, monkeypatch):
    """A derivative of which one scan is known."""
    start_derivative(tmp_path / "out")
    monkeypatch.setattr(group, "batch_rows", lambda _: ["sub-01"])
    return tmp_path / "out"


def test_page_and_table_are_written_while_no_batch_may_write_them(derivative, monkeypatch):
    seen = []

    def write(folder):
        seen.append((folder / "logs/derivative.lock").exists())
        return folder

    monkeypatch.setattr(group, "write_batch_page", write)
    monkeypatch.setattr(group, "write_batch_table", write)
    write_group(derivative)
    assert seen == [True, True]
    assert not (derivative / "logs/derivative.lock").exists()


def test_derivative_of_an_earlier_version_is_completed(derivative):
    """Its page and table are no files of BIDS, and its labels get their meaning."""
    (derivative / ".bidsignore").write_text("own.txt\n")
    (derivative / "descriptions.tsv").unlink()
    write_group(derivative)
    assert {"own.txt", "quality.html"} <= {*(derivative / ".bidsignore").read_text().split()}
    assert (derivative / "descriptions.tsv").is_file()


def test_derivative_without_a_result_is_refused(derivative, monkeypatch):
    monkeypatch.setattr(group, "batch_rows", lambda _: [])
    with pytest.raises(StateError, match="run that level first"):
        write_group(derivative)
    assert not (derivative / "quality.html").exists()
