"""Files are read only if they are regular, of a known and bounded size; nothing waits."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from napari_mri7t.engine import atomic, regular
from napari_mri7t.engine.atomic import read_json
from napari_mri7t.engine.errors import Mri7tError
from napari_mri7t.engine.models.card import CARD_FILE, WEIGHTS_FILE, find_model, read_card
from napari_mri7t.engine.models.model import load_model
from napari_mri7t.engine.preparation.registration import load_transform
from napari_mri7t.engine.regular import NotRegularError, open_regular, read_regular
from napari_mri7t.engine.training.checkpoint import CURRENT, load_state, read_history
from napari_mri7t.engine.training.study import open_study
from napari_mri7t.engine.volumes.digests import file_digest
from napari_mri7t.engine.volumes.volume import load_volume

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes among files here")


def pipe(path: Path) -> None:
    os.mkfifo(path)


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def local_socket(path: Path) -> None:
    home = Path.cwd()
    os.chdir(path.parent)  # the address of a socket is short
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(path.name)
    os.chdir(home)


def folder(path: Path) -> None:
    path.mkdir()


ODD = {"a pipe": pipe, "a device": endless, "a socket": local_socket, "a folder": folder}


def weights(path: Path) -> None:
    (path.parent / CARD_FILE).write_bytes((find_model("basic_cnn") / CARD_FILE).read_bytes())
    load_model(path.parent)


READERS = {
    "scan.nii": load_volume,
    "scan.nii.gz": load_volume,
    "scan.img": load_volume,
    WEIGHTS_FILE: weights,
    CARD_FILE: lambda path: read_card(path.parent),
    "study.json": lambda path: open_study(path.parent),
    CURRENT: lambda path: load_state(path.parent),
    "history.csv": read_history,
    "matrix.txt": load_transform,
    "digest": file_digest,
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("name", READERS)
def test_what_is_no_regular_file_is_named_and_not_waited_for(tmp_path, kind, name):
    ODD[kind](tmp_path / name)
    with pytest.raises(Mri7tError, match=kind) as caught:
        READERS[name](tmp_path / name)
    assert name in str(caught.value)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("kind", ODD)
def test_partner_of_a_pair_that_is_no_regular_file_is_named(tmp_path, kind):
    (tmp_path / "scan.img").write_bytes(b"x")
    ODD[kind](tmp_path / "scan.hdr")
    with pytest.raises(Mri7tError, match=rf"scan\.hdr: is {kind}"):
        load_volume(tmp_path / "scan.img")


def test_file_exchanged_for_a_pipe_while_it_is_opened_is_not_waited_for(tmp_path, monkeypatch):
    path = tmp_path / "card.json"
    os.mkfifo(path)
    (tmp_path / "before").touch()
    before = (tmp_path / "before").stat()
    monkeypatch.setattr(regular.os, "stat", lambda *_, **__: before)
    with pytest.raises(NotRegularError, match="is a pipe"):
        open_regular(path)


def test_device_is_refused_without_being_opened(monkeypatch):
    opened = []
    monkeypatch.setattr(regular.os, "open", lambda *arguments: opened.append(arguments))
    with pytest.raises(NotRegularError):
        open_regular("/dev/null")
    assert not opened


def test_size_is_known_before_a_file_is_read(tmp_path, monkeypatch):
    path = tmp_path / "huge.json"
    path.touch()
    os.truncate(path, 1 << 40)
    with pytest.raises(OSError, match="1,099,511,627,776 bytes, more than"):
        read_json(path)
    path.write_text("[1]")
    assert read_json(path) == [1]
    monkeypatch.setattr(atomic, "LARGEST_JSON", 2)
    with pytest.raises(OSError, match=r"3 bytes, more than the 2"):
        read_json(path)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux only")
def test_file_without_a_fixed_size_is_refused():
    assert stat.S_ISREG(os.stat("/proc/self/status").st_mode)
    with pytest.raises(OSError, match="no fixed size"):
        read_regular("/proc/self/status", 1 << 20)
