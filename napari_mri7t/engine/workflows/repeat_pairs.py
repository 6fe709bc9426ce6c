"""Repeat one image of a pair from its sidecar."""

from typing import Any

from napari_mri7t.engine.errors import StateError
from napari_mri7t.engine.preparation.pair import PairConfig, RawPair, make_pair, plan_pair
from napari_mri7t.engine.progress import Report
from napari_mri7t.engine.volumes.digests import image_digest
from napari_mri7t.engine.volumes.volume import Volume
from napari_mri7t.engine.workflows.pairs import images_of, pair_sidecar
from napari_mri7t.engine.workflows.record import SidecarRecord
from napari_mri7t.engine.workflows.repetition import (
    SourcePaths,
    check_digests,
    check_recorded,
    find_sources,
    in_threads,
    locate,
)

SOURCES = ("input", "reference", "first inversion", "second inversion")  # in a sidecar's order
PATHS = {"source_mask": "mask", "transform": "transform"}  # of `SourcePaths`


def repeat_pair(
    record: SidecarRecord, sources: SourcePaths, report: Report
) -> tuple[Volume, dict[str, Any], str]:
    """Return the recorded image of a pair, its sidecar, and what it was made with.

    Parameters
    ----------
    record : SidecarRecord
        Of a pair.
    sources : SourcePaths
        Where the scans, masks and transforms are now.
    report : callable

    Raises
    ------
    StateError
        If its settings are none, a path is given for what it does not record, or a source is
        missing or different.
    """
    asked = record.pair or {}
    try:
        config = PairConfig(**asked["config"])
    except (TypeError, ValueError) as error:
        raise StateError(f"{record.path}: Settings: config: {error}: use it unchanged") from error
    check_recorded(record, sources, ("reference", *(PATHS.get(name, "") for name in asked["own"])))
    source, target, *inversions = find_sources(record, sources, SOURCES)
    own = {}
    for name, facts in asked["own"].items():
        words = name.replace("_", " ")
        path = getattr(sources, PATHS.get(name, ""), None)
        own[name] = locate(record, facts, path, words, sources.folder)
        check_digests(own[name], [image_digest(own[name])], [facts], words)
    both = (inversions[0], inversions[1]) if len(inversions) == 2 else None
    name = str(record.facts["Settings"].get("name", ""))
    raw = RawPair(source, target, name, inversions=both, **own)
    with in_threads(record.threads):
        pair = make_pair(plan_pair(raw, config), report=report)
        again = {"config": config.record(), "own": dict(asked["own"])}
        facts = pair_sidecar(pair, raw, record.image, again)
    return images_of(pair)[record.image], facts, f"{config.registration} registration"
