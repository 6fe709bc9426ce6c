"""Whose histogram all subjects of a study get."""

from pathlib import Path

import pytest

from napari_mri7t.engine.datasets.subjects import Subject, find_subjects
from napari_mri7t.engine.errors import SubjectError
from napari_mri7t.engine.simulation.pseudo_3t import SimulationConfig
from napari_mri7t.engine.training.pairs import choose_reference, prepare_pairs

SUBJECTS = [Subject(name, Path(name)) for name in ("sub-2", "sub-1", "sub-10")]


@pytest.mark.parametrize(("name", "expected"), [("sub-1", "sub-1"), ("10", "sub-10")])
def test_reference_is_found_by_its_name_or_a_part_of_it(name, expected):
    assert choose_reference(SUBJECTS, name).name == expected


def test_part_that_several_names_have_is_refused():
    with pytest.raises(SubjectError, match="fits 3 subjects; choose one of sub-2, sub-1, sub-10"):
        choose_reference(SUBJECTS, "sub")


def test_reports_reference_or_the_first_is_taken_by_default():
    assert choose_reference(SUBJECTS).name == "sub-2"
    report = Subject("sub-TELL0106", Path("report"))
    assert choose_reference([*SUBJECTS, report]) is report


def test_progress_of_the_preparation_rises_to_its_total(dataset):
    subjects, seen = find_subjects(dataset), []
    pairs = prepare_pairs(subjects, subjects[0], SimulationConfig(), report=seen.append)
    assert [pair.name for pair in pairs] == ["sub-A", "sub-B", "sub-C"]
    assert [now.done for now in seen] == [0, 1, 2, 3, 4]
    assert {now.total for now in seen} == {4}
    assert seen[2].message == "preparing sub-B"
