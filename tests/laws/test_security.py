"""What must not happen: code run from data, files outside their folder, open doors, secrets in the open."""

from __future__ import annotations

import ast
import inspect
import json
import pickle
import re
import socket
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sde_ray.config.load import check, load_config, resolved, write_sweep
from sde_ray.config.schema import Resources, SweepConfig
from sde_ray.config.trial import TrialConfig
from sde_ray.design.designs import make_design
from sde_ray.errors import UserError
from sde_ray.models.predictor import ADAPTER_CARD, Predictor
from sde_ray.safe_text import mask
from sde_ray.sweep.cluster import ray_session
from sde_ray.tracking.mlflow_tracker import MlflowTracker
from sde_ray.tracking.run_data import run_params
from sde_ray.tracking.tracking_uri import ui_command
from sde_ray.tracking.ui import UiServer

PACKAGE = Path(__file__).parents[2] / "sde_ray"
RUNS_CODE = {"eval", "exec", "compile", "__import__"}
UNPICKLES = {"pickle", "dill", "cloudpickle", "marshal", "shelve", "joblib"}
CARD_OF_A_TRIAL = {"task": "masa:d1", "design": {}, "model": "tiny", "max_length": 64, "max_new_tokens": 8}
TOLD: dict[str, Any] = {"task": "masa:d1", "name": "x"}


# ---- no code from data -----------------------------------------------------------------------------------------------


def dangers(tree: ast.AST) -> list[str]:
    """Calls that run text as code, modules that unpickle, and loads that would."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            keywords = {word.arg: ast.unparse(word.value) for word in node.keywords}
            called = ast.unparse(node.func)
            found += [called] * (isinstance(node.func, ast.Name) and name in RUNS_CODE)
            found += [f"{called}(shell=True)"] * (keywords.get("shell") == "True")
            found += [called] * (called == "torch.load" and keywords.get("weights_only") != "True")
            found += [called] * (called in ("yaml.unsafe_load", "yaml.full_load", "os.system", "os.popen"))
            loader = [ast.unparse(one) for one in node.args[1:]] + [keywords.get("Loader", "")]
            found += [called] * (called == "yaml.load" and "_Loader" not in loader)
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        found += [name for name in names if name.partition(".")[0] in UNPICKLES]
    return found


@pytest.mark.parametrize("file", sorted(PACKAGE.rglob("*.py")), ids=lambda file: str(file.relative_to(PACKAGE)))
def test_nothing_runs_or_unpickles_what_it_reads(file: Path) -> None:
    assert dangers(ast.parse(file.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "code",
    [
        "eval(text)",
        "import pickle",
        "from joblib import load",
        "torch.load(path)",
        "yaml.load(text, yaml.Loader)",
        "subprocess.run(line, shell=True)",
    ],
)
def test_each_danger_would_be_seen(code: str) -> None:
    assert dangers(ast.parse(code))


def test_yaml_tags_that_make_objects_are_refused(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("task: masa:d1\nname: !!python/object/apply:os.system ['touch owned']\n")
    with pytest.raises(UserError, match="is no valid YAML"):
        load_config(tmp_path / "s.yaml")


class Bomb:
    """Unpickling it makes a file."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> Any:
        return Path.touch, (self.place,)


def test_a_pickled_adapter_is_refused_unread(tmp_path: Path, tiny_llama: Path) -> None:
    from sde_ray.models import base as model
    from sde_ray.models.lora import load_adapter

    (tmp_path / "adapter_model.bin").write_bytes(pickle.dumps(Bomb(tmp_path / "owned")))
    (tmp_path / "adapter_config.json").write_text(
        json.dumps({"peft_type": "LORA", "r": 4, "target_modules": ["q_proj"]})
    )
    base = model.load_base(str(tiny_llama))
    with pytest.raises(UserError, match="adapter_model.safetensors is missing"):
        load_adapter(base.model, tmp_path)
    assert not (tmp_path / "owned").exists()


def test_a_pickled_base_model_is_refused_unread(tmp_path: Path, tiny_llama: Path) -> None:
    from sde_ray.models import base as model

    for file in tiny_llama.iterdir():
        if file.suffix != ".safetensors":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb(tmp_path / "owned")))
    with pytest.raises(UserError, match="safetensors"):
        model.load_base(str(tmp_path))
    assert not (tmp_path / "owned").exists()


def test_code_of_a_model_s_own_is_off_unless_asked_for() -> None:
    assert SweepConfig.model_fields["trust_remote_code"].default is False
    assert TrialConfig.__dataclass_fields__["trust_remote_code"].default is False
    assert inspect.signature(Predictor.load).parameters["trust_remote_code"].default is False


def test_an_adapter_cannot_ask_for_code_to_be_run(tmp_path: Path) -> None:
    card = {**CARD_OF_A_TRIAL, "model": "somebody/model", "trust_remote_code": True}
    (tmp_path / ADAPTER_CARD).write_text(json.dumps(card))
    with pytest.raises(UserError, match="--trust-remote-code"):
        Predictor.load(tmp_path)


# ---- names stay in their folder --------------------------------------------------------------------------------------


@given(st.text(st.sampled_from("ab./\\ \n~$%:;\0"), min_size=1, max_size=12))
def test_a_sweep_s_name_is_one_folder_or_refused(name: str) -> None:
    try:
        config = check({**TOLD, "name": name, "storage_path": "/s"})
    except UserError:
        return
    assert config.run_dir.path.resolve().parent == Path("/s")


@pytest.mark.parametrize("name", ["../../owned", "/etc/owned", "..", "a/b", "x\0y", "~root", "$(touch owned)"])
def test_a_task_s_name_cannot_leave_the_sweep_s_folder(name: str, tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_text(
        "".join(json.dumps({"text": f"{n} soup", "answer": {"food": "good"}}) + "\n" for n in range(30))
    )
    task = {"name": name, "kind": "label", "slots": ["food"], "labels": ["good", "bad"], "placeholder": "none",
            "data": {"format": "jsonl", "path": str(tmp_path / "d.jsonl")}}  # fmt: skip
    storage = tmp_path / "deep" / "runs"
    try:
        write_sweep(check({"name": "x", "task": task, "storage_path": str(storage)}))
    except UserError:
        pass  # refused is as good
    made = {path for path in tmp_path.rglob("*") if path.is_file()} - {tmp_path / "d.jsonl"}
    assert all(path.is_relative_to(storage / "x") for path in made)


def test_a_trial_s_folder_is_named_by_its_hash() -> None:
    key = TrialConfig("../../owned", make_design(), "../model", 0, 10, 10).key
    assert len(key) == 16 and set(key) <= set("0123456789abcdef")


# ---- doors -----------------------------------------------------------------------------------------------------------


def test_servers_listen_on_loopback_unless_told() -> None:
    from sde_ray.cli.ui import ui

    assert inspect.signature(ui).parameters["host"].default == "127.0.0.1"
    assert ui_command("sqlite:////a.db")[-4:-2] == ["--host", "127.0.0.1"]
    options = ray_session._options(Resources(), "/tmp/x")
    assert options["include_dashboard"] is False and options["address"] == "local"


def test_a_store_s_password_is_no_argument_of_a_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    started: list[tuple[list[str], dict[str, str]]] = []
    ended = SimpleNamespace(poll=lambda: 1, wait=lambda: 1, terminate=lambda: None)
    monkeypatch.setattr("subprocess.Popen", lambda command, env, **rest: started.append((command, env)) or ended)
    with UiServer("postgresql://u:hush@h/db", 5000, "127.0.0.1", tmp_path / "log"):
        pass
    (command, environment), *_ = started
    assert "hush" not in " ".join(command) and "hush" in environment["MLFLOW_BACKEND_STORE_URI"]


def test_every_file_that_starts_a_dashboard_sets_a_token() -> None:
    files = [path for path in (PACKAGE.parent / "cluster").iterdir() if path.suffix in (".yaml", ".sh")]
    starting = {path.name: path.read_text(encoding="utf-8") for path in files if "dashboard-host" in path.read_text()}
    assert len(starting) >= 5
    token = r"RAY_AUTH_MODE=token|authOptions: {mode: token"
    assert [name for name, text in starting.items() if not re.search(token, text)] == []


def test_rays_token_authentication_is_left_on(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not [name for name in ray_session.ENVIRONMENT if "AUTH" in name]
    shipped = [path for path in (PACKAGE.parent / "cluster").rglob("*") if path.is_file()]
    for file in [*PACKAGE.rglob("*.py"), *shipped]:
        assert "RAY_AUTH_MODE=disabled" not in file.read_text(encoding="utf-8", errors="replace")


# ---- secrets ---------------------------------------------------------------------------------------------------------

SECRETS = {
    "mlflow": {"tracking_uri": "http://user:hush-1@mlflow:5000"},
    "resources": {
        "address": "ray://user:hush-2@head:10001",
        "env_vars": {"HF_TOKEN": "hush-3", "DB_PASSWORD": "hush-4", "URL": "http://u:hush-5@h"},
    },
}


def test_no_secret_is_in_what_a_sweep_writes(tmp_path: Path) -> None:
    config = check({**TOLD, **SECRETS, "storage_path": str(tmp_path)})
    assert "hush" not in json.dumps(resolved(config))
    write_sweep(config)
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or "hush" not in path.read_text(encoding="utf-8")
    assert yaml.safe_load((tmp_path / "x" / "sweep.yaml").read_text())["resources"]["env_vars"]["HF_TOKEN"] == "***"


def test_no_secret_is_in_the_params_of_a_run() -> None:
    secrets = {"comms": {"auth_token": "hush"}, "monitor": "http://u:hush@h"}
    trial = replace(TrialConfig("masa:d1", make_design(), "http://u:hush@h/m", 0, 10, 10), deepspeed=secrets)
    assert "hush" not in json.dumps(run_params(trial.resolved()))


@pytest.mark.parametrize(
    "address", ["http://u:hush@h:1", "postgresql+psycopg2://u:hush@h/db", "failed at http://u:hush@h, twice"]
)
def test_passwords_in_addresses_are_masked_wherever_they_stand(address: str) -> None:
    assert "hush" not in str(mask(address))


def test_a_refused_store_does_not_tell_its_password() -> None:
    with pytest.raises(UserError) as told:
        MlflowTracker("ftp://user:hush@host")
    assert "hush" not in str(told.value)


def test_a_doctor_does_not_tell_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    from sde_ray.sweep.cluster import doctor

    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        uri = f"http://user:hush@127.0.0.1:{closed.getsockname()[1]}"
        (row,) = doctor.tracking(doctor.Target(tracking_uri=uri))
    assert row.state == "fail" and "hush" not in row.found + row.remedy
