"""The script that the recipes for containers call, from a bare machine: every line, with real pip.

The packages are empty wheels in a local index; `.ci/run` runs the script with the real ones.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import napari_mri7t

SCRIPT = Path(napari_mri7t.__file__).resolve().parents[1] / "tools/containers/install.sh"
pytestmark = [
    pytest.mark.skipif(not SCRIPT.exists(), reason="needs the checkout"),
    pytest.mark.skipif(os.name != "posix", reason="needs sh"),
]


def add_wheel(folder, name, version, code="", **metadata):
    """Write a wheel of one module, with a command `mri7t` where it has code."""
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{name}-{version}.dist-info"
    about = {"Metadata-Version": "2.1", "Name": name, "Version": version, **metadata}
    content = {
        f"{name}.py": code,
        f"{info}/METADATA": "".join(f"{key.replace('_', '-')}: {v}\n" for key, v in about.items()),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    if code:
        content[f"{info}/entry_points.txt"] = f"[console_scripts]\nmri7t = {name}:main\n"
    content[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*content, f"{info}/RECORD"])
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as file:
        for each, text in content.items():
            file.writestr(each, text)
    links = (f'<a href="{each.name}">{each.name}</a>' for each in sorted(folder.glob("*.whl")))
    (folder / "index.html").write_text("\n".join(links))
    return path


@pytest.fixture
def place(tmp_path):
    """A folder with the script, its constraints, and an index for torch and one for the rest."""
    (tmp_path / "tools/containers").mkdir(parents=True)
    (tmp_path / "tools/containers/install.sh").write_text(SCRIPT.read_text())
    (tmp_path / "constraints.txt").write_text("torch==2.13.0\nsmall==1.0\nbids-validator-deno==3\n")
    add_wheel(tmp_path / "cpu/torch", "torch", "2.13.0", Summary="CPU")
    others = tmp_path / "others"
    for version in ("2.12.0", "2.13.0", "2.14.0"):
        add_wheel(others / "torch", "torch", version, Summary="pip")
    for version in ("1.0", "2.0"):
        add_wheel(others / "small", "small", version)
    add_wheel(others / "bids-validator-deno", "bids_validator_deno", "3")
    code = "import sys\ndef main():\n    print('mri7t', *sys.argv[1:])\n"
    needs = {"Provides_Extra": "native", "Requires_Dist": 'small; extra == "native"'}
    add_wheel(tmp_path / "dist", "napari_mri7t", "9", code, **needs)
    return tmp_path


def install(place, *arguments, **settings):
    own = {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": (place / "others").as_uri()}
    kept = {
        key: value for key, value in os.environ.items() if not key.startswith(("PIP_", "PYTHON"))
    }
    (wheel,) = (place / "dist").glob("*.whl")
    return subprocess.run(
        ["sh", place / "tools/containers/install.sh", place / "venv", wheel, *arguments],
        env=kept | own | {"PYTHON": sys.executable} | settings,
        capture_output=True,
        text=True,
    )


def installed(place):
    """Name, version and summary of what is installed there."""
    look = "import json, importlib.metadata as m; every = m.distributions()"
    look += "; print(json.dumps([dict(each.metadata) for each in every]))"
    run = subprocess.run([place / "venv/bin/python", "-c", look], capture_output=True, text=True)
    return {each["Name"]: (each["Version"], each.get("Summary")) for each in json.loads(run.stdout)}


def test_script_makes_the_environment_with_torch_of_its_index_and_the_pinned_versions(place):
    run = install(place, "native", TORCH_INDEX=(place / "cpu").as_uri())
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[-2:] == ["mri7t --version", "mri7t bids-app --version"]
    found = installed(place)
    assert found["torch"] == ("2.13.0", "CPU"), "the index that was named, not pip's"
    assert {name: version for name, (version, _) in found.items()}.items() >= {
        "napari_mri7t": "9", "small": "1.0", "bids_validator_deno": "3",
    }.items()  # fmt: skip
    (place / "cpu/torch").rename(place / "gone")
    again = install(place, "native", TORCH_INDEX=(place / "cpu").as_uri())
    assert again.returncode == 0, "an environment that has torch keeps it"


def test_script_takes_torch_from_pips_index_if_none_is_named(place):
    run = install(place, "native", TORCH_INDEX="")
    assert run.returncode == 0, run.stderr
    assert installed(place)["torch"] == ("2.13.0", "pip")


def test_script_takes_torch_for_cpus_by_default(place):
    """pip is told the address; nothing is reached, as a test has no network."""
    nowhere = {"HTTPS_PROXY": "http://127.0.0.1:9", "PIP_RETRIES": "0", "PIP_VERBOSE": "3"}
    run = install(place, "native", **nowhere)
    assert run.returncode != 0
    assert "https://download.pytorch.org/whl/cpu/torch/" in run.stdout + run.stderr
    assert not (place / "venv/bin/mri7t").exists(), "a failure ends it"
