"""A scan's brain, ready for a model, with what was done to it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from napari_mri7t.engine.preparation.reuse import OWN
from napari_mri7t.engine.preparation.steps import (
    CORRECTION,
    EXTRACTION,
    METHODS,
    REGISTRATION,
    Decision,
)
from napari_mri7t.engine.volumes.brain import brain_litres
from napari_mri7t.engine.volumes.provenance import Execution, sidecar
from napari_mri7t.engine.volumes.scale import Scale
from napari_mri7t.engine.volumes.volume import Volume, save_volume

_BRAIN_ONLY = (None, Decision.EXTRACTED, Decision.NOT_REQUESTED)  # decisions on the extraction


@dataclass(frozen=True, eq=False)
class Prepared:
    """A scan's brain, ready for a model.

    Attributes
    ----------
    scan : Volume
        As loaded, on the scale of `scale.to_zero`.
    corrected : Volume
        Without its bias field; the scan itself where it was not corrected.
    mask : ndarray of bool, shape (I, J, K)
        The brain.
    to_mni : ndarray, shape (4, 4)
        mm of the scan to mm of MNI space.
    registration_score : float
        Correlation with the template.
    decisions : dict
        Step to `Decision`: the plan's, and what turned out to be unnecessary; empty where the scan
        needed nothing.
    asked : dict
        What decided the result, for the sidecar.
    bias_field_strength : float or None
        As `strength_of`; None where it was not measured.
    warnings : tuple of str
        The plan's, and what was guessed about the scale.
    scale : Scale
        Of the scan as it was given.
    """

    scan: Volume
    corrected: Volume
    mask: np.ndarray = field(repr=False)
    to_mni: np.ndarray
    registration_score: float
    decisions: Mapping[str, Decision] = field(default_factory=dict)
    asked: Mapping[str, Any] = field(default_factory=dict, repr=False)
    bias_field_strength: float | None = None
    warnings: tuple[str, ...] = ()
    scale: Scale = field(default_factory=Scale)

    @property
    def brain(self) -> Volume:
        """The corrected scan, 0 outside the brain."""
        return self.corrected.with_array(np.where(self.mask, self.corrected.array, 0))

    @property
    def is_brain_only(self) -> bool:
        """Whether the scan shows nothing but a brain, also at its rim and where it is 0."""
        return self.decisions.get(EXTRACTION) in _BRAIN_ONLY

    @property
    def model_input(self) -> Volume:
        """What a model gets: the brain, or all of a scan that shows nothing else."""
        return self.corrected if self.is_brain_only else self.brain

    @property
    def region(self) -> np.ndarray:
        """Where the estimate counts: in the mask, or everywhere if the scan is but a brain."""
        return np.ones_like(self.mask) if self.is_brain_only else self.mask

    @property
    def facts(self) -> dict[str, Any]:
        """What was requested, done and measured, as text and numbers for the sidecar."""
        measured = {
            "brain_litres": brain_litres(self.scan, self.mask),
            "bias_field_strength": self.bias_field_strength,
            "registration_score": self.registration_score,
        }
        return {
            **self.asked,
            "brain_extraction": self._in_words(EXTRACTION),
            "bias_field": self._in_words(CORRECTION),
            "registration": self._in_words(REGISTRATION),
            **{name: round(found, 3) for name, found in measured.items() if found is not None},
            "to_mni": self.to_mni.round(6).tolist(),
        }

    def _in_words(self, step: str) -> str:
        how = self.decisions.get(step, Decision.NOT_REQUESTED)
        if how is Decision.GIVEN:
            return f"{OWN[step]} provided"
        if how is Decision.KEPT:
            return f"{METHODS[step]}, with the brain mask found before"
        return METHODS[step] if how in (Decision.COMPUTE, Decision.REUSE) else how.value

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write the brain and its sidecar, both or neither.

        Parameters
        ----------
        path : str or Path
            .nii.gz or .nii.
        overwrite : bool
            False refuses files that exist.

        Returns
        -------
        Path
            The image.
        """
        import torch

        execution = Execution(threads=torch.get_num_threads())
        facts = sidecar(
            "prepare", [self.scan], execution, settings=self.facts, warnings=self.warnings
        )
        return save_volume(self.brain, path, overwrite=overwrite, sidecar=facts)
