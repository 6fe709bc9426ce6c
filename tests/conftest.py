"""What every test may use: a small brain-like phantom, and a closed network."""

from __future__ import annotations

import gzip
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nibabel
import numpy as np
import pytest

if TYPE_CHECKING:
    from napari_mri7t.engine.volumes.volume import Volume

SHAPE = (40, 48, 32)  # (I, J, K): small, and no two axes alike
ORIGIN_MM = (-19.0, -25.0, -12.0)  # of the voxel (0, 0, 0)
# The settings of the user, and of other tests at the same time, have no part in a test.
os.environ["NAPARI_CONFIG"] = str(Path(tempfile.mkdtemp(prefix="mri7t-tests-")) / "settings.yaml")
LOOPBACK = ("127.", "localhost", "::1", "0.0.0.0")

signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background job ignores


def phantom_array(shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    """Draw nested ellipsoids: white matter in grey in fluid, background exactly 0, in [0, 1]."""
    axes = [np.linspace(-1, 1, size) for size in shape]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    radius = np.sqrt((x / 0.85) ** 2 + (y / 0.9) ** 2 + (z / 0.85) ** 2)
    folds = 0.05 * np.cos(9 * x) * np.cos(8 * y) * np.cos(7 * z)
    ventricles = (np.abs(x) / 0.18) ** 2 + (y / 0.4) ** 2 + (z / 0.3) ** 2 < 1
    array = np.zeros(shape)
    array[radius < 1] = 0.25  # fluid
    array[radius + folds < 0.92] = 0.6  # grey
    array[radius + 2 * folds < 0.7] = 0.95  # white
    array[ventricles] = 0.2
    shading = 1 + 0.03 * np.sin(3 * x + 2 * y)
    return np.clip(array * shading, 0, 1).astype(np.float32)


@pytest.fixture
def phantom() -> Volume:
    """A brain-like volume in memory: 1 mm, RAS+, intensities in [0, 1], background 0."""
    from napari_mri7t.engine.volumes.volume import Volume

    affine = np.eye(4)
    affine[:3, 3] = ORIGIN_MM
    return Volume(phantom_array(), affine, name="phantom")


@pytest.fixture
def phantom_file(phantom: Volume, tmp_path: Path) -> Path:
    """The phantom as a NIfTI file, written by nibabel alone, stored LAS as scanners do."""
    flip = nibabel.orientations.axcodes2ornt("LAS")
    image = nibabel.Nifti1Image(phantom.array, phantom.affine).as_reoriented(flip)
    image.header.set_xyzt_units("mm", "sec")
    path = tmp_path / "phantom.nii.gz"
    nibabel.save(image, path)
    return path


@pytest.fixture
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small untrained model on disk: what it computes is no brain, but always the same."""
    return save_untrained(tmp_path_factory.mktemp("models") / "untrained", "basic_cnn")


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `model_folder`, a hundred times as quick, for tests that care for all but the network."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    return save_untrained(folder, "slice_unet", widths=[8, 8], n_blocks=1, n_slices=3)


def save_untrained(folder: Path, network_name: str, **config: object) -> Path:
    import torch

    from napari_mri7t.engine.models.card import ModelCard
    from napari_mri7t.engine.models.model import save_model
    from napari_mri7t.engine.networks import build_network, count_parameters

    torch.manual_seed(0)
    network = build_network(network_name, **config)
    card = ModelCard(
        name=folder.name,
        title=f"{network_name}, untrained, for tests",
        network=network_name,
        network_config=config,
        n_parameters=count_parameters(network),
        preprocessing={
            "voxel_size_mm": [1.0, 1.0, 1.0],
            "brain_extracted": True,
            "plane": "axial",
            "intensity_quantiles": np.linspace(0, 1, 101).tolist(),
        },
        training={},
        metrics={},
        intended_use="tests",
        sha256="",
    )
    save_model(folder, network, card)
    return folder


@pytest.fixture
def dataset(phantom: Volume, tmp_path: Path) -> Path:
    """Write three small 7T volumes of different contrast, enough to train a fold in seconds."""
    folder = tmp_path / "dataset"
    folder.mkdir()
    for name, power in (("sub-A", 1.0), ("sub-B", 1.3), ("sub-C", 0.8)):
        array = (255 * phantom.array[8:32, 8:40, 8:24] ** power).astype(np.uint8)
        nibabel.save(nibabel.Nifti1Image(array, phantom.affine), folder / f"{name}.nii.gz")
    return folder


@pytest.fixture
def run_cli(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Run `mri7t` with arguments in this process; gives (exit code, stdout, stderr)."""
    from napari_mri7t import cli

    def run_with(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["mri7t", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return (end.value.code or 0, *capsys.readouterr())

    return run_with


@pytest.fixture
def dicom_series(phantom: Volume) -> Callable[..., list[Path]]:
    """Write a DICOM series of a patient, Jane Doe: the oblique phantom, a file a slice.

    Gives a function of the folder and of attributes by their keywords; `array` (I, J, K), `affine`
    (RAS+ mm), `names` (of the files, formatted with the slice), `skip` (slices) and `frames` (one
    multi-frame file) are its own.
    """
    return lambda folder, **given: write_dicom(folder, **({"array": phantom.array} | given))


OBLIQUE = np.array(
    [[-0.96, 0.05, 0.2, 20], [0.1, 1.1, -0.06, -30], [-0.2, 0.1, 1.2, -12], [0, 0, 0, 1]]
)


def oblique() -> np.ndarray:
    """Return an affine with three voxel sizes, turned about all axes."""
    turned, _ = np.linalg.qr(OBLIQUE[:3, :3])
    affine = OBLIQUE.copy()
    affine[:3, :3] = turned * np.sign(np.diag(turned)) @ np.diag([-1.0, 1.1, 1.2])
    return affine


def write_dicom(
    folder: Path,
    array: np.ndarray,
    affine: np.ndarray | None = None,
    names: str = "DOE_JANE_{:03d}.dcm",
    skip: tuple[int, ...] = (),
    **attributes: object,
) -> list[Path]:
    pydicom = pytest.importorskip("pydicom")
    pytest.importorskip("dcm2niix")
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    affine = oblique() if affine is None else affine
    folder.mkdir(parents=True, exist_ok=True)
    stored = np.round(array * 1000).astype("<u2")
    lps = np.diag([-1, -1, 1, 1]) @ affine
    size = np.linalg.norm(affine[:3, :3], axis=0)
    given = DICOM_ATTRIBUTES | attributes
    number, patient = given["SeriesNumber"], str(given["PatientID"])
    study = given.get("StudyInstanceUID") or generate_uid(entropy_srcs=[patient])
    series = generate_uid(entropy_srcs=[str(study), str(number), str(given["SeriesDescription"])])
    paths = []
    for k in (k for k in range(array.shape[2]) if k not in skip):
        found = pydicom.Dataset()
        found.file_meta = pydicom.dataset.FileMetaDataset()
        found.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        found.StudyInstanceUID, found.SeriesInstanceUID = study, series
        found.SOPInstanceUID = generate_uid(entropy_srcs=[series, str(k)])
        for keyword, value in given.items():
            setattr(found, keyword, value)
        found.file_meta.MediaStorageSOPClassUID = found.SOPClassUID
        found.file_meta.MediaStorageSOPInstanceUID = found.SOPInstanceUID
        found.InstanceNumber = k + 1
        found.Columns, found.Rows = array.shape[:2]
        found.PixelSpacing = [f"{size[1]:.8g}", f"{size[0]:.8g}"]
        found.SliceThickness = f"{size[2]:.8g}"
        rows_and_columns = [*(lps[:3, 0] / size[0]), *(lps[:3, 1] / size[1])]
        found.ImageOrientationPatient = [f"{part:.9g}" for part in rows_and_columns]
        found.ImagePositionPatient = [f"{part:.9g}" for part in (lps @ [0, 0, k, 1])[:3]]
        found.PixelData = stored[:, :, k].T.tobytes()
        paths.append(folder / names.format(k))
        found.save_as(paths[-1], enforce_file_format=True)
    return paths


DICOM_ATTRIBUTES: dict[str, object] = {
    "SOPClassUID": "1.2.840.10008.5.1.4.1.1.4", "Modality": "MR", "Manufacturer": "SIEMENS",
    "PatientName": "DOE^JANE", "PatientID": "MRN471182", "PatientBirthDate": "19700131",
    "AccessionNumber": "ACC998877", "InstitutionName": "Mercy Infirmary", "StudyDate": "20240229",
    "AcquisitionDate": "20240229", "AcquisitionTime": "101010", "SeriesNumber": 5,
    "SeriesDescription": "t1_mprage_sag", "ProtocolName": "t1_mprage_sag", "PatientPosition": "HFS",
    "ImageType": ["ORIGINAL", "PRIMARY", "M", "NORM"], "MRAcquisitionType": "3D",
    "ScanningSequence": "GR", "MagneticFieldStrength": "3", "RepetitionTime": "2300",
    "EchoTime": "2.98", "InversionTime": "900", "FlipAngle": "9", "SamplesPerPixel": 1,
    "PhotometricInterpretation": "MONOCHROME2", "BitsAllocated": 16, "BitsStored": 12,
    "HighBit": 11, "PixelRepresentation": 0,
}  # fmt: skip
PRIVATE = ("doe", "jane", "mrn471182", "471182", "19700131", "acc998877", "mercy", "20240229")


@pytest.fixture
def private_words() -> Callable[[object], set[str]]:
    """Look for what identifies Jane Doe in a text, or in names and contents of all files."""

    def of(text: str) -> set[str]:
        return {word for word in PRIVATE if word in text.casefold()}

    def search(where: object) -> set[str]:
        if not isinstance(where, Path):
            return of(str(where))
        found: set[str] = set()
        for path in where.rglob("*"):
            found |= of(path.relative_to(where).as_posix())
            if path.suffix in (".json", ".tsv", ".txt", ".html", "", ".log"):
                found |= of(path.read_text(errors="replace")) if path.is_file() else set()
            elif path.suffix == ".gz":
                found |= of(gzip.decompress(path.read_bytes())[:352].decode("latin-1"))
        return found

    return search


@pytest.fixture
def bids_errors(tmp_path: Path) -> Callable[[Path], list[dict[str, Any]]]:
    """Hold a dataset against the whole schema of BIDS; gives what the validator calls errors."""
    here = Path(sys.executable).parent
    validator = here / "bids-validator-deno"
    if not validator.exists():
        pytest.skip("bids-validator-deno is not installed")

    def errors_of(folder: Path) -> list[dict[str, Any]]:
        path = f"{here}:{os.environ['PATH']}"
        run = subprocess.run(
            [validator, "--format", "json", folder],
            env=os.environ | {"DENO_DIR": str(tmp_path / "deno"), "PATH": path},
            capture_output=True,
            text=True,
        )
        issues = json.loads(run.stdout)["issues"]["issues"]
        return [issue for issue in issues if issue["severity"] == "error"]

    return errors_of


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse connections that would leave this machine: everything needed is in the package."""
    connect = socket.socket.connect

    def connect_at_home(self: socket.socket, address: object) -> None:
        internet = self.family in (socket.AF_INET, socket.AF_INET6)
        if internet and not str(address[0]).startswith(LOOPBACK):  # type: ignore[index]
            raise AssertionError(f"a test reached for the network: {address}")
        connect(self, address)  # type: ignore[arg-type]

    monkeypatch.setattr(socket.socket, "connect", connect_at_home)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs an accelerator where there is none."""
    needy = [item for item in items if item.get_closest_marker("gpu")]
    if not needy:
        return
    from napari_mri7t.engine.devices import available_devices

    if available_devices() == ["cpu"]:
        for item in needy:
            item.add_marker(pytest.mark.skip(reason="no CUDA or MPS device here"))


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Generator[None, object, object]:
    """Let the process of a test report names that are not UTF-8, which xdist cannot send."""
    report = yield
    return _sendable(report)


def _sendable(value: object) -> object:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_sendable(key): _sendable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_sendable(item) for item in value)
    return value
