"""Whatever the command line writes: the same twice, bit for bit; whole or not at all; marked.

One table of commands and a fresh folder for each. A step on the disk is an opening for writing, a
folder made, a name given: Python's own audit events tell of every one of them, ours or a library's.
"""

from __future__ import annotations

import errno
import itertools
import json
import os
import re
import resource
import shutil
import sys
import threading
import time
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

import napari_mri7t
from napari_mri7t.engine.volumes.files.writing import BRIEF_NOTICE
from napari_mri7t.engine.volumes.provenance import NOTICE

UNET = (
    "--network", "slice_unet", "--preset", "report", "--set-network", "widths=[8,8]",
    "--set-network", "n_blocks=1", "--set-network", "n_slices=3",
)  # fmt: skip
TINY = (
    "n_steps=2", "batch_size=1", "patch_size=16", "warmup_steps=0", "checkpoint_steps=1",
    "end_slices=0", "inference.end_slices=0", "precision=float32",
)  # fmt: skip
TRAIN = (*UNET, "--device", "cpu", *(word for setting in TINY for word in ("--set", setting)))
MODEL = ("--model", "{tiny}", "--device", "cpu")
SYNTHESIZE = ("synthesize", "{scan}", "{out}/e.nii.gz", *MODEL)
COMMANDS = {
    "synthesize": SYNTHESIZE,
    "keep": (
        *SYNTHESIZE, "--prepare", "none", "--mask", "{mask}", "--keep", "{out}/kept",
    ),
    "batch": ("batch", "{dataset}", "{out}/derivative", *MODEL),
    "simulate": ("simulate", "{scan}", "{out}/3T.nii", "--target-out", "{out}/7T.nii.gz"),
    "repeat": (
        "repeat", "{made}/e.json", "--input", "{scan}", "--model", "{tiny}",
        "--output", "{out}/again.nii.gz",
    ),
    "train": ("train", "{dataset}", "{out}/run", *TRAIN, "--folds", "0"),
    "export": ("export", "{run}", "{out}/model", "--fold", "0"),
    "evaluate": ("evaluate", "{out}/run"),
    "report": ("report", "{out}/run"),
    "robustness": ("robustness", "{small}", *MODEL, "--records", "{out}/records"),
    "demo": ("demo", "--no-gui", "--output", "{out}/demo"),
}  # fmt: skip
SHAPE = (24, 32, 16)


def blob(power: float, n: int = 1) -> np.ndarray:
    """A brain of a kind: bright inside, darker folds, background exactly 0."""
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, size * n) for size in SHAPE), indexing="ij")
    radius = np.sqrt(x**2 + y**2 + z**2)
    inside = 0.55 + 0.4 * np.cos(9 * power * x) * np.cos(8 * y) * np.cos(7 * z)
    return (255 * np.where(radius < 0.9, inside, 0) ** power).astype(np.uint8)


def save(path: Path, array: np.ndarray) -> Path:
    path.parent.mkdir(exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), path)
    return path


@pytest.fixture(scope="module")
def inputs(tmp_path_factory, tiny_model) -> dict[str, Path]:
    """What the commands read; nothing of it is ever written to."""
    folder = tmp_path_factory.mktemp("inputs")
    for name, power in (("sub-A", 1.0), ("sub-B", 1.3), ("sub-C", 0.8)):
        save(folder / "dataset" / f"{name}.nii.gz", blob(power))
    scan = save(folder / "scan.nii.gz", blob(1.1))
    mask = save(folder / "mask.nii.gz", (blob(1.1) > 0).astype(np.uint8))
    places = {"dataset": folder / "dataset", "scan": scan, "mask": mask, "tiny": tiny_model}
    return places | {"run": folder / "run", "made": folder / "made", "small": scan}


@pytest.fixture
def command(run_cli, inputs, tmp_path, monkeypatch):
    """Run one of `COMMANDS` with its output in a folder of its own, made anew.

    The clock by which tables tell how long a method took counts its readings: measured times are
    the one thing that two runs do not share.
    """
    readings = itertools.count()
    monkeypatch.setattr(time, "perf_counter", lambda: next(readings) / 1024)

    def run(name: str, folder: Path, *more: str, ready=bool) -> tuple[int, str, str]:
        folder.mkdir(exist_ok=True)
        if "{out}/run" in COMMANDS[name] and name != "train" and not (folder / "run").exists():
            shutil.copytree(trained(), folder / "run")
        words = [word.format(out=folder, **inputs) for word in COMMANDS[name]]
        ready()
        return run_cli(*words, *more)

    def trained() -> Path:
        if not inputs["run"].exists():
            words = [word.format(out=inputs["run"].parent, **inputs) for word in COMMANDS["train"]]
            assert run_cli(*words)[0] == 0
        return inputs["run"]

    if not inputs["made"].exists():
        inputs["made"].mkdir()
        words = [word.format(out=inputs["made"], **inputs) for word in COMMANDS["synthesize"]]
        assert run_cli(*words)[0] == 0
    trained()
    return run


def tree(folder: Path) -> dict[str, bytes]:
    """Every file by its path."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


SLOW = ("keep", "evaluate", "report", "robustness", "demo")
QUICK_FIRST = [
    pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in COMMANDS
]


@pytest.mark.parametrize("name", QUICK_FIRST)
def test_command_run_twice_writes_the_same_bits(command, tmp_path, name):
    first, second = (written(command, name, tmp_path / folder) for folder in "ab")
    assert first
    assert first.keys() == second.keys()
    assert [path for path in first if first[path] != second[path]] == []


def written(command, name: str, folder: Path, ready=bool) -> dict[str, bytes]:
    code, _, error = command(name, folder, ready=ready)
    assert code == 0, error
    return tree(folder)


class Disk:
    """Counts a command's steps on the disk below a folder, and refuses one of them."""

    EVENTS = ("os.mkdir", "os.rename", "os.link")
    WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT

    def __init__(self) -> None:
        self.folder, self.count, self.refused, self.code = "", 0, 0, errno.EIO
        self.lock = threading.Lock()
        sys.addaudithook(self.watch)

    def watch(self, event: str, facts: tuple) -> None:
        if not self.folder or (event != "open" and event not in self.EVENTS):
            return
        if event == "open" and not (facts[2] or 0) & self.WRITING:
            return
        path = facts[1] if event in ("os.rename", "os.link") else facts[0]
        if not isinstance(path, str | os.PathLike) or not os.fspath(path).startswith(self.folder):
            return
        with self.lock:
            self.count += 1
            if self.count == self.refused:
                raise OSError(self.code, os.strerror(self.code), os.fspath(path))

    def refuse(self, folder: Path, step: int, code: int = errno.EIO) -> None:
        self.folder, self.count, self.refused, self.code = str(folder), 0, step, code


@pytest.fixture(scope="module")
def disk() -> Disk:
    return Disk()  # an audit hook stays for good: one is enough


CODES = (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EIO)
# An image may be there, whole, when what comes after it fails.
AGAIN = dict.fromkeys(("synthesize", "keep", "simulate", "repeat", "export"), ("--overwrite",))
# Of a second run they tell what was done before, and of any how long it took; a figure that cannot
# be drawn costs a warning, not the estimate.
TIMED = re.compile(r"derivative/(logs/batch\.json|quality\.html|.*/figures/[^/]+)")


def tried(slow: int, batch: int, quick: int) -> list[Any]:
    """Return commands, and how many moments are tried of each, evenly apart."""
    some = {"batch": batch, **dict.fromkeys(SLOW, slow)}
    every = pytest.param("batch", quick, marks=pytest.mark.slow, id="batch-more")
    return [
        *(
            pytest.param(
                name,
                some.get(name, quick),
                marks=[pytest.mark.slow] if name in SLOW else [],
                id=name,
            )
            for name in COMMANDS
        ),
        every,
    ]


@pytest.mark.parametrize(("name", "most"), tried(slow=6, batch=5, quick=40))
def test_error_at_every_step_on_the_disk_leaves_all_or_nothing(command, disk, tmp_path, name, most):
    whole = written(command, name, tmp_path / "whole", lambda: disk.refuse(tmp_path / "whole", 0))
    n_steps = disk.count
    assert n_steps >= 2
    for step in sorted({round(n) for n in np.linspace(1, n_steps, min(n_steps, most))}):
        folder, code = tmp_path / f"{step}", CODES[step % len(CODES)]
        ended = command(name, folder, ready=lambda: disk.refuse(folder, step, code))  # noqa: B023
        disk.folder = ""
        assert disk.count >= step
        if ended[0]:
            assert_told_in_words(ended, folder, os.strerror(code))
            assert_all_or_nothing(folder, whole)
            ended = command(name, folder, *AGAIN.get(name, ()))
        assert ended[0] == 0, ended  # the step had another way, or the second run went on
        found = tree(folder)
        differing = [path for path in whole if found.get(path) != whole[path]]
        assert all(map(TIMED.fullmatch, differing)), differing
        shutil.rmtree(folder)


def assert_told_in_words(ended: tuple[int, str, str], folder: Path, reason: str) -> None:
    code, _, error = ended
    assert code == 1, error
    assert "Traceback" not in error
    last = error.splitlines()[-1]
    assert str(folder) in last
    assert reason in last


STATE = ("state.", "history.csv", "lock", "batch.json", "quality.html")
FIGURES = "_quality.json"  # with seconds  # differ between moments of one run


def assert_all_or_nothing(folder: Path, whole: dict[str, bytes]) -> None:
    found = tree(folder)
    assert [path for path in found if ".mri7t-" in path] == [], "a temporary is left"
    assert found.keys() <= whole.keys()
    settled = [p for p in found if not Path(p).name.startswith(STATE) and not p.endswith(FIGURES)]
    assert [path for path in settled if found[path] != whole[path]] == [], "half-written"
    images = [path for path in found if re.search(r"\.nii(\.gz)?$", path)]
    for path in images:
        beside = re.sub(r"\.nii(\.gz)?$", ".json", path)
        assert beside in found or beside not in whole, "an image without its sidecar"


@pytest.mark.parametrize("n_bytes", [0, 700])
@pytest.mark.parametrize("name", QUICK_FIRST)
def test_disk_that_takes_no_more_bytes_leaves_all_or_nothing(command, tmp_path, name, n_bytes):
    """The system itself refuses to write on, in the middle of a file."""
    whole = written(command, name, tmp_path / "whole")
    folder = tmp_path / "full"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def lower() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, limits[1]))

    try:
        ended = command(name, folder, ready=lower)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert_told_in_words(ended, folder, "File too large")
    assert_all_or_nothing(folder, whole)


@pytest.mark.parametrize("name", QUICK_FIRST)
def test_everything_written_says_that_it_is_synthetic(command, tmp_path, name):
    code, out, error = command(name, tmp_path / "out")
    assert code == 0, error
    if name not in ("export", "evaluate", "robustness"):  # these write no image and no page
        assert NOTICE in out
    for image in (tmp_path / "out").rglob("*.nii*"):
        facts = image.with_name(re.sub(r"\.nii(\.gz)?$", ".json", image.name))
        if image.parent.name != "kept":  # there lie the user's own scan and what was found in it
            assert json.loads(facts.read_text())["Notice"] == NOTICE
            assert nibabel.load(image).header["descrip"] == BRIEF_NOTICE.encode()
    for page in (tmp_path / "out").rglob("*.html"):
        assert NOTICE in page.read_text()
    for card in (tmp_path / "out").rglob("card.json"):
        assert "diagnosis" in json.loads(card.read_text())["not_for"].lower()


@pytest.mark.parametrize("page", ["README.md", "docs/index.md"])
def test_page_says_that_images_are_synthetic(page):
    path = Path(__file__).parents[2] / page
    if not path.exists():
        pytest.skip("needs the checkout")
    text = path.read_text(encoding="utf-8").lower()
    for words in ("synthetic image", "add or remove lesions", "research", "not for diagnosis"):
        assert words in text


class Memory:
    """Counts the engine's calls, and lets one of them find no memory."""

    PACKAGE = str(Path(napari_mri7t.__file__).parent / "engine")
    PROGRESS = str(Path(napari_mri7t.__file__).parent / "engine/progress.py")
    POLLS = ("report", "settle", "shown")  # as many as a wait lasts: on the machine's speed
    CLEARING = ("_remove", "_put_back", "_release", "remove_leftovers", "__exit__", "close")

    def __init__(self) -> None:
        self.count, self.refused = 0, 0
        self.lock = threading.Lock()

    def watch(self, frame, event: str, _: object) -> None:
        code = frame.f_code
        if event != "call" or not code.co_filename.startswith(self.PACKAGE):
            return
        if code.co_name in self.POLLS or code.co_filename == self.PROGRESS:
            return
        if code.co_name in self.CLEARING or code.co_name.startswith("<"):  # <genexpr>: its end too
            return
        with self.lock:
            self.count += 1
            if self.count == self.refused:
                raise MemoryError

    def refuse(self, call: int) -> None:
        self.count, self.refused = 0, call
        threading.setprofile(self.watch)
        sys.setprofile(self.watch)

    def release(self) -> None:
        sys.setprofile(None)
        threading.setprofile(None)


@pytest.fixture
def memory():
    made = Memory()
    yield made
    made.release()


@pytest.mark.parametrize(("name", "most"), tried(slow=12, batch=3, quick=12))
def test_fault_30_lack_of_memory_at_any_stage_is_a_sentence(command, memory, tmp_path, name, most):
    written(command, name, tmp_path / "first")  # what is imported late is there by now
    whole = written(command, name, tmp_path / "whole", lambda: memory.refuse(0))
    memory.release()
    n_calls = memory.count
    calls = sorted({round(n) for n in np.linspace(1, n_calls - 1, most)})
    n_refused = 0  # the last call may be one that a faster run does without
    for call in calls:
        folder = tmp_path / f"{call}"
        code, _, error = command(name, folder, ready=lambda: memory.refuse(call))  # noqa: B023
        memory.release()
        n_refused += memory.count >= call
        assert memory.count >= call or not code
        if code:
            assert "Traceback" not in error, (call, error)
            assert "memory" in error.splitlines()[-1], (call, error)
            assert_all_or_nothing(folder, whole)
            again = command(name, folder, *AGAIN.get(name, ()))
            assert again[0] == 0, (call, again)
        found = tree(folder)
        differing = [path for path in whole if found.get(path) != whole[path]]
        if code == 0:  # survived with a smaller batch, of which the sidecar tells
            differing = [path for path in differing if not path.endswith(".json")]
        assert all(map(TIMED.fullmatch, differing)), (call, differing)
        shutil.rmtree(folder)
    assert n_refused >= len(calls) - 1
