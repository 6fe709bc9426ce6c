"""What all scans of a batch share, and which files belong to each."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from napari_mri7t.engine.datasets.bids import LOG_FOLDER, MNI_SPACE, Scan, in_space, source_uri
from napari_mri7t.engine.datasets.derivatives import result_names
from napari_mri7t.engine.preparation.cache import KeptFiles
from napari_mri7t.engine.preparation.prepare import PreparationConfig
from napari_mri7t.engine.synthesis.config import OutputConfig, SynthesisConfig

MASK_FACTS: dict[str, Any] = {  # as BIDS describes a mask of a derivative
    "Description": "Brain mask of a preparation; it may have been corrected by hand",
    "Type": "Brain",
    "SpatialReference": "orig",
}


@dataclass(frozen=True)
class BatchJob:
    """The settings that all scans of a batch share.

    Parameters
    ----------
    output : Path
        Folder of the derivative.
    model : str or None
        Name or folder, as `load_model` takes it; None for the bundled one that each scan is for.
    config : SynthesisConfig
    overwrite : bool
        Replace estimates that were made from another scan, mask, model or settings.
    index : int or None
        Which volume of a 4-D scan, from 0.
    preparation : PreparationConfig
        Without a mask and a transform, which are one scan's. `keep` is the folder of a derivative
        that gets masks, bias fields and transforms under BIDS names.
    grid : OutputConfig
    derivatives : tuple of Path
        Derivatives whose masks and transforms, found by their names, replace the steps that would
        compute them.
    """

    output: Path
    model: str | None
    config: SynthesisConfig
    overwrite: bool = False
    index: int | None = None
    preparation: PreparationConfig = PreparationConfig()  # noqa: RUF009 - frozen, as the next
    grid: OutputConfig = OutputConfig()  # noqa: RUF009
    derivatives: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        for name in ("mask", "transform"):
            if getattr(self.preparation, name) is not None:
                raise ValueError(f"a batch cannot use one {name} for all scans")
        if isinstance(self.preparation.keep, KeptFiles):
            raise ValueError("a batch keeps the results of all scans in a folder")

    def output_of(self, scan: Scan) -> str:
        """Return the path of a scan's estimate within the derivative, with "/"."""
        return in_space(scan.output, MNI_SPACE) if self.grid.space == "mni" else scan.output

    def image_of(self, scan: Scan) -> Path:
        """Return the image file of a scan's estimate."""
        return self.output / self.output_of(scan)

    def preparation_of(self, scan: Scan) -> PreparationConfig:
        """Return the preparation of one scan, with the files in which its results are kept."""
        folder = self.preparation.keep
        if not isinstance(folder, Path):
            return self.preparation
        return replace(self.preparation, keep=kept_files(folder, scan.output, source_uri(scan)))


def kept_files(folder: Path, output: str, source: str | None = None) -> KeptFiles:
    """Return the files of a derivative in which the preparation of one scan is kept.

    Parameters
    ----------
    folder : Path
        Of the derivative.
    output : str
        Path of the scan's estimate within its own derivative.
    source : str, optional
        BIDS URI of the scan.

    Examples
    --------
    >>> kept = kept_files(Path("kept"), "sub-01/anat/sub-01_desc-synth7T_T1w.nii.gz")
    >>> kept.mask.as_posix()
    'kept/sub-01/anat/sub-01_desc-brain_mask.nii.gz'
    >>> kept.transform.name
    'sub-01_from-T1w_to-MNI152NLin6Asym_mode-image_xfm.txt'
    """
    names = result_names(output)
    place = folder / names.folder
    return KeptFiles(
        mask=place / f"{names.mask}.nii.gz",
        bias_field=place / f"{names.bias_field}.nii.gz",
        transform=place / f"{names.transform}.txt",
        note=folder / LOG_FOLDER / f"{names.mask.removesuffix('_mask')}_preparation.json",
        mask_facts=MASK_FACTS | ({} if source is None else {"Sources": [source]}),
    )
