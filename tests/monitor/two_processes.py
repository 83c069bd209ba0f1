"""One of two gloo processes: the first sees a collapse, the second nothing wrong."""

import sys

import torch
import torch.distributed as dist

from nemd_toolkit.errors import Collapsed
from nemd_toolkit.monitor import Monitor
from tests import worlds


def outcome(rank: int, on_finding: str) -> str:
    """Say at which step this process stopped, and how."""
    said = []
    monitor = Monitor(every=2, on_finding=on_finding, log=None, say=said.append, window=300)
    healthy, ill = worlds.noise(300, 16), worlds.equal(300, 16)
    words = "never"
    for step in range(1, 11):
        try:
            monitor.step(healthy if rank or step == 1 else ill)
        except Collapsed:
            words = f"raised at {step}"
            break
        if monitor.should_stop:
            words = f"stopped at {step}"
            break
    measured = "measures nothing" if monitor.last is None else " ".join(said).split()[1]
    return f"{words}, {measured}"


if __name__ == "__main__":
    torch.set_num_threads(1)
    rank, place = int(sys.argv[1]), sys.argv[2]
    dist.init_process_group("gloo", init_method=f"file://{place}", rank=rank, world_size=2)
    sys.stdout.write("; ".join(outcome(rank, way) for way in ("warn", "stop", "raise")))
    dist.destroy_process_group()
