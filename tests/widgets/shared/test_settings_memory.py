"""What is remembered between sessions."""

from __future__ import annotations

from napari_mri7t.widgets.shared.settings import Memory


def test_values_come_back_in_another_session(tmp_path):
    Memory(tmp_path / "a" / "memory.json").keep("synthesis", {"step": 3})
    Memory(tmp_path / "a" / "memory.json").keep("synthesis", {"model": "watnet"})
    Memory(tmp_path / "a" / "memory.json").keep("pace", {"x": 1.5})
    memory = Memory(tmp_path / "a" / "memory.json")
    assert memory.recall("synthesis") == {"step": 3, "model": "watnet"}
    assert memory.recall("pace") == {"x": 1.5}
    assert memory.recall("nothing") == {}


def test_damaged_memory_is_no_memory(tmp_path):
    path = tmp_path / "memory.json"
    for text in ("", "{", "[1]", "[" * 100_000, '{"synthesis": 3}'):
        path.write_text(text)
        assert Memory(path).recall("synthesis") == {}
    Memory(path).keep("synthesis", {"step": 1})
    assert Memory(path).recall("synthesis") == {"step": 1}


def test_folder_that_cannot_be_written_does_no_harm(tmp_path):
    (tmp_path / "file").write_text("")
    memory = Memory(tmp_path / "file" / "memory.json")
    memory.keep("synthesis", {"step": 1})
    assert memory.recall("synthesis") == {}
