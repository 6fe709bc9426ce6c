"""Kill `mri7t reproduce` at random moments; compare its tables with an uninterrupted run's.

python tools/stops.py DATASET FOLDER [--stops 10] [options of `mri7t reproduce`]
"""

from __future__ import annotations

import argparse
import csv
import random
import subprocess
import sys
import time
from pathlib import Path

MRI7T = Path(sys.executable).parent / "mri7t"
TIMED = "Seconds"  # the one column that two runs do not share
WHOLE = ("weights.safetensors", "estimate.nii.gz", "history.csv")  # of a fold


def start(dataset: Path, run: Path, options: list[str]) -> subprocess.Popen[bytes]:
    """Start the study, or resume it."""
    command = [str(MRI7T), "reproduce", str(dataset), str(run), *options]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def end(process: subprocess.Popen[bytes]) -> None:
    """Wait for the end; a failure ends this script."""
    _, error = process.communicate()
    if process.returncode:
        raise SystemExit(f"it failed:\n{error.decode()[-3000:]}")


def was_killed(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Kill it after a time; return False if it had ended by itself."""
    try:
        process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return True
    end(process)
    return False


def tables(run: Path) -> dict[str, list[list[str]]]:
    """Return every table of a study without measured times."""
    found = {}
    for path in sorted(run.rglob("tables/*.csv")):
        rows = list(csv.reader(path.read_text(encoding="utf-8").splitlines()))
        kept = [n for n, name in enumerate(rows[0]) if name != TIMED]
        found[path.name] = [[row[n] for n in kept] for row in rows]
    return found


def files(run: Path) -> dict[str, bytes]:
    """Return the files of the folds."""
    paths = sorted(path for path in run.rglob("fold-*/*") if path.name in WHOLE)
    return {path.relative_to(run).as_posix(): path.read_bytes() for path in paths}


def main() -> None:
    """Run the study twice: uninterrupted, and killed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("folder", type=Path, help="gets whole/ and stopped/; neither may exist")
    parser.add_argument("--stops", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    known, options = parser.parse_known_args()
    whole, stopped = known.folder / "whole", known.folder / "stopped"
    for run in (whole, stopped):
        if run.exists():
            raise SystemExit(f"{run}: exists already")
    began = time.monotonic()
    end(start(known.dataset, whole, options))
    span = time.monotonic() - began
    print(f"uninterrupted: {span:.0f} s, {len(files(whole))} files of folds")
    chance, n_kills, times = random.Random(known.seed), 0, []
    while n_kills < known.stops:
        pause = chance.uniform(0.2, 1.8) * span / known.stops
        if not was_killed(start(known.dataset, stopped, options), pause):
            break
        n_kills += 1
        times.append(f"{len(files(stopped))} files after {pause:.0f} s")
    end(start(known.dataset, stopped, options))
    print(f"killed {n_kills} times: {'; '.join(times)}")
    if (tables(stopped), files(stopped)) != (tables(whole), files(whole)):
        raise SystemExit("tables or files differ")
    print(f"{len(tables(whole))} tables and {len(files(whole))} files are equal")
    if n_kills < known.stops:
        raise SystemExit(f"it ended before the stop number {n_kills + 1}")


if __name__ == "__main__":
    main()
