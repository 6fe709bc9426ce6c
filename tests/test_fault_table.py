"""Every fault has a test, and the page that lists them is up to date."""

import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[1] / "tools" / "fault_table.py"


@pytest.mark.skipif(not TOOL.exists(), reason="needs the checkout")
def test_every_fault_has_a_test_and_the_page_is_up_to_date():
    ran = subprocess.run([sys.executable, TOOL, "--check"], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
