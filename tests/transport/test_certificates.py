"""Exact values and certified intervals over many kinds of clouds; threads, batches, interruption.

The kinds of clouds, their true costs and the check are those of benchmarks/transport_fuzz.py.
"""

import importlib.util
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from threadpoolctl import ThreadpoolController

from nemd_toolkit.transport import pairwise_wasserstein1, wasserstein1
from nemd_toolkit.transport.clouds import as_cloud, pack
from nemd_toolkit.transport.kernels.pair import Scratch, solve_pairs
from nemd_toolkit.transport.kernels.settings import CERTIFIED, WAITING
from nemd_toolkit.transport.workers import in_threads, no_interrupt_lost

PATH = Path(__file__).parents[2] / "benchmarks" / "transport_fuzz.py"


def load_fuzz():
    spec = importlib.util.spec_from_file_location("transport_fuzz", PATH)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


fuzz = load_fuzz()


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("family", fuzz.FAMILIES)
def test_values_are_exact_and_bounds_hold(family):
    first = list(fuzz.FAMILIES).index(family)
    for turn in range(5):  # a trial's number decides its family
        number = first + turn * len(fuzz.FAMILIES)
        trial = fuzz.draw(0, number)
        assert trial.family == family
        assert fuzz.check(trial).violations == (), number


def trial(family, n, m, d, seed=0, rtol=0.01):
    x, y = fuzz.FAMILIES[family](np.random.default_rng(seed), n, m, d)
    return fuzz.Trial(family, x, y, rtol, False)


@pytest.mark.parametrize(
    ("family", "n", "m", "d"),
    [
        ("sphere", 799, 800, 16),
        ("gaussian", 1, 800, 3),
        ("gaussian", 797, 2, 600),
        ("lattice", 400, 401, 2),
        ("line", 500, 300, 1),
        ("same", 400, 400, 8),
        ("collapsed", 256, 255, 128),
        ("tight_and_far", 300, 200, 64),
        ("mixed_spread", 300, 301, 2),
        ("grids", 400, 300, 2),
        ("repeats", 600, 500, 4),
        ("outlier", 300, 50, 100),
    ],
)
@pytest.mark.parametrize("rtol", [1e-4, 0.03])
def test_larger_clouds_are_exact_and_bounded(family, n, m, d, rtol):
    assert fuzz.check(trial(family, n, m, d, rtol=rtol)).violations == ()


@pytest.mark.parametrize("scale", [1e-300, 1e-30, 1e30, 1e300])
@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_scale_and_offset_do_not_matter(scale, offset):
    for family in ("gaussian", "lattice", "near_duplicates"):
        plain = trial(family, 40, 33, 5)
        moved = plain._replace(x=scale * (plain.x + offset), y=scale * (plain.y + offset))
        assert fuzz.check(moved).violations == ()


def test_a_cloud_is_at_zero_from_itself_in_any_order_and_number():
    x = np.random.default_rng(0).standard_normal((60, 7)) + 1e4
    for y in (x, x[::-1].copy(), np.tile(x, (3, 1)), np.repeat(x, 2, axis=0)):
        found = pairwise_wasserstein1([x, y], rtol=0.01)
        assert (wasserstein1(x, y).cost, found.lower[0], found.upper[0]) == (0, 0, 0)


@pytest.mark.parametrize("family", fuzz.FAMILIES)
def test_is_symmetric(family):
    now = trial(family, 45, 64, 6, seed=3)
    there, back = wasserstein1(now.x, now.y).cost, wasserstein1(now.y, now.x).cost
    assert there == pytest.approx(back, abs=1e-12 * fuzz.extent(now.clouds))


@pytest.mark.parametrize(("n", "m"), [(3000, 30), (20_000, 30), (100_000, 7)])
def test_bounds_hold_where_the_potentials_are_optimal_and_the_sums_long(n, m):
    passed = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        x, y = np.zeros((n, 2)), np.zeros((m, 2))
        x[:, 0] = rng.random() * (rng.random(n) < 0.5)
        y[:, 0] = 2 + rng.random(m)  # all of x before all of y on a line: every plan is optimal
        found = pairwise_wasserstein1([x, y], rtol=0.01)
        true = float(y[:, 0].mean() - x[:, 0].mean())
        passed += [found.lower[0] - true, true - found.upper[0], found.lower[0] - found.upper[0]]
    assert max(passed) <= 1e-12


def test_a_tight_pair_stays_exact_in_company():
    """Beside clouds at distance 2, each cost to 1e-6 of itself."""
    place, errors = np.array([[1.0, 0, 0]]), []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        x, y = (place + 1e-12 * rng.standard_normal((k, 3)) for k in (40, 50))
        found = pairwise_wasserstein1([x, y, -place, -place], [[0, 1], [2, 3]])
        errors.append(found.cost[0] / fuzz.truth(x - place, y - place) - 1)
    assert max(map(abs, errors)) < 1e-6


def test_a_tiny_pair_between_far_clouds_stays_exact():
    errors, one = [], np.ones((1, 3))
    for seed in range(6):
        rng = np.random.default_rng(seed)
        x, y = (1e-23 * rng.standard_normal((k, 3)) for k in (40, 50))
        found = pairwise_wasserstein1([x, y, one, -one], [[0, 1], [2, 3]])
        errors.append(found.cost[0] / fuzz.truth(x, y) - 1)
    assert max(map(abs, errors)) < 1e-6


@pytest.mark.parametrize("kind", ["turned", "read-only"])
def test_any_numpy_array_is_a_cloud(kind):
    x = np.random.default_rng(0).standard_normal((5, 3))
    want = wasserstein1(x, 2 * x).cost
    if kind == "read-only":
        x.flags.writeable = False
    assert wasserstein1(x[::-1] if kind == "turned" else x, 2 * x).cost == pytest.approx(want)


def many(count=14):
    rng = np.random.default_rng(5)
    return [
        rng.standard_normal((int(rng.integers(1, 90)), 12)) + rng.random() for _ in range(count)
    ]


RTOLS = [0.0, 0.02]


@pytest.mark.parametrize("rtol", RTOLS)
def test_the_number_of_threads_changes_nothing(threads, rtol):
    found = []
    for count in (1, 2, 5):
        threads(count)
        pairs = pairwise_wasserstein1(many(60), rtol=rtol)
        found.append((pairs.lower.tobytes(), pairs.upper.tobytes()))
    assert len(set(found)) == 1


@pytest.mark.parametrize("rtol", RTOLS)
def test_the_order_of_pairs_changes_nothing(rtol):
    clouds = many()
    every = pairwise_wasserstein1(clouds, rtol=rtol)
    order = np.random.default_rng(0).permutation(len(every.pairs))
    again = pairwise_wasserstein1(clouds, every.pairs[order], rtol=rtol)
    assert (again.lower == every.lower[order]).all()
    assert (again.upper == every.upper[order]).all()


def test_a_pair_alone_costs_what_it_costs_among_many():
    clouds = many()
    every = pairwise_wasserstein1(clouds)
    for k in range(0, len(every.pairs), 7):
        p, q = every.pairs[k]
        assert wasserstein1(clouds[p], clouds[q]).cost == pytest.approx(every.cost[k], rel=1e-13)


def test_two_threads_that_call_at_once_get_the_same_numbers(threads):
    threads(2)
    clouds, found = many(), {}
    want = pairwise_wasserstein1(clouds).cost

    def call(name):
        found[name] = [pairwise_wasserstein1(clouds).cost for _ in range(4)]

    callers = [threading.Thread(target=call, args=(name,)) for name in range(3)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert all((cost == want).all() for costs in found.values() for cost in costs)


def test_calls_that_overlap_leave_the_number_of_blas_threads_as_it_was():
    first_is_in, second_is_in, first_is_out = (threading.Event() for _ in range(3))

    def call(work):
        settings = {"stop": lambda: None, "pair": str, "advance": lambda _: None}
        in_threads([slice(0, 1)], lambda: lambda _: work(), **settings)

    def first():
        call(lambda: (first_is_in.set(), second_is_in.wait(1)))
        first_is_out.set()

    def second():
        first_is_in.wait(1)
        call(lambda: (second_is_in.set(), first_is_out.wait(1)))

    libraries = ThreadpoolController().select(user_api="blas").lib_controllers
    before = [library.num_threads for library in libraries]

    def limit(counts):  # in a thread that ends: threadpoolctl heeds the first one that lives
        for library, count in zip(libraries, counts, strict=True):
            library.set_num_threads(count)

    def run(*targets):
        callers = [threading.Thread(target=target) for target in targets]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()

    try:
        run(lambda: limit([2] * len(libraries)))
        run(first, second)
        assert [library.num_threads for library in libraries] == [2] * len(libraries)
    finally:
        run(lambda: limit(before))


def test_a_pair_is_not_begun_once_stop_is_set():
    clouds = many(2)
    packed = pack(list(map(as_cloud, clouds, "xy")), ["x", "y"])
    n, m = packed.sizes
    room = np.empty(2 * n * m, np.float32), np.empty(n * m), np.empty(packed.points.size)
    pairs, state = np.array([[0, 1], [1, 0]]), np.full(2, WAITING)
    lower, upper, stop = np.zeros(2), np.zeros(2), np.ones(1, np.int64)
    world = packed.points, packed.near, packed.squares, packed.starts, pairs, 0.0
    solve_pairs(*world, Scratch(*room), lower, upper, state, stop)
    assert (state == WAITING).all()
    stop[0] = 0
    solve_pairs(*world, Scratch(*room), lower, upper, state, stop)
    assert (state == CERTIFIED).all()
    assert np.ldexp(lower, packed.exponent) == pytest.approx(fuzz.truth(*clouds), rel=1e-12)


LONG_CALL = """
import numpy as np
from nemd_toolkit.transport import pairwise_wasserstein1
rng = np.random.default_rng(0)
clouds = [rng.standard_normal((300, 16)) for _ in range(60)]
pairwise_wasserstein1(clouds, [[0, 1]])  # compiles
print("begun", flush=True)
pairwise_wasserstein1(clouds * 9)
print("done", flush=True)
"""


def in_the_middle_of_a_long_call(folder):
    command = [sys.executable, "-c", LONG_CALL]
    environment = {"TMPDIR": str(folder), "OMP_NUM_THREADS": "2"}
    process = subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "begun\n"
    time.sleep(0.7)
    return process


def test_ctrl_c_ends_a_long_call(tmp_path):
    with in_the_middle_of_a_long_call(tmp_path) as process:
        start = time.monotonic()
        process.send_signal(signal.SIGINT)
        try:
            out, errors = process.communicate(timeout=20)
        finally:
            process.kill()
    assert (
        time.monotonic() - start < 15
    )  # a second by itself; shutting down beside others takes more
    assert errors.splitlines()[-1] == "KeyboardInterrupt"
    assert out == ""


def test_an_interrupt_that_was_swallowed_is_raised_at_the_end():
    def swallow():
        with no_interrupt_lost(lambda: told.append(True)):
            with suppress(KeyboardInterrupt):  # as a callback from C does
                signal.raise_signal(signal.SIGINT)
            assert told == [True]

    told = []
    with pytest.raises(KeyboardInterrupt):
        swallow()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_handler_of_the_callers_own_stays_in_charge():
    told, seen = [], []
    before = signal.signal(signal.SIGINT, lambda *_: seen.append(True))
    try:
        with no_interrupt_lost(lambda: told.append(True)):
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
    assert (told, seen) == ([], [True])


def test_other_threads_leave_signals_alone():
    def inside():
        with no_interrupt_lost():
            seen.append(signal.getsignal(signal.SIGINT))

    seen = []
    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGINT)]


def test_a_killed_process_leaves_nothing_behind(tmp_path):
    with in_the_middle_of_a_long_call(tmp_path) as process:
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert list(tmp_path.iterdir()) == []
