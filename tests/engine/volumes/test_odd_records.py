"""Cards, sidecars and study files that somebody edited: understood, or refused in words."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Iterator

import nibabel
import numpy as np
import pytest

from napari_mri7t.engine.atomic import read_json
from napari_mri7t.engine.errors import Mri7tError
from napari_mri7t.engine.evaluation.results import STUDY_FILE
from napari_mri7t.engine.models.model import load_model
from napari_mri7t.engine.synthesis.config import SynthesisConfig
from napari_mri7t.engine.synthesis.synthesize import estimate
from napari_mri7t.engine.training.config import TrainConfig
from napari_mri7t.engine.training.export import training_command
from napari_mri7t.engine.training.start import start_training
from napari_mri7t.engine.training.study import StudySettings, open_study
from napari_mri7t.engine.volumes.provenance import Execution
from napari_mri7t.engine.workflows.repeat import read_record

ODD = (None, True, -1, 1e308, "", "x", [], {}, [None], {"x": 1})
DEEP = "[" * 100_000


def spots(content, path=()) -> Iterator[tuple]:
    """Where a value stands in nested JSON; of a list the first and the last."""
    if path:
        yield path
    keys = content if isinstance(content, dict) else ()
    if isinstance(content, list) and content:
        keys = sorted({0, len(content) - 1})
    for key in keys:
        yield from spots(content[key], (*path, key))


def spoilt(content) -> Iterator[tuple[str, object]]:
    """Every value of JSON in turn taken away, or replaced by what no program expects."""
    for path in spots(content):
        for odd in ("taken away", *ODD):
            changed = copy.deepcopy(content)
            place = changed
            for key in path[:-1]:
                place = place[key]
            if odd == "taken away":
                del place[path[-1]]
            else:
                place[path[-1]] = odd
            yield f"{path}: {odd!r}", changed
    yield from ((repr(odd), odd) for odd in ODD)


def understood_or_refused(path, content, read) -> dict[str, int]:
    """Count how many were read, and how many refused in a sentence that names the file."""
    counts = {"read": 0, "refused": 0}
    for what, changed in spoilt(content):
        path.write_text(json.dumps(changed))
        try:
            read()
            counts["read"] += 1
        except (Mri7tError, ValueError) as error:
            assert str(error), what  # noqa: PT017
            counts["refused"] += 1
        except Exception as error:
            raise AssertionError(f"{what}: {error!r}") from error
    for text in (DEEP, "\udcff", '{"a": NaN}', "\0"):
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        with pytest.raises((Mri7tError, ValueError)):
            read()
    return counts


@pytest.fixture
def small(phantom):
    return type(phantom)(phantom.array[10:30, 10:30, 12:18], phantom.affine)


def test_model_card(tiny_model, small, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(tiny_model, folder)
    path = folder / "card.json"

    def read():
        estimate(small, load_model(folder), SynthesisConfig("cpu", step=3))

    counts = understood_or_refused(path, json.loads(path.read_text()), read)
    assert min(counts.values()) > 20


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{\n "GeneratedBy": [,]}', "not JSON at line 2, column 18"),
        (b"", "not JSON at line 1, column 1"),
        (b"\xff\xfe", "not text in UTF-8"),
        (DEEP.encode(), "nested too deeply"),
    ],
    ids=["comma", "empty", "bytes", "deep"],
)
def test_what_is_no_json_is_told_in_our_own_words(tmp_path, content, words):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(Mri7tError, match=rf"a\.json: cannot be read \({words}\)"):
        read_record(path)


def test_byte_order_mark_of_an_editor_is_accepted(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"a": 1}', encoding="utf-8-sig")
    assert read_json(path) == {"a": 1}


def test_sidecar_of_a_repetition(small, tiny_model, tmp_path):
    model = load_model(tiny_model)
    facts = estimate(small, model, SynthesisConfig("cpu")).sidecar()
    assert facts["Model"]["Name"] == Execution(model="tiny").model
    path = tmp_path / "a.json"
    counts = understood_or_refused(path, facts, lambda: read_record(path).other_versions)
    assert min(counts.values()) > 20


def test_study(phantom, tmp_path):
    (tmp_path / "dataset").mkdir()
    for name, array in (("sub-A", phantom.array), ("sub-B", phantom.array**2)):
        image = nibabel.Nifti1Image(array, np.eye(4))
        nibabel.save(image, tmp_path / "dataset" / f"{name}.nii.gz")
    settings = StudySettings("slice_unet", "best", TrainConfig(patch_size=16), {"widths": (8, 8)})
    run = start_training(tmp_path / "dataset", tmp_path / "run", settings, [])[0].folder
    path = run / STUDY_FILE
    content = json.loads(path.read_text())
    counts = understood_or_refused(path, content, lambda: training_command(open_study(run), 0))
    assert min(counts.values()) > 20
