"""The demonstration: a real brain, its pseudo-3T, its synthetic 7T; files, figures, a picture."""

from dataclasses import dataclass
from pathlib import Path

from napari_mri7t.engine.atomic import check_target, read_json, write_atomically, write_json
from napari_mri7t.engine.errors import Mri7tError
from napari_mri7t.engine.metrics.basic import compare
from napari_mri7t.engine.models.model import Model
from napari_mri7t.engine.progress import Report, ignore, part
from napari_mri7t.engine.report.figures import demo_figure
from napari_mri7t.engine.simulation.pseudo_3t import simulate_3t
from napari_mri7t.engine.synthesis.config import SynthesisConfig
from napari_mri7t.engine.synthesis.synthesize import estimate
from napari_mri7t.engine.volumes.provenance import NOTICE, read_sidecar
from napari_mri7t.engine.volumes.template import load_template
from napari_mri7t.engine.volumes.volume import Volume, load_volume
from napari_mri7t.engine.workflows.repetition import TEMPLATE_NAME

FILES = ("source.nii.gz", "target.nii.gz", "estimate.nii.gz", "metrics.json", "demo.png")
TARGET_IS = "here the MNI152 template stands for it"


@dataclass(frozen=True)
class Demo:
    """What the demonstration made.

    Attributes
    ----------
    source, estimate, target : Volume
        Pseudo-3T, synthetic 7T, and the template that both are compared with.
    scores : dict
        "source" and "estimate": `metrics.basic.compare` of each with the target.
    files : tuple of Path
        All files written, sidecars apart.
    warnings : tuple of str
        Of the synthesis.
    """

    source: Volume
    estimate: Volume
    target: Volume
    scores: dict[str, dict[str, dict[str, float]]]
    files: tuple[Path, ...]
    warnings: tuple[str, ...]


def run_demo(folder: Path, model: Model, config: SynthesisConfig, report: Report = ignore) -> Demo:
    """Simulate, synthesise and score the MNI152 template, as a user would a file.

    Parameters
    ----------
    folder : Path
        Where the files go; made if missing. Files of an earlier run are replaced, no others.
    model : Model
        Trained on brains like the template: extracted, 1 mm.
    config : SynthesisConfig
    report : callable

    Raises
    ------
    Mri7tError
        If the folder holds files of these names that are not of an earlier run.
    """
    _make_folder(folder)
    source, target = _write_pair(folder, part(report, 0, 4, "simulating the 3T scan"))
    made = estimate(source, model, config, report=part(report, 1, 4, share=3))
    estimate_file = made.save(folder / "estimate.nii.gz", overwrite=True)
    scores = {"source": compare(target, source), "estimate": compare(target, made.volume)}
    facts = {
        "model": model.name,
        "device": made.device,
        "precision": made.precision,
        "seconds": round(made.seconds, 2),
        "notice": NOTICE,
    }
    metrics = write_json(folder / "metrics.json", scores | facts)
    figure = demo_figure((source, made.volume, target), scores, NOTICE, TARGET_IS)
    picture = write_atomically(folder / "demo.png", lambda file: figure.savefig(file, format="png"))
    files = (folder / "source.nii.gz", estimate_file, folder / "target.nii.gz", metrics, picture)
    return Demo(source, made.volume, target, scores, files, made.warnings)


def _make_folder(folder: Path) -> None:
    """Make the folder, or refuse it before the work if files would be lost."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name for name in FILES]
    if not _is_demo(folder) and (taken := [path for path in paths if path.exists()]):
        raise Mri7tError(
            f"{taken[0]}: exists, and is not of an earlier demonstration: choose another folder",
            argument="output",
        )
    for path in paths:
        check_target(path, overwrite=True)


def _is_demo(folder: Path) -> bool:
    """Return whether an earlier run, which may have been stopped, wrote what is in the folder."""
    images = [folder / name for name in FILES if name.endswith(".nii.gz")]
    facts = read_sidecar(images[0]) or {}  # which is written first
    try:
        is_of_template = facts["Sources"][0]["Name"] == TEMPLATE_NAME
    except (LookupError, TypeError):
        return False
    is_own = all(read_sidecar(path) is not None for path in images if path.exists())
    metrics, picture = folder / "metrics.json", folder / "demo.png"
    is_scored = _notice_in(metrics) == NOTICE if metrics.exists() else not picture.is_file()
    return bool(is_of_template) and is_own and is_scored


def _notice_in(path: Path) -> object:
    try:
        return read_json(path)["notice"]
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _write_pair(folder: Path, report: Report) -> tuple[Volume, Volume]:
    """Write source and target, and read them back: the demonstration starts from files."""
    paths = folder / "source.nii.gz", folder / "target.nii.gz"
    simulate_3t(load_template(), report=report).save(*paths, overwrite=True)
    return load_volume(paths[0]), load_volume(paths[1])
