"""What a preparation will do to a scan, told before anything is computed."""

from dataclasses import dataclass

from napari_mri7t.engine.preparation.kept import Kept, open_kept
from napari_mri7t.engine.preparation.raw_scan import (
    PreparationConfig,
    counts_as_extracted,
    is_free,
    key_of,
)
from napari_mri7t.engine.preparation.recognition import (
    check_handedness,
    check_resolution,
    fits_as_it_is,
)
from napari_mri7t.engine.volume import Volume

STEPS = ("brain extraction", "bias field", "registration")  # by the names that progress gives


@dataclass(frozen=True)
class Outlook:
    """What a preparation will do.

    Attributes
    ----------
    is_prepared : bool
        False where the scan goes to the model as it is.
    steps : tuple of str
        What is computed, by the names that progress gives; what is given, kept or left out is not
        among them.
    sentence : str
        All of it in words.
    """

    is_prepared: bool
    steps: tuple[str, ...]
    sentence: str


def foresee(scan: Volume, config: PreparationConfig) -> Outlook:
    """Tell what `prepare_scan` would do, from what can be seen in a second.

    Whether a registration can be left out is known only when the brain is: it is counted.

    Parameters
    ----------
    scan : Volume
    config : PreparationConfig
        A folder `keep` that is not there yet is not made.

    Returns
    -------
    Outlook

    Raises
    ------
    VolumeError
        If the scan is too coarse and that is not allowed, or its header contradicts itself.
    """
    check_resolution(scan, allowed=config.allow_out_of_domain)
    if config.prepare != "none":
        check_handedness(scan)
    if config.asks_for_nothing:
        return Outlook(False, (), "The scan goes to the model as it is.")
    if is_free(config) and fits_as_it_is(scan):
        return Outlook(False, (), "The scan needs no preparation and goes to the model as it is.")
    folder = config.keep if config.keep is not None and config.keep.is_dir() else None
    kept = open_kept(scan, folder, key_of(config))
    told = _of_mask(scan, config, kept), _of_field(config, kept), _of_transform(config, kept)
    named = dict(zip(STEPS, told, strict=True))
    steps = tuple(name for name, how in named.items() if how is None)
    parts = [f"{name} {how}" for name, how in named.items() if how is not None]
    if steps:
        parts.insert(0, ", ".join(steps))
    return Outlook(True, steps, f"Preparation: {'; '.join(parts)}.")


def _of_mask(scan: Volume, config: PreparationConfig, kept: Kept | None) -> str | None:
    """Say why no brain need be extracted; None if it must be."""
    if config.mask is not None:
        return "by your mask"
    if counts_as_extracted(scan, config):
        return "left out (the background is 0)"
    return "as kept" if kept is not None and kept.holds("mask") else None


def _of_field(config: PreparationConfig, kept: Kept | None) -> str | None:
    if config.prepare == "none":
        return "left as it is"
    return "as kept" if kept is not None and kept.holds("bias-field") else None


def _of_transform(config: PreparationConfig, kept: Kept | None) -> str | None:
    if config.transform is not None:
        return "by your transform"
    if config.prepare == "none":
        return "left out"
    return "as kept" if kept is not None and kept.holds("to-MNI", ".txt") else None
