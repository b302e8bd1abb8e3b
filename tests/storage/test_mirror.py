"""A sweep's folder in a store: the same sweep as in a plain folder, whatever machine, network or second driver."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers import in_process
from helpers.fake_runner import Fakes
from helpers.flaky_store import Flaky
from helpers.in_process import Killed, on
from helpers.stores import DESIGNS, KINDS, Run, begun, configure, quick, results, runs, storage, there, unsent  # noqa: F401

from sde_ray.errors import UserError
from sde_ray.storage import lease as leases
from sde_ray.storage import remote as transfer
from sde_ray.storage.dirty_marks import UNSENT
from sde_ray.storage.layout import LEDGER
from sde_ray.storage.lease import lease, refuse_if_held
from sde_ray.storage.ledger import Ledger
from sde_ray.storage.mirror import MirroredFolder, with_adapter
from sde_ray.storage.remote import RemoteFolder

# ---- the same sweep, wherever it lies --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_sweep_is_the_same_in_a_folder_and_in_any_store(kind: str, tmp_path: Path, run: Run) -> None:
    (tmp_path / "plain").mkdir()
    plain, config = configure("path", tmp_path / "plain"), configure(kind, tmp_path)
    assert run(config).results == run(plain).results
    assert results(config) == results(plain) and len(results(config)) == 4
    kept = {f"trials/{key}/{name}" for key in results(config) for name in ("result.json", "adapter/sde.json")}
    assert {*kept, LEDGER, "sweep.yaml", "resolved.json"} <= there(config)
    assert "lease.json" not in there(config) and unsent(config) == []
    assert not [name for name in there(config) if name.endswith("partial.json")]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("moment", [1, 3])
def test_a_killed_driver_loses_nothing_that_was_finished(kind: str, moment: int, tmp_path: Path, run: Run) -> None:
    config = configure(kind, tmp_path)

    def kill(number: int) -> None:
        if number == moment:
            raise Killed

    with pytest.raises(Killed):
        run(config, in_process.Tune(before=kill))
    assert len(results(config)) == moment == begun(tmp_path)
    assert len(run(config).results) == 4 and begun(tmp_path) == 4


@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_that_a_killed_driver_left_beside_a_trials_end_goes(
    kind: str, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the ledger's line and the removal: the next driver removes it, from the store, too."""
    config = configure(kind, tmp_path, search={"method": "grid", "rungs": [0.5, 1.0]})

    def kill(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr("sde_ray.storage.mirror.LocalFolder.delete", kill)
        patch.setattr("sde_ray.storage.mirror.MirroredFolder.delete", kill)
        run(config)
    assert len(results(config)) == 1 and [name for name in there(config) if "checkpoint" in name]
    assert len(run(config).results) == 4 and begun(tmp_path) == 4
    assert not [name for name in there(config) if "checkpoint" in name]


@pytest.mark.parametrize("kind", ["file", "memory"])
def test_another_machine_goes_on_and_extends(kind: str, tmp_path: Path, run: Run) -> None:
    config = configure(kind, tmp_path)
    first = run(config).results
    with on(tmp_path / "elsewhere"):
        assert run(config).results == first and begun(tmp_path) == 4
        more = configure(kind, tmp_path, designs=[*DESIGNS, "labels=number"], seeds=[0, 1])
        assert len(run(more).results) == 10 and begun(tmp_path) == 10
    assert len(run(more).results) == 10 and begun(tmp_path) == 10, "and the first machine learns of it"


@pytest.mark.parametrize("kind", ["file", "memory"])
def test_a_node_with_a_mirror_of_its_own_sends_all_and_the_driver_brings_what_is_small(
    kind: str, tmp_path: Path, run: Run
) -> None:
    config = configure(kind, tmp_path)
    assert len(run(config, in_process.Tune(node=tmp_path / "node")).results) == 4
    key = next(iter(results(config)))
    mirror = config.run_dir.path / "trials" / key
    assert mirror.is_relative_to(tmp_path / "here") and (mirror / "predictions.jsonl").is_file()
    assert not (mirror / "adapter").exists()
    assert with_adapter(f"{config.run_dir.uri()}/trials/{key}") == mirror
    assert json.loads((mirror / "adapter" / "sde.json").read_text()) == {"trial": key}


class CutOff(in_process.Tune):
    """The driver and its trial are gone after the trial's first rung."""

    def _run(self, given: dict[str, Any], factory: Any, recorder: Any) -> None:
        with on(self.node or Path()):
            assert not self._warm(given, factory).step()["done"]
        raise Killed


@pytest.mark.parametrize("kind", ["file", "memory"])
def test_a_trial_that_was_cut_off_goes_on_on_another_machine(kind: str, tmp_path: Path, run: Run) -> None:
    config = configure(kind, tmp_path, search={"method": "grid", "asha": {"rungs": [0.5, 1.0]}})
    with pytest.raises(Killed):
        run(config, CutOff(node=tmp_path / "one"))
    (key,) = {name.split("/")[1] for name in there(config) if name.endswith("/checkpoint.json")}
    with on(tmp_path / "elsewhere"):
        assert len(run(config, in_process.Tune(node=tmp_path / "two")).results) == 4
    ran = Fakes(tmp_path / "calls.jsonl").ran()
    assert ran[:2] == [(key, 0), (key, 1)] and len(ran) == len(set(ran)) == 8, "no rung runs twice"
    assert not [name for name in there(config) if "checkpoint" in name], "what has ended needs none"


def test_what_was_removed_or_changed_in_the_store_is_so_in_the_mirror(tmp_path: Path, run: Run) -> None:
    config = configure("file", tmp_path)
    run(config)
    truth = tmp_path / "runs" / "x"
    lines = (truth / LEDGER).read_text().splitlines()
    (truth / LEDGER).write_text("\n".join(lines[1:]) + "\n")
    next((truth / "ledger").glob(f"{json.loads(lines[0])['key']}-*.json")).unlink()
    (truth / "trials" / json.loads(lines[0])["key"] / "predictions.jsonl").unlink()
    config.run_dir.folder.download()
    assert len(results(config)) == 3
    assert not (config.run_dir.path / "trials" / json.loads(lines[0])["key"] / "predictions.jsonl").exists()
    assert len(run(config).results) == 4 and begun(tmp_path) == 5


def test_a_file_that_is_the_same_is_not_moved_again(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    config = configure("memory", tmp_path)
    run(config)
    moved: list[str] = []
    monkeypatch.setattr(RemoteFolder, "put", lambda self, folder, names: moved.extend(names))
    monkeypatch.setattr(RemoteFolder, "get", lambda self, folder, names: moved.extend(names))
    store = config.run_dir.folder
    store.download()
    key = next(iter(results(config)))
    store.upload(store.folder / "sweep.yaml", store.folder / "trials" / key)
    assert moved == []


def test_an_older_attempt_of_a_trial_leaves_nothing_behind(tmp_path: Path, run: Run) -> None:
    config = configure("file", tmp_path)
    run(config)
    key = next(iter(results(config)))
    truth = tmp_path / "runs" / "x"
    (truth / "trials" / key / "predictions.0.jsonl").write_text("old\n")
    failed = replace(results(config)[key], status="failed")
    ledger = Ledger(truth / LEDGER)
    ledger.path.unlink()
    ledger.append(failed)
    run(config, in_process.Tune(node=tmp_path / "node"))
    assert results(config)[key].status == "finished"
    store = config.run_dir.folder
    (tmp_path / "node").mkdir(exist_ok=True)
    assert f"trials/{key}/partial.json" not in there(config) and f"trials/{key}/result.json" in there(config)
    store.download()
    assert results(config)[key].status == "finished"


# ---- a network that fails --------------------------------------------------------------------------------------------


def test_a_network_that_fails_twice_is_not_noticed(tmp_path: Path, run: Run) -> None:
    config = configure("flaky", tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        outcome = run(config, in_process.Tune(before=lambda number: Flaky.be(2), after=lambda number: Flaky.be(2)))
    assert len(outcome.results) == 4 and unsent(config) == []
    assert {f"trials/{key}/result.json" for key in results(config)} <= there(config)


def test_a_store_that_is_away_is_asked_once_in_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remote = RemoteFolder(f"flaky://{tmp_path}/runs/x")
    monkeypatch.setattr(transfer, "PAUSE", 1000.0)
    Flaky.be(float("inf"))
    for _ in range(3):
        with pytest.raises(ConnectionError):
            remote.list()
    assert Flaky.failed == 3, "tried again at first, then left alone"
    Flaky.be()
    with pytest.raises(ConnectionError):
        remote.list()
    remote.try_again()
    assert remote.list() == {}


@pytest.mark.parametrize("moment", [0, 2])
def test_a_store_that_goes_away_loses_nothing_and_is_told_once(moment: int, tmp_path: Path, run: Run) -> None:
    config = configure("flaky", tmp_path)

    def leave(number: int) -> None:
        Flaky.be(float("inf") if number >= moment else 0)

    with pytest.warns(UserWarning) as told:
        outcome = run(config, in_process.Tune(before=leave))
    said = [str(one.message) for one in told]
    assert "hush" not in "".join(said)
    assert len(said) == 2 and "The sweep goes on" in said[0] and "run the same command here again" in said[1]
    assert len(outcome.results) == 4
    Flaky.be()
    names = there(config)
    assert len([name for name in names if name.endswith("result.json")]) == moment
    assert RemoteFolder(config.run_dir.uri()).read("lease.json") is not None, (
        "it could not be given back, and is in nobody's way"
    )
    run(config)
    assert begun(tmp_path) == 4 and unsent(config) == []
    assert len([name for name in there(config) if name.endswith("adapter/sde.json")]) == 4
    with on(tmp_path / "elsewhere"):
        assert len(run(config).results) == 4 and begun(tmp_path) == 4


def test_a_node_that_cannot_send_reports_its_result_and_sends_the_files_later(tmp_path: Path, run: Run) -> None:
    config = configure("flaky", tmp_path)
    node = in_process.Tune(node=tmp_path / "node")

    def only_the_node(number: int) -> None:
        Flaky.be(float("inf"), only=("put_file",))

    with pytest.warns(UserWarning, match="The sweep goes on|does not have everything"):
        assert len(run(config, replace(node, before=only_the_node)).results) == 4
    Flaky.be()
    assert not [name for name in there(config) if name.endswith("result.json")]
    more = configure("flaky", tmp_path, designs=[*DESIGNS, "labels=number"])
    run(more, node)
    assert begun(tmp_path) == 5, "the finished ones do not run again"
    assert len([name for name in there(config) if name.endswith("result.json")]) == 5, "the next trial took them along"


def test_the_driver_does_without_files_that_it_cannot_fetch_now(tmp_path: Path, run: Run) -> None:
    config = configure("flaky", tmp_path)

    def no_way_back(number: int) -> None:
        Flaky.be(float("inf"), only=("get_file",))

    tune = in_process.Tune(node=tmp_path / "node", before=no_way_back)
    with pytest.warns(UserWarning, match=r"completions of 4 trials could not be fetched"):
        assert len(run(config, tune).results) == 4
    Flaky.be()
    config.run_dir.folder.download()
    assert len(list(config.run_dir.trials.glob("*/predictions.jsonl"))) == 4


def test_a_store_that_is_away_at_the_start_is_told_before_anything_runs(tmp_path: Path, run: Run) -> None:
    Flaky.be(float("inf"))
    with pytest.raises(UserError, match=r'"flaky://.*/x" cannot be read \(ConnectionError: the network is gone'):
        run(configure("flaky", tmp_path))
    assert begun(tmp_path) == 0
    Flaky.be(float("inf"), only=("pipe_file",))
    with pytest.raises(UserError, match=r"cannot be written \(ConnectionError"):
        run(configure("flaky", tmp_path))
    assert begun(tmp_path) == 0


def test_a_stale_attempt_does_not_replace_what_has_ended_elsewhere(tmp_path: Path, run: Run) -> None:
    config = configure("file", tmp_path)
    run(config)
    key = next(iter(results(config)))
    whole = (tmp_path / "runs" / "x" / "trials" / key / "result.json").read_text()
    with on(tmp_path / "elsewhere"):  # where the trial began once, and its process died
        store = MirroredFolder(config.run_dir.uri())
        (store.folder / "trials" / key).mkdir(parents=True)
        (store.folder / "trials" / key / "config.json").write_text("stale")
        store.marks.set(f"trials/{key}")
        assert store.upload() and unsent(config) == []
    assert (tmp_path / "runs" / "x" / "trials" / key / "result.json").read_text() == whole
    assert (tmp_path / "runs" / "x" / "trials" / key / "config.json").read_text() != "stale"


# ---- ledgers ---------------------------------------------------------------------------------------------------------


def test_a_ledger_that_was_not_sent_and_one_that_went_on_elsewhere_become_one(tmp_path: Path, run: Run) -> None:
    config = configure("flaky", tmp_path)

    def die(number: int) -> None:
        if number == 2:
            raise Killed
        Flaky.be(float("inf") if number else 0, only=("put_file", "mv"))

    with pytest.raises(Killed), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run(config, in_process.Tune(before=die))
    here = set(results(config))
    Flaky.be()
    assert len(here) == 2 and len(Ledger(tmp_path / "runs" / "x" / LEDGER).results()) == 1
    with on(tmp_path / "elsewhere"):
        assert len(run(configure("flaky", tmp_path, designs=["labels=number", "format=json"])).results) == 2
        elsewhere = set(results(config))
    assert len(elsewhere) == 3 and len(here | elsewhere) == 4, "one of each is unknown to the other"
    config.run_dir.folder.download()
    assert set(results(config)) == here | elsewhere
    run(config)
    assert set(Ledger(tmp_path / "runs" / "x" / LEDGER).results()) >= here | elsewhere


# ---- drivers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_one_driver_at_a_time(kind: str, tmp_path: Path) -> None:
    config = configure(kind, tmp_path)
    store = config.run_dir.folder
    with (
        lease(store.folder, remote=store.remote),
        pytest.raises(UserError, match="is being run by process"),
        lease(store.folder, remote=store.remote),
    ):
        pass
    with lease(store.folder, remote=store.remote):
        pass


@pytest.mark.parametrize("kind", ["file", "memory", "flaky"])
def test_a_driver_on_another_machine_is_refused_until_the_lease_has_expired(kind: str, tmp_path: Path) -> None:
    config = configure(kind, tmp_path)
    store = config.run_dir.folder
    assert store.remote
    other = {"host": "elsewhere", "pid": 1, "started": "1", "token": "t", "expires": time.time() + 50}
    store.remote.write("lease.json", json.dumps(other).encode())
    told = r"run by process 1 on elsewhere.*its lease ends by itself in (4|5)\d s"
    with pytest.raises(UserError, match=told), lease(store.folder, remote=store.remote):
        pass
    with pytest.raises(UserError, match="on elsewhere"):
        refuse_if_held(store.folder, store.remote)
    assert json.loads(store.remote.read("lease.json") or b"") == other, "it was not touched"
    assert not (store.folder / "lease.json").exists()
    store.remote.write("lease.json", json.dumps({**other, "expires": time.time() - 1}).encode())
    with lease(store.folder, remote=store.remote):
        assert json.loads(store.remote.read("lease.json") or b"")["pid"] != 1
    assert store.remote.read("lease.json") is None


def test_a_driver_whose_lease_was_taken_stops_and_its_results_count_later(tmp_path: Path, run: Run) -> None:
    config = configure("memory", tmp_path)
    remote = RemoteFolder(config.run_dir.uri())
    taken = {"host": "elsewhere", "pid": 1, "started": "1", "token": "t", "expires": time.time() - 1}
    held: list[leases.Lease] = []
    real = leases.Lease.acquire_remote

    def watch(self: leases.Lease) -> None:
        real(self)
        held.append(self)

    def lose(number: int) -> None:
        if number == 1:
            remote.write("lease.json", json.dumps(taken).encode())
            held[-1].heartbeat_remote()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(leases.Lease, "acquire_remote", watch)
        with pytest.raises(UserError, match=r"Another driver has taken the sweep .* over"):
            run(config, in_process.Tune(before=lose))
    assert json.loads(remote.read("lease.json") or b"") == taken, "the other one's lease is left alone"
    assert len(results(config)) == 2
    assert len(run(config).results) == 4 and begun(tmp_path) == 4


def test_a_renewed_lease_lasts_and_one_that_was_removed_is_written_again(tmp_path: Path) -> None:
    store = configure("memory", tmp_path).run_dir.folder
    assert store.remote
    with lease(store.folder, remote=store.remote) as held:
        store.remote.remove(["lease.json"])
        held.heartbeat_remote()
        told = json.loads(store.remote.read("lease.json") or b"")
        assert told["expires"] > time.time() + 50 and not held.lost


# ---- what is dear is not lost to a pull ------------------------------------------------------------------------------


def test_what_is_being_written_survives_a_pull_and_a_death(tmp_path: Path, run: Run) -> None:
    config = configure("file", tmp_path)
    run(config)
    store = MirroredFolder(config.run_dir.uri())
    dear = store.folder / "analysis.jsonl"
    store.mark_dirty(dear)
    dear.write_text("dear\n")
    store.download()
    assert dear.read_text() == "dear\n"
    mark = next((store.folder / UNSENT).glob("analysis*"))
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    mark.write_text(json.dumps({**json.loads(mark.read_text()), "pid": gone.pid}))  # its process has died
    store.download()
    assert dear.read_text() == "dear\n" and "analysis.jsonl" not in there(config)
    run(config)
    assert (tmp_path / "runs" / "x" / "analysis.jsonl").read_text() == "dear\n"
