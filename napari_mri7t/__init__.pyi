# What `import napari_mri7t as mri7t` offers; `__init__.py` loads each name when it is first used.
from .engine.metrics.scoring import score
from .engine.models.card import models
from .engine.models.model import load_model
from .engine.models.onnx import export_onnx
from .engine.preparation.pair import PairConfig
from .engine.preparation.prepare import PreparationConfig, plan_preparation, prepare
from .engine.progress import Cancelled, Progress
from .engine.simulation.pseudo_3t import SimulationConfig, simulate_3t
from .engine.synthesis.config import OutputConfig, SynthesisConfig
from .engine.synthesis.preview import open_preview
from .engine.synthesis.scan import synthesize
from .engine.training.config import TrainConfig
from .engine.training.export import export_model
from .engine.volumes.volume import Volume, load_volume, save_volume
from .engine.workflows.pair_dataset import pair
from .engine.workflows.repeat import repeat
from .engine.workflows.repetition import SourcePaths
from .engine.workflows.studies import evaluate, report, train

__version__: str
__all__ = [
    "Cancelled",
    "OutputConfig",
    "PairConfig",
    "PreparationConfig",
    "Progress",
    "SimulationConfig",
    "SourcePaths",
    "SynthesisConfig",
    "TrainConfig",
    "Volume",
    "__version__",
    "evaluate",
    "export_model",
    "export_onnx",
    "load_model",
    "load_volume",
    "models",
    "open_preview",
    "pair",
    "plan_preparation",
    "prepare",
    "repeat",
    "report",
    "save_volume",
    "score",
    "simulate_3t",
    "synthesize",
    "train",
]
