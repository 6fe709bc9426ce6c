"""A browser for the pages."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

CHROMIUM = next(
    (path for name in ("chromium", "google-chrome") if (path := shutil.which(name))), ""
)


@pytest.fixture
def browsed(tmp_path: Path) -> Callable[..., str]:
    """Show a page in Chromium, and return what it becomes there; no message may be logged."""
    if not CHROMIUM:
        pytest.skip("no Chromium on this machine")

    def browse(page: Path, hash_: str = "", *options: str) -> str:
        done = subprocess.run(
            [
                CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--dump-dom",
                "--enable-logging=stderr", f"--user-data-dir={tmp_path / 'browser'}", *options,
                page.as_uri() + hash_,
            ],
            capture_output=True, text=True, timeout=240, check=True,
        )  # fmt: skip
        assert not [line for line in done.stderr.splitlines() if "CONSOLE" in line]
        return done.stdout

    return browse
