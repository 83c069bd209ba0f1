"""Parts shared among threads: each is done once, and a failure ends the others early."""

import threading

import pytest
import torch

from nemd_toolkit import ranks
from nemd_toolkit.threads import in_threads


@pytest.fixture
def threads():
    """Give a setter of torch's threads; there are as many as before afterwards."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_each_part_is_done_once_with_torch_on_one_thread(threads, count):
    threads(count)
    found, workers, own = [], set(), []

    def take(parts):
        own.append(torch.get_num_threads())
        for part in parts:
            found.append(part)
            workers.add(threading.get_ident())

    in_threads(range(50), take)
    assert sorted(found) == list(range(50))
    assert set(own) == {1}
    assert (threading.get_ident() in workers) == (count == 1)
    assert torch.get_num_threads() == count


def test_a_failure_ends_the_others_after_their_part(threads):
    threads(2)
    begun, failed = [], threading.Event()

    def take(parts):
        for part in parts:
            begun.append(part)
            if part == 0:
                failed.set()
                raise ValueError("part 0")
            failed.wait(10)
            threading.Event().wait(0.01)

    with pytest.raises(ValueError, match="part 0"):
        in_threads(range(1_000), take)
    assert len(begun) < 500  # the other thread has that many


@pytest.mark.parametrize("count", [1, 3])
def test_sums_do_not_depend_on_the_number_of_threads(threads, count):
    rows = torch.randn(900, 5, generator=torch.Generator().manual_seed(0)).double()
    threads(1)
    expected = ranks.summed(900, 7, (5,), lambda total, some: total.add_(rows[some].sum(0)))
    threads(count)
    found = ranks.summed(900, 7, (5,), lambda total, some: total.add_(rows[some].sum(0)))
    assert torch.equal(found, expected)
    squares = ranks.by_blocks(900, 7, lambda some: rows[some].square().sum(1), torch.float64)
    assert torch.equal(squares, rows.square().sum(1))
