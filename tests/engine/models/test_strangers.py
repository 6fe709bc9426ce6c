"""A stranger's model folder: its weights decide what may be built, before anything large is."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import struct
import tracemalloc
from pathlib import Path

import pytest
import torch

from napari_mri7t.engine.errors import ModelError
from napari_mri7t.engine.models import model as writing
from napari_mri7t.engine.models import weights as module
from napari_mri7t.engine.models.card import CARD_FILE, WEIGHTS_FILE, find_model
from napari_mri7t.engine.models.model import load_model, save_model
from napari_mri7t.engine.models.weights import LARGEST_HEADER, read_tensors

NUMBER = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(find_model("slice_unet"), tmp_path / "stranger"))


def edit(folder: Path, **changes: object) -> None:
    path = folder / CARD_FILE
    card = json.loads(path.read_text()) | changes
    path.write_text(json.dumps(card))


def replace_weights(folder: Path, content: bytes) -> None:
    (folder / WEIGHTS_FILE).write_bytes(content)
    edit(folder, sha256=hashlib.sha256(content).hexdigest())


def test_lack_of_memory_is_no_reason_to_install_the_model_again(folder, monkeypatch):
    monkeypatch.setattr("napari_mri7t.engine.models.weights.available_memory", lambda: 1000)
    with pytest.raises(ModelError, match=r"cannot be read now .*fit into the memory.*free memory"):
        load_model(folder)


def tensor_file(header: object, n_bytes: int = 4) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(n_bytes)


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "config",
    [
        {"n_blocks": 10**9},
        {"n_blocks": 10**30},
        {"n_blocks": -1},
        {"n_blocks": "2"},
        {"n_blocks": 1.5},
        {"n_blocks": None},
        {"n_slices": 10**9 + 1},
        {"n_slices": -7, "n_outputs": -7},
        {"n_slices": float("nan")},
        {"n_slices": float("inf")},
        {"widths": [10**6] * 4},
        {"widths": [10**9]},
        {"widths": [1] * 10**5},
        {"widths": [-32, 64]},
        {"widths": []},
        {"widths": [[32], [64]]},
        {"widths": "x" * 10**6},
        {"widths": {"0": 32}},
        {"n" * 10**5: 1},
        {"name": "basic_cnn"},
    ],
    ids=lambda config: str(config)[:30],
)
def test_card_that_asks_for_another_network_than_its_weights_is_refused_at_once(
    folder, config, monkeypatch
):
    made = []
    empty = torch.empty
    monkeypatch.setattr(torch, "empty", lambda *a, **k: made.append(1) or empty(*a, **k))
    edit(folder, network_config=config)
    with pytest.raises(ModelError, match="does not fit network 'slice_unet'") as caught:
        load_model(folder)
    assert len(made) < 1000  # tensors; the card asks for up to 10**30
    assert len(str(caught.value)) < 600


def test_card_may_name_no_network_at_length(folder):
    edit(folder, network="x" * 10**6)
    with pytest.raises(ModelError, match="unknown") as caught:
        load_model(folder)
    assert len(str(caught.value)) < 600


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not a safetensors file"),
        (b"\x80\x04" + bytes(500), "not a safetensors file"),
        (struct.pack("<Q", 1 << 60) + b"{}" * 99, "not a safetensors file"),
        (tensor_file([1, 2]), "without tensors"),
        (tensor_file({}), "without tensors"),
        (tensor_file({"__metadata__": {}}), "without tensors"),
        (tensor_file({"a": NUMBER}, 5), "another size"),
        (tensor_file({"a": NUMBER}, 3), "another size"),
        (tensor_file({"a": NUMBER | {"data_offsets": [0, 10**18]}}), "another size"),
        (tensor_file({"a": NUMBER | {"data_offsets": [0, True]}}), "damaged"),
        (tensor_file({"a": NUMBER | {"shape": [-1]}}), "damaged"),
        (tensor_file({"a": NUMBER | {"shape": "1"}}), "damaged"),
        (tensor_file({"a": NUMBER | {"shape": [1] * 9}}), "damaged"),
        (tensor_file({"a": {}}), "damaged"),
        (tensor_file({"a": 1}), "damaged"),
        (tensor_file({"a": NUMBER | {"shape": [10**9]}}), "does not fit"),
        (tensor_file({"a": NUMBER | {"dtype": "F99"}}), "does not fit"),
        (tensor_file({"a": NUMBER}), "does not fit"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_weights_whose_header_contradicts_them_are_refused(folder, content, reason):
    replace_weights(folder, content)
    with pytest.raises(ModelError, match=reason) as caught:
        load_model(folder)
    assert str(caught.value).startswith(f"{folder / WEIGHTS_FILE}: ")


def test_weights_of_a_terabyte_are_refused_by_their_header(folder):
    os.truncate(folder / WEIGHTS_FILE, 1 << 40)
    tracemalloc.start()
    try:
        with pytest.raises(ModelError, match="another size than its 1,099,511,627,776 bytes"):
            load_model(folder)
        assert tracemalloc.get_traced_memory()[1] < 4e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("n_more", [0, 1])
def test_header_of_weights_has_a_largest_length(tmp_path, n_more):
    text = json.dumps({"a": NUMBER}).encode().ljust(LARGEST_HEADER + n_more)
    path = tmp_path / WEIGHTS_FILE
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(4))
    if n_more:
        with pytest.raises(ValueError, match="not a safetensors file"):
            read_tensors(path)
    else:
        assert read_tensors(path).n_tensors == 1


def test_weights_that_do_not_fit_into_memory_are_refused(folder, monkeypatch):
    monkeypatch.setattr(module, "available_memory", lambda: 1 << 20)
    with pytest.raises(ModelError, match="do not fit into the memory"):
        load_model(folder)


def test_tensors_and_metadata_are_read_as_saved(folder):
    found = read_tensors(folder / WEIGHTS_FILE)
    tensors = found.tensors()
    assert found.metadata == {"network": "slice_unet"}
    assert found.n_tensors == len(tensors)
    assert found.n_values == sum(tensor.numel() for tensor in tensors.values())


def test_weights_are_placed_before_the_card_which_says_that_all_is_there(tmp_path, monkeypatch):
    model, placed = load_model("basic_cnn"), []
    monkeypatch.setattr(writing, "write_together", lambda parts: placed.extend(parts))
    save_model(tmp_path, model.network, model.card)
    assert [path.name for path, _ in placed] == [WEIGHTS_FILE, CARD_FILE]
