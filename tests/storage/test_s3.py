"""A sweep's folder in a real S3 (moto's server): exact leases, and a ledger that loses and repeats nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.in_process import on
from helpers.lease_driver import Driver, of_seed
from helpers.s3_server import S3Server
from helpers.stores import quick  # noqa: F401

from sde_ray.errors import UserError
from sde_ray.storage import conditional
from sde_ray.storage.layout import LEDGER
from sde_ray.storage.lease import lease
from sde_ray.storage.ledger import Ledger
from sde_ray.storage.mirror import MirroredFolder
from sde_ray.storage.process import this_process
from sde_ray.storage.remote import RemoteFolder

pytestmark = pytest.mark.faults


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    server = S3Server(tmp_path_factory.mktemp("s3"))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in server.env.items():
            patch.setenv(name, value)
        server.start()
        yield server
        server.kill()


@pytest.fixture
def uri(server: S3Server) -> str:
    return f"{server.make_bucket()}/runs/x"


def here(uri: str) -> MirroredFolder:
    """The run as a process of its own would open it."""
    return MirroredFolder(uri)


def stored(uri: str) -> list[str]:
    """The trials of the store's ledger, one for each line, as a machine reads them that sees it for the first time."""
    folder = here(uri)
    folder.download()
    return [entry.key for entry in Ledger(folder.folder / LEDGER).entries()]


# ---- conditions ------------------------------------------------------------------------------------------------------


def test_a_file_is_replaced_only_by_who_has_read_it(uri: str) -> None:
    remote = RemoteFolder(uri)
    assert remote.tag("lease.json") == ""
    first = remote.write_if("lease.json", b"a", "")
    assert first and first == remote.tag("lease.json")
    assert remote.write_if("lease.json", b"b", "") is None
    second = remote.write_if("lease.json", b"c", first)
    assert second and remote.write_if("lease.json", b"d", first) is None
    assert remote.write_if("lease.json", b"d", conditional.CONDITIONS["s3"].no_tag) is None
    assert not remote.remove_if("lease.json", first) and remote.read("lease.json") == b"c"
    assert remote.remove_if("lease.json", second) and remote.read("lease.json") is None
    assert remote.write_if("lease.json", b"e", second) is None, "what is gone is not the one that was read"
    assert not remote.remove_if("lease.json", second)


def test_a_bucket_that_does_not_exist_is_told(uri: str) -> None:
    folder = here("s3://no-such-bucket-here/runs/x")
    with (
        pytest.raises(UserError, match=r'"s3://no-such-bucket-here/runs/x" cannot be written'),
        lease(folder.folder, remote=folder.remote),
    ):
        pass


# ---- the lease -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stale", [False, True], ids=["fresh", "stale"])
def test_of_six_drivers_that_race_exactly_one_goes_in(stale: bool, uri: str, tmp_path: Path) -> None:
    if stale:
        dead = {**this_process(), "machine": "another", "token": "dead", "expires": time.time() - 1}
        RemoteFolder(uri).write("lease.json", json.dumps(dead).encode())
    options = ("--trials", "4", "--hold", "4", "--settle", "0")
    drivers = [
        Driver(uri, *options, "--machine", f"m{number}", env={"SDE_MIRROR": str(tmp_path / f"m{number}")})
        for number in range(6)
    ]
    first = [driver.process.stdout and driver.process.stdout.readline() for driver in drivers]  # "" of those refused
    held = [driver for driver, said in zip(drivers, first, strict=True) if said]
    ended = [driver.end() for driver in [*(d for d in drivers if d not in held), *held]]
    assert len(held) == 1 and first.count("holds\n") == 1 and sorted(code for code, _ in ended) == [0, 2, 2, 2, 2, 2]
    assert all("is being run by process" in told for code, told in ended if code == 2)
    assert len(stored(uri)) == len(set(stored(uri))) == 4
    assert RemoteFolder(uri).read("lease.json") is None


@pytest.mark.parametrize("ended", [True, False], ids=["the other has ended", "the other is at work"])
def test_a_paused_driver_stops_when_another_has_come_and_sends_nothing_more(
    ended: bool, uri: str, tmp_path: Path
) -> None:
    first = Driver(uri, "--seconds", "1", "--hold", "3", env={"SDE_MIRROR": str(tmp_path / "a")})
    first.wait_for("waits")
    first.pause()
    until = json.loads(RemoteFolder(uri).read("lease.json") or b"{}")["expires"]
    time.sleep(max(0.0, until - time.time()) + 0.05)
    options = ("--machine", "b", "--pause", "0.01", "--hold", "0" if ended else "4")
    second = Driver(uri, *options, env={"SDE_MIRROR": str(tmp_path / "b")})
    second.wait_for("complete" if ended else "waits")
    first.go_on()
    code, told = first.end()
    assert code == 2 and told.startswith("Another driver has taken the sweep") and len(told.splitlines()) == 1
    assert second.end()[0] == 0
    assert len(stored(uri)) == len(set(stored(uri))) == 16
    again = Driver(uri, env={"SDE_MIRROR": str(tmp_path / "a")})
    assert again.end() == (0, "") and not [line for line in again.said if line.startswith("begins")]
    assert len(stored(uri)) == len(set(stored(uri))) == 16, "what the loser had ended counts once"


def test_a_lease_whose_answer_was_lost_is_recognised(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The network fails after the write, and a library that asks again is told that somebody has been there."""
    folder = here(uri)
    real = RemoteFolder.write_if
    lost: list[str] = []

    def write_then_forget(self: RemoteFolder, name: str, content: bytes, tag: str) -> str | None:
        written = real(self, name, content, tag)
        if written:
            lost.append(written)
        return None

    monkeypatch.setattr(RemoteFolder, "write_if", write_then_forget)
    with lease(folder.folder, remote=folder.remote) as held:
        held.heartbeat_remote()
        held.check()
    assert len(lost) == 2 and folder.remote.read("lease.json") is None


def test_a_store_that_ignores_conditions_is_found_out_and_told(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As some servers do that speak S3's protocol."""
    folder = here(uri)
    s3 = conditional.CONDITIONS["s3"]

    def ignore(system: Any, path: str, content: bytes, tag: str) -> str:
        return str(system.pipe_file(path, content)["ETag"])

    monkeypatch.setitem(conditional.CONDITIONS, "s3", conditional.Conditions(s3.tag, ignore, s3.remove, s3.no_tag))
    with (
        pytest.warns(UserWarning, match="has no conditional writes"),
        lease(folder.folder, remote=folder.remote) as held,
    ):
        other = {**this_process(), "token": "other", "expires": time.time() + 9}
        folder.remote.write("lease.json", json.dumps(other).encode())
        held.heartbeat_remote()
        with pytest.raises(UserError, match="has taken the sweep"):
            held.check()
    assert json.loads(folder.remote.read("lease.json") or b"{}") == other


# ---- the ledger ------------------------------------------------------------------------------------------------------


def test_a_late_write_removes_nothing_of_another_driver_s(uri: str, tmp_path: Path) -> None:
    """A has read the ledger, B adds to it and ends, then A's result and its index arrive."""
    with on(tmp_path / "a"):
        late = here(uri)
        with late.open_ledger(lambda: None) as ledger:
            ledger.append(of_seed(0))
            with on(tmp_path / "b"):
                other = here(uri)
                with other.open_ledger(lambda: None) as theirs:
                    theirs.append(of_seed(1))
                    theirs.append(of_seed(2))
            ledger.append(of_seed(3))
    expected = {of_seed(seed).key for seed in range(4)}
    for machine in "abc":
        with on(tmp_path / machine):
            assert set(stored(uri)) == expected and len(stored(uri)) == 4


def test_a_change_within_a_second_that_keeps_the_size_is_seen(uri: str, tmp_path: Path) -> None:
    folder = here(uri)
    folder.folder.mkdir(parents=True)
    (folder.folder / "strategy.yaml").write_text("a: 1\n")
    with on(tmp_path / "b"):
        other = here(uri)
        other.folder.mkdir(parents=True)
        for number in range(5):
            (folder.folder / "strategy.yaml").write_text(f"a: {number}\n")
            assert folder.upload(folder.folder / "strategy.yaml")
            other.download()
            assert (other.folder / "strategy.yaml").read_text() == f"a: {number}\n"
