"""`mri7t export`: what does not go together is refused before the work."""

from __future__ import annotations

import pytest

from napari_mri7t.engine.models import onnx
from napari_mri7t.engine.training import export


@pytest.fixture
def written(monkeypatch):
    """The files that would have been written."""
    paths = []

    def write(_, path, *, overwrite):
        paths.append(path)
        return path

    monkeypatch.setattr(onnx, "export_onnx", write)
    return paths


@pytest.mark.parametrize(
    "options",
    [("--half",), ("--name", "a"), ("--title", "b"), ("--data", "c"), ("--robustness", "d.json")],
    ids=lambda options: options[0],
)
def test_option_of_a_model_folder_is_refused_with_onnx(
    run_cli, tiny_model, tmp_path, written, options
):
    code, _, error = run_cli("export", tiny_model, tmp_path / "m.onnx", "--onnx", *options)
    assert code == 1
    assert error == f"{options[0]} is for a model folder: omit it, or omit --onnx\n"
    assert written == []


@pytest.mark.parametrize("fold", ["0", "final", "nonsense"])
def test_fold_of_a_model_that_is_no_run_folder_is_refused(
    run_cli, tiny_model, tmp_path, written, fold
):
    for model in (tiny_model, "basic_cnn"):
        words = ("export", model, tmp_path / "m.onnx", "--onnx", "--fold", fold)
        code, _, error = run_cli(*words)
        assert code == 1
        assert error.startswith(f"{model}: is not a run folder and has no folds")
        assert error.endswith("(--fold)\n")
    assert written == []


def test_model_folder_without_a_fold_is_exported_as_onnx(run_cli, tiny_model, tmp_path, written):
    assert run_cli("export", tiny_model, tmp_path / "m.onnx", "--onnx")[0] == 0
    assert written == [tmp_path / "m.onnx"]


def test_missing_measurement_is_refused_before_the_export(run_cli, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "export_model", lambda *_, **__: pytest.fail("was exported"))
    words = ("export", tmp_path, tmp_path / "model", "--robustness", tmp_path / "none.json")
    code, _, error = run_cli(*words)
    assert code == 1
    assert f"{tmp_path / 'none.json'}: " in error


def test_file_name_of_onnx_makes_no_folder(run_cli, tmp_path):
    code, _, error = run_cli("export", tmp_path / "run", tmp_path / "m.onnx")
    assert code == 1
    assert "add --onnx, or name a folder" in error
    assert not (tmp_path / "m.onnx").exists()
