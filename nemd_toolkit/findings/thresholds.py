"""Every number a finding compares with, and why it is that number.

Ours: set from worlds with a known answer (tests/worlds.py), from checkpoints made to collapse and
from the rounding of float16. On fresh worlds (reports/validity): 1,200 of 1,200 healthy called so
(false alarms below 0.3 % at 95 %), and beyond the stated severity 1,600 of 1,600 collapsed ones
named, and 400 of 400 of noise or of too few samples inconclusive.
"""

from dataclasses import dataclass

__all__ = ["Thresholds"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """Limits of all findings; issue and warning levels apart."""

    # NEMD001: variance around the mean. A constant row stored in float16 keeps about 1e-7: below
    # `rounding_variance` nothing else can be measured. Training on alignment alone, fast, left
    # 6e-4…1.1e-3, a learning rate of 10 left 1.2e-6; the slower of it .014….021.
    rounding_variance: float = 1e-6
    total_variance_issue: float = 2e-3  # mean cosine 0.998
    total_variance_warning: float = 2e-2
    # NEMD002: score. 0.75 is a within-prototype noise of a quarter of the distance between
    # prototypes (resultant 0.97); 0.7 is 0.31 of it (0.95). An issue lies above the first, and its
    # interval above the second: few prototypes have wide ones.
    coagulation_issue: float = 0.75
    coagulation_warning: float = 0.70
    # Nearest over mean distance of 16 members. Where tight groups outnumber prototypes it was
    # .03….27, in healthy worlds at least .67, in digits' embeddings of all kinds .35 and more.
    clumping: float = 0.33
    # A rise from the second largest K to the largest that tells of more groups than prototypes: a
    # third of the prototypes cost a score of .82 some .10….18; it counts above the warning level.
    steep_rise: float = 0.10
    # Way of the excess from that of points with these axes and no groups to that of collapse.
    beyond_axes: float = 0.65
    # A rise of the score from the smallest to the largest K that is told: what d, K, N and n move
    # it by where there are prototypes enough.
    score_rise: float = 0.03
    # Prototypes a dimension beyond which wide groups crowd the sphere: at scores below .4 the
    # ladder is then up to .08 lower (reports/validity/invariance.json).
    crowded: float = 0.5
    crowded_score: float = 0.40
    # NEMD003: cosine distance of distinct prototypes (2410.14060, from memory), share repeated.
    duplicate_epsilon: float = 0.025
    duplicate_share: float = 0.10
    # NEMD004: share of all K prototypes that are empty beyond the number expected under equal
    # shares at this N. A tenth as for NEMD003: a prototype that is never used is as lost as one
    # that repeats another. Four standard deviations of the exact occupancy law: beyond chance even
    # over many clusterings. With fewer than ten samples a prototype, gamma-distributed shares of
    # shape 1/2 leave a fifth empty with none dead, so it stays a warning.
    dead_share_issue: float = 0.10
    dead_share_warning: float = 0.05
    dead_deviations: float = 4.0
    dead_members: float = 10.0
    # NEMD005: perplexity of the usage as a share of that of equal shares. An exponential long tail
    # from largest to smallest has 0.55 at a ratio of 100 and 0.71 at 25 for any K ≥ 20 (long-tailed
    # benchmarks use ratios of 10…256); k-means on balanced groups gave 0.76…1.0, pauc-train's own
    # prototypes on digits 0.89…0.96.
    evenness_issue: float = 0.55
    evenness_warning: float = 0.70
    # NEMD006: centred effective rank as a share of what uniform points of the same N and d have.
    # Below 3 the cloud is flat or a line, unless d itself is so small that 3 is half of it.
    rank_issue: float = 3.0
    rank_share_small: float = 0.50
    rank_share_issue: float = 0.05
    rank_share_warning: float = 0.15
    # NEMD007: share of squared length in the mean row. Structureless noise has 1/π = 0.32 after a
    # ReLU and 2/π = 0.64 as absolute values, so (nearly) non-negative rows are judged leniently.
    # Trained at temperature .03, MoCo has .58….61 and a probe as good as at .2.
    cone_issue: float = 0.75
    cone_warning: float = 0.50
    cone_negative_share: float = 0.05  # of the squared length: ReLU gives 0, SiLU and GELU little
    cone_issue_nonnegative: float = 0.90
    cone_warning_nonnegative: float = 0.75
    # NEMD008: score's low end. At a spread of 6, all but noise, the ladder's scores are -.003….011.
    structure_least: float = 0.02
    # NEMD009: with fewer than 4 prototypes the intervals are too wide to mean much; with fewer than
    # two fifths of them compared, the number speaks of the large prototypes only. At 5 and a half,
    # 8 of 1,200 healthy worlds with 5…17 prototypes were inconclusive.
    least_prototypes: int = 4
    least_compared: float = 0.4
    # NEMD010: share of rows that repeat another row exactly.
    duplicate_rows_issue: float = 0.50
    duplicate_rows_warning: float = 0.01
    # NEMD011: nats between a loss and ln K; a gap of g means that the right class is picked e^g
    # times as often as by guessing. Healthy runs of pauc-train pass 0.2 by their third epoch and
    # end 1.5…3 below ln K; three epochs, because the first ones of any run are near it.
    chance_gap_issue: float = 0.05
    chance_gap_warning: float = 0.20
    chance_epochs: int = 3
    # Against a baseline: how much worse a number without an interval may be. Another training seed
    # moves the rank by 3…5 % and kNN by 0.004 on digits (reports/LOG.md); the others are guesses.
    baseline_rank_share: float = 0.10  # of the baseline's effective rank share, relative
    baseline_mean_share: float = 0.05  # of the squared length in the mean row
    baseline_duplicates: float = 0.10  # share of prototypes, as NEMD003's limit
    baseline_entropy: float = 0.05  # of the usage entropy: a fifth of the perplexity at K=100
    baseline_knn: float = 0.02  # of the kNN accuracy
