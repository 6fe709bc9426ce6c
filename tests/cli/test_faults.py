"""Faults and bad input over the command line: one sentence, exit code 1, nothing half-written.

The numbers are those of docs/faults.md, which is made from these names.
"""

import gzip
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import threading

import nibabel
import numpy as np
import pytest
import rich.console
import rich.progress
import torch
from filelock import FileLock
from nibabel.nifti1 import header_dtype
from rich.console import Console

from napari_mri7t import cli
from napari_mri7t.cli import console
from napari_mri7t.cli.console import progress_bar, sentences_for_errors
from napari_mri7t.engine.errors import Mri7tError
from napari_mri7t.engine.networks.unet import SliceUNet
from napari_mri7t.engine.preparation import optional
from napari_mri7t.engine.progress import Progress
from napari_mri7t.engine.training.study import LOCK_FILE
from napari_mri7t.engine.volumes.template import load_template
from napari_mri7t.engine.volumes.volume import Volume, load_volume, save_volume

MRI7T = [sys.executable, "-c", "from napari_mri7t.cli import main; main()"]
TINY = ("n_steps=1", "batch_size=1", "patch_size=16", "warmup_steps=0")


def nifti(array=None, **fields):
    """A NIfTI-1 file in memory; fields are set in its raw bytes, so any nonsense can be."""
    values = np.arange(5 * 6 * 7, dtype=np.int16).reshape(5, 6, 7) if array is None else array
    image = nibabel.Nifti1Image(values, np.diag([1, 1, 1.5, 1.0]))
    image.set_qform(image.affine, 1)
    image.set_sform(image.affine, 1)
    data = bytearray(image.to_bytes())
    header = np.frombuffer(data, header_dtype, count=1)
    for name, value in fields.items():
        header[name] = value
    return bytes(data)


def packed(data):
    return gzip.compress(data, mtime=0)


def flipped(data):
    """One bit in the middle of the compressed voxels."""
    spoilt = bytearray(data)
    spoilt[len(spoilt) // 2] ^= 16
    return bytes(spoilt)


def noise(shape):
    return np.random.default_rng(0).normal(100, 9, shape).astype(np.float32)


REFUSED = {
    "01": ("a.nii", b""),
    "02": ("a.nii", nifti()[:-50]),
    "03": ("a.nii.gz", packed(nifti())[:-20]),
    "04": ("a.nii.gz", flipped(packed(nifti(noise((9, 9, 9)))))),
    "05": ("a.nii.gz", nifti()),
    "06": ("a.nii", b"<!DOCTYPE html><html><body>404 not found</body></html>" * 20),
    "07": ("a.nii.gz", packed(nifti(dim=[3, 1200, 1200, 1200, 1, 1, 1, 1]))),
    "08": ("a.nii", nifti(dim=[3, 5, 0, 7, 1, 1, 1, 1])),
    "09": ("a.nii.gz", packed(nifti()) + packed(bytes(1 << 26)) * 20),
    "10": ("a.nii", nifti(noise((5, 6, 7)).astype(np.complex64))),
    "12": ("a.nii", nifti(noise((5, 6, 7, 3)))),
    "13": ("a.nii", nifti(noise((5, 6)))),
    "14": ("a.nii", nifti(srow_x=[np.nan, 0, 0, 0])),
    "15": ("a.nii", nifti(pixdim=[1, 0, 2, 3, 0, 0, 0, 0])),
    "16": ("a.nii", nifti(np.full((5, 6, 7), 3, np.int16))),
}


@pytest.mark.parametrize("number", [pytest.param(n, id=f"fault_{n}") for n in REFUSED])
def test_file_that_cannot_be_read_ends_in_one_sentence(run_cli, tiny_model, tmp_path, number):
    name, content = REFUSED[number]
    path = tmp_path / name
    path.write_bytes(content)
    result = run_cli("synthesize", path, tmp_path / "out.nii.gz", "--model", tiny_model)
    text = sentence_of(result, path)
    assert ": " in text.removeprefix(f"{path}: "), "says what to do"
    assert os.listdir(tmp_path) == [name]


def sentence_of(result, path):
    code, out, error = result
    assert (code, out) == (1, "")
    assert error.count("\n") == 1
    assert error.startswith(f"{path}: "), error
    return error


def brainlike(fields, phantom, **changes):
    """The phantom as int16 with header fields of one's choice."""
    return nifti((phantom.array * 1000).astype(np.int16), **fields, **changes)


WARNED = {
    "11": {},
    "22": {"qoffset_x": 40},
    "23": {"sform_code": 0, "qform_code": 0},
    "24": {"srow_x": [1, 0.4, 0, 0], "srow_y": [0, 1, 0, 0], "srow_z": [0, 0, 1, 0]},
    "25": {"scl_slope": 0, "scl_inter": np.nan},
}


@pytest.mark.parametrize("number", [pytest.param(n, id=f"fault_{n}") for n in WARNED])
def test_odd_header_is_a_warning_on_stderr_and_in_the_sidecar(
    run_cli, phantom, tiny_model, tmp_path, number
):
    data = bytearray(nifti((phantom.array * 1000).astype(np.int16), **WARNED[number]))
    if number == "11":
        data[348] = 1  # extensions are to follow, and none does
    (tmp_path / "a.nii").write_bytes(data)
    output = tmp_path / "out.nii"
    code, _, error = run_cli("synthesize", tmp_path / "a.nii", output, "--model", tiny_model)
    assert code == 0
    assert output.exists()
    noted = load_volume(tmp_path / "a.nii").warnings
    assert noted
    recorded = json.loads((tmp_path / "out.json").read_text())["Warnings"]
    for sentence in noted:
        assert f"warning: {sentence}" in error
        assert sentence in recorded


def test_fault_26_float_is_written_whatever_the_input_was(run_cli, phantom, tmp_path):
    (tmp_path / "a.nii").write_bytes(nifti((phantom.array * 200).astype(np.uint8)))
    assert run_cli("simulate", tmp_path / "a.nii", tmp_path / "o.nii")[0] == 0
    image = nibabel.load(tmp_path / "o.nii")
    assert image.get_data_dtype() == np.float32
    assert len(np.unique(np.asarray(image.dataobj))) > 100


def test_fault_27_scan_unlike_the_training_data_warns(run_cli, phantom_file, tiny_model, tmp_path):
    _, _, error = run_cli("synthesize", phantom_file, tmp_path / "e.nii", "--model", tiny_model)
    assert "litres" in error
    assert "litres" in json.loads((tmp_path / "e.json").read_text())["Warnings"][-1]


def test_fault_28_some_nan_voxels_are_background(run_cli, phantom, tiny_model, tmp_path):
    array = phantom.array.copy()
    array[:2] = np.nan
    (tmp_path / "a.nii").write_bytes(nifti(array))
    code, _, error = run_cli(
        "synthesize", tmp_path / "a.nii", tmp_path / "o.nii", "--model", tiny_model
    )
    assert code == 0
    assert "NaN" in error
    assert np.isfinite(load_volume(tmp_path / "o.nii").array).all()


def test_fault_30_lack_of_memory_is_a_sentence_and_no_file(
    run_cli, phantom_file, tiny_model, tmp_path, monkeypatch
):
    def greedy(*_):
        raise torch.OutOfMemoryError("tried to allocate 80 GiB")

    monkeypatch.setattr(SliceUNet, "forward", greedy)
    code, out, error = run_cli(
        "synthesize", phantom_file, tmp_path / "o.nii", "--model", tiny_model, "--device", "cpu"
    )
    assert (code, out) == (1, "")
    assert error.startswith("warning: ") or "out of memory" in error
    assert "out of memory on the CPU" in error
    assert os.listdir(tmp_path) == [phantom_file.name]


def test_fault_32_full_disk_ends_in_one_sentence(phantom_file, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    small_disk(f"mount -t tmpfs -o size=16k none {disk}")
    ran = in_namespace(
        f"mount -t tmpfs -o size=16k none {disk}", "simulate", phantom_file, disk / "o.nii"
    )
    assert ran.returncode == 1
    assert ran.stderr.startswith(f"{disk}/o")
    assert "No space left on device: free some space" in ran.stderr
    assert ran.stderr.count("\n") == 1
    assert ran.stdout == "LEFT\n"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_fault_32_printed_lines_on_a_full_disk_say_what_was_written(phantom_file, tmp_path):
    output = tmp_path / "o.nii"
    with open("/dev/full", "wb") as full:
        ran = subprocess.run(
            [*MRI7T, "simulate", phantom_file, output],
            stdout=full, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
    assert ran.returncode == 1
    (line,) = ran.stderr.splitlines()
    assert line.startswith("standard output: cannot be written to (No space left on device)")
    assert f"it lacks: {output}" in line
    assert output.exists()


def test_fault_33_read_only_folder_ends_in_one_sentence(phantom_file, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = f"mount -t tmpfs none {disk} && mount -o remount,ro {disk}"
    small_disk(mount)
    ran = in_namespace(mount, "simulate", phantom_file, disk / "o.nii")
    assert ran.returncode == 1
    assert "Read-only file system: choose a folder that can be written to" in ran.stderr
    assert ran.stderr.count("\n") == 1
    assert ran.stdout == "LEFT\n"


def small_disk(mount):
    if not shutil.which("unshare"):
        pytest.skip("no unshare here")
    if subprocess.run(["unshare", "-rm", "sh", "-c", mount], capture_output=True).returncode:
        pytest.skip("mounting is not permitted here")


def in_namespace(mount, *arguments):
    """Run `mri7t` where the disk is mounted, and list what it has left there."""
    disk = arguments[-1].parent
    script = f'{mount} && "$@"; code=$?; echo LEFT $(ls -A {disk}); exit $code'
    return subprocess.run(
        ["unshare", "-rm", "sh", "-c", script, "sh", *MRI7T, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=240,
    )


@pytest.mark.parametrize("kind", ["itself", "symbolic link", "hard link", "other spelling"])
def test_fault_34_output_that_is_the_input_is_refused_then_replaced_whole(
    run_cli, phantom_file, tiny_model, tmp_path, kind
):
    output = phantom_file
    if kind == "symbolic link":
        output = tmp_path / "link.nii.gz"
        output.symlink_to(phantom_file)
    elif kind == "hard link":
        output = tmp_path / "link.nii.gz"
        output.hardlink_to(phantom_file)
    elif kind == "other spelling":
        (tmp_path / "sub").mkdir()
        output = tmp_path / "sub" / ".." / phantom_file.name
    before = phantom_file.read_bytes()
    options = ("synthesize", phantom_file, output, "--model", tiny_model)
    sentence_of(run_cli(*options), output)
    assert phantom_file.read_bytes() == before
    assert run_cli(*options, "--overwrite")[0] == 0
    made = load_volume(output)
    assert made.shape == (40, 48, 32)
    if kind == "symbolic link":
        assert output.is_symlink()
    if kind == "hard link":  # the name is the new file's, the input keeps its content
        assert phantom_file.read_bytes() == before
    else:
        assert phantom_file.read_bytes() != before
    left = {name for name in os.listdir(tmp_path) if name.startswith(".mri7t-")}
    assert not left


@pytest.mark.parametrize(
    "name",
    [
        "mon cerveau",
        "脳の画像",
        "Gehirn für Jörg",
        "мозг",
        "e\u0301 against é",
        "a" * 240,
        "🧠 '\"$&;",
    ],
)
def test_fault_37_any_name_is_read_and_written(run_cli, phantom_file, tiny_model, tmp_path, name):
    folder = tmp_path / "ein Ordner – フォルダ"
    folder.mkdir()
    source = folder / f"{name}.nii.gz"
    shutil.copy(phantom_file, source)
    output = folder / f"{name[:235]} 7T.nii"
    assert run_cli("synthesize", source, output, "--model", tiny_model)[0] == 0
    sidecar = json.loads(output.with_suffix(".json").read_text(encoding="utf-8"))
    assert sidecar["Sources"][0]["File"] == source.name
    assert load_volume(output).shape == (40, 48, 32)


def test_fault_37_path_of_4000_bytes_is_refused_or_written_whole(run_cli, phantom_file, tmp_path):
    deep = tmp_path
    while len(os.fsencode(deep)) < 3700:
        deep = deep / ("long" * 50)
    os.makedirs(deep)
    assert run_cli("simulate", phantom_file, deep / "a.nii.gz")[0] == 0
    assert load_volume(deep / "a.nii.gz").shape == (40, 48, 32)
    too_long = deep / ("b" * 250 + ".nii") / ("c" * 200 + ".nii")
    code, out, error = run_cli("simulate", phantom_file, too_long)
    assert (code, out) == (1, "")
    assert error.count("\n") == 1


OFFLINE = """
import sys
opened = []
sys.addaudithook(
    lambda event, arguments: opened.append(event) if event.startswith("socket.") else None
)
from napari_mri7t.cli import main
try:
    main()
except SystemExit as end:
    if end.code:
        raise
assert not opened, f"sockets: {sorted(set(opened))}"
"""


def offline(*arguments, before="import urllib3"):
    """Run `mri7t` where there is no network, and count the sockets that it opens anyway.

    urllib3, which nilearn and pydicom import, binds a port of its own machine to see if there is
    IPv6: it is imported before.
    """
    alone = ["unshare", "-rn"] if shutil.which("unshare") else []
    if alone and subprocess.run([*alone, "true"], capture_output=True).returncode:
        alone = []  # not permitted: then the count of sockets alone must do
    return subprocess.run(
        [*alone, sys.executable, "-c", f"{before}\n{OFFLINE}", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=240,
    )


def test_fault_38_synthesis_needs_no_network(phantom_file, tiny_model, tmp_path):
    output = tmp_path / "o.nii.gz"
    ran = offline("synthesize", phantom_file, output, "--model", tiny_model, "--device", "cpu")
    assert ran.returncode == 0, ran.stderr
    assert output.exists()


@pytest.mark.slow
def test_fault_38_preparation_needs_no_network(tiny_model, tmp_path):
    """Every step on a real brain: deepbet's weights and the template are in their wheels."""
    pytest.importorskip("deepbet")
    pytest.importorskip("SimpleITK")
    template = load_template()
    affine = template.affine @ np.diag([2.0, 2, 2, 1])
    scan = Volume(template.array[::2, ::2, ::2], affine)
    source = save_volume(scan, tmp_path / "brain.nii.gz")
    options = ("--model", tiny_model, "--device", "cpu", "--prepare", "full")
    ran = offline("synthesize", source, tmp_path / "o.nii.gz", *options)
    assert ran.returncode == 0, ran.stderr
    facts = json.loads((tmp_path / "o.json").read_text())["Settings"]["preparation"]
    assert facts["brain_extraction"] == "deepbet"
    assert facts["registration"].startswith("rigid")
    assert facts["registration_score"] > 0.9
    assert 0.7 < facts["brain_litres"] / (8e-6 * (scan.array > 0).sum()) < 1.1


def train(dataset, run, *options):
    whole = ("end_slices=0", "inference.end_slices=0")  # the volumes have few slices
    settings = [word for setting in (*TINY, *whole) for word in ("--set", setting)]
    network = ("--network", "basic_cnn", "--preset", "report", "--device", "cpu")
    return ("train", dataset, run, *network, "--folds", "0", *settings, *options)


def test_fault_38_training_needs_no_network(dataset, tmp_path):
    ran = offline(*train(dataset, tmp_path / "run"))
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "run" / "fold-00" / "card.json").exists()


def test_fault_17_nan_in_training_data_ends_in_one_sentence(run_cli, dataset, tmp_path):
    array = np.random.default_rng(0).random((24, 32, 16), np.float32)
    array[3, 3, 3] = np.nan
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), dataset / "sub-B.nii.gz")
    code, _, error = run_cli(*train(dataset, tmp_path / "run"))
    assert code == 1
    assert "sub-B" in error
    assert "NaN" in error


def test_fault_18_pair_on_two_grids_is_to_be_registered(run_cli, phantom, tmp_path):
    for name in ("sub-A", "sub-B"):
        for kind, shift in (("3T", 0.0), ("7T", 2.0 if name == "sub-B" else 0.0)):
            affine = phantom.affine + shift * np.eye(4, k=3)
            image = nibabel.Nifti1Image(phantom.array, affine)
            nibabel.save(image, tmp_path / f"{name}_{kind}.nii.gz")
    code, _, error = run_cli(*train(tmp_path, tmp_path / "run"))
    assert code == 1
    assert "sub-B" in error
    assert "register" in error


def test_fault_19_subject_that_stands_twice_is_refused(run_cli, dataset, tmp_path):
    shutil.copy(dataset / "sub-B.nii.gz", dataset / "sub-B_7T.nii.gz")
    image = nibabel.load(dataset / "sub-B.nii.gz")
    nibabel.save(image, dataset / "sub-B_7T.nii")
    code, _, error = run_cli(*train(dataset, tmp_path / "run"))
    assert code == 1
    assert "sub-B" in error
    assert not (tmp_path / "run").exists()


def test_fault_21_run_folder_of_other_settings_is_refused(run_cli, dataset, tmp_path):
    settings = train(dataset, tmp_path / "run")
    assert run_cli(*settings, "--folds", "none")[0] == 0
    code, out, error = run_cli(*settings, "--set", "n_steps=2", "--folds", "none")
    assert (code, out) == (1, "")
    assert "n_steps 1 -> 2; use another folder" in error


def test_fault_39_second_run_on_one_folder_ends_in_one_sentence(run_cli, dataset, tmp_path):
    fold = tmp_path / "run" / "fold-00"
    fold.mkdir(parents=True)
    with FileLock(fold / LOCK_FILE):
        code, _, error = run_cli(*train(dataset, tmp_path / "run"))
    assert code == 1
    assert error.startswith(f"{fold}: another process is training this fold")


def test_fault_37_name_that_looks_like_markup_is_shown_as_it_is(monkeypatch):
    """On a terminal rich would read [/red] as the end of a colour, and fail."""
    screen = io.StringIO()
    monkeypatch.setattr(
        rich.console, "Console", lambda **_: Console(file=screen, force_terminal=True, width=200)
    )

    with progress_bar("of [/x]") as report:
        report(Progress(1, 2, "sub-[/red].nii.gz, [bold]slices"))
    assert "of [/x]: sub-[/red].nii.gz, [bold]slices" in screen.getvalue()


def press(n_times, passed):
    """Work during which Ctrl-C is pressed."""
    with progress_bar("work") as report:
        for n in range(n_times):
            signal.raise_signal(signal.SIGINT)
            passed.append(n)
        if n_times:
            report(Progress(1, 2, "next"))
        passed.append("reported")


def test_first_ctrl_c_says_that_the_work_stops_at_its_next_step(capfd):
    with pytest.raises(KeyboardInterrupt):
        press(1, [])
    text = "Stopping at the next step; press Ctrl-C again to stop at once."
    assert capfd.readouterr().err.strip() == text


def test_end_that_is_unknown_leaves_the_bar_where_it_is(monkeypatch):
    updates = []
    screen = Console(file=io.StringIO(), force_terminal=True)
    monkeypatch.setattr(rich.console, "Console", lambda **_: screen)
    monkeypatch.setattr(
        rich.progress.Progress, "update", lambda _, task, **changes: updates.append(changes)
    )
    with progress_bar("work") as report:
        report(Progress(0, 0, "loading the model"))
        report(Progress(1, 2, "scan 1"))
    (first, counted, second) = updates
    assert first == {"description": "work: loading the model"}
    assert counted == {"completed": 1, "total": 2}
    assert second == {"description": "work: scan 1"}


def press_after_the_last_report():
    with progress_bar("work"):
        signal.raise_signal(signal.SIGINT)


def test_ctrl_c_ends_the_work_at_its_next_report_and_the_second_one_at_once():
    before = signal.getsignal(signal.SIGINT)
    for n_times, expected in ((1, [0]), (2, [0])):
        passed = []
        with pytest.raises(KeyboardInterrupt):
            press(n_times, passed)
        assert passed == expected
    with pytest.raises(KeyboardInterrupt):
        press_after_the_last_report()
    press(0, passed)
    assert passed[-1] == "reported"
    assert signal.getsignal(signal.SIGINT) is before


def press_twice_and_wait_for(thread):
    with progress_bar("work"):
        try:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
        finally:
            assert thread.wait(20)


def test_second_ctrl_c_ends_a_command_that_still_waits_for_a_thread(monkeypatch):
    ended = threading.Event()
    monkeypatch.setattr(console, "GRACE_SECONDS", 0.01)
    monkeypatch.setattr(console, "exit_at_once", ended.set)
    with pytest.raises(KeyboardInterrupt):
        press_twice_and_wait_for(ended)


def test_ctrl_c_does_not_wait_for_work_that_cannot_be_stopped(run_cli, monkeypatch):
    """As the interpreter would for a brain extraction, which goes on in its thread."""
    ended = []
    monkeypatch.setattr(cli, "exit_at_once", lambda: ended.append(True))
    monkeypatch.setattr(
        "napari_mri7t.engine.models.card.models", lambda **_: signal.raise_signal(signal.SIGINT)
    )
    assert run_cli("models")[0] == 130
    assert not ended
    monkeypatch.setattr(optional, "unfinished_work", lambda: [threading.current_thread()])
    assert run_cli("models")[0] == 130
    assert ended


def test_ctrl_c_that_is_ignored_stays_ignored():
    """As in a job that a shell runs in the background."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with progress_bar("work") as report:
            signal.raise_signal(signal.SIGINT)
            report(Progress(1, 1, "a step"))
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_signal_unwinds_a_command_and_sets_its_exit_code(run_cli, monkeypatch, name):
    number, unwound = getattr(signal, name), []

    def work(**_):
        try:
            with progress_bar("work") as report:
                signal.raise_signal(number)
                report(Progress(1, 2, "next"))
        finally:
            unwound.append(name)

    def at_once(**_):
        try:
            signal.raise_signal(number)
        finally:
            unwound.append(name)

    before = signal.getsignal(number)
    for body in (work, at_once):
        monkeypatch.setattr("napari_mri7t.engine.models.card.models", body)
        assert run_cli("models")[0] == 128 + number
    assert unwound == [name, name]
    assert signal.getsignal(number) is before


def test_error_of_the_engine_gets_the_option_that_helps(capsys):
    with pytest.raises(SystemExit), sentences_for_errors():
        raise Mri7tError("too coarse: resample it", argument="allow_out_of_domain")
    assert capsys.readouterr().err == "too coarse: resample it (--allow-out-of-domain)\n"
