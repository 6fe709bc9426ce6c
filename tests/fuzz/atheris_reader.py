"""Atheris, the coverage-guided fuzzer, on the reader of volumes.

`judge` of tests/engine/volumes/files/test_fuzz.py decides what is a finding. A finding does not end
the run: its input is stored under FOLDER/findings, one for each place in the code, and becomes a
case of the suite once it is understood. docs/reliability.md describes the runs and their results.

    python tests/fuzz/atheris_reader.py FOLDER -max_total_time=3600
"""

from __future__ import annotations

import gzip
import importlib.util
import json
import sys
import time
import traceback
import tracemalloc
from collections import Counter
from pathlib import Path

import atheris
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
with atheris.instrument_imports(include=["napari_mri7t"]):
    import napari_mri7t.engine.volumes.volume  # noqa: F401

# The first byte of an input says what the rest is stored as: extension, folded here, half in .img.
STORED = (
    (".nii", False, False),
    (".nii.gz", True, False),
    (".nii.gz", False, False),
    (".mgh", False, False),
    (".mgz", True, False),
    (".mgz", False, False),
    (".hdr", False, True),
)
SAY_EVERY = 10.0  # seconds


def load_suite():
    """Return the module that holds the sound files, the mutations and the judge."""
    path = ROOT / "tests" / "engine" / "volumes" / "files" / "test_fuzz.py"
    spec = importlib.util.spec_from_file_location("test_fuzz", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Campaign:
    """One run: where it works, what it counted, what it found."""

    def __init__(self, folder: Path):
        self.suite = load_suite()
        self.folder = folder
        for name in ("corpus", "findings", "work"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        self.outcomes: Counter[str] = Counter()
        self.places: set[str] = set()
        self.started = self.said = time.monotonic()
        tracemalloc.start()

    def sow(self) -> None:
        """Put the sound files into the corpus."""
        for name, (data, _) in self.suite.SOURCES.items():
            kinds = (3, 4) if name.startswith("mgh") else (0, 1, 6)
            for kind in kinds:
                (self.folder / "corpus" / f"{name}-{kind}").write_bytes(bytes([kind]) + data)
            folded = gzip.compress(data, mtime=0)
            kind = 5 if name.startswith("mgh") else 2
            (self.folder / "corpus" / f"{name}-{kind}").write_bytes(bytes([kind]) + folded)

    def store(self, data: bytes) -> Path:
        """Write an input as the file that its first byte names."""
        extension, folded, paired = STORED[data[0] % len(STORED)]
        content, work = data[1:], self.folder / "work"
        path = work / f"case{extension}"
        if paired:
            (work / "case.img").write_bytes(content[544:])
            content = content[:544]
        path.write_bytes(gzip.compress(content, 1, mtime=0) if folded else content)
        return path

    def run(self, data: bytes) -> None:
        """Judge one input."""
        if len(data) < 2:
            return
        try:
            outcome = self.suite.judge(self.store(data))
        except Exception as error:
            outcome = "finding"
            self.keep(data, error)
        self.outcomes[outcome] += 1
        if time.monotonic() - self.said > SAY_EVERY:
            self.say()

    def keep(self, data: bytes, error: Exception) -> None:
        """Keep the first input for each place where something went wrong."""
        frames = traceback.extract_tb(error.__traceback__)
        ours = [frame for frame in frames if "site-packages" not in frame.filename]
        marks = [f"{Path(frame.filename).stem}{frame.lineno}" for frame in (ours[-1], frames[-1])]
        place = "-".join([type(error).__name__, *marks])
        if place not in self.places:
            self.places.add(place)
            (self.folder / "findings" / place).write_bytes(data)
            note = "".join(traceback.format_exception(error))
            (self.folder / "findings" / f"{place}.txt").write_text(note)

    def say(self) -> None:
        """Write the figures so far."""
        self.said = time.monotonic()
        figures = {
            "executions": sum(self.outcomes.values()),
            "seconds": round(self.said - self.started),
            "outcomes": dict(self.outcomes),
            "findings": sorted(self.places),
        }
        (self.folder / "figures.json").write_text(json.dumps(figures, indent=2) + "\n")

    def mutate(self, data: bytes, max_size: int, seed: int) -> bytes:
        """Spoil header fields as the suite does, or let libFuzzer have its way."""
        rng = np.random.default_rng(seed)
        if len(data) < 2 or rng.random() < 0.5:
            return atheris.Mutate(data, len(data))
        spoilt = bytearray(data[1:])
        is_two = spoilt[:4] in (b"\x1c\2\0\0", b"\0\0\2\x1c")
        dtype = self.suite.nifti2_dtype if is_two else self.suite.nifti1_dtype
        if data[0] % len(STORED) in (3, 4):
            dtype = self.suite.mgh_dtype
        self.suite.mutate(spoilt, dtype, rng)
        return (data[:1] + bytes(spoilt))[:max_size]


def main() -> None:
    """Run until libFuzzer's own options say so."""
    folder = Path(sys.argv[1]).resolve()
    campaign = Campaign(folder)
    campaign.sow()
    arguments = [sys.argv[0], *sys.argv[2:], "-max_len=8192", str(folder / "corpus")]
    atheris.Setup(arguments, campaign.run, custom_mutator=campaign.mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
