"""Start copies of this process as torchrun would, without loading torch again in each."""

import os
import signal
import socket
import sys
import time
import traceback
import warnings
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import torch
from torch.distributed import TCPStore

from nemd_toolkit import placing, scratch, stages
from nemd_toolkit.cli import main
from nemd_toolkit.files import write_text
from nemd_toolkit.report import folder as report

PATIENCE = 100.0


def free_port():
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return free.getsockname()[1]


class Started:
    """`count` processes that each call `work`; their codes and what they said when they end."""

    def __init__(self, count, work, folder):
        port = free_port()
        # torchrun's store outlives its processes as well
        self._store = TCPStore(
            "localhost", port, is_master=True, wait_for_workers=False, timeout=timedelta(seconds=60)
        )
        self.folder, self.codes = folder, {}
        folder.mkdir(parents=True, exist_ok=True)
        common = {"WORLD_SIZE": str(count), "MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
        common |= {"TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RUN_ID": "test"}
        self.pids = []
        # None calls the store before all are there: a copy made while the store's thread looks a
        # name up would find the C library's lock on names held for good
        begin, all_there = os.pipe()
        for rank in range(count):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                pid = os.fork()
            if pid == 0:
                os.close(all_there)
                os.read(begin, 1)  # until the other end is closed everywhere
                self._run(rank, work, common | {"RANK": str(rank), "LOCAL_RANK": str(rank)})
            self.pids.append(pid)
        os.close(all_there)
        os.close(begin)

    def _run(self, rank, work, environment):
        code = 70
        try:
            os.environ |= environment
            for number, name in ((1, "out"), (2, "err")):
                os.dup2(os.open(self._said(name, rank), os.O_WRONLY | os.O_CREAT), number)
            sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
            work(rank)
            code = 0
        except SystemExit as ended:
            code = ended.code or 0
        except BaseException:  # noqa: BLE001  (nothing of the tests may run on in a copy)
            traceback.print_exc()
        finally:
            for stream in (sys.stdout, sys.stderr):
                with suppress(ValueError):
                    stream.flush()
            os._exit(code)

    def _said(self, name, rank):
        return self.folder / f"{name}-{rank}"

    def said(self, name, rank):
        return self._said(name, rank).read_text()

    def kill(self, rank, number=signal.SIGKILL):
        os.kill(self.pids[rank], number)

    def wait(self, patience=PATIENCE):
        """Codes of all, −9 for a process that was killed."""
        end = time.monotonic() + patience
        while len(self.codes) < len(self.pids):
            for rank, pid in enumerate(self.pids):
                if rank not in self.codes and (status := os.waitpid(pid, os.WNOHANG))[0]:
                    self.codes[rank] = os.waitstatus_to_exitcode(status[1])
            if time.monotonic() > end:
                for rank in set(range(len(self.pids))) - set(self.codes):
                    self.kill(rank)
                raise AssertionError(f"still at work after {patience} s: {self.codes}")
            time.sleep(0.01)
        return [self.codes[rank] for rank in range(len(self.pids))]


def _document_alone(analysis, out):
    write_text(out / "report.json", analysis.to_json())
    return out / "report.html"


def command(*words, folder=None):
    """Run `nemd` with every stage kept and all work shared, however little it is.

    Of the report only the document is written: pictures take longer than all that is asked here.
    """

    def run(rank):
        if folder is not None:
            os.chdir(folder(rank))
        stages.WORTH, placing._WORTH_SHARING = 0.0, 0
        scratch._ROWS = placing._GATHERED = 64
        report.write = _document_alone
        torch.set_num_threads(1)
        sys.argv = ["nemd", *map(str, words)]
        main()

    return run


def wait_for(found, running, patience=PATIENCE):
    """Look until there is something to be found, while all are at work."""
    end = time.monotonic() + patience
    while not (there := found()):
        assert time.monotonic() < end
        for pid in running.pids:
            assert os.waitpid(pid, os.WNOHANG) == (0, 0), running.said("err", 0)
        time.sleep(0.005)
    return there


def stage_files(out, name="*"):
    return sorted(Path(out).glob(f".stages/{name}.stage"))
