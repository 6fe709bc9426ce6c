"""Raw scans and simulations repeated from their sidecars: equal bits, or a sentence."""

import json
from dataclasses import replace

import numpy as np
import pytest

from napari_mri7t.engine.datasets.subjects import Subject
from napari_mri7t.engine.errors import Mri7tError, StateError
from napari_mri7t.engine.models.model import load_model
from napari_mri7t.engine.preparation import checks, optional, prepare
from napari_mri7t.engine.preparation.bias_field import estimate_bias_field
from napari_mri7t.engine.preparation.prepare import PreparationConfig
from napari_mri7t.engine.preparation.registration import register, save_transform
from napari_mri7t.engine.progress import Cancelled, Progress, ignore
from napari_mri7t.engine.simulation.pseudo_3t import (
    PAIR,
    SimulationConfig,
    simulate_3t,
)
from napari_mri7t.engine.synthesis.config import OutputConfig, SynthesisConfig
from napari_mri7t.engine.synthesis.scan import synthesize
from napari_mri7t.engine.synthesis.synthesize import estimate
from napari_mri7t.engine.system import library_versions
from napari_mri7t.engine.volumes import template
from napari_mri7t.engine.volumes.volume import load_volume, save_volume
from napari_mri7t.engine.workflows import record as record_module
from napari_mri7t.engine.workflows import repetition as repeat_module
from napari_mri7t.engine.workflows.record import read_record
from napari_mri7t.engine.workflows.simulate import simulate_dataset

NOW = Progress(0, 0, "work of ITK")


@pytest.fixture
def own_files(phantom_file, tmp_path):
    """A mask and a transform of the user's."""
    scan = load_volume(phantom_file)
    middle = np.zeros(scan.shape)
    middle[10:30, 10:38, 8:24] = 1
    shift = np.eye(4)
    shift[:3, 3] = (3.0, -2.5, 1.25)
    save_transform(shift, tmp_path / "to-MNI.txt")
    mask = save_volume(scan.with_array(middle), tmp_path / "own-mask.nii.gz")
    return {"mask": mask, "transform": tmp_path / "to-MNI.txt"}


def prepared(scan_file, model_folder, output, preparation, where=None):
    """Synthesise with a preparation; gives the sidecar."""
    scan, model = load_volume(scan_file), load_model(model_folder)
    config = SynthesisConfig(device="cpu", precision="float32", step=3)
    synthesize(scan, model, config, preparation, where or OutputConfig()).save(output)
    return output.with_suffix(".json")


@pytest.mark.parametrize(("space", "via"), [("native", "scan"), ("native", "mni"), ("mni", "scan")])
def test_prepared_scan_is_repeated_wherever_it_went(
    repeat, phantom_file, tiny_model, own_files, tmp_path, space, via
):
    asked = PreparationConfig("none", **own_files)
    where = OutputConfig(space=space, via=via, background="zero")
    made = prepared(phantom_file, tiny_model, tmp_path / "e.nii", asked, where)
    found = repeat(made, tiny_model)
    assert (found.n_differing, found.largest, found.same_place) == (0, 0.0, True)
    recorded = json.loads(made.read_text())["Settings"]["output"]
    assert recorded == {"space": space, "via": via, "background": "zero"}


def test_own_mask_that_changed_or_moved_is_told(
    repeat, phantom_file, tiny_model, own_files, tmp_path
):
    asked = PreparationConfig("none", mask=own_files["mask"])
    made = prepared(phantom_file, tiny_model, tmp_path / "e.nii", asked)
    moved = own_files["mask"].rename(tmp_path / "moved.nii.gz")
    with pytest.raises(StateError, match="the mask is not there: specify its path") as caught:
        repeat(made, tiny_model)
    assert caught.value.argument == "mask"
    assert repeat(made, tiny_model, mask=moved).is_equal
    with pytest.raises(StateError, match=r"phantom\.nii\.gz: is not the original mask"):
        repeat(made, tiny_model, mask=phantom_file)


def test_mask_that_was_a_layer_is_known_by_its_voxels(
    repeat, phantom_file, tiny_model, own_files, tmp_path
):
    layer = load_volume(own_files["mask"])
    made = prepared(
        phantom_file, tiny_model, tmp_path / "e.nii", PreparationConfig("none", mask=layer)
    )
    with pytest.raises(StateError, match="the mask own-mask was never saved to a file"):
        repeat(made, tiny_model)
    save_volume(layer.with_array(layer.array * 7), tmp_path / "labels.nii")
    assert repeat(made, tiny_model, mask=tmp_path / "labels.nii").is_equal
    with pytest.raises(StateError, match="is not the original mask"):
        repeat(made, tiny_model, mask=phantom_file)


@pytest.fixture
def coarse_head(head):
    """The head in voxels of 8 mm: ITK is done with it in a second."""
    scan, mask = head
    affine = scan.affine @ np.diag([2.0, 2, 2, 1])
    return type(scan)(scan.array[::2, ::2, ::2], affine, "head"), mask[::2, ::2, ::2]


def test_bias_field_and_registration_are_repeated_bit_for_bit(
    repeat, coarse_head, tiny_model, tmp_path, monkeypatch
):
    """With SimpleITK itself: the clock and the number of threads must not decide a bit."""
    pytest.importorskip("SimpleITK")
    scan, mask = coarse_head
    monkeypatch.setattr(template, "MODEL_SHAPE", (91, 109, 91))  # of the brain's middle
    monkeypatch.setattr(template, "MODEL_ORIGIN_MM", (-45.0, -72.0, -36.0))
    for user in (checks, prepare):
        monkeypatch.setattr(user, "load_template", lambda: scan.with_array(scan.array * mask))
    scan_file = save_volume(scan, tmp_path / "head.nii.gz")
    own = save_volume(scan.with_array(mask), tmp_path / "own.nii.gz")
    asked = PreparationConfig("full", mask=own, allow_out_of_domain=True)
    made = prepared(scan_file, tiny_model, tmp_path / "e.nii", asked, OutputConfig(via="mni"))
    recorded = json.loads(made.read_text())["Settings"]["preparation"]
    assert recorded["registration"].startswith("rigid")
    assert recorded["bias_field"].startswith("N4")
    assert repeat(made, tiny_model).is_equal


@pytest.mark.parametrize("is_registered", [True, False])
def test_corrected_mask_is_repeated_with_what_was_estimated_before(
    repeat, coarse_head, tiny_model, tmp_path, monkeypatch, is_registered
):
    """Bias field and transform came from the mask that was found, which its correction replaced."""
    pytest.importorskip("SimpleITK")
    scan, mask = coarse_head
    for user in (checks, prepare):
        monkeypatch.setattr(user, "load_template", lambda: scan.with_array(scan.array * mask))
    monkeypatch.setattr(prepare, "extract_brain", lambda scan, report: mask)
    scan_file, kept = save_volume(scan, tmp_path / "head.nii.gz"), tmp_path / "kept"
    asked = PreparationConfig("full", keep=kept, allow_out_of_domain=True)
    prepared(scan_file, tiny_model, tmp_path / "first.nii", asked)
    own = kept / "head_mask.nii.gz"
    corrected = mask.copy()
    corrected[:, :, : mask.any(axis=(0, 1)).argmax() + 2] = False
    save_volume(scan.with_array(corrected), own, overwrite=True)
    if not is_registered:  # as where the registration of the mask that was found failed
        (kept / "head_to-MNI.txt").unlink()
    made = prepared(scan_file, tiny_model, tmp_path / "e.nii", replace(asked, mask=own))
    facts = json.loads(made.read_text())
    steps = ["bias field correction", "registration"][: 1 + is_registered]
    assert facts["Settings"]["preparation"]["found_mask_for"] == steps
    again = repeat(made, tiny_model, mask=own)
    assert again.is_equal
    assert again.sidecar["Settings"]["preparation"] == facts["Settings"]["preparation"]
    del facts["Settings"]["preparation"]["found_mask_for"]
    made.write_text(json.dumps(facts))
    assert not repeat(made, tiny_model, mask=own).is_equal


@pytest.mark.parametrize("steps", ["registration", ["registration"], ["brain extraction"], [1]])
def test_steps_of_another_mask_that_a_sidecar_cannot_record_are_refused(
    phantom_file, tiny_model, own_files, tmp_path, steps
):
    asked = PreparationConfig("none", mask=own_files["mask"])
    made = prepared(phantom_file, tiny_model, tmp_path / "e.nii", asked)
    facts = json.loads(made.read_text())
    facts["Settings"]["preparation"]["found_mask_for"] = steps
    made.write_text(json.dumps(facts))
    with pytest.raises(StateError, match="found_mask_for must be bias field correction or bias"):
        read_record(made)


def test_threads_of_itk_decide_no_bit_and_stay_as_they_were(coarse_head):
    """No two registrations agreed on two threads, whatever `SetNumberOfThreads` said."""
    process = pytest.importorskip("SimpleITK").ProcessObject
    scan, mask = coarse_head
    brain = scan.with_array(scan.array * mask)
    turned = brain.with_array(np.roll(brain.array, 1, axis=0))
    before = process.GetGlobalDefaultNumberOfThreads()
    found = []
    try:
        for n_threads in (2, 4, 4):
            process.SetGlobalDefaultNumberOfThreads(n_threads)
            field = estimate_bias_field(scan, mask)
            found.append((field.tobytes(), register(turned, brain).tobytes()))
            assert process.GetGlobalDefaultNumberOfThreads() == n_threads
    finally:
        process.SetGlobalDefaultNumberOfThreads(before)
    assert len(set(found)) == 1


def test_work_of_itk_cancelled_while_it_waits_for_other_work_never_begins():
    sitk = pytest.importorskip("SimpleITK")
    done, stopped = [], []

    def cancel(_):
        raise Cancelled

    with optional._itk_lock:
        with pytest.raises(Cancelled):
            optional.in_one_itk_thread(
                sitk, lambda: done.append(1), cancel, NOW, lambda: stopped.append(1)
            )
        (thread,) = optional.unfinished_work()
    thread.join(10)
    assert (done, stopped) == ([], [1])


def test_failed_work_of_itk_gives_its_threads_back():
    sitk = pytest.importorskip("SimpleITK")
    process = sitk.ProcessObject
    before = process.GetGlobalDefaultNumberOfThreads()
    seen = []

    def fail():
        seen.append(process.GetGlobalDefaultNumberOfThreads())
        raise RuntimeError("no overlap")

    with pytest.raises(Mri7tError, match="preparation failed: no overlap"):
        optional.in_one_itk_thread(sitk, fail, ignore, NOW, seen.clear)
    assert seen == [1]
    assert process.GetGlobalDefaultNumberOfThreads() == before


def test_libraries_of_the_preparation_are_compared_too(
    phantom_file, tiny_model, own_files, tmp_path, monkeypatch
):
    asked = PreparationConfig("none", mask=own_files["mask"])
    made = prepared(phantom_file, tiny_model, tmp_path / "e.nii", asked)
    then = read_record(made).versions["deepbet"]
    monkeypatch.setattr(
        record_module,
        "library_versions",
        lambda names: library_versions(names) | {"deepbet": "0.1"},
    )
    assert read_record(made).other_versions == (f"made with deepbet {then}, 0.1 is installed",)


@pytest.mark.parametrize("image", PAIR)
def test_simulated_pair_is_repeated(repeat, phantom_file, tmp_path, image):
    target = load_volume(phantom_file)
    reference = save_volume(target.with_array(target.array**2), tmp_path / "reference.nii.gz")
    pair = simulate_3t(target, reference=reference, config=SimulationConfig(0.01, seed=5))
    facts = pair.sidecar(image)
    save_volume(getattr(pair, image), tmp_path / "s.nii.gz", sidecar=facts)
    assert repeat(tmp_path / "s.json", None).is_equal
    with pytest.raises(StateError, match="is not the original reference"):
        repeat(tmp_path / "s.json", None, reference=phantom_file)


def test_pair_of_a_simulated_dataset_is_repeated(repeat, phantom_file, tmp_path):
    """Its target lies elsewhere, its reference was a layer and is saved afterwards."""
    target = load_volume(phantom_file)
    reference = type(target)(target.array**2, target.affine, name="reference")
    subject = Subject("sub-01", phantom_file)
    config = SimulationConfig(seed=3, preset="realistic")
    files = simulate_dataset([subject], tmp_path / "pairs", reference=reference, config=config)
    saved = save_volume(reference, tmp_path / "saved.nii")
    for path in files:
        sidecar = path.with_name("sub-01.json")
        with pytest.raises(StateError, match="the input is not there"):
            repeat(sidecar, None)
        with pytest.raises(
            StateError, match="reference was never saved to a file: save it and specify"
        ):
            repeat(sidecar, None, phantom_file)
        assert repeat(sidecar, None, phantom_file, reference=saved).is_equal


def test_simulation_of_the_template_needs_no_file(repeat, phantom, tmp_path, monkeypatch):
    """As `mri7t demo` and the sample data make it."""
    template = type(phantom)(phantom.array, phantom.affine, name=repeat_module.TEMPLATE_NAME)
    monkeypatch.setattr(repeat_module, "load_template", lambda: template)
    simulate_3t(template).save(tmp_path / "s.nii.gz")
    assert repeat(tmp_path / "s.json", None).is_equal


@pytest.mark.parametrize("name", ["MNI152_pseudo-3T", "MNI152_pseudo-3T [1]"])
def test_synthesis_of_the_sample_data_needs_no_file(
    repeat, phantom, tiny_model, tmp_path, monkeypatch, name
):
    """As the tutorial has it; napari numbers a sample that is opened twice."""
    template = type(phantom)(phantom.array, phantom.affine, name=repeat_module.TEMPLATE_NAME)
    monkeypatch.setattr(repeat_module, "load_template", lambda: template)
    sample = simulate_3t(template).source
    scan = type(phantom)(sample.array, sample.affine, name=name)
    estimate(scan, load_model(tiny_model), SynthesisConfig(device="cpu")).save(tmp_path / "e.nii")
    assert repeat(tmp_path / "e.json", tiny_model).is_equal


def test_own_transform_that_changed_or_moved_is_told(
    repeat, phantom_file, tiny_model, own_files, tmp_path
):
    asked = PreparationConfig("none", transform=own_files["transform"])
    made = prepared(phantom_file, tiny_model, tmp_path / "e.nii", asked)
    moved = own_files["transform"].rename(tmp_path / "moved.txt")
    with pytest.raises(StateError, match="the transform is not there: specify its path") as caught:
        repeat(made, tiny_model)
    assert caught.value.argument == "transform"
    assert repeat(made, tiny_model, transform=moved).is_equal
    save_transform(np.eye(4), moved)
    with pytest.raises(StateError, match=r"moved\.txt: is not the original transform"):
        repeat(made, tiny_model, transform=moved)
