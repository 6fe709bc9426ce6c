"""A dataset through one model: complete, resumable, stoppable, valid BIDS."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import sys
import threading
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

from napari_mri7t.engine.atomic import N_HEX, TEMPORARY_PREFIX, TEMPORARY_SUFFIX
from napari_mri7t.engine.datasets.bids import start_derivative
from napari_mri7t.engine.datasets.scans import find_scans
from napari_mri7t.engine.errors import Mri7tError
from napari_mri7t.engine.models.card import ModelCard
from napari_mri7t.engine.models.model import load_model, save_model
from napari_mri7t.engine.networks import build_network
from napari_mri7t.engine.progress import Cancelled, Progress
from napari_mri7t.engine.report import scan_figures
from napari_mri7t.engine.synthesis import slabs
from napari_mri7t.engine.synthesis.config import SynthesisConfig
from napari_mri7t.engine.synthesis.scan import synthesize_prepared
from napari_mri7t.engine.synthesis.synthesize import estimate
from napari_mri7t.engine.volumes.volume import load_volume, save_volume
from napari_mri7t.engine.workflows import batch, outlook
from napari_mri7t.engine.workflows.batch import synthesize_batch
from napari_mri7t.engine.workflows.claims import Claims
from napari_mri7t.engine.workflows.job import BatchJob
from napari_mri7t.engine.workflows.outlook import is_made
from napari_mri7t.engine.workflows.repeat import SourcePaths, repeat
from napari_mri7t.engine.workflows.stages import WAITING
from napari_mri7t.engine.workflows.summary import BatchSummary, write_summary

CONFIG = SynthesisConfig(device="cpu", precision="float32", step=3)
FIRST = "sub-01/anat/sub-01_desc-synth7T_T1w.nii.gz"


@pytest.fixture(autouse=True)
def figures(monkeypatch):
    """Draw none, which takes a second a scan; the function is given back where it counts."""
    original = scan_figures.write_scan_figures
    monkeypatch.setattr(scan_figures, "write_scan_figures", lambda *_: None)
    return lambda: monkeypatch.setattr(scan_figures, "write_scan_figures", original)


def save_quick(folder, seed=0):
    """A model that computes quickly."""
    torch.manual_seed(seed)
    card = ModelCard(
        name=folder.name,
        title="Untrained",
        network="slice_unet",
        n_parameters=0,
        preprocessing={
            "voxel_size_mm": [1, 1, 1],
            "intensity_quantiles": np.linspace(0, 1, 257).tolist(),
        },
        training={},
        metrics={},
        intended_use="Tests.",
        sha256="",
    )
    settings = {"widths": (8, 8), "n_blocks": 1}
    save_model(
        folder, build_network("slice_unet", **settings), replace(card, network_config=settings)
    )
    return str(folder)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_quick(tmp_path_factory.mktemp("models") / "quick")


@pytest.fixture
def raw(phantom, tmp_path):
    """Three scans in BIDS; the units are known, as the validator wishes."""
    small = type(phantom)(phantom.array[:, :, :12], phantom.affine)
    for label in ("01", "02", "03"):
        path = tmp_path / f"raw/sub-{label}/anat/sub-{label}_T1w.nii.gz"
        path.parent.mkdir(parents=True)
        save_volume(small, path)
    description = {"Name": "raw", "BIDSVersion": "1.10.0", "DatasetDOI": "10.1/x"}
    (tmp_path / "raw/dataset_description.json").write_text(json.dumps(description))
    return tmp_path / "raw"


@pytest.fixture
def job(tmp_path, raw, model):
    start_derivative(tmp_path / "out", raw)
    return BatchJob(tmp_path / "out", model, CONFIG)


def cancel_at(n_reports):
    """A report that cancels at its n-th call."""
    left = iter(range(n_reports))

    def report(_):
        if next(left) == n_reports - 1:
            raise Cancelled

    return report


def images(job):
    return sorted(path.name[:6] for path in job.output.glob("sub-*/anat/*.nii.gz"))


def test_every_scan_gets_its_estimate_and_sidecar(raw, job):
    scans = find_scans(raw).scans
    summary = synthesize_batch(scans, job)
    assert summary.written == tuple(scan.name for scan in scans)
    assert not summary.failed
    expected = estimate(load_volume(scans[0].path), load_model(job.model), CONFIG).volume
    np.testing.assert_array_equal(load_volume(job.output / FIRST).array, expected.array)
    facts = json.loads((job.output / FIRST.replace(".nii.gz", ".json")).read_text())
    digest = hashlib.sha256(scans[0].path.read_bytes()).hexdigest()
    assert facts["SourceFiles"] == [{"File": "sub-01_T1w.nii.gz", "SHA256": digest}]
    assert facts["Sources"] == ["bids:source:sub-01/anat/sub-01_T1w.nii.gz"]
    assert facts["Synthetic"] is True
    assert facts["SkullStripped"] is True


def test_derivative_is_valid_bids(raw, job, bids_errors, figures):
    figures()
    summary = synthesize_batch(find_scans(raw).scans, job)
    write_summary(raw, job.output, summary)
    assert bids_errors(job.output) == []
    assert images(job) == ["sub-01", "sub-02", "sub-03"]


def test_bad_scan_is_reported_and_the_others_go_on(raw, job):
    bad = raw / "sub-02/anat/sub-02_T1w.nii.gz"
    bad.write_bytes(bad.read_bytes()[:-20])
    summary = synthesize_batch(find_scans(raw).scans, job)
    assert images(job) == ["sub-01", "sub-03"]
    assert list(summary.failed) == ["sub-02/anat/sub-02_T1w.nii.gz"]
    assert "is cut short" in summary.failed["sub-02/anat/sub-02_T1w.nii.gz"]


def test_scans_that_synthesize_refuses_are_refused_here_too(raw, job, phantom):
    """Voxels that are too coarse, and two forms that mirror each other."""
    scans = find_scans(raw).scans
    small = phantom.array[:, :, :12]
    nibabel.save(nibabel.Nifti1Image(small, np.diag([3.0, 3.0, 3.0, 1.0])), scans[0].path)
    mirrored = nibabel.load(scans[1].path)
    mirrored.set_qform(np.diag([-1.0, 1.0, 1.0, 1.0]) @ mirrored.affine, code=1)
    nibabel.save(nibabel.Nifti1Image(small, None, mirrored.header), scans[1].path)
    summary = synthesize_batch(scans, job)
    assert "voxels of 3 x 3 x 3 mm" in summary.failed[scans[0].name].replace("×", "x")
    assert "sform and qform mirror each other" in summary.failed[scans[1].name]
    assert summary.arguments[scans[0].name] == "allow_out_of_domain"
    assert images(job) == ["sub-03"]


def test_batch_stopped_anywhere_goes_on_and_leaves_nothing_partial(raw, job, monkeypatch):
    monkeypatch.setattr(slabs, "GROUP_BYTES", 1)  # a step for every slab
    for n_steps in (1, 3, 12):
        with pytest.raises(Cancelled):
            synthesize_batch(find_scans(raw).scans, job, cancel_at(n_steps))
        assert not [t.name for t in threading.enumerate() if t.name.startswith("mri7t-")]
        assert not list(job.output.rglob("*.tmp"))
        for image in job.output.rglob("*.nii.gz"):
            load_volume(image)
            assert image.with_name(image.name.replace(".nii.gz", ".json")).exists()
    before = {path: path.stat().st_mtime_ns for path in job.output.rglob("*.nii.gz")}
    summary = synthesize_batch(find_scans(raw).scans, job)
    assert len(summary.known) == len(before)
    assert len(summary.known) + len(summary.written) == 3
    assert all(path.stat().st_mtime_ns == when for path, when in before.items())


@pytest.mark.skipif(sys.platform == "win32", reason="no locks")
def test_what_a_killed_batch_left_beside_a_finished_estimate_goes(raw, job):
    scans = find_scans(raw).scans
    made = synthesize_batch(scans, job)
    folder = job.output / "sub-01" / "anat"
    left = folder / f"{TEMPORARY_PREFIX}{'0' * N_HEX}{TEMPORARY_SUFFIX}"
    left.write_bytes(b"half an image")
    again = synthesize_batch(scans, job)
    assert again.known == made.written
    assert not left.exists()


def test_what_differs_in_scan_model_or_settings_is_made_again_only_if_allowed(raw, job, tmp_path):
    scans = find_scans(raw).scans
    synthesize_batch(scans, job)
    assert len(synthesize_batch(scans, job).known) == 3
    changed = [
        replace(job, config=replace(CONFIG, step=2)),
        replace(job, model=save_quick(tmp_path / "other", seed=1)),
    ]
    for other in changed:
        summary = synthesize_batch(scans, other)
        assert len(summary.failed) == 3
        assert "allow overwriting" in summary.failed[scans[0].name]
        assert summary.arguments[scans[0].name] == "overwrite"
    again = replace(changed[0], overwrite=True)
    assert len(synthesize_batch(scans, again).written) == 3
    assert is_made(scans[0], again)
    assert is_made(scans[0], replace(again, config=replace(again.config, memory_mb=7)))
    scans[0].path.write_bytes(scans[0].path.read_bytes() + bytes(8))  # other bytes, same voxels
    assert not is_made(scans[0], again)


def test_a_step_that_a_model_of_one_slice_ignores_is_no_other_setting(raw, job, monkeypatch):
    scans = find_scans(raw).scans
    synthesize_batch(scans, replace(job, config=replace(CONFIG, step=1)))
    fast = replace(job, config=replace(CONFIG, step=3))
    assert not is_made(scans[0], fast)
    monkeypatch.setattr(ModelCard, "is_of_one_slice", True)
    assert is_made(scans[0], fast)


def test_planes_of_the_card_are_those_asked_for_by_name(raw, job, monkeypatch):
    scans = find_scans(raw).scans
    synthesize_batch(scans, job)
    assert is_made(scans[0], replace(job, config=replace(CONFIG, planes=("axial",))))
    assert not is_made(scans[0], replace(job, config=replace(CONFIG, planes=("coronal",))))
    monkeypatch.setattr(ModelCard, "planes", ("axial", "coronal"))
    assert not is_made(scans[0], job)


def test_estimate_of_a_batch_can_be_repeated(raw, job):
    (scan, *_) = find_scans(raw).scans
    synthesize_batch([scan], job)
    sidecar = job.output / FIRST.replace(".nii.gz", ".json")
    assert repeat(sidecar, model=job.model, sources=SourcePaths(input=scan.path)).is_equal


def test_image_without_a_sidecar_that_can_be_read_is_not_made(raw, job):
    scans = find_scans(raw).scans
    synthesize_batch(scans, job)
    sidecar = job.output / FIRST.replace(".nii.gz", ".json")
    for text in ("", "[]", "[" * 100_000):
        sidecar.write_text(text)
        assert not is_made(scans[0], job)
    sidecar.unlink()
    assert not is_made(scans[0], job)


def test_next_scan_is_read_while_this_one_is_computed(raw, job, monkeypatch):
    """The reader is held up on the second scan until the first one is being computed."""
    computing, order = threading.Event(), []

    def load(scan, index):
        if "sub-02" in scan.name:
            assert computing.wait(20), "the second scan must be read during the first's computing"
        order.append(f"read {scan.name[:6]}")
        return load_volume(scan.path, index=index)

    def compute(*arguments):
        order.append("compute")
        computing.set()
        return synthesize_prepared(*arguments)

    monkeypatch.setattr(outlook, "load_scan", load)
    monkeypatch.setattr(batch, "synthesize_prepared", compute)
    assert len(synthesize_batch(find_scans(raw).scans, job).written) == 3
    assert order[:3] == ["read sub-01", "compute", "read sub-02"]


def test_never_more_than_two_scans_are_read_ahead(raw, job, monkeypatch):
    n_read, most = 0, 0

    def load(scan, index):
        nonlocal n_read
        n_read += 1
        return load_volume(scan.path, index=index)

    def compute(*arguments):
        nonlocal n_read, most
        most = max(most, n_read)
        n_read -= 1
        return synthesize_prepared(*arguments)

    monkeypatch.setattr(outlook, "load_scan", load)
    monkeypatch.setattr(batch, "synthesize_prepared", compute)
    assert len(synthesize_batch(find_scans(raw).scans, job).written) == 3
    assert most <= 2


def test_disk_that_fails_is_reported_for_the_scan(raw, job, monkeypatch):
    def save(volume, path, **options):
        if "sub-02" in path.name:
            raise Mri7tError(f"{path}: No space left on device: free some space")
        return save_volume(volume, path, **options)

    monkeypatch.setattr(batch, "save_volume", save)
    summary = synthesize_batch(find_scans(raw).scans, job)
    assert images(job) == ["sub-01", "sub-03"]
    assert "No space left" in summary.failed["sub-02/anat/sub-02_T1w.nii.gz"]


@pytest.mark.parametrize("fails", [False, True])
def test_outcome_of_a_writing_is_known_while_the_next_scan_is_in_the_network(
    raw, job, monkeypatch, fails
):
    known = threading.Event()

    def compute(ready, model, config, grid, report):
        if "sub-02" in ready.scan.name:
            for _ in range(1000):
                report(Progress(0, 1, "slices"))
                if known.wait(0.02):
                    break
            assert known.is_set(), "the outcome must not wait for the network"
        return synthesize_prepared(ready, model, config, grid, report)

    def save(volume, path, **options):
        if fails and "sub-01" in path.name:
            raise Mri7tError(f"{path}: No space left on device: free some space")
        return save_volume(volume, path, **options)

    monkeypatch.setattr(batch, "synthesize_prepared", compute)
    monkeypatch.setattr(batch, "save_volume", save)
    summary = synthesize_batch(find_scans(raw).scans, job, note=lambda _: known.set())
    assert (len(summary.written), len(summary.failed)) == (3 - fails, fails)


@pytest.mark.parametrize(
    ("stage", "error", "words"),
    [
        ("examine", MemoryError("Unable to allocate 27.5 MiB"), "synthesise this scan alone"),
        ("synthesize_prepared", RuntimeError("can't allocate memory"), "use fewer processes"),
        ("synthesize_prepared", torch.OutOfMemoryError("CUDA out of memory"), "not enough memory"),
        ("save_volume", KeyError("ours"), "KeyError: 'ours': a bug in napari-mri7t"),
    ],
)
def test_error_of_any_kind_ends_one_scan_and_no_other(
    raw, job, monkeypatch, caplog, stage, error, words
):
    original, left = getattr(batch, stage), [2]

    def failing(*arguments, **options):
        left[0] -= 1
        if left[0] == 0:
            raise error
        return original(*arguments, **options)

    monkeypatch.setattr(batch, stage, failing)
    summary = synthesize_batch(find_scans(raw).scans, job)
    assert images(job) == ["sub-01", "sub-03"]
    (why,) = summary.failed.values()
    assert words in why
    assert ("Traceback" in caplog.text) == (stage == "save_volume"), "what nobody foresaw is logged"


def test_one_volume_of_a_series_is_taken_and_remembered(raw, job, phantom):
    path = raw / "sub-01/anat/sub-01_T1w.nii.gz"
    small = phantom.array[:, :, :12]
    nibabel.save(nibabel.Nifti1Image(np.stack([small / 2, small], axis=-1), phantom.affine), path)
    (scan, *_) = find_scans(raw).scans
    summary = synthesize_batch([scan], job)
    assert "choose one with index" in summary.failed[scan.name]
    assert summary.arguments == {scan.name: "index"}
    second = replace(job, index=1)
    assert synthesize_batch([scan], second).written == (scan.name,)
    expected = estimate(load_volume(path, index=1), load_model(job.model), CONFIG).volume
    np.testing.assert_array_equal(load_volume(job.output / FIRST).array, expected.array)
    assert is_made(scan, second)
    assert not is_made(scan, replace(job, index=0))
    assert not is_made(scan, job)


def test_progress_rises_to_the_total(raw, job):
    records = []
    synthesize_batch(find_scans(raw).scans, job, records.append)
    done = [record.done for record in records]
    assert done == sorted(done)
    assert records[-1].done == records[-1].total == 3
    assert [record.message for record in records[:2]] == [
        "loading the model",
        "scan 1 of 3 (sub-01_T1w.nii.gz): reading",
    ]


def test_nothing_to_do_is_an_empty_summary(job):
    summary = synthesize_batch([], job)
    assert replace(summary, seconds=0.0) == BatchSummary()


def test_image_that_is_not_the_one_its_sidecar_describes_is_not_made(raw, job):
    """Emptied, exchanged, or the old one after a kill between the placing of sidecar and image."""
    scans = find_scans(raw).scans[:2]
    synthesize_batch(scans, job)
    image, other = (job.output / scan.output for scan in scans)
    for content in (b"", other.read_bytes()[:-1], other.read_bytes() + b" "):
        image.write_bytes(content)
        assert not is_made(scans[0], job)
        summary = synthesize_batch(scans, job)
        assert summary.known == (scans[1].name,)
        assert "is not the image that its sidecar describes" in summary.failed[scans[0].name]
        assert image.read_bytes() == content
    assert synthesize_batch(scans, replace(job, overwrite=True)).written == (scans[0].name,)
    assert is_made(scans[0], job)


def test_estimate_with_a_sidecar_of_version_0_1_is_resumed(raw, job):
    scans = find_scans(raw).scans[:1]
    synthesize_batch(scans, job)
    image = job.output / FIRST
    sidecar = image.with_name(image.name.replace(".nii.gz", ".json"))
    facts = json.loads(sidecar.read_text())
    del facts["Image"]
    sidecar.write_text(json.dumps(facts))
    assert synthesize_batch(scans, job).known == (scans[0].name,)
    image.with_suffix("").touch()  # .nii beside .nii.gz
    why = synthesize_batch(scans, job).failed[scans[0].name]
    assert "its sidecar was written by version 0.1, which recorded no digest of the image" in why


def test_json_of_another_program_is_not_replaced_by_a_batch(raw, job):
    scans = find_scans(raw).scans[:1]
    sidecar = job.output / FIRST.replace(".nii.gz", ".json")
    sidecar.parent.mkdir(parents=True)
    sidecar.write_text('{"EchoTime": 0.003}')
    summary = synthesize_batch(scans, replace(job, overwrite=True))
    assert "is never replaced" in summary.failed[scans[0].name]
    assert sidecar.read_text() == '{"EchoTime": 0.003}'


def annex(path, is_here=True):
    """Store a file as git-annex does, and link it; return its content's place."""
    key = path.parents[2] / ".git/annex/objects" / path.name
    key.parent.mkdir(parents=True, exist_ok=True)
    path.replace(key)
    path.symlink_to(key)
    if not is_here:
        key.unlink()
    return key


@pytest.mark.parametrize("ending", [".nii.gz", ".json"])
@pytest.mark.parametrize("is_here", [True, False])
def test_batch_writes_through_no_link_of_git_annex(raw, job, tmp_path, ending, is_here):
    scans = find_scans(raw).scans[:1]
    synthesize_batch(scans, job)
    key = annex(job.output / FIRST.replace(".nii.gz", ending), is_here)
    content = key.read_bytes() if is_here else None
    if is_here:
        assert synthesize_batch(scans, job).known == (scans[0].name,)
    other = save_quick(tmp_path / "other", seed=1)
    made, told = [], ("locked by git-annex", "content is not here: fetch it with 'datalad get'")
    for overwrite in (True, *([] if is_here else [False])):
        again = replace(job, overwrite=overwrite, model=other)
        summary = synthesize_batch(scans, again, lambda shown: made.append(shown.message))
        assert told[not is_here] in summary.failed[scans[0].name]
    assert not any("synthesising" in message for message in made), "it is refused before the work"
    assert (key.read_bytes() if key.exists() else None) == content


def test_another_batch_may_have_an_estimate_once_its_outcome_is_known(raw, job):
    scans = find_scans(raw).scans
    scans[1].path.write_bytes(b"no image")
    outputs, known = {scan.name: scan.output for scan in scans}, []

    def note(outcome):
        with Claims(job.output) as other:
            for name in (*outcome.written, *outcome.failed, *outcome.known):
                other.take(outputs[name])  # refused while this batch holds it
                known.append(name)

    synthesize_batch(scans[:2], job, note=note)
    synthesize_batch(scans[:1], job, note=note)
    assert sorted(known) == [scans[0].name, scans[0].name, scans[1].name]


@pytest.mark.parametrize("n", [0, 1, 2])
def test_scan_that_another_batch_is_at_comes_last(raw, job, n):
    scans, told = find_scans(raw).scans, []
    with Claims(job.output) as other:
        other.take(scans[n].output)

        def report(now):
            told.append(now.message)
            if WAITING in now.message:
                other.release(scans[n].output)

        summary = synthesize_batch(scans, job, report)
    assert summary.failed == {}
    assert summary.written == (*(s.name for s in scans if s != scans[n]), scans[n].name)
    assert any(f"scan 3 of 3 ({Path(scans[n].name).name}): {WAITING}" in line for line in told)
    assert list((job.output / "logs").iterdir()) == []


def test_estimate_that_another_batch_has_made_meanwhile_is_known(raw, job):
    scans = find_scans(raw).scans[:1]
    with Claims(job.output) as other:
        synthesize_batch(scans, job)
        other.take(scans[0].output)

        def report(now):
            if WAITING in now.message:
                other.release(scans[0].output)

        assert synthesize_batch(scans, job, report).known == (scans[0].name,)


def test_batch_that_waits_for_another_can_be_stopped(raw, job):
    scans = find_scans(raw).scans[:1]

    def report(now):
        if WAITING in now.message:
            raise KeyboardInterrupt

    with Claims(job.output) as other:
        other.take(scans[0].output)
        with pytest.raises(KeyboardInterrupt):
            synthesize_batch(scans, job, report)
    assert not is_made(scans[0], job)


def test_stopped_batch_tells_what_it_has_done(raw, job):
    scans, outcomes = find_scans(raw).scans, []

    def report(now):
        if now.done >= 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        synthesize_batch(scans, job, report, outcomes.append)
    noted = [name for outcome in outcomes for name in outcome.written]
    assert noted == [scan.name for scan in scans if is_made(scan, job)] != []


def test_summary_keeps_the_scans_of_other_batches(raw, job):
    for name in ("a", "b", "c"):
        (raw / name).touch()
    first = BatchSummary(("a",), failed={"b": "why", "c": "why"}, arguments={"b": "index"})
    write_summary(raw, job.output, first)
    path = write_summary(raw, job.output, BatchSummary(("b",), known=("d",), stopped=True))
    facts = json.loads(path.read_text())
    assert (facts["written"], facts["known"], facts["failed"]) == (["a", "b"], ["d"], {"c": "why"})
    assert facts["arguments"] == {}
    assert facts["stopped"] is True
    for text in ("[]", "{", '{"written": 1}'):
        path.write_text(text)
        assert json.loads(write_summary(raw, job.output, first).read_text())["written"] == ["a"]


def test_summary_keeps_a_failed_series_of_dicom_files(raw, job):
    failed = {"sub-01/ses-A/sub-01_ses-A_T1w": "slices are missing", "P001": "its series are alike"}
    write_summary(raw, job.output, BatchSummary(failed=failed))
    path = write_summary(raw, job.output, BatchSummary(("sub-02/anat/sub-02_T1w.nii.gz",)))
    assert json.loads(path.read_text())["failed"] == failed


def test_summary_forgets_a_failure_that_was_cured_as_advised(raw, job):
    failed = dict.fromkeys(
        ("gone.img", "gone.mha", "sub-09", "ignored.img", "kept.img", "sub-01", "sub-02")
        + ("sub-03/ses-1", "sub-03/ses-2", "sub-03/ses-3", "sub-09/anat"),
        "why",
    )
    for name in ("ses-1", "ses-2"):
        (raw / "sub-03" / name).mkdir()
    for name in ("ignored.img", "ignored.nii", "kept.img"):
        (raw / name).touch()
    skipped = {"gone.nii": "why", "ignored.nii": "why"}
    write_summary(raw, job.output, BatchSummary(failed=failed, skipped=skipped))
    (raw / ".bidsignore").write_text("ignored.*\nsub-03/ses-1/\n")
    path = write_summary(raw, job.output, BatchSummary(("sub-01/anat/sub-01_T1w.nii.gz",)))
    facts = json.loads(path.read_text())
    assert facts["failed"].keys() == {"kept.img", "sub-02", "sub-03/ses-2"}
    assert facts["skipped"].keys() == {"ignored.nii"}


def test_output_folder_that_cannot_be_written_is_found_before_the_model_is_loaded(
    raw, job, monkeypatch
):
    def refuse(*_):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "open", refuse)
    monkeypatch.setattr(batch, "load_model", None)
    with pytest.raises(Mri7tError, match="Read-only file system"):
        synthesize_batch([], job)
