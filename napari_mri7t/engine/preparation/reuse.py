"""Which results of earlier runs a plan may use: those that came from the same scan and mask.

A bias field and a transform depend little on where exactly the brain's mask ends. So what was
estimated with the mask that was found serves for the user's correction of it, too.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from napari_mri7t import __version__
from napari_mri7t.engine.errors import VolumeError
from napari_mri7t.engine.preparation.cache import (
    BIAS_FIELD,
    MASK,
    TRANSFORM,
    VOXELS,
    PreparationCache,
)
from napari_mri7t.engine.preparation.steps import (
    CORRECTION,
    EXTRACTION,
    METHODS,
    REGISTRATION,
    STEPS,
    Decision,
)
from napari_mri7t.engine.volumes.brain import brain_litres, looks_extracted
from napari_mri7t.engine.volumes.digests import image_digest, voxel_digest
from napari_mri7t.engine.volumes.volume import Volume, as_volume

FILES = {EXTRACTION: MASK, CORRECTION: BIAS_FIELD, REGISTRATION: TRANSFORM}
OWN = {EXTRACTION: "mask", REGISTRATION: "transform"}  # settings that replace a step
ESTIMATED = (CORRECTION, REGISTRATION)  # with the brain's mask
FOUND_MASK_FOR = "found_mask_for"  # of the facts: those that came from the mask before the user's
SAME_BRAIN = 1.25  # volume of a mask over that of another: beyond, a field is extrapolated too far


@dataclass(frozen=True)
class Reuse:
    """What may be reused for one scan.

    Parameters
    ----------
    cache : PreparationCache or None
    found : str
        How the brain is found without a mask of the user's: "deepbet", or "background" where that
        is 0.
    own : str
        Digest of the user's mask; empty without one.
    own_litres : float
        Volume of that mask.
    source : dict
        What every result of this scan depends on.
    """

    cache: PreparationCache | None
    found: str
    own: str = ""
    own_litres: float = 0.0
    source: Mapping[str, Any] = field(default_factory=dict)

    def decide(self, what: str, **more: str) -> tuple[Decision, dict[str, Any]]:
        """Return whether a result is computed, reused or kept, and what it then comes from.

        Parameters
        ----------
        what : str
            `MASK`, `BIAS_FIELD` or `TRANSFORM`.
        **more : str
            What else it depends on.
        """
        wanted = {**self.source, "Brain": self.own or self.found, **more}
        if self.cache is None:
            return Decision.COMPUTE, wanted
        there = self.cache.origin(what)
        if there == wanted:
            return Decision.REUSE, wanted
        before = {**self.source, "Brain": self.found, **more}
        if there == before and self._is_same_brain:
            return Decision.KEPT, before
        return Decision.COMPUTE, wanted

    @property
    def _is_same_brain(self) -> bool:
        """Whether the user's mask is about as large as the one that was found."""
        known = {} if self.cache is None else self.cache.results.get(MASK, {})
        litres = float(known.get("Litres", 0.0))
        return litres / SAME_BRAIN <= self.own_litres <= litres * SAME_BRAIN


def source_of(scan: Volume, libraries: Mapping[str, str]) -> dict[str, Any]:
    """Return what every result of a scan depends on, as JSON knows it."""
    return {"Version": __version__, VOXELS: voxel_digest(scan), "Libraries": dict(libraries)}


def decide_steps(  # noqa: PLR0913 - by keyword
    scan: Volume,
    found: PreparationCache | None,
    source: dict[str, Any],
    *,
    prepare: str,
    mask: Path | Volume | None,
    transform: Path | None,
) -> tuple[dict[str, Decision], dict[str, dict[str, Any]]]:
    """Return how each step is decided, and what its result comes from.

    Parameters
    ----------
    scan : Volume
    found : PreparationCache or None
    source : dict
        From `source_of`.
    prepare, mask, transform
        As `PreparationConfig` has them.
    """
    is_none, own = prepare == "none", mask
    is_extracted = prepare == "auto" and looks_extracted(scan)
    reuse = Reuse(found, "background" if is_extracted else METHODS[EXTRACTION], source=source)
    extraction, mask_from = reuse.decide(MASK)
    if own is not None and found is not None:
        digest = image_digest(own) if isinstance(own, Path) else voxel_digest(own)
        reuse = replace(reuse, own=digest, own_litres=litres_of(as_volume(own)))
    bias, bias_from = reuse.decide(BIAS_FIELD)
    more = {"FieldBrain": bias_from["Brain"], "Prepare": prepare}
    to_mni, to_mni_from = reuse.decide(TRANSFORM, **more)
    if is_extracted:
        extraction = Decision.EXTRACTED
    if is_none:
        extraction = bias = to_mni = Decision.NOT_REQUESTED
    if own is not None:
        extraction = Decision.GIVEN
    if transform is not None:
        to_mni = Decision.GIVEN
    decisions = dict(zip(STEPS, (extraction, bias, to_mni), strict=True))
    return decisions, dict(zip(STEPS, (mask_from, bias_from, to_mni_from), strict=True))


def edited_files(
    cache: PreparationCache, scan: Volume, given: Mapping[str, object]
) -> dict[str, Any]:
    """Find the mask and the transform that were edited, or put there by hand: the user's own.

    Parameters
    ----------
    cache : PreparationCache
    scan : Volume
        Background 0, as the cache knows it.
    given : dict
        The user's own mask and transform by `OWN`; what is given is not looked for.

    Returns
    -------
    dict
        Of `given`, what was found; a path each.

    Raises
    ------
    VolumeError
        If a bias field was edited, or what was edited was made for another scan.
    """
    found = {}
    for step, what in FILES.items():
        if given.get(OWN.get(step, "")) is not None or not cache.is_changed(what):
            continue
        path = cache.files.path(what)
        cache.check_scan(what, voxel_digest(scan))
        if step not in OWN:
            raise VolumeError(
                f"{path}: it, or the note beside it, was edited since it was estimated: move it "
                "away to estimate it again",
                argument="keep",
            )
        found[OWN[step]] = path
    return found


def edit_in_words(path: Path, name: str) -> str:
    """Return the warning that an edited file is used, as the setting `name` of the user's."""
    step = next(step for step in OWN if OWN[step] == name)
    return f"{path.name} was edited, or put there by hand: it replaces the {step}"


def found_mask_for(
    planned: Mapping[str, Decision], done: Mapping[str, Decision]
) -> dict[str, list[str]]:
    """Return, for the record, the steps whose result came from the mask before the user's."""
    kept = [step for step, how in planned.items() if how is Decision.KEPT]
    kept = [step for step in kept if done[step] is not Decision.ALIGNED]
    return {FOUND_MASK_FOR: kept} if kept else {}


def litres_of(mask: Volume) -> float:
    """Return the volume of a mask, whatever its numbers."""
    return brain_litres(mask, mask.array > 0)
