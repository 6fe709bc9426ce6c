"""Writing whole or not at all: an error at every single step, a full disk, a folder in the way."""

from __future__ import annotations

import errno
import io
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from napari_mri7t.engine import atomic
from napari_mri7t.engine.atomic import (
    check_folder,
    check_target,
    read_json,
    read_object,
    write_atomically,
    write_content,
    write_json,
    write_together,
)
from napari_mri7t.engine.errors import Mri7tError, StateError

STEPS = ("open", "fdopen", "fchmod", "fsync", "replace", "link")


def writes(content: bytes) -> Callable[[io.BufferedWriter], object]:
    return lambda file: file.write(content)


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


class FailingFile(io.RawIOBase):
    """A file whose system calls count down to a failure."""

    def __init__(self, descriptor: int, step: Callable[[], None]) -> None:
        self.file = io.FileIO(descriptor, "wb")
        self.step = step

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self.file.fileno()

    def write(self, data) -> int:
        self.step()
        return self.file.write(bytes(data)[:100])  # short writes, as the system may make them

    def close(self) -> None:
        super().close()
        self.file.close()


@pytest.fixture
def fail_at(monkeypatch):
    """Make the n-th step of writing fail with the given error; return the list of steps taken."""
    originals = {name: getattr(os, name) for name in STEPS}

    def install(number: int, code: int) -> list[str]:
        taken: list[str] = []

        def step(name: str) -> None:
            taken.append(name)
            if len(taken) == number:
                raise OSError(code, os.strerror(code))

        def wrap(name: str):
            def wrapped(*args, **kwargs):
                step(name)
                if name == "fdopen":
                    return io.BufferedWriter(FailingFile(args[0], lambda: step("write")), 256)
                return originals[name](*args, **kwargs)

            return wrapped

        for name in STEPS:
            monkeypatch.setattr(f"napari_mri7t.engine.atomic.os.{name}", wrap(name))
        return taken

    return install


def test_file_is_written(tmp_path):
    assert write_atomically(tmp_path / "a", writes(b"new")) == tmp_path / "a"
    assert (tmp_path / "a").read_bytes() == b"new"
    assert names(tmp_path) == ["a"]


def test_mode_of_the_old_file_is_kept_and_a_new_one_follows_the_umask(tmp_path):
    old = os.umask(0o027)
    try:
        write_atomically(tmp_path / "new", writes(b""))
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o640
    (tmp_path / "new").chmod(0o604)
    write_atomically(tmp_path / "new", writes(b"x"))
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o604


def test_symbolic_link_stays_and_its_file_is_replaced(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "file").write_bytes(b"old")
    (tmp_path / "link").symlink_to("there/file")
    write_atomically(tmp_path / "link", writes(b"new"))
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "there" / "file").read_bytes() == b"new"


@pytest.mark.parametrize("around", ["", ".git/modules/sub"])
@pytest.mark.parametrize("is_here", [True, False])
def test_content_of_git_annex_is_never_written_to(tmp_path, around, is_here):
    repository = Path(around or ".git")
    key = tmp_path / repository / "annex/objects/Xx/Yy/MD5E-s3--0/MD5E-s3--0"
    key.parent.mkdir(parents=True)
    if around:  # as git-annex leaves a submodule
        (tmp_path / ".git/annex").mkdir()
    if is_here:
        key.write_bytes(b"old")
    (tmp_path / "a").symlink_to(key.relative_to(tmp_path))
    told = "locked by git-annex: .*'datalad unlock'" if is_here else "not here: .*'datalad get'"
    for write in (
        lambda: write_atomically(tmp_path / "a", writes(b"new")),
        lambda: write_together([(tmp_path / "b", writes(b"x")), (tmp_path / "a", writes(b"new"))]),
        lambda: write_json(tmp_path / "a", {}),
    ):
        with pytest.raises(Mri7tError, match=f"/a: is .*{told}"):
            write()
    assert (tmp_path / "a").is_symlink()
    assert names(tmp_path) == [".git", "a"]
    assert [path.read_bytes() for path in key.parent.iterdir()] == [b"old"] * is_here


def test_contents_of_git_annex_behind_another_link_are_known(tmp_path):
    (tmp_path / "big").mkdir()
    (tmp_path / ".git/annex").mkdir(parents=True)
    (tmp_path / ".git/annex/objects").symlink_to(tmp_path / "big")
    (tmp_path / "big/key").write_bytes(b"old")
    (tmp_path / "a").symlink_to(".git/annex/objects/key")
    with pytest.raises(Mri7tError, match="locked by git-annex"):
        write_content(tmp_path / "a", b"new")
    (tmp_path / "annex/objects").mkdir(parents=True)  # nobody's repository
    write_content(tmp_path / "annex/objects/b", b"new")


def test_hard_link_keeps_the_old_content(tmp_path):
    (tmp_path / "a").write_bytes(b"old")
    os.link(tmp_path / "a", tmp_path / "b")
    write_atomically(tmp_path / "a", writes(b"new"))
    assert ((tmp_path / "a").read_bytes(), (tmp_path / "b").read_bytes()) == (b"new", b"old")


def test_existing_file_is_refused_without_overwrite(tmp_path):
    (tmp_path / "a").write_bytes(b"old")
    with pytest.raises(Mri7tError, match="a: already exists"):
        write_atomically(tmp_path / "a", writes(b"new"), overwrite=False)
    assert (tmp_path / "a").read_bytes() == b"old"


def test_file_that_appears_while_writing_is_not_overwritten(tmp_path):
    def write(file):
        (tmp_path / "a").write_bytes(b"another run's")
        file.write(b"new")

    with pytest.raises(Mri7tError, match="a: already exists"):
        write_atomically(tmp_path / "a", write, overwrite=False)
    assert (tmp_path / "a").read_bytes() == b"another run's"
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize("exists", [True, False])
def test_file_system_without_hard_links_is_served(tmp_path, monkeypatch, exists):
    def no_links(*args):
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    def write(file):
        if exists:
            (tmp_path / "b").write_bytes(b"another run's")
        file.write(b"new")

    monkeypatch.setattr("napari_mri7t.engine.atomic.os.link", no_links)
    parts = [(tmp_path / "a", writes(b"first")), (tmp_path / "b", write)]
    if not exists:
        write_together(parts, overwrite=False)
        assert names(tmp_path) == ["a", "b"]
        write_together(parts, overwrite=True)
        return
    with pytest.raises(Mri7tError, match="b: already exists"):
        write_together(parts, overwrite=False)
    assert names(tmp_path) == ["b"]


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda p: p.mkdir(), "is a folder"),
        (lambda p: os.mkfifo(p), "not a regular file"),
        (lambda p: p.symlink_to("/dev/null"), "not a regular file"),
        (lambda p: p.symlink_to("missing/file"), "does not exist"),
    ],
)
def test_what_is_in_the_way_is_named(tmp_path, make, word):
    make(tmp_path / "a")
    before = names(tmp_path)
    with pytest.raises(Mri7tError, match=f"a: .*{word}"):
        write_atomically(tmp_path / "a", writes(b"new"))
    assert names(tmp_path) == before


def test_missing_folder_and_impossible_names_are_refused(tmp_path):
    with pytest.raises(Mri7tError, match=r"the folder .*nowhere does not exist"):
        check_target(tmp_path / "nowhere" / "a", overwrite=True)
    for name in ("n" * 256, "null\0byte"):
        with pytest.raises(Mri7tError, match=r"cannot be written|name too long"):
            write_atomically(tmp_path / name, writes(b""))
    assert names(tmp_path) == []


def test_longest_possible_name_is_written(tmp_path):
    name = "n" * 255
    write_atomically(tmp_path / name, writes(b"new"))
    write_atomically(tmp_path / name, writes(b"newer"))
    assert names(tmp_path) == [name]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, MemoryError])
def test_any_exception_of_the_writer_passes_and_leaves_nothing(tmp_path, error):
    (tmp_path / "a").write_bytes(b"old")

    def write(file):
        file.write(b"half")
        raise error

    with pytest.raises(error):
        write_together([(tmp_path / "b", writes(b"b")), (tmp_path / "a", write)])
    assert names(tmp_path) == ["a"]
    assert (tmp_path / "a").read_bytes() == b"old"


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EACCES, errno.EDQUOT])
@pytest.mark.parametrize(("old", "overwrite"), [(True, True), (False, True), (False, False)])
def test_fault_32_error_at_every_step_leaves_all_or_nothing(
    tmp_path, fail_at, code, overwrite, old
):
    """Two files of 1000 bytes in writes of 100: each system call in turn is the one that fails."""
    outcomes = set()
    for number in range(1, 60):
        folder = tmp_path / str(number)
        folder.mkdir()
        before = {"a": b"old a", "b": b"old b"} if old else {}
        for name, content in before.items():
            (folder / name).write_bytes(content)
        taken = fail_at(number, code)
        parts = [(folder / "a", writes(b"A" * 1000)), (folder / "b", writes(b"B" * 1000))]
        try:
            write_together(parts, overwrite=overwrite)
            after = {"a": b"A" * 1000, "b": b"B" * 1000}
            outcomes.add("written")
        except Mri7tError as error:
            after = before
            outcomes.add(taken[number - 1])
            assert str(error).startswith(str(folder))  # noqa: PT017
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == after
    assert len(taken) < 59, "the last rounds must go through without a failure"
    assert {"open", "fdopen", "write", "fsync", "written"} <= outcomes


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize(("old", "overwrite"), [(True, True), (False, True), (False, False)])
def test_interrupt_around_a_placement_leaves_all_or_nothing(
    tmp_path, monkeypatch, moment, number, old, overwrite
):
    """A cancel comes between any two instructions: also once a name is given and not yet noted."""
    place, calls = atomic._place, []

    def interrupted(temporary, target, overwrite):
        calls.append(target)
        if moment == "after" or len(calls) != number:
            place(temporary, target, overwrite)
        if len(calls) == number:
            raise KeyboardInterrupt

    monkeypatch.setattr(atomic, "_place", interrupted)
    before = {"a": b"old a", "b": b"old b"} if old else {}
    for name, content in before.items():
        (tmp_path / name).write_bytes(content)
    parts = [(tmp_path / "a", writes(b"A")), (tmp_path / "b", writes(b"B"))]
    with pytest.raises(KeyboardInterrupt):
        write_together(parts, overwrite=overwrite)
    is_whole = (moment, number) == ("after", 2)
    after = {"a": b"A", "b": b"B"} if is_whole else before
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == after


def test_link_under_the_temporary_name_is_not_followed(tmp_path, monkeypatch):
    """Nor is a file of another program replaced: the temporary file is always a new one."""
    monkeypatch.setattr("napari_mri7t.engine.atomic.secrets.token_hex", lambda n: "0" * 2 * n)
    (tmp_path / "precious").write_bytes(b"kept")
    (tmp_path / f".mri7t-{'0' * 16}.tmp").symlink_to("precious")
    with pytest.raises(Mri7tError, match="a: already exists"):
        write_atomically(tmp_path / "a", writes(b"new"))
    assert (tmp_path / "precious").read_bytes() == b"kept"
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("overwrite", [True, False])
def test_folder_is_synced_once_the_new_name_is_in_it(tmp_path, monkeypatch, overwrite):
    """Else a power failure loses the name of a file that was reported as written."""
    (tmp_path / "folder").mkdir()
    named_when_synced = []
    fsync = os.fsync

    def note(descriptor):
        if os.path.samestat(os.fstat(descriptor), os.stat(tmp_path / "folder")):
            named_when_synced.append((tmp_path / "folder" / "a").exists())
        fsync(descriptor)

    monkeypatch.setattr("napari_mri7t.engine.atomic.os.fsync", note)
    write_atomically(tmp_path / "folder" / "a", writes(b"new"), overwrite=overwrite)
    assert named_when_synced == [True]


LEFTOVER = f".mri7t-{'0' * 16}.tmp"


@pytest.mark.skipif(atomic.fcntl is None, reason="needs the locks of Unix")
def test_leftovers_of_a_killed_process_are_removed_by_the_next_writer(tmp_path):
    (tmp_path / LEFTOVER).write_bytes(b"half")
    foreign = (".mri7t-notes.tmp", ".other-0123456789abcdef.tmp", f"{LEFTOVER}.kept")
    for name in foreign:
        (tmp_path / name).write_bytes(b"another program's")
    os.mkfifo(tmp_path / LEFTOVER.replace("0", "1"))
    write_atomically(tmp_path / "a", writes(b"new"))
    assert names(tmp_path) == sorted(["a", LEFTOVER.replace("0", "1"), *foreign])


def test_leftovers_go_from_each_folder_that_is_written_to(tmp_path):
    places = [tmp_path / "one", tmp_path / "two"]
    for place in places:
        place.mkdir()
        (place / LEFTOVER).write_bytes(b"half")
    write_together([(place / "a", writes(b"new")) for place in places])
    assert [names(place) for place in places] == [["a"], ["a"]]


@pytest.mark.skipif(atomic.fcntl is None, reason="needs the locks of Unix")
@pytest.mark.parametrize("overwrite", [True, False])
def test_temporaries_and_backups_of_a_writer_at_work_stay(tmp_path, monkeypatch, overwrite):
    """Another writer clears the folder at every step of this one."""
    place, second_name, seen = atomic._place, atomic._second_name, []

    def clear():
        before = names(tmp_path)
        atomic.remove_leftovers(tmp_path)
        seen.append(sum(name.endswith(".tmp") for name in before))
        assert names(tmp_path) == before

    def placed(*arguments):
        clear()
        place(*arguments)

    def named(*arguments):
        backup = second_name(*arguments)
        clear()
        return backup

    def write(file):
        clear()
        file.write(b"new")

    monkeypatch.setattr(atomic, "_place", placed)
    monkeypatch.setattr(atomic, "_second_name", named)
    if overwrite:
        (tmp_path / "a").write_bytes(b"old")
    write_together([(tmp_path / "a", write), (tmp_path / "b", write)], overwrite=overwrite)
    assert names(tmp_path) == ["a", "b"]
    assert max(seen) == 2 + overwrite


@pytest.mark.skipif(atomic.fcntl is None, reason="needs the locks of Unix")
def test_temporary_that_was_taken_for_a_leftover_before_its_lock_gets_another_name(
    tmp_path, monkeypatch
):
    hold, taken = atomic._Temporaries.hold, []

    def late(self, descriptor, path):
        if not taken:
            taken.append(path)
            atomic.remove_leftovers(tmp_path)
        return hold(self, descriptor, path)

    monkeypatch.setattr(atomic._Temporaries, "hold", late)
    write_atomically(tmp_path / "a", writes(b"new"))
    assert (tmp_path / "a").read_bytes() == b"new"
    assert names(tmp_path) == ["a"]


def test_file_system_without_locks_is_written_to_and_keeps_its_leftovers(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    (tmp_path / LEFTOVER).write_bytes(b"half")
    if atomic.fcntl is not None:
        monkeypatch.setattr(atomic.fcntl, "flock", refuse)
    write_atomically(tmp_path / "a", writes(b"new"))
    assert names(tmp_path) == sorted([LEFTOVER, "a"])


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES, errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("step", ["open", "fsync"])
def test_folder_that_cannot_be_written_into_is_found_by_trying(tmp_path, monkeypatch, code, step):
    def refuse(*_):
        raise OSError(code, os.strerror(code))

    check_folder(tmp_path / "new" / "deeper")
    monkeypatch.setattr(atomic.os, step, refuse)
    for folder in (tmp_path, tmp_path / "new" / "deeper"):
        with pytest.raises(Mri7tError, match=f"{folder}: cannot be written into: .*: "):
            check_folder(folder)
    assert names(tmp_path) == []


def test_json_and_text_are_read_as_they_were_written(tmp_path):
    content = {"name": "süß 脳", "items": [1, 2.5, None, True]}
    write_json(tmp_path / "a.json", content)
    assert read_json(tmp_path / "a.json") == content
    assert "süß" in (tmp_path / "a.json").read_text(encoding="utf-8")
    for text in ("plain", b"bytes"):
        write_content(tmp_path / "a", text)
        assert (tmp_path / "a").read_bytes() == (text if isinstance(text, bytes) else b"plain")
    with pytest.raises(Mri7tError, match="already exists"):
        write_json(tmp_path / "a.json", {}, overwrite=False)


def test_json_beyond_the_limit_is_not_read(tmp_path, monkeypatch):
    (tmp_path / "a.json").write_text("[1, 2]")
    monkeypatch.setattr(atomic, "LARGEST_JSON", 6)
    assert read_json(tmp_path / "a.json") == [1, 2]
    monkeypatch.setattr(atomic, "LARGEST_JSON", 5)
    with pytest.raises(OSError, match="more than the 5"):
        read_json(tmp_path / "a.json")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.EIO, "Input/output error"), "Input/output error: check the disk"),
        (OSError("odd"), "odd: choose another place"),
        (OSError(), "OSError: choose another place"),
    ],
)
def test_reason_of_the_system_is_told(tmp_path, error, words):
    def fail(file):
        raise error

    with pytest.raises(Mri7tError) as caught:
        write_atomically(tmp_path / "a", fail)
    assert str(caught.value) == f"{tmp_path / 'a'}: {words}; the file was not written"


@pytest.mark.parametrize(
    ("content", "words"),
    [("[]", "is no JSON object"), ("{", r"cannot be read \(not JSON"), (None, "No such file")],
)
def test_json_that_is_no_object_is_told_with_the_caller_s_advice(tmp_path, content, words):
    path = tmp_path / "a.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(StateError, match=rf"a\.json: .*{words}.*: train the fold again$"):
        read_object(path, "train the fold again", StateError)
    path.write_text('{"a": 1}')
    assert read_object(path, "") == {"a": 1}


def test_a_json_of_more_than_16_mib_is_not_read(tmp_path):
    """As the guarantees say."""
    path = tmp_path / "card.json"
    path.write_text("{}")
    os.truncate(path, (16 << 20) + 1)
    with pytest.raises(OSError, match="more than the 16,777,216 that are read"):
        atomic.read_json(path)
