"""The demonstration replaces its own files, and nobody else's."""

import pytest

from napari_mri7t.engine.errors import Mri7tError
from napari_mri7t.engine.models.model import load_model
from napari_mri7t.engine.synthesis.config import SynthesisConfig
from napari_mri7t.engine.volumes.volume import save_volume
from napari_mri7t.engine.workflows import demo


@pytest.fixture
def run(phantom, tiny_model, tmp_path, monkeypatch):
    template = phantom.with_array(phantom.array, name=demo.TEMPLATE_NAME)
    monkeypatch.setattr(demo, "load_template", lambda: template)
    config = SynthesisConfig("cpu", "float32", step=3)
    return lambda: demo.run_demo(tmp_path / "demo", load_model(tiny_model), config)


def test_demonstration_can_be_repeated_in_its_folder(run):
    first = [path.read_bytes() for path in run().files[:3]]
    assert [path.read_bytes() for path in run().files[:3]] == first


def test_demonstration_refuses_a_folder_with_other_files_of_its_names(run, phantom, tmp_path):
    (tmp_path / "demo").mkdir()
    scan = save_volume(phantom, tmp_path / "demo" / "source.nii.gz")
    before = scan.read_bytes()
    with pytest.raises(Mri7tError, match=r"source\.nii\.gz: exists, and is not of an earlier"):
        run()
    assert (scan.read_bytes(), len(list(scan.parent.iterdir()))) == (before, 1)


def test_demonstration_finds_before_the_work_what_cannot_be_written(run, tmp_path):
    run()
    (tmp_path / "demo" / "demo.png").unlink()
    (tmp_path / "demo" / "demo.png").mkdir()
    (tmp_path / "demo" / "metrics.json").unlink()
    with pytest.raises(Mri7tError, match=r"demo\.png: is a folder"):
        run()
    assert not (tmp_path / "demo" / "metrics.json").exists()


@pytest.mark.parametrize("name", ["target.nii.gz", "metrics.json", "demo.png"])
def test_demonstration_leaves_the_users_file_beside_its_own_source(run, phantom, tmp_path, name):
    folder = tmp_path / "demo"
    run()
    for path in folder.iterdir():
        if path.name not in ("source.nii.gz", "source.json"):
            path.unlink()
    if name.endswith(".nii.gz"):
        save_volume(phantom, folder / name)
    else:
        (folder / name).write_text("{}")
    before = (folder / name).read_bytes()
    with pytest.raises(Mri7tError, match="is not of an earlier"):
        run()
    assert (folder / name).read_bytes() == before
