"""Under torch.distributed the first process measures, and all act on it in the same step."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_all_processes_stop_or_raise_in_the_same_step(tmp_path):
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.monitor.two_processes"]
    running = [
        subprocess.Popen(
            [*command, str(rank), str(tmp_path / "meet")],
            env=environment,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    said = [process.communicate(timeout=120) for process in running]
    assert [process.returncode for process in running] == [0, 0], said
    assert said[0][0] == "never, NEMD001; stopped at 6, NEMD001; raised at 6, NEMD001"
    nothing = "measures nothing"
    assert said[1][0] == f"never, {nothing}; stopped at 6, {nothing}; raised at 6, {nothing}"
