"""The steps of a preparation, as plans, progress and sidecars name them."""

from dataclasses import dataclass
from enum import Enum

from napari_mri7t.engine.progress import Progress

EXTRACTION, CORRECTION, REGISTRATION = "brain extraction", "bias field correction", "registration"
STEPS = (EXTRACTION, CORRECTION, REGISTRATION)
METHODS = {
    EXTRACTION: "deepbet",
    CORRECTION: "N4, divided out",
    REGISTRATION: "rigid, Mattes mutual information",
}


class Decision(Enum):
    """What happens to one step of a preparation; the last two are known only once it has begun."""

    COMPUTE = "computed"
    REUSE = "reused"  # from the cache
    KEPT = "reused (estimated with the brain mask found before yours)"
    GIVEN = "provided by the user"
    EXTRACTED = "skipped (background is 0)"
    NOT_REQUESTED = "skipped (not requested)"
    WEAK = "skipped (negligible bias field)"
    ALIGNED = "skipped (the brain lies in MNI space)"


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
