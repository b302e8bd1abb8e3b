"""One driver at a time: through deaths, pauses, containers that share a host name, and file systems without locks."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sde_ray.errors import UserError
from sde_ray.storage import lease_record
from sde_ray.storage.lease import lease
from sde_ray.storage.process import this_process


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_record, "SETTLE", 0.0)


def test_a_second_driver_is_refused_until_the_first_lets_go(tmp_path: Path) -> None:
    with lease(tmp_path):
        with pytest.raises(UserError, match=f"run by process {os.getpid()} on {socket.gethostname()}"), lease(tmp_path):
            pass
        assert (tmp_path / "lease.json").exists()
    with lease(tmp_path):
        pass
    assert not (tmp_path / "lease.json").exists()


def test_the_lease_of_a_dead_process_is_taken_over(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    holder = {**this_process(), "pid": dead.pid, "expires": time.time() + 1000}
    (tmp_path / "lease.json").write_text(json.dumps(holder))
    with lease(tmp_path):
        assert json.loads((tmp_path / "lease.json").read_text())["pid"] == os.getpid()


@pytest.mark.parametrize(("ahead", "free"), [(1000, False), (-1, True)])
def test_the_lease_of_another_host_counts_until_it_expires(tmp_path: Path, ahead: float, free: bool) -> None:
    holder = {"host": "elsewhere", "pid": 1, "started": "1", "expires": time.time() + ahead}
    (tmp_path / "lease.json").write_text(json.dumps(holder))
    if free:
        with lease(tmp_path):
            pass
    else:
        with pytest.raises(UserError, match="on elsewhere"), lease(tmp_path):
            pass
