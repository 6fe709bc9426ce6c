"""The steps of a preparation, as plans, progress and sidecars name them."""

from dataclasses import dataclass

from napari_mri7t.engine.progress import Progress

EXTRACTION, CORRECTION, REGISTRATION = "brain extraction", "bias field correction", "registration"
STEPS = (EXTRACTION, CORRECTION, REGISTRATION)


@dataclass(frozen=True)
class PreparationProgress(Progress):
    """Progress of one step of a preparation.

    Parameters
    ----------
    step : str
        One of `STEPS`.
    """

    step: str


def running(step: str) -> PreparationProgress:
    """Return the progress of a step whose end is unknown."""
    return PreparationProgress(0, 0, step, step)
