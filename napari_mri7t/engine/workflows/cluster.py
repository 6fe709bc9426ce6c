"""Where work of more than one process runs: a Dask scheduler, local workers, SLURM jobs.

Nothing listens beyond this machine unless Dask's TLS is configured, and no dashboard is served.
https://distributed.dask.org/en/stable/tls.html, https://jobqueue.dask.org
"""

import contextlib
import ipaddress
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from napari_mri7t.engine.errors import DeviceError, StateError

if TYPE_CHECKING:
    from distributed import Client, Security

LOOPBACK = "127.0.0.1"
NO_DASHBOARD = {"dashboard": False, "dashboard_address": f"{LOOPBACK}:0"}  # "alive" only, here only
GPU = "GPU"  # Dask's name for one card: workers offer one, a task takes one
CLIENT_FILES = ("ca-file", "client.cert")
TLS_FILES = (*CLIENT_FILES, "scheduler.cert", "scheduler.key", "worker.cert", "worker.key")
TLS_HELP = (
    "configure TLS for Dask (distributed.comm.tls in ~/.config/dask; docs/cluster.md shows how), "
    "or stay on this machine"
)
SLURM_DEFAULTS = {"jobs": "1", "cores": "4", "memory": "16GB", "walltime": "04:00:00", "gpus": "1"}
SLURM_OPTIONAL = ("queue", "account", "interface", "log")
INSTALL = "install napari-mri7t[cluster]"


@dataclass(frozen=True)
class Place:
    """Where tasks run; exactly one of the two.

    Parameters
    ----------
    scheduler : str
        Address of a running scheduler: "tcp://127.0.0.1:8786", "tls://node:8786".
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
    with contextlib.ExitStack() as stack:
        if place.scheduler:
            if place.scheduler.startswith("tls") and _tls(CLIENT_FILES) is None:
                raise StateError(f"{place.scheduler}: no certificate to present: {TLS_HELP}")
            target: Any = place.scheduler
        elif place.cluster.startswith("local:"):
            target = stack.enter_context(_local_cluster(place))
        else:
            target = stack.enter_context(_slurm_cluster(place))
        try:
            client = distributed.Client(target, timeout="20s")
        except (OSError, TimeoutError) as error:
            raise StateError(f"{place.scheduler}: no scheduler answers: {error}") from error
        stack.enter_context(client)
        if place.scheduler:
            _check_workers(client.scheduler_info(-1)["workers"], place)
        yield client


def _check_address(address: str) -> None:
    parts = urlsplit(address if "://" in address else f"tcp://{address}")
    if parts.scheme == "tls":
        return
    if parts.scheme != "tcp" or not parts.hostname or not _is_here(parts.hostname):
        raise ValueError(
            f"scheduler {address}: its tasks would be sent unprotected: use a tls:// address and "
            f"{TLS_HELP}"
        )


def _is_here(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _check_workers(workers: Mapping[str, Any], place: Place) -> None:
    """Refuse a task that no worker can take: it would wait forever."""
    offers = [worker.get("resources", {}).get(GPU, 0) for worker in workers.values()]
    if place.resources and offers and not any(offers):
        raise DeviceError(
            f"{place.scheduler}: none of its {len(offers)} workers offers a GPU: start them with "
            "'dask worker --nthreads 1 --resources GPU=1', or compute on the CPU",
            argument="device",
        )


def _local_cluster(place: Place) -> Any:
    """Return N processes of one thread, each with its share of the cores and one GPU if any."""
    from distributed import Nanny, Scheduler, SpecCluster

    n_workers = int(place.cluster.partition(":")[2])
    threads = max(1, (os.cpu_count() or 1) // n_workers)
    cards = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    workers = {}
    for n in range(n_workers):
        card = cards[n % len(cards)] if cards[0] else str(n)
        env = {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
        if place.resources and n_workers > 1:
            env["CUDA_VISIBLE_DEVICES"] = card
        options = {"nthreads": 1, "resources": place.resources, "env": env, "host": LOOPBACK}
        workers[n] = {"cls": Nanny, "options": options | NO_DASHBOARD}
    scheduler = {
        "cls": Scheduler,
        "options": {"host": LOOPBACK, "port": 0, "protocol": "tcp://"} | NO_DASHBOARD,
    }
    return SpecCluster(workers=workers, scheduler=scheduler, silence_logs=40)


def slurm_settings(text: str) -> dict[str, str]:
    """Read "key=value,key=value", over the defaults.

    Parameters
    ----------
    text : str
        What follows "slurm:".

    Raises
    ------
    ValueError
        If a key is unknown.
    """
    settings = dict(SLURM_DEFAULTS)
    for part in filter(None, text.split(",")):
        key, equals, value = part.partition("=")
        known = [*SLURM_DEFAULTS, *SLURM_OPTIONAL]
        if not equals or key not in known or not re.fullmatch(r"[\w.:/+-]+", value):
            raise ValueError(f"slurm: {part!r}: expected key=value with {', '.join(known)}")
        settings[key] = value
    for key in ("jobs", "cores", "gpus"):
        if not settings[key].isdecimal():
            raise ValueError(f"slurm: {key}={settings[key]}: expected a whole number")
    return settings


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


def _slurm_cluster(place: Place) -> Any:
    security = _tls()
    if security is None:
        raise StateError(f"SLURM's nodes reach this machine over the network: {TLS_HELP}")
    try:
        from dask_jobqueue.slurm import SLURMCluster
    except ImportError as error:
        raise StateError(f"SLURM needs dask-jobqueue ({error}): {INSTALL}") from error
    n_jobs = int(slurm_settings(place.cluster.partition(":")[2])["jobs"])
    return SLURMCluster(
        n_workers=n_jobs, scheduler_options=NO_DASHBOARD, **_job_options(place, security)
    )


def _tls(needed: Sequence[str] = TLS_FILES) -> "Security | None":
    """Return Dask's own TLS configuration, if it has what is needed."""
    import dask.config
    from distributed import Security

    if any(dask.config.get(f"distributed.comm.tls.{key}", None) is None for key in needed):
        return None
    return Security(require_encryption=True)
