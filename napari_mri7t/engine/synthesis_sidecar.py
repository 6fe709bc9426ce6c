"""The sidecar of a synthetic 7T: the one place that says which facts of a synthesis it holds."""

from typing import Any

from napari_mri7t.engine.networks.model import Model
from napari_mri7t.engine.provenance import Execution, sidecar
from napari_mri7t.engine.synthesis import Synthesis
from napari_mri7t.engine.volume import Volume


def synthesis_sidecar(source: Volume, model: Model, synthesis: Synthesis) -> dict[str, Any]:
    """Describe a synthesis, so that it can be made again.

    Parameters
    ----------
    source : Volume
        What went in.
    model : Model
        What it went through.
    synthesis : Synthesis
        What came out.

    Returns
    -------
    dict
        As `provenance.sidecar`.
    """
    execution = Execution(
        device=synthesis.device,
        precision=synthesis.precision,
        model=model.name,
        model_sha256=model.card.sha256,
        threads=synthesis.threads,
    )
    return sidecar(
        "synthesize",
        [source],
        execution,
        settings=synthesis.settings,
        warnings=synthesis.warnings,
    )
