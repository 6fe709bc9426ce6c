"""Writing against a real full disk, a real lack of permission, a real kill."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from napari_mri7t.engine.atomic import write_atomically
from napari_mri7t.engine.errors import Mri7tError


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def run_in(script: str, *arguments: str, command: tuple[str, ...] = ()) -> str:
    """Run Python elsewhere; a line "skip: why" on its output skips the test."""
    code = textwrap.dedent(script)
    ran = subprocess.run(
        [*command, sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


WRITE_A_MEGABYTE = """
import os, sys
from pathlib import Path
from napari_mri7t.engine.atomic import write_atomically
from napari_mri7t.engine.errors import Mri7tError
def write_a_megabyte(folder):
    target = Path(folder) / "a"
    try:
        write_atomically(target, lambda file: [file.write(bytes(1000)) for _ in range(1000)])
    except Mri7tError as error:
        print(error)
    print(sorted(os.listdir(folder)), target.read_bytes())
"""


def test_fault_32_full_disk_leaves_the_old_file_and_no_temporary(tmp_path):
    if not shutil.which("unshare"):
        pytest.skip("no unshare here")
    mount = f"mount -t tmpfs -o size=64k none {tmp_path}"
    if subprocess.run(["unshare", "-rm", "sh", "-c", mount], capture_output=True).returncode:
        pytest.skip("mounting a small disk is not permitted here")
    script = WRITE_A_MEGABYTE + "Path(sys.argv[1], 'a').write_bytes(b'old')\n"
    output = run_in(
        script + "write_a_megabyte(sys.argv[1])",
        str(tmp_path),
        command=("unshare", "-rm", "sh", "-c", f'{mount} && exec "$@"', "sh"),
    )
    message, rest = output.splitlines()
    assert message.startswith(f"{tmp_path}/a: No space left on device: free some space")
    assert rest == "['a'] b'old'"


def test_fault_32_file_size_limit_leaves_the_old_file_and_no_temporary(tmp_path):
    (tmp_path / "a").write_bytes(b"old")
    script = WRITE_A_MEGABYTE + "import resource\n"
    script += "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
    output = run_in(script + "write_a_megabyte(sys.argv[1])", str(tmp_path))
    message, rest = output.splitlines()
    assert "File too large" in message
    assert rest == "['a'] b'old'"
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 100_000


# Root passes every permission: it becomes another user first, in the process that writes.
AS_ORDINARY_USER = "if os.geteuid() == 0: os.setgid(65534); os.setuid(65534)\n"


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A folder whose way is open to every user, which pytest's own folders are not."""
    folder = Path(tempfile.mkdtemp(prefix="mri7t-"))
    folder.chmod(0o777)
    yield folder
    folder.chmod(0o777)
    shutil.rmtree(folder)


def test_fault_33_folder_without_permission_is_named(public_folder):
    (public_folder / "a").write_bytes(b"old")
    (public_folder / "a").chmod(0o666)
    public_folder.chmod(0o555)
    script = WRITE_A_MEGABYTE + AS_ORDINARY_USER + "write_a_megabyte(sys.argv[1])"
    message, rest = run_in(script, str(public_folder)).splitlines()
    assert message.startswith(f"{public_folder}/a: Permission denied: choose a folder")
    assert rest == "['a'] b'old'"


def test_fault_33_read_only_disk_is_named(tmp_path):
    if not shutil.which("unshare"):
        pytest.skip("no unshare here")
    mount = f"mount -t tmpfs none {tmp_path} && echo -n old > {tmp_path}/a && "
    mount += f"mount -o remount,ro {tmp_path}"
    if subprocess.run(["unshare", "-rm", "sh", "-c", mount], capture_output=True).returncode:
        pytest.skip("mounting a read-only disk is not permitted here")
    output = run_in(
        WRITE_A_MEGABYTE + "write_a_megabyte(sys.argv[1])",
        str(tmp_path),
        command=("unshare", "-rm", "sh", "-c", f'{mount} && exec "$@"', "sh"),
    )
    message, rest = output.splitlines()
    assert "Read-only file system: choose a folder" in message
    assert rest == "['a'] b'old'"


@pytest.mark.parametrize("old", [True, False])
def test_fault_33_folder_that_vanishes_while_writing_is_named(tmp_path, old):
    folder = tmp_path / "results"
    folder.mkdir()
    if old:
        (folder / "a").write_bytes(b"old")

    def write(file):
        file.write(b"new")
        folder.rename(tmp_path / "elsewhere")

    with pytest.raises(Mri7tError, match=r"results/a: .*no longer exists"):
        write_atomically(folder / "a", write)
    assert names(tmp_path) == ["elsewhere"]


def test_killed_while_writing_leaves_the_old_file(tmp_path):
    (tmp_path / "a").write_bytes(b"old")
    script = """
    import os, signal, sys
    from napari_mri7t.engine.atomic import write_atomically
    def write(file):
        file.write(bytes(100_000))
        os.kill(os.getpid(), signal.SIGKILL)
    write_atomically(sys.argv[1], write)
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(tmp_path / "a")]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert (tmp_path / "a").read_bytes() == b"old"
    leftover = [name for name in names(tmp_path) if name != "a"]
    assert len(leftover) == 1
    assert leftover[0].startswith(".mri7t-")
