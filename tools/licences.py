"""Check the licences of all packages of an installation against the list of allowed ones.

    python tools/licences.py             what `pip install napari-mri7t` brings
    python tools/licences.py all,docs    with these extras

Exit code 1 if a licence is not allowed. Read from the packages' own metadata, without the
network.
"""

import re
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PACKAGE = "napari-mri7t"
# Beginnings of the licences that a BSD-3-Clause package may depend on; MPL-2.0 and LGPL bind only
# their own files. Anything else is refused, "unknown" too.
ALLOWED = re.compile(
    r"0BSD|Apache|BSD|BSL-1\.0|CC0|HPND|ISC|LGPL|MIT\b|Mozilla Public License 2|MPL-2|PSF|"
    r"Python Software Foundation|Unlicense|Zlib",
    re.IGNORECASE,
)
# The Qt binding is the user's choice, and in no installation unless asked for: `[all]`, or PySide6.
READ = {  # the metadata hold the whole text, or name the licence in words of their own
    "dcm2niix": "BSD-3-Clause AND MIT AND Zlib",
    "protobuf": "BSD-3-Clause",
}
OPTIONAL = {"pyqt6", "pyqt6-qt6", "pyqt6-sip"}


def closure(name: str, extras: frozenset[str]) -> dict[str, Distribution]:
    """Return a package and all installed packages that it needs."""
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    todo = [(canonicalize_name(name), extras)]
    while todo:
        current, wanted = todo.pop()
        if (current, wanted) in seen:
            continue
        seen.add((current, wanted))
        try:
            found[current] = distribution(current)
        except PackageNotFoundError:  # for another platform, or an extra that is not installed
            continue
        todo += needs_of(found[current], wanted)
    return found


def needs_of(package: Distribution, extras: frozenset[str]) -> Iterator[tuple[str, frozenset[str]]]:
    """Yield what a package needs here, with these of its extras."""
    for text in package.requires or ():
        need = Requirement(text)
        marker = need.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in (*extras, "")):
            yield canonicalize_name(need.name), frozenset(need.extras)


def licence_of(package: Distribution) -> str:
    """Return a package's licence: its expression, else its classifiers, else its free text."""
    meta = package.metadata
    if package.name in READ:
        return READ[package.name]
    if meta.get("License-Expression"):
        return str(meta["License-Expression"])
    classes = [
        line.rpartition(" :: ")[2]
        for line in meta.get_all("Classifier") or ()
        if line.startswith("License :: ") and not line.endswith("OSI Approved")
    ]
    if classes:
        return " OR ".join(classes)
    text = " ".join((meta.get("License") or "").split())
    return text[:60] or "unknown"


def is_allowed(licence: str) -> bool:
    """Return whether every licence joined by AND, and one of each OR, is on the list."""
    plain = licence.replace("(", "").replace(")", "")
    return all(
        any(ALLOWED.match(choice.strip()) for choice in re.split(r"\bOR\b", part))
        for part in re.split(r"\bAND\b", plain)
    )


def rows(extras: frozenset[str]) -> list[tuple[str, str, str, str]]:
    """Return name, version, licence and verdict of each package."""
    table = []
    for name, package in sorted(closure(PACKAGE, extras).items()):
        licence = licence_of(package)
        verdict = "allowed" if is_allowed(licence) else "NOT ALLOWED"
        if name in OPTIONAL:
            verdict = "optional"
        table.append((name, package.version, licence, verdict))
    return table


def main() -> None:
    """Print the table."""
    extras = frozenset(sys.argv[1].split(",")) if len(sys.argv) > 1 else frozenset()
    table = rows(extras)
    for row in table:
        print(f"{row[0]:<28}{row[1]:<18}{row[3]:<13}{row[2]}")
    sys.exit(any(row[3] == "NOT ALLOWED" for row in table))


if __name__ == "__main__":
    main()
