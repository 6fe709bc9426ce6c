"""Raw pairs into a dataset to train on: whole, resumable, judged, repeatable, valid BIDS."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import nibabel
import numpy as np
import pytest

from napari_mri7t.engine.datasets.paired import PairPaths
from napari_mri7t.engine.datasets.subjects import find_subjects, load_pair
from napari_mri7t.engine.errors import (
    Mri7tError,
    Mri7tWarning,
    StateError,
    SubjectError,
    VolumeError,
)
from napari_mri7t.engine.metrics.pair_agreement import PairAgreement
from napari_mri7t.engine.preparation.cache import MASK, N_HEX, VOXELS, open_cache
from napari_mri7t.engine.preparation.pair import PairConfig, PreparedPair, make_pair
from napari_mri7t.engine.preparation.prepared import Prepared
from napari_mri7t.engine.progress import Cancelled
from napari_mri7t.engine.report import pair_figures
from napari_mri7t.engine.simulation.pseudo_3t import simulate_3t
from napari_mri7t.engine.volumes.digests import voxel_digest
from napari_mri7t.engine.volumes.provenance import read_sidecar
from napari_mri7t.engine.volumes.template import load_template
from napari_mri7t.engine.volumes.volume import Volume, load_volume, save_volume
from napari_mri7t.engine.workflows import pair_review, pairs
from napari_mri7t.engine.workflows.pair_dataset import make_dataset
from napari_mri7t.engine.workflows.pair_dataset import pair as pair_people
from napari_mri7t.engine.workflows.pair_review import NOT_YET_COMPARED, judge_pair, list_pairs
from napari_mri7t.engine.workflows.pairs import (
    CHANGED,
    DONE,
    FAILED,
    NEW,
    PairJob,
    PairProgress,
    find_pairs,
    make_pairs,
    plan_pairs,
)
from napari_mri7t.engine.workflows.repeat import SourcePaths, repeat

CONFIG = PairConfig(prepare="none")


@pytest.fixture
def raw(phantom, tmp_path):
    """Three people, whose brains differ, at both field strengths."""
    for n in (1, 2, 3):
        brain = np.roll(phantom.array, 2 * n, 2) if n > 1 else phantom.array
        for field, power in (("3", 0.8), ("7", 1.0)):
            name = f"sub-0{n}/ses-{field}T/anat/sub-0{n}_ses-{field}T_T1w.nii.gz"
            path = tmp_path / "raw" / name
            path.parent.mkdir(parents=True)
            save_volume(phantom.with_array(brain**power), path)
    return tmp_path / "raw"


@pytest.fixture
def job(tmp_path):
    return PairJob(tmp_path / "out", CONFIG)


@pytest.fixture(autouse=True)
def quick(monkeypatch, request):
    """Without figures, and people compared on their own grid."""
    if "slow" in request.keywords:
        return
    monkeypatch.setattr(pair_figures, "write_pair_figures", lambda *_: None)
    monkeypatch.setattr(pair_review, "comparable", lambda volume, _: volume.array)


def quick_pair(plan, report=None, problems=()):
    """A pair of scans that lie on one grid already."""
    source, target = (
        Prepared(scan, scan, scan.array > 0, np.eye(4), 0.8)
        for scan in (plan.raw.source, plan.raw.target)
    )
    mask = source.mask & target.mask
    images = [
        Volume(np.where(mask, each.scan.array, 0), each.scan.affine) for each in (source, target)
    ]
    agreement = PairAgreement(1.2, 0.9, 0.4, 0.95, 1.1)
    place = np.eye(4), np.eye(4)
    return PreparedPair(
        plan.raw.name, *images, mask, source, target, *place, agreement, problems, plan.warnings,
        plan.config,
    )  # fmt: skip


def run(raw, job, make=quick_pair, **settings):
    def run_here(found, job, report, note):
        return make_pairs(found, job, report, note, make)

    return make_dataset(raw, find_pairs(raw), job, run=run_here, **settings)


def content_of(folder):
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.glob("sub-*/**/*.*")
        if path.is_file()
    }


def test_train_takes_the_result_without_another_option(raw, job):
    made = run(raw, job)
    assert made.summary.written == ("sub-01", "sub-02", "sub-03")
    subjects = find_subjects(job.output)
    assert [subject.name for subject in subjects] == ["sub-01", "sub-02", "sub-03"]
    for subject in subjects:
        source, target = load_pair(subject)
        assert source.array[0, 0, 0] == target.array[0, 0, 0] == 0


def test_derivative_is_valid_bids_also_with_pairs_left_out(raw, job, bids_errors):
    run(raw, job)
    judge_pair(job.output, "sub-02", "reject")
    assert bids_errors(job.output) == []


def test_sidecar_names_both_scans_and_is_no_synthetic_image(raw, job):
    run(raw, job)
    for image in PairPaths(job.output, "sub-01").images:
        facts = json.loads(image.with_name(image.name.replace(".nii.gz", ".json")).read_text())
        names = [f"sub-01/ses-{f}T/anat/sub-01_ses-{f}T_T1w.nii.gz" for f in "37"]
        assert facts["Sources"] == [f"bids:source:{name}" for name in names]
        digests = [hashlib.sha256((raw / name).read_bytes()).hexdigest() for name in names]
        assert [entry["SHA256"] for entry in facts["SourceFiles"]] == digests
        assert facts["Synthetic"] is False
        assert "Synthetic" not in str(image.read_bytes()[:400])
        assert facts["Image"]["SHA256"] == hashlib.sha256(image.read_bytes()).hexdigest()


def test_second_run_makes_nothing_and_changes_nothing(raw, job):
    run(raw, job)
    before = content_of(job.output)
    again = run(raw, job, make=None)
    assert again.summary.known == ("sub-01", "sub-02", "sub-03")
    assert content_of(job.output) == before


def test_only_the_missing_pair_is_made_again(raw, job):
    run(raw, job)
    PairPaths(job.output, "sub-02").mask.unlink()
    again = run(raw, replace(job, overwrite=True))
    assert again.summary.written == ("sub-02",)


def test_plan_tells_new_done_and_changed_pairs(raw, job):
    found = find_pairs(raw)
    assert [state.state for state in plan_pairs(found, job)] == [NEW] * 3
    assert plan_pairs(found, job)[0].text.startswith("3T sub-01_ses-3T_T1w.nii.gz, 7T sub-01_")
    run(raw, job)
    assert [state.state for state in plan_pairs(found, job)] == [DONE] * 3
    other = replace(job, config=replace(CONFIG, grid="7t"))
    assert [state.state for state in plan_pairs(found, other)] == [CHANGED] * 3


def test_pair_of_other_settings_is_replaced_only_if_allowed(raw, job):
    run(raw, job)
    other = replace(job, config=replace(CONFIG, grid="7t"))
    refused = run(raw, other).summary
    assert "was made from other scans, masks or settings" in refused.failed["sub-01"]
    assert refused.arguments["sub-01"] == "overwrite"
    assert len(run(raw, replace(other, overwrite=True)).summary.written) == 3


@pytest.mark.parametrize(("side", "part"), [("3T", "mask of the 3T"), ("7T", "mask of the 7T")])
def test_pair_is_made_anew_once_a_kept_mask_is_edited(raw, job, tmp_path, phantom, side, part):
    config = PairConfig(allow_out_of_domain=True)
    job = replace(job, config=config, keep=tmp_path / "keep")
    run(raw, job)
    edited = job.keep / f"sub-02/{side}/sub-02_ses-{side}_T1w_mask.nii.gz"
    edited.parent.mkdir(parents=True)
    save_volume(phantom.with_array(phantom.array > 0), edited)
    states = [state.state for state in plan_pairs(find_pairs(raw), job)]
    assert states == [DONE, CHANGED, DONE]
    again = replace(job, overwrite=True)
    assert f"with your {part}" in plan_pairs(find_pairs(raw), again)[1].text
    made = run(raw, again).summary
    assert made.written == ("sub-02",)
    assert "was edited, or put there by hand" in " ".join(made.warnings["sub-02"])
    assert run(raw, job, make=None).summary.known == ("sub-01", "sub-02", "sub-03")


def test_kept_mask_that_is_edited_counts_after_its_scan_was_replaced_too(
    raw, job, tmp_path, phantom
):
    """A second scan of one name is kept under its digest."""
    job = replace(job, config=PairConfig(allow_out_of_domain=True), keep=tmp_path / "keep")
    path = raw / "sub-02/ses-3T/anat/sub-02_ses-3T_T1w.nii.gz"
    mask = phantom.with_array(phantom.array > 0)
    folder = job.keep / "sub-02/3T"
    for power in (0.8, 0.7):
        save_volume(phantom.with_array(phantom.array**power), path, overwrite=True)
        scan = load_volume(path)
        cache = open_cache(scan, folder)
        cache.save(MASK, mask, {VOXELS: voxel_digest(scan)})
    assert cache.files.mask.name == f"sub-02_ses-3T_T1w-{voxel_digest(scan)[:N_HEX]}_mask.nii.gz"
    run(raw, job)
    assert [state.state for state in plan_pairs(find_pairs(raw), job)] == [DONE] * 3
    smaller = mask.array.copy()
    smaller[tuple(np.argwhere(smaller)[0])] = 0
    save_volume(mask.with_array(smaller), cache.files.mask, overwrite=True)
    states = [state.state for state in plan_pairs(find_pairs(raw), job)]
    assert states == [DONE, CHANGED, DONE]
    assert run(raw, replace(job, overwrite=True)).summary.written == ("sub-02",)
    assert run(raw, job, make=None).summary.known == ("sub-01", "sub-02", "sub-03")


def test_mask_of_two_files_makes_its_pair_anew_once_its_voxels_change(raw, job, phantom):
    mask = np.asarray(phantom.array > 0, np.uint8)
    for n in (0, 1):
        mask[tuple(np.argwhere(mask)[0])] = 0
        nibabel.save(nibabel.Nifti1Pair(mask, phantom.affine), raw / "m.hdr")
        fields = [f"sub-02/ses-{f}T/anat/sub-02_ses-{f}T_T1w.nii.gz" for f in "37"]
        table = raw / "pairs.tsv"
        table.write_text("\t".join(["subject", "3T", "7T", "mask_3T"]) + "\n")
        with table.open("a") as file:
            file.write("\t".join(["sub-02", *fields, "m.hdr"]) + "\n")
        found = find_pairs(table)
        assert [state.state for state in plan_pairs(found, job)] == [CHANGED if n else NEW]
        make_pairs(found.pairs, replace(job, overwrite=True), make=quick_pair)
        assert [state.state for state in plan_pairs(found, job)] == [DONE]


def test_pair_that_fails_is_named_and_the_others_are_made(raw, job):
    def fail(plan, report):
        if plan.raw.name == "sub-02":
            raise VolumeError("sub-02: 7T: the brain is implausible: provide a mask")
        return quick_pair(plan)

    made = run(raw, job, make=fail)
    assert made.summary.written == ("sub-01", "sub-03")
    assert made.summary.failed == {"sub-02": "7T: the brain is implausible: provide a mask"}
    logged = json.loads((job.output / "logs/pairs.json").read_text())
    assert logged["failed"] == made.summary.failed
    assert "the brain is implausible" in (job.output / "quality.html").read_text()


def test_file_that_failed_stays_in_the_summary_until_it_is_mended(raw, job):
    def make(*people):
        found = find_pairs(raw, people)
        return make_dataset(raw, found, job, run=lambda *given: make_pairs(*given, quick_pair))

    def logged():
        page = (job.output / "quality.html").read_text()
        failed = json.loads((job.output / "logs/pairs.json").read_text())["failed"]
        assert all(name in page for name in failed)
        return list(failed)

    whole = raw / "sub-02/ses-3T/anat/sub-02_ses-3T_T1w.nii.gz"
    odd = whole.with_name("sub-02_ses-3T_T1w_defaced.nii.gz")
    whole.rename(odd)
    assert odd.relative_to(raw).as_posix() in make().summary.failed
    make("01")
    assert logged() == [odd.relative_to(raw).as_posix()], "of a person who was not asked for"
    odd.rename(whole)
    make("03")
    assert len(logged()) == 1
    make("02")
    assert logged() == []


@pytest.mark.parametrize("field", ["3T", "7T"])
def test_scan_that_cannot_be_read_is_named(raw, job, field):
    path = raw / f"sub-02/ses-{field}/anat/sub-02_ses-{field}_T1w.nii.gz"
    path.write_bytes(b"no image")
    assert path.name in run(raw, job).summary.failed["sub-02"]


def test_cancel_keeps_what_is_finished(raw, job):
    def cancel(plan, report):
        if plan.raw.name == "sub-02":
            raise Cancelled
        return quick_pair(plan)

    notes = []
    with pytest.raises(Cancelled):
        run(raw, job, make=cancel, note=notes.append)
    assert [record.name for record in list_pairs(job.output)] == ["sub-01"]
    assert notes[-1].stopped
    assert json.loads((job.output / "logs/pairs.json").read_text())["stopped"] is True
    assert run(raw, job).summary.known == ("sub-01",)


def test_progress_names_the_pair(raw, job):
    seen = []
    run(raw, job, report=seen.append)
    own = [now for now in seen if isinstance(now, PairProgress)]
    assert {now.pair for now in own} == {"sub-01", "sub-02", "sub-03", ""}
    assert any(now.message.startswith("pair 2 of 3 (sub-02): ") for now in own)


def test_swapped_people_are_both_named_and_left_out_of_a_training(raw, job):
    first, second = (raw / f"sub-0{n}/ses-3T/anat/sub-0{n}_ses-3T_T1w.nii.gz" for n in (1, 2))
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)
    made = run(raw, job)
    assert [record.name for record in made.flagged] == ["sub-01", "sub-02"]
    assert "sub-01 and sub-02 are probably swapped" in made.pairs[0].flags[0]
    with pytest.warns(Mri7tWarning, match="sub-01, sub-02: left out, as .bidsignore lists them"):
        assert [subject.name for subject in find_subjects(job.output)] == ["sub-03"]


@pytest.mark.parametrize("field", ["3T", "7T"])
def test_one_scan_under_two_names_is_flagged_in_both_pairs(raw, job, field):
    first, second = (
        raw / f"sub-0{n}/ses-{field}/anat/sub-0{n}_ses-{field}_T1w.nii.gz" for n in (1, 2)
    )
    image = nibabel.load(first)  # stored otherwise: neither bytes nor scale are those of the other
    nibabel.save(nibabel.Nifti1Image(3 * image.get_fdata(), image.affine), second)
    made = run(raw, job)
    assert [record.name for record in made.flagged] == ["sub-01", "sub-02"]
    assert f"the {field} seems to be that of sub-02, too" in made.pairs[0].flags[0]
    assert f"the {field} seems to be that of sub-01, too" in made.pairs[1].flags[0]
    with pytest.warns(Mri7tWarning, match="sub-01, sub-02: left out"):
        assert [subject.name for subject in find_subjects(job.output)] == ["sub-03"]


def test_flagged_pair_counts_once_it_is_accepted_and_the_verdict_is_kept(raw, job):
    run(raw, job, make=lambda plan, report: quick_pair(plan, problems=("It is mirrored.",)))
    assert [record.is_used for record in list_pairs(job.output)] == [False] * 3
    with pytest.raises(Mri7tError, match="lists all of its subjects"):
        find_subjects(job.output)
    assert judge_pair(job.output, "sub-01", "accept").is_used
    again = run(raw, job, make=None)
    assert [record.verdict for record in again.pairs] == ["accept", "", ""]
    with pytest.warns(Mri7tWarning):
        assert [subject.name for subject in find_subjects(job.output)] == ["sub-01"]


def test_verdict_goes_with_the_images_that_were_judged(raw, job):
    run(raw, job)
    judge_pair(job.output, "sub-01", "reject")
    other = replace(job, config=replace(CONFIG, grid="7t"), overwrite=True)
    assert [record.verdict for record in run(raw, other).pairs] == ["", "", ""]


def test_verdict_can_be_taken_back_and_must_be_one_of_a_pair(raw, job):
    run(raw, job)
    judge_pair(job.output, "sub-01", "look again")
    assert judge_pair(job.output, "sub-01", "").is_used
    with pytest.raises(ValueError, match="verdict must be accept, reject, look again"):
        judge_pair(job.output, "sub-01", "good")
    with pytest.raises(Mri7tError, match="has no pair of sub-09; it has sub-01, sub-02, sub-03"):
        judge_pair(job.output, "sub-09", "accept")


def test_figures_of_a_pair_are_those_of_its_sidecar_and_of_the_others(raw, job):
    run(raw, job)
    record = list_pairs(job.output)[0]
    assert record.figures["boundary_mm"] == 0.4
    assert record.figures["overlap"] == 0.95
    assert record.best_other in ("sub-02", "sub-03")
    assert 1 < record.figures["best_other_information"] < 2
    summary = json.loads((job.output / "logs/pairs.json").read_text())
    n = summary["people"].index("sub-01")
    own = record.figures["mutual_information"]
    assert own == summary["information"][n][n], "as with others, so that the two compare"
    assert own > record.figures["best_other_information"]


def test_changed_image_is_no_pair(raw, job):
    run(raw, job)
    path = PairPaths(job.output, "sub-01").source
    path.write_bytes(path.read_bytes() + b"x")
    assert [record.name for record in list_pairs(job.output)] == ["sub-02", "sub-03"]
    assert plan_pairs(find_pairs(raw), job)[0].state == CHANGED


def test_table_that_the_verdicts_would_replace_is_refused(raw, tmp_path):
    table = tmp_path / "study/participants.tsv"
    table.parent.mkdir()
    scans = sorted(raw.glob("sub-01/*/anat/*.nii.gz"))
    table.write_text(f"subject\t3T\t7T\n01\t{scans[0]}\t{scans[1]}\n")
    before = table.read_text()
    with pytest.raises(SubjectError, match="is the table of verdicts of the output"):
        pair_people(table, table.parent)
    assert table.read_text() == before


def test_output_in_the_dataset_itself_is_refused(raw, job):
    with pytest.raises(Mri7tError, match="is the input"):
        run(raw, replace(job, output=raw))


def table_of(raw):
    """A table in the dataset's own folder, whose scans have the names of pairs."""
    rows = ["subject\t3T\t7T"]
    for n in (1, 2, 3):
        names = [f"sub-0{n}/ses-{f}T/anat/sub-0{n}_ses-{f}T_T1w.nii.gz" for f in "37"]
        rows.append("\t".join([f"sub-0{n}", *names]))
    (raw / "pairs.tsv").write_text("\n".join(rows) + "\n")
    return raw / "pairs.tsv"


@pytest.mark.parametrize("overwrite", [False, True])
def test_scans_of_a_table_are_never_replaced_by_pairs(raw, job, overwrite):
    before, over = content_of(raw), replace(job, output=raw, overwrite=overwrite)
    found = find_pairs(table_of(raw))
    with pytest.raises(Mri7tError, match="is a file of the input: choose another fol") as caught:
        make_dataset(raw / "pairs.tsv", found, over)
    assert "overwrit" not in str(caught.value)
    assert {state.state for state in plan_pairs(found, over)} == {FAILED}
    assert "overwrit" not in plan_pairs(found, over)[0].text
    assert content_of(raw) == before
    assert not (raw / "dataset_description.json").exists()


def test_scan_of_another_person_is_not_replaced_either(raw, job):
    """Whose pairs are made together, and where no check went before."""
    before, found = content_of(raw), find_pairs(table_of(raw))
    first, second, _ = found.pairs
    exchanged = [replace(first, name="sub-02"), replace(second, name="sub-01")]
    summary = make_pairs(exchanged, replace(job, output=raw, overwrite=True), make=quick_pair)
    assert sorted(summary.failed) == ["sub-01", "sub-02"]
    assert content_of(raw) == before


def test_linked_scan_counts_as_the_scan_itself(raw, job, tmp_path):
    (tmp_path / "out").symlink_to(raw, target_is_directory=True)
    before = content_of(raw)
    with pytest.raises(Mri7tError, match="is a file of the input"):
        make_dataset(table_of(raw), find_pairs(table_of(raw)), replace(job, overwrite=True))
    assert content_of(raw) == before


def test_kept_files_do_not_go_among_the_scans(raw, job):
    with pytest.raises(Mri7tError, match="is the input: choose another folder"):
        run(raw, replace(job, keep=raw))


def test_table_of_people_that_cannot_be_read_stops_a_run_before_it_starts(raw, job):
    run(raw, job)
    path = job.output / "participants.tsv"
    path.write_text(path.read_text().replace("\t", ","))
    with pytest.raises(Mri7tError, match="no column participant_id between tabs"):
        run(raw, job, make=None)


def test_missing_scan_stops_only_the_plan_of_its_own_pair(raw, job):
    run(raw, job)
    found = find_pairs(raw)
    found.pairs[0].source.path.unlink()
    states = plan_pairs(found, job)
    assert [state.state for state in states] == [FAILED, DONE, DONE]
    assert "sub-01_ses-3T_T1w.nii.gz" in states[0].text


def test_stop_compares_nobody_and_keeps_what_is_known(raw, job, monkeypatch):
    first, second = (raw / f"sub-0{n}/ses-3T/anat/sub-0{n}_ses-3T_T1w.nii.gz" for n in (1, 2))
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)
    flags = {record.name: record.flags for record in run(raw, job).flagged}
    assert sorted(flags) == ["sub-01", "sub-02"]

    def cancel(plan, report):
        if plan.raw.name == "sub-02":
            raise Cancelled
        return quick_pair(plan)

    monkeypatch.setattr(pair_review, "compare_people", None)
    with pytest.raises(Cancelled):
        run(raw, replace(job, config=replace(CONFIG, grid="7t"), overwrite=True), make=cancel)
    records = list_pairs(job.output)
    assert [record.flags for record in records] == [(NOT_YET_COMPARED,), flags["sub-02"], ()]
    assert [subject.name for subject in find_subjects(job.output)] == ["sub-03"]
    assert [record.best_other for record in records] == ["", "sub-03", "sub-02"]
    assert json.loads((job.output / "logs/pairs.json").read_text())["stopped"] is True


@pytest.mark.parametrize("place", [None, "x", [[1, 0], [0, 1]], np.zeros((4, 4)).tolist()])
def test_pair_whose_sidecar_lacks_its_place_is_flagged_and_not_compared(raw, job, place):
    run(raw, job)
    path = PairPaths(job.output, "sub-01").source
    path = path.with_name(path.name.replace(".nii.gz", ".json"))
    facts = json.loads(path.read_text())
    del facts["Settings"]["source_grid_to_mni"]
    facts["Settings"] |= {} if place is None else {"source_grid_to_mni": place}
    path.write_text(json.dumps(facts))
    made = run(raw, job)
    assert [record.name for record in made.flagged] == ["sub-01"]
    assert "is not compared with the others" in made.pairs[0].flags[0]
    assert made.pairs[1].best_other == "sub-03"


def test_pairs_of_dicom_files_are_made_and_name_no_patient(
    dicom_series, tmp_path, job, private_words, phantom
):
    other = np.roll(phantom.array, 4, 2)
    people = ("01", "DOE^JANE", phantom.array), ("02", "DOE^JANE2", other)
    for label, patient, array in people:
        for field in ("3", "7"):
            study = f"1.2.{int(label)}.{field}"
            facts = {"MagneticFieldStrength": field, "StudyInstanceUID": study}
            folder = tmp_path / f"raw/sub-{label}/ses-{field}T"
            dicom_series(folder, array=array, PatientID=patient, **facts)
    made = run(tmp_path / "raw", job)
    assert made.summary.written == ("sub-01", "sub-02")
    assert run(tmp_path / "raw", job, make=None).summary.known == ("sub-01", "sub-02")
    assert [subject.name for subject in find_subjects(job.output)] == ["sub-01", "sub-02"]
    assert private_words(job.output) == set()


@pytest.fixture
def heads(tmp_path):
    """Two people with the template's brain, warped in two ways: 4 mm, the 3T shifted by 5 mm."""
    from scipy.ndimage import gaussian_filter

    template = load_template()
    affine = template.affine @ np.diag([4, 4, 4, 1])
    coarse = Volume(template.array[::4, ::4, ::4], affine)
    random = np.random.default_rng(0)
    for n in (1, 2):
        texture = gaussian_filter(random.normal(size=coarse.shape), 2)
        brain = np.where(coarse.array > 0, (coarse.array * (1 + 1.5 * texture)).clip(0.01), 0)
        for field, power in (("3", 0.8), ("7", 1.0)):
            motion = np.eye(4)
            motion[0, 3] = 5 if field == "3" else 0
            path = tmp_path / f"raw/sub-0{n}_{field}T.nii.gz"
            path.parent.mkdir(exist_ok=True)
            noise = random.normal(0, 0.03, coarse.shape)
            array = np.where(brain > 0, (brain**power + noise).clip(0.01), 0)
            save_volume(coarse.with_array(array).moved(motion), path)
    return tmp_path / "raw"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_pairs_of_the_whole_engine_are_registered_shown_and_repeated(heads, tmp_path):
    config = PairConfig("7t", prepare="none", allow_out_of_domain=True)
    made = pair_people(heads, tmp_path / "out", config)
    assert made.summary.written == ("sub-01", "sub-02")
    for record in made.pairs:
        assert record.figures["shift_mm"] == pytest.approx(5, abs=0.3)
        assert record.figures["rotation_degrees"] < 0.5
        assert record.figures["mutual_information"] > record.figures["best_other_information"]
        assert record.figure.read_bytes().startswith(b"\x89PNG")
        assert record.thumbnail.read_bytes().startswith(b"RIFF")
    for image in (made.pairs[0].source, made.pairs[1].mask):
        sidecar = image.with_name(image.name.replace(".nii.gz", ".json"))
        assert repeat(sidecar, sources=SourcePaths(folder=heads)).is_equal
        with pytest.raises(StateError, match="records no mask"):
            repeat(sidecar, sources=SourcePaths(folder=heads, mask="nonsense.nii"))
    assert len(find_subjects(tmp_path / "out")) == 2


def test_make_pairs_uses_the_engine_by_default():
    assert make_pairs.__defaults__[-1] is make_pair is pairs.make_pair


@pytest.mark.parametrize("n", range(3), ids=["source", "target", "mask"])
def test_pair_with_a_changed_image_is_not_made(raw, job, n):
    run(raw, job)
    path = PairPaths(job.output, "sub-01").images[n]
    path.write_bytes(path.read_bytes() + b"x")
    states = [state.state for state in plan_pairs(find_pairs(raw), job)]
    assert states == [CHANGED, DONE, DONE]


def test_pair_of_another_volume_of_a_series_is_not_taken_for_it(raw, job, phantom):
    path = raw / "sub-01/ses-3T/anat/sub-01_ses-3T_T1w.nii.gz"
    series = np.stack([phantom.array, phantom.array**0.8], axis=-1)
    nibabel.save(nibabel.Nifti1Image(series, phantom.affine), path)
    run(raw, replace(job, index=0))
    found = find_pairs(raw)
    for index, expected in ((0, DONE), (1, CHANGED)):
        states = [state.state for state in plan_pairs(found, replace(job, index=index))]
        assert states == [expected, DONE, DONE], index


def test_pair_of_a_pseudo_3t_says_that_its_3t_is_synthetic_and_warns(raw, job):
    target = load_volume(raw / "sub-01/ses-7T/anat/sub-01_ses-7T_T1w.nii.gz")
    place = raw / "sub-01/ses-3T/anat/sub-01_ses-3T_T1w.nii.gz"
    simulated = simulate_3t(target)
    save_volume(simulated.source, place, overwrite=True, sidecar=simulated.sidecar())
    made = run(raw, job)
    images = PairPaths(job.output, "sub-01").images
    assert [read_sidecar(image)["Synthetic"] for image in images] == [True, False, False]
    assert any("is a pseudo-3T" in text for text in made.summary.warnings["sub-01"])
    others = PairPaths(job.output, "sub-02").images
    assert not any(read_sidecar(image)["Synthetic"] for image in others)


def test_problems_of_a_pair_are_among_its_warnings(raw, job):
    def make(plan, report=None):
        return quick_pair(plan, problems=("The brains look odd.",))

    made = make_pairs(find_pairs(raw).pairs[:1], job, make=make)
    assert "The brains look odd." in made.warnings["sub-01"]


def test_pair_whose_page_cannot_be_drawn_is_made_and_says_so(raw, job, monkeypatch):
    def fail(*_):
        raise Mri7tError("no room for a picture")

    monkeypatch.setattr(pair_figures, "write_pair_figures", fail)
    made = make_pairs(find_pairs(raw).pairs[:1], job, make=quick_pair)
    assert made.written == ("sub-01",)
    assert "no quality page: no room for a picture" in made.warnings["sub-01"]


def test_json_of_another_program_is_not_replaced_by_a_pair(raw, job):
    (image, *_) = PairPaths(job.output, "sub-01").images
    sidecar = image.with_name(image.name.replace(".nii.gz", ".json"))
    sidecar.parent.mkdir(parents=True)
    sidecar.write_text('{"EchoTime": 0.003}')
    allowed, begun = replace(job, overwrite=True), []

    def make(plan, report=None):
        begun.append(plan)
        return quick_pair(plan)

    made = make_pairs(find_pairs(raw).pairs[:1], allowed, make=make)
    assert not begun, "it is refused before anything takes long"
    assert sidecar.name in made.failed["sub-01"]
    assert sidecar.read_text() == '{"EchoTime": 0.003}'


@pytest.mark.parametrize(
    "name", ["ses-7T/anat/sub-01_ses-7T_T1w.nii.gz", "ses-3T/anat/sub-01_ses-3T_T1w.json"]
)
def test_pair_is_not_written_through_a_link_of_git_annex(raw, job, name):
    pairs = find_pairs(raw).pairs[:1]
    make_pairs(pairs, job, make=quick_pair)
    path, key = job.output / "sub-01" / name, job.output / ".git/annex/objects/key"
    key.parent.mkdir(parents=True)
    content = path.read_bytes()
    path.replace(key)
    path.symlink_to(key)
    other = replace(job, config=replace(CONFIG, grid="7t"), overwrite=True)
    made = make_pairs(pairs, other, make=lambda *_, **__: pytest.fail("it is refused at once"))
    assert f"{path.name}: is locked by git-annex" in made.failed["sub-01"]
    assert key.read_bytes() == content
