"""Multi-frame DICOM: the frames' own places are checked as those of slices are."""

from __future__ import annotations

import numpy as np
import pytest

from napari_mri7t.engine.errors import VolumeError
from napari_mri7t.engine.volumes.files import dicom_header
from napari_mri7t.engine.volumes.files.dicom import find_series
from napari_mri7t.engine.volumes.volume import load_volume

ENHANCED = "1.2.840.10008.5.1.4.1.1.4.1"
SMALL = np.linspace(0, 1, 8 * 9 * 6).reshape(8, 9, 6)
KEYWORDS = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness")


@pytest.fixture
def frames(dicom_series, tmp_path):
    """Write a series as one multi-frame file; gives the folder.

    `order` are its frames by their slices; `spacing`, mm, is recorded; `change` is called with the
    file's dataset before it is written.
    """
    import pydicom

    def item(**values):
        found = pydicom.Dataset()
        for keyword, value in values.items():
            setattr(found, keyword, value)
        return [found]

    def write(order=range(6), spacing=1.2, change=lambda _: None, per_frame=False):
        slices = [pydicom.dcmread(path) for path in dicom_series(tmp_path / "slices", array=SMALL)]
        file = pydicom.dcmread(dicom_series(tmp_path / "frames", array=SMALL, skip=range(1, 6))[0])
        _, directions, size, thickness = (file[keyword].value for keyword in KEYWORDS)
        for keyword in KEYWORDS:
            delattr(file, keyword)
        file.SOPClassUID = file.file_meta.MediaStorageSOPClassUID = ENHANCED
        file.NumberOfFrames = len(order)
        measures = {"PixelSpacing": size, "SliceThickness": thickness}
        if spacing:
            measures["SpacingBetweenSlices"] = spacing
        plane = {
            "PlaneOrientationSequence": item(ImageOrientationPatient=directions),
            "PixelMeasuresSequence": item(**measures),
        }
        file.PerFrameFunctionalGroupsSequence = [
            *(
                item(
                    PlanePositionSequence=item(ImagePositionPatient=slices[k].ImagePositionPatient),
                    **(plane if per_frame else {}),
                )[0]
                for k in order
            )
        ]
        file.SharedFunctionalGroupsSequence = item(**({} if per_frame else plane))
        file.PixelData = b"".join(slices[k].PixelData for k in order)
        change(file)
        file.save_as(tmp_path / "frames" / "DOE_JANE_000.dcm")
        return tmp_path / "frames"

    return write


def message_of(folder):
    with pytest.raises(VolumeError) as caught:
        load_volume(folder)
    return str(caught.value)


@pytest.mark.parametrize("per_frame", [False, True])
@pytest.mark.parametrize("order", [range(6), (5, 0, 3, 1, 2, 4)])
def test_frames_are_placed_by_their_groups(frames, order, per_frame):
    folder = frames(order, per_frame=per_frame)
    (series,) = find_series(folder)
    assert (series.n_slices, series.problem, series.warnings) == (6, "", ())
    assert load_volume(folder).voxel_size == pytest.approx((1, 1.1, 1.2), abs=1e-4)


@pytest.mark.parametrize("per_frame", [False, True])
def test_frames_missing_between_others_are_refused(frames, per_frame):
    said = message_of(frames((0, 1, 4, 5), per_frame=per_frame))
    assert "2 of its slices are missing between others" in said


def test_uneven_frames_are_refused(frames):
    def move(file):
        place = file.PerFrameFunctionalGroupsSequence[5].PlanePositionSequence[0]
        first = np.array(place.ImagePositionPatient, float)
        before = file.PerFrameFunctionalGroupsSequence[4].PlanePositionSequence[0]
        step = first - np.array(before.ImagePositionPatient, float)
        place.ImagePositionPatient = [f"{x:.8g}" for x in first + 0.3 * step]

    assert "which no volume can hold" in message_of(frames(change=move))


def test_even_frames_at_another_distance_than_the_header_says_are_refused(frames):
    """Of every second frame, dcm2niix makes a brain of half its height."""
    assert "2.4 mm apart, not 1.2 mm as its header says" in message_of(frames((0, 2, 4)))


def test_every_second_frame_without_a_spacing_is_placed_and_warned_of(frames):
    volume = load_volume(frames((0, 2, 4), spacing=None))
    assert volume.voxel_size == pytest.approx((1, 1.1, 2.4), abs=1e-4)
    assert any("slices between them may be missing" in text for text in volume.warnings)


def test_frames_of_two_times_at_one_place_are_two_volumes(frames):
    import pydicom

    def tell(file):
        for n, group in enumerate(file.PerFrameFunctionalGroupsSequence):
            content = pydicom.Dataset()
            content.TemporalPositionIndex = n // 6 + 1
            group.FrameContentSequence = [content]

    folder = frames((*range(6), *range(6)), change=tell)
    assert "holds 2 volumes" in message_of(folder)
    assert find_series(folder)[0].n_slices == 6
    assert load_volume(folder, index=1).shape == SMALL.shape


def test_frames_at_one_place_that_nothing_tells_apart_are_refused(frames):
    """dcm2niix makes one volume of 12 slices of them."""
    said = message_of(frames((*range(6), *range(6))))
    assert "has 2 frames at one position that its header does not distinguish" in said


def test_frames_without_places_are_refused(frames):
    def clear(file):
        del file.PerFrameFunctionalGroupsSequence[3].PlanePositionSequence

    assert "1 of its 1 files lack the position and orientation" in message_of(frames(change=clear))


def test_frames_that_are_scaled_differently_are_refused(frames):
    """dcm2niix takes the scale of the first for all."""
    import pydicom

    def scale(file):
        for n, group in enumerate(file.PerFrameFunctionalGroupsSequence):
            values = pydicom.Dataset()
            values.RescaleSlope, values.RescaleIntercept = str(1 + 0.1 * n), "0"
            group.PixelValueTransformationSequence = [values]

    assert "its frames are scaled differently (RescaleSlope)" in message_of(frames(change=scale))


def test_places_of_more_frames_than_are_looked_at_are_left_unread(frames, monkeypatch):
    monkeypatch.setattr(dicom_header, "MOST_FRAMES", 3)
    (series,) = find_series(frames((0, 1, 4, 5)))
    assert (series.n_slices, series.problem) == (4, "")
