"""The walls of the house: who imports whom, what is never loaded, what is never written."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import napari_mri7t

PACKAGE = Path(napari_mri7t.__file__).parent
ROOT = PACKAGE.parent
FILES = sorted(PACKAGE.rglob("*.py"))
QT = ("qtpy", "PyQt5", "PyQt6", "PySide2", "PySide6")
# Docstrings apart: numpydoc asks for long ones, and nobody should save on them.
MOST_LINES_OF_A_FILE = 300
MOST_LINES_OF_A_FUNCTION = 40


def loaded_modules(program: str, *arguments: str) -> set[str]:
    """Run a program in a fresh interpreter and list the top-level packages it has loaded."""
    program += "\nimport sys; print('LOADED', *sorted({n.split('.')[0] for n in sys.modules}))"
    run = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=240
    )
    assert run.returncode == 0, run.stderr
    (line,) = [line for line in run.stdout.splitlines() if line.startswith("LOADED")]
    return set(line.split()[1:])


def nodes(path: Path) -> Iterator[ast.AST]:
    return ast.walk(ast.parse(path.read_text(encoding="utf-8"), filename=str(path)))


def imported_names(path: Path) -> set[str]:
    names = set()
    for node in nodes(path):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return names


@pytest.mark.skipif(not (ROOT / "pyproject.toml").exists(), reason="needs the checkout")
def test_every_import_contract_holds():
    program = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=240
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_importing_the_package_loads_neither_torch_nor_qt():
    loaded = loaded_modules("import napari_mri7t")
    assert loaded.isdisjoint({"torch", "napari", "numpy", *QT})


def test_discovery_loads_neither_torch_nor_qt():
    loaded = loaded_modules(
        "from npe2 import PluginManager\n"
        "manager = PluginManager.instance()\n"
        "manager.discover()\n"
        "assert 'napari-mri7t' in manager, list(manager)\n"
        "assert manager.get_manifest('napari-mri7t').display_name == 'Synthesize 7T'"
    )
    assert loaded.isdisjoint({"torch", "napari_mri7t", *QT})


def test_reader_loads_no_torch(phantom_file):
    loaded = loaded_modules(
        "import sys\n"
        "from npe2 import PluginManager, read\n"
        "PluginManager.instance().discover()\n"
        "(layer,) = read([sys.argv[1]], stack=False, plugin_name='napari-mri7t')\n"
        "assert layer[0].ndim == 3",
        str(phantom_file),
    )
    assert "torch" not in loaded


def test_engine_loads_no_window_library():
    loaded = loaded_modules(
        "import importlib, pkgutil, napari_mri7t.engine as engine\n"
        "for module in pkgutil.walk_packages(engine.__path__, engine.__name__ + '.'):\n"
        "    importlib.import_module(module.name)"
    )
    assert "torch" in loaded  # so the loop did reach the networks
    assert loaded.isdisjoint({"napari", "magicgui", "superqt", "pyqtgraph", "typer", *QT})


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_file_keeps_the_house_rules(path):
    lines = path.read_text(encoding="utf-8").count("\n") - docstring_lines(path)
    assert lines <= MOST_LINES_OF_A_FILE, f"{lines} lines, docstrings apart"
    long = {name: size for name, size in function_sizes(path) if size > MOST_LINES_OF_A_FUNCTION}
    assert not long, f"functions of more than {MOST_LINES_OF_A_FUNCTION} lines: {long}"
    private = {name for name in imported_names(path) if name.startswith("napari._")}
    assert not private, f"napari's private modules: {private}"


def docstring_lines(path: Path) -> int:
    kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    texts = [node.body[0] for node in nodes(path) if isinstance(node, kinds) and described(node)]
    return sum((text.end_lineno or 0) - text.lineno + 1 for text in texts)


def described(node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return ast.get_docstring(node) is not None


def function_sizes(path: Path) -> Iterator[tuple[str, int]]:
    for node in nodes(path):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if described(node) and len(node.body) > 1 else node.body
            yield node.name, (node.end_lineno or 0) - body[0].lineno + 1


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_file_runs_no_code_from_data(path):
    assert not faults_of(path)


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from pickle import load",
        "import joblib",
        "import dill",
        "import shelve",
        "from marshal import loads",
        "__import__('pickle')",
        "from torch import load",
        "pd.read_pickle(path)",
        "np.load(path, allow_pickle=wanted)",
        "yaml.load_all(text)",
        "compile(text, '', 'exec')",
        "builtins.eval('1')",
        "eval('1')",
        "exec('1')",
        "torch.load(path, weights_only=False)",
        "torch.load(path)",
        "np.load(path, allow_pickle=True)",
        "yaml.load(text)",
        "yaml.unsafe_load(text)",
        "import matplotlib.pyplot as plt",
        "from matplotlib import pyplot",
        "raise RuntimeError('lost in the worker')",
        "class LostError(RuntimeError): pass",
    ],
)
def test_the_search_for_dangerous_code_finds(line, tmp_path):
    path = tmp_path / "module.py"
    path.write_text(line)
    assert faults_of(path)


def faults_of(path: Path) -> list[str]:
    """List what must not be in the package: code run from data, pyplot, errors workers swallow."""
    banned = {
        "pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve",
        "matplotlib.pyplot", "torch.load", "yaml.load",
    }  # fmt: skip
    faults = [f"imports {name}" for name in imported_names(path) if _under(name, banned)]
    for node in nodes(path):
        if isinstance(node, ast.Call):
            faults += faults_of_call(node)
        elif isinstance(node, ast.Raise) and "RuntimeError" in ast.dump(node):
            faults.append(
                f"line {node.lineno}: raises RuntimeError, which napari's worker swallows"
            )
        elif isinstance(node, ast.ClassDef) and any(
            "RuntimeError" in ast.dump(b) for b in node.bases
        ):
            faults.append(f"line {node.lineno}: {node.name} is a RuntimeError")
    return faults


def _under(name: str, banned: set[str]) -> bool:
    return any(name == ban or name.startswith(f"{ban}.") for ban in banned)


def faults_of_call(call: ast.Call) -> list[str]:
    name = ast.unparse(call.func)
    options = {option.arg: ast.unparse(option.value) for option in call.keywords}
    bad = (
        name.removeprefix("builtins.") in {"eval", "exec", "compile", "__import__"}
        or (name.startswith("yaml.") and "load" in name and "safe_load" not in name)
        or name.startswith("yaml.unsafe_load")
        or name.endswith("read_pickle")
        or (name == "torch.load" and options.get("weights_only") != "True")
        or options.get("weights_only") == "False"
        or options.get("allow_pickle", "False") != "False"
    )
    return [f"line {call.lineno}: {ast.unparse(call)}"] if bad else []
