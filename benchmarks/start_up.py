"""How long the package keeps its user waiting at the start; prints a table.

    xvfb-run -a python benchmarks/start_up.py

Processor time, the least of five fresh processes each: `import napari_mri7t`, `mri7t --help`, and
the opening of each widget in a viewer, in the window's thread.
"""

import json
import os
import subprocess
import sys

import torch
from machine import machine

RUNS = 5
NOTHING = ("-c", "pass")
IMPORT = ("-c", "import napari_mri7t")
HELP = (
    "-c",
    "import sys; sys.argv = ['mri7t', '--help']; from napari_mri7t.cli import main; main()",
)
WIDGETS = """
import json, os, time
import napari
from npe2 import PluginManager
viewer = napari.Viewer(show=False)
manifest = PluginManager.instance().get_manifest("napari-mri7t")
seconds = {}
for widget in manifest.contributions.widgets:
    start = time.thread_time()
    viewer.window.add_plugin_dock_widget("napari-mri7t", widget.display_name)
    napari.qt.get_qapp().processEvents()
    seconds[widget.display_name] = time.thread_time() - start
print("SECONDS", json.dumps(seconds), flush=True)
os._exit(0)  # what the widgets load in threads is not waited for
"""


def seconds_of(program: tuple[str, ...]) -> float:
    """Measure the least processor time of a fresh interpreter."""
    return min(_run_once(program) for _ in range(RUNS))


def _run_once(program: tuple[str, ...]) -> float:
    before = os.times()
    subprocess.run([sys.executable, *program], capture_output=True, check=True)
    after = os.times()
    return (
        after.children_user + after.children_system
        - before.children_user - before.children_system
    )  # fmt: skip


def widget_seconds() -> dict[str, float]:
    """Measure the least time in which each widget opens, the first time in a process."""
    found: dict[str, float] = {}
    for _ in range(RUNS):
        ran = subprocess.run(
            [sys.executable, "-c", WIDGETS], capture_output=True, text=True, check=True
        )
        (line,) = [line for line in ran.stdout.splitlines() if line.startswith("SECONDS")]
        for name, seconds in json.loads(line.removeprefix("SECONDS")).items():
            found[name] = min(seconds, found.get(name, seconds))
    return found


def main() -> None:
    """Print the table."""
    bare = seconds_of(NOTHING)
    print(machine(torch.device("cpu")))
    print("\n| | processor time, s |\n|---|---|")
    print(f"| `import napari_mri7t` | {seconds_of(IMPORT) - bare:.3f} |")
    print(f"| `mri7t --help` | {seconds_of(HELP):.2f} |")
    for name, seconds in widget_seconds().items():
        print(f"| {name} opens | {seconds:.2f} |")


if __name__ == "__main__":
    main()
