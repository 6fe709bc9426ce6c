"""Folds and scans as tasks of a real scheduler with two worker processes, one of them killed."""

from __future__ import annotations

import os
import signal
import subprocess
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
import torch
from filelock import FileLock
from safetensors.torch import load_file

from napari_mri7t.engine.datasets.bids import start_derivative
from napari_mri7t.engine.datasets.scans import find_scans
from napari_mri7t.engine.errors import StateError
from napari_mri7t.engine.progress import Cancelled
from napari_mri7t.engine.synthesis.config import SynthesisConfig
from napari_mri7t.engine.training.checkpoint import CURRENT
from napari_mri7t.engine.training.config import FINAL, TrainConfig
from napari_mri7t.engine.training.run import run_fold
from napari_mri7t.engine.training.start import start_training
from napari_mri7t.engine.training.study import LOCK_FILE, StudySettings
from napari_mri7t.engine.workflows import tasks as tasks_module
from napari_mri7t.engine.workflows.cluster import Place, open_client
from napari_mri7t.engine.workflows.job import BatchJob
from napari_mri7t.engine.workflows.pair_tasks import run_pairs
from napari_mri7t.engine.workflows.pairs import PairJob, find_pairs
from napari_mri7t.engine.workflows.summary import BatchSummary
from napari_mri7t.engine.workflows.tasks import run_batch, run_folds

pytest.importorskip("distributed", reason="needs napari-mri7t[cluster]")
dask = pytest.importorskip("dask")

PLACE = Place(cluster="local:2", device="cpu")
N_THREADS = max(1, (os.cpu_count() or 1) // 2)  # of each of its workers
CONFIG = TrainConfig(
    n_steps=200,
    batch_size=2,
    patch_size=24,
    checkpoint_steps=5,
    warmup_steps=2,
    precision="float32",
)
SETTINGS = StudySettings(
    "slice_unet", "best", CONFIG, {"widths": (8, 16), "n_blocks": 1, "n_slices": 3}
)


@pytest.fixture(scope="module")
def client():
    """Two worker processes of one thread each, on the loopback."""
    with open_client(PLACE) as connected:
        connected.wait_for_workers(2, timeout=120)
        for package in ("torch", "napari_mri7t.engine.training.run"):  # both start level
            connected.run(import_module, package)
        yield connected


def pids(client):
    return set(client.run(os.getpid).values())


def has_own_slurm():
    """Tell the SLURM of `make slurm` from one where others' jobs run."""
    settings = Path("/etc/slurm/slurm.conf")
    return settings.exists() and "tools/slurm.sh" in settings.read_text()


def call(*words):
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def queued():
    running = "--states=running"
    return sorted(call("squeue", "--me", "--noheader", "--format=%i", running).split())


def kill_in_mid_fold(client, dataset, tmp_path, kill):
    """Train two folds, kill one of two workers, compare the weights with those of one process."""
    study = start_training(dataset, tmp_path / "run", SETTINGS, [])[0]
    killed, last = False, 0

    def report(now):
        nonlocal killed, last
        assert now.total == 2 * CONFIG.n_steps
        assert now.done >= last, "no step that a checkpoint holds is lost"
        last = now.done
        started = [(study.fold_folder(k) / CURRENT).exists() for k in (0, 1)]
        if not killed and all(started) and not study.is_done(0):
            kill()
            killed = True

    cards = run_folds(study, [0, 1], client, PLACE, report)
    assert killed, "the folds were too short to be disturbed"
    assert sorted(cards) == [0, 1]
    assert cards[1].training["held_out"] == "sub-B"
    alone = start_training(dataset, tmp_path / "alone", SETTINGS, [])[0]
    threads = torch.get_num_threads()
    torch.set_num_threads(N_THREADS)
    try:
        for k in (0, 1):
            run_fold(alone, k, "cpu")
            one, other = (
                load_file(s.fold_folder(k) / "weights.safetensors") for s in (study, alone)
            )
            assert [key for key in one if not torch.equal(one[key], other[key])] == []
    finally:
        torch.set_num_threads(threads)


def certificates(folder):
    """Make an authority and a certificate for every role, as a user would with openssl."""
    openssl = partial(subprocess.run, cwd=folder, check=True, capture_output=True)
    new = "openssl req -newkey rsa:2048 -nodes -keyout {0}.key -subj /CN={0} "
    openssl((new + "-x509 -days 1 -out ca.pem").format("ca").split())
    for role in ("scheduler", "worker", "client"):
        openssl((new + "-out {0}.csr").format(role).split())
        sign = "openssl x509 -req -days 1 -in {0}.csr -CA ca.pem -CAkey ca.key -CAcreateserial"
        openssl((sign + " -out {0}.pem").format(role).split())
    tls = "distributed.comm.tls"
    files = {"cert": "pem", "key": "key"}
    return {f"{tls}.ca-file": f"{folder}/ca.pem"} | {
        f"{tls}.{role}.{kind}": f"{folder}/{role}.{suffix}"
        for role in ("scheduler", "worker", "client")
        for kind, suffix in files.items()
    }


def test_cluster_listens_on_the_loopback_only_and_serves_no_dashboard(client):
    """The sockets themselves: of scheduler and nannies, which are in this process, and workers."""
    psutil = pytest.importorskip("psutil")
    facts = client.scheduler_info(-1)
    assert all(url.startswith("tls://") for url in [facts["address"], *facts["workers"]])
    for pid in {os.getpid(), *pids(client)}:
        sockets = psutil.Process(pid).net_connections("inet")
        listening = {entry.laddr.ip for entry in sockets if entry.status == psutil.CONN_LISTEN}
        assert listening == {"127.0.0.1"}
    for page in ("status", "info/main/workers.html", "json/identity.json"):
        with pytest.raises(HTTPError, match="404"):
            urlopen(f"http://127.0.0.1:{facts['services']['dashboard']}/{page}")


def test_nobody_without_the_keys_of_the_run_gives_it_work(client):
    """Neither plainly nor with keys of another run; to the scheduler, a nanny or a worker."""
    from distributed import Security
    from distributed.comm import connect

    facts = client.scheduler_info(-1)
    workers = facts["workers"]
    nannies = [worker["nanny"] for worker in workers.values()]

    async def call(address, protocol, security):
        arguments = security.get_connection_args("client")
        comm = await connect(f"{protocol}://{address}", timeout=2, **arguments)
        await comm.write({"op": "identity", "reply": True})
        return await comm.read()

    own = client.sync(call, facts["address"].partition("://")[2], "tls", client.security)
    assert own["type"] == "Scheduler"
    for address in (facts["address"], min(workers), nannies[0]):
        place = address.partition("://")[2]
        for protocol, security in (("tcp", Security()), ("tls", Security.temporary())):
            with pytest.raises((OSError, RuntimeError)):
                client.sync(call, place, protocol, security)


def test_fault_40_killed_worker_costs_only_what_follows_the_last_checkpoint(
    client, dataset, tmp_path
):
    killed = min(pids(client))
    kill_in_mid_fold(client, dataset, tmp_path, partial(os.kill, killed, signal.SIGKILL))
    assert killed not in pids(client)


@pytest.mark.slow
@pytest.mark.skipif(not has_own_slurm(), reason="needs a SLURM of our own: make slurm")
def test_cancelled_job_of_slurm_costs_only_what_follows_the_last_checkpoint(dataset, tmp_path):
    jobs = f"slurm:jobs=2,cores={N_THREADS},memory=3GB,interface=lo,log={tmp_path}"
    with (
        dask.config.set(certificates(tmp_path)),
        open_client(Place(cluster=jobs, device="cpu")) as client,
    ):
        client.wait_for_workers(2, timeout=120)
        assert client.scheduler.address.startswith("tls://")
        cancelled, left = queued()
        kill_in_mid_fold(client, dataset, tmp_path, lambda: call("scancel", cancelled))
        assert queued() == [left]


def test_fault_36_failed_fold_is_named_and_the_others_end(client, dataset, tmp_path):
    config = TrainConfig(n_steps=2, batch_size=1, patch_size=24, checkpoint_steps=4, warmup_steps=1)
    study = start_training(
        dataset, tmp_path / "run", StudySettings("slice_unet", "best", config, {"n_slices": 3}), []
    )[0]
    study.fold_folder(1).mkdir()
    (study.fold_folder(1) / CURRENT).write_bytes(b"no checkpoint")
    with pytest.raises(StateError, match=r"1 of 2 folds failed: fold 1 \(sub-B held out\)"):
        run_folds(study, [0, 1, FINAL], client, PLACE)
    assert study.is_done(0)
    assert not study.is_done(FINAL)


def test_stopped_study_stops_its_workers_at_their_next_step(client, dataset, tmp_path):
    long = replace(SETTINGS, config=replace(CONFIG, n_steps=2000))
    study = start_training(dataset, tmp_path / "run", long, [])[0]

    def report(_):
        if (study.fold_folder(0) / CURRENT).exists():
            raise Cancelled

    with pytest.raises(Cancelled):
        run_folds(study, [0], client, PLACE, report)
    with FileLock(study.fold_folder(0) / LOCK_FILE, timeout=240):  # the worker has let go of it
        assert not study.is_done(0)


def test_batch_on_a_cluster_is_that_of_one_process(client, dataset, model_folder, tmp_path):
    scans = find_scans(dataset).scans
    (dataset / "sub-B.nii.gz").write_bytes(b"<html>")
    job = BatchJob(tmp_path / "out", str(model_folder), SynthesisConfig(device="cpu", step=3))
    summary = run_batch(scans, job, client, PLACE)
    assert summary.written == ("sub-A.nii.gz", "sub-C.nii.gz")
    assert "not" in summary.failed["sub-B.nii.gz"]
    again = run_batch(scans, job, client, PLACE)
    assert again.known == summary.written
    assert len(list(job.output.rglob("*.nii.gz"))) == 2


def test_stopped_batch_on_a_cluster_tells_of_every_scan_that_has_ended(
    dataset, model_folder, tmp_path, monkeypatch
):
    """Two scans end between the last look and the cancel."""
    scans, noted = find_scans(dataset).scans, []
    made = {scan.output: BatchSummary((scan.name,)) for scan in scans}

    def run(tasks, client, resources, on_ended, on_stopped):
        assert [task.label for task in tasks] == list(made), "one scan is one task"
        try:
            on_ended({scans[0].output: made[scans[0].output]})
        except Cancelled:
            on_stopped(made)
            raise

    def report(_):
        raise Cancelled

    monkeypatch.setattr(tasks_module, "run_tasks", run)
    job = BatchJob(tmp_path / "out", str(model_folder), SynthesisConfig(device="cpu", step=3))
    with pytest.raises(Cancelled):
        run_batch(scans, job, None, PLACE, report, noted.append)
    assert noted == list(made.values())


def test_pairs_on_a_cluster_fail_one_by_one_by_name(client, tmp_path, monkeypatch):
    """Relative paths reach the workers, which run in other folders."""
    monkeypatch.chdir(tmp_path)
    Path("raw").mkdir()
    for name in ("A_3T", "A_7T", "B_3T", "B_7T"):
        Path(f"raw/{name}.nii.gz").write_bytes(b"no image")
    start_derivative(Path("out"))
    seen, noted = [], []
    found = find_pairs("raw").pairs
    summary = run_pairs(found, PairJob(Path("out")), client, PLACE, seen.append, noted.append)
    assert list(summary.failed) == ["sub-A", "sub-B"]
    assert all("_3T.nii.gz" in why for why in summary.failed.values())
    assert sorted(name for each in noted for name in each.failed) == ["sub-A", "sub-B"]
    assert seen[-1].done == seen[-1].total == 2
