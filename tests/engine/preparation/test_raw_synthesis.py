"""Raw scans all the way: the result lies where it was asked for, and can be judged by eye."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import nn

from napari_mri7t.engine import quality_page
from napari_mri7t.engine.cards import ModelCard
from napari_mri7t.engine.networks.model import Model
from napari_mri7t.engine.preparation import recognition
from napari_mri7t.engine.preparation.harmonization import brain_quantiles
from napari_mri7t.engine.preparation.raw_scan import PreparationConfig, Prepared
from napari_mri7t.engine.preparation.transforms import save_transform
from napari_mri7t.engine.progress import run_to_end
from napari_mri7t.engine.quality_page import write_quality_page
from napari_mri7t.engine.raw_synthesis import synthesize_scan
from napari_mri7t.engine.synthesis import SynthesisConfig

CPU = SynthesisConfig(device="cpu", precision="float32")


class Same(nn.Module):
    """Gives back the three slices it sees."""

    n_slices = 3
    n_outputs = 3

    def __init__(self):
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        return x


def model_of(volume):
    card = ModelCard(
        name="same",
        title="",
        network="basic_cnn",
        n_parameters=0,
        preprocessing={
            "voxel_size_mm": [1, 1, 1],
            "brain_extracted": True,
            "intensity_quantiles": brain_quantiles(volume.array / volume.array.max()).tolist(),
        },
        training={},
        metrics={},
        intended_use="",
        sha256="",
    )
    return Model("same", Same().eval(), card)


@pytest.fixture(autouse=True)
def _on_template(monkeypatch, brain):
    for user in (recognition, quality_page):
        monkeypatch.setattr(user, "load_template", lambda: brain)


@pytest.fixture
def prepared(head, tmp_path):
    scan, mask = head
    facts = {"brain_litres": 1.26, "registration_score": 0.7}
    steps = dict.fromkeys(("brain_extraction", "bias_field", "registration"), "as in the test")
    return Prepared(scan, scan, mask, np.eye(4), facts | steps)


@pytest.mark.parametrize("way", ["grid", "model"])
def test_result_lies_on_the_scan_in_its_own_range(head, mask_file, tmp_path, way):
    scan, mask = head
    scan = replace(scan, array=gaussian_filter(scan.array, 1))
    identity = tmp_path / "identity.txt"
    save_transform(np.eye(4), identity)
    preparation = PreparationConfig(
        prepare="none", mask=mask_file, transform=identity, way=way, allow_out_of_domain=True
    )
    run = run_to_end(synthesize_scan(scan, model_of(scan), CPU, preparation))
    result = run.synthesis.volume
    np.testing.assert_array_equal(result.affine, scan.affine)
    np.testing.assert_array_equal(result.array[~mask], scan.array[~mask])
    # Same gives back what it sees: what is left is the interpolation there and back
    inside = np.abs(result.array - scan.array)[mask]
    assert inside.mean() < 0.02 * scan.array.max()
    assert "out of the domain" in run.synthesis.warnings[0]
    assert run.synthesis.settings["preparation"]["mask"]["File"] == mask_file.name


def test_quality_page_is_a_picture(prepared, brain, tmp_path):
    path = write_quality_page(prepared, prepared.scan, model_of(brain).card, tmp_path / "q.png")
    assert path.read_bytes().startswith(b"\x89PNG")
