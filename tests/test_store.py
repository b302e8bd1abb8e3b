"""A sweep's folder in a store: the same sweep as in a plain folder, whatever machine, network or second driver."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import in_process
import pytest
from fake_runner import FakeRunner, Fakes
from flaky_store import Flaky
from in_process import Killed, on
from typer.testing import CliRunner

from sde_ray import lease as leases
from sde_ray import preflight, session, sweep, transfer
from sde_ray.address import MIRROR, checked, is_uri, local_path, mirrors
from sde_ray.cli import app as cli
from sde_ray.config import SweepConfig, check, open_tasks, place_of, sweep_folder, write_sweep
from sde_ray.errors import UserError
from sde_ray.lease import lease, refuse_if_held
from sde_ray.ledger import Ledger
from sde_ray.runner import RunnerPlace
from sde_ray.store import LEDGER, UNSENT, RemoteStore, store_at, with_adapter
from sde_ray.sweep import run_sweep
from sde_ray.tasks import get_task
from sde_ray.transfer import Remote
from sde_ray.types import Status, TrialResult

DESIGNS = ["baseline", "es-sde", "ew-sde", "format=json"]
KINDS = ["path", "file", "memory", "flaky"]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No waiting; a mirror of the test's own; an empty memory and a network that works."""
    from fsspec.implementations.memory import MemoryFileSystem

    monkeypatch.setattr(transfer, "WAITS", (0.0, 0.0))
    monkeypatch.setattr(transfer, "PAUSE", 0.0)
    monkeypatch.setattr(leases, "SETTLE", 0.0)
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]
    Flaky.be()
    with on(tmp_path / "here"):
        yield
    Flaky.be()


def storage(kind: str, folder: Path) -> str:
    return {"path": str(folder / "runs"), "memory": f"memory://{folder.name}/runs"}.get(kind, f"{kind}://{folder}/runs")


def configure(kind: str, folder: Path, **values: Any) -> SweepConfig:
    given: dict[str, Any] = {"name": "x", "task": "masa:d1", "train_sizes": 40, "eval_size": 20, "designs": DESIGNS}
    given |= {"search": {"method": "grid"}, "storage": storage(kind, folder), "mlflow": {"enabled": False}}
    return check({**given, **values})


@dataclass(frozen=True)
class Writers(Fakes):
    """Fake runners that leave what a real trial leaves."""

    def __call__(self, place: RunnerPlace) -> FakeRunner:
        return _Writer(self, place)


class _Writer(FakeRunner):
    def end(self, status: Status = "finished", error: str = "") -> TrialResult:
        (self.folder / "adapter").mkdir(exist_ok=True)
        (self.folder / "adapter" / "sde.json").write_text(json.dumps({"trial": self.config.key}))
        row = {"split": "dev", "id": "1", "prediction": "food: positive", "task": self.config.task}
        (self.folder / "predictions.jsonl").write_text(json.dumps(row) + "\n")
        (self.folder / "config.json").write_text(json.dumps({"key": self.config.key, **self.config.resolved()}))
        return super().end(status, error)


Run = Callable[..., sweep.SweepOutcome]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    def run(config: SweepConfig, tune: in_process.Tune | None = None) -> sweep.SweepOutcome:
        monkeypatch.setattr(sweep, "_tune", tune or in_process.Tune())
        return run_sweep(config, Writers(tmp_path / "calls.jsonl"))

    return run


def begun(folder: Path) -> int:
    return len(Fakes(folder / "calls.jsonl").begun())


def there(config: SweepConfig) -> set[str]:
    """What the store has of the sweep; of a plain folder, what is in it."""
    if is_uri(config.storage):
        return set(Remote(place_of(config)).list())
    return {path.relative_to(sweep_folder(config)).as_posix() for path in sweep_folder(config).rglob("*")}


def results(config: SweepConfig) -> dict[str, TrialResult]:
    return Ledger(sweep_folder(config) / LEDGER).results()


def unsent(config: SweepConfig) -> list[str]:
    return sorted(path.name for path in (sweep_folder(config) / UNSENT).glob("*"))


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
    mirror = sweep_folder(config) / "trials" / key
    assert mirror.is_relative_to(tmp_path / "here") and (mirror / "predictions.jsonl").is_file()
    assert not (mirror / "adapter").exists()
    assert with_adapter(f"{place_of(config)}/trials/{key}") == mirror
    assert json.loads((mirror / "adapter" / "sde.json").read_text()) == {"trial": key}


def test_what_was_removed_or_changed_in_the_store_is_so_in_the_mirror(tmp_path: Path, run: Run) -> None:
    config = configure("file", tmp_path)
    run(config)
    truth = tmp_path / "runs" / "x"
    lines = (truth / LEDGER).read_text().splitlines()
    (truth / LEDGER).write_text("\n".join(lines[1:]) + "\n")
    (truth / "trials" / json.loads(lines[0])["key"] / "predictions.jsonl").unlink()
    store_at(place_of(config)).pull()
    assert len(results(config)) == 3
    assert not (sweep_folder(config) / "trials" / json.loads(lines[0])["key"] / "predictions.jsonl").exists()
    assert len(run(config).results) == 4 and begun(tmp_path) == 5


def test_a_file_that_is_the_same_is_not_moved_again(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    config = configure("memory", tmp_path)
    run(config)
    moved: list[str] = []
    monkeypatch.setattr(Remote, "put", lambda self, folder, names: moved.extend(names))
    monkeypatch.setattr(Remote, "get", lambda self, folder, names: moved.extend(names))
    store = store_at(place_of(config))
    store.pull()
    key = next(iter(results(config)))
    store.push(store.folder / "sweep.yaml", store.folder / "trials" / key)
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
    store = store_at(place_of(config))
    (tmp_path / "node").mkdir(exist_ok=True)
    assert f"trials/{key}/partial.json" not in there(config) and f"trials/{key}/result.json" in there(config)
    store.pull()
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
    remote = Remote(f"flaky://{tmp_path}/runs/x")
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
    assert Remote(place_of(config)).read("lease.json") is not None, "it could not be given back, and is in nobody's way"
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
    store_at(place_of(config)).pull()
    assert len(list((sweep_folder(config) / "trials").glob("*/predictions.jsonl"))) == 4


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
        store = RemoteStore(place_of(config))
        (store.folder / "trials" / key).mkdir(parents=True)
        (store.folder / "trials" / key / "config.json").write_text("stale")
        store._mark(f"trials/{key}")
        assert store.push() and unsent(config) == []
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
        assert len(run(configure("flaky", tmp_path, designs=["baseline", "labels=number"])).results) == 2
        elsewhere = set(results(config))
    assert len(elsewhere) == 3 and len(here | elsewhere) == 4, "one of each is unknown to the other"
    store_at(place_of(config)).pull()
    assert set(results(config)) == here | elsewhere
    run(config)
    assert set(Ledger(tmp_path / "runs" / "x" / LEDGER).results()) >= here | elsewhere


def test_uniting_keeps_every_line_once(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "l.jsonl")
    ledger.path.write_bytes(b"a\nb\nd\n")
    ledger.unite(b"a\nc\n")
    assert ledger.path.read_bytes() == b"a\nc\nb\nd\n"
    ledger.unite(b"a\nc\n")
    assert ledger.path.read_bytes() == b"a\nc\nb\nd\n"


# ---- drivers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_one_driver_at_a_time(kind: str, tmp_path: Path) -> None:
    config = configure(kind, tmp_path)
    store = store_at(place_of(config))
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
    store = store_at(place_of(config))
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


@pytest.mark.parametrize("kind", ["file", "memory"])
def test_of_two_that_make_a_file_one_does(kind: str, tmp_path: Path) -> None:
    remote = Remote(storage(kind, tmp_path))
    assert [remote.write("lease.json", word, exclusive=True) for word in (b"a", b"b")] == [True, False]
    assert remote.read("lease.json") == b"a"


def test_a_driver_whose_lease_was_taken_stops_and_its_results_count_later(tmp_path: Path, run: Run) -> None:
    config = configure("memory", tmp_path)
    remote = Remote(place_of(config))
    taken = {"host": "elsewhere", "pid": 1, "started": "1", "token": "t", "expires": time.time() - 1}
    held: list[leases.Held] = []
    real = leases.Held.take_remote

    def watch(self: leases.Held) -> None:
        real(self)
        held.append(self)

    def lose(number: int) -> None:
        if number == 1:
            remote.write("lease.json", json.dumps(taken).encode())
            held[-1].renew_remote()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(leases.Held, "take_remote", watch)
        with pytest.raises(UserError, match=r"Another driver has taken the sweep .* over"):
            run(config, in_process.Tune(before=lose))
    assert json.loads(remote.read("lease.json") or b"") == taken, "the other one's lease is left alone"
    assert len(results(config)) == 2
    assert len(run(config).results) == 4 and begun(tmp_path) == 4


def test_a_renewed_lease_lasts_and_one_that_was_removed_is_written_again(tmp_path: Path) -> None:
    store = store_at(place_of(configure("memory", tmp_path)))
    assert store.remote
    with lease(store.folder, remote=store.remote) as held:
        store.remote.remove(["lease.json"])
        held.renew_remote()
        told = json.loads(store.remote.read("lease.json") or b"")
        assert told["expires"] > time.time() + 50 and not held.lost


# ---- what is dear is not lost to a pull ------------------------------------------------------------------------------


def test_what_is_being_written_survives_a_pull_and_a_death(tmp_path: Path, run: Run) -> None:
    config = configure("file", tmp_path)
    run(config)
    store = RemoteStore(place_of(config))
    dear = store.folder / "analysis.jsonl"
    store.hold(dear)
    dear.write_text("dear\n")
    store.pull()
    assert dear.read_text() == "dear\n"
    mark = next((store.folder / UNSENT).glob("analysis*"))
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    mark.write_text(json.dumps({**json.loads(mark.read_text()), "pid": gone.pid}))  # its process has died
    store.pull()
    assert dear.read_text() == "dear\n" and "analysis.jsonl" not in there(config)
    run(config)
    assert (tmp_path / "runs" / "x" / "analysis.jsonl").read_text() == "dear\n"


# ---- addresses -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "place",
    ["s3://key:hush@bucket/runs", "s3://KEY:hu/sh@bucket/runs", "ftp://user:hush@host/runs", "s3://:hush@bucket/r"],
)
def test_an_address_with_a_password_is_refused_without_telling_it(place: str) -> None:
    with pytest.raises(UserError, match="has a password in it") as told:
        check({"name": "x", "task": "masa:d1", "storage": place})
    assert "hush" not in str(told.value) and "sh@" not in str(told.value)
    shown = CliRunner().invoke(cli.app, ["report", f"{place}/x"])
    assert shown.exit_code == 2 and "hush" not in shown.output and "sh@" not in shown.output
    with pytest.raises(UserError, match="has a password in it"):
        get_task(f"{place}/task.yaml")


@pytest.mark.parametrize(
    "place",
    [
        "s3://",
        "s3://b/../c",
        "s3://b/./c",
        "simplecache::s3://b/c",
        "s3://b/c?x=1",
        "file://relative/runs",
        "nope://b/c",
    ],
)
def test_what_is_no_folder_of_a_store_is_refused(place: str) -> None:
    with pytest.raises(UserError, match=r"storage: .*(is no folder of a store|no store is called)"):
        check({"name": "x", "task": "masa:d1", "storage": place})


@pytest.mark.parametrize("place", ["s3://b/runs", "gs://b/runs/", "abfs://c@account.dfs.core.windows.net/r", "runs"])
def test_a_place_is_taken_and_its_mirror_stays_with_the_mirrors(place: str) -> None:
    assert checked(place) == place.rstrip("/")
    assert local_path(place).is_relative_to(mirrors()) == is_uri(place)


def test_mirrors_of_different_addresses_differ_and_none_leaves_its_folder() -> None:
    places = ["s3://b/a/b", "s3://b/a%2Fb", "gs://b/a/b", "s3://b/../../etc", "s3://b/..\\..\\x", "s3://b/a b"]
    paths = [local_path(place) for place in places]
    assert len(set(paths)) == len(paths)
    assert all(path.resolve().is_relative_to(mirrors()) for path in paths)


@pytest.mark.parametrize("name", ["../owned", "trials/../../owned", "/owned", "trials/k/../../../../owned"])
def test_a_file_of_the_store_cannot_leave_the_mirror(name: str, tmp_path: Path, run: Run) -> None:
    config = configure("memory", tmp_path)
    run(config)
    store = store_at(place_of(config))
    assert store.remote
    system = store.remote.system
    whole = system.find
    evil = {f"{store.remote.path('')}/{name}": {"size": 3, "type": "file", "created": None}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(system), "find", lambda self, path, **options: {**whole(path, **options), **evil})
        assert name not in store.remote.list()
        store.pull()
    assert not list(tmp_path.rglob("owned"))


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec.core

    def missing(uri: str) -> Any:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec.core, "url_to_fs", missing)
    with pytest.raises(UserError, match=r'"s3://bucket/runs/x" needs a package .*: pip install s3fs'):
        store_at("s3://bucket/runs/x").pull()
    (tmp_path / "s.yaml").write_text("task: masa:d1\nstorage: s3://bucket/runs\n")
    told = CliRunner().invoke(cli.app, ["run", str(tmp_path / "s.yaml")])
    assert told.exit_code == 2 and "pip install s3fs" in told.output


def test_a_plain_folder_never_loads_fsspec(tmp_path: Path) -> None:
    code = (
        "import sys; from sde_ray import store, lease, flow; from sde_ray.config import check, place_of;"
        f"c = check({{'name': 'x', 'task': 'masa:d1', 'storage': {str(tmp_path)!r}}}); s = store.store_at(place_of(c));"
        "s.pull(); s.push(s.folder); print('fsspec' in sys.modules, list(s.folder.parent.iterdir()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False []"


def test_without_a_home_the_mirrors_are_in_a_temporary_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(MIRROR)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert mirrors() == tmp_path / "cache" / "sde_ray" / "mirror"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "no" / "home"))
    assert mirrors().name == "mirror" and str(tmp_path) not in str(mirrors())


# ---- nodes -----------------------------------------------------------------------------------------------------------


def test_nodes_exchange_markers_through_the_store(tmp_path: Path) -> None:
    place = f"file://{tmp_path}/runs/x/.nodes"
    assert "does not see what the driver wrote there (No such file" in preflight.answer(place, "token", "node")
    Remote(place).write("driver", b"another")
    assert preflight.answer(place, "token", "node") == "sees another folder of the same name"
    Remote(place).write("driver", b"token")
    with on(tmp_path / "node"):
        assert preflight.answer(place, "token", "node") == ""
    assert preflight._unseen(place, "node", "token") == ""
    Flaky.be(float("inf"), only=("pipe_file",))
    assert "cannot write there (ConnectionError" in preflight.answer(place.replace("file:", "flaky:"), "token", "n")


def test_a_node_without_the_store_s_package_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(uri: str) -> Any:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr("fsspec.core.url_to_fs", missing)
    assert "pip install s3fs" in preflight.answer("s3://bucket/runs/x/.nodes", "token", "node")


def test_all_nodes_that_do_not_reach_the_store_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    nodes = [{"NodeID": f"{n}" * 12, "NodeManagerHostname": f"host{n}"} for n in range(2)]

    def ask(place: str, token: str, nodes: Any) -> dict[str, str]:
        return {"0" * 12: preflight.answer(place, token, "0" * 12), "1" * 12: "cannot write there (PermissionError)"}

    monkeypatch.setattr(preflight, "_ask", ask)
    with pytest.raises(UserError, match=r"all nodes reach.*resources.env\): node host1 .* cannot write there"):
        preflight.check_shared(f"file://{tmp_path}/runs/x", nodes)
    assert Remote(f"file://{tmp_path}/runs/x").list() == {}, "the markers are taken away"


def test_the_memory_of_one_process_is_no_place_for_trials_of_others(tmp_path: Path) -> None:
    config = configure("memory", tmp_path)
    with pytest.raises(UserError, match="memory of this process.*file:///shared/runs"):
        preflight.check_nodes(config, store_at(place_of(config)))


def test_the_workers_of_a_trial_share_a_node(tmp_path: Path) -> None:
    config = configure("file", tmp_path, resources={"workers_per_trial": 2, "gpus_per_worker": 1})
    small = {"Alive": True, "Resources": {"CPU": 8.0, "GPU": 1.0}}
    with pytest.raises(UserError, match="2 GPU, which no node has.*share a node"):
        preflight._check_room(config, [small, small])
    preflight._check_room(config, [small, {"Alive": True, "Resources": {"CPU": 8.0, "GPU": 2.0}}])
    assert store_at(place_of(config)).strategy == "STRICT_PACK"
    assert store_at(str(tmp_path)).strategy == "PACK"
    assert len(session.bundles(config.resources)) == 3


# ---- tasks and commands ----------------------------------------------------------------------------------------------


def test_a_written_out_task_has_the_same_name_on_every_machine(tmp_path: Path) -> None:
    rows = [{"text": f"{n} soup", "answer": {"food": "good" if n % 2 else "bad"}} for n in range(40)]
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = {"format": "jsonl", "path": str(tmp_path / "d.jsonl")}
    task = {"name": "t", "kind": "label", "slots": ["food"], "labels": ["good", "bad"], "absent": "none", "data": data}
    config = configure("file", tmp_path, task=task)
    (name,) = open_tasks(config)
    assert name == f"file://{tmp_path}/runs/x/tasks/t.yaml"
    store = store_at(place_of(config))
    write_sweep(config)
    assert store.push(store.folder / "tasks")
    with on(tmp_path / "node"):
        assert get_task(name).slots == ("food",)
        assert list(open_tasks(config)) == [name]
    with pytest.raises(UserError, match="There is no file"):
        get_task(name.replace("t.yaml", "u.yaml"))


def test_commands_take_the_address_of_a_run_on_any_machine(tmp_path: Path, run: Run) -> None:
    config = configure("file", tmp_path)
    run(config, in_process.Tune(node=tmp_path / "node"))
    with on(tmp_path / "laptop"):
        shown = CliRunner().invoke(cli.app, ["effects", place_of(config), "--json"])
        assert shown.exit_code == 0, shown.output
        assert len(json.loads(shown.stdout)[0]["leaderboard"]) == 4
        made = CliRunner().invoke(cli.app, ["assemble", place_of(config), "--json"])
        assert made.exit_code == 0, made.output
        report = CliRunner().invoke(cli.app, ["report", place_of(config)])
        assert report.exit_code == 0, report.output
        plan = CliRunner().invoke(cli.app, ["plan", str(_yaml(config, tmp_path)), "--json"])
        assert plan.exit_code == 0 and "no folder any more" not in plan.output, plan.output
        scored = CliRunner().invoke(cli.app, ["score", place_of(config), "--json"])
        assert scored.exit_code == 0 and len(json.loads(scored.stdout)) == 4, scored.output
    truth = tmp_path / "runs" / "x"
    assert "<html" in (truth / "report.html").read_text() and "design" in (truth / "strategy.yaml").read_text()
    nothing = CliRunner().invoke(cli.app, ["report", f"file://{tmp_path}/runs/nothing"])
    assert nothing.exit_code == 2 and 'There is no file "file://' in nothing.output.replace("\n", " ")


def _yaml(config: SweepConfig, folder: Path) -> Path:
    path = folder / "s.yaml"
    path.write_text(json.dumps(json.loads(config.model_dump_json(exclude_unset=True))))
    return path


def test_a_job_s_id_does_not_depend_on_a_slash_and_its_storage_may_be_an_address(tmp_path: Path) -> None:
    from sde_ray.cli.cluster import _name
    from sde_ray.packing import pack
    from sde_ray.submit import environment, sweep_id

    assert sweep_id("x", "s3://b/runs/") == sweep_id("x", "s3://b/runs") != sweep_id("x", "s3://b/run")
    assert _name("s3://b/runs/x/", None) == sweep_id("x", "s3://b/runs"), "status, logs and stop take the address"
    (tmp_path / "s.yaml").write_text("task: masa:d1\n")
    (tmp_path / "p").mkdir()
    assert pack(tmp_path / "s.yaml", ["storage=s3://b/runs"], tmp_path / "p").storage == "s3://b/runs"
    for wrong, told in (("memory://b", "memory of one process"), ("s3://k:hush@b/c", "has a password in it")):
        with pytest.raises(UserError, match=told) as raised:
            pack(tmp_path / "s.yaml", [f"storage={wrong}"], tmp_path / "q")
        assert "hush" not in str(raised.value)
    shell = {"AWS_ENDPOINT_URL": "http://s3:9000", "FSSPEC_S3_ENDPOINT_URL": "http://s3", "FSSPEC_CONFIG_DIR": "/x"}
    assert set(environment((), shell)) == {"AWS_ENDPOINT_URL", "FSSPEC_S3_ENDPOINT_URL"}
