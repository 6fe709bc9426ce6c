"""Places where work runs: what is refused, what is submitted; a real scheduler with two workers."""

from __future__ import annotations

import pytest

from napari_mri7t.engine.errors import StateError
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
    ],
)
def test_unclear_place_is_refused(options, words):
    with pytest.raises(ValueError, match=words):
        Place(**options)


@pytest.mark.parametrize(
    "address", ["tcp://10.0.0.5:8786", "10.0.0.5:8786", "tcp://node1:8786", "ucx://127.0.0.1:1"]
)
def test_scheduler_beyond_this_machine_needs_tls(address):
    with pytest.raises(ValueError, match="unprotected: use a tls://"):
        Place(scheduler=address)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:8786", "localhost:8786", "tls://node1:8786"])
def test_loopback_and_tls_are_accepted(address):
    assert Place(scheduler=address).scheduler == address


def test_a_task_takes_one_gpu_unless_the_cpu_is_asked_for():
    assert Place(cluster="local:2").resources == {"GPU": 1}
    assert Place(cluster="local:2", device="cpu").resources == {}


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


def test_slurm_without_tls_is_refused():
    with pytest.raises(StateError, match="configure TLS"), open_client(Place(cluster="slurm:")):
        pass


def test_tls_scheduler_without_a_certificate_is_refused():
    place = Place(scheduler="tls://127.0.0.1:1")
    with pytest.raises(StateError, match="no certificate"), open_client(place):
        pass


def test_scheduler_that_does_not_answer_is_named(monkeypatch):
    import distributed

    def refuse(*_, **__):
        raise OSError("Timed out trying to connect")

    monkeypatch.setattr(distributed, "Client", refuse)
    with (
        pytest.raises(StateError, match=r"tcp://127\.0\.0\.1:1: no scheduler answers"),
        open_client(Place(scheduler="tcp://127.0.0.1:1")),
    ):
        pass
