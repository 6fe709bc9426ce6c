"""Licences of what an installation brings, against the list of those allowed."""

import importlib.util
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[1] / "tools" / "licences.py"
pytestmark = pytest.mark.skipif(not TOOL.exists(), reason="needs the checkout")


@pytest.fixture(scope="module")
def licences():
    spec = importlib.util.spec_from_file_location("licences", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_licence_of_an_installation_is_allowed(licences):
    table = licences.rows(frozenset())
    names = {row[0] for row in table}
    assert {"torch", "numpy", "napari", "nibabel"} <= names
    assert not names & licences.OPTIONAL, "a Qt binding must be asked for"
    assert [row for row in table if row[3] != "allowed"] == []


def test_qt_binding_is_the_only_optional_part_of_all(licences):
    table = licences.rows(frozenset({"all"}))
    assert {row[0] for row in table if row[3] == "optional"} <= licences.OPTIONAL
    assert [row for row in table if row[3] == "NOT ALLOWED"] == []


@pytest.mark.parametrize(
    ("licence", "expected"),
    [
        ("MIT", True),
        ("BSD-3-Clause AND 0BSD AND Zlib", True),
        ("GPL-3.0-only OR MIT", True),
        ("MIT AND GPL-3.0-only", False),
        ("GPL-3.0-only", False),
        ("GNU General Public License v3 (GPLv3)", False),
        ("AGPL-3.0", False),
        ("EUPL-1.2", False),
        ("CC-BY-NC-4.0", False),
        ("Mozilla Public License 2.0 (MPL 2.0)", True),
        ("(Apache-2.0 OR BSD-2-Clause)", True),
        ("not told", False),
        ("Business Source License", False),
    ],
)
def test_the_list_takes_and_refuses(licences, licence, expected):
    assert licences.is_allowed(licence) is expected
