"""A file that is no volume is named for what it is, whatever its name."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import tarfile
import zipfile
from pathlib import Path

import nibabel
import numpy as np
import pytest

from napari_mri7t.engine.errors import VolumeError
from napari_mri7t.engine.volumes.files.contents import image_kind
from napari_mri7t.engine.volumes.volume import load_volume

NAMES = ("scan.nii", "scan.nii.gz", "scan.mgh", "scan.mgz", "scan.hdr", "SCAN.HDR.GZ", "scan.xyz")
IMAGE = nibabel.Nifti1Image(np.arange(60, dtype=np.int16).reshape(3, 4, 5), np.eye(4)).to_bytes()
ANNEX = b"/annex/objects/MD5E-s123456--0123456789abcdef0123456789abcdef.nii.gz\n"


def archive(kind: str) -> bytes:
    """The image in an archive."""
    file = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(file, "w") as made:
            made.writestr("scan.nii", IMAGE)
    else:
        with tarfile.open(fileobj=file, mode="w") as made:
            made.addfile(tarfile.TarInfo("scan.nii"), io.BytesIO(IMAGE))
            made.addfile(tarfile.TarInfo("other.nii"))
    return file.getvalue()


CONTENTS = {
    "web page": (b"<!DOCTYPE html>\n<html><title>404</title></html>" * 9, "a web page", "download"),
    "xhtml": (b"\xef\xbb\xbf\n<?xml version='1.0'?><html/>" + b" " * 400, "web page", "download"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS", "lfs pull"),
    "annex": (ANNEX, "git-annex pointer", "git annex get"),
    "annex link": (b"../../.git/annex/objects/Xx/Yy/MD5E-s1", "git-annex pointer", "datalad get"),
    "json": (b'{"message": "Not Found", "status": "404"}', "JSON text", "again"),
    "short text": (b"Not Found", "a text file", "use the image itself"),
    "table": (b"subject\tage\nsub-01\t33\n" * 30, "a text file", "use the image itself"),
    "latin-1": ("Prénom;âge\nAnaïs;33\n".encode("latin-1") * 30, "a text file", "itself"),
    "utf-16": ("participant_id\tage\n".encode("utf-16") * 30, "a text file", "itself"),
    "zip": (archive("zip"), "a zip archive", "unpack it"),
    "tar": (archive("tar"), "a tar archive", "unpack it"),
    "7z": (b"7z\xbc\xaf\x27\x1c\0\4" + bytes(500), "a 7z archive", "unpack it"),
    "rar": (b"Rar!\x1a\x07\1\0" + bytes(500), "a RAR archive", "unpack it"),
    "xz": (lzma.compress(IMAGE), "compressed by xz", "decompress it"),
    "lzma": (lzma.compress(IMAGE, lzma.FORMAT_ALONE), "compressed by lzma", "decompress it"),
    "bzip2": (bz2.compress(IMAGE), "compressed by bzip2", "decompress it"),
    "zstd": (b"\x28\xb5\x2f\xfd\4" + os.urandom(500), "compressed by zstd", "decompress it"),
    "dicom": (bytes(128) + b"DICM" + bytes(500), "a DICOM file", "dcm2niix"),
    "old dicom": (b"\x08\0\5\0" + bytes(500), "a DICOM file", "dcm2niix"),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + bytes(500), "an HDF5 file", "convert it"),
    "minc": (b"CDF\x01" + bytes(500), "a NetCDF file (MINC?)", "convert it"),
    "matlab": (b"MATLAB 5.0 MAT-file, Platform" + bytes(500), "a MATLAB file", "export"),
    "numpy": (b"\x93NUMPY\1\0" + bytes(500), "a NumPy array", "convert it"),
    "nrrd": (b"NRRD0004\ntype: short\n" + bytes(500), "an NRRD image", "convert it"),
    "pdf": (b"%PDF-1.7\n%\xe2\xe3" + bytes(500), "a PDF document", "use the image itself"),
    "png": (b"\x89PNG\r\n\x1a\n" + bytes(500), "a PNG picture", "use the image itself"),
    "jpeg": (b"\xff\xd8\xff\xe0" + bytes(500), "a JPEG picture", "use the image itself"),
    "macos": (b"\0\5\x16\7\0\2" + bytes(500), "what macOS keeps", "use the image itself"),
    "zeros": (bytes(5000), "begins with zeros only", "copy or download"),
}


def message_of(path: Path) -> str:
    with pytest.raises(VolumeError) as caught:
        load_volume(path)
    if str(caught.value).startswith("the DICOM file: "):  # whose name is often its patient's
        return "a DICOM file: no image that dcm2niix reads"
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value).removeprefix(f"{path}: ")


@pytest.mark.parametrize(("content", "kind", "advice"), CONTENTS.values(), ids=CONTENTS)
def test_content_that_is_no_volume_is_named_whatever_its_name(tmp_path, content, kind, advice):
    for number, name in enumerate(NAMES):
        for folded in (False, True):
            path = tmp_path / f"{number}{folded}" / name
            path.parent.mkdir()
            path.write_bytes(gzip.compress(content, mtime=0) if folded else content)
            if ".hdr" in name.lower():
                path.with_name(name.replace("hdr", "img").replace("HDR", "IMG")).write_bytes(b"x")
            if not (folded and name.endswith("xyz")):
                assert kind in message_of(path), (name, folded)
                assert advice in message_of(path), (name, folded)


def test_voxel_file_of_a_pair_that_is_something_else_is_named(tmp_path):
    nibabel.save(
        nibabel.Nifti1Pair(np.arange(60.0).reshape(3, 4, 5), np.eye(4)), tmp_path / "s.img"
    )
    (tmp_path / "s.img").write_bytes(CONTENTS["web page"][0])
    assert message_of(tmp_path / "s.img").startswith("is a web page")
    (tmp_path / "s.img").write_bytes(gzip.compress(np.arange(60.0).tobytes()))
    assert "rename it to s.img.gz" in message_of(tmp_path / "s.img")


@pytest.mark.parametrize(
    ("name", "n_folds", "advice"),
    [
        (
            "scan.nii.gz",
            0,
            "is not compressed, although its name ends in .gz: rename it to scan.nii",
        ),
        ("scan.nii", 1, "does not end in .gz: rename it to scan.nii.gz"),
        ("scan.nii.gz", 2, "is gzip-compressed more than once: decompress it until"),
        ("scan.nii.gz", 3, "is gzip-compressed more than once: decompress it until"),
        ("scan.mgz", 1, "is a file of the format NIfTI: rename it to scan.nii.gz"),
        ("scan.mgh", 0, "is a file of the format NIfTI: rename it to scan.nii"),
        ("scan.gz", 1, "rename it to scan.nii.gz"),
        ("scan.nii.gz.part", 1, "is an unfinished download: download the file again"),
        ("scan.nii.CRDOWNLOAD", 0, "is an unfinished download: download the file again"),
        ("scan.nifti", 0, "rename it to scan.nifti.nii"),
    ],
)
def test_sound_image_under_a_wrong_name_is_told_its_name(tmp_path, name, n_folds, advice):
    content = IMAGE
    for _ in range(n_folds):
        content = gzip.compress(content, mtime=0)
    (tmp_path / name).write_bytes(content)
    assert advice in message_of(tmp_path / name)


@pytest.mark.parametrize(("name", "right"), [("a.nii", "a.mgh"), ("a.nii.gz", "a.mgz")])
def test_mgh_under_the_name_of_nifti_is_told_its_name(tmp_path, name, right):
    image = nibabel.MGHImage(np.arange(60, dtype=np.int16).reshape(3, 4, 5), np.eye(4))
    content = image.to_bytes()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    assert f"of the format MGH: rename it to {right}" in message_of(tmp_path / name)


def test_dangling_link_is_named_with_its_target_and_how_to_fetch_it(tmp_path):
    (tmp_path / "scan.nii.gz").symlink_to("../.git/annex/objects/Xx/MD5E-s1.nii.gz")
    with pytest.raises(FileNotFoundError, match=r"scan.nii.gz: .*link to .*: .*git annex get"):
        load_volume(tmp_path / "scan.nii.gz")
    (tmp_path / "other.nii.gz").symlink_to("gone.nii.gz")
    with pytest.raises(FileNotFoundError, match=r"link to gone.nii.gz, which is missing"):
        load_volume(tmp_path / "other.nii.gz")


@pytest.mark.parametrize("form", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("order", ["<", ">"])
def test_image_is_known_by_how_it_begins(form, order):
    header = form.header_class(endianness=order)
    header["magic"] = b"n+1" if form is nibabel.Nifti1Image else b"n+2\0\r\n\x1a\n"
    assert image_kind(header.binaryblock) == "NIfTI"
    assert image_kind(b"\1" + header.binaryblock) == ""
