"""A build of a kernel that was killed has left its lock: trials on a CPU do not even see it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.faults]

WORKER = """
from sde_ray.training.worker import Worker
worker = Worker()
worker.join(*worker.address())
import torch.distributed
print("joined", torch.distributed.get_backend())
"""


def test_a_stale_build_lock_hangs_no_trial_on_a_cpu(tmp_path: Path) -> None:
    """DeepSpeed would build a kernel as the group is joined, and wait for this lock for ever."""
    locks = [tmp_path / "deepspeed_shm_comm" / "lock", tmp_path / "py_cpu" / "deepspeed_shm_comm" / "lock"]
    for lock in locks:
        lock.parent.mkdir(parents=True)
        lock.touch()
    env = {**os.environ, "TORCH_EXTENSIONS_DIR": str(tmp_path), "CUDA_VISIBLE_DEVICES": "", "DS_ACCELERATOR": "cpu"}
    command = [sys.executable, "-c", WORKER]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "joined gloo"
    assert all(lock.exists() for lock in locks), "nothing was built, so nothing was cleared"
