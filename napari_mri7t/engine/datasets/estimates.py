"""Which name the estimate of each scan gets: one of its own, and the same in every batch."""

import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from napari_mri7t.engine.datasets.bids import DESCRIPTIONS, derivative_path
from napari_mri7t.engine.datasets.files import ESTIMATE
from napari_mri7t.engine.datasets.names import clean_stem, entities, label_of, mark_of
from napari_mri7t.engine.volumes.files.streams import stem_of

MADE = re.compile(r"(?<=.)[ _](synthetic-7T|pseudo-3T)")  # after the scan in the name of a result


def scan_of(name: str) -> str:
    """Return the name of the scan from that of a layer made of it, as long as it was not renamed.

    Examples
    --------
    >>> scan_of("sub-01_T1w synthetic-7T slice_unet"), scan_of("sub-01_T1w")
    ('sub-01_T1w', 'sub-01_T1w')
    >>> scan_of("MNI152_pseudo-3T_synthetic-7T")
    'MNI152_pseudo-3T'
    """
    found = [match.start() for match in MADE.finditer(name)]
    return name[: found[-1]] if found else name


def name_beside(name: str, made_by: str = "synthesize", taken: Collection[str] = ()) -> str:
    """Return the file name of what was made of a scan, to be saved beside it.

    Parameters
    ----------
    name : str
        Of the scan's file without extension, or of its layer. BIDS entities and suffix stay.
    made_by : str
        What made it, as in the sidecar ("synthesize", "simulate").
    taken : collection of str
        Names in use, whatever their case; the description gets a number to avoid them.

    Examples
    --------
    >>> name_beside("brain"), name_beside("sub-01_T1w", taken=["sub-01_desc-synth7T_T1w.nii.gz"])
    ('brain_desc-synth7T.nii.gz', 'sub-01_desc-synth7T2_T1w.nii.gz')
    """
    known = {each.casefold() for each in taken}
    plain = re.sub(r"[^\w.+-]+", "-", name).strip("-.") or "layer"
    description = DESCRIPTIONS.get(made_by, made_by)
    number = 1
    while True:
        label = description if number == 1 else f"{description}{number}"
        if name.startswith("sub-"):
            found = derivative_path(name, label).name
        else:
            found = f"{plain}_desc-{label}.nii.gz"
        if found.casefold() not in known:
            return found
        number += 1


def name_estimates(
    root: Path, paths: Sequence[Path], known: Mapping[str, str]
) -> tuple[dict[Path, str], dict[Path, str]]:
    """Name the estimates of the scans in a folder, as paths within a derivative.

    They depend neither on the filter nor on the order, so that a resumed batch finds its estimates.

    Parameters
    ----------
    root : Path
        The folder.
    paths : sequence of Path
        All scans in it.
    known : mapping of str to str
        Outputs that earlier batches chose, by the name of the scan; they are kept.

    Returns
    -------
    outputs : dict of Path to str
    clashes : dict of Path to str
        The scans that cannot have one, and why.
    """
    first: dict[str, Path] = {}
    for path in paths:
        if output := known.get(path.relative_to(root).as_posix()):
            first.setdefault(output.casefold(), path)
    kept = {path: known[path.relative_to(root).as_posix()] for path in first.values()}
    plain = {path: str(derivative_path(clean_stem(path), "synthesize")) for path in paths}
    groups: dict[str, list[Path]] = {}
    for path in paths:
        groups.setdefault(plain[path].casefold(), []).append(path)
    taken = {o.casefold() for name, o in known.items() if os.path.lexists(root / name)}
    outputs, clashes, used = dict(kept), {}, {o.casefold(): p for p, o in kept.items()}
    for path in paths:
        if path in kept:
            continue
        group = groups[plain[path].casefold()]
        is_free = plain[path].casefold() not in taken
        if is_free and (len(group) == 1 or [path] == [*_namesakes(group, plain)]):
            output = plain[path]
        else:
            mark = mark_of(path.relative_to(root).as_posix())
            output = str(derivative_path(clean_stem(path), "synthesize", mark=mark))
        other = used.setdefault(output.casefold(), path)
        if other is path:
            outputs[path] = output
        else:
            name = other.relative_to(root).as_posix()
            clashes[path] = f"would have the same estimate as {name}: rename one"
    return outputs, clashes


def _namesakes(group: Sequence[Path], plain: Mapping[Path, str]) -> Iterator[Path]:
    """Yield the scans whose own name is that of the estimate, but for the description."""
    for path in group:
        stem = stem_of(path)
        output = stem_of(Path(plain[path])).replace(f"_desc-{ESTIMATE}", "")
        if stem == output or (not entities(stem).get("sub") and label_of(stem)[0] == stem):
            yield path
