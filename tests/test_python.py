"""The front door: what `import napari_mri7t as mri7t` offers, its examples, the page about it."""

import ast
import doctest
import importlib
import inspect
import json
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
    "plan_preparation", "Progress", "Cancelled", "SynthesisConfig", "PreparationConfig",
    "OutputConfig", "SimulationConfig", "TrainConfig", "SourcePaths",
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


def _with_its_name(path):
    name = path.relative_to(PACKAGE).as_posix()
    is_slow = name == "engine/preparation/pair.py"  # registers a template of 1 mm
    return pytest.param(path, id=name, marks=[pytest.mark.slow] if is_slow else [])


@pytest.mark.parametrize("path", [_with_its_name(path) for path in WITH_EXAMPLES])
def test_examples_run(path, tmp_path, monkeypatch):
    """Of every function in the engine that has any, each in a folder of its own."""
    module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    for example in doctest.DocTestFinder().find(module):
        folder = tmp_path / example.name
        folder.mkdir()
        monkeypatch.chdir(folder)
        runner.run(example)
    assert runner.tries
    assert runner.failures == 0


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


PROGRAM = """
import sys
import napari_mri7t as m
scan, model, path, *own = sys.argv[1:]
asked = m.PreparationConfig("none", *own) if own else m.PreparationConfig()
m.synthesize(scan, model, preparation=asked, output=m.OutputConfig(via="mni")).save(path)
"""


@pytest.mark.parametrize("is_prepared", [False, True])
def test_python_and_the_command_line_write_the_same_voxels(
    phantom_file, tiny_model, tmp_path, is_prepared
):
    """Where it is prepared, by an own mask and transform: no other library decides then."""
    ours, theirs = tmp_path / "python.nii", tmp_path / "command_line.nii"
    own, options = (), ()
    if is_prepared:
        own = own_files(mri7t.load_volume(phantom_file), tmp_path)
        options = ("--prepare", "none", "--mask", own[0], "--transform", own[1])
    command_line = "from napari_mri7t.cli import main; main()"
    where = (phantom_file, theirs, "--model", tiny_model, "--via", "mni")
    command = ("-c", command_line, "synthesize", *where, *options)
    for words in (("-c", PROGRAM, phantom_file, tiny_model, ours, *own), command):
        subprocess.run([sys.executable, *map(str, words)], check=True, timeout=240)
    assert ours.read_bytes() == theirs.read_bytes()
    facts = [json.loads(path.with_suffix(".json").read_text()) for path in (ours, theirs)]
    assert facts[0]["Settings"] == facts[1]["Settings"]
    assert ("preparation" in facts[0]["Settings"]) == is_prepared


def own_files(scan, folder):
    """A mask that leaves out half of the scan, and a transform that tilts it."""
    mask = scan.array > 0
    mask[: scan.shape[0] // 2] = False
    tilt = np.eye(4)
    tilt[1:3, 1:3] = [[0.96, -0.28], [0.28, 0.96]]
    np.savetxt(folder / "to-MNI.txt", tilt)
    return mri7t.save_volume(scan.with_array(mask), folder / "mask.nii.gz"), folder / "to-MNI.txt"


def test_a_notebook_shows_results_in_a_few_lines(phantom, tiny_model):
    """No voxels, no weights, no card."""
    made = mri7t.synthesize(phantom, tiny_model, mri7t.SynthesisConfig(device="cpu"))
    for result in (phantom, made, made.model, mri7t.prepare(phantom), mri7t.simulate_3t(phantom)):
        assert phantom.name in repr(result) or result is made.model
        assert len(repr(result)) < 1000


def test_the_notebook_is_the_page():
    tool = ROOT / "tools" / "notebook.py"
    ran = subprocess.run([sys.executable, tool, "--check"], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


@pytest.mark.slow
def test_the_notebook_runs(tmp_path):
    """Every code block of the page, in order."""
    notebook = nbformat.read(TUTORIAL / "python.ipynb", as_version=4)
    client = NotebookClient(notebook, timeout=240, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    for name in (
        "example_synthetic.nii.gz",
        "example_synthetic.json",
        "comparison.png",
        "run/report.html",
    ):
        assert (tmp_path / name).stat().st_size > 0
