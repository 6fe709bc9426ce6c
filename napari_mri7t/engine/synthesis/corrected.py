"""What an estimate is compared with: its scan without the bias field, on the grid of the estimate.

Against the scan as it was given, most of the difference is the bias field's, not the network's.
"""

from napari_mri7t.engine.synthesis.blending import blend
from napari_mri7t.engine.synthesis.config import OutputConfig
from napari_mri7t.engine.synthesis.scan import as_given, background_in_mni, to_mni
from napari_mri7t.engine.synthesis.synthesize import Synthesis
from napari_mri7t.engine.volumes.volume import Volume, shares_grid


def corrected_scan(made: Synthesis) -> Volume:
    """Return the scan as the network saw it, merged with its surroundings as the estimate is.

    Parameters
    ----------
    made : Synthesis

    Returns
    -------
    Volume
        On the grid and the scale of the estimate; the scan as it was given where that is the same.

    Examples
    --------
    >>> from napari_mri7t.engine.synthesis.config import SynthesisConfig
    >>> from napari_mri7t.engine.synthesis.scan import synthesize
    >>> from napari_mri7t.engine.volumes.template import load_template
    >>> template = load_template()
    >>> slices = Volume(template.array[::4, ::4, 80:84], template.affine, name="slices")
    >>> made = synthesize(slices, "basic_cnn", SynthesisConfig(device="cpu"))
    >>> corrected_scan(made) is slices  # it needed no preparation
    True
    """
    prepared = made.prepared
    if prepared is None:
        return made.source
    output = OutputConfig(**made.settings["output"])
    scan, name = prepared.scan, f"{made.source.name} corrected"
    if shares_grid(made.volume, scan):
        if prepared.corrected is scan and output.background == "scan":
            return made.source
        array = blend(scan, prepared.corrected.array, prepared.region, output.background)
        return as_given(scan.with_array(array, name=name), prepared)
    brain, mask, around = to_mni(prepared)
    region = mask | prepared.is_brain_only
    array = blend(around, brain.array, region, background_in_mni(prepared, output))
    return as_given(made.volume.with_array(array, name=name), prepared)
