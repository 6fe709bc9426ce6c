"""Which subjects a model has seen, by what its card records."""

from dataclasses import replace
from pathlib import Path

import pytest

from napari_mri7t.engine.errors import ModelError
from napari_mri7t.engine.models.card import (
    BUNDLED,
    DEFAULT_MODEL,
    PLANES,
    ModelCard,
    card_from_dict,
    find_model,
    has_seen,
    normalise_place,
    read_card,
)

RECORDS = {
    "subjects": ["sub-01_T1w"],
    "targets_sha256": ["a" * 64],
    "targets_voxels_sha256": ["b" * 64],
}


@pytest.fixture(scope="module")
def card() -> ModelCard:
    return read_card(BUNDLED / "basic_cnn")


@pytest.mark.parametrize("started", [False, True], ids=["own", "of its start"])
@pytest.mark.parametrize(
    ("key", "name", "digests"),
    [
        ("subjects", "sub-01_ses-2", ()),
        ("targets_sha256", "another", ("a" * 64,)),
        ("targets_voxels_sha256", "another", ("c" * 64, "b" * 64)),
    ],
)
def test_each_record_alone_tells_that_a_subject_was_seen(card, key, name, digests, started):
    record = {key: RECORDS[key]}
    training = {"started_from": record} if started else record
    assert has_seen(replace(card, training=training), name, digests)
    assert not has_seen(replace(card, training={}), name, digests)


def test_a_telling_label_is_known_without_its_prefix(card):
    seen = replace(card, training={"subjects": ["sub-TELL0101_T1w", "sub-02"]})
    assert all(has_seen(seen, name) for name in ("TELL0101", "tell0101_7T", "sub-TELL0101"))
    assert not any(has_seen(seen, name) for name in ("TELL01011", "02", "02_7T", "TELL0102"))


def test_other_subjects_were_not_seen(card):
    other = replace(card, training=RECORDS)
    assert not has_seen(other, "sub-011", ("d" * 64,))
    assert not has_seen(other, "S1")


@pytest.mark.parametrize("odd", [[], [1.0], [1.0, 0.8], [0.0, 1.0], "1", [0.8, None]], ids=str)
def test_a_range_of_voxels_is_two_rising_lengths(card, odd):
    values = card.as_dict()
    values["preprocessing"] = values["preprocessing"] | {"voxel_range_mm": odd}
    with pytest.raises(ModelError, match="here: voxel_range_mm must be two rising lengths above 0"):
        card_from_dict(values, "here")


@pytest.mark.parametrize(
    "odd", [3, "axial", [3], ["oblique"], ["axial", "axial"], [["axial"]], {}], ids=str
)
def test_planes_that_are_none_are_refused(card, odd):
    values = card.as_dict() | {"synthesis": {"planes": odd}}
    with pytest.raises(ModelError, match="here: planes of synthesis must be some of axial, cor"):
        card_from_dict(values, "here")


def test_planes_are_those_that_a_model_was_scored_with(card):
    assert card.planes == ("axial",)
    several = replace(card, synthesis={"planes": ["sagittal", "axial"]})
    assert several.planes == ("sagittal", "axial")
    assert card_from_dict(several.as_dict(), "here").planes == several.planes
    assert read_card(find_model(DEFAULT_MODEL)).planes == PLANES


def test_without_a_range_a_model_is_for_the_voxels_it_was_trained_at(card):
    assert card.voxel_bounds_mm == ([1.0] * 3, [1.0] * 3)


def test_number_of_400_digits_is_no_length(card):
    values = card.as_dict()
    values["preprocessing"] = values["preprocessing"] | {"voxel_size_mm": [1, 1, 10**400]}
    with pytest.raises(ModelError, match="here: voxel_size_mm must be three lengths above 0"):
        card_from_dict(values, "here")


def test_home_of_no_user_is_a_path_as_typed():
    place = "~no-such-user/model"
    with pytest.raises(ModelError, match=f"{place}: no such model: choose "):
        find_model(place)
    assert Path(normalise_place(place)).name == "model"
