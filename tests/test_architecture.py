"""The walls of the house: who imports whom, what is never loaded, what is never written."""

import ast
import collections
import graphlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import grimp
import pytest

import napari_mri7t

PACKAGE = Path(napari_mri7t.__file__).parent
ROOT = PACKAGE.parent
FILES = sorted(PACKAGE.rglob("*.py"))
QT = ("qtpy", "PyQt5", "PyQt6", "PySide2", "PySide6")
# Docstrings apart: numpydoc asks for long ones, and nobody should save on them.
MOST_LINES_OF_A_FILE = 300
MOST_LINES_OF_A_FUNCTION = 40
MODULES_OF_THE_ENGINES_ROOT = {
    "__init__", "atomic", "devices", "errors", "progress", "regular", "system", "texts", "typed",
}  # fmt: skip
# Of `dask worker` and sbatch, in workflows/cluster.py.
ARGUMENTS_OF_OTHERS = {
    "--no-dashboard", "--dashboard-address", "--nthreads", "--resources", "--gres=gpu:",
}  # fmt: skip
OPTION = re.compile(r"(?<![\w-])--[a-z][\w-]*|\bmri7t [a-z]+\b")
in_checkout = pytest.mark.skipif(
    not (ROOT / "pyproject.toml").exists(), reason="needs the checkout"
)


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


@in_checkout
def test_every_import_contract_holds():
    program = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=240
    )
    assert run.returncode == 0, run.stdout + run.stderr


@in_checkout
def test_every_room_of_the_engine_has_its_place_in_the_layers():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    assert "exclude_type_checking_imports" not in settings["importlinter"]
    (layers,) = (c["layers"] for c in settings["importlinter"]["contracts"] if "layers" in c)
    named = {name.split(".")[-1] for layer in layers for name in layer.split(" | ")}
    assert named >= {path.stem for path in (PACKAGE / "engine").iterdir() if is_module(path)}


def is_module(path: Path) -> bool:
    return (path / "__init__.py").exists() or (path.suffix == ".py" and path.stem != "__init__")


def test_no_module_imports_itself_through_others():
    graph = grimp.build_graph("napari_mri7t", exclude_type_checking_imports=False)
    arrows = {name: graph.find_modules_directly_imported_by(name) for name in graph.modules}
    assert len(arrows) > 100
    graphlib.TopologicalSorter(arrows).prepare()  # CycleError names the circle


def test_the_engines_root_holds_no_loose_modules():
    assert {path.stem for path in (PACKAGE / "engine").glob("*.py")} <= MODULES_OF_THE_ENGINES_ROOT


@in_checkout
def test_the_map_of_the_developers_page_names_every_module_in_its_folder():
    page = (ROOT / "docs" / "developers.md").read_text(encoding="utf-8")
    (tree,) = [b for b in re.findall(r"```text\n(.*?)```", page, re.DOTALL) if "engine/" in b]
    named = names_by_folder(tree)
    modules = {path.relative_to(ROOT).with_suffix("") for path in FILES if path.stem != "__init__"}
    missing = [str(m) for m in sorted(modules) if m.stem not in named[m.parent.as_posix()]]
    assert len(modules) > 100
    assert missing == []
    folders = [PACKAGE, *(path for path in PACKAGE.rglob("*") if path.is_dir())]
    existing = {path.relative_to(ROOT).as_posix() for path in folders}
    assert {folder for folder in named if folder.startswith("napari_mri7t")} <= existing


def names_by_folder(tree: str) -> dict[str, set[str]]:
    """Read the map: a line a folder, what follows its name or is indented below it is in it."""
    above: list[tuple[int, str]] = []
    named: dict[str, set[str]] = collections.defaultdict(set)
    for line in tree.splitlines():
        indent, first = len(line) - len(line.lstrip()), line.split()[0]
        while above and above[-1][0] >= indent:
            above.pop()
        if first.endswith("/"):
            above.append((indent, first.rstrip("/")))
        folder = "/".join(name for _, name in above)
        named[folder] |= set(re.findall(r"\w+", line.split("(")[0] + re.sub(r"\(.*?\)", "", line)))
    return named


def test_the_house_has_at_most_22_rooms():
    """Folders of modules, and the modules that stand in the engine's root."""
    folders = {path.parent for path in FILES if path.stem != "__init__"}
    loose = [path for path in (PACKAGE / "engine").glob("*.py") if path.stem != "__init__"]
    in_widgets = [f for f in folders if f.parent == PACKAGE / "widgets"]
    rooms = folders - {PACKAGE / "engine", PACKAGE / "engine/volumes/files", *in_widgets}
    assert len(rooms) + len(loose) + bool(in_widgets) <= 22


ENGINE = [path for path in FILES if path.is_relative_to(PACKAGE / "engine")]


@pytest.mark.parametrize("path", ENGINE, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_engine_speaks_of_no_command_line_option(path):
    assert not options_named(path)


def test_the_search_for_options_finds(tmp_path):
    path = tmp_path / "module.py"
    path.write_text(
        'def f(x):\n    """Work, unlike `--this` of a docstring."""\n'
        '    raise ValueError(f"{x}: choose one (--index)" + "or run `mri7t train` a--b c -- d")\n'
        'def training_command():\n    return "mri7t train --preset"\n'
        'SLURM = ["--resources"]\nraise ValueError("--overwrite must be given")\n'
    )
    assert options_named(path) == {"--index", "--overwrite", "mri7t train"}


def options_named(path: Path) -> set[str]:
    """Find the command-line options and commands that messages name.

    Docstrings, arguments of other programs, and the command that a model card records are left out.
    """
    every = list(nodes(path))
    apart = {id(node.body[0].value) for node in every if documented(node)}
    for node in every:
        if isinstance(node, ast.FunctionDef) and node.name == "training_command":
            apart |= {id(below) for below in ast.walk(node)}
    texts = [
        node.value
        for node in every
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in apart
    ]
    return {
        found
        for text in texts
        if text not in ARGUMENTS_OF_OTHERS
        for found in OPTION.findall(re.sub("'dask worker[^']*'", "", text))
    }


def documented(node: ast.AST) -> bool:
    kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    return isinstance(node, kinds) and described(node)


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
    texts = [node.body[0] for node in nodes(path) if documented(node)]
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
