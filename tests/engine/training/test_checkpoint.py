"""A whole state is on the disk at every moment, whatever fails."""

import errno
import os

import pytest
import torch

from napari_mri7t.engine.errors import Mri7tError, StateError
from napari_mri7t.engine.models import weights
from napari_mri7t.engine.training import checkpoint
from napari_mri7t.engine.training.checkpoint import (
    CURRENT,
    HISTORY,
    PREVIOUS,
    copy_state,
    has_history,
    has_state,
    load_state,
    read_history,
    save_state,
)


class Killed(BaseException):
    pass


def save(folder, step):
    save_state(folder, {"network/weight": torch.full((3,), float(step))}, {"step": step})


def step_of(folder):
    tensors, facts = load_state(folder)
    assert tensors["network/weight"].tolist() == [facts["step"]] * 3
    return facts["step"]


def damage(path):
    path.write_bytes(path.read_bytes()[:-1])


@pytest.fixture
def folder(tmp_path):
    for step in (1, 2):
        save(tmp_path, step)
    return tmp_path


def failing_at(monkeypatch, n, error):
    """Let the n-th call that changes the disk fail, and all after it."""
    calls = []

    def fail(function):
        def call(*args, **kwargs):
            calls.append(function)
            if len(calls) > n:
                raise error
            return function(*args, **kwargs)

        return call

    for name in ("open", "fsync", "replace", "rename", "link", "unlink"):
        monkeypatch.setattr(os, name, fail(getattr(os, name)))
    return calls


@pytest.mark.parametrize("is_damaged", [False, True])
@pytest.mark.parametrize(
    "error", [Killed(), OSError(errno.ENOSPC, "No space left on device")], ids=["kill", "full"]
)
def test_a_whole_state_is_left_wherever_a_save_is_cut_off(tmp_path, monkeypatch, is_damaged, error):
    for n in range(20):
        folder = tmp_path / str(n)
        folder.mkdir()
        save(folder, 1)
        save(folder, 2)
        if is_damaged:
            damage(folder / CURRENT)
        with monkeypatch.context() as patched:
            calls = failing_at(patched, n, error)
            try:
                save(folder, 3)
            except (Killed, Mri7tError):
                pass
            else:
                break
        assert step_of(folder) >= (1 if is_damaged else 2)
    assert len(calls) >= 4, "opened, synced, moved, synced"
    assert step_of(folder) == 3


def test_a_damaged_state_never_takes_the_place_of_a_whole_one(folder):
    damage(folder / CURRENT)
    save(folder, 3)
    damage(folder / CURRENT)
    assert step_of(folder) == 1
    save(folder, 4)
    save(folder, 5)
    damage(folder / CURRENT)
    assert step_of(folder) == 4


def test_with_a_full_disk_both_states_stay(folder, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    before = {name: (folder / name).read_bytes() for name in (CURRENT, PREVIOUS)}
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(Mri7tError, match="No space left on device: free some space"):
            save(folder, 3)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_pipe_in_the_place_of_a_state_is_damage(folder):
    (folder / CURRENT).unlink()
    os.mkfifo(folder / CURRENT)
    assert step_of(folder) == 1


@pytest.mark.parametrize("lack", ["memory", "Permission"])
def test_state_that_cannot_be_read_now_is_no_damage(folder, monkeypatch, lack):
    def refuse(_):
        raise PermissionError(errno.EACCES, "Permission denied")

    before = {name: (folder / name).read_bytes() for name in (CURRENT, PREVIOUS)}
    with monkeypatch.context() as patched:
        if lack == "memory":
            patched.setattr(weights, "available_memory", lambda: 1)
        else:
            patched.setattr(weights, "open_regular", refuse)
        for use in (lambda: load_state(folder), lambda: save(folder, 3)):
            with pytest.raises(StateError, match=rf"{CURRENT}: cannot be read now \(.*{lack}"):
                use()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert step_of(folder) == 2


def test_the_newest_whole_state_is_copied(folder, tmp_path):
    (folder / "there").mkdir()
    (folder / "nothing").mkdir()
    damage(folder / CURRENT)
    copy_state(folder, folder / "there")
    assert step_of(folder / "there") == 1
    with pytest.raises(StateError, match="has no checkpoint to copy"):
        copy_state(folder / "nothing", folder / "there")


def test_settings_without_an_end_are_compared_as_json_has_them(tmp_path):
    facts = {"step": 0, "network_config": {"limit": float("inf"), "w": (1, 2)}}
    save_state(tmp_path, {"weight": torch.zeros(1)}, facts)
    assert load_state(tmp_path)[1]["network_config"] == {"limit": "Infinity", "w": [1, 2]}


@pytest.mark.parametrize("content", ["step,loss\n1\n", "loss\n1\n", "step,loss\nx,1\n"])
def test_a_damaged_loss_curve_is_refused_by_name(tmp_path, content):
    (tmp_path / HISTORY).write_text(content)
    assert not has_history(tmp_path / HISTORY), "and the plots do without it"
    with pytest.raises(StateError, match=r"history\.csv: no readable loss curve"):
        read_history(tmp_path / HISTORY)


def test_a_copy_counts_once_all_of_it_is_there(folder, monkeypatch):
    there, names = folder / "there", []
    there.mkdir()
    (folder / HISTORY).write_text("step,loss\n1,0.5\n")

    def killed_at_the_second(path, content, write=checkpoint.write_content):
        names.append(path.name)
        if len(names) == 2:
            raise Killed
        return write(path, content)

    monkeypatch.setattr(checkpoint, "write_content", killed_at_the_second)
    with pytest.raises(Killed):
        copy_state(folder, there)
    assert not has_state(there), f"{names[0]} before {names[1]}"


def test_a_flipped_bit_in_the_name_of_a_tensor_is_damage(folder):
    path = folder / CURRENT
    path.write_bytes(path.read_bytes().replace(b"network/weight", b"network/weighu"))
    assert step_of(folder) == 1


def test_a_changed_fact_is_damage(folder, caplog):
    path = folder / CURRENT
    content = path.read_bytes()
    changed = content.replace(rb"\"step\": 2", rb"\"step\": 3")
    assert changed != content
    path.write_bytes(changed)
    assert step_of(folder) == 1
    assert f"{path}: damaged (its checksum does not match)" in caplog.text


def test_facts_in_another_order_are_the_same(folder):
    tensors, facts = {"a": torch.zeros(2), "b": torch.ones(2)}, {"step": 1, "loss": 2}
    backwards = dict(reversed(facts.items()))
    assert checkpoint._digest(tensors, facts) == checkpoint._digest(tensors, backwards)
    for other in ({"a": tensors["b"], "b": tensors["a"]}, {"c": tensors["a"], "b": tensors["b"]}):
        assert checkpoint._digest(other, facts) != checkpoint._digest(tensors, facts)


def test_the_loss_curve_is_read_as_it_was_written(tmp_path):
    path = tmp_path / HISTORY
    path.write_text("step,loss,rate\n1,0.5,0.1\n2,0.25,0.1\n3,nan,0.1\n", encoding="utf-8")
    steps, losses = read_history(path)
    assert steps.tolist() == [1, 2, 3]
    assert losses[:2].tolist() == [0.5, 0.25]
    assert has_history(path)
    path.write_text("step,loss\n")
    assert [part.size for part in read_history(path)] == [0, 0]


def test_a_loss_curve_that_is_no_text_or_too_large_is_refused(tmp_path, monkeypatch, caplog):
    path = tmp_path / HISTORY
    path.write_bytes(b"step,loss\n1,\xff\n")
    assert not has_history(path)
    assert "no readable loss curve" in caplog.text
    path.write_text("step,loss\n" + "1,0.5\n" * 10)
    monkeypatch.setattr(checkpoint, "LARGEST_HISTORY", 30)
    with pytest.raises(StateError, match=r"history\.csv: no readable loss curve"):
        read_history(path)


def test_a_fold_without_a_loss_curve_has_none_without_a_word(tmp_path, caplog):
    assert not has_history(tmp_path / HISTORY)
    assert not caplog.text
