"""Names in results import nothing, read nothing and fetch nothing, unless the user has named the same."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from sde_ray import plugins
from sde_ray.analysis import strategy as strategies
from sde_ray.cli.app import app
from sde_ray.config.load import check, load_config, write_sweep
from sde_ray.config.names import check_tracking_uri_is_named, is_own_sweep
from sde_ray.config.open import open_sweep
from sde_ray.config.trial import TrialConfig
from sde_ray.design.designs import make_design
from sde_ray.errors import UserError
from sde_ray.models.predictor import ADAPTER_CARD, Predictor, read_card, read_task, write_card
from sde_ray.plugins import code_of, is_trusted, load_object, trust, trust_code
from sde_ray.safe_json import content_hash
from sde_ray.tasks import get_task, resolve_task, trial_task
from sde_ray.tracking.tracking_uri import resolve_tracking_uri

EVIL = "from pathlib import Path\nPath('owned').touch()\nT = None\n"
CARD = {"task": "masa:d1", "design": {}, "model": "tiny", "max_length": 64, "max_new_tokens": 8}
SMALL = {
    "name": "x",
    "task": "masa:d1",
    "train_sizes": 200,
    "seeds": [0],
    "search": {"method": "random", "n_trials": 1},
}
HOTELS = {"name": "hotels", "kind": "label", "slots": ["room"], "labels": ["good", "bad"]}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: `helper.py`, which nobody has named, and a secret file; nothing is trusted in it."""
    (tmp_path / "helper.py").write_text(EVIL)
    rows = [{"text": f"private {n}", "answer": {"room": "good"}} for n in range(30)]
    (tmp_path / "private.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(plugins.TRUSTED, "[]")
    monkeypatch.setenv("SDE_OWN_SWEEPS", str(tmp_path / "own"))
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(trial_task, "_definitions", {})
    trial_task._open.cache_clear()
    trial_task._examples.cache_clear()
    yield tmp_path
    sys.modules.pop("helper", None)


def results_folder(folder: Path, **values: Any) -> Path:
    """A folder of results that came from elsewhere."""
    path = folder / "runs" / "x"
    path.mkdir(parents=True)
    (path / "sweep.yaml").write_text(yaml.safe_dump({**SMALL, **values}))
    return path


def add_result(path: Path, **config: Any) -> str:
    """A finished trial whose configuration is as given, with the key of it."""
    plain = {**TrialConfig("masa:d1", make_design(), "tiny", 0, 200, 60).resolved(), **config}
    key = content_hash({name: value for name, value in plain.items() if name != "definition"})
    line = {"schema": 2, "key": key, "config": plain, "status": "finished", "scores": {"dev": {"weighted_kappa": 0.5}}}
    with (path / "ledger.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")
    trial = path / "trials" / key
    trial.mkdir(parents=True)
    (trial / "config.json").write_text(json.dumps({"key": key, **plain}))
    return key


def run_command(*arguments: str) -> str:
    """The output of a command, whatever it ends with; none is a defect."""
    done = CliRunner().invoke(app, list(arguments))
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.output


def nothing_ran(folder: Path) -> bool:
    return not (folder / "owned").exists() and "helper" not in sys.modules


# ---- code ------------------------------------------------------------------------------------------------------------


def test_an_adapter_s_card_imports_nothing(folder: Path) -> None:
    for card in ({"task": "helper:T"}, {"design": {"helper:T": "x"}}):
        (folder / ADAPTER_CARD).write_text(json.dumps({**CARD, **card}))
        with pytest.raises(UserError, match='"helper'):
            Predictor.load(folder)
    assert nothing_ran(folder)


@pytest.mark.parametrize(
    "command",
    [
        "effects",
        "report",
        "score",
        "assemble",
        *(pytest.param(n, marks=pytest.mark.slow) for n in ("validate", "sync")),
    ],
)
def test_a_ledger_line_imports_nothing(command: str, folder: Path) -> None:
    path = results_folder(folder)
    add_result(path, design={**dict(make_design().options), "format": "helper:T"})
    add_result(path, task="helper:T")
    run_command(command, "runs/x")
    assert nothing_ran(folder)


def test_a_trial_s_completions_import_nothing(folder: Path) -> None:
    path = results_folder(folder)
    key = add_result(path)
    row = {"split": "dev", "id": "1", "prediction": "food: positive", "task": "helper:T"}
    (path / "trials" / key / "predictions.jsonl").write_text(json.dumps(row) + "\n")
    for command in ("effects", "report", "score"):
        run_command(command, "runs/x")
    assert nothing_ran(folder)


def test_a_strategy_imports_nothing(folder: Path) -> None:
    (folder / "strategy.yaml").write_text(yaml.safe_dump({"kind": strategies.KIND, "design": {"format": "helper:T"}}))
    with pytest.raises(UserError, match='names code of the module "helper"'):
        strategies.load(folder / "strategy.yaml")
    assert nothing_ran(folder)


NAMES: dict[str, dict[str, Any]] = {
    "a task": {"task": "helper:T"},
    "an axis": {"axes": {"helper:T": ["x"]}},
    "an option": {"axes": {"format": ["lines", "helper:T"]}},
    "a design": {"designs": ["format=helper:T"]},
    "a design as a mapping": {"designs": [{"format": "helper:T"}]},
    "the reference": {"search": {"method": "one_at_a_time", "reference_design": "helper:T=x"}},
    "a control": {"validation": {"controls": ["format=helper:T"]}},
    "a metric": {"objective": {"metric": "helper:T"}},
    "another task": {"out_of_domain": ["helper:T"]},
    "a metric of a task": {"task": {**HOTELS, "metrics": ["helper:T"], "data": {"path": "private.jsonl"}}},
    "a sibling of a task": {"task": {**HOTELS, "domains": ["helper:T"], "data": {"path": "private.jsonl"}}},
}


@pytest.mark.parametrize("values", NAMES.values(), ids=NAMES)
def test_the_sweep_file_in_a_folder_of_results_imports_nothing(values: dict[str, Any], folder: Path) -> None:
    path = results_folder(folder, **values)
    with pytest.raises(UserError, match=r'lies in a folder of results.*the module "helper"'):
        open_sweep(path)
    for command in ("effects", "score", "validate"):
        assert 'the module "helper"' in run_command(command, "runs/x").replace("\n", " ")
    assert nothing_ran(folder)


def test_code_of_a_model_s_own_is_not_run_because_of_a_folder(folder: Path) -> None:
    path = results_folder(folder, trust_remote_code=True)
    with pytest.raises(UserError, match="trust_remote_code: true"):
        open_sweep(path)


def test_no_variable_and_no_cluster_of_a_folder_is_used(folder: Path) -> None:
    resources = {"address": "ray://10.0.0.1:10001", "env_vars": {"LD_PRELOAD": "/tmp/evil.so"}, "num_workers": 2}
    path = results_folder(folder, resources=resources, train={"train_batch_size": 4})
    config = open_sweep(path)
    assert config.resources.num_workers == 2 and not config.resources.env_vars and not config.resources.address
    assert open_sweep(path, ["resources.address=auto"]).resources.address == "auto"
    assert load_config(path / "sweep.yaml").resources.env_vars == resources["env_vars"]


# ---- what the user names ---------------------------------------------------------------------------------------------


def test_a_module_is_imported_where_the_user_trusts_it(folder: Path) -> None:
    (folder / "card").mkdir()
    (folder / "card" / ADAPTER_CARD).write_text(json.dumps({**CARD, "task": "helper:T"}))
    assert "is of type NoneType" in run_command("predict", "card", "good food", "--trust-code", "helper")
    assert (folder / "owned").exists()


def test_a_module_is_imported_where_the_user_s_yaml_names_it(folder: Path) -> None:
    path = results_folder(folder, axes={"format": ["lines", "helper:T"]})
    with pytest.raises(UserError, match="is of type NoneType"):  # imported, and of the wrong type
        load_config(path / "sweep.yaml")
    assert (folder / "owned").exists()


def test_trust_is_of_the_module_that_is_named_and_of_no_other() -> None:
    trust(*code_of("format=my_pkg.axes:TABS,my_tones:TONE=polite"))
    assert is_trusted("my_pkg.axes") and is_trusted("my_tones")
    assert not any(map(is_trusted, ("my_pkg", "my_pkg.other", "my_pkg.axes.inner", "tones", "my_tone")))
    trust_code("my_pkg")
    assert is_trusted("my_pkg") and is_trusted("my_pkg.other") and not is_trusted("my_pkg_2")
    with pytest.raises(UserError, match='"my-pkg" is no name of a package'):
        trust_code("my-pkg")


def test_what_a_worker_may_import_is_in_its_environment() -> None:
    from sde_ray.config.schema import Resources
    from sde_ray.sweep.cluster.ray_session import _options

    trust_code("my_pkg")
    assert "my_pkg" in _options(Resources(), "/tmp/x")["runtime_env"]["env_vars"][plugins.TRUSTED]


@pytest.mark.parametrize("path", ["os:system", "os.path:join", "helper.inner:T", "heLper:T"])
def test_no_module_is_imported_that_nobody_named(path: str) -> None:
    with pytest.raises(UserError, match="names code of the module"):
        load_object(path, object, "anything")


def test_a_folder_that_this_user_s_sweep_has_written_is_the_user_s_own(folder: Path) -> None:
    axes = {"format": ["lines", "my_axes:TABS"]}
    (folder / "my_axes.py").write_text("from sde_ray.design.format_text import LINES\nTABS = LINES\n")
    config = check({"name": "mine", "task": "masa:d1", "axes": axes, "storage_path": str(folder / "runs")})
    write_sweep(config)
    shutil.move(folder / "runs" / "mine", folder / "moved")
    plugins.os.environ[plugins.TRUSTED] = "[]"
    assert is_own_sweep(folder / "moved" / "sweep.yaml")
    assert open_sweep(folder / "moved").axes == config.axes
    plugins.os.environ[plugins.TRUSTED] = "[]"
    text = (folder / "moved" / "sweep.yaml").read_text().replace("my_axes", "helper")
    (folder / "moved" / "sweep.yaml").write_text(text)
    with pytest.raises(UserError, match='the module "helper"'):
        open_sweep(folder / "moved")
    assert nothing_ran(folder)


# ---- data and addresses ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["http://127.0.0.1:1/t.yaml", "s3://bucket/t.yaml", "file:///etc/t.yaml"])
def test_no_address_of_a_card_is_opened(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sde_ray.storage.remote.RemoteFolder", lambda uri: pytest.fail(f"{uri} was opened"))
    for card in ({"task": name}, {"model": name}):
        (folder / ADAPTER_CARD).write_text(json.dumps({**CARD, **card}))
        trust(name)
        with pytest.raises(UserError, match="it names an address, from which nothing is fetched"):
            Predictor.load(folder)


def test_a_card_reads_no_data_of_its_task(folder: Path) -> None:
    (folder / ADAPTER_CARD).write_text(json.dumps({**CARD, "task": "masa:d1@/etc/passwd"}))
    assert read_task(read_card(folder)).name == "masa:d1"
    (folder / ADAPTER_CARD).write_text(json.dumps({**CARD, "task": "task.yaml"}))
    with pytest.raises(UserError, match='leads to "task.yaml"'):
        read_task(read_card(folder))


def test_the_card_of_a_yaml_file_s_task_holds_the_task(folder: Path) -> None:
    definition = {**HOTELS, "data": {"path": "private.jsonl"}}
    (folder / "hotels.yaml").write_text(yaml.safe_dump(definition))
    write_card(folder, TrialConfig("hotels.yaml", make_design(), "tiny", 0, 10, 10), 8)
    (folder / "hotels.yaml").unlink()
    card = read_card(folder)
    assert read_task(card).slots == ("room",) and "data" not in card.definition


DEFINITIONS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "a file": lambda folder: {"format": "jsonl", "path": str(folder / "private.jsonl")},
    "a data set of the hub": lambda folder: {"hub": "somebody/tracker", "splits": {"train": "train", "dev": "dev"}},
}


@pytest.mark.parametrize("data", DEFINITIONS.values(), ids=DEFINITIONS)
def test_the_definition_in_a_ledger_leads_to_no_data(
    data: Callable[[Path], dict[str, Any]], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for reader in ("read_hub", "split_names", "_load"):
        monkeypatch.setattr(f"sde_ray.data.source.{reader}", lambda *_, **__: pytest.fail("data were read"))
    path = results_folder(folder)
    key = add_result(path, task="masa:d1", definition={**HOTELS, "name": "masa:d1", "data": data(folder)})
    row = {"split": "dev", "id": "1", "prediction": "room: good", "task": None}
    (path / "trials" / key / "predictions.jsonl").write_text(json.dumps(row) + "\n")
    for command in ("effects", "report", "score"):
        assert "private" not in run_command(command, "runs/x")
    assert not (path / "report.html").exists() or "private" not in (path / "report.html").read_text()


@pytest.mark.parametrize("data", DEFINITIONS.values(), ids=DEFINITIONS)
def test_the_sweep_file_in_a_folder_of_results_leads_to_no_data(
    data: Callable[[Path], dict[str, Any]], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sde_ray.data.source.split_names", lambda *_: pytest.fail("the hub was asked"))
    path = results_folder(folder, task={**HOTELS, "data": data(folder)})
    with pytest.raises(UserError, match='the data of the task "hotels"'):
        open_sweep(path)
    named = results_folder(folder / "second", task=f"masa:d1@{folder}/private.jsonl")
    with pytest.raises(UserError, match="the task or the data at"):
        open_sweep(named)


def test_a_task_that_the_user_defines_is_read(folder: Path) -> None:
    data = {"format": "jsonl", "path": "private.jsonl"}
    (folder / "x.yaml").write_text(yaml.safe_dump({"task": {**HOTELS, "data": data}}))
    (section,) = load_config(folder / "x.yaml").task
    assert trial_task.trial_examples("hotels", "train", section)[0].text.startswith("private")
    moved = {**section, "data": {"format": "jsonl", "path": "/gone.jsonl"}}  # of a ledger from before data were moved
    assert trial_task.trial_task("hotels", moved) is trial_task.trial_task("hotels", section)


def test_a_name_s_data_are_read_where_the_user_names_them(folder: Path) -> None:
    (folder / "hotels.yaml").write_text(yaml.safe_dump({**HOTELS, "data": {"path": "private.jsonl"}}))
    with pytest.raises(UserError, match='leads to "hotels.yaml"'):
        resolve_task("hotels.yaml")
    assert get_task("hotels.yaml").slots == ("room",)
    assert resolve_task("hotels.yaml").load("train")


def test_no_credentials_go_to_a_server_that_only_a_folder_names(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = "http://127.0.0.1:1"
    path = results_folder(folder, mlflow={"tracking_uri": uri})
    config = open_sweep(path)  # to read it is no harm
    with pytest.raises(UserError, match="named by a folder of results only"):
        resolve_tracking_uri(config)
    assert resolve_tracking_uri(load_config(path / "sweep.yaml")) == uri
    monkeypatch.setenv(plugins.TRUSTED, "[]")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    check_tracking_uri_is_named(uri)


def test_a_name_of_a_megabyte_does_not_keep_processes_from_starting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDE_TRUSTED", "[]")
    trust("my_pkg", "x" * 2**20)
    assert json.loads(os.environ["SDE_TRUSTED"]) == ["my_pkg"]
    assert subprocess.run([sys.executable, "-c", "pass"], check=False).returncode == 0
