"""Storage at an address: which are taken, what they may not do, what nodes and commands make of them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from helpers import in_process
from helpers.flaky_store import Flaky
from helpers.in_process import on
from helpers.stores import Run, configure, quick, runs, storage, there  # noqa: F401
from typer.testing import CliRunner

from sde_ray.cli import app as cli
from sde_ray.config.load import check, open_tasks
from sde_ray.config.schema import SweepConfig
from sde_ray.errors import UserError
from sde_ray.storage.mirror import open_folder
from sde_ray.storage.remote import RemoteFolder
from sde_ray.storage.uri import MIRROR, checked, is_uri, local_path, mirrors
from sde_ray.sweep.cluster import preflight, ray_session
from sde_ray.sweep.plan import plan
from sde_ray.tasks import get_task
from sde_ray.tasks.trial_task import trial_task

# ---- addresses -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "location",
    ["s3://key:hush@bucket/runs", "s3://KEY:hu/sh@bucket/runs", "ftp://user:hush@host/runs", "s3://:hush@bucket/r"],
)
def test_an_address_with_a_password_is_refused_without_telling_it(location: str) -> None:
    with pytest.raises(UserError, match="has a password in it") as told:
        check({"name": "x", "task": "masa:d1", "storage_path": location})
    assert "hush" not in str(told.value) and "sh@" not in str(told.value)
    shown = CliRunner().invoke(cli.app, ["report", f"{location}/x"])
    assert shown.exit_code == 2 and "hush" not in shown.output and "sh@" not in shown.output
    with pytest.raises(UserError, match="has a password in it"):
        get_task(f"{location}/task.yaml")


@pytest.mark.parametrize(
    "location",
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
def test_what_is_no_folder_of_a_store_is_refused(location: str) -> None:
    with pytest.raises(UserError, match=r"storage_path: .*(is no folder of a store|no store is called)"):
        check({"name": "x", "task": "masa:d1", "storage_path": location})


@pytest.mark.parametrize("location", ["s3://b/runs", "gs://b/runs/", "abfs://c@account.dfs.core.windows.net/r", "runs"])
def test_a_place_is_taken_and_its_mirror_stays_with_the_mirrors(location: str) -> None:
    assert checked(location) == location.rstrip("/")
    assert local_path(location).is_relative_to(mirrors()) == is_uri(location)


def test_mirrors_of_different_addresses_differ_and_none_leaves_its_folder() -> None:
    places = ["s3://b/a/b", "s3://b/a%2Fb", "gs://b/a/b", "s3://b/../../etc", "s3://b/..\\..\\x", "s3://b/a b"]
    paths = [local_path(location) for location in places]
    assert len(set(paths)) == len(paths)
    assert all(path.resolve().is_relative_to(mirrors()) for path in paths)


@pytest.mark.parametrize("name", ["../owned", "trials/../../owned", "/owned", "trials/k/../../../../owned"])
def test_a_file_of_the_store_cannot_leave_the_mirror(name: str, tmp_path: Path, run: Run) -> None:
    config = configure("memory", tmp_path)
    run(config)
    store = config.run_dir.folder
    assert store.remote
    system = store.remote.system
    whole = system.find
    evil = {f"{store.remote.path('')}/{name}": {"size": 3, "type": "file", "created": None}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(system), "find", lambda self, path, **options: {**whole(path, **options), **evil})
        assert name not in store.remote.list()
        store.download()
    assert not list(tmp_path.rglob("owned"))


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec.core

    def missing(uri: str) -> Any:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec.core, "url_to_fs", missing)
    with pytest.raises(UserError, match=r'"s3://bucket/runs/x" needs a package .*: pip install s3fs'):
        open_folder("s3://bucket/runs/x").download()
    (tmp_path / "s.yaml").write_text("task: masa:d1\nstorage_path: s3://bucket/runs\n")
    told = CliRunner().invoke(cli.app, ["run", str(tmp_path / "s.yaml")])
    assert told.exit_code == 2 and "pip install s3fs" in told.output


def test_a_plain_folder_never_loads_fsspec(tmp_path: Path) -> None:
    code = (
        "import sys; from sde_ray.storage import lease, mirror; from sde_ray.pipeline import run;"
        "from sde_ray.config.load import check;"
        f"c = check({{'name': 'x', 'task': 'masa:d1', 'storage_path': {str(tmp_path)!r}}});"
        "s = mirror.open_folder(c.run_dir.uri());"
        "s.download(); s.upload(s.folder); print('fsspec' in sys.modules, list(s.folder.parent.iterdir()))"
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
    location = f"file://{tmp_path}/runs/x/.nodes"
    assert "does not see what the driver wrote there (No such file" in preflight.check_from_node(
        location, "token", "node"
    )
    RemoteFolder(location).write("driver", b"another")
    assert preflight.check_from_node(location, "token", "node") == "sees another folder of the same name"
    RemoteFolder(location).write("driver", b"token")
    with on(tmp_path / "node"):
        assert preflight.check_from_node(location, "token", "node") == ""
    assert preflight._check_marker(location, "node", "token") == ""
    Flaky.be(float("inf"), only=("pipe_file",))
    assert "cannot write there (ConnectionError" in preflight.check_from_node(
        location.replace("file:", "flaky:"), "token", "n"
    )


def test_a_node_without_the_store_s_package_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(uri: str) -> Any:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr("fsspec.core.url_to_fs", missing)
    assert "pip install s3fs" in preflight.check_from_node("s3://bucket/runs/x/.nodes", "token", "node")


def test_all_nodes_that_do_not_reach_the_store_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    nodes = [{"NodeID": f"{n}" * 12, "NodeManagerHostname": f"host{n}"} for n in range(2)]

    def ask(location: str, token: str, nodes: Any) -> dict[str, str]:
        return {
            "0" * 12: preflight.check_from_node(location, token, "0" * 12),
            "1" * 12: "cannot write there (PermissionError)",
        }

    monkeypatch.setattr(preflight, "_ask_nodes", ask)
    with pytest.raises(UserError, match=r"all nodes reach.*resources.env_vars\): node host1 .* cannot write there"):
        preflight.check_shared(f"file://{tmp_path}/runs/x", nodes)
    assert RemoteFolder(f"file://{tmp_path}/runs/x").list() == {}, "the markers are taken away"


def test_the_memory_of_one_process_is_no_place_for_trials_of_others(tmp_path: Path) -> None:
    config = configure("memory", tmp_path)
    with pytest.raises(UserError, match="memory of this process.*file:///shared/runs"):
        preflight.check_nodes(config, config.run_dir.folder)


def test_the_workers_of_a_trial_share_a_node(tmp_path: Path) -> None:
    config = configure("file", tmp_path, resources={"num_workers": 2, "resources_per_worker": {"GPU": 1}})
    small = {"Alive": True, "Resources": {"CPU": 8.0, "GPU": 1.0}}
    with pytest.raises(UserError, match="2 GPU, which no node has.*share a node"):
        preflight._check_room(config, [small, small])
    preflight._check_room(config, [small, {"Alive": True, "Resources": {"CPU": 8.0, "GPU": 2.0}}])
    assert config.run_dir.folder.strategy == "STRICT_PACK"
    assert open_folder(str(tmp_path)).strategy == "PACK"
    assert len(ray_session.bundles(config.resources)) == 3


# ---- tasks and commands ----------------------------------------------------------------------------------------------


def test_a_written_out_task_is_the_same_on_every_machine_and_in_every_folder(tmp_path: Path) -> None:
    rows = [{"text": f"{n} soup", "answer": {"food": "good" if n % 2 else "bad"}} for n in range(60)]
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = {"format": "jsonl", "path": str(tmp_path / "d.jsonl")}
    task = {
        "name": "t",
        "kind": "label",
        "slots": ["food"],
        "labels": ["good", "bad"],
        "placeholder": "none",
        "data": data,
    }
    config = configure("file", tmp_path, task=task)
    trials = plan(config).trials
    assert {trial.task for trial in trials} == {"t"} == set(open_tasks(config))
    with on(tmp_path / "node"):
        assert trial_task("t", trials[0].resolved()["definition"]).slots == ("food",)
    elsewhere = configure("file", tmp_path / "other", task=task)
    assert [trial.key for trial in plan(elsewhere).trials] == [trial.key for trial in trials]


def test_commands_take_the_address_of_a_run_on_any_machine(tmp_path: Path, run: Run) -> None:
    config = configure("file", tmp_path)
    run(config, in_process.Tune(node=tmp_path / "node"))
    with on(tmp_path / "laptop"):
        shown = CliRunner().invoke(cli.app, ["effects", config.run_dir.uri(), "--json"])
        assert shown.exit_code == 0, shown.output
        assert len(json.loads(shown.stdout)[0]["leaderboard"]) == 4
        made = CliRunner().invoke(cli.app, ["assemble", config.run_dir.uri(), "--json"])
        assert made.exit_code == 0, made.output
        report = CliRunner().invoke(cli.app, ["report", config.run_dir.uri()])
        assert report.exit_code == 0, report.output
        plan = CliRunner().invoke(cli.app, ["plan", str(_yaml(config, tmp_path)), "--json"])
        assert plan.exit_code == 0 and "no folder any more" not in plan.output, plan.output
        scored = CliRunner().invoke(cli.app, ["score", config.run_dir.uri(), "--json"])
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
    from sde_ray.sweep.cluster.jobs import environment, resolve_sweep_id, sweep_id
    from sde_ray.sweep.cluster.package import build_package

    assert sweep_id("x", "s3://b/runs/") == sweep_id("x", "s3://b/runs") != sweep_id("x", "s3://b/run")
    assert resolve_sweep_id("s3://b/runs/x/") == sweep_id("x", "s3://b/runs"), "status, logs and stop take the address"
    (tmp_path / "s.yaml").write_text("task: masa:d1\n")
    (tmp_path / "p").mkdir()
    assert build_package(tmp_path / "s.yaml", ["storage_path=s3://b/runs"], tmp_path / "p").storage == "s3://b/runs"
    for wrong, told in (("memory://b", "memory of one process"), ("s3://k:hush@b/c", "has a password in it")):
        with pytest.raises(UserError, match=told) as raised:
            build_package(tmp_path / "s.yaml", [f"storage_path={wrong}"], tmp_path / "q")
        assert "hush" not in str(raised.value)
    shell = {"AWS_ENDPOINT_URL": "http://s3:9000", "FSSPEC_S3_ENDPOINT_URL": "http://s3", "FSSPEC_CONFIG_DIR": "/x"}
    assert set(environment((), shell)) == {"AWS_ENDPOINT_URL", "FSSPEC_S3_ENDPOINT_URL"}
