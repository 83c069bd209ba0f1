"""Damaged and hostile checkpoints through `inspect` and `analyze`: each a result or one sentence.

    python benchmarks/checkpoint_fuzz.py --seed 1 --files 100000 --workers 2

The corpus is made anew from the seed: torch.save (zip and legacy, pickle protocols 1 to 5),
TorchScript, torch.export, safetensors, encoders of other kinds (CMC, AMDIM, ViT: built, not run,
for they are slow on images), and pickles that ask for os.system in several ways. Each
file is cut, flipped, overwritten or spliced one to four times; half of the zip files are damaged
inside data.pkl under right checksums. Every worker may take 4 GB; nothing may run: an audit hook
notes each start of a process, each connection, each library that is loaded and each class that a
pickle looks up. A worker first reads and analyses whole files of every kind, which also compiles
what an analysis compiles once; libraries and classes that those asked for are no event.
reports/checkpoints/fuzz.json, schema nemd-fuzz/1: {"schema", "seed", "files", "kinds": {kind:
{"files", "read", "refused"}}, "crashes": [{"kind", "index", "error"}], "slow": files over 10 s
of the processor, "slowest_seconds", "executed": events of the hook, "undamaged": those of the
whole files, "peak_gigabytes", "seconds", "date", "commit"}.
"""

import argparse
import json
import os
import resource
import sys
import tempfile
import time
import warnings
import zipfile
from collections import Counter
from datetime import UTC, datetime
from functools import partial
from io import BytesIO
from multiprocessing import get_context
from pathlib import Path
from typing import Any

os.environ.update({f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMBA")})
sys.path.append(str(Path(__file__).parents[1]))  # for `tests`

import numpy as np
import safetensors.torch
import torch
from transport import commit

import nemd_toolkit as nt
from nemd_toolkit.checkpoints import read_checkpoint
from nemd_toolkit.encoders import build_resnet
from nemd_toolkit.errors import NemdError
from nemd_toolkit.files import write_text
from nemd_toolkit.report.inspection import inspection
from nemd_toolkit.report.inspection_text import inspection_lines
from tests.encoders.authors import Amdim, Cmc, CmcAlexNet, CmcResNet
from tests.layouts.framework_modules import under, vit
from tests.test_hostile_checkpoints import archive, legacy, mutated

SCHEMA = "nemd-fuzz/1"
OUT = Path("reports/checkpoints/fuzz.json")
_LONGEST = 10.0  # seconds
_MEMORY = 4 << 30  # bytes a worker may take beyond what it has
_BATCH = 200
_BUILT = "built"
Event = tuple[str, str]  # its name and arguments
_WATCHED = (
    "os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "subprocess.Popen",
    "socket.connect", "pickle.find_class", "ctypes.dlopen",
)  # fmt: skip
_HOSTILE = (
    b"\x80\x02cposix\nsystem\nX\x08\x00\x00\x00touch ran\x85R.",
    b"cposix\nsystem\n(S'touch ran'\ntR.",
    b"(S'touch ran'\niposix\nsystem\n.",
    b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x09touch ran\x85R.",
    b"\x80\x02}X\x01\x00\x00\x00a]cbuiltins\neval\nX\x0a\x00\x00\x00__import__\x85Ras.",
    b"\x80\x02ctorch\nload\nX\x01\x00\x00\x00x\x85R}X\x01\x00\x00\x00yK\x01sb.",
)


def corpus(folder: Path, seed: int) -> dict[str, bytes]:
    """Whole files of every kind, by name."""
    torch.manual_seed(seed)
    net = build_resnet("resnet8-tiny", channels=1, dim=4)
    small = {key: value[:2].clone() for key, value in net.state_dict().items() if value.ndim}
    state = {f"module.encoder_q.{key}": value for key, value in small.items()}
    data = {"epoch": 3, "state_dict": state, "opt": argparse.Namespace(lr=0.1), "best": 1.5}
    found = {}
    for protocol in (1, 2, 3, 4, 5):
        for zipped in (True, False):
            torch.save(data, folder / "f", pickle_protocol=protocol,
                       _use_new_zipfile_serialization=zipped)  # fmt: skip
            kind = "zip" if zipped else "legacy"
            found[f"{kind} {protocol}"] = (folder / "f").read_bytes()
    safetensors.torch.save_file(state, folder / "f")
    found["safetensors"] = (folder / "f").read_bytes()
    torch.save(net, folder / "f")
    found["module"] = (folder / "f").read_bytes()
    head = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.ReLU()).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(head), folder / "f")
        found["torchscript"] = (folder / "f").read_bytes()
        torch.export.save(torch.export.export(head, (torch.zeros(2, 4),)), folder / "f.pt2")
        found["torch.export"] = (folder / "f.pt2").read_bytes()
    torch.save({"vectors": torch.rand(40, 4), "labels": torch.arange(40) % 3}, folder / "f")
    found["embeddings"] = (folder / "f").read_bytes()
    for name, other in others().items():
        torch.save(under(other, "encoder." if name != "vit" else ""), folder / "f")
        found[f"{_BUILT} {name}"] = (folder / "f").read_bytes()
    for number, program in enumerate(_HOSTILE):
        found[f"hostile zip {number}"] = archive(folder / "f", program).read_bytes()
        found[f"hostile legacy {number}"] = legacy(folder / "f", program).read_bytes()
        found[f"hostile pickle {number}"] = program
    return found


def others() -> dict[str, dict[str, torch.Tensor]]:
    """Small encoders that are no ResNets of torchvision."""
    small = {"stem": 4, "base": 2}
    return {
        "cmc": Cmc(lambda channels: CmcResNet(channels, **small)).state_dict(),
        "cmc alexnet": Cmc(lambda channels: CmcAlexNet(channels, widths=(2,) * 5)).state_dict(),
        "amdim": Amdim(32, width=2, rkhs=8, depth=1).state_dict(),
        "vit": vit(0, dim=64, side=32, depth=1),
    }


def within_checksums(content: bytes, rng: np.random.Generator) -> bytes | None:
    """Damage data.pkl alone, in an archive whose checksums are right again; None for others."""
    if not content.startswith(b"PK"):
        return None
    with zipfile.ZipFile(BytesIO(content)) as file:
        entries = {name: file.read(name) for name in file.namelist()}
    target = BytesIO()
    with zipfile.ZipFile(target, "w") as file:
        for name, data in entries.items():
            file.writestr(
                name, mutated(data, rng) if name.endswith(("data.pkl", ".json")) else data
            )
    return target.getvalue()


class Watch:
    """Events of this process; `usual` are those that undamaged files have too."""

    def __init__(self) -> None:
        self.events: set[Event] = set()
        self.usual: set[Event] = set()
        sys.addaudithook(self._note)

    def _note(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in _WATCHED:
            self.events.add((event, repr(arguments)[:200]))

    def taken(self) -> set[Event]:
        """Events since the last call, beyond the usual ones."""
        found, self.events = self.events - self.usual, set()
        return found


_WATCH: list[Watch] = []  # of this worker; a hook cannot be taken away again


def start_worker(files: dict[str, bytes]) -> None:
    """Read whole files, which compiles, then limit memory and watch."""
    torch.set_num_threads(1)
    watch = Watch()
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(2):
            for kind, content in files.items():
                if not kind.startswith("hostile"):
                    path = Path(folder) / "checkpoint.pt"
                    path.write_bytes(content)
                    answer(path, analysed=not kind.startswith(_BUILT))
    watch.usual = watch.taken()
    _WATCH.append(watch)
    _bounded()


def one_batch(start: int, *, seed: int, files: dict[str, bytes]) -> list[dict[str, Any]]:
    """Read _BATCH damaged files, and say what came of each."""
    watch = _WATCH[0]
    found = []
    names = sorted(files)
    with tempfile.TemporaryDirectory() as folder:
        for index in range(start, start + _BATCH):
            rng = np.random.default_rng([seed, index])
            kind = names[index % len(names)]
            inner = within_checksums(files[kind], rng) if index % 2 else None
            path = Path(folder) / "checkpoint.pt"
            path.write_bytes(inner or mutated(files[kind], rng))
            watch.taken()
            begin = time.process_time()
            said = answer(path, analysed=not kind.startswith(_BUILT))
            found.append({
                "kind": kind.rstrip("0123456789 "), "index": index, **said,
                "seconds": time.process_time() - begin, "executed": sorted(watch.taken()),
                "usual": sorted(watch.usual),
                "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
            })  # fmt: skip
    return found


def answer(path: Path, *, analysed: bool = True) -> dict[str, Any]:
    """Inspect and analyse one file: read, refused in a sentence, or a crash."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            inspection_lines(inspection(read_checkpoint(path), path.stat().st_size))
    except NemdError as error:
        said = "refused" if "\n" not in str(error) else "crash"
    except BaseException as error:  # noqa: BLE001  (what this benchmark looks for)
        return {"said": "crash", "error": f"inspect: {type(error).__name__}: {error}"[:300]}
    else:
        said = "read"
    if not analysed:
        return {"said": said}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            nt.analyze(path, "digits" if said == "read" else None, 3)
    except NemdError:
        pass
    except BaseException as error:  # noqa: BLE001
        return {"said": "crash", "error": f"analyze: {type(error).__name__}: {error}"[:300]}
    return {"said": said}


def summed_up(records: list[dict[str, Any]], seed: int, seconds: float) -> dict[str, Any]:
    """Give the document."""
    kinds = sorted({record["kind"] for record in records})
    counts = Counter((record["kind"], record["said"]) for record in records)
    return {
        "schema": SCHEMA,
        "seed": seed,
        "files": len(records),
        "kinds": {
            kind: {word: counts[kind, word] for word in ("read", "refused", "crash")}
            for kind in kinds
        },
        "crashes": [r for r in records if r["said"] == "crash"][:20],
        "slow": sum(record["seconds"] > _LONGEST for record in records),
        "slowest_seconds": max(record["seconds"] for record in records),
        "executed": sorted({event for record in records for event in record["executed"]}),
        "undamaged": sorted({name for record in records for name, _ in record["usual"]}),
        "peak_gigabytes": max(record["peak"] for record in records) / 1e6,
        "seconds": seconds,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
    }


def main() -> None:
    """Run and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        files = corpus(Path(folder), options.seed)
    work = partial(one_batch, seed=options.seed, files=files)
    records: list[dict[str, Any]] = []
    starts = range(0, options.files, _BATCH)
    with get_context("spawn").Pool(options.workers, start_worker, (files,)) as pool:
        for done, batch in enumerate(pool.imap_unordered(work, starts), 1):
            records += batch
            if done % 25 == 0:
                print(f"{done * _BATCH:,} files", file=sys.stderr, flush=True)
    document = summed_up(records, options.seed, time.perf_counter() - begin)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_text(options.out, json.dumps(document, indent=1))
    print(json.dumps({k: v for k, v in document.items() if k != "crashes"}, indent=1))
    for crash in document["crashes"]:
        print(crash)


def _bounded() -> None:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + _MEMORY, used + _MEMORY))


if __name__ == "__main__":
    main()
