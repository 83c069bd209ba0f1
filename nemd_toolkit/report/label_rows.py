"""The numbers that need labels as rows; none where there are no labels."""

from nemd_toolkit.measures import Measures
from nemd_toolkit.measures.label_quality import NEIGHBOURS, LabelQuality
from nemd_toolkit.measures.neural_collapse import NeuralCollapse
from nemd_toolkit.report.number_rows import NumberRow
from nemd_toolkit.report.wording import interval, number, percent

__all__ = ["label_numbers", "label_reasons"]


def label_numbers(m: Measures) -> list[NumberRow]:
    """Give accuracies and neural collapse; an empty list without labels."""
    found: list[tuple[str, str, str]] = []
    if m.quality is not None:
        found += _quality(m.quality)
    if m.neural_collapse is not None:
        found += _neural_collapse(m.neural_collapse)
    return [NumberRow(name=name, meaning=meaning, values=(v,)) for name, meaning, v in found]


def label_reasons(m: Measures) -> list[str]:
    """Say why numbers that need labels are missing; nothing of NC3 and NC4, which need a head."""
    quality, collapse = m.quality, m.neural_collapse
    reasons = {}
    if quality is not None:
        reasons["Accuracies"] = quality.missing
        reasons["Linear probe"] = None if quality.missing else quality.probe_missing
    if collapse is not None:
        reasons["Neural collapse"] = collapse.missing
    return [f"{name}: {reason}." for name, reason in reasons.items() if reason]


def _quality(q: LabelQuality) -> tuple[tuple[str, str, str], ...]:
    small = f" {q.small_classes:,} small classes are left out." if q.small_classes else ""
    return (
        (
            "kNN accuracy",
            f"Share of {q.test_rows:,} held-out samples that their {NEIGHBOURS} nearest of "
            f"{q.train_rows:,} others name rightly. The encoder may have seen them in training.",
            interval(q.knn, 3),
        ),
        (
            "linear probe accuracy",
            f"The same by logistic regression on {q.probe_train_rows:,} samples.",
            interval(q.linear_probe, 3),
        ),
        (
            "chance",
            f"What always answering the largest of {q.classes:,} classes scores.{small}",
            percent(q.chance),
        ),
    )


def _neural_collapse(c: NeuralCollapse) -> tuple[tuple[str, str, str], ...]:
    lone = f", {c.lone_classes:,} of one row left out" if c.lone_classes else ""
    return (
        (
            "NC1",
            f"Papyan et al.: tr(Σ_B† Σ_W)/K, spread within classes against between them; 0 = every "
            f"class a point. K={c.classes:,} classes{lone}.",
            number(c.nc1),
        ),
        ("NC1, quotient", "tr Σ_W / tr Σ_B, without directions.", number(c.nc1_quotient)),
        (
            "NC2, norms",
            "Variation of the distances of class means from their centre; 0 = all as far.",
            number(c.nc2_norms),
        ),
        (
            "NC2, angles",
            "Mean offset of their cosines from −1/(K−1), and the cosines' standard deviation; both "
            "0 = a simplex.",
            f"{number(c.nc2_angles_offset)}, {number(c.nc2_angles_std)}",
        ),
        (
            "CDNV",
            "Galanti et al.: variance of two classes over the squared distance of their means, "
            "mean over pairs; 0 = points.",
            number(c.cdnv),
        ),
        ("CDNV, largest", "Of the two classes told apart worst.", number(c.cdnv_largest)),
        *_head(c),
    )


def _head(c: NeuralCollapse) -> tuple[tuple[str, str, str], ...]:
    """NC3 and NC4; nothing without a classifier."""
    if c.nc3 is None:
        return ()
    return (
        (
            "NC3",
            "Papyan et al.: squared distance of the classifier's weights from the centred class "
            "means, each over its norm, on rows as they came; 0 = the same, 2 = unrelated, at most "
            "4. Rows of weights are taken to be the labels in sorted order.",
            number(c.nc3),
        ),
        (
            "NC4",
            "Share of rows whose class by the classifier is that of the nearest class mean; 1 at "
            "neural collapse.",
            percent(c.nc4),
        ),
    )
