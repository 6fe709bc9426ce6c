"""`mri7t doctor`: what a bug report needs, and nothing of the person who writes it."""

import json
import os
import shutil
import socket
import subprocess
import sys

import numpy as np
import pytest
import torch

from napari_mri7t import __version__
from napari_mri7t.cli import doctor as diagnosis
from napari_mri7t.engine.models import card
from napari_mri7t.engine.models.model import load_model

MRI7T = [sys.executable, "-c", "from napari_mri7t.cli import main; main()"]


def doctor(*options, env=None, command=()):
    ran = subprocess.run(
        [*command, *MRI7T, "doctor", *options], capture_output=True, text=True, timeout=240, env=env
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.fixture
def anna(tmp_path):
    """The environment of somebody whose name must not be printed."""
    home = tmp_path / "home-of-anna"
    home.mkdir()
    names = {"HOME": str(home), "USER": "anna-karenina", "LOGNAME": "anna-karenina"}
    plain = {key: value for key, value in os.environ.items() if "DISPLAY" not in key}
    return plain | names


def test_doctor_tells_versions_devices_memory_and_the_readers_of_nifti(anna):
    facts = json.loads(doctor("--json", env=anna))
    assert facts["System"]["napari-mri7t"] == __version__
    assert facts["Libraries"]["torch"] == torch.__version__
    assert facts["Libraries"]["numpy"] == np.__version__
    assert "precision" in facts["Devices"]["cpu"]
    assert "GiB free" in facts["Devices"]["Memory"]
    assert {"napari", "napari-mri7t"} <= set(facts["napari"]["Readers of .nii.gz"].split(", "))
    assert {"PyQt6", "PySide6"} <= set(facts["napari"])


def test_doctor_names_neither_user_nor_host_nor_folder(anna, tmp_path):
    command = ()
    if shutil.which("unshare") and not subprocess.run(["unshare", "-ru", "true"]).returncode:
        command = ("unshare", "-ru", "sh", "-c", 'hostname annas-laptop; exec "$@"', "sh")
    text = doctor(env=anna, command=command)
    assert "anna" not in text
    assert str(tmp_path) not in text
    assert socket.gethostname() not in text
    assert os.sep + "home" not in text


def test_doctor_without_a_screen_says_so(anna):
    assert "no DISPLAY" in json.loads(doctor("--json", env=anna))["napari"]["OpenGL"]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is always a screen")
def test_doctor_outlives_a_qt_that_finds_no_screen(anna):
    """Qt aborts the whole process then: it is asked in another one."""
    facts = json.loads(doctor("--json", env=anna | {"DISPLAY": ":987"}))
    assert "Qt could not start" in facts["napari"]["OpenGL"]


@pytest.mark.gui
@pytest.mark.skipif(not os.environ.get("DISPLAY"), reason="needs a display")
def test_doctor_tells_qt_and_opengl():
    facts = json.loads(doctor("--json"))["napari"]
    assert facts["Qt"].split()[0].startswith("6.")
    assert facts["OpenGL"][0].isdigit()
    assert int(facts["Largest 3-D texture"]) > 0


def test_damaged_model_is_told_without_its_path(model_folder, monkeypatch):
    monkeypatch.setattr(card, "bundled_folders", lambda: [model_folder])
    monkeypatch.setattr(card, "BUNDLED", model_folder.parent)
    ((name, text),) = diagnosis.model_facts()
    assert (name, text[:13]) == ("untrained", "intact, SHA-256"[:13])
    assert load_model(model_folder).card.sha256[:12] in text
    weights = model_folder / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    ((_, text),) = diagnosis.model_facts()
    assert "differs from the card's" in text
    assert str(model_folder.parent) not in text


def test_library_that_is_missing_is_said_to_be(monkeypatch, run_cli):
    monkeypatch.setattr(diagnosis, "LIBRARIES", ["no-such-library"])
    facts = json.loads(run_cli("doctor", "--json")[1])
    assert facts["Libraries"] == {"no-such-library": "not installed"}
