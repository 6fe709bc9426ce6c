"""`mri7t bids-app`: the command line, outputs and exit codes that BIDS Apps share."""

from __future__ import annotations

import json
import shutil
from functools import partial

import pytest

from napari_mri7t.cli import bids_app
from napari_mri7t.cli.bids_app import spread
from napari_mri7t.engine.volumes.volume import save_volume
from napari_mri7t.engine.workflows import folder
from napari_mri7t.engine.workflows.summary import BatchSummary

SKIP = "--skip-bids-validation"


@pytest.fixture
def run(run_cli):
    """Run `mri7t bids-app` with arguments; gives (exit code, stdout, stderr)."""
    return partial(run_cli, "bids-app")


@pytest.fixture
def raw(phantom, tmp_path):
    """Three participants in BIDS, the second one with a broken scan."""
    small = type(phantom)(phantom.array[8:32, 8:40, 12:20], phantom.affine)
    for label in ("01", "02", "03"):
        path = tmp_path / f"raw/sub-{label}/anat/sub-{label}_T1w.nii.gz"
        path.parent.mkdir(parents=True)
        save_volume(small, path)
    description = {"Name": "raw", "BIDSVersion": "1.10.0", "DatasetType": "raw"}
    (tmp_path / "raw/dataset_description.json").write_text(json.dumps(description))
    (tmp_path / "raw/README").write_text("Phantoms")
    return tmp_path / "raw"


def spoil(raw, label):
    (raw / f"sub-{label}/anat/sub-{label}_T1w.nii.gz").write_bytes(b"<html>")


def estimates(folder):
    return sorted(path.name[:6] for path in folder.glob("sub-*/anat/*synth7T*.nii.gz"))


def test_labels_may_follow_one_flag_in_either_spelling():
    words = ["in", "out", "participant"]
    typed = spread([*words, "--participant_label", "01", "02", "--session-label", "a", "-w", "x_y"])
    assert typed[:3] == words
    assert typed[3:7] == ["--participant-label", "01", "--participant-label", "02"]
    assert typed[7:] == ["--session-label", "a", "-w", "x_y"]
    found = spread(["a_b", "--participant_label=0_1", "02"])
    assert found == ["a_b", *("--participant-label", "0_1", "--participant-label", "02")]


def test_participants_then_group(run, raw, model_folder, tmp_path, bids_errors):
    out, work = tmp_path / "out", tmp_path / "work"
    options = ("--model", model_folder, "--device", "cpu", SKIP, "-w", work)
    code, printed, _ = run(raw, out, "participant", "--participant_label", "01", "sub-03", *options)
    assert code == 0
    assert "2 written" in printed
    assert estimates(out) == ["sub-01", "sub-03"]
    code, printed, _ = run(raw, out, "participant", *options)
    assert (code, "1 written" in printed, "2 already done" in printed) == (0, True, True)
    code, printed, error = run(raw, out, "group", "--participant-label", "01")
    assert code == 0
    assert "always covers all participants" in error
    assert [str(out / "quality.html"), str(out / "group_quality.tsv")] == printed.split()
    lines = (out / "group_quality.tsv").read_text().splitlines()
    assert [line.split("\t")[0] for line in lines] == ["participant_id", *estimates(out)]
    assert bids_errors(out) == []


def test_a_scan_that_fails_makes_the_exit_code_1(run, raw, model_folder, tmp_path):
    spoil(raw, "02")
    options = ("--model", model_folder, "--device", "cpu", SKIP, "--participant-label", "01", "02")
    code, _, error = run(raw, tmp_path / "out", "participant", *options)
    assert code == 1
    assert "failed: sub-02" in error
    assert estimates(tmp_path / "out") == ["sub-01"]
    code, _, _ = run(raw, tmp_path / "out", "group")
    assert code == 0
    assert "failed" in (tmp_path / "out/group_quality.tsv").read_text()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("in", "out"), 2),
        (("in", "out", "session"), 2),
        (("in", "out", "participant", "--speed", "3"), 2),
        (("in", "out", "participant", "--participant-label"), 2),
        (("in", "out", "participant", "--participant-label", "-w", "work"), 2),
        (("none", "out", "participant"), 1),
        (("in", "out", "participant"), 1),  # no description
        (("in", "out", "group"), 1),  # no description
        (("none", "out", "group"), 1),
        (("--version",), 0),
        (("--help",), 0),
    ],
)
def test_exit_codes(run, tmp_path, monkeypatch, arguments, expected):
    (tmp_path / "in").mkdir()
    monkeypatch.chdir(tmp_path)
    code, _, error = run(*arguments)
    assert code == expected
    assert bool(error) == bool(expected)
    assert not (tmp_path / "out").exists()


def test_a_group_without_participants_is_refused(run, raw, tmp_path):
    code, _, error = run(raw, tmp_path / "out", "group")
    assert code == 1
    assert "holds no results of participants" in error


def test_participant_that_does_not_exist_is_refused(run, raw, tmp_path):
    code, _, error = run(raw, tmp_path / "out", "participant", SKIP, "--participant-label", "09")
    assert code == 1
    assert "has no participant 09" in error


def fake_validator(tmp_path, monkeypatch, text):
    program = tmp_path / "bin/validator"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{text}\nEND\nexit 16\n")
    program.chmod(0o755)
    monkeypatch.setattr(bids_app, "VALIDATOR", str(program))


def test_dataset_that_is_not_valid_is_refused_unless_asked_for(
    run, raw, model_folder, tmp_path, monkeypatch
):
    issues = [
        {"severity": "warning", "code": "README_FILE_SMALL", "location": "/README"},
        {"severity": "error", "code": "EMPTY_FILE", "location": "/sub-01/anat/sub-01_T1w.nii.gz"},
    ]
    fake_validator(tmp_path, monkeypatch, json.dumps({"issues": {"issues": issues}}))
    code, _, error = run(raw, tmp_path / "out", "participant", "--participant-label", "01")
    assert code == 1
    assert "EMPTY_FILE /sub-01/anat/sub-01_T1w.nii.gz" in error
    assert "README" not in error
    assert "--skip-bids-validation" in error
    assert not (tmp_path / "out").exists()
    found = run(raw, tmp_path / "out", "participant", "--participant-label", "09")
    assert "has no participant 09" in found[2], "another one's folder stops nobody"


@pytest.mark.parametrize("has_validator", [True, False])
def test_validator_that_gives_no_result_or_is_missing_stops_nobody(
    run, raw, tmp_path, monkeypatch, has_validator
):
    if has_validator:
        fake_validator(tmp_path, monkeypatch, "Segmentation fault")
    else:
        monkeypatch.setattr(bids_app, "VALIDATOR", "no-such-validator")
    code, _, error = run(raw, tmp_path / "out", "participant", "--participant-label", "09")
    assert "is not validated" in error
    assert (code, "has no participant 09" in error) == (1, True)


def test_the_real_validator_runs_where_it_is_installed(
    run, raw, tmp_path, monkeypatch, bids_errors
):
    monkeypatch.setenv("DENO_DIR", str(tmp_path / "deno"))
    shutil.rmtree(raw / "sub-01/anat")
    (raw / "sub-01/misplaced.txt").write_text("x")
    code, _, error = run(raw, tmp_path / "out", "participant")
    assert code == 1
    assert "NOT_INCLUDED /sub-01/misplaced.txt" in error


@pytest.mark.parametrize("name", ["", "fmriprep="])
def test_derivatives_may_have_a_name(run, raw, tmp_path, monkeypatch, name):
    seen = []
    monkeypatch.setattr(
        folder, "synthesize_folder", lambda _, job, *__: seen.append(job) or BatchSummary()
    )
    (tmp_path / "a=b").mkdir()
    run(raw, tmp_path / "out", "participant", SKIP, "-d", f"{name}{tmp_path / 'a=b'}")
    assert [job.derivatives for job in seen] == [(tmp_path / "a=b",)]


def test_derivative_that_does_not_exist_is_refused(run, raw, tmp_path):
    for typo in ("none", "fmriprep=none"):
        code, _, error = run(raw, tmp_path / "out", "participant", SKIP, "-d", typo)
        assert (code, "none: no such folder: choose a BIDS derivative" in error) == (1, True)


def test_every_option_reaches_the_batch(run, raw, tmp_path, monkeypatch):
    seen = {}
    monkeypatch.setattr(bids_app, "batch", lambda *_, **options: seen.update(options))
    labels = ("--participant-label", "01", "--session-label", "a", "b")
    others = ("-w", tmp_path, "-d", raw, "--model", "m", "--device", "cpu", "--prepare", "none")
    flags = (SKIP, "--allow-out-of-domain", "--overwrite")
    assert run(raw, tmp_path / "out", "participant", *labels, *others, *flags)[0] == 0
    assert seen == {
        "participant": ["01"], "session": ["a", "b"], "keep": tmp_path, "derivatives": [raw],
        "model": "m", "device": "cpu", "prepare": "none", "allow_out_of_domain": True,
        "overwrite": True,
    }  # fmt: skip
