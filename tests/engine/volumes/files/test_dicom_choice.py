"""Which series is the T1w, and what is unusual in its slices, by headers alone."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from napari_mri7t.engine.errors import VolumeError
from napari_mri7t.engine.volumes.files.dicom import DicomSeries, digest_of, find_series
from napari_mri7t.engine.volumes.files.dicom_header import Header
from napari_mri7t.engine.volumes.files.dicom_places import check_places
from napari_mri7t.engine.volumes.files.dicom_t1w import MANY_SLICES, choose_t1w, looks_t1w
from napari_mri7t.engine.volumes.files.dicom_traits import Traits
from napari_mri7t.engine.volumes.files.identity import Identity

T1W = Traits(
    ("t1_mprage_sag",), frozenset(("ORIGINAL", "PRIMARY", "M")), "3D",
    settings=("2300", "2.9", "900", "9", "20261128", "120000", "", "t1"),
)  # fmt: skip
SMALL = np.linspace(0, 1, 8 * 9 * 6).reshape(8, 9, 6)
UNDATED = (*T1W.settings[:4], "", "", "", "t1")


def series(number, n_slices=176, files=(), **traits):
    own = replace(T1W, **traits)
    return DicomSeries(number, f"key{number}", "t1_mprage_sag", n_slices, files, "study", own)


@pytest.mark.parametrize("word", ["SECONDARY", "DERIVED"])
def test_original_goes_before_what_was_made_of_it(word):
    made = series(6, image_type=T1W.image_type | {word}, settings=("another",))
    assert choose_t1w([series(5), made]).number == 5
    assert choose_t1w([made, series(7, texts=("t2_tse",))]).number == 6, "the only T1w"


def test_series_that_does_not_say_3d_needs_many_slices():
    assert looks_t1w(series(1, MANY_SLICES, acquisition=""))
    assert not looks_t1w(series(1, MANY_SLICES - 1, acquisition=""))
    assert not looks_t1w(series(1, MANY_SLICES, acquisition="2D"))


def test_corrected_reconstruction_is_taken_only_of_the_same_slices():
    corrected = {"image_type": T1W.image_type | {"NORM"}}
    found = choose_t1w([series(5), series(6, **corrected)])
    assert found.number == 6
    assert "series 6 (NORM) was used, not 5" in found.warnings[0]
    with pytest.raises(VolumeError, match="2 series look like a 3-D T1w"):
        choose_t1w([series(5), series(6, 88, **corrected)])
    with pytest.raises(VolumeError, match="2 series look like a 3-D T1w"):  # of one time?
        choose_t1w([series(5, settings=UNDATED), series(6, settings=UNDATED, **corrected)])


def test_digest_of_a_series_is_that_of_its_files_in_any_order(tmp_path):
    files = tuple(tmp_path / name for name in "abc")
    for path in files:
        path.write_text(path.name)
    assert digest_of(series(1, files=files)) == digest_of(series(1, files=files[::-1]))
    files[0].write_text("another")
    assert digest_of(series(1, files=files)) != digest_of(series(1, files=files[1:]))


def slices_at(*heights):
    """Headers of slices of one series, at heights in mm."""
    flat = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    return [
        Header(
            Path(), str(n), "series", "study", ("", ""), 1, n, "", 1, (0.0, 0.0, z), flat,
            ((0.0, 0.0, z, *flat),), 0.0, 0.0, ("", "", "", ""), False, False, "", (1.0, 1.0), T1W,
            Identity(),
        )
        for n, z in enumerate(heights, start=1)
    ]  # fmt: skip


def test_slices_that_are_nearly_even_are_told():
    assert check_places(slices_at(0, 1, 2, 3)) == (4, "", [])
    n_slices, problem, (told,) = check_places(slices_at(0, 1, 2.05, 3.05))
    assert (n_slices, problem) == (4, "")
    assert "1 to 1.05 mm apart" in told


def test_slices_that_are_apart_by_rounding_alone_lie_at_one_place():
    assert check_places(slices_at(0, 0.0005, 1, 1.0005, 2, 2.0005)) == (3, "", [])


def test_what_tells_images_at_one_place_apart_is_hidden_where_it_names_the_patient(
    dicom_series, tmp_path
):
    import pydicom

    for path in dicom_series(tmp_path, array=SMALL):
        found = pydicom.dcmread(path)
        found.SOPInstanceUID += ".1"
        found.ImageType = ["ORIGINAL", "PRIMARY", "DOE"]
        found.save_as(path.with_name(f"again_{path.name}"))
    (series,) = find_series(tmp_path)
    assert (series.repeats.count, series.repeats.texts) == (2, ())


def test_lossy_compression_is_told(dicom_series, tmp_path):
    dicom_series(tmp_path, array=SMALL, LossyImageCompression="01")
    assert find_series(tmp_path)[0].warnings == ("was compressed with loss",)
