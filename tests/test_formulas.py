"""Each formula against a slow reference written from its definition, and by hand."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy

from nemd_toolkit import formulas
from nemd_toolkit.errors import InputError
from nemd_toolkit.sphere import to_sphere

seeds = st.integers(0, 10**6)


def unit(n, d, seed):
    g = torch.Generator().manual_seed(seed)
    return to_sphere(torch.randn(n, d, generator=g, dtype=torch.float64))


def softmax(row, temperature):
    e = [math.exp(v / temperature) for v in row]
    return [v / sum(e) for v in e]


@given(seed=seeds, n=st.integers(2, 12), d=st.integers(2, 16), t=st.floats(0.5, 4))
def test_uniform_is_log_mean_over_distinct_pairs(seed, n, d, t):
    x = unit(n, d, seed)
    pairs = [(i, j) for i in range(n) for j in range(n) if i != j]
    mean = sum(math.exp(-t * float((x[i] - x[j]).pow(2).sum())) for i, j in pairs) / len(pairs)
    assert float(formulas.uniform(x, t=t)) == pytest.approx(math.log(mean), rel=1e-6)
    assert float(formulas.p_uniform(x, t=t)) == pytest.approx(mean, rel=1e-9)


@given(seed=seeds, n=st.integers(1, 12), d=st.integers(2, 16), power=st.floats(0.5, 4))
def test_align_is_the_mean_power_of_distances(seed, n, d, power):
    x, y = unit(n, d, seed), unit(n, d, seed + 1)
    want = np.mean([math.dist(a, b) ** power for a, b in zip(x.tolist(), y.tolist(), strict=True)])
    assert float(formulas.align(x, y, power=power)) == pytest.approx(want, rel=1e-9)
    assert float(formulas.p_align(x, y, s=power)) == pytest.approx(want, rel=1e-9)


@given(seed=seeds, k=st.integers(2, 8), d=st.integers(2, 10), temperature=st.floats(0.05, 2))
def test_p_corr_is_the_posters_sum_over_ordered_distinct_prototypes(seed, k, d, temperature):
    c = unit(k, d, seed)
    s = [softmax(row, temperature) for row in c.tolist()]
    pairs = [(p, q) for p in range(k) for q in range(k) if p != q]
    # Σ c_p log(c_q ⊙ c_p⁻¹), coordinate by coordinate
    total = sum(a * math.log(b / a) for p, q in pairs for a, b in zip(s[p], s[q], strict=True))
    got = float(formulas.p_corr(c, temperature=temperature))
    assert got == pytest.approx(total / len(pairs), rel=1e-6, abs=1e-12)
    assert got <= 1e-12  # minus a Kullback–Leibler divergence


@pytest.mark.parametrize("jitter", [1e-2, 1e-4, 1e-6])
def test_terms_over_pairs_keep_their_digits_where_rows_are_nearly_equal(jitter):
    c = to_sphere(torch.ones(6, 5).double() + jitter * unit(6, 5, 0))
    shares = [softmax(row, 0.1) for row in c.tolist()]
    pairs = [(p, q) for p in range(6) for q in range(6) if p != q]
    # Σ a log(b/a) without the difference of nearly equal sums: Σ (a − b) + a log(b/a), all negative
    want = sum(
        a * (math.log1p((b - a) / a) - (b - a) / a)
        for p, q in pairs
        for a, b in zip(shares[p], shares[q], strict=True)
    ) / len(pairs)
    # what rounding of the shares themselves leaves of each term
    rounding = 1e-15 * jitter
    assert float(formulas.p_corr(c)) == pytest.approx(want, rel=1e-6, abs=rounding)
    squares = [float((c[p] - c[q]).square().sum()) for p, q in pairs]
    want = math.log1p(sum(math.expm1(-2 * s) for s in squares) / len(pairs))
    assert float(formulas.uniform(c)) == pytest.approx(want, rel=1e-6, abs=0)
    assert float(formulas.uniform(torch.ones(5, 3))) == 0


def test_p_corr_by_hand():
    # softmax of (1, 0) is (e, 1)/(e+1); KL of it to its mirror image is (e−1)/(e+1)
    want = -(math.e - 1) / (math.e + 1)
    assert float(formulas.p_corr(torch.eye(2), temperature=1.0)) == pytest.approx(want, rel=1e-6)


@given(seed=seeds, k=st.integers(2, 8), d=st.integers(2, 10), temperature=st.floats(0.05, 2))
def test_jensen_shannon_is_the_entropy_of_the_mean_less_the_mean_entropy(seed, k, d, temperature):
    c = unit(k, d, seed)
    shares = np.array([softmax(row, temperature) for row in c.tolist()])
    want = np.mean([entropy(row) for row in shares]) - entropy(shares.mean(0))
    got = float(formulas.p_jensen_shannon(c, temperature=temperature))
    assert got == pytest.approx(want, rel=1e-6, abs=1e-12)
    assert -math.log(min(k, d)) - 1e-9 <= got <= 1e-12
    # the literal term is never smaller in size: KL is convex in its second argument
    assert float(formulas.p_corr(c, temperature=temperature)) <= got * k / (k - 1) + 1e-9


@given(seed=seeds, k=st.integers(3, 12), d=st.integers(2, 12))
def test_decorrelation_is_the_mean_squared_correlation_of_coordinates(seed, k, d):
    c = unit(k, d, seed)
    found = np.corrcoef(c.numpy().T)
    want = np.mean(found[~np.eye(d, dtype=bool)] ** 2)
    assert float(formulas.p_decorrelation(c)) == pytest.approx(want, rel=1e-6)


def test_decorrelation_where_coordinates_do_not_vary():
    assert float(formulas.p_decorrelation(torch.ones(4, 3))) == 0
    assert float(formulas.p_decorrelation(torch.tensor([[1.0], [-1.0]]))) == 0
    line = torch.tensor([[1.0, 1.0, 0.0], [-1.0, -1.0, 0.0]])  # one pair of three moves together
    assert float(formulas.p_decorrelation(line)) == pytest.approx(1 / 3)


@given(seed=seeds, n=st.integers(1, 8), r=st.integers(1, 16), tau=st.floats(0.05, 1))
def test_info_nce_has_one_positive_and_r_negatives(seed, n, r, tau):
    q, k, queue = unit(n, 6, seed), unit(n, 6, seed + 1), unit(r, 6, seed + 2)
    want = 0.0
    for i in range(n):
        positive = math.exp(float(q[i] @ k[i]) / tau)
        negatives = sum(math.exp(float(q[i] @ row) / tau) for row in queue)
        want -= math.log(positive / (positive + negatives)) / n
    got = float(formulas.info_nce(q, k, queue, temperature=tau))
    assert got == pytest.approx(want, rel=1e-9)


@given(seed=seeds, n=st.integers(1, 10), k=st.integers(2, 9))
def test_proto_nce_with_all_negatives_is_the_posters_term(seed, n, k):
    v, c = unit(n, 5, seed), unit(k, 5, seed + 1)
    g = torch.Generator().manual_seed(seed)
    phi = 0.1 + torch.rand(k, generator=g, dtype=torch.float64)
    s = torch.randint(0, k, (n,), generator=g)
    want = 0.0
    for i in range(n):
        logits = [float(v[i] @ c[j]) / float(phi[j]) for j in range(k)]
        want -= (logits[int(s[i])] - math.log(sum(map(math.exp, logits)))) / n
    got = float(formulas.proto_nce(v, c, phi, s, negatives=k))
    assert got == pytest.approx(want, rel=1e-9)


def test_proto_nce_draws_only_as_many_negatives_and_keeps_the_batchs_own():
    v, c = unit(6, 5, 0), unit(40, 5, 1)
    s = torch.tensor([3, 3, 7, 7, 7, 9])
    own = formulas.proto_nce(v, c, torch.ones(40).double(), s, negatives=0)
    columns = [3, 7, 9]
    logits = v @ c[columns].T
    label = torch.tensor([0, 0, 1, 1, 1, 2])
    assert float(own) == pytest.approx(float(torch.nn.functional.cross_entropy(logits, label)))
    one = formulas.proto_nce(v, c, torch.ones(40).double(), s, negatives=5)
    assert float(one) > float(own)  # more columns, smaller probability


def test_proto_nce_is_repeatable_by_generator():
    v, c, phi, s = unit(6, 5, 0), unit(40, 5, 1), torch.ones(40).double(), torch.arange(6)
    first, second = (
        formulas.proto_nce(v, c, phi, s, negatives=9, generator=torch.Generator().manual_seed(4))
        for _ in range(2)
    )
    assert float(first) == float(second)


def concentration_reference(squared, assignment, k):
    """PCL main_pcl.py's loop, written anew: root, mean over members, log, fill, clip."""
    density = np.zeros(k)
    for c in range(k):
        members = squared[assignment == c]
        if len(members) > 1:
            density[c] = np.sqrt(members).mean() / np.log(len(members) + 10)
    for c in range(k):
        if (assignment == c).sum() <= 1:
            density[c] = density.max()
    return np.clip(density, np.percentile(density, 10), np.percentile(density, 90))


@given(seed=seeds, n=st.integers(2, 60), k=st.integers(1, 12))
def test_concentration_follows_pcl_with_its_clipping(seed, n, k):
    rng = np.random.default_rng(seed)
    squared, assignment = rng.random(n) * 3, rng.integers(0, k, n)
    got = formulas.concentration(torch.tensor(squared), torch.tensor(assignment), k)
    want = concentration_reference(squared, assignment, k)
    np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-12)
    if want.min() > 0:
        phi = formulas.rescale_concentration(got, temperature=0.2)
        np.testing.assert_allclose(phi, 0.2 * want / want.mean(), rtol=1e-9)


def test_phi_is_not_defined_where_all_members_coincide():
    density = formulas.concentration(torch.zeros(6), torch.tensor([0, 0, 0, 1, 1, 1]), 2)
    assert density.tolist() == [0, 0]
    with pytest.raises(InputError, match="total collapse"):
        formulas.rescale_concentration(density)


def test_phi_is_not_defined_where_some_members_coincide_after_clipping():
    with pytest.raises(InputError, match="2 of 4"):
        formulas.rescale_concentration(torch.tensor([0.0, 0.0, 1.0, 1.0]))


def test_phi_hides_a_shrinking_that_the_concentration_shows():
    squared, assignment = torch.rand(40).double(), torch.arange(40) % 4
    wide = formulas.concentration(squared, assignment, 4)
    tight = formulas.concentration(1e-12 * squared, assignment, 4)
    torch.testing.assert_close(
        formulas.rescale_concentration(wide), formulas.rescale_concentration(tight)
    )
    assert float(tight.max()) < 1e-5 * float(wide.max())


@pytest.mark.parametrize(
    "term",
    ["align", "uniform", "corr", "jensen_shannon", "decorrelation", "proto_nce", "info_nce"],
)
def test_every_term_sends_a_gradient_into_the_encoder(term):
    torch.manual_seed(0)
    encoder = torch.nn.Linear(7, 5).double()
    images = torch.randn(12, 7, dtype=torch.float64)
    assignment = torch.arange(12) % 4
    v = torch.nn.functional.normalize(encoder(images), dim=1)
    key = unit(12, 5, 3)
    own, _ = formulas.batch_prototypes(v, assignment)
    other, _ = formulas.batch_prototypes(key, assignment)
    loss = {
        "align": lambda: formulas.p_align(own, other),
        "uniform": lambda: formulas.p_uniform(own),
        "corr": lambda: formulas.p_corr(own),
        "jensen_shannon": lambda: formulas.p_jensen_shannon(own),
        "decorrelation": lambda: formulas.p_decorrelation(own),
        "proto_nce": lambda: formulas.proto_nce(
            v, unit(4, 5, 9), torch.full((4,), 0.2).double(), assignment, negatives=2
        ),
        "info_nce": lambda: formulas.info_nce(v, key, unit(20, 5, 8)),
    }[term]()
    loss.backward()
    assert encoder.weight.grad is not None
    assert float(encoder.weight.grad.abs().max()) > 1e-6


def test_batch_prototypes_are_mean_directions():
    v, assignment = (
        unit(30, 6, 0),
        torch.randint(0, 5, (30,), generator=torch.Generator().manual_seed(1)),
    )
    got, which = formulas.batch_prototypes(v, assignment)
    for row, p in zip(got, which.tolist(), strict=True):
        mean = v[assignment == p].mean(0)
        torch.testing.assert_close(row, mean / mean.norm())


@pytest.mark.parametrize(
    "name", ["uniform", "p_uniform", "p_corr", "p_jensen_shannon", "p_decorrelation"]
)
def test_terms_over_pairs_need_two_rows(name):
    with pytest.raises(InputError, match="at least 2 rows, got 1"):
        getattr(formulas, name)(torch.ones(1, 3))
