"""Compiled kernels where nothing can be kept on disk."""

import subprocess
import sys

from nemd_toolkit.transport.kernels import compiling
from nemd_toolkit.transport.kernels.plan import distance


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


def test_a_change_in_any_kernel_gives_the_compiled_code_another_name(tmp_path, monkeypatch):
    (tmp_path / "a.py").write_text("x = 1")
    (tmp_path / "b.py").write_text("y = 1")
    monkeypatch.setattr(compiling, "__file__", str(tmp_path / "compiling.py"))
    before = compiling._sources()
    assert compiling._sources() == before
    (tmp_path / "b.py").write_text("y = 2")
    assert compiling._sources() != before
    assert compiling._VERSION in distance.py_func.__qualname__
