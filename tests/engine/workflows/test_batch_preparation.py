"""A batch prepares its scans: as `synthesize` does, ahead of the network, and remembers how."""

import json
import threading
from dataclasses import replace

import nibabel
import numpy as np
import pytest

from napari_mri7t.engine.datasets.bids import load_scan, start_derivative
from napari_mri7t.engine.datasets.derivatives import derivatives_of, find_own
from napari_mri7t.engine.datasets.scans import ScanFilter, find_scans
from napari_mri7t.engine.errors import DeviceError, Mri7tError
from napari_mri7t.engine.models.model import load_model
from napari_mri7t.engine.preparation import checks, quality
from napari_mri7t.engine.preparation import prepare as module
from napari_mri7t.engine.preparation.prepare import PreparationConfig
from napari_mri7t.engine.preparation.registration import save_transform
from napari_mri7t.engine.preparation.steps import REGISTRATION, STEPS
from napari_mri7t.engine.progress import Cancelled
from napari_mri7t.engine.report import planes, scan_figures
from napari_mri7t.engine.report.batch_page import batch_rows
from napari_mri7t.engine.synthesis.config import OutputConfig, SynthesisConfig
from napari_mri7t.engine.synthesis.scan import synthesize
from napari_mri7t.engine.volumes.volume import load_volume, save_volume
from napari_mri7t.engine.workflows import batch
from napari_mri7t.engine.workflows.batch import synthesize_batch
from napari_mri7t.engine.workflows.folder import synthesize_folder
from napari_mri7t.engine.workflows.job import BatchJob
from napari_mri7t.engine.workflows.outlook import is_made, look_at
from napari_mri7t.engine.workflows.stages import BatchProgress
from napari_mri7t.engine.workflows.summary import BatchSummary

CONFIG = SynthesisConfig(device="cpu", precision="float32", step=3)
ALLOWED = PreparationConfig(allow_out_of_domain=True)
FIRST = "sub-01/anat/sub-01_desc-synth7T_T1w.nii.gz"


@pytest.fixture(autouse=True)
def figures(monkeypatch):
    """Draw none, which takes a second a scan; the function is given back where it counts."""
    original = scan_figures.write_scan_figures
    monkeypatch.setattr(scan_figures, "write_scan_figures", lambda *_: None)
    return lambda: monkeypatch.setattr(scan_figures, "write_scan_figures", original)


@pytest.fixture
def steps(head, head_brain, monkeypatch):
    """The steps that were computed, in their order; each takes no time."""
    scan, mask = head
    done = []
    for user in (checks, module, quality, planes):
        monkeypatch.setattr(user, "load_template", lambda: head_brain)

    def computed(name, value):
        def step(*_, report):
            done.append(name)
            return value

        return step

    values = mask, 1 + scan.array / 10_000, np.eye(4)
    names = ("extract_brain", "estimate_bias_field", "register")
    for step, name, value in zip(STEPS, names, values, strict=True):
        monkeypatch.setattr(module, name, computed(step, value))
    return done


@pytest.fixture
def raw(head, tmp_path):
    """Two raw heads in BIDS."""
    scan, _ = head
    noise = 1 + np.random.default_rng(0).random(scan.shape)
    for n, label in enumerate(("01", "02")):
        path = tmp_path / f"raw/sub-{label}/anat/sub-{label}_T1w.nii.gz"
        path.parent.mkdir(parents=True)
        save_volume(scan.with_array(scan.array + noise + n), path)
    description = {"Name": "raw", "BIDSVersion": "1.10.0"}
    (tmp_path / "raw/dataset_description.json").write_text(json.dumps(description))
    return tmp_path / "raw"


@pytest.fixture
def job(raw, tiny_model, tmp_path, steps):
    start_derivative(tmp_path / "out", raw)
    return BatchJob(tmp_path / "out", str(tiny_model), CONFIG, preparation=ALLOWED)


def facts_of(job, output=FIRST):
    return json.loads((job.output / output.replace(".nii.gz", ".json")).read_text())


@pytest.mark.parametrize("background", ["scan", "zero"])
def test_estimate_of_a_batch_is_that_of_synthesize_bit_for_bit(raw, job, background):
    grid = OutputConfig(background=background)
    scans, job = find_scans(raw).scans, replace(job, grid=grid)
    assert len(synthesize_batch(scans, job).written) == len(scans)
    for scan in scans:
        alone = synthesize(scan.path, load_model(job.model), CONFIG, ALLOWED, grid)
        made = load_volume(job.image_of(scan))
        np.testing.assert_array_equal(made.array, alone.volume.array)
        facts = facts_of(job, scan.output)
        assert facts["Settings"] == json.loads(json.dumps(alone.sidecar()["Settings"]))
        assert facts["Warnings"] == alone.sidecar()["Warnings"]


def test_next_scan_is_prepared_while_this_one_is_in_the_network(raw, job, monkeypatch):
    in_network, original = threading.Event(), batch.synthesize_prepared
    prepared, order = batch.prepare_planned, []

    def prepare(scan, plan, report):
        if scan.name.startswith("sub-02"):
            assert in_network.wait(20), "it must be prepared during the first one's network"
        order.append(f"prepare {scan.name[:6]}")
        return prepared(scan, plan, report)

    def compute(*arguments):
        order.append("network")
        in_network.set()
        return original(*arguments)

    monkeypatch.setattr(batch, "prepare_planned", prepare)
    monkeypatch.setattr(batch, "synthesize_prepared", compute)
    assert len(synthesize_batch(find_scans(raw).scans, job).written) == 2
    assert order[:3] == ["prepare sub-01", "network", "prepare sub-02"]


def test_batch_made_unprepared_is_not_taken_for_a_prepared_one(raw, job):
    scans = find_scans(raw).scans
    as_it_is = replace(job, preparation=replace(ALLOWED, prepare="none"))
    assert len(synthesize_batch(scans, as_it_is).written) == 2
    assert is_made(scans[0], as_it_is)
    assert not is_made(scans[0], job)
    assert "was made from another scan, mask, model or settings" in look_at(scans[0], job).error
    again = synthesize_batch(scans, job)
    assert len(again.failed) == 2
    assert set(again.arguments.values()) == {"overwrite"}
    assert len(synthesize_batch(scans, replace(job, overwrite=True)).written) == 2
    assert is_made(scans[0], job)
    assert not is_made(scans[0], as_it_is)
    assert not is_made(scans[0], replace(job, preparation=replace(ALLOWED, prepare="full")))
    assert not is_made(scans[0], replace(job, grid=OutputConfig(background="zero")))


def test_estimate_in_mni_space_has_its_own_name(raw, job):
    (scan, *_) = find_scans(raw).scans
    in_mni = replace(job, grid=OutputConfig(space="mni"))
    assert synthesize_batch([scan], in_mni).written == (scan.name,)
    assert in_mni.image_of(scan).name == ("sub-01_space-MNI152NLin6Asym_desc-synth7T_T1w.nii.gz")
    assert is_made(scan, in_mni)
    assert not is_made(scan, job)
    assert synthesize_batch([scan], job).written == (scan.name,)
    assert is_made(scan, in_mni)


def test_native_estimate_is_not_failed_once_that_in_mni_space_fails(raw, job, monkeypatch):
    summary = synthesize_folder(raw, job)
    assert not summary.failed

    def fail(*_):
        raise Mri7tError("the registration failed")

    monkeypatch.setattr(batch, "synthesize_prepared", fail)
    synthesize_folder(raw, replace(job, grid=OutputConfig(space="mni")))
    rows = batch_rows(job.output)
    assert [(row.state, bool(row.output)) for row in rows] == [("failed", False)] * 2 + [
        ("known", True)
    ] * 2
    assert {row.reason for row in rows[:2]} == {"no estimate in MNI space: the registration failed"}


def test_estimates_of_scans_that_differ_in_their_space_alone_have_own_names(raw, job):
    for space in ("T2w", "MNI152NLin6Asym"):
        link = raw / f"sub-01/anat/sub-01_space-{space}_T1w.nii.gz"
        link.write_bytes((raw / "sub-01/anat/sub-01_T1w.nii.gz").read_bytes())
    in_mni = replace(job, grid=OutputConfig(space="mni"))
    scans = [scan for scan in find_scans(raw).scans if scan.name.startswith("sub-01")]
    names = [in_mni.image_of(scan).name for scan in scans]
    assert len(set(names)) == 3
    assert "sub-01_space-MNI152NLin6Asym_desc-synth7TT2w_T1w.nii.gz" in names


def test_results_are_kept_under_bids_names_and_reused(raw, job, steps, tmp_path, bids_errors):
    (scan, *_) = find_scans(raw).scans
    keeping = replace(job, preparation=replace(ALLOWED, keep=tmp_path / "kept"))
    synthesize_batch([scan], keeping)
    there = sorted(path.name for path in (tmp_path / "kept/sub-01/anat").iterdir())
    mask = [f"sub-01_desc-brain_mask.{end}" for end in ("json", "nii.gz")]
    assert there[:3] == ["sub-01_desc-biasfield_T1w.nii.gz", *mask]
    n_steps = len(steps)
    synthesize_batch([scan], replace(keeping, overwrite=True, config=replace(CONFIG, step=2)))
    assert steps[n_steps:] in ([], [REGISTRATION]), "only an aligned brain is looked at again"
    assert bids_errors(tmp_path / "kept") == []


def test_edited_mask_in_the_kept_folder_makes_the_estimate_outdated(raw, job, tmp_path):
    (scan, *_) = find_scans(raw).scans
    keeping = replace(job, preparation=replace(ALLOWED, keep=tmp_path / "kept"))
    synthesize_batch([scan], keeping)
    assert is_made(scan, keeping)
    path = tmp_path / "kept/sub-01/anat/sub-01_desc-brain_mask.nii.gz"
    facts = json.loads(path.with_name("sub-01_desc-brain_mask.json").read_text())
    assert (facts["Type"], facts["Sources"]) == ("Brain", [f"bids:source:{scan.name}"])
    mask = load_volume(path)
    array = mask.array.copy()
    array[tuple(np.argwhere(array > 0)[0])] = 0
    save_volume(mask.with_array(array), path, overwrite=True)
    assert not is_made(scan, keeping)
    made = synthesize_batch([scan], replace(keeping, overwrite=True))
    assert any("was edited" in text for text in made.warnings[scan.name])
    assert is_made(scan, keeping)


@pytest.mark.parametrize("prepare", ["auto", "none"])
def test_mask_put_where_a_brain_needed_none_makes_the_estimate_outdated(
    raw, job, head, tmp_path, prepare
):
    scan, mask = head
    path = raw / "sub-01/anat/sub-01_T1w.nii.gz"
    save_volume(scan.with_array(np.where(mask, scan.array, 0)), path, overwrite=True)
    (found, *_) = find_scans(raw).scans
    how = replace(ALLOWED, keep=tmp_path / "kept", prepare=prepare)
    keeping = replace(job, preparation=how)
    synthesize_batch([found], keeping)
    assert is_made(found, keeping)
    smaller = mask.copy()
    smaller[tuple(np.argwhere(mask)[0])] = False
    edited = keeping.preparation_of(found).keep.mask
    edited.parent.mkdir(parents=True, exist_ok=True)
    save_volume(scan.with_array(smaller), edited, overwrite=True)
    assert is_made(found, keeping) == (prepare == "none")
    if prepare == "auto":
        made = synthesize_batch([found], replace(keeping, overwrite=True))
        assert any("put there by hand" in text for text in made.warnings[found.name])
        assert is_made(found, keeping)


def put_derivative(raw, name, head, affine=None):
    scan, mask = head
    folder = raw / "derivatives" / name
    (folder / "sub-01/anat").mkdir(parents=True)
    (folder / "dataset_description.json").write_text('{"GeneratedBy": [{"Name": "fMRIPrep"}]}')
    image = nibabel.Nifti1Image(mask.astype(np.uint8), scan.affine if affine is None else affine)
    nibabel.save(image, folder / "sub-01/anat/sub-01_desc-brain_mask.nii.gz")
    return folder


def test_mask_and_transform_of_a_derivative_replace_their_steps(raw, job, steps, head):
    folder = put_derivative(raw, "fmriprep", head)
    name = "sub-01_from-T1w_to-MNI152NLin6Asym_mode-image_xfm.txt"
    save_transform(np.eye(4), folder / "sub-01/anat" / name)
    (scan, *_) = find_scans(raw).scans
    job = replace(job, derivatives=derivatives_of(raw))
    assert job.derivatives == (folder,)
    summary = synthesize_batch([scan], job)
    assert steps == [STEPS[1]]
    assert f"{name} of a derivative replaces the registration" in summary.warnings[scan.name]
    recorded = facts_of(job)["Settings"]["preparation"]
    assert recorded["brain_extraction"] == "mask provided"
    assert recorded["transform"]["File"] == name
    assert is_made(scan, job)
    assert not is_made(scan, replace(job, derivatives=()))


def test_mask_of_a_derivative_replaces_the_extraction_of_a_dicom_scan(dicom_series, tmp_path):
    raw, out = tmp_path / "in", tmp_path / "out"
    for session in "AB":
        dicom_series(raw / f"sub-01/ses-{session}/dcm", StudyInstanceUID=f"1.2.{ord(session)}")
    first, second = find_scans(raw).scans
    found = load_scan(first, None)
    name = "sub-01/ses-A/anat/sub-01_ses-A_desc-brain_mask.nii.gz"
    (raw / "derivatives/bet" / name).parent.mkdir(parents=True)
    save_volume(found.with_array(found.array > 0), raw / "derivatives/bet" / name)
    asked = PreparationConfig("full", allow_out_of_domain=True)
    job = BatchJob(out, None, CONFIG, preparation=asked, derivatives=derivatives_of(raw))
    plan = look_at(first, job).plan
    assert "brain extraction replaced by your mask" in plan.describe()
    told = "sub-01_ses-A_desc-brain_mask.nii.gz of a derivative replaces the brain extraction"
    assert told in plan.warnings
    assert "your mask" not in look_at(second, job).plan.describe()


def test_mask_on_another_grid_is_named_and_not_used(raw, job, head):
    put_derivative(raw, "fmriprep", head, affine=np.diag([3.0, 3.0, 3.0, 1.0]))
    (scan, *_) = find_scans(raw).scans
    job = replace(job, derivatives=derivatives_of(raw))
    (text,) = (t for t in synthesize_batch([scan], job).warnings[scan.name] if "derivative" in t)
    assert text == (
        "sub-01_desc-brain_mask.nii.gz of a derivative is not used: it is on another grid"
    )
    assert is_made(scan, job)


def test_mask_beside_an_extracted_scan_is_named(raw, job, head):
    put_derivative(raw, "fmriprep", head)
    (scan, *_) = find_scans(raw).scans
    whole, mask = head
    save_volume(whole.with_array(np.where(mask, whole.array, 0)), scan.path, overwrite=True)
    (told,) = (
        t
        for t in look_at(scan, replace(job, derivatives=derivatives_of(raw))).warnings
        if "derivative" in t
    )
    assert told == (
        "sub-01_desc-brain_mask.nii.gz of a derivative is not used: "
        "this scan's brain is taken as it is"
    )


@pytest.mark.parametrize(
    ("content", "told"),
    [(None, "it is a link that leads nowhere"), ("<html></html>", "a web page"), ("", "is empty")],
)
def test_mask_that_cannot_be_read_is_named_with_the_reason(raw, head, content, told):
    folder = put_derivative(raw, "other", head)
    path = folder / "sub-01/anat/sub-01_desc-brain_mask.nii.gz"
    path.unlink()
    if content is None:
        path.symlink_to("../.git/annex/objects/x.nii.gz")
    else:
        path.write_text(content)
    (scan, *_) = find_scans(raw).scans
    found, (note,) = find_own(scan, scan.output, [folder])
    assert found == {}
    assert note.startswith("sub-01_desc-brain_mask.nii.gz of a derivative is not used: ")
    assert told in note


def test_scan_whose_name_says_7t_is_made_with_a_warning(raw, job, head):
    (scan, *_) = find_scans(raw).scans
    assert not any("7T scan" in text for text in look_at(scan, job).warnings)
    (scan.path.parent / "sub-01_T1w.json").write_text('{"MagneticFieldStrength": 7}')
    (told,) = (text for text in look_at(scan, job).warnings if "7T scan" in text)
    assert told == "this is a 7T scan by its name or JSON, and the models are for 3T scans"


def test_mask_stored_in_another_order_of_voxels_lies_on_the_grid(raw, head):
    folder = put_derivative(raw, "other", head)
    path = folder / "sub-01/anat/sub-01_desc-brain_mask.nii.gz"
    flipped = nibabel.load(path).as_reoriented(np.array([[1, -1], [0, 1], [2, -1]]))
    nibabel.save(flipped, path)
    (scan, *_) = find_scans(raw).scans
    assert find_own(scan, scan.output, [folder]) == ({"mask": path}, ())


def test_derivatives_of_this_package_are_not_taken_unasked(raw):
    start_derivative(raw / "derivatives/synth7T")
    assert derivatives_of(raw) == ()


def test_outlook_of_a_scan_is_what_the_batch_then_does(raw, job):
    first, second = find_scans(raw).scans
    strict = replace(job, preparation=PreparationConfig())
    refused = look_at(first, strict)
    assert refused.argument == "allow_out_of_domain"
    assert synthesize_batch([first], strict).failed == {first.name: refused.error}
    assert not refused.error.startswith("sub-01_T1w"), "the scan is named once"
    planned = look_at(second, job)
    assert planned.plan.steps == STEPS
    assert planned.volume.name == "sub-02_T1w"
    assert not list(job.output.rglob("*.nii.gz"))
    synthesize_batch([second], job)
    assert look_at(second, job).is_made


def test_progress_tells_the_stage_and_step_of_every_scan(raw, job, monkeypatch):
    records = []

    def slow(*_, report):
        report(module.running(STEPS[1]))
        until = threading.Event()
        until.wait(0.3)
        return np.ones(find_shape)

    find_shape = load_volume(find_scans(raw).scans[0].path).shape
    monkeypatch.setattr(module, "estimate_bias_field", slow)
    synthesize_batch(find_scans(raw).scans, job, records.append)
    assert all(isinstance(record, BatchProgress) for record in records)
    shown = {(work.name[:6], work.stage, work.step) for r in records for work in r.at_work}
    assert ("sub-01", "preparing", STEPS[1]) in shown
    assert {("sub-01", "synthesising", ""), ("sub-02", "synthesising", "")} <= shown
    assert max(len(record.at_work) for record in records) <= 3
    plans = {work.name: work.plan for r in records for work in r.at_work if work.plan}
    assert len(plans) == 2
    done = [record.done for record in records]
    assert done == sorted(done)


def test_cancel_ends_a_preparation_that_runs_ahead(raw, job, monkeypatch):
    """The second scan's step lasts until it is told to stop."""
    stopped = threading.Event()
    mask = module.extract_brain

    def endless(scan, report):
        if scan.name.startswith("sub-01"):
            return mask(scan, report=report)
        try:
            while True:
                report(module.running(STEPS[0]))
                threading.Event().wait(0.01)
        except Cancelled:
            stopped.set()
            raise

    def report(now):
        if any(work.name.startswith("sub-02") and work.step for work in now.at_work):
            raise Cancelled

    monkeypatch.setattr(module, "extract_brain", endless)
    with pytest.raises(Cancelled):
        synthesize_batch(find_scans(raw).scans, job, report)
    assert stopped.is_set()
    assert not [t.name for t in threading.enumerate() if t.name.startswith("mri7t-prepare")]


def test_figures_are_there_before_the_estimate_counts_as_made(raw, job, monkeypatch, figures):
    figures()
    (scan, *_) = find_scans(raw).scans
    save, there = batch.save_volume, []

    def saved(volume, path, **options):
        there.extend(p.name for p in (job.output / "sub-01/figures").iterdir())
        return save(volume, path, **options)

    monkeypatch.setattr(batch, "save_volume", saved)
    synthesize_batch([scan], job)
    assert "sub-01_desc-synth7T_T1w_quality.png" in there


def test_figure_that_fails_costs_no_estimate(raw, job, monkeypatch, caplog):
    def broken(*_):
        raise KeyError("drawn wrongly")

    monkeypatch.setattr(scan_figures, "write_scan_figures", broken)
    (scan, *_) = find_scans(raw).scans
    summary = synthesize_batch([scan], job)
    assert summary.written == (scan.name,)
    assert any(text.startswith("no quality page: KeyError") for text in summary.warnings[scan.name])


def test_stopped_folder_has_a_summary_and_a_page(raw, job):
    noted = []

    def report(now):
        if now.done >= 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        synthesize_folder(raw, job, ScanFilter(), report, noted.append)
    facts = json.loads((job.output / "logs/batch.json").read_text())
    assert facts["stopped"] is True
    assert noted[-1].stopped is True
    assert sorted(facts["written"]) == sorted(n for outcome in noted for n in outcome.written)
    assert (job.output / "quality.html").is_file()
    summary = synthesize_folder(raw, job)
    assert len(summary.written) + len(summary.known) == 2
    assert json.loads((job.output / "logs/batch.json").read_text())["stopped"] is False


def test_batch_that_ends_by_an_error_keeps_what_it_knows(raw, job):
    def run(scans, job, report, note):
        note(BatchSummary((scans[0].name,)))
        raise Mri7tError("the disk is full")

    noted = []
    with pytest.raises(Mri7tError, match="the disk is full"):
        synthesize_folder(raw, job, note=noted.append, run=run)
    facts = json.loads((job.output / "logs/batch.json").read_text())
    assert facts["stopped"] is noted[-1].stopped is True
    assert list(facts["written"]) == ["sub-01/anat/sub-01_T1w.nii.gz"]


def test_model_that_is_not_there_is_refused_before_anything_is_written(raw, job, tmp_path):
    with pytest.raises(Mri7tError, match="no_such_model"):
        synthesize_folder(raw, replace(job, output=tmp_path / "new", model="no_such_model"))
    assert not (tmp_path / "new").exists()


def test_folder_of_another_program_is_refused_before_a_lock_is_put_there(raw, job, tmp_path):
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "dataset_description.json").write_text('{"GeneratedBy": [{"Name": "other"}]}')
    with pytest.raises(Mri7tError, match="did not create"):
        synthesize_folder(raw, replace(job, output=foreign))
    assert [path.name for path in foreign.iterdir()] == ["dataset_description.json"]


def test_batch_refuses_one_mask_for_all_scans(job, tmp_path):
    with pytest.raises(ValueError, match="one mask for all scans"):
        replace(job, preparation=PreparationConfig(mask=tmp_path / "mask.nii.gz"))


def test_end_slices_are_refused_before_a_scan_is_prepared(raw, job, steps):
    scans = find_scans(raw).scans
    summary = synthesize_batch(scans, replace(job, config=replace(CONFIG, end_slices=500)))
    assert all("choose fewer" in summary.failed[scan.name] for scan in scans)
    assert steps == []


@pytest.mark.parametrize("run", [synthesize_folder, synthesize_batch])
def test_absent_device_is_refused_before_anything_is_read_or_written(raw, job, steps, run):
    job = replace(job, output=job.output.with_name("new"), config=SynthesisConfig(device="tpu"))
    scans = raw if run is synthesize_folder else find_scans(raw).scans
    with pytest.raises(DeviceError, match="tpu"):
        run(scans, job)
    assert steps == []
    assert not job.output.exists()


def test_device_of_a_cluster_is_left_to_its_workers(raw, job):
    job, asked = replace(job, config=SynthesisConfig(device="tpu")), []
    synthesize_folder(raw, job, run=lambda scans, *_: asked.extend(scans) or BatchSummary())
    assert len(asked) == 2
