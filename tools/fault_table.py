"""Write docs/faults.md: the faults and their tests, found by name.

    python tools/fault_table.py           write it
    python tools/fault_table.py --check   exit code 1 if it is out of date or a fault has no test

A test belongs to fault 7 if its name begins with `test_fault_07_`, if one of its parameters has the
id `fault_07`, or if `NAMED` lists it. Each fault must have a test over the command line, in the
engine and in a widget, but where `WITHOUT` says why it needs none.
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
    4: (REFUSE, "a flipped bit in the `.gz`: found by its checksum, which is always read"),
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
    19: (
        REFUSE,
        "a subject twice, or on both sides of a fold: by name, by file, by voxels after resaving "
        "(a copy with weak noise or another bias field gives a warning, a turned one does not)",
    ),
    20: (
        REFUSE,
        "truncated or damaged checkpoint: the previous one is taken, and no save replaces the "
        "last whole one",
    ),
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
    37: (SURVIVE, "spaces, non-ASCII, long paths, names that are not valid text, terminal escapes"),
    38: (SURVIVE, "no network at all"),
    39: (SURVIVE, "two runs at once on one run folder"),
    40: (SURVIVE, "a Dask worker killed: folds are idempotent"),
    41: (REFUSE, "a pipe, a device or an endless file in place of a regular file"),
    42: (REFUSE, "a JSON file of another program or image: ignored, never replaced"),
    43: (REFUSE, "an edited sidecar in `mri7t repeat`"),
    44: (REFUSE, "a card that declares a larger network than its weights hold"),
    45: (REFUSE, "maps, masks, parts and other contrasts where a T1w is expected: named"),
    46: (REFUSE, "a scheduler that other users could give work"),
    47: (WARN, "a unit of length that contradicts the voxel size"),
    48: (SURVIVE, "existing files that were not named in the dialog"),
    49: (SURVIVE, "a layer that was moved: used where it is shown, or refused"),
}
PLACES = {"Command line": "tests/cli/", "Engine": "tests/engine/", "Widget": "tests/widgets/"}
# Tests of the later faults, whose names do not begin with a number.
NAMED = {
    19: ["test_one_image_of_two_subjects_is_refused_however_it_is_stored"],
    20: ["test_a_damaged_state_never_takes_the_place_of_a_whole_one"],
    37: ["test_lines_sentences_warnings_and_logs_show_what_names_hold"],
    41: ["test_what_is_no_regular_file_is_named_and_not_waited_for"],
    42: [
        "test_sidecar_is_believed_for_the_bytes_of_its_image_alone",
        "test_json_of_another_program_is_never_replaced",
        "test_estimate_saved_beside_a_scan_leaves_the_scanner_s_json",
    ],
    43: ["test_sidecar_that_was_edited_is_refused_by_the_name_of_the_entry"],
    44: ["test_card_that_asks_for_another_network_than_its_weights_is_refused_at_once"],
    45: ["test_maps_masks_and_parts_are_no_t1w_and_are_named"],
    46: [
        "test_scheduler_that_anyone_can_give_work_is_refused_on_this_machine_too",
        "test_scheduler_on_another_machine_is_refused_without_tls",
    ],
    47: ["test_unit_that_the_voxel_size_contradicts_is_named_and_mm_taken"],
    48: [
        "test_several_layers_get_new_names_where_files_exist",
        "test_derivative_saved_twice_keeps_the_first_estimate",
    ],
    49: ["test_moved_layer_is_saved_where_it_is_shown"],
}
_ENGINE = "covered by the engine"
_NO_WORKERS = "cannot occur: the widgets start no workers"
_LAYERS = "cannot occur: only napari has layers"
WITHOUT = {
    (31, "Widget"): _NO_WORKERS,
    (40, "Widget"): _NO_WORKERS,
    (41, "Command line"): _ENGINE,
    (41, "Widget"): _ENGINE,
    (42, "Command line"): _ENGINE,
    (43, "Command line"): _ENGINE,
    (43, "Widget"): "cannot occur: no widget repeats a run",
    (44, "Command line"): _ENGINE,
    (44, "Widget"): _ENGINE,
    (45, "Command line"): _ENGINE,
    (45, "Widget"): _ENGINE,
    (46, "Widget"): _NO_WORKERS,
    (47, "Command line"): _ENGINE,
    (47, "Widget"): _ENGINE,
    (48, "Command line"): "cannot occur: every file is named",
    (48, "Engine"): "cannot occur: every file is named",
    (49, "Command line"): _LAYERS,
    (49, "Engine"): _LAYERS,
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
                for number in sorted(set(numbers_of(node, tree))):
                    found.setdefault(number, []).append((place, node.name))
    return found


def numbers_of(test: ast.FunctionDef, tree: ast.Module) -> Iterator[int]:
    """Yield the faults that a test covers."""
    named = re.match(r"test_fault_(\d\d)_", test.name)
    if named:
        yield int(named[1])
    yield from (number for number, names in NAMED.items() if test.name in names)
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
            if is_tested == ((number, place) in WITHOUT):
                wrong.append(
                    f"{number} {place}: {'needless exception' if is_tested else 'no test'}"
                )
    return wrong


def page(found: dict[int, list[tuple[str, str]]]) -> str:
    """Return the page."""
    lines = [
        "# Faults and bad input, and their tests",
        "",
        "This page is generated from the names of the tests by `make faults`. A test checks that",
        "it is up to date, and that each fault has a test wherever it can occur.",
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
    return _links(tests) if tests else WITHOUT[number, place]


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
    there = {name for tests in found.values() for _, name in tests}
    gone = sorted(name for names in NAMED.values() for name in names if name not in there)
    if unknown or gone or holes(found):
        sys.exit(f"no fault: {unknown}; no test: {gone}; to be tested: {holes(found)}")
    text = page(found)
    if "--check" in sys.argv:
        current = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
        sys.exit(0 if current == text else f"{PAGE.name} is out of date: run `make faults`")
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
