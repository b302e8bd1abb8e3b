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
from helpers.lease_driver import Driver, of_seed

from sde_ray.errors import UserError
from sde_ray.storage import lease_record
from sde_ray.storage.file_lock import HeldLock, is_locked_by_another
from sde_ray.storage.lease import Lease, is_locked, lease, refuse_if_held
from sde_ray.storage.ledger import Ledger
from sde_ray.storage.process import is_running, this_process


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


# ---- identity --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", ["machine", "namespace"])
def test_an_equal_host_name_and_process_id_prove_nothing(part: str, tmp_path: Path) -> None:
    """Of another container or machine with this host's name: it may live though no such process runs here."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    holder = {**this_process(), "pid": gone.pid, part: "another", "expires": time.time() + 30}
    (tmp_path / "lease.json").write_text(json.dumps(holder))
    assert is_running(holder) is None
    with pytest.raises(UserError, match=r"its lease ends by itself in (2|3)\d s"), lease(tmp_path):
        pass
    with pytest.raises(UserError, match="is being run by process"):
        refuse_if_held(tmp_path)
    (tmp_path / "lease.json").write_text(json.dumps({**holder, "expires": time.time() - 1}))
    with lease(tmp_path):
        assert json.loads((tmp_path / "lease.json").read_text())["pid"] == os.getpid()


def test_a_living_process_is_known_by_its_start_and_a_zombie_has_ended() -> None:
    here = this_process()
    assert is_running(here) is True
    assert is_running({**here, "started": "1"}) is False, "another process had this id before"
    child = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and its status was not fetched
    stat = Path(f"/proc/{child.pid}/stat")
    if stat.exists():
        started = stat.read_text().rpartition(")")[2].split()[19]
        assert is_running({**here, "pid": child.pid, "started": started}) is False
    child.wait()
    assert is_running({**here, "pid": child.pid}) is False
    assert is_running({"host": socket.gethostname(), "pid": os.getpid()}) is None, "a version that named the host only"


# ---- the lock --------------------------------------------------------------------------------------------------------


def test_the_kernel_s_lock_frees_the_lease_of_a_dead_process_in_another_container(tmp_path: Path) -> None:
    holder = {**this_process(), "namespace": "another", "locked": True, "expires": time.time() + 30}
    (tmp_path / "lease.json").write_text(json.dumps(holder))
    (tmp_path / "lease.lock").touch()
    refuse_if_held(tmp_path)
    assert not is_locked(tmp_path)
    living = HeldLock(tmp_path / "lease.lock")
    assert living.acquire()
    assert is_locked(tmp_path)
    with pytest.raises(UserError, match="is being run by process"):
        refuse_if_held(tmp_path)
    with pytest.raises(UserError, match="is being run by process"), lease(tmp_path):
        pass
    living.release()
    with lease(tmp_path):
        pass


def test_what_a_killed_driver_has_left_half_written_is_removed(tmp_path: Path) -> None:
    (tmp_path / "lease.0a4d.new").write_text('{"host"')
    with lease(tmp_path):
        assert sorted(path.name for path in tmp_path.iterdir()) == ["lease.json", "lease.lock"]


def test_a_driver_that_hangs_on_this_machine_keeps_the_folder_and_is_named(tmp_path: Path) -> None:
    with lease(tmp_path):
        holder = json.loads((tmp_path / "lease.json").read_text())
        (tmp_path / "lease.json").write_text(json.dumps({**holder, "expires": time.time() - 90}))
        told = r"has not renewed its lease for (89|9\d) s: it is paused or hangs\. Continue it, or kill it"
        with pytest.raises(UserError, match=told), lease(tmp_path):
            pass


def test_a_lock_is_inherited_by_no_child(tmp_path: Path) -> None:
    """Ray's processes outlive a killed driver: none of them may keep its sweep locked."""
    lock = HeldLock(tmp_path / "x.lock")
    assert lock.acquire()
    assert is_locked_by_another(tmp_path / "x.lock")
    started = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False)
    read, write = os.pipe()
    forked = os.fork()
    if forked == 0:
        os.close(write)
        os.read(read, 1)  # until the parent closes it
        os._exit(0)
    try:
        lock.release()
        assert is_locked_by_another(tmp_path / "x.lock") is False
    finally:
        os.close(write)
        os.waitpid(forked, 0)
        started.communicate(b"\n")


def test_where_there_are_no_locks_the_term_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HeldLock, "acquire", lambda self, timeout=0.0: None)
    with lease(tmp_path):
        assert json.loads((tmp_path / "lease.json").read_text())["locked"] is False
        with pytest.raises(UserError, match="is being run by process"), lease(tmp_path):
            pass
    holder = {**this_process(), "machine": "another", "expires": time.time() - 1}
    (tmp_path / "lease.json").write_text(json.dumps(holder))
    with lease(tmp_path):
        pass


# ---- renewals --------------------------------------------------------------------------------------------------------


def held_lease(folder: Path, seconds: float = 60.0) -> Lease:
    held = Lease(folder, seconds, None)
    held.acquire()
    return held


def test_a_renewal_looks_whose_lease_it_is(tmp_path: Path) -> None:
    held, other = held_lease(tmp_path), json.dumps({**this_process(), "token": "other", "expires": time.time() + 9})
    held.renew()
    held.check()
    (tmp_path / "lease.json").write_text(other)
    held.renew()
    assert held.lost and (tmp_path / "lease.json").read_text() == other
    with pytest.raises(UserError, match=r"Another driver has taken the sweep in .* over.*What the ledger has is kept"):
        held.check()
    held.release()
    assert (tmp_path / "lease.json").read_text() == other, "only one's own is given back"


def test_a_lease_that_was_removed_is_written_again_within_its_term_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = held_lease(tmp_path)
    (tmp_path / "lease.json").unlink()
    held.check()
    assert (tmp_path / "lease.json").exists()
    (tmp_path / "lease.json").unlink()
    monkeypatch.setattr(lease_record, "_clock", lambda: time.monotonic() + 10**9)
    with pytest.raises(UserError, match="has taken the sweep"):  # somebody may have been here, and have ended
        held.check()
    held.release()


def test_a_result_is_not_written_once_the_lease_is_another_s(tmp_path: Path) -> None:
    held = held_lease(tmp_path)
    ledger = Ledger(tmp_path / "ledger.jsonl", fence=held.check)
    ledger.repair()
    ledger.append(of_seed(0))
    (tmp_path / "lease.json").write_text(json.dumps({**this_process(), "token": "other", "expires": 0}))
    before = ledger.path.read_bytes()
    with pytest.raises(UserError, match="has taken the sweep"):
        ledger.append(of_seed(1))
    assert ledger.path.read_bytes() == before
    held.release()


def test_a_result_is_not_written_behind_lines_that_this_driver_does_not_know(tmp_path: Path) -> None:
    """Another driver has come and gone unseen, as its clock was ahead: its trials would run again here."""
    held = held_lease(tmp_path)
    ledger = Ledger(tmp_path / "ledger.jsonl", fence=held.check)
    ledger.repair()
    ledger.append(of_seed(0))
    Ledger(ledger.path).append(of_seed(1))
    with pytest.raises(UserError, match="Another driver has written to .* run the same command again"):
        ledger.append(of_seed(2))
    ledger.repair()
    ledger.append(of_seed(2))
    held.release()


# ---- real processes --------------------------------------------------------------------------------------------------


def lines(folder: Path) -> list[str]:
    return [entry.key for entry in Ledger(folder / "ledger.jsonl").entries()]


def container() -> list[str]:
    """A command that gives what follows a PID namespace of its own, on this machine and under its host name."""
    for way in (["unshare", "-p", "-f", "--mount-proc"], ["unshare", "-Urpf", "--mount-proc"]):
        try:
            if subprocess.run([*way, "true"], capture_output=True).returncode == 0:
                return way
        except FileNotFoundError:
            break
    pytest.skip("this machine allows no PID namespaces")


@pytest.mark.faults
@pytest.mark.parametrize("locks", [(), ("--no-locks",)], ids=["locks", "no locks"])
def test_of_two_drivers_in_two_containers_of_a_host_the_second_is_refused(locks: tuple[str], tmp_path: Path) -> None:
    way = container()
    first = Driver(tmp_path, "--hold", "4", *locks, prefix=way)
    first.wait_for("waits")
    second = Driver(tmp_path, *locks, prefix=way)
    code, told = second.end()
    assert code == 2 and f"is being run by process 1 on {socket.gethostname()}" in told
    assert first.end()[0] == 0
    assert len(lines(tmp_path)) == len(set(lines(tmp_path))) == 16


@pytest.mark.faults
def test_after_a_crash_the_next_container_goes_in_at_once(tmp_path: Path) -> None:
    way = container()
    first = Driver(tmp_path, "--hold", "4", prefix=[*way, "--kill-child"])
    first.wait_for("waits")
    first.kill()
    until = json.loads((tmp_path / "lease.json").read_text())["expires"]
    second = Driver(tmp_path, "--pause", "0", prefix=way)
    second.wait_for("holds")
    assert time.time() < until, "it did not wait for the lease to expire"
    assert second.end() == (0, "")
    assert len(lines(tmp_path)) == len(set(lines(tmp_path))) == 16


@pytest.mark.faults
@pytest.mark.parametrize("ended", [True, False], ids=["the other has ended", "the other is at work"])
def test_a_driver_that_was_paused_past_its_term_stops_when_another_has_come(ended: bool, tmp_path: Path) -> None:
    """On a file system without locks, as an NFS mount; the other one is on another machine."""
    first = Driver(tmp_path, "--no-locks", "--seconds", "1", "--hold", "3")
    first.wait_for("waits")
    first.pause()
    before = lines(tmp_path)
    until = json.loads((tmp_path / "lease.json").read_text())["expires"]
    time.sleep(max(0.0, until - time.time()) + 0.05)
    second = Driver(tmp_path, "--no-locks", "--machine", "b", "--pause", "0.01", "--hold", "0" if ended else "4")
    second.wait_for("complete" if ended else "waits")
    first.go_on()  # and, in `end`, with its trials
    code, told = first.end()
    assert code == 2 and told.startswith("Another driver has") and len(told.splitlines()) == 1
    assert second.end()[0] == 0
    assert len(lines(tmp_path)) == len(set(lines(tmp_path))) == 16 and lines(tmp_path)[: len(before)] == before


@pytest.mark.faults
def test_a_driver_that_was_paused_alone_goes_on(tmp_path: Path) -> None:
    driver = Driver(tmp_path, "--no-locks", "--seconds", "0.6", "--hold", "3")
    driver.wait_for("waits")
    driver.pause()
    time.sleep(0.8)
    driver.go_on()
    assert driver.end() == (0, "")
    assert len(lines(tmp_path)) == len(set(lines(tmp_path))) == 16
