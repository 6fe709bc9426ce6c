"""What the header of a DICOM series tells of its contrast."""

from dataclasses import dataclass, field

NUMBERS = ("RepetitionTime", "EchoTime", "InversionTime", "FlipAngle")


@dataclass(frozen=True)
class Traits:
    """What tells the contrast of a series, as its first file records it.

    Attributes
    ----------
    texts : tuple of str
        Descriptions and names of the sequence; they may name the patient, and are never shown.
    image_type : frozenset of str
        `ImageType` and `ComplexImageComponent`, in capitals.
    acquisition : str
        "3D", "2D" or empty.
    is_mr : bool
        Whether it is an MR image: no report, secondary capture or spectrum.
    settings : tuple of str
        Of the sequence, and when it was acquired: the same for two reconstructions of one.
    tesla : float
        Field strength; 0 where it is not recorded.
    """

    texts: tuple[str, ...] = field(default=(), repr=False)
    image_type: frozenset[str] = frozenset()
    acquisition: str = ""
    is_mr: bool = True
    settings: tuple[str, ...] = field(default=(), repr=False)
    tesla: float = 0.0

    @property
    def is_dated(self) -> bool:
        """Whether the time of its acquisition is recorded."""
        return any(self.settings[len(NUMBERS) : -1])
