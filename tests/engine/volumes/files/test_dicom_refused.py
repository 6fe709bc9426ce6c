"""DICOM series from which dcm2niix would make another image: refused by what is wrong."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from napari_mri7t.engine.errors import VolumeError
from napari_mri7t.engine.volumes.files import dicom_conversion
from napari_mri7t.engine.volumes.files.dicom import find_series
from napari_mri7t.engine.volumes.volume import load_volume

SMALL = np.linspace(0, 1, 8 * 9 * 6).reshape(8, 9, 6)


def message_of(folder):
    with pytest.raises(VolumeError) as caught:
        load_volume(folder)
    return str(caught.value)


@pytest.fixture
def changed(dicom_series, tmp_path):
    """Write a series whose files are changed; `change` gets each dataset and its slice."""
    import pydicom

    def write(change):
        for k, path in enumerate(dicom_series(tmp_path, array=SMALL, affine=np.eye(4))):
            found = pydicom.dcmread(path)
            change(found, k)
            found.save_as(path)
        return tmp_path

    return write


def sheared(found, k):
    x, y, z = (float(part) for part in found.ImagePositionPatient)
    found.ImagePositionPatient = [f"{x + 0.35 * k:.6g}", f"{y:.6g}", f"{z:.6g}"]


def half_moved(found, k):
    x, y, z = (float(part) for part in found.ImagePositionPatient)
    found.ImagePositionPatient = [f"{x:.6g}", f"{y + 10 * (k > 2):.6g}", f"{z:.6g}"]


def one_turned(found, k):
    if k == 3:
        angle = 3e-4
        found.ImageOrientationPatient = [-np.cos(angle), np.sin(angle), 0, 0, -1, 0]


def without_size(found, k):
    del found.PixelSpacing


def one_of_another_size(found, k):
    if k == 3:
        found.PixelSpacing = ["1.5", "1.5"]


def inverted(found, k):
    found.PhotometricInterpretation = "MONOCHROME1"


def one_uid_for_two(found, k):
    found.SOPInstanceUID = f"1.2.3.{k % 3}"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (sheared, "its slices are shifted along their own plane by up to 1.75 mm"),
        (half_moved, "its slices are shifted along their own plane by up to 10 mm"),
        (one_turned, "its slices are turned against each other"),
        (without_size, r"does not record the size of its pixels (PixelSpacing)"),
        (one_of_another_size, "the pixels of its slices differ in size"),
        (inverted, "its grey values are inverted (MONOCHROME1)"),
        (one_uid_for_two, "different images share one SOPInstanceUID"),
    ],
)
def test_series_that_would_become_another_image_is_refused(changed, change, words):
    assert words in message_of(changed(change))


def test_rounded_positions_and_directions_are_no_fault(changed):
    def rounded(found, k):
        found.ImagePositionPatient = [f"{float(x) + 0.004 * (-1) ** k:.3f}" for x in
                                      found.ImagePositionPatient]  # fmt: skip

    assert load_volume(changed(rounded)).shape == SMALL.shape


def test_planes_of_a_localizer_are_not_held_against_each_other(changed):
    def turned(found, k):
        if k > 2:
            found.ImageOrientationPatient = [-1, 0, 0, 0, 0, -1]

    assert find_series(changed(turned))[0].problem == ""


@pytest.mark.parametrize(("end", "part"), [("ph", "phase"), ("real", "real part")])
def test_phase_that_dcm2niix_alone_knows_is_refused(changed, monkeypatch, end, part):
    """GE says so in a private attribute."""
    run = dicom_conversion._run

    def named(series, folder):
        said = run(series, folder)
        for path in (folder / "out").glob("image.*"):
            path.rename(path.with_name(f"image_{end}{path.suffix}"))
        return said

    monkeypatch.setattr(dicom_conversion, "_run", named)
    assert f"is no magnitude image ({part}, as dcm2niix finds)" in message_of(
        changed(lambda found, k: None)
    )


def test_reason_why_a_file_cannot_be_copied_names_no_file(changed, monkeypatch, private_words):
    """Without links the files are copied; what shutil says quotes their names."""

    def no_link(*arguments):
        raise OSError("no links here")

    def refuse(source, target):
        raise shutil.SpecialFileError(f"`{source}` is a named pipe")

    folder = changed(lambda found, k: None)
    monkeypatch.setattr(Path, "symlink_to", no_link)
    monkeypatch.setattr(dicom_conversion.shutil, "copyfile", refuse)
    said = message_of(folder)
    assert "a file cannot be read: SpecialFileError" in said
    assert not private_words(said)
