"""Compiled kernels where nothing can be kept on disk."""

import subprocess
import sys


def test_kernels_work_without_a_folder_to_cache_them_in():
    program = (
        "import numba.core.caching as caching\n"
        "caching.CacheImpl._locator_classes = []\n"
        "from nemd_toolkit.transport.kernels.plan import distance\n"
        "import numpy as np\n"
        "print(distance(np.array([[3.0, 0.0]]), np.array([[0.0, 4.0]]), 0, 0))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "5.0", done.stderr
