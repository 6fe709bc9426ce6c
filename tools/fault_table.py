"""Write docs/faults.md: the forty faults and their tests, found by name.

    python tools/fault_table.py           write it
    python tools/fault_table.py --check   exit code 1 if it is out of date or a fault has no test

A test belongs to fault 7 if its name begins with `test_fault_07_`, or one of its parameters has the
id `fault_07`. Each must have a test over the command line, in the engine and in a widget, but where
`CANNOT` says why it cannot occur.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "faults.md"

REFUSE, WARN, SURVIVE = "refuse", "warn", "survive"
FAULTS = {
    1: (REFUSE, "empty file"),
    2: (REFUSE, "truncated `.nii`"),
    3: (REFUSE, "truncated `.nii.gz`"),
    4: (REFUSE, "a flipped bit in the `.gz`: read to the end, the checksum finds it"),
    5: (REFUSE, "a `.gz` name without gzip content"),
    6: (REFUSE, "HTML, text or a Git LFS pointer under a `.nii` name"),
    7: (REFUSE, "dimensions beyond the file or the memory"),
    8: (REFUSE, "zero or negative dimensions"),
    9: (REFUSE, "gzip bomb"),
    10: (REFUSE, "RGB or complex datatype"),
    11: (WARN, "extension flag without an extension"),
    12: (
        REFUSE,
        "4-D with more than one volume and no `--index`; a trailing 1 is accepted",
    ),
    13: (REFUSE, "2-D"),
    14: (REFUSE, "NaN or singular affine"),
    15: (REFUSE, "voxel size 0 or NaN"),
    16: (REFUSE, "all NaN, constant or empty image"),
    17: (REFUSE, "NaN in training data"),
    18: (REFUSE, "a pair on different grids: the advice is to register it"),
    19: (REFUSE, "a subject twice, or on both sides of a fold"),
    20: (REFUSE, "truncated or damaged checkpoint: the previous one is taken"),
    21: (REFUSE, "checkpoint of other settings or another network, or a pickle"),
    22: (WARN, "sform and qform disagree"),
    23: (WARN, "sform and qform codes both 0"),
    24: (WARN, "shear"),
    25: (WARN, "slope 0, NaN or huge"),
    26: (WARN, "float under an integer header: float32 is always written"),
    27: (WARN, "spacing, intensity or skull outside what the model was trained on"),
    28: (WARN, "some NaN voxels: background"),
    29: (WARN, "NaN in a half-precision result: recomputed in float32, never saved"),
    30: (SURVIVE, "out of memory: a smaller batch, then the CPU, then a clear message"),
    31: (SURVIVE, "a worker killed for memory: the message names memory"),
    32: (SURVIVE, "disk full: the old file intact, no temporary left"),
    33: (SURVIVE, "read-only folder"),
    34: (SURVIVE, "output = input: refused without `--overwrite`, then replaced atomically"),
    35: (SURVIVE, "viewer closed during a job"),
    36: (SURVIVE, "error or warning inside a worker"),
    37: (SURVIVE, "spaces, non-ASCII, long paths"),
    38: (SURVIVE, "no network at all"),
    39: (SURVIVE, "two runs at once on one run folder"),
    40: (SURVIVE, "a Dask worker killed: folds are idempotent"),
}
PLACES = {"Command line": "tests/cli/", "Engine": "tests/engine/", "Widget": "tests/widgets/"}
CANNOT = {
    (31, "Widget"): "the widgets start no workers",
    (40, "Widget"): "the widgets start no workers",
}
TITLES = {
    REFUSE: "Refused: one sentence (file, problem, remedy), exit code 1, no output",
    WARN: "Warning: the work continues, the sidecar records it",
    SURVIVE: "Survived: nothing is lost",
}


def tests_of_faults(folder: Path) -> dict[int, list[tuple[str, str]]]:
    """Return the tests of each fault: (file, name)."""
    found: dict[int, list[tuple[str, str]]] = {number: [] for number in FAULTS}
    for path in sorted(folder.rglob("test_*.py")):
        place = path.relative_to(ROOT).as_posix()
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                for number in sorted(numbers_of(node, tree)):
                    found.setdefault(number, []).append((place, node.name))
    return found


def numbers_of(test: ast.FunctionDef, tree: ast.Module) -> Iterator[int]:
    """Yield the faults that a test covers."""
    named = re.match(r"test_fault_(\d\d)_", test.name)
    if named:
        yield int(named[1])
    marks = " ".join(ast.unparse(mark) for mark in test.decorator_list)
    yield from {int(number) for number in re.findall(r"\bfault_(\d\d)\b", marks)}
    for table in re.findall(r"f'fault_\{n\}'\) for n in (\w+)", marks):  # ids made from a table
        yield from table_keys(table, tree)


def table_keys(name: str, tree: ast.Module) -> Iterator[int]:
    """Yield the keys of a table at the head of a test file."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            yield from (int(key) for key in ast.literal_eval(_keys(node.value)))


def _keys(table: ast.expr) -> ast.expr:
    if not isinstance(table, ast.Dict):
        raise TypeError(f"expected a table, got {ast.unparse(table)}")
    return ast.List([key for key in table.keys if key is not None])


def place_of(file: str) -> str:
    """Return the column of a test, by its folder."""
    return max(PLACES, key=lambda place: len(PLACES[place]) * file.startswith(PLACES[place]))


def holes(found: dict[int, list[tuple[str, str]]]) -> list[str]:
    """Return where a fault can occur and has no test, and exceptions that have one."""
    wrong = []
    for number in FAULTS:
        for place in PLACES:
            is_tested = any(place_of(file) == place for file, _ in found[number])
            if is_tested == ((number, place) in CANNOT):
                wrong.append(
                    f"{number} {place}: {'needless exception' if is_tested else 'no test'}"
                )
    return wrong


def page(found: dict[int, list[tuple[str, str]]]) -> str:
    """Return the page."""
    lines = [
        "# Faults and bad input, and their tests",
        "",
        "Generated from the names of the tests by `make faults`. A test checks that it is up to",
        "date, and that no fault lacks a test where it can occur.",
    ]
    for kind, title in TITLES.items():
        columns = ["", "Fault", *PLACES]
        lines += ["", f"## {title}", "", f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
        for number, (of_kind, fault) in FAULTS.items():
            if of_kind == kind:
                cells = [str(number), fault, *(_cell(number, place, found) for place in PLACES)]
                lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(number: int, place: str, found: dict[int, list[tuple[str, str]]]) -> str:
    tests = [(file, name) for file, name in found[number] if place_of(file) == place]
    return _links(tests) if tests else f"cannot occur: {CANNOT[number, place]}"


def _links(tests: list[tuple[str, str]]) -> str:
    """Return links: each file once, with its tests."""
    files: dict[str, list[str]] = {}
    for place, name in tests:
        words = re.sub(r"^test_(fault_\d\d_)?", "", name).replace("_", " ")
        files.setdefault(place, []).append(words)
    parts = [f"[{Path(p).stem}](../{p}): {'; '.join(words)}" for p, words in files.items()]
    return "<br>".join(parts)


def main() -> None:
    """Write the page, or compare it with the tests."""
    found = tests_of_faults(ROOT / "tests")
    unknown = sorted(set(found) - set(FAULTS))
    if unknown or holes(found):
        sys.exit(f"numbers that are no fault: {unknown}; to be tested: {holes(found)}")
    text = page(found)
    if "--check" in sys.argv:
        current = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
        sys.exit(0 if current == text else f"{PAGE.name} is out of date: run `make faults`")
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
