"""Many files through one model: every estimate with its sidecar, a bad file stops no other."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_mri7t.engine.errors import Mri7tError
from napari_mri7t.engine.files.streams import extension_of, stem_of
from napari_mri7t.engine.networks.model import Model
from napari_mri7t.engine.progress import with_records
from napari_mri7t.engine.synthesis import (
    Synthesis,
    SynthesisConfig,
    SynthesisProgress,
    synthesize,
)
from napari_mri7t.engine.synthesis_sidecar import synthesis_sidecar
from napari_mri7t.engine.volume import load_volume, save_volume

SUFFIX = "_synthetic-7T"
PARTS_PER_FILE = 1000  # of the progress bar


@dataclass(frozen=True)
class Batch:
    """What became of a batch.

    Attributes
    ----------
    written : tuple of Path
        The estimates.
    refused : tuple of str
        For each file that gave none, why, in one sentence.
    warnings : tuple of str
        What was odd about the others, each with its file's name.
    """

    written: tuple[Path, ...]
    refused: tuple[str, ...]
    warnings: tuple[str, ...]


def find_volumes(folder: Path) -> list[Path]:
    """List the volumes in a folder, without the estimates of an earlier batch.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    list of Path
        In the order of their names; of a pair .hdr and .img the .hdr.

    Raises
    ------
    Mri7tError
        If there is no such folder, or no volume in it.
    """
    if not folder.is_dir():
        raise Mri7tError(f"{folder}: no such folder: choose a folder of NIfTI files")
    found = sorted(
        path
        for path in folder.iterdir()
        if path.is_file()
        and not path.name.startswith(".")
        and extension_of(path)
        and not extension_of(path).startswith(".img")
        and not stem_of(path).endswith(SUFFIX)
    )
    if not found:
        raise Mri7tError(f"{folder}: holds no volume: choose a folder of NIfTI files")
    return found


def synthesize_files(
    paths: Sequence[Path], folder: Path, model: Model, config: SynthesisConfig
) -> Generator[SynthesisProgress, None, Batch]:
    """Synthesise files one after the other.

    Parameters
    ----------
    paths : sequence of Path
        3T volumes.
    folder : Path
        Gets NAME_synthetic-7T.nii.gz and its sidecar of each; made where missing. A file that has
        its estimate there already is skipped, so that a batch can be gone on with.
    model : Model
    config : SynthesisConfig

    Yields
    ------
    SynthesisProgress
        In thousandths of a file, `total` 0 while a file is saved; closing the generator keeps the
        finished files.

    Returns
    -------
    Batch

    Raises
    ------
    Mri7tError
        If two files would give one name.
    """
    targets = [folder / f"{stem_of(path)}{SUFFIX}.nii.gz" for path in paths]
    for n, target in enumerate(targets):
        if target in targets[:n]:
            raise Mri7tError(f"{paths[n]}: another file gives {target.name} too: rename one")
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    refused: list[str] = []
    notes: list[str] = []
    total = PARTS_PER_FILE * len(paths)
    for n, (path, target) in enumerate(zip(paths, targets, strict=True)):
        done, title = PARTS_PER_FILE * n, f"{path.name}, file {n + 1} of {len(paths)}"
        yield SynthesisProgress(done, total, title)
        if target.exists():
            notes.append(f"{target.name}: is there already, left as it is")
            continue
        try:
            steps = _one(path, target, model, config)
            notes += yield from with_records(steps, _Scale(done, total, title).record)
            written.append(target)
        except (Mri7tError, OSError) as error:
            refused.append(str(error))
    yield SynthesisProgress(total, total, "done")
    return Batch(tuple(written), tuple(refused), tuple(notes))


@dataclass(frozen=True)
class _Scale:
    """Where one file's progress lies in that of all."""

    done: int
    total: int
    title: str

    def record(self, now: SynthesisProgress) -> SynthesisProgress:
        if not now.total:
            return SynthesisProgress(0, 0, f"{self.title}: {now.message}")
        part = (PARTS_PER_FILE - 1) * now.done // now.total  # the last one is the saving
        return SynthesisProgress(self.done + part, self.total, self.title)


def _one(
    path: Path, target: Path, model: Model, config: SynthesisConfig
) -> Generator[SynthesisProgress, None, list[str]]:
    source = load_volume(path)
    result: Synthesis = yield from synthesize(source, model, config)
    yield SynthesisProgress(0, 0, "saving")  # uncounted: not to be broken off in the middle
    facts = synthesis_sidecar(source, model, result)
    save_volume(result.volume, target, sidecar=facts)
    return [f"{path.name}: {note}" for note in facts["Warnings"]]
