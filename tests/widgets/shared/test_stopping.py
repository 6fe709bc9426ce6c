"""An interrupt of a thread leaves nothing behind in Python."""

from __future__ import annotations

import subprocess
import sys

import pytest

WORK = """
import sys, threading
from napari_mri7t.engine.progress import Cancelled
from napari_mri7t.widgets.shared.stopping import Stop

stop = Stop()
stop.allow_interrupt()
try:
    if "sent" in sys.argv:
        other = threading.Thread(target=stop._interrupt)
        other.start()
        other.join()
except Cancelled:
    print("arrived")
stop.forbid_interrupt()
sys.setprofile(lambda *_: None)
(lambda: None)()
sys.setprofile(None)
print("end")
"""


@pytest.mark.parametrize(("words", "told"), [((), ["end"]), (("sent",), ["arrived", "end"])])
def test_code_runs_under_a_profiler_after_work_that_could_be_interrupted(words, told):
    done = subprocess.run(
        [sys.executable, "-c", WORK, *words],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout.split() == told
