"""A model as an ONNX file computes what torch computes, for slabs of any size."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from scipy.ndimage import binary_erosion

from napari_mri7t.cli import main
from napari_mri7t.engine.errors import ModelError, Mri7tError
from napari_mri7t.engine.models.card import BUNDLED, read_card
from napari_mri7t.engine.models.model import Model, load_model
from napari_mri7t.engine.models.onnx import export_onnx
from napari_mri7t.engine.networks import build_network
from napari_mri7t.engine.synthesis.config import SynthesisConfig
from napari_mri7t.engine.synthesis.synthesize import estimate
from napari_mri7t.engine.volumes.template import load_template
from napari_mri7t.engine.volumes.volume import Volume, load_volume, save_volume

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "onnx.md"


def network(name="slice_unet", **config):
    torch.manual_seed(0)
    built = build_network(name, **config).eval()
    for parameter in built.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    return built


def model(**config):
    """A small model; its card is another's, of which only the file's metadata are made."""
    return Model(
        "small", network(widths=[4, 8], n_blocks=1, **config), read_card(BUNDLED / "watnet")
    )


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A small model that takes a noise map and any tones, and its file."""
    made = model(n_slices=5, n_outputs=1, noise_map=True)
    with torch.no_grad():
        made.network.output.weight.mul_(0.1)
    made.card.preprocessing["tones"] = "any"
    return made, export_onnx(made, tmp_path_factory.mktemp("onnx") / "model.onnx")


def test_file_computes_what_torch_computes_for_slabs_of_any_size(exported):
    made, path = exported
    assert "synthetic: for research, not for diagnosis" in onnx.load(path).doc_string
    session = onnxruntime.InferenceSession(path)
    facts = session.get_modelmeta().custom_metadata_map
    assert (facts["n_slices"], facts["n_outputs"], facts["noise_map"]) == ("5", "1", "true")
    assert json.loads(facts["card"])["sha256"] == made.card.sha256
    for n, *size in ((1, 8, 8), (2, 31, 17), (4, 40, 24)):
        slabs = torch.rand(n, 6, *size)
        with torch.inference_mode():
            expected = made.network(slabs).numpy()
        (found,) = session.run(None, {"slabs": slabs.numpy()})
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_bundled_model_as_a_file_computes_what_torch_computes_on_a_brain(
    tmp_path, monkeypatch, capsys
):
    """The tolerance that is documented is 1e-4 of the range."""
    path = tmp_path / "brain.onnx"
    monkeypatch.setattr("sys.argv", ["mri7t", "export", "basic_cnn", str(path), "--onnx"])
    with pytest.raises(SystemExit, match="0"):
        main()
    assert "brain.onnx: " in capsys.readouterr().out
    brain = load_template().array.T
    slab = (brain[90:93] / brain.max()).astype(np.float32)[None]
    with torch.inference_mode():
        expected = load_model("basic_cnn").network(torch.from_numpy(slab)).numpy()
    session = onnxruntime.InferenceSession(path)
    assert session.get_modelmeta().custom_metadata_map["noise_map"] == "false"
    (found,) = session.run(None, {"slabs": slab})
    assert np.abs(found - expected).max() < 1e-4


@pytest.mark.skipif(not PAGE.exists(), reason="needs the checkout")
def test_lines_of_the_page_make_the_estimate_of_mri7t(exported, tmp_path, monkeypatch):
    """But for the rim of the brain, and what is brighter than the scan ever is."""
    made, path = exported
    template = load_template()
    part = Volume(template.array[::3, ::3, 80:90], template.affine, "brain")
    save_volume(part, tmp_path / "brain.nii.gz")
    shutil.copy(path, tmp_path / "model.onnx")
    block = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[0]
    assert len(block.strip().splitlines()) <= 14
    monkeypatch.chdir(tmp_path)
    exec(block.replace("0.03", "0.0"), {})
    config = SynthesisConfig(device="cpu", precision="float32", crop=False, noise_factor=0)
    expected = estimate(part, made, config)
    found = load_volume(tmp_path / "estimate.nii.gz").array.clip(max=part.array.max())
    inside = binary_erosion(part.array > 0, iterations=2)
    bright = float(np.percentile(part.array[part.array > 0], 98))
    assert np.abs(found - expected.volume.array)[inside].max() < 1e-3 * bright


def test_file_that_exists_is_replaced_only_on_request(tmp_path):
    path = tmp_path / "small.onnx"
    path.write_text("mine")
    with pytest.raises(Mri7tError, match=r"small\.onnx: already exists") as found:
        export_onnx(model(), path)
    assert found.value.argument == "overwrite"
    assert path.read_text() == "mine"
    with pytest.raises(ValueError, match=r"must end with \.onnx"):
        export_onnx(model(), tmp_path / "small.pt")


def test_network_that_no_graph_holds_is_refused_by_name(tmp_path):
    class Odd(torch.nn.Module):
        n_slices = n_outputs = 3

        def forward(self, x):
            return x if x.mean() > 0 else -x  # depends on the values

    odd = Model("odd", Odd(), read_card(BUNDLED / "watnet"))
    with pytest.raises(ModelError, match="odd: cannot be exported as ONNX"):
        export_onnx(odd, tmp_path / "odd.onnx")
    assert list(tmp_path.iterdir()) == []


def test_graph_that_computes_something_else_is_not_written(tmp_path):
    class Forked(torch.nn.Module):
        n_slices = n_outputs = 3

        def forward(self, x):
            return x + 0.01 if torch.compiler.is_exporting() else x

    forked = Model("forked", Forked(), read_card(BUNDLED / "watnet"))
    with pytest.raises(ModelError, match=r"differs from torch's by 0\.01"):
        export_onnx(forked, tmp_path / "forked.onnx")
    assert list(tmp_path.iterdir()) == []


def test_missing_library_is_named_with_its_installation(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnxscript", None)
    with pytest.raises(Mri7tError, match=r"onnxscript, which is missing: pip install '.*\[onnx\]'"):
        export_onnx(model(), tmp_path / "small.onnx")
