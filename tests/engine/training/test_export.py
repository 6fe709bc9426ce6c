"""Figures without a bound, such as the PSNR of equal images: strict JSON on disk, then numbers."""

import json
import math
from dataclasses import replace

import pytest

from napari_mri7t.cli.train import _figures
from napari_mri7t.engine.atomic import write_json
from napari_mri7t.engine.models.model import load_model, save_model
from napari_mri7t.engine.training.export import METRICS_FILE, read_figures, summarize_figures


def refuse(constant):
    raise ValueError(constant)


def figures_of(subject, psnr):
    regions = {"brain": {"psnr": psnr}, "whole": {"psnr": 30.0}}
    roles = {"source": regions, "estimate": regions}
    return {"subject": subject, **roles, "seconds": 1.0, "hardware": "CPU"}


@pytest.mark.parametrize("psnr", [math.inf, -math.inf, math.nan])
def test_infinite_figures_survive_metrics_card_and_summary(tmp_path, tiny_model, psnr):
    written = [figures_of("NaN", psnr), figures_of("sub-2", 20.0)]
    for number, figures in enumerate(written):
        (tmp_path / str(number)).mkdir()
        write_json(tmp_path / str(number) / METRICS_FILE, figures)
        json.loads((tmp_path / str(number) / METRICS_FILE).read_text(), parse_constant=refuse)
    read = read_figures([tmp_path / "0", tmp_path / "1"])
    assert repr(read) == repr(written), "a subject may be named NaN"
    model = load_model(tiny_model)
    card = replace(model.card, metrics=summarize_figures(read))
    save_model(tmp_path / "model", model.network, card)
    json.loads((tmp_path / "model" / "card.json").read_text(), parse_constant=refuse)
    metrics = load_model(tmp_path / "model").card.metrics
    assert metrics["subjects"] == ["NaN", "sub-2"]
    found = metrics["estimate"]["brain"]["psnr"]
    assert repr(found["mean"]) == repr(psnr)
    assert math.isnan(found["std"])
    assert metrics["estimate"]["whole"]["psnr"] == {"mean": 30.0, "std": 0.0}
    assert f"brain PSNR {psnr:.2f} dB" in _figures(metrics)
