"""What a user writes: sweep YAML as bytes and as values, `--set`, and names of all kinds."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from fuzz.hostile import Outcomes, encoded, hostile, mutated, odd_texts, odd_values, one_in, twisted
from fuzz.samples import BOMB
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from sde_ray.analysis.strategy import Strategy
from sde_ray.analysis.strategy import load as load_strategy
from sde_ray.config.load import check, definition_of, load_config, open_tasks, resolved, write_sweep
from sde_ray.config.trial import TrialConfig
from sde_ray.design import designs
from sde_ray.models.predictor import find_adapter
from sde_ray.safe_text import mask, redact
from sde_ray.safe_yaml import assign, read_yaml
from sde_ray.sweep.cluster.jobs import sweep_id
from sde_ray.sweep.cluster.package import build_package
from sde_ray.tasks import get_task
from sde_ray.tasks.trial_task import trial_task
from sde_ray.tracking.mlflow_tracker import MlflowTracker
from sde_ray.tracking.registry import model_name

SWEEPS = sorted((Path(__file__).parents[2] / "sweeps").glob("*.yaml"))
OWN_TASK = """
name: own
task:
  name: hotel reviews
  kind: label
  slots: [room, staff]
  labels: [good, bad]
  placeholder: not said
  numbers: {good: 1, bad: 0}
  nouns: {text: review, slot: aspect}
  instruction: "Rate {slots} of the {text} {where}: {labels}."
  metrics: [accuracy, macro_f1]
  objective: accuracy
  span_match: near
  data: {format: jsonl, path: own.jsonl, overlap: drop, columns: {text: text}}
"""
OWN_SLOTS = """
name: own
task:
  name: tickets
  kind: label
  labels: {urgency: [low, high], product: [app, router, high], stars: [1, 2.5, 4]}
  multilabel: [product]
  numbers: {urgency: {low: 7, high: 8}, unmentioned: -9}
  objective: micro_f1
  data: {format: jsonl, path: own.jsonl}
"""
OWN_NUMBERS = """
name: own
task:
  name: prices
  kind: free
  slots: [price, note]
  range: {price: [0, 1e3]}
  metrics: [neg_mae, neg_nmae]
  data: {format: jsonl, path: own.jsonl}
"""
MERGES = "a: &a {x: 1}\n" + "".join(
    f"{new}: &{new} {{<<: [{','.join([f'*{old}'] * 20)}]}}\n" for old, new in zip("abcd", "bcde", strict=True)
)
TEXTS = [
    OWN_TASK, OWN_SLOTS, OWN_NUMBERS, MERGES + "task: masa:d1\n",
    BOMB + "task: *i\n", BOMB + "? *i\n: masa:d1\ntask: x\n",
    "task: &t [masa:d1, *t]\n", "a: &a {<<: *a}\n",
    "task: masa:d1\nname: !!int ''\n", "task: masa:d1\nname: !!bool x\n", "task: masa:d1\nname: !!timestamp x\n",
    "task: masa:d1\nseeds: !!set {1, 2}\n", "task: !!binary gICA\n", "task: masa:d1\ndeepspeed: {day: 2024-01-01}\n",
    "task: masa:d1\nseeds: [" + ",".join(map(str, range(3000))) + "]\n", "task: " + "[" * 400 + "]" * 400,
    "task: masa:d1\nx: " + "{a: " * 90 + "1" + "}" * 90, "task: masa:d1\nname: \"\\ud800\"\n",
    "task: masa:d1\nlr: 1:2:3:4:59\n", "k" * 50_000 + ": 1\n",
    "task: masa:d1\ntrain: {learning_rate: .nan}\n", "task: masa:d1\nconstraints: {max_output_tokens: .inf}\n",
    "!!python/object/apply:os.system ['touch owned']\n", "task: !!python/name:os.system\n", "\ufefftask: masa:d1\n",
]  # fmt: skip
# Without comments, whose mutations try nothing.
SHIPPED = [re.sub(r"(?m)^\s*#.*\n", "", path.read_text(encoding="utf-8")) for path in SWEEPS]
VALUES = [read_yaml(path) for path in SWEEPS] + [yaml.safe_load(text) for text in (OWN_TASK, OWN_SLOTS, OWN_NUMBERS)]


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outcomes: Outcomes) -> Path:
    """The working folder, with the data of the tasks that are written out, and no way to the hub."""
    monkeypatch.setattr("sde_ray.data.source.split_names", lambda *_: ["train", "validation"])
    folder = tmp_path / "inside"
    folder.mkdir()
    monkeypatch.chdir(folder)
    rows = [{"text": f"{n} rooms", "answer": {"room": "good"}} for n in range(9)]
    (folder / "own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "bring_your_own.jsonl").write_bytes((SWEEPS[0].parent / "bring_your_own.jsonl").read_bytes())
    return folder


def assert_usable(config: Any, inside: Path) -> None:
    """What a configuration that was accepted promises: plain JSON, tasks that open, files inside its folder."""
    json.dumps(resolved(config), allow_nan=False, ensure_ascii=False).encode()
    placed = config.model_copy(update={"storage_path": str(inside / "runs")})
    write_sweep(placed)
    for name, task in open_tasks(placed).items():
        definition = json.loads(json.dumps(definition_of(placed, name)))
        assert trial_task(name, definition).slots == task.slots  # a worker builds it again
    assert placed.run_dir.path.resolve().parent == (inside / "runs").resolve()
    assert {path.name for path in inside.parent.iterdir()} == {"inside"}, "written outside"


@st.composite
def sweep_files(draw: DrawFn) -> tuple[bytes, bool]:
    """A sweep file, spoiled as text or as bytes; and whether to use it, where it is accepted."""
    text = draw(st.sampled_from(TEXTS)) if one_in(draw, 3) else draw(st.sampled_from(SHIPPED))
    return draw(encoded(draw(mutated(text, 2)), 10)), one_in(draw, 3)


@hostile(1_500, case=sweep_files())
def test_yaml(outcomes: Outcomes, inside: Path, case: tuple[bytes, bool]) -> None:
    """A configuration that can be run, or a `UserError`."""
    raw, used = case
    path = inside / "s.yaml"
    path.write_bytes(raw)
    config = outcomes.value_of(lambda: load_config(path))
    if config and used:
        assert_usable(config, inside)


@hostile(2_000, plain=st.sampled_from(VALUES).flatmap(lambda plain: twisted(plain, 8)), used=st.booleans())
def test_values(outcomes: Outcomes, inside: Path, plain: Any, used: bool) -> None:
    """The values of sweeps, twisted: the same law, without the time that YAML takes."""
    if not isinstance(plain, dict):
        return
    plain = {str(key): value for key, value in plain.items()}  # as `read_yaml` gives them
    config = outcomes.value_of(lambda: check({"name": "x", **plain}, base=inside))
    if config and used:
        assert_usable(config, inside)


SETS = ["train.learning_rate=1e-3", "seeds=[0,1]", "name=x", "search.method=grid", "task.data.path=own.jsonl"]
SETS += ["lora.target_modules=[a]"]


@hostile(3_000, text=mutated(st.sampled_from(SETS), 2) | odd_texts(8), seeds=odd_values())
def test_sets(outcomes: Outcomes, text: str, seeds: Any) -> None:
    """`--set` with any path and value: it sets what it says in a copy, or tells why not."""
    plain: dict[str, Any] = {"task": "masa:d1", "train": {"lr": 0.1}, "seeds": copy.deepcopy(seeds)}
    train = plain["train"]
    outcomes.value_of(lambda: assign(plain, text))
    assert train == {"lr": 0.1}, "the caller's own section was changed"
    json.dumps(plain, default=str)


# ---- names -----------------------------------------------------------------------------------------------------------

NAMES = ["../x", "..", ".", "/etc/x", "a/b", "a\\b", "~root/x", "$(touch x)", "`x`", "x;y", "a\0b", "x" * 300, "-rf",
         "http://u:pw@h:1/x", "sqlite:////../x.db", "file:///etc", "masa:d1@/etc", "masa:d1@../x", "jsonl:x", "a@b@c",
         "format=lines,x=../y", "os:system", "a.b:C", "ok-name_1.2", "masa:d1", "x.yaml", "es-sde"]  # fmt: skip


def names(*good: str) -> SearchStrategy[str]:
    """A name of any kind: good, dangerous, or odd."""
    return st.sampled_from(good or NAMES) | mutated(st.sampled_from(NAMES), 2) | odd_texts(6)


@hostile(1_800, name=names("ok-name_1.2"), other=names())
def test_names_of_sweeps(outcomes: Outcomes, inside: Path, name: str, other: str) -> None:
    """One folder in the storage, or refused."""
    given = {"name": name, "task": "masa:d1", "storage_path": str(inside / "runs")}
    config = outcomes.value_of(lambda: check(given))
    if config:
        assert config.run_dir.path.resolve().parent == (inside / "runs").resolve()
        run_dir = config.model_copy(update={"task": (name, other), "model": (name, other)}).run_dir
        for path in (run_dir.strategy(other, name), run_dir.validation(name, other), run_dir.adapter(name, other)):
            assert path.resolve().parent == config.run_dir.path.resolve(), path


@hostile(1_800, name=names("es-sde", "masa:d1"), other=names())
def test_names_of_designs_and_tasks(outcomes: Outcomes, inside: Path, name: str, other: str) -> None:
    """A design, a task, or refused."""
    design = outcomes.value_of(lambda: designs.parse_design(name))
    assert design is None or designs.paper_label(design)
    outcomes.value_of(lambda: get_task(name))
    outcomes.value_of(lambda: get_task(f"masa:d1@{name}"))
    assert re.fullmatch("[0-9a-f]{16}", TrialConfig(name, designs.make_design(), other, 0, 1, 1).key)


@hostile(1_800, name=names("x.yaml"))
def test_names_of_files(outcomes: Outcomes, inside: Path, name: str) -> None:
    """A file that is read, or a `UserError`."""
    (inside / "x.yaml").write_text("task: masa:d1\n")
    for action in (read_yaml, load_strategy, find_adapter):
        read = outcomes.value_of(lambda action=action: action(inside / name))
        assert read is None or (inside / name).exists(), "what is not there was read"
    outcomes.value_of(lambda: build_package(inside / "s.yaml", (f"name={name}", "storage_path=relative"), inside))


@hostile(1_800, name=names("sqlite:///x.db"), other=names())
def test_names_of_servers(outcomes: Outcomes, inside: Path, name: str, other: str) -> None:
    """A tracker, or refused; a password in an address is never shown."""
    outcomes.value_of(lambda: MlflowTracker(name))
    secret = f"postgresql://user:sesam{re.sub(r'[^a-z0-9/:@?#%-]', '', other)[:40]}@host/db"
    assert "sesam" not in str(mask(secret)) and "sesam" not in redact(f"{name} {secret}"), secret


@hostile(1_800, name=names(), other=names())
def test_names_of_models_and_jobs(outcomes: Outcomes, inside: Path, name: str, other: str) -> None:
    """A registered model's name that MLflow takes; the same id for the same sweep."""
    registered = model_name(Strategy(name, other, designs.make_design(), other, "f1", 0.0))
    assert not re.search(r"[/:\\\0]", registered)
    assert sweep_id(name, other) == sweep_id(name, other)
