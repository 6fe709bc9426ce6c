"""Two batches on one derivative: never at one estimate at once, and nothing left behind."""

from __future__ import annotations

import contextlib

import pytest

from napari_mri7t.engine.errors import StateError
from napari_mri7t.engine.workflows import claims
from napari_mri7t.engine.workflows.claims import Claims, lock_derivative

FIRST, SECOND = "sub-01/anat/a.nii.gz", "sub-02/anat/b.nii.gz"


def test_estimate_belongs_to_one_batch_at_a_time(tmp_path):
    with Claims(tmp_path) as one, Claims(tmp_path) as other:
        one.take(FIRST)
        other.take(SECOND)  # array jobs over different participants run side by side
        for same in (FIRST, FIRST.upper()):
            with pytest.raises(StateError, match=r"a.*another process is at this estimate"):
                other.take(same)
        one.release(FIRST)
        other.take(FIRST)
    assert list((tmp_path / "logs").iterdir()) == []
    assert "logs/" in (tmp_path / ".bidsignore").read_text().split()


def test_file_of_a_lock_that_was_removed_meanwhile_is_no_lock(tmp_path, monkeypatch):
    """A process may open the file just before another one removes it."""
    fcntl = pytest.importorskip("fcntl")
    with Claims(tmp_path) as one, Claims(tmp_path) as other, Claims(tmp_path) as third:
        one.take(FIRST)

        def late(*arguments, flock=fcntl.flock):
            monkeypatch.undo()
            one.release(FIRST)
            return flock(*arguments)

        monkeypatch.setattr(fcntl, "flock", late)
        with contextlib.suppress(StateError):  # or it tries again
            other.take(FIRST)
        with contextlib.suppress(StateError):
            third.take(FIRST)
        assert len(third._held) + len(other._held) == 1


def test_lock_that_another_process_takes_at_once_is_not_removed_under_it(tmp_path, monkeypatch):
    """A third process would find no file, and lock one of its own."""
    release = claims.FileLock.release
    with Claims(tmp_path) as one, Claims(tmp_path) as other, Claims(tmp_path) as third:
        one.take(FIRST)

        def late(lock):
            release(lock)
            monkeypatch.undo()
            other.take(FIRST)

        monkeypatch.setattr(claims.FileLock, "release", late)
        one.release(FIRST)
        with pytest.raises(StateError, match="another process is at this estimate"):
            third.take(FIRST)


def test_derivative_is_locked_while_its_summary_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(claims, "WAIT_SECONDS", 0)
    with lock_derivative(tmp_path), pytest.raises(StateError, match="held by another process"):
        lock_derivative(tmp_path).__enter__()
    assert list((tmp_path / "logs").iterdir()) == []


def test_file_system_without_locks_is_no_error(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise NotImplementedError("no flock")

    monkeypatch.setattr(claims.FileLock, "acquire", refuse)
    with Claims(tmp_path) as held:
        held.take(FIRST)
