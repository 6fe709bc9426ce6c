"""What became of a batch: kept in its derivative, printed at its end."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from napari_mri7t.engine.atomic import write_atomically

LOG_FOLDER = "logs"
SUMMARY_FILE = "batch.json"
IGNORE_FILE = ".bidsignore"


@dataclass(frozen=True)
class BatchSummary:
    """What became of a batch; names are paths within the input folder.

    Parameters
    ----------
    written : tuple of str
        Made in this run.
    known : tuple of str
        Made before, from the same scan, model and settings.
    failed : dict of str to str
        Why there is no estimate.
    warnings : dict of str to tuple of str
        What was odd about those written.
    seconds : float
        Of this run.
    """

    written: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    failed: dict[str, str] = field(default_factory=dict)
    warnings: dict[str, tuple[str, ...]] = field(default_factory=dict)
    seconds: float = 0.0

    def with_other(self, other: "BatchSummary") -> "BatchSummary":
        """Add what became of other scans at the same time."""
        return BatchSummary(
            (*self.written, *other.written),
            (*self.known, *other.known),
            self.failed | other.failed,
            self.warnings | other.warnings,
            max(self.seconds, other.seconds),
        )


def write_summary(folder: Path, summary: BatchSummary) -> Path:
    """Write what became of a batch into the derivative, where the BIDS validator looks away.

    Parameters
    ----------
    folder : Path
        Of the derivative.
    summary : BatchSummary

    Returns
    -------
    Path
        The file.
    """
    path = folder / LOG_FOLDER / SUMMARY_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    if not (folder / IGNORE_FILE).exists():
        write_atomically(folder / IGNORE_FILE, lambda file: file.write(f"{LOG_FOLDER}/\n".encode()))
    text = json.dumps(asdict(summary), indent=2, ensure_ascii=False) + "\n"
    return write_atomically(path, lambda file: file.write(text.encode("utf-8", "backslashreplace")))
