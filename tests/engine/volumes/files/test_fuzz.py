"""Thousands of spoilt files: no crash, no hang, no greed, nothing silently wrong.

The full number runs under `make fuzz`.
Every case is made from its number alone: `spoil(number, ...)` makes the one that failed again.
"""

from __future__ import annotations

import gzip
import io
import logging
import sys
import tracemalloc
import zlib
from collections import Counter
from pathlib import Path
from unittest import mock

import nibabel
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nibabel.freesurfer.mghformat import header_dtype as mgh_dtype
from nibabel.nifti1 import header_dtype as nifti1_dtype
from nibabel.nifti2 import header_dtype as nifti2_dtype

from napari_mri7t.engine.errors import VolumeError
from napari_mri7t.engine.volumes.files import reading
from napari_mri7t.engine.volumes.volume import load_series, load_volume

MEMORY = 64 << 20
PASSES = 4  # over a file at most: checked, read, searched for overflow, read unscaled
SHAPE = (7, 6, 5)
ODD_NUMBERS = [
    0, 1, -1, 2, 3, 7, 8, 127, 128, 255, 256, 348, 351, 352, 353, 540, 544, 32767, -32768, 65535,
    2**31 - 1, -(2**31), 2**31, 2**62, 2**63 - 1, -(2**63), 0.5, 1e-45, 1e-30, 1e30, 3.4e38,
    -3.4e38, 1e300, float("nan"), float("inf"), float("-inf"),
]  # fmt: skip


def sources() -> dict[str, tuple[bytes, np.dtype]]:
    """Sound files, uncompressed, by the extension they are stored under."""
    rng = np.random.default_rng(0)
    affine = np.array([[-0.8, 0.6, 0, 5], [0.6, 0.8, 0, -6], [0, 0, 1.1, 7], [0, 0, 0, 1]])
    made: dict[str, tuple[bytes, np.dtype]] = {}
    for name, image_class, dtype in (
        ("one", nibabel.Nifti1Image, nifti1_dtype),
        ("two", nibabel.Nifti2Image, nifti2_dtype),
    ):
        for kind, tail in (("i2", ()), ("f4", ()), ("u1", (3,)), ("f8", (1,))):
            array = rng.integers(0, 200, (*SHAPE, *tail)).astype(kind)
            image = image_class(array, affine)
            image.set_qform(affine, 1)
            image.header["scl_slope"], image.header["scl_inter"] = 0.5, -3
            image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"x" * 20))
            made[f"{name}-{kind}"] = image.to_bytes(), dtype
    for kind in ("u1", "i2", "f4"):
        file = io.BytesIO()
        image = nibabel.MGHImage(rng.integers(0, 200, SHAPE).astype(kind), affine)
        image.to_file_map({"image": nibabel.FileHolder(fileobj=file)})
        made[f"mgh-{kind}"] = file.getvalue(), mgh_dtype
    return made


SOURCES = sources()


def spoil(number: int, folder: Path) -> Path:
    """Make spoilt file `number`: a sound one, mutated, perhaps packed, perhaps spoilt again."""
    rng = np.random.default_rng(number)
    name = rng.choice(sorted(SOURCES))
    data, dtype = SOURCES[name]
    spoilt = bytearray(data)
    for _ in range(rng.integers(0, 4)):
        mutate(spoilt, dtype, rng)
    is_mgh = name.startswith("mgh")
    if rng.random() < 0.6:
        spoilt = bytearray(gzip.compress(spoilt, int(rng.integers(1, 10)), mtime=0))
        for _ in range(rng.integers(0, 3)):
            mutate(spoilt, None, rng)
        extension = ".mgz" if is_mgh else ".nii.gz"
    else:
        extension = ".mgh" if is_mgh else ".nii"
    if not is_mgh and extension == ".nii" and rng.random() < 0.2:
        (folder / "case.img").write_bytes(spoilt[len(spoilt) // 2 :])
        extension = ".hdr"
    path = folder / f"case{extension}"
    path.write_bytes(spoilt)
    return path


def mutate(data: bytearray, dtype: np.dtype | None, rng: np.random.Generator) -> None:
    """Spoil bytes in place; with `dtype`, mostly whole header fields."""
    if not data:
        return
    start = int(rng.integers(len(data)))
    stop = min(len(data), start + int(rng.integers(1, 64)))
    kind = rng.integers(12) if dtype is not None else rng.integers(6)
    if kind >= 6 and len(data) >= dtype.itemsize:
        spoil_field(data, dtype, rng)
    elif kind == 0:
        del data[start:]
    elif kind == 1:
        del data[start:stop]
    elif kind == 2:
        data[start:start] = rng.bytes(stop - start)
    elif kind == 3:
        data[start:stop] = bytes([int(rng.choice([0, 255, 32]))]) * (stop - start)
    elif kind == 4:
        data.extend(data[start:stop] * int(rng.choice([1, 100])))
    else:
        for _ in range(rng.integers(1, 9)):
            data[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))


def spoil_field(data: bytearray, dtype: np.dtype, rng: np.random.Generator) -> None:
    header = np.frombuffer(data, dtype, count=1)
    values = header[str(rng.choice(dtype.names))].reshape(-1)
    if values.dtype.kind == "S":
        values[:] = rng.bytes(4)
        return
    value = ODD_NUMBERS[int(rng.integers(len(ODD_NUMBERS)))]
    if values.dtype.kind != "f":
        value = value if np.isfinite(value) else 0
        value = int(value) % 2 ** (8 * values.dtype.itemsize)
        value = np.array(value, np.uint64).astype(values.dtype)
    with np.errstate(over="ignore"):
        if values.size > 4 and rng.random() < 0.4:
            values[1:4] = int(rng.choice([120, 300, 800]))  # dimensions that lie in accord
        else:
            values[int(rng.integers(values.size))] = value


def is_sound_gzip(path: Path) -> bool:
    try:
        gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error):
        return False
    return True


def judge(path: Path) -> str:
    """Load the file and hold the outcome against what is promised; return it in a word."""
    size = sum(other.stat().st_size for other in path.parent.glob("case.*"))
    budget = max(MEMORY, 4 * path.stat().st_size)
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    read, read_fully = [], reading.read_fully

    def count(stream, n_bytes):
        data = read_fully(stream, n_bytes)
        read.append(len(data))
        return data

    try:
        with mock.patch.object(reading, "read_fully", count):
            volumes = list(load_series(path))
        outcome = "warned" if volumes[0].warnings else "loaded"
    except (VolumeError, FileNotFoundError) as error:
        message = str(error)
        assert message.startswith((f"{path}: ", f"{path.with_suffix('.img')}: ")), message
        outcome, volumes = "refused", []
    assert sum(read) <= PASSES * reading.DEFLATE_RATIO * size, "it read without end"
    assert tracemalloc.get_traced_memory()[1] - before < budget, "it was greedy"
    if volumes and path.suffix in (".gz", ".mgz"):
        assert is_sound_gzip(path), "a damaged stream was loaded"
    if outcome == "loaded" and len(volumes) == 1 and ".nii" in path.name:
        check_as_nibabel(volumes[0], path)
    for index, volume in enumerate(volumes):
        check_sound(volume)
        if index == 0 and len(volumes) > 1 and np.ptp(volume.array) > 0:
            np.testing.assert_array_equal(load_volume(path, index=0).array, volume.array)
    return outcome


def check_sound(volume) -> None:
    assert volume.array.dtype == np.float32
    assert np.isfinite(volume.array).all()
    assert np.isfinite(volume.affine).all()
    assert volume.orientation == "RAS"
    assert min(volume.voxel_size) > 0


def check_as_nibabel(volume, path: Path) -> None:
    """What raised no warning lies and shines as nibabel, which is less careful, has it too."""
    image = nibabel.as_closest_canonical(nibabel.load(path))
    expected = np.asarray(image.dataobj).reshape(volume.shape)
    np.testing.assert_allclose(volume.array, expected, rtol=1e-6, atol=1e-30)
    np.testing.assert_allclose(volume.affine, image.affine, rtol=1e-5, atol=1e-5)


def run_cases(numbers: range, folder: Path) -> Counter[str]:
    outcomes: Counter[str] = Counter()
    tracemalloc.start()
    logging.getLogger("nibabel.global").setLevel(logging.CRITICAL)
    try:
        for number in numbers:
            try:
                outcomes[judge(spoil(number, folder))] += 1
            except Exception as error:
                raise AssertionError(f"spoilt file {number}: {error!r}") from error
    finally:
        tracemalloc.stop()
    return outcomes


def test_sources_are_sound_before_they_are_spoilt(tmp_path):
    for name, (data, _) in SOURCES.items():
        path = tmp_path / f"{name}{'.mgh' if name.startswith('mgh') else '.nii'}"
        path.write_bytes(data)
        for volume in load_series(path):
            check_sound(volume)


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_500_spoilt_files_are_refused_or_loaded_rightly(tmp_path):
    outcomes = run_cases(range(500), tmp_path)
    assert sum(outcomes.values()) == 500
    assert min(outcomes["refused"], outcomes["loaded"], outcomes["warned"]) > 25, outcomes


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_10000_spoilt_files_are_refused_or_loaded_rightly(tmp_path, capsys):
    outcomes = run_cases(range(10_000, 20_000), tmp_path)
    with capsys.disabled():
        sys.stdout.write(f"\n10,000 spoilt files: {dict(outcomes)}\n")
    assert sum(outcomes.values()) == 10_000


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=2000), name=st.sampled_from(["a.nii", "a.nii.gz", "a.mgh"]))
def test_arbitrary_bytes_are_refused(tmp_path, content, name):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(VolumeError) as caught:
        load_volume(path)
    assert str(caught.value).startswith(f"{path}: ")


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(header=st.binary(min_size=344, max_size=344), voxels=st.binary(max_size=600))
def test_arbitrary_header_is_refused_or_loaded_rightly(tmp_path, header, voxels):
    path = tmp_path / "a.nii"
    path.write_bytes(b"\x5c\x01\0\0" + header[:340] + b"n+1\0" + bytes(4) + voxels)
    try:
        volume = load_volume(path)
    except VolumeError as error:
        assert str(error).startswith(f"{path}: ")  # noqa: PT017
    else:
        check_sound(volume)
