"""Where work of more than one process runs: a Dask scheduler, local workers, SLURM jobs.

Whoever reaches a Dask scheduler can run any code as its user, on the loopback too: all speak TLS,
with keys made for the run unless Dask's own are configured. No page is served.
https://distributed.dask.org/en/stable/tls.html, https://jobqueue.dask.org
"""

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_mri7t.engine.errors import DeviceError, StateError

if TYPE_CHECKING:
    from distributed import Client, Security

LOOPBACK = "127.0.0.1"
NO_DASHBOARD = {"dashboard": False, "dashboard_address": f"{LOOPBACK}:0"}
NO_PAGES: dict[str, list[str]] = {
    f"distributed.{role}.http.routes": [] for role in ("scheduler", "worker", "nanny")
}
GPU = "GPU"  # Dask's name for one card: workers offer one, a task takes one
CLIENT_FILES = ("ca-file", "client.cert")
TLS_FILES = (*CLIENT_FILES, "scheduler.cert", "scheduler.key", "worker.cert", "worker.key")
TLS_HELP = (
    "configure TLS for Dask (distributed.comm.tls in ~/.config/dask; docs/cluster.md shows how), "
    "or use the cluster local:N, which makes keys of its own"
)
SLURM_DEFAULTS = {"jobs": "1", "cores": "4", "memory": "16GB", "walltime": "04:00:00", "gpus": "1"}
COUNTS = ("jobs", "cores", "gpus")
SLURM_OPTIONAL = ("queue", "account", "interface", "log")
INSTALL = "install napari-mri7t[cluster]"


@dataclass(frozen=True)
class Place:
    """Where tasks run; exactly one of the two.

    Parameters
    ----------
    scheduler : str
        Address of a running scheduler: "tls://node:8786".
    cluster : str
        "local:N" for N processes here, or "slurm:jobs=8,queue=gpu,memory=32GB,walltime=08:00:00".
    device : str
        As `SynthesisConfig.device`; anything but "cpu" takes one GPU per task.
    """

    scheduler: str = ""
    cluster: str = ""
    device: str = "auto"

    def __post_init__(self) -> None:
        if bool(self.scheduler) == bool(self.cluster):
            raise ValueError("specify either the address of a scheduler or a cluster, not both")
        kind, _, rest = self.cluster.partition(":")
        if kind == "local" and not (rest.isdecimal() and int(rest) > 0):
            raise ValueError(f"cluster {self.cluster!r}: expected local:N, for example local:2")
        if self.cluster and kind not in ("local", "slurm"):
            raise ValueError(f"cluster {self.cluster!r}: expected local:N or slurm:key=value,...")
        if kind == "slurm":
            slurm_settings(rest)
        if self.scheduler:
            _check_address(self.scheduler)

    @property
    def resources(self) -> dict[str, float]:
        """The resources that a task takes of a worker."""
        return {} if self.device == "cpu" else {GPU: 1}


@contextlib.contextmanager
def open_client(place: Place) -> "Iterator[Client]":
    """Connect to a scheduler, or start one for the duration of the context.

    Yields
    ------
    distributed.Client

    Raises
    ------
    StateError
        If Dask is missing, or the scheduler does not answer.
    DeviceError
        If no worker of a running scheduler offers a GPU, and one is asked for.
    """
    try:
        import distributed
    except ImportError as error:
        raise StateError(f"more than one process needs Dask ({error}): {INSTALL}") from error
    import dask.config

    with contextlib.ExitStack() as stack:
        stack.enter_context(dask.config.set(NO_PAGES))
        security = _tls(CLIENT_FILES)
        if place.scheduler:
            if security is None:
                raise StateError(f"{place.scheduler}: no certificate to present: {TLS_HELP}")
            target: Any = place.scheduler
        else:
            start = _local_cluster if place.cluster.startswith("local:") else _slurm_cluster
            scratch = stack.enter_context(_scratch(place))
            security = _tls() or _own_keys()
            target = stack.enter_context(start(place, security, scratch))
        try:
            client = distributed.Client(target, timeout="20s", security=security)
        except (OSError, TimeoutError) as error:
            raise StateError(f"{place.scheduler}: no scheduler answers: {error}") from error
        stack.enter_context(client)
        if place.scheduler:
            _check_workers(client.scheduler_info(-1)["workers"], place)
        yield client


def _check_address(address: str) -> None:
    if not address.startswith("tls://"):
        raise ValueError(
            f"scheduler {address}: anyone who reaches it can run code as you, on this machine too: "
            f"use a tls:// address and {TLS_HELP}"
        )


def _check_workers(workers: Mapping[str, Any], place: Place) -> None:
    """Refuse a task that no worker can take: it would wait forever."""
    offers = [worker.get("resources", {}).get(GPU, 0) for worker in workers.values()]
    if place.resources and offers and not any(offers):
        raise DeviceError(
            f"{place.scheduler}: none of its {len(offers)} workers offers a GPU: start them with "
            "'dask worker --nthreads 1 --resources GPU=1', or compute on the CPU",
            argument="device",
        )


def _own_keys() -> "Security":
    """Return keys made for this run, which are on no disk."""
    from distributed import Security

    try:
        keys: Security = Security.temporary()
        return keys
    except ImportError as error:
        raise StateError(f"keys for TLS need cryptography ({error}): {INSTALL}") from error


def _on_disk(keys: "Security", folder: Path) -> "Security":
    """Write the keys made for a run where SLURM's jobs read them, and this user alone."""
    from distributed import Security

    made = keys.get_tls_config_for_role("worker")  # the same for every role
    files = {name: folder / f"{name}.pem" for name in ("ca_file", "cert", "key")}
    for name, path in files.items():
        path.touch(mode=0o600)
        path.write_text(made[name])
    parts = {
        f"tls_{role}_{name}": str(files[name])
        for role in ("scheduler", "worker", "client")
        for name in ("cert", "key")
    }
    return Security(require_encryption=True, tls_ca_file=str(files["ca_file"]), **parts)


@contextlib.contextmanager
def _scratch(place: Place) -> Iterator[Path]:
    """Make a folder for this user alone: for Dask's files here, or for the keys of SLURM's jobs."""
    import dask.config

    where = dask.config.get("temporary-directory", None)
    if place.cluster.startswith("slurm"):  # where every node sees it
        where = dask.config.get("jobqueue.slurm.shared-temp-directory", None) or Path.home()
    with tempfile.TemporaryDirectory(
        prefix="mri7t-dask-", dir=where, ignore_cleanup_errors=True
    ) as folder:
        yield Path(folder)


def _local_cluster(place: Place, security: "Security", scratch: Path) -> Any:
    """Return N processes of one thread, with their shares of the cores and of the GPUs."""
    from distributed import Nanny, Scheduler, SpecCluster

    from napari_mri7t.engine.devices import visible_cards  # with torch, which takes seconds

    n_workers = int(place.cluster.partition(":")[2])
    threads = max(1, (os.cpu_count() or 1) // n_workers)
    cards = visible_cards() if place.resources and n_workers > 1 else []
    common = NO_DASHBOARD | {
        "host": LOOPBACK, "protocol": "tls://", "security": security,
        "local_directory": str(scratch),
    }  # fmt: skip
    workers = {}
    for n in range(n_workers):
        env = {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
        if cards:
            env["CUDA_VISIBLE_DEVICES"] = cards[n % len(cards)]
        options = {"nthreads": 1, "resources": place.resources, "env": env}
        workers[n] = {"cls": Nanny, "options": options | common}
    scheduler = {"cls": Scheduler, "options": {"port": 0} | common}
    return SpecCluster(workers=workers, scheduler=scheduler, security=security, silence_logs=40)


def slurm_settings(text: str) -> dict[str, str]:
    """Read "key=value,key=value", over the defaults.

    Parameters
    ----------
    text : str
        What follows "slurm:".

    Raises
    ------
    ValueError
        If a key is unknown, or a count or the memory is 0.
    """
    settings = dict(SLURM_DEFAULTS)
    for part in filter(None, text.split(",")):
        key, equals, value = part.partition("=")
        known = [*SLURM_DEFAULTS, *SLURM_OPTIONAL]
        if not equals or key not in known or not re.fullmatch(r"[\w.:/+-]+", value):
            raise ValueError(f"slurm: {part!r}: expected key=value with {', '.join(known)}")
        settings[key] = value
    for key in COUNTS:
        _check_count(key, settings[key])
    if not re.match(r"[\d.]*[1-9]", settings["memory"]):
        raise ValueError(
            f"slurm: memory={settings['memory']}: expected more than none, for example memory=16GB"
        )
    return settings


def _check_count(key: str, value: str) -> None:
    """Refuse a count of 0: without a worker, the tasks would wait forever."""
    if value.isascii() and value.isdecimal() and int(value) > 0:
        return
    advice = "; to use no GPU, omit it and compute on the CPU" if key == "gpus" else ""
    raise ValueError(
        f"slurm: {key}={value}: expected {key}=N, a whole number of at least 1, for example "
        f"{key}={SLURM_DEFAULTS[key]}{advice}"
    )


def slurm_script(place: Place) -> str:
    """Return the job script that would be submitted for every worker.

    Parameters
    ----------
    place : Place
        Of a "slurm:..." cluster.

    Returns
    -------
    str
        A shell script for `sbatch`.

    Raises
    ------
    StateError
        If dask-jobqueue is missing.
    """
    try:
        from dask_jobqueue.slurm import SLURMJob
    except ImportError as error:
        raise StateError(f"SLURM needs dask-jobqueue ({error}): {INSTALL}") from error
    job = SLURMJob("tls://SCHEDULER:PORT", name="mri7t", **_job_options(place, _tls()))
    return str(job.job_script())


def _job_options(place: Place, security: "Security | None") -> dict[str, Any]:
    settings = slurm_settings(place.cluster.partition(":")[2])
    extra = ["--no-dashboard", "--dashboard-address", f"{LOOPBACK}:0", "--nthreads", "1"]
    directives = []
    if place.resources:
        extra += ["--resources", f"{GPU}=1"]
        directives = [f"--gres=gpu:{settings['gpus']}"]
    return {
        "cores": int(settings["cores"]),
        "processes": 1,
        "memory": settings["memory"],
        "walltime": settings["walltime"],
        "queue": settings.get("queue"),
        "account": settings.get("account"),
        "interface": settings.get("interface"),
        "log_directory": settings.get("log"),
        "job_name": "mri7t",
        "job_extra_directives": directives,
        "job_script_prologue": [
            f"export OMP_NUM_THREADS={settings['cores']} MKL_NUM_THREADS={settings['cores']}"
        ],
        "worker_extra_args": extra,
        "protocol": "tls://",
        "security": security,
    }


def _slurm_cluster(place: Place, security: "Security", scratch: Path) -> Any:
    if _tls() is None:
        security = _on_disk(security, scratch)
    try:
        from dask_jobqueue.slurm import SLURMCluster
    except ImportError as error:
        raise StateError(f"SLURM needs dask-jobqueue ({error}): {INSTALL}") from error
    settings = slurm_settings(place.cluster.partition(":")[2])
    if "interface" not in settings:
        raise StateError(
            "slurm: without interface=... Dask listens on every network: add the one through which "
            "the nodes reach this machine, for example interface=ib0 (ip link lists them)"
        )
    return SLURMCluster(
        n_workers=int(settings["jobs"]),
        scheduler_options=NO_DASHBOARD | {"local_directory": str(scratch)},
        **_job_options(place, security),
    )


def _tls(needed: Sequence[str] = TLS_FILES) -> "Security | None":
    """Return Dask's own TLS configuration, if it has what is needed."""
    import dask.config
    from distributed import Security

    if any(dask.config.get(f"distributed.comm.tls.{key}", None) is None for key in needed):
        return None
    return Security(require_encryption=True)
