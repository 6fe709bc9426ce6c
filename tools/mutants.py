"""Change the code in small ways, and show the changes that no test notices: `make mutants`.

    python tools/mutants.py [MODULE...]         every mutant, into .mutants/
    python tools/mutants.py --sample 3          at most one mutant of each function, the third

mutmut works on a copy of the package for each module, so the checkout stays as it is. Each module
is tested by its own tests alone: what they miss counts as missed, even if other tests notice it.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
WORK = ROOT / ".mutants"
PAGE = ROOT / "docs" / "reliability.md"  # lists the survivors that are known
ENGINE = "napari_mri7t/engine/"
TESTS = "tests/engine/"
# Of each: the files to change, and the tests.
MODULES = {
    "atomic": (["atomic.py"], ["test_atomic.py"]),
    "files": (["volumes/files/*.py"], ["volumes/files", "volumes/test_images.py"]),
    "provenance": (
        ["volumes/provenance.py"],
        ["volumes/test_provenance.py", "volumes/files/test_sidecars.py"],
    ),
    "subjects": (["datasets/subjects.py", "datasets/folds.py"], ["datasets"]),
    "checkpoint": (
        ["training/checkpoint.py"],
        ["training/test_checkpoint.py", "training/test_loop.py"],
    ),
    "start": (["training/start.py"], ["training/test_start.py"]),
    "repeat": (
        ["workflows/repeat.py"],
        ["workflows/test_repeat.py", "workflows/test_repeat_raw_scans.py"],
    ),
}
# What is said is read by people: its words may change without a test.
WORDS = [r"_log\.", r"^\s*f?\"[^\"]*\",?\s*$"]
MESSAGE = re.compile(r"""f?"[^"]*\s[^"]*"|None""")  # a text with a space, or none in its place
SIGNS = (r"-(?!--)", r"\+(?!\+\+)")  # of the lines of a difference
SETTINGS = """
[tool.mutmut]
source_paths = ["napari_mri7t"]
only_mutate = {files}
do_not_mutate_patterns = {words}
also_copy = ["napari.yaml"]
pytest_add_cli_args = ["-m", "not slow", "-p", "no:cacheprovider"]
pytest_add_cli_args_test_selection = {tests}
process_isolation = "forkserver"
use_git_change_detection = false
track_dependencies = false
timeout_multiplier = 5
timeout_constant = 3
"""


def main() -> None:
    """Run mutmut on each module and print what survived; exit code 1 if a change is not listed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("modules", nargs="*", default=list(MODULES), metavar="MODULE")
    parser.add_argument("--sample", type=int, metavar="N", help="only the Nth mutant of a function")
    options = parser.parse_args()
    listed = PAGE.read_text(encoding="utf-8")
    new = []
    for module in options.modules:
        folder = copy_of_the_package(module)
        run_mutmut(folder, options.sample)
        new += [row for row in survivors_in(folder, module) if row not in listed]
    print("\n".join(["Survived, and not listed in docs/reliability.md:", *new] if new else []))
    sys.exit(1 if new else 0)


def copy_of_the_package(module: str) -> Path:
    """Return a fresh copy with mutmut's settings."""
    folder = WORK / module
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "mutants").mkdir(parents=True)  # it must exist when Python starts, to be found later
    compiled = shutil.ignore_patterns("__pycache__")
    for part in ("napari_mri7t", "tests"):
        shutil.copytree(ROOT / part, folder / part, ignore=compiled)
    shutil.copy(ROOT / "napari.yaml", folder)
    files, tests = MODULES[module]
    settings = SETTINGS.format(
        files=[ENGINE + file for file in files],
        words=WORDS,
        tests=[TESTS + test for test in tests],
    )
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (folder / "pyproject.toml").write_text(text + settings, encoding="utf-8")
    return folder


def run_mutmut(folder: Path, sample: int | None) -> None:
    """Run it in the copy, on two cores, each process on one."""
    own = {"PYTHONPATH": str(folder / "mutants"), "OMP_NUM_THREADS": "1"}
    command = [Path(sys.executable).parent / "mutmut", "run", "--max-children", "2"]
    command += [] if sample is None else [f"*__mutmut_{sample}"]
    subprocess.run(command, cwd=folder, env=os.environ | own, check=True)


def survivors_in(folder: Path, module: str) -> list[str]:
    """Return each change that no test noticed as the beginning of a row of the page.

    Changes of the words of a message are counted only.
    """
    listed = mutmut(folder, "results", "--all", "true")
    states = re.findall(r"^\s+(\S+): (.+)$", listed, re.MULTILINE)
    rows, n_words = [], 0
    for name in [name for name, state in states if state in ("survived", "no tests")]:
        before, after = change(folder, name)
        is_message = MESSAGE.search(before) and MESSAGE.sub("", before) == MESSAGE.sub("", after)
        if is_message or "_log." in before:
            n_words += 1
        else:
            rows.append(f"| `{function_of(name)}` | `{after}` |")
    counts = dict(Counter(state for _, state in states))
    print(f"{module}: {counts}; {n_words} survivors change words only", flush=True)
    return rows


def function_of(name: str) -> str:
    """Return "atomic._place" for the name of a mutant."""
    module, _, rest = name.rpartition(".")
    function = re.sub(r"^xǁ(.+)ǁ", r"\1.", rest.split("__mutmut")[0]).removeprefix("x_")
    return f"{module.rpartition('.')[-1]}.{function}"


def change(folder: Path, name: str) -> tuple[str, str]:
    """Return the lines that a mutant changed, as they were and as they became, each in one line."""
    shown = mutmut(folder, "show", name).splitlines()
    lines = [[line[1:].strip() for line in shown if re.match(sign, line)] for sign in SIGNS]
    was, became = (" ".join(each).replace("|", "¦").replace("`", "'") for each in lines)
    return was, became


def mutmut(folder: Path, *words: str) -> str:
    """Return what a command of mutmut prints."""
    command = [Path(sys.executable).parent / "mutmut", *words]
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return ran.stdout.strip()


if __name__ == "__main__":
    main()
