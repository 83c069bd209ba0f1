import numpy as np
import pytest
import torch

from nemd_toolkit.embeddings import Embeddings
from nemd_toolkit.errors import InputError


def test_rows_are_normalised_and_said_so():
    e = Embeddings(np.array([[3.0, 4.0], [0.0, 0.5]]))
    torch.testing.assert_close(e.vectors.norm(dim=1), torch.ones(2))
    assert e.norms == (0.5, 5.0)
    assert e.lengths.tolist() == [5.0, 0.5]
    assert not e.were_unit
    assert Embeddings(e.vectors).were_unit


@pytest.mark.parametrize(
    ("vectors", "words"),
    [
        (np.zeros((0, 3)), r"shape \(0, 3\)"),
        (np.ones((3, 1)), r"shape \(3, 1\)"),
        (np.ones(3), r"shape \(3,\)"),
        (np.ones((2, 2, 2)), r"shape \(2, 2, 2\)"),
        (np.ones((2, 2), complex), "real"),
        ([["a", "b"]], "numeric"),
        (None, "numeric"),
        ([[1.0, np.nan]], "NaN"),
        ([[1.0, 0.0], [0.0, 0.0]], "norm 0"),
        (np.full((2, 3), 1.7e308), "a length that float64 can hold"),
    ],
)
def test_what_is_no_embedding_is_refused_in_one_sentence(vectors, words):
    with pytest.raises(InputError, match=words) as caught:
        Embeddings(vectors)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("scale", [1e-310, 1e-200, 1e-30, 1e30, 1e200])
def test_lengths_whose_squares_vanish_or_overflow_are_kept(scale):
    rows = np.random.default_rng(0).normal(size=(20, 3))
    e = Embeddings(rows * scale)
    np.testing.assert_allclose(e.lengths, np.linalg.norm(rows, axis=1) * scale, rtol=1e-9)
    torch.testing.assert_close(e.vectors, Embeddings(rows).vectors)


@pytest.mark.parametrize("name", ["labels", "groups", "ids"])
def test_columns_need_one_entry_per_row(name):
    with pytest.raises(InputError, match=rf"{name}: expected one per row \(2\).*\(3,\)"):
        Embeddings(np.eye(2), **{name: [1, 2, 3]})


def test_other_labels_leave_the_rows_as_they_are_to_the_bit():
    e = Embeddings(np.random.default_rng(0).normal(size=(500, 32)))
    other = e.with_labels([b"x"] * 500)
    assert torch.equal(e.vectors, other.vectors)
    assert torch.equal(other.lengths, e.lengths)
    assert other.labels[0] == "x"


def test_labels_may_be_strings_but_not_fractions():
    assert Embeddings(np.eye(2), labels=["a", "b"]).labels.tolist() == ["a", "b"]
    with pytest.raises(InputError, match="integers or strings"):
        Embeddings(np.eye(2), labels=[0.5, 1.0])


def test_half_precision_and_integers_are_taken_as_float32():
    assert Embeddings(np.eye(3, dtype=np.float16)).vectors.dtype == torch.float32
    assert Embeddings(np.eye(3, dtype=np.int64)).vectors.dtype == torch.float32
