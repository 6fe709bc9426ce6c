"""The front door: what `import napari_mri7t as mri7t` offers, its examples, the page about it."""

import ast
import doctest
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import nbformat
import nibabel
import numpy as np
import pytest
from nbclient import NotebookClient

import napari_mri7t as mri7t

PACKAGE = Path(mri7t.__file__).parent
ROOT = PACKAGE.parent
STUB = PACKAGE / "__init__.pyi"
WITH_EXAMPLES = [
    path for path in sorted((PACKAGE / "engine").rglob("*.py")) if ">>> " in path.read_text("utf-8")
]
TUTORIAL = ROOT / "docs" / "tutorial"
FUNCTIONS = [name for name in mri7t.__all__ if inspect.isfunction(getattr(mri7t, name))]
PROMISED = {
    "load_volume", "save_volume", "Volume", "synthesize", "prepare", "simulate_3t", "score",
    "train", "evaluate", "report", "export_model", "load_model", "models", "repeat", "__version__",
}  # fmt: skip


def test_every_promised_name_is_there():
    assert set(mri7t.__all__) >= PROMISED
    assert set(dir(mri7t)) >= PROMISED - {"__version__"}


def test_the_stub_lists_what_is_offered():
    """A type checker reads the stub's `__all__`, Python what the stub imports."""
    tree = ast.parse(STUB.read_text(encoding="utf-8"))
    (listed,) = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    ]
    assert sorted(listed) == sorted(mri7t.__all__)


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_examples_run(path, tmp_path, monkeypatch):
    """Of the front door's functions, and of all others in the engine that have any."""
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    ran = doctest.testmod(module, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert ran.attempted
    assert ran.failed == 0


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_has_examples(name):
    text = inspect.getdoc(getattr(mri7t, name)) or ""
    assert "\nExamples\n--------\n>>> " in text


def test_path_image_and_volume_give_the_same_estimate(phantom_file, tiny_model):
    image = nibabel.load(phantom_file)
    volume = mri7t.load_volume(phantom_file)
    made = [mri7t.synthesize(scan, tiny_model).volume for scan in (phantom_file, image, volume)]
    for other in made[1:]:
        np.testing.assert_array_equal(other.array, made[0].array)
        np.testing.assert_array_equal(other.affine, made[0].affine)


def test_python_and_the_command_line_write_the_same_voxels(phantom_file, tiny_model, tmp_path):
    ours, theirs = tmp_path / "python.nii", tmp_path / "command_line.nii"
    program = (
        "import sys, napari_mri7t as m; m.synthesize(sys.argv[1], sys.argv[2]).save(sys.argv[3])"
    )
    command_line = "from napari_mri7t.cli import main; main()"
    command = ("-c", command_line, "synthesize", phantom_file, theirs, "--model", tiny_model)
    for words in (("-c", program, phantom_file, tiny_model, ours), command):
        subprocess.run([sys.executable, *map(str, words)], check=True, timeout=240)
    assert ours.read_bytes() == theirs.read_bytes()
    assert ours.with_suffix(".json").exists()


def test_the_notebook_is_the_page():
    tool = ROOT / "tools" / "notebook.py"
    ran = subprocess.run([sys.executable, tool, "--check"], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


def test_the_notebook_runs(tmp_path):
    """Every code block of the page, in order."""
    notebook = nbformat.read(TUTORIAL / "python.ipynb", as_version=4)
    client = NotebookClient(notebook, timeout=240, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    for name in ("t1w_7t.nii.gz", "t1w_7t.json", "comparison.png", "run/report.html"):
        assert (tmp_path / name).stat().st_size > 0
