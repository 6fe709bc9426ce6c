"""Lanes: the order of results, errors, the end, and torch's threads."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from napari_mri7t.engine.synthesis import lanes
from napari_mri7t.engine.synthesis.lanes import in_lanes


@pytest.fixture
def four_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("n_threads", [1, 2, 4])
def test_results_come_in_the_items_order(four_threads, n_threads):
    def square(number):
        time.sleep(0.002 * (number % 3))  # so that later ones end first
        return number**2

    assert list(in_lanes(square, range(20), n_threads)) == [n**2 for n in range(20)]


@pytest.mark.parametrize(("n_threads", "n_lanes"), [(1, 4), (2, 2), (3, 1)])
def test_lanes_share_the_threads_that_torch_has(four_threads, n_threads, n_lanes):
    together = threading.Barrier(n_lanes)  # broken unless so many run at once

    def threads(_):
        together.wait(timeout=20)
        return torch.get_num_threads()

    expected = n_threads if n_lanes > 1 else 4  # a single lane is this thread, as it is
    assert list(in_lanes(threads, range(n_lanes), n_threads)) == [expected] * n_lanes


def test_threads_of_others_stay_as_they_were(four_threads):
    list(in_lanes(abs, range(9), 1))
    found = []
    thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert [*found, torch.get_num_threads()] == [4, 4]


def test_error_is_raised_at_its_items_turn(four_threads):
    def invert(number):
        return 1 / number

    results = in_lanes(invert, [1, 2, 0, 4, 5], 1)
    assert [next(results), next(results)] == [1, 0.5]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_closing_waits_for_what_is_under_way_and_begins_nothing_more(four_threads):
    begun, ended = [], []

    def work(number):
        begun.append(number)
        time.sleep(0.02)
        ended.append(number)

    results = in_lanes(work, range(1000), 1)
    next(results)
    results.close()
    assert len(begun) == len(ended) < 12
    n_begun = len(begun)
    time.sleep(0.05)
    assert len(begun) == n_begun


def test_items_are_taken_as_lanes_become_free(four_threads):
    taken = []
    results = in_lanes(abs, (taken.append(n) or n for n in range(100)), 1)
    next(results)
    results.close()
    assert len(taken) <= 4 + 1  # or they would fill the memory


@pytest.mark.parametrize("n_begun", [0, 1, 3])
def test_lane_that_cannot_begin_leaves_the_threads_of_others_as_they_were(
    four_threads, monkeypatch, n_begun
):
    """What it raised is raised at once, not the waiting of the other lanes."""
    set_num_threads, turns = torch.set_num_threads, iter(range(100))

    def refuse(n):
        if threading.current_thread() is not threading.main_thread() and next(turns) == n_begun:
            raise MemoryError
        set_num_threads(n)

    monkeypatch.setattr(torch, "set_num_threads", refuse)
    with pytest.raises(MemoryError):
        list(in_lanes(abs, range(9), 1))
    found = []
    thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert [*found, torch.get_num_threads()] == [4, 4]


def test_lane_that_fails_before_its_first_line_does_not_keep_the_others_waiting(
    four_threads, monkeypatch
):
    """As CPython raises MemoryError where there is no memory for the frame of a call."""
    submit, turns = ThreadPoolExecutor.submit, iter(range(100))

    def fail():
        raise MemoryError

    def submit_or_fail(pool, work, *arguments):
        return submit(pool, fail if next(turns) == 3 else work, *arguments)

    monkeypatch.setattr(ThreadPoolExecutor, "submit", submit_or_fail)
    monkeypatch.setattr(lanes, "START_SECONDS", 1e6)  # a wait for it would hang the test
    with pytest.raises(MemoryError):
        list(in_lanes(abs, range(9), 1))
