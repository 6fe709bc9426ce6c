"""Time the synthesis of raw scans, preparation included, and draw a quality page of each.

python benchmarks/raw_scans.py FOLDER SCAN...
"""

import sys
import time
from pathlib import Path

from napari_mri7t.engine.errors import Mri7tError
from napari_mri7t.engine.models.card import REPORT_MODEL
from napari_mri7t.engine.models.model import Model, load_model
from napari_mri7t.engine.report.quality_page import write_quality_page
from napari_mri7t.engine.synthesis.scan import synthesize
from napari_mri7t.engine.volumes.volume import load_volume


def time_scans(folder: Path, paths: list[Path], model: Model) -> None:
    """Print the seconds of each scan, and write its quality page."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in paths:
        start, worked = time.perf_counter(), time.process_time()
        try:
            scan = load_volume(path)
            result = synthesize(scan, model)
        except Mri7tError as error:
            print(f"{path.name}: stopped: {error}")
            continue
        seconds, worked = time.perf_counter() - start, time.process_time() - worked
        facts = {} if result.prepared is None else result.prepared.facts
        shown = {name: value for name, value in facts.items() if name != "to_mni"}
        print(
            f"{scan.name}: {seconds:.0f} s, {worked:.0f} s of processor time, {shown}", flush=True
        )
        if result.prepared is not None:
            page = folder / f"{scan.name}.png"
            write_quality_page(result.prepared, result.volume, model.card, page)


def main() -> None:
    """Take the folder and the scans from the command line."""
    folder, *paths = (Path(text) for text in sys.argv[1:])
    time_scans(folder, paths, load_model(REPORT_MODEL))


if __name__ == "__main__":
    main()
