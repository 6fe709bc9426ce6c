"""What the installed distribution promises: manifest, command, bundled models, pinned versions."""

import ast
import re
import sys
import tomllib
from importlib.metadata import distribution, entry_points
from importlib.resources import files
from pathlib import Path

import pytest
from npe2 import PluginManifest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import napari_mri7t

ROOT = Path(napari_mri7t.__file__).resolve().parent.parent
in_checkout = pytest.mark.skipif(
    not (ROOT / "pyproject.toml").exists(), reason="needs the checkout"
)


def settings() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def pins() -> dict[str, Version]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): Version(version) for name, version in pairs}


def test_version_of_the_distribution_is_that_of_the_package():
    assert distribution("napari-mri7t").version == napari_mri7t.__version__


def test_manifest_is_found_where_napari_looks():
    (entry,) = entry_points(group="napari.manifest", name="napari-mri7t")
    assert entry.value == "napari_mri7t:napari.yaml"
    assert files("napari_mri7t").joinpath("napari.yaml").is_file()


def test_every_python_name_of_the_manifest_can_be_imported():
    manifest = PluginManifest.from_distribution("napari-mri7t")
    manifest.validate_imports()
    used = {
        contribution.command
        for group in ("readers", "writers", "widgets", "sample_data")
        for contribution in getattr(manifest.contributions, group) or ()
    }
    assert used == {command.id for command in manifest.contributions.commands}


def test_command_is_installed():
    (entry,) = entry_points(group="console_scripts", name="mri7t")
    assert entry.value == "napari_mri7t.cli:main"


@in_checkout
def test_manifest_of_the_package_is_the_one_at_the_top():
    inside = ROOT / "napari_mri7t" / "napari.yaml"
    assert inside.resolve() == ROOT / "napari.yaml"


@in_checkout
def test_every_direct_dependency_is_pinned_to_a_version_it_admits():
    project = settings()["project"]
    extras = project["optional-dependencies"].values()
    wanted = [*project["dependencies"], *(line for lines in extras for line in lines)]
    for requirement in map(Requirement, wanted):
        name = canonicalize_name(requirement.name)
        if name != "napari-mri7t":
            assert name in pins(), f"{name} is not in constraints.txt"
            assert requirement.specifier.contains(pins()[name]), f"{requirement}: {pins()[name]}"


@in_checkout
def test_every_installed_dependency_is_pinned():
    """Follow what the distribution requires; each package met must be in constraints.txt."""
    seen, waiting = set(), [Requirement(line) for line in distribution("napari-mri7t").requires]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        extras = {"", "all", "test", "docs", *requirement.extras}
        marker = requirement.marker
        if name in seen or (marker and not any(marker.evaluate({"extra": x}) for x in extras)):
            continue
        seen.add(name)
        try:
            waiting += map(Requirement, distribution(name).requires or [])
        except ModuleNotFoundError:
            continue  # an optional one that is not installed
    seen -= {"napari-mri7t", "pip", "setuptools"}
    unpinned = {
        n for n in seen if n not in pins() and not n.startswith(("nvidia-", "triton", "cuda-"))
    }
    assert "numpy" in seen
    assert not {name for name in unpinned if _is_installed(name)}


def _is_installed(name: str) -> bool:
    try:
        return bool(distribution(name))
    except ModuleNotFoundError:
        return False


@in_checkout
def test_every_library_imported_is_a_declared_dependency():
    """A library that only happens to be there with another is not there for ever."""
    modules = {
        "pillow": "PIL",
        "pywavelets": "pywt",
        "scikit-image": "skimage",
        "dask-jobqueue": "dask_jobqueue",
        "lazy-loader": "lazy_loader",
        "PyOpenGL": "OpenGL",
    }
    project = settings()["project"]
    extras = project["optional-dependencies"]
    optional = extras["cluster"] + extras["dicom"] + extras["native"]
    declared = {Requirement(line).name for line in [*project["dependencies"], *optional]}
    allowed = {modules.get(name, name).lower() for name in declared} | {"napari_mri7t"}
    for path in sorted((ROOT / "napari_mri7t").rglob("*.py")):
        used = {name for name in top_level_imports(path) if name not in sys.stdlib_module_names}
        assert {name.lower() for name in used} <= allowed, f"{path}: {used}"


def top_level_imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


@in_checkout
def test_no_dependency_brings_a_qt_binding_by_itself():
    names = {re.split(r"[^\w-]", line)[0].lower() for line in settings()["project"]["dependencies"]}
    assert names.isdisjoint({"pyqt5", "pyqt6", "pyside2", "pyside6"})


@in_checkout
def test_citation_gives_the_version_of_the_package():
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {napari_mri7t.__version__}\n" in text
