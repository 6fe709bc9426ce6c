"""DICOM series: found, chosen, converted by dcm2niix, and without a trace of the patient."""

from __future__ import annotations

import importlib.util
import json
import logging
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from napari_mri7t.engine.errors import Mri7tError, VolumeError
from napari_mri7t.engine.volumes.files import dicom_conversion, dicom_header, dicom_messages
from napari_mri7t.engine.volumes.files.dicom import digest_of, find_series, is_dicom
from napari_mri7t.engine.volumes.files.dicom_header import FIELDS, is_named_dicom
from napari_mri7t.engine.volumes.files.dicom_images import is_slice
from napari_mri7t.engine.volumes.files.dicom_t1w import choose_t1w, looks_t1w, not_magnitude
from napari_mri7t.engine.volumes.files.identity import Identity
from napari_mri7t.engine.volumes.kind import check_t1w
from napari_mri7t.engine.volumes.provenance import Execution, sidecar
from napari_mri7t.engine.volumes.volume import load_series, load_volume, save_volume

SMALL = np.linspace(0, 1, 8 * 9 * 6).reshape(8, 9, 6)


def message_of(folder, **settings):
    with pytest.raises(VolumeError) as caught:
        load_volume(folder, **settings)
    return str(caught.value)


def test_voxels_lie_where_the_headers_place_them(dicom_series, phantom, tmp_path):
    """The expected place is that of PS3.3, C.7.6.2.1.1: position plus columns, rows and slices."""
    import pydicom

    paths = dicom_series(tmp_path / "in")
    volume = load_volume(tmp_path / "in")
    for i, j, k in ((0, 0, 0), (39, 47, 31), (3, 20, 9), (30, 5, 25)):
        header = pydicom.dcmread(paths[k])
        row, column = np.reshape([float(x) for x in header.ImageOrientationPatient], (2, 3))
        dy, dx = (float(x) for x in header.PixelSpacing)
        lps = (
            np.array([float(x) for x in header.ImagePositionPatient])
            + i * dx * row
            + j * dy * column
        )
        place = np.linalg.solve(volume.affine, [-lps[0], -lps[1], lps[2], 1])[:3]
        assert np.allclose(place, place.round(), atol=1e-3)
        assert volume.array[tuple(place.round().astype(int))] == header.pixel_array[j, i]
    assert volume.array.sum() == pytest.approx(np.round(phantom.array * 1000).sum(dtype=float))
    assert volume.warnings == ()
    assert volume.name == "series-5_t1_mprage_sag"


def test_result_does_not_depend_on_names_order_and_copies(dicom_series, tmp_path):
    paths = dicom_series(tmp_path / "in", array=SMALL)
    for number, path in enumerate(reversed(paths)):
        place = tmp_path / "again" / f"deep{number % 2}"
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place / f"IM{number}")
    shutil.copy(paths[2], tmp_path / "again" / "copy.IMA")
    (tmp_path / "again" / "notes").write_text("no DICOM")
    (tmp_path / "again" / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    first, second = load_volume(tmp_path / "in"), load_volume(tmp_path / "again")
    assert (first.array == second.array).all()
    assert (first.affine == second.affine).all()
    assert first.geometry.dicom.sha256 == second.geometry.dicom.sha256
    assert any("that others hold as well" in text for text in second.warnings)


def test_a_file_stands_for_its_series(dicom_series, tmp_path):
    dicom_series(tmp_path, array=SMALL, names="a{}.dcm", SeriesNumber=3)
    path = dicom_series(tmp_path, array=SMALL, names="b{}", SeriesNumber=4, SeriesDescription="t2")[
        2
    ]
    assert load_volume(path).geometry.dicom.number == 4


def test_only_t1w_is_chosen_among_others(dicom_series, tmp_path):
    for number, (description, tags) in enumerate(
        {
            "localizer": {"ImageType": ["ORIGINAL", "PRIMARY", "M", "LOCALIZER"]},
            "t2_space_sag": {},
            "t1_flair_3d": {},
            "DTI_64": {"MRAcquisitionType": "2D"},
            "t1_tse_tra": {"MRAcquisitionType": "2D"},
            "Sag 3D T1 BRAVO": {},
            "t1_mprage MIP": {"ImageType": ["DERIVED", "SECONDARY", "MIP"]},
            "t1_mp2rage_sag_T1_Images": {},
            "t1_mp2rage_INV1": {},
            "t1_mprage phase": {"ImageType": ["ORIGINAL", "PRIMARY", "P"]},
        }.items(),
        1,
    ):
        dicom_series(
            tmp_path / str(number), array=SMALL, SeriesNumber=number, ProtocolName="",
            SeriesDescription=description, **tags,
        )  # fmt: skip
    found = find_series(tmp_path)
    assert [one.number for one in found if looks_t1w(one)] == [6]
    assert choose_t1w(found).number == 6
    assert [one.number for one in found] == list(range(1, 11))


@pytest.mark.parametrize(
    "description",
    ["t1_mpr_sag_p2_iso", "sT1W_3D_TFE", "Ax FSPGR 3D", "SAG BRAVO", "MEMPRAGE", "t1_vibe", "T1w"],
)
def test_names_of_t1w_of_several_makers_are_known(dicom_series, tmp_path, description):
    tags = {"SeriesDescription": description, "ProtocolName": ""}
    dicom_series(tmp_path, array=SMALL[:, :, :2], **tags)
    assert looks_t1w(find_series(tmp_path)[0])


def test_normalised_twin_is_preferred_and_named(dicom_series, tmp_path):
    dicom_series(
        tmp_path / "a", array=SMALL, SeriesNumber=4, ImageType=["ORIGINAL", "PRIMARY", "M"]
    )
    dicom_series(tmp_path / "b", array=SMALL, SeriesNumber=5)
    volume = load_volume(tmp_path)
    assert volume.geometry.dicom.number == 5
    assert any("series 5 (NORM) was used, not 4" in text for text in volume.warnings)


def test_two_t1w_are_listed_and_one_is_asked_for(dicom_series, tmp_path):
    dicom_series(tmp_path / "a", array=SMALL, SeriesNumber=4)
    dicom_series(tmp_path / "b", array=SMALL, SeriesNumber=5, AcquisitionTime="111111")
    with pytest.raises(VolumeError, match="2 series look like a 3-D T1w") as caught:
        load_volume(tmp_path)
    assert '4 "t1_mprage_sag", 6 slices; 5 "t1_mprage_sag", 6 slices' in str(caught.value)
    assert caught.value.argument == "series"
    assert load_volume(tmp_path, series=4).geometry.dicom.number == 4
    assert load_volume(tmp_path, series="5").geometry.dicom.number == 5
    assert "no such series" in message_of(tmp_path, series=9)


def test_two_acquisitions_of_one_number_are_told_apart_by_their_keys(dicom_series, tmp_path):
    dicom_series(tmp_path / "a", array=SMALL)
    dicom_series(tmp_path / "b", array=SMALL, SeriesDescription="t1_mprage_again")
    first, second = find_series(tmp_path)
    assert first.number == second.number == 5
    assert f"5 ({first.key})" in message_of(tmp_path, series=5)
    assert load_volume(tmp_path, series=second.key).name == f"series-5_{second.description}"


def test_files_of_two_patients_are_refused(dicom_series, tmp_path):
    dicom_series(tmp_path / "a", array=SMALL)
    dicom_series(
        tmp_path / "b", array=SMALL, PatientName="ROE^ROY", PatientID="77123", SeriesNumber=6
    )
    assert "series of 2 patients" in message_of(tmp_path)
    assert load_volume(tmp_path, series=6).geometry.dicom.number == 6


@pytest.mark.parametrize(
    ("skip", "told"), [((2,), "1 of its slices are missing"), ((1, 3), "2 of")]
)
def test_missing_slices_are_refused_by_name(dicom_series, tmp_path, skip, told):
    dicom_series(tmp_path, array=SMALL, skip=skip)
    assert message_of(tmp_path).startswith(f'series 5 "t1_mprage_sag": {told}')


def test_missing_first_slices_are_warned_of(dicom_series, tmp_path):
    dicom_series(tmp_path, array=SMALL, skip=(0, 1))
    assert any("may be missing" in text for text in load_volume(tmp_path).warnings)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "are 2.4 mm apart, not 1.2 mm as its header says: slices between them may be missing"),
        ({"MRAcquisitionType": ""}, "instance numbers rise by 2: slices between them may be"),
        (
            {"MRAcquisitionType": "2D", "SpacingBetweenSlices": "1.2"},
            "are 2.4 mm apart, not 1.2 mm as its header says",
        ),
    ],
)
def test_every_second_slice_that_is_missing_is_warned_of(dicom_series, tmp_path, given, told):
    dicom_series(tmp_path, array=SMALL, skip=(1, 3, 5), **given)
    assert [told in text for text in load_volume(tmp_path, series=5).warnings] == [True]


def test_instance_numbers_that_skip_tell_nothing_where_the_spacing_is_right(dicom_series, tmp_path):
    import pydicom

    for path in dicom_series(tmp_path, array=SMALL):
        found = pydicom.dcmread(path)
        found.InstanceNumber *= 2
        found.save_as(path)
    assert load_volume(tmp_path).warnings == ()


@pytest.mark.parametrize("n_files", [1, 6])
def test_slices_without_a_place_are_refused(dicom_series, tmp_path, n_files):
    import pydicom

    for path in dicom_series(tmp_path, array=SMALL)[:n_files]:
        found = pydicom.dcmread(path)
        del found.ImagePositionPatient
        found.save_as(path)
    assert f"{n_files} of its 6 files lack the position and orientation" in message_of(tmp_path)


def test_files_of_two_patients_in_one_series_are_refused(dicom_series, tmp_path, private_words):
    import pydicom

    for path in dicom_series(tmp_path, array=SMALL)[:3]:
        found = pydicom.dcmread(path)
        found.PatientID = "77123"
        found.save_as(path)
    said = message_of(tmp_path)
    assert "its files name 2 patients: put each patient's files into a separate folder" in said
    assert not private_words(said)


def test_file_that_is_cut_short_is_refused(dicom_series, tmp_path):
    path = dicom_series(tmp_path, array=SMALL)[3]
    path.write_bytes(path.read_bytes()[:-20])
    assert "1 of its 6 files are cut short" in message_of(tmp_path)


def test_phase_is_refused_even_if_asked_for(dicom_series, tmp_path):
    dicom_series(tmp_path, array=SMALL, ImageType=["ORIGINAL", "PRIMARY", "P", "PHASE"])
    assert "is no magnitude image (P)" in message_of(tmp_path, series=5)


def test_echoes_are_chosen_by_index(dicom_series, tmp_path):
    series = {"SeriesDescription": "t1_memprage", "StudyInstanceUID": "1.2.3"}
    dicom_series(tmp_path / "1", array=SMALL, **series, EchoTime="1.6", EchoNumbers=1)
    for n, path in enumerate(
        dicom_series(tmp_path / "2", array=SMALL / 2, **series, EchoTime="3.4", EchoNumbers=2)
    ):
        import pydicom

        second = pydicom.dcmread(path)
        second.SOPInstanceUID = f"1.2.3.4.{n}"
        second.save_as(path)
    with pytest.raises(VolumeError, match=r"0: echo time 1\.6 ms; 1: echo time 3\.4 ms") as caught:
        load_volume(tmp_path)
    assert caught.value.argument == "index"
    first, second = load_volume(tmp_path, index=0), load_volume(tmp_path, index=1)
    assert first.array.max() == 1000
    assert second.array.max() == 500
    both = load_series(tmp_path)
    assert len(both) == 2
    assert (both[1].array == second.array).all()


def add_images(dicom_series, folder, *, shift=0, array=SMALL / 2, **given):
    """Add images of other instances to a series, their instance numbers raised by `shift`."""
    import pydicom

    paths = dicom_series(folder, array=array, names="more{}", **given)
    for path in paths:
        found = pydicom.dcmread(path)
        found.InstanceNumber += shift
        found.SOPInstanceUID = found.file_meta.MediaStorageSOPInstanceUID = (
            pydicom.uid.generate_uid(entropy_srcs=[found.SOPInstanceUID, str(found.InstanceNumber)])
        )
        found.save_as(path)
    return paths


SIDEWAYS = np.array([[0, 0, 1, 5.0], [1, 0, 0, 2.0], [0, 1.5, 0, 3.0], [0, 0, 0, 1]])


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"array": SMALL[1:, 1:] / 2}, r"0: 8 x 9 x 6; 1: 7 x 8 x 6"),
        ({"affine": SIDEWAYS}, "0: 8 x 9 x 6.*; 1: 6 x 8 x 9"),
        (
            {"ImageType": ["DERIVED", "SECONDARY", "M"]},
            r"0: image type ORIGINAL PRIMARY.*; 1: image type DERIVED SECONDARY",
        ),
    ],
)
@pytest.mark.parametrize("shift", [0, 6])
def test_images_that_a_series_splits_into_are_listed_and_one_is_asked_for(
    dicom_series, tmp_path, given, told, shift
):
    dicom_series(tmp_path, array=SMALL)
    add_images(dicom_series, tmp_path, shift=shift, **given)
    with pytest.raises(VolumeError, match=f"holds 2 volumes .*{told}") as caught:
        load_volume(tmp_path)
    assert caught.value.argument == "index"
    assert sorted(load_volume(tmp_path, index=n).array.max() for n in (0, 1)) == [500, 1000]


def add_thick_stack(dicom_series, folder, skip=()):
    """Write a series of 6 slices, 1 mm apart, and a derived stack of 3 slices, 2.5 mm apart."""
    dicom_series(folder, array=SMALL, affine=np.eye(4), skip=skip)
    thick = np.diag([1, 1, 2.5, 1])
    kind = ["DERIVED", "SECONDARY", "M"]
    add_images(
        dicom_series, folder, shift=6, array=SMALL[..., :3] / 2, affine=thick, ImageType=kind
    )


def test_stack_of_other_slices_in_the_series_is_another_volume(dicom_series, tmp_path):
    add_thick_stack(dicom_series, tmp_path)
    with pytest.raises(VolumeError, match=r"0: .* 1: .*DERIVED") as caught:
        load_volume(tmp_path)
    assert caught.value.argument == "index"
    assert [load_volume(tmp_path, index=n).shape[2] for n in (0, 1)] == [6, 3]


def test_missing_slice_is_found_beside_another_stack(dicom_series, tmp_path):
    add_thick_stack(dicom_series, tmp_path, skip=(2,))
    assert "missing" in message_of(tmp_path)


def test_images_are_listed_in_the_same_order_whatever_the_order_of_the_files(
    dicom_series, tmp_path, monkeypatch
):
    dicom_series(tmp_path, array=SMALL)
    add_images(dicom_series, tmp_path, array=SMALL[:7, :8] / 2)
    first = load_volume(tmp_path, index=0)
    link = dicom_conversion._link
    monkeypatch.setattr(
        dicom_conversion,
        "_link",
        lambda path, name, series: link(path, name.with_name(f"{99 - int(name.stem)}.dcm"), series),
    )
    assert (load_volume(tmp_path, index=0).array == first.array).all()


def test_more_images_than_dcm2niix_names_are_refused(dicom_series, tmp_path):
    for n in range(28):
        add_images(dicom_series, tmp_path / str(n), shift=2 * n, array=np.eye(8 + n)[..., None])
        add_images(
            dicom_series, tmp_path / f"{n}b", shift=2 * n + 1, array=np.eye(8 + n)[..., None],
            ImageType=["ORIGINAL", "PRIMARY", "M", "NORM"],
        )  # fmt: skip
    assert "holds more than 26 different images" in message_of(tmp_path)


def test_screenshot_beside_a_scan_is_left_out_with_a_warning(dicom_series, tmp_path):
    dicom_series(tmp_path, array=SMALL)
    add_images(dicom_series, tmp_path, shift=9, array=SMALL[:7, :8, :1])
    volume = load_volume(tmp_path)
    assert volume.shape == SMALL.shape
    assert any("2-D images beside the volume were left out: 1" in n for n in volume.warnings)


@pytest.mark.parametrize("stem", ["image_ph", "image_pha", "image_e1_ph", "image_i00001_pha"])
def test_phase_is_known_by_the_names_of_dcm2niix(stem):
    assert dicom_conversion.NOT_USED.search(stem)
    assert not dicom_conversion.NOT_USED.search(stem.replace("_ph", ""))


TWO = [
    ({"InversionTime": "700"}, {"InversionTime": "2500"}, "inversion time {} ms", (700, 2500)),
    ({"AcquisitionNumber": 1}, {"AcquisitionNumber": 2}, "acquisition {}", (1, 2)),
]


@pytest.mark.parametrize(("first", "second", "text", "values"), TWO)
def test_images_at_one_place_are_listed_by_what_differs(
    dicom_series, tmp_path, first, second, text, values
):
    dicom_series(tmp_path, array=SMALL, **first)
    add_images(dicom_series, tmp_path, shift=6, **second)
    listed = "; ".join(f"{n}: {text.format(value)}" for n, value in enumerate(values))
    assert f"holds 2 volumes ({listed}): choose one" in message_of(tmp_path)
    assert load_volume(tmp_path, index=0).array.max() == 1000
    assert load_volume(tmp_path, index=1).array.max() == 500


@pytest.mark.parametrize(("first", "second", "text", "values"), TWO)
@pytest.mark.parametrize("backwards", [False, True])
def test_images_at_one_place_with_the_same_numbers_are_refused(
    dicom_series, tmp_path, first, second, text, values, backwards
):
    import pydicom

    dicom_series(tmp_path, array=SMALL, **first)
    for path in add_images(dicom_series, tmp_path, **second):
        found = pydicom.dcmread(path)
        found.InstanceNumber = 7 - found.InstanceNumber if backwards else found.InstanceNumber
        found.save_as(path)
    listed = "; ".join(text.format(value) for value in values)
    said = message_of(tmp_path)
    assert f"holds 2 images at each place ({listed})" in said
    assert "put the files of each into a folder of its own" in said


def test_pixels_compressed_by_run_lengths_are_read(dicom_series, tmp_path):
    import pydicom

    paths = dicom_series(tmp_path, array=SMALL)
    plain = load_volume(tmp_path)
    for path in paths:
        found = pydicom.dcmread(path)
        found.compress(pydicom.uid.RLELossless, generate_instance_uid=False)
        found.save_as(path)
    assert (load_volume(tmp_path).array == plain.array).all()


def test_files_that_dcm2niix_cannot_decompress_are_refused_with_what_to_do(dicom_series, tmp_path):
    import pydicom

    for path in dicom_series(tmp_path, array=SMALL):
        found = pydicom.dcmread(path)
        found.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
        found.save_as(path)
    with pytest.raises(VolumeError, match="export it without compression, or choose another"):
        load_volume(tmp_path)


def test_deflated_file_that_unpacks_to_more_than_an_image_is_left_out(
    dicom_series, tmp_path, monkeypatch
):
    import pydicom

    path, *_ = dicom_series(tmp_path, array=SMALL)
    found = pydicom.dcmread(path)
    found.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    found.PixelData = bytes(1 << 20)
    found.save_as(path)
    assert len(find_series(tmp_path)[0].files) == SMALL.shape[2]
    monkeypatch.setattr(dicom_header, "MOST_INFLATED", 1 << 19)
    (series,) = find_series(tmp_path)
    assert len(series.files) == SMALL.shape[2] - 1
    assert series.warnings[0].startswith("1 DICOM files in its folder are damaged")


def test_files_without_a_series_are_named_for_what_they_lack(dicom_series, tmp_path):
    import pydicom

    paths = dicom_series(tmp_path, array=SMALL)
    for number, path in enumerate(paths):
        if number == 1:
            (series,) = find_series(tmp_path)
            assert len(series.files) == SMALL.shape[2] - 1
            assert "1 DICOM files in its folder are damaged or have no Series" in series.warnings[0]
        found = pydicom.dcmread(path)
        del found.SeriesInstanceUID
        found.save_as(path)
    with pytest.raises(VolumeError, match="6 DICOM files are damaged or have no SeriesInstanceUID"):
        load_volume(tmp_path)


@pytest.mark.parametrize(("counted", "is_told"), [("6", False), ("8", True)])
def test_images_that_the_headers_count_and_are_not_there_are_told(
    dicom_series, tmp_path, counted, is_told
):
    dicom_series(tmp_path, array=SMALL, ImagesInAcquisition=counted)
    (series,) = find_series(tmp_path)
    told = ("its headers count 8 images, and 6 are here: slices may be missing",)
    assert series.warnings == (told if is_told else ())


def test_full_temporary_folder_is_named(dicom_series, tmp_path, monkeypatch):
    dicom_series(tmp_path, array=SMALL)
    usage = SimpleNamespace(free=0)
    monkeypatch.setattr(dicom_conversion.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(Mri7tError, match="set TMPDIR to another folder"):
        load_volume(tmp_path)


def test_mosaic_is_no_t1w_and_no_volume(dicom_series, tmp_path):
    """Tiles of all slices in one image; without Siemens' own header none can be taken apart."""
    kinds = ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]
    dicom_series(tmp_path, array=SMALL[:, :, :1], ImageType=kinds, SeriesDescription="ep2d")
    with pytest.raises(VolumeError, match="no series looks like a 3-D T1w"):
        load_volume(tmp_path)
    with pytest.raises(VolumeError, match="is 2-D"):
        load_volume(tmp_path, series=5)


def test_no_message_name_or_sidecar_names_the_patient(
    dicom_series, tmp_path, private_words, caplog
):
    folder = tmp_path / "DOE_JANE_19700131"
    caplog.set_level(logging.DEBUG)
    dicom_series(folder, array=SMALL, SeriesDescription="T1 MPRAGE Doe, J.", ProtocolName="x")
    volume = load_volume(folder)
    assert volume.name == "series-5"
    assert volume.geometry.path is None
    facts = sidecar("synthesize", [volume], Execution())
    (tmp_path / "out").mkdir()
    image = save_volume(volume, tmp_path / "out" / "t1.nii.gz", sidecar=facts)
    (entry,) = facts["Sources"]
    assert entry == {
        "Series": 5, "Files": 6, "SHA256": digest_of(find_series(folder)[0]),
        "dcm2niix": dicom_conversion.library_versions(["dcm2niix"])["dcm2niix"],
    }  # fmt: skip
    assert not private_words(image.parent)
    assert not private_words(f"{volume.name} {facts} {find_series(folder)} {volume.geometry}")
    dicom_series(folder, array=SMALL, SeriesNumber=6, names="x{}", AcquisitionTime="111111")
    assert not private_words(message_of(folder))
    assert not private_words(message_of(folder, series=9))
    assert not private_words(caplog.text)


def test_message_of_dcm2niix_that_names_patient_or_file_is_not_shown(dicom_series, tmp_path):
    dicom_series(tmp_path, array=SMALL)
    (series,) = find_series(tmp_path)
    said = (
        "Warning: odd matrix\nWarning: Doe odd\nWarning: odd /tmp/x\nError: 31.01.1970\nConvert 5"
    )
    assert dicom_messages.quotes_of(series, said) == ["odd matrix"]


def test_private_folder_is_removed(dicom_series, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "private"))
    (tmp_path / "private").mkdir()
    dicom_series(tmp_path / "in", array=SMALL)
    load_volume(tmp_path / "in")
    assert list((tmp_path / "private").iterdir()) == []


def test_missing_extra_is_named_with_its_command(dicom_series, tmp_path, monkeypatch):
    dicom_series(tmp_path, array=SMALL)
    monkeypatch.setattr(
        "napari_mri7t.engine.volumes.files.dicom_header.find_spec",
        lambda name: None if name == "pydicom" else importlib.util.find_spec(name),
    )
    with pytest.raises(Mri7tError, match=r"pip install 'napari-mri7t\[dicom\]'"):
        load_volume(tmp_path)


def test_program_that_hangs_is_stopped(dicom_series, tmp_path, monkeypatch):
    dicom_series(tmp_path, array=SMALL)
    monkeypatch.setattr(dicom_conversion, "MOST_SECONDS", 1e-4)
    assert "did not end" in message_of(tmp_path)


def test_folder_without_dicom_is_no_dicom(tmp_path):
    (tmp_path / "a.tif").write_bytes(b"II*\0" + bytes(200))
    (tmp_path / "b").write_bytes(bytes(200))
    assert not is_dicom(tmp_path)
    assert "is a folder" in message_of(tmp_path)
    assert "holds no DICOM series" in message_of(tmp_path, series=3)


@pytest.mark.parametrize(
    ("values", "text", "is_told"),
    [
        ({"PatientName": ["Müller^Änne"]}, "Mueller_T1", True),
        ({"PatientName": ["Müller^Änne"]}, "MULLER", True),
        ({"PatientName": ["Şahın^Ali"]}, "Sahin_T1", True),
        ({"PatientName": ["Þórður"]}, "Thordur", True),
        ({"PatientName": ["Иванов^Иван"]}, "Ivanov_T1", True),
        ({"PatientName": ["Ivanov^Ivan"]}, "Иванов", True),
        ({"PatientName": ["張^偉"]}, "Zhang_Wei", True),
        ({"PatientName": ["Иванов^Иван"]}, "t1_mprage", False),
        ({"PatientBirthDate": ["19700131"]}, "Patient_Jan_1970", True),
        ({"PatientBirthDate": ["19700131"]}, "1970-January", True),
        ({"PatientBirthDate": ["19700131"]}, "Feb1970", False),
        ({"StudyDate": ["19700131"]}, "Jan1970", False),
        ({"PatientName": ["Li^Na"]}, "flair_li", True),
        ({"PatientName": ["Li^Na"]}, "localizer_final", False),
        ({"PatientName": ["Li^Xu"]}, "t1_LiXu", True),
        ({"PatientName": ["Li^Xu"]}, "XULI", True),
        ({"PatientName": ["王^小東"]}, "T1_王", True),
        ({"PatientBirthDate": ["19700131"]}, "31-01-1970", True),
        ({"PatientBirthDate": ["19700131"]}, "scan_700131", True),
        ({"PatientBirthDate": ["19540617"]}, "t1_mprage 17.6.1954", True),
        ({"PatientBirthDate": ["19540617"]}, "17-Jun-54", True),
        ({"PatientBirthDate": ["19540617"]}, "scan of 17 Juni 1954", True),
        ({"PatientBirthDate": ["19540617"]}, "June 17, 1954", True),
        ({"PatientBirthDate": ["19540617"]}, "t1_mprage_sag_1754", False),
        ({"PatientID": ["PAT-00.12"]}, "PAT0012", True),
        ({"PatientID": ["0012345"]}, "12345", True),
        ({"PatientID": ["001"]}, "t1_1", False),
        ({"PatientName": ["Anonymous"], "PatientID": ["1"]}, "anonymous_t1", False),
    ],
)
def test_identity_is_found_however_it_is_written(values, text, is_told):
    assert Identity.of(values).is_in(text) is is_told


def test_other_numbers_of_the_patient_are_read_from_their_items(dicom_series, tmp_path):
    import pydicom

    item = pydicom.Dataset()
    item.PatientID, item.TypeOfPatientID = "HOSP445566", "TEXT"
    dicom_series(tmp_path, array=SMALL, OtherPatientIDsSequence=[item])
    identity = find_series(tmp_path)[0].identity
    assert identity.is_in("sub-HOSP445566")
    assert not identity.is_in("text")


@pytest.mark.parametrize(
    ("kinds", "part"),
    [
        (["ORIGINAL", "PRIMARY", "M"], ""),
        (["ORIGINAL", "PHASE"], "PHASE"),
        (["M", "P"], ""),
        (["R"], "R"),
    ],
)
def test_part_of_a_complex_image_is_told_by_its_type(kinds, part):
    assert not_magnitude(kinds) == part


@pytest.mark.parametrize(
    ("facts", "part"),
    [
        ({"ImageType": ["ORIGINAL", "PRIMARY", "P", "ND"]}, "P"),
        ({"ImageType": "ORIGINAL\\PRIMARY\\PHASE"}, "PHASE"),
        ({"ImageType": "P"}, "P"),
        ({"ComplexImageComponent": "PHASE"}, "PHASE"),
    ],
)
def test_image_type_of_the_json_beside_a_nifti_is_checked(phantom, tmp_path, facts, part):
    path = save_volume(phantom, tmp_path / "t1.nii.gz")
    (tmp_path / "t1.json").write_text('{"ComplexImageComponent": "MAGNITUDE"}')
    check_t1w(load_volume(path))
    (tmp_path / "t1.json").write_text(json.dumps(facts))
    with pytest.raises(VolumeError, match=rf"no magnitude image by the ImageType .* \({part}\)"):
        check_t1w(load_volume(path))


@pytest.mark.parametrize(
    "keyword",
    [
        "PatientName", "OtherPatientNames", "PatientBirthName", "PatientMotherBirthName",
        "ReferringPhysicianName", "PerformingPhysicianName", "OperatorsName",
        "RequestingPhysician", "PhysiciansOfRecord", "NameOfPhysiciansReadingStudy",
        "ResponsiblePerson", "PatientID", "OtherPatientIDs", "OtherPatientIDsSequence",
        "AccessionNumber",
        "MedicalRecordLocator", "InstitutionName", "PatientAddress", "PatientTelephoneNumbers",
    ],
)  # fmt: skip
def test_whatever_people_type_into_a_header_is_not_shown(keyword):
    assert Identity.of({keyword: ["Quillfeather 77"]}).is_in("t1_QUILLFEATHER-77_sag")
    assert keyword in FIELDS, "and is read"


def test_identities_of_two_patients_are_both_known():
    jane, li = (Identity.of({"PatientName": [name]}) for name in ("Doe^Jane", "Li"))
    both = jane | li
    assert both.is_in("JaneDoe_T1")
    assert both.is_in("li_t1")
    assert not both.is_in("liver")


def test_files_are_copied_where_there_are_no_links(dicom_series, tmp_path, monkeypatch):
    dicom_series(tmp_path)
    before = load_volume(tmp_path)

    def refuse(*arguments, **options):
        raise OSError("no links here")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    np.testing.assert_array_equal(load_volume(tmp_path).array, before.array)


def test_what_cannot_be_read_is_no_single_slice(tmp_path):
    (tmp_path / "a.nii").write_text("no image")
    assert not is_slice(tmp_path / "a.nii")
    assert not is_slice(tmp_path / "none.nii")


@pytest.mark.parametrize(("name", "is_one"), [("a.DCM", True), ("a.ima", True), ("a.nii", False)])
def test_dicom_files_are_known_by_their_names(name, is_one):
    assert is_named_dicom(Path(name)) is is_one
