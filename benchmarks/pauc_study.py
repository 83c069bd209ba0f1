"""The study: whether PAUC lowers NEMD below PCL's, and whether accuracy follows.

    python benchmarks/pauc_study.py choose --data digits     # seeds 100…: which weights
    python benchmarks/pauc_study.py test --data digits       # seeds 0…: the table, ablations

Settings are chosen on seeds and tables of their own (`choose`), then tested on others (`test`), so
that what is reported was not looked for. Each writes `reports/pauc_study/DATA/STAGE/`: one page,
CSV and JSON by `pauc_train.compare`; what is there is not trained again.
"""

import argparse
import itertools
from pathlib import Path

import torch

from pauc_train.compare import Entry, compare

CHOSEN = {"alpha": 0.1, "beta": 3.0, "gamma": 0.01}  # what ships; `choose` is to confirm it
FIRST_TO_CHOOSE, FIRST_TO_TEST = 100, 0


def candidates() -> list[Entry]:
    """Weights, one at a time around none and around what ships, then temperatures of p-corr."""
    none = {"alpha": 0.0, "beta": 0.0, "gamma": 0.0}
    entries = [Entry(name="pclv2", method="pclv2"), Entry(name="mocov2", method="mocov2")]
    grid = {"alpha": (0.01, 0.1, 1.0), "beta": (0.3, 1.0, 3.0, 10.0), "gamma": (0.01, 0.1, 1.0)}
    for name, values in grid.items():
        entries += [_pauc(f"{name} {value:g}", {**none, name: value}) for value in values]
    for alpha, beta, gamma in itertools.product((0.0, 0.1), (1.0, 3.0), (0.0, 0.01)):
        weights = {"alpha": alpha, "beta": beta, "gamma": gamma}
        entries.append(_pauc(f"{alpha:g} {beta:g} {gamma:g}", weights))
    entries += [
        _pauc(f"corr T {t:g}", {**none, "gamma": 0.1, "corr_temperature": t}) for t in (0.2, 1.0)
    ]
    entries += [_pauc(f"t {t:g}", {**CHOSEN, "uniform_t": t}) for t in (1.0, 3.0)]
    return entries


def tests() -> list[Entry]:
    """The questions: MoCo to PCL, ProtoNCE's weight, PAUC, and PAUC without each of its terms."""
    entries = [Entry(name="mocov2", method="mocov2")]
    entries += [
        Entry(name=f"proto x{w:g}", method="pclv2", overrides={"prototype_weight": w})
        for w in (0.3, 1.0, 3.0, 10.0)
    ]
    entries.append(_pauc("pauc", CHOSEN))
    for name in CHOSEN:
        entries.append(_pauc(f"pauc without {name}", {**CHOSEN, name: 0.0}))
    return [*entries, _pauc("corr alone, literal", {"alpha": 0.0, "beta": 0.0, "gamma": 1.0})]


def _pauc(name: str, weights: dict[str, float]) -> Entry:
    return Entry(name=name, method="pauc", overrides=weights)


def main() -> None:
    """Parse and run one stage."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("stage", choices=("choose", "test"))
    parser.add_argument("--data", default="digits")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--layer", default="projector")
    parser.add_argument("--out", type=Path, default=Path("reports/pauc_study"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    chosen = options.stage == "choose"
    first = FIRST_TO_CHOOSE if chosen else FIRST_TO_TEST
    page = compare(
        candidates() if chosen else tests(),
        options.data,
        seeds=range(first, first + options.seeds),
        out=options.out / options.data.partition(":")[0] / options.stage,
        epochs=options.epochs,
        layer=options.layer,
        workers=options.workers,
        say=lambda text: print(text, flush=True),
    )
    print(page)


if __name__ == "__main__":
    main()
