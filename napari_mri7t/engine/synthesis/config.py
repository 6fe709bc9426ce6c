"""How a volume is synthesised and where its estimate goes: settings and defaults, without torch."""

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from napari_mri7t.engine.system import PRECISIONS
from napari_mri7t.engine.texts import brief
from napari_mri7t.engine.typed import check_types

if TYPE_CHECKING:
    from napari_mri7t.engine.models.card import ModelCard

AXES_OF_PLANE = {"axial": (0, 1, 2), "coronal": (1, 0, 2), "sagittal": (2, 0, 1)}  # of (S, A, R)
SPACES, VIAS, BACKGROUNDS = ("native", "mni"), ("scan", "mni"), ("scan", "zero")
INDECISIVE = ("device", "memory_mb", "uncertainty")  # for the voxels of the estimate
LARGEST_FACTOR = 10.0  # of the noise found
MOST_MEMORY_MB = 2**20  # a terabyte


@dataclass(frozen=True)
class SynthesisConfig:
    """How a volume is synthesised.

    Parameters
    ----------
    device : str
        "auto", "cpu", "cuda", "cuda:1", "mps".
    precision : {"auto", "float32", "bfloat16"}
        auto uses bfloat16 where the hardware is fast with it.
    step : int
        Slices from one slab to the next; 1 averages every slice over all slabs that estimate it, 3
        estimates each once, as in the report. At most the network's number of outputs counts.
    end_slices : int
        Slices at either end that stay as in the source; 30 in the report.
    planes : tuple of {"axial", "coronal", "sagittal"}
        Planes whose estimates are averaged; none for those on the model's card.
    flips : bool
        Average the estimates of the volume and of its left-right mirror image.
    crop : bool
        Compute only the brain with two voxels around it, and leave the background 0. False computes
        whole slices, as in the report.
    memory_mb : int
        Limit for the activations of all slabs that are computed at once, MB.
    noise_factor : float
        How much noise a model that is told the noise takes for granted, over what is found in the
        scan: 0 leaves the scan nearly as it is, 2 smooths more. Other models do not use it.
    uncertainty : bool
        Estimate the uncertainty of every voxel, too; the estimate stays the same.
    """

    device: str = "auto"
    precision: str = "auto"
    step: int = 1
    end_slices: int = 0
    planes: tuple[str, ...] = ()
    flips: bool = False
    crop: bool = True
    memory_mb: int = 1024
    noise_factor: float = 1.0
    uncertainty: bool = False

    def __post_init__(self) -> None:
        check_types(self)
        if self.precision not in PRECISIONS:
            raise ValueError(
                f"precision must be one of {', '.join(PRECISIONS)}, got {brief(self.precision)}"
            )
        if self.step < 1:
            raise ValueError(f"step must be at least 1, got {self.step}")
        if self.end_slices < 0:
            raise ValueError(f"end_slices must be at least 0, got {self.end_slices}")
        if not set(self.planes) <= set(AXES_OF_PLANE):
            raise ValueError(
                f"planes must be some of {', '.join(AXES_OF_PLANE)}, got {brief(self.planes)}"
            )
        if len(set(self.planes)) < len(self.planes):
            raise ValueError(f"planes must be different, got {brief(self.planes)}")
        if not 0 <= self.noise_factor <= LARGEST_FACTOR:
            raise ValueError(
                f"noise_factor must be 0 to {LARGEST_FACTOR:g}, got {self.noise_factor}"
            )
        if not 1 <= self.memory_mb <= MOST_MEMORY_MB:
            raise ValueError(f"memory_mb must be 1 to {MOST_MEMORY_MB}, got {self.memory_mb}")

    def of_model(self, card: "ModelCard") -> "SynthesisConfig":
        """Return the settings with the planes that a model's figures were measured with.

        Parameters
        ----------
        card : ModelCard

        Examples
        --------
        >>> from napari_mri7t.engine.models.card import find_model, read_card
        >>> SynthesisConfig().of_model(read_card(find_model("slice_unet"))).planes
        ('axial',)
        """
        return replace(self, planes=self.planes or card.planes)

    def decisive(self) -> dict[str, Any]:
        """Return the settings that decide the voxels of the estimate."""
        values = asdict(self)
        return {name: values[name] for name in values if name not in INDECISIVE}


@dataclass(frozen=True)
class OutputConfig:
    """Where the estimate of a prepared scan goes.

    Parameters
    ----------
    space : {"native", "mni"}
        Grid of the result: the scan's own, or 1 mm in MNI space.
    via : {"scan", "mni"}
        Where the network works for a native result: on the scan's own voxels, or on 1 mm in MNI
        space, from where the estimate is resampled.
    background : {"scan", "zero"}
        What the result shows outside the brain.
    """

    space: str = "native"
    via: str = "scan"
    background: str = "scan"

    def __post_init__(self) -> None:
        check_types(self)
        choices = {"space": SPACES, "via": VIAS, "background": BACKGROUNDS}
        for name, known in choices.items():
            if (value := getattr(self, name)) not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, got {brief(value)}")

    @property
    def is_on_own_grid(self) -> bool:
        """Whether the network works on the scan's own voxels."""
        return (self.space, self.via) == ("native", "scan")

    def chosen(self) -> str:
        """Return what differs from the default, in words; empty if nothing does."""
        usual = asdict(type(self)())
        return ", ".join(f"{name} {v}" for name, v in asdict(self).items() if v != usual[name])
