"""What the machine offers: precisions, free memory, and the libraries installed."""

import os
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PRECISIONS = ("auto", "float32", "bfloat16")  # auto: what the device is fast with
MEMORY_FACTS = Path("/proc/meminfo")
CONTROL_GROUP = Path("/sys/fs/cgroup")  # version 2
APPTAINER = "APPTAINER_CONTAINER"  # set by Apptainer in its containers
MARKS_OF_CONTAINERS = {"docker": Path("/.dockerenv"), "podman": Path("/run/.containerenv")}
IMAGE = "MRI7T_IMAGE"  # set by this package's recipes: name and tag of the image


def library_versions(names: Iterable[str]) -> dict[str, str]:
    """Return the versions of libraries, without importing them.

    Parameters
    ----------
    names : iterable of str
        As pip knows them.

    Returns
    -------
    dict
        Name to version, "not installed" for a missing library.

    Examples
    --------
    >>> library_versions(["no-such-library"])
    {'no-such-library': 'not installed'}
    """
    return {name: _version(name) for name in names}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def container_facts() -> dict[str, str]:
    """Return the container that this process runs in, as `GeneratedBy` of BIDS describes it.

    Returns
    -------
    dict
        `Type`, and `Tag` where the image names itself; empty outside of containers.
    """
    kinds = [kind for kind, mark in MARKS_OF_CONTAINERS.items() if mark.exists()]
    if APPTAINER in os.environ:
        kinds.insert(0, "apptainer")
    if not kinds:
        return {}
    tag = os.environ.get(IMAGE, "")
    return {"Type": kinds[0], **({"Tag": tag} if tag else {})}


def available_memory() -> int | None:
    """Return the free memory, within the limit of the container.

    Returns
    -------
    int or None
        Bytes; None if the system does not report it.
    """
    known = [free for free in (_machine_memory(), _container_memory()) if free is not None]
    return min(known, default=None)


def _machine_memory() -> int | None:
    try:
        if MEMORY_FACTS.exists():
            lines = MEMORY_FACTS.read_text().splitlines()
            (free,) = (line.split()[1] for line in lines if line.startswith("MemAvailable:"))
            return int(free) * 1024
        return int(os.sysconf("SC_PHYS_PAGES")) * int(os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, ValueError, OSError):  # neither Linux nor POSIX
        return None


def _container_memory() -> int | None:
    folder = CONTROL_GROUP
    try:
        limit, used = (int((folder / f"memory.{name}").read_text()) for name in ("max", "current"))
        lines = (folder / "memory.stat").read_text().splitlines()
        cache = sum(int(line.split()[1]) for line in lines if line.startswith("inactive_file "))
        return max(0, limit - used + cache)
    except (ValueError, OSError):  # "max": no limit; or no control group
        return None
