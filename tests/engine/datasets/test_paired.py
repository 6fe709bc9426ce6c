"""The table of people of a dataset of pairs, and what a training leaves out."""

from __future__ import annotations

import pytest

from napari_mri7t.engine.datasets.paired import MARK, Person, read_people, write_people
from napari_mri7t.engine.errors import Mri7tError

PEOPLE = {
    "sub-01": Person(),
    "sub-02": Person("reject"),
    "sub-03": Person(flags="it is mirrored."),
    "sub-04": Person("accept", "it is mirrored."),
    "sub-05": Person("look again"),
}


def test_people_are_read_as_they_were_written(tmp_path):
    write_people(tmp_path, PEOPLE)
    assert read_people(tmp_path) == PEOPLE


def test_rejected_doubtful_and_flagged_people_are_ignored_unless_accepted(tmp_path):
    (tmp_path / ".bidsignore").write_text("logs/\n")
    write_people(tmp_path, PEOPLE)
    lines = (tmp_path / ".bidsignore").read_text().splitlines()
    assert lines == ["logs/", MARK, "sub-02/", "sub-03/", "sub-05/"]


def test_own_lines_of_bidsignore_stay_and_ours_go(tmp_path):
    write_people(tmp_path, PEOPLE)
    path = tmp_path / ".bidsignore"
    path.write_text("sub-09/\n" + path.read_text() + "*.log\n")
    write_people(tmp_path, {"sub-02": Person("accept")})
    assert path.read_text().splitlines() == ["sub-09/", "*.log"]


def test_own_columns_of_the_table_stay(tmp_path):
    path = tmp_path / "participants.tsv"
    path.write_text("participant_id\tage\nsub-01\t30\n")
    people = read_people(tmp_path)
    write_people(tmp_path, people | {"sub-02": Person("accept")})
    rows = [line.split("\t") for line in path.read_text().splitlines()]
    assert rows == [
        ["participant_id", "quality", "flags", "age"],
        ["sub-01", "n/a", "n/a", "30"],
        ["sub-02", "accept", "n/a", "n/a"],
    ]


def test_unknown_verdict_in_the_table_is_refused_by_the_person(tmp_path):
    (tmp_path / "participants.tsv").write_text("participant_id\tquality\nsub-01\tgood\n")
    with pytest.raises(Mri7tError, match="sub-01: quality must be accept, reject, look again"):
        read_people(tmp_path)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("participant_id,quality\nsub-01,reject\n", "no column participant_id between tabs"),
        ("", "no column participant_id between tabs"),
        ("participant_id\tquality\nsub-01\treject\nsub-01\tn/a\n", "sub-01 has 2 rows"),
    ],
)
def test_table_that_would_lose_a_verdict_is_refused_and_stays(tmp_path, text, why):
    (tmp_path / "participants.tsv").write_text(text)
    with pytest.raises(Mri7tError, match=rf"cannot be read \({why}\): mend or remove it"):
        read_people(tmp_path)
    with pytest.raises(Mri7tError, match=why):
        write_people(tmp_path, PEOPLE)
    assert (tmp_path / "participants.tsv").read_text() == text
