"""A sweep is taken over from a driver elsewhere that is paused, on a file system that keeps that driver's lock."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from helpers.stores import Run, begun, configure, quick, runs  # noqa: F401

HOLD = """
import sys, time
from sde_ray.storage.file_lock import HeldLock
lock = HeldLock(sys.argv[1])
assert lock.acquire()
print("held", flush=True)
time.sleep(600)
"""


def test_a_whole_sweep_runs_beside_the_lock_of_a_paused_driver_elsewhere(tmp_path: Path, run: Run) -> None:
    """NFS keeps the lock of a machine whose processes are stopped; its lease has expired, so the next driver goes in.

    It has the sweep from the first file that it writes to the last: given back in between, the lease would be gone, the
    lock still there, and nobody could tell whose it is.
    """
    config = configure("path", tmp_path)
    folder = config.run_dir.path
    folder.mkdir(parents=True)
    paused = {"host": "elsewhere", "machine": "m", "namespace": "n", "pid": 1, "started": "1", "token": "t"}
    (folder / "lease.json").write_text(json.dumps({**paused, "locked": True, "expires": time.time() - 1}))
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder / "lease.lock")], stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        assert len(run(config).results) == 4 == begun(tmp_path)
    finally:
        holder.kill()
        holder.communicate()
    assert (folder / "sweep.yaml").exists() and not (folder / "lease.json").exists()
