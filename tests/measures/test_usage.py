"""Usage and its null against exact laws, slow references and known answers."""

from decimal import Decimal, localcontext
from fractions import Fraction
from math import comb, exp, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nemd_toolkit.embeddings import Embeddings
from nemd_toolkit.measures.usage import NULL_DRAWS, measure_usage, usage_null
from nemd_toolkit.prototypes import fit_prototypes, prototypes_from_vectors
from tests import worlds


def empty_boxes(count, k):
    """Mean and variance of the number of empty boxes, ball by ball, in exact fractions."""
    law = {k: Fraction(1)}
    for _ in range(count):
        after = dict.fromkeys(range(k + 1), Fraction(0))
        for empty, p in law.items():
            after[empty] += p * Fraction(k - empty, k)
            if empty:
                after[empty - 1] += p * Fraction(empty, k)
        law = {empty: p for empty, p in after.items() if p}
    mean = sum(empty * p for empty, p in law.items())
    return float(mean), float(sum((empty - mean) ** 2 * p for empty, p in law.items()))


@given(count=st.integers(1, 25), k=st.integers(1, 12))
def test_dead_prototypes_follow_the_exact_law_of_empty_boxes(count, k):
    null = usage_null(count, k, seed=0)
    mean, variance = empty_boxes(count, k)
    assert null.dead == pytest.approx(mean, rel=1e-6, abs=1e-12)
    assert null.dead_sd**2 == pytest.approx(variance, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize(("count", "k"), [(60_000, 10_000), (3_000, 60_000), (1_000, 20)])
def test_expected_dead_are_those_of_long_arithmetic_at_any_size(count, k):
    null = usage_null(count, k, seed=0)
    with localcontext(prec=60):  # digits: differences of nearly equal numbers stay exact
        one = (Decimal(k - 1) / k) ** count
        both = (Decimal(k - 2) / k) ** count
        variance = k * one + k * (k - 1) * both - (k * one) ** 2
    assert null.dead == pytest.approx(float(k * one), rel=1e-6)
    assert null.dead_sd**2 == pytest.approx(float(variance), rel=1e-6)


def test_expected_entropy_is_the_binomial_sum():
    count, k = 200, 12
    terms = (
        comb(count, n) * (1 / k) ** n * (1 - 1 / k) ** (count - n) * n / count * log(n / count)
        for n in range(1, count + 1)
    )
    exact = -k * sum(terms) / log(k)
    null = usage_null(count, k, seed=3)
    deviation = (null.entropy.high - null.entropy.low) / 4
    assert null.entropy.value == pytest.approx(exact, abs=4 * deviation / NULL_DRAWS**0.5)
    assert null.entropy.low < exact < null.entropy.high < 1
    assert null.perplexity.low == pytest.approx(exp(null.entropy.low * log(k)), rel=1e-3)


def test_the_band_holds_95_percent_of_fresh_draws_and_hangs_on_the_seed_only():
    null = usage_null(500, 30, seed=0)
    generator = np.random.default_rng(9)
    held = 0
    for _ in range(1000):
        shares = generator.multinomial(500, [1 / 30] * 30) / 500
        apart = np.abs(shares[:, None] - shares[None, :]).sum() / (2 * 30 * shares.sum())
        held += null.gini.low <= apart <= null.gini.high
    assert 0.92 <= held / 1000 <= 0.98
    usage_null.cache_clear()
    assert usage_null(500, 30, seed=0) == null
    assert usage_null(500, 30, seed=1) != null


def test_gini_is_half_the_relative_mean_difference():
    e = Embeddings(worlds.clusters(300, 12, 5, 0.5)[0])
    usage = measure_usage(fit_prototypes(e, 9))
    slow = sum(abs(int(a) - int(b)) for a in usage.sizes for b in usage.sizes)
    assert usage.gini == pytest.approx(slow / (2 * 9 * 300), rel=1e-6)


def test_far_prototypes_are_dead_and_counted_beside_what_is_expected():
    x, group = worlds.clusters(2000, 32, 10, 0.5)
    alive = [x[group == g].mean(0).tolist() for g in range(10)]
    away = (-x.mean(0)).tolist()
    e = Embeddings(x)
    usage = measure_usage(prototypes_from_vectors(e, Embeddings([*alive, away, away]).vectors))
    assert (usage.used, usage.dead) == (10, 2)
    assert usage.null.dead < 1e-60


def test_one_prototype_and_one_sample_have_a_null_without_nan():
    for count, k in ((1, 1), (1, 5), (7, 1), (1, 2)):
        null = usage_null(count, k, seed=0)
        assert null.dead == k - 1 if count == 1 else null.dead == 0
        assert null.dead_sd == pytest.approx(0, abs=1e-7)
        assert null.perplexity.value == pytest.approx(1)
        assert 0 <= null.gini.low <= null.gini.high < 1
