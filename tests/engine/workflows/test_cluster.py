"""Places where work runs: what is refused, what is submitted; a real scheduler with two workers."""

from __future__ import annotations

import os
import stat
from dataclasses import replace

import pytest

from napari_mri7t.engine.errors import DeviceError, StateError
from napari_mri7t.engine.workflows import cluster
from napari_mri7t.engine.workflows.cluster import Place, open_client, slurm_script, slurm_settings

pytest.importorskip("distributed", reason="needs napari-mri7t[cluster]")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "either"),
        ({"scheduler": "tcp://127.0.0.1:1", "cluster": "local:2"}, "either"),
        ({"cluster": "local:0"}, "local:N"),
        ({"cluster": "local:many"}, "local:N"),
        ({"cluster": "pbs:x=1"}, "local:N or slurm"),
        ({"cluster": "slurm:colour=red"}, "jobs, cores, memory"),
        ({"cluster": "slurm:queue=gpu;rm -rf"}, "key=value"),
        ({"cluster": "slurm:jobs=some"}, "whole number"),
        ({"cluster": "slurm:jobs=0"}, "expected jobs=N, a whole number of at least 1, for example"),
        ({"cluster": "slurm:cores=0"}, "expected cores=N"),
        ({"cluster": "slurm:gpus=0"}, "to use no GPU, omit it and compute on the CPU"),
        ({"cluster": "slurm:memory=0GB"}, "expected more than none, for example memory=16GB"),
    ],
)
def test_unclear_place_is_refused(options, words):
    with pytest.raises(ValueError, match=words):
        Place(**options)


@pytest.mark.parametrize(
    "address",
    ["tcp://10.0.0.5:8786", "10.0.0.5:8786", "tcp://127.0.0.1:8786", "localhost:8786", "ucx://a:1"],
)
def test_scheduler_that_anyone_can_give_work_is_refused_on_this_machine_too(address):
    with pytest.raises(ValueError, match=r"run code as you.*: use a tls:// address"):
        Place(scheduler=address)


def test_scheduler_with_tls_is_accepted():
    assert Place(scheduler="tls://node1:8786").scheduler == "tls://node1:8786"


def test_a_task_takes_one_gpu_unless_the_cpu_is_asked_for():
    assert Place(cluster="local:2").resources == {"GPU": 1}
    assert Place(cluster="local:2", device="cpu").resources == {}


@pytest.mark.parametrize(
    ("chosen", "n_cards", "given"),
    [("", 2, ["0", "1", "0"]), ("4,5", 2, ["4", "5", "4"]), ("", 0, [None] * 3)],
)
def test_workers_share_the_gpus_that_are_there(monkeypatch, tmp_path, chosen, n_cards, given):
    import distributed
    import torch

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", chosen)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: n_cards)
    monkeypatch.setattr(distributed, "SpecCluster", lambda workers, **_: workers)
    workers = cluster._local_cluster(Place(cluster="local:3"), None, tmp_path)
    found = [workers[n]["options"]["env"].get("CUDA_VISIBLE_DEVICES") for n in range(3)]
    assert found == given


def test_workers_beyond_the_cores_have_a_thread_each(monkeypatch, tmp_path):
    import distributed

    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setattr(distributed, "SpecCluster", lambda workers, **_: workers)
    workers = cluster._local_cluster(Place(cluster="local:3", device="cpu"), None, tmp_path)
    assert {each["options"]["env"]["OMP_NUM_THREADS"] for each in workers.values()} == {"1"}


def test_task_that_no_worker_can_take_is_refused():
    """One such worker is enough, and workers may still come."""
    without, with_gpu = {"resources": {}}, {"resources": {"GPU": 1}}
    place = Place(scheduler="tls://node:8786")
    cluster._check_workers({"a": without, "b": with_gpu}, place)
    cluster._check_workers({}, place)
    cluster._check_workers({"a": without}, replace(place, device="cpu"))
    with pytest.raises(DeviceError, match="none of its 2 workers offers a GPU"):
        cluster._check_workers({"a": without, "b": without}, place)


def test_slurm_script_asks_for_what_was_given():
    pytest.importorskip("dask_jobqueue")
    text = slurm_script(
        Place(cluster="slurm:jobs=8,queue=gpu,account=brain,memory=32GB,walltime=08:00:00")
    )
    for line in (
        "#SBATCH -J mri7t", "#SBATCH -p gpu", "#SBATCH -A brain", "#SBATCH --mem=30G",
        "#SBATCH -t 08:00:00", "#SBATCH --cpus-per-task=4", "#SBATCH --gres=gpu:1",
        "--resources GPU=1", "--no-dashboard", "tls://SCHEDULER:PORT", "--nthreads 1",
    ):  # fmt: skip
        assert line in text, text
    on_cpu = slurm_script(Place(cluster="slurm:cores=8", device="cpu"))
    assert "gres" not in on_cpu
    assert "--resources" not in on_cpu


def test_slurm_settings_stand_over_defaults():
    found = slurm_settings("jobs=3,interface=ib0")
    assert (found["jobs"], found["cores"], found["interface"]) == ("3", "4", "ib0")


def test_slurm_without_an_interface_would_listen_everywhere_and_is_refused():
    pytest.importorskip("dask_jobqueue")
    with pytest.raises(StateError, match="interface=ib0"), open_client(Place(cluster="slurm:")):
        pass


def test_slurm_gets_keys_of_its_own_that_only_the_user_can_read(tmp_path, monkeypatch):
    """The scheduler of a SLURM cluster without jobs: where it listens, and what a job is told."""
    pytest.importorskip("dask_jobqueue")
    import dask.config

    settings = {"jobqueue.slurm.shared-temp-directory": str(tmp_path)}
    place = Place(cluster="slurm:interface=lo", device="cpu")
    no_jobs = slurm_settings("interface=lo") | {"jobs": "0"}
    monkeypatch.setattr(cluster, "slurm_settings", lambda _: no_jobs)
    with dask.config.set(settings), open_client(place) as client:
        assert client.scheduler.address.startswith("tls://127.0.0.1:")
        assert unprotected(os.getpid()) == []
        (folder,) = tmp_path.iterdir()
        keys = list(folder.glob("*key*"))
        assert keys
        assert str(keys[0]) in client.cluster.job_script()
        modes = {stat.S_IMODE(path.stat().st_mode) for path in folder.glob("*.pem")}
        assert (modes, stat.S_IMODE(folder.stat().st_mode)) == ({0o600}, 0o700)
    assert list(tmp_path.iterdir()) == []


def unprotected(pid):
    """Return the addresses beyond the loopback on which a process listens."""
    psutil = pytest.importorskip("psutil")
    found = psutil.Process(pid).net_connections("inet")
    listening = [entry.laddr.ip for entry in found if entry.status == psutil.CONN_LISTEN]
    assert listening
    return [address for address in listening if not address.startswith(("127.", "::1"))]


def test_tls_scheduler_without_a_certificate_is_refused():
    place = Place(scheduler="tls://127.0.0.1:1")
    with pytest.raises(StateError, match="no certificate"), open_client(place):
        pass


def test_scheduler_that_does_not_answer_is_named(monkeypatch):
    import distributed

    def refuse(*_, **__):
        raise OSError("Timed out trying to connect")

    monkeypatch.setattr(distributed, "Client", refuse)
    monkeypatch.setattr(cluster, "_tls", lambda *_: distributed.Security())
    with (
        pytest.raises(StateError, match=r"tls://127\.0\.0\.1:1: no scheduler answers"),
        open_client(Place(scheduler="tls://127.0.0.1:1")),
    ):
        pass


def test_tls_of_the_user_s_own_is_required(tmp_path):
    import dask.config

    files = {f"distributed.comm.tls.{key}": str(tmp_path / key) for key in cluster.TLS_FILES}
    with dask.config.set(files):
        assert cluster._tls().require_encryption
    assert cluster._tls() is None
