"""The entries of a sidecar, each checked as it is read: ValueError names the one that is wrong."""

import contextlib
import os
import re
from collections.abc import Iterator
from typing import Any, TypeVar

from napari_mri7t.engine.texts import brief, is_file_name, visible
from napari_mri7t.engine.typed import is_of_type
from napari_mri7t.engine.volumes.files.dicom_conversion import CONVERTER

MOST_SOURCES = 8  # four images, of two files each
MOST_VERSIONS = 50  # libraries
MOST_THREADS = 256  # or the machine's own number
LONGEST_TEXT = 255  # characters, of an entry
WORDS = {
    bool: "true or false", int: "a whole number", str: "text", list: "a list", dict: "an object",
}  # fmt: skip
Entry = TypeVar("Entry", bool, int, str, list[Any], dict[str, Any])


def entry_of(facts: Any, name: str, kind: type[Entry]) -> Entry:
    """Return an entry of an object in JSON, if it is there and of its type."""
    if not isinstance(facts, dict) or name not in facts:
        raise ValueError(f"lacks {visible(name)}, which a repetition needs")
    value: Any = facts[name]
    if not isinstance(value, kind) or not is_of_type(value, kind):
        raise ValueError(f"{visible(name)} must be {WORDS[kind]}, got {brief(value)}")
    if kind is str and len(str(value)) > LONGEST_TEXT:
        raise ValueError(f"{visible(name)} is longer than {LONGEST_TEXT} characters")
    return value


def digest_entry(facts: Any, name: str) -> str:
    """Return an entry that is a SHA-256."""
    digest = entry_of(facts, name, str)
    if not re.fullmatch("[0-9a-f]{64}", digest):
        raise ValueError(f"{name} must be 64 hexadecimal digits, got {brief(digest)}")
    return digest


def name_entry(facts: Any, name: str) -> str:
    """Return the name of a file beside the sidecar, without any folder."""
    found = entry_of(facts, name, str)
    if not is_file_name(found):
        raise ValueError(f"{name} must be the name of a file, without a folder, got {brief(found)}")
    return found


@contextlib.contextmanager
def naming(name: str) -> Iterator[None]:
    """Put the name of the entry before what is wrong in it."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def source_entries(facts: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    """Return what identifies each of the source files, in their order."""
    name = "SourceFiles" if "SourceFiles" in facts else "Sources"
    found = entry_of(facts, name, list)
    if not 0 < len(found) <= MOST_SOURCES:
        raise ValueError(f"{name}: must hold 1 to {MOST_SOURCES} files, got {len(found)}")
    with naming(name):
        return tuple(source_entry(entry) for entry in found)


def source_entry(entry: Any) -> dict[str, Any]:
    """Return what identifies one file, or one volume that was never saved to a file."""
    if not isinstance(entry, dict):
        raise ValueError(f"must hold objects, got {brief(entry)}")
    if "Series" in entry:
        number, n_files = entry_of(entry, "Series", int), entry_of(entry, "Files", int)
        found: dict[str, Any] = {
            "Series": number,
            "Files": n_files,
            CONVERTER: entry_of(entry, CONVERTER, str),
        }
    elif "File" not in entry:
        name, digest = entry_of(entry, "Name", str), digest_entry(entry, "VoxelsSHA256")
        return {"Name": name, "VoxelsSHA256": digest}
    else:
        found = {"File": name_entry(entry, "File")}
    found["SHA256"] = digest_entry(entry, "SHA256")
    if "Index" not in entry:
        return found
    if (index := entry_of(entry, "Index", int)) < 0:
        raise ValueError(f"Index must be at least 0, got {brief(index)}")
    return found | {"Index": index}


def image_entry(facts: dict[str, Any]) -> dict[str, Any]:
    """Return what identifies the image; nothing for a sidecar of version 0.1."""
    if "Image" not in facts:
        return {}
    image = entry_of(facts, "Image", dict)
    with naming("Image"):
        return {
            "image_name": name_entry(image, "File"), "image_sha256": digest_entry(image, "SHA256")
        }  # fmt: skip


def thread_count(facts: dict[str, Any]) -> int | None:
    """Return how many threads of the CPU were used; None if that is not recorded."""
    name = "threads" if "threads" in facts else "Threads"
    if facts.get(name) is None:
        return None
    n_threads, most = entry_of(facts, name, int), most_threads()
    if not 1 <= n_threads <= most:
        raise ValueError(f"{name} must be 1 to {most} on this machine, got {brief(n_threads)}")
    return n_threads


def most_threads() -> int:
    """Return how many threads of the CPU a sidecar may ask for on this machine."""
    return max(MOST_THREADS, os.cpu_count() or 1)


def version_entries(
    facts: dict[str, Any], name: str, default: dict[str, str] | None = None
) -> dict[str, str]:
    """Return the versions of libraries."""
    found = default if default is not None and name not in facts else entry_of(facts, name, dict)
    if len(found) > MOST_VERSIONS:
        raise ValueError(f"{name}: must hold at most {MOST_VERSIONS} libraries")
    with naming(name):
        return {library: entry_of(found, library, str) for library in found}
