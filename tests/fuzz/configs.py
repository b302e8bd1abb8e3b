"""Families of what a user writes: sweep YAML as bytes and as values, `--set`, and names of all kinds."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from fuzz.engine import Random, Room, Try, family, mutated, odd, some, spoiled, twisted

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
BOMB = "a: &a [1,1,1,1,1,1,1,1,1]\n" + "".join(
    f"{new}: &{new} [{','.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGES = "a: &a {x: 1}\n" + "".join(
    f"{new}: &{new} {{<<: [{','.join([f'*{old}'] * 20)}]}}\n" for old, new in zip("abcd", "bcde", strict=True)
)
TEXTS = [
    OWN_TASK, MERGES + "task: masa:d1\n", BOMB + "task: *i\n", BOMB + "? *i\n: masa:d1\ntask: x\n",
    "task: &t [masa:d1, *t]\n", "a: &a {<<: *a}\n",
        "task: masa:d1\nname: !!int ''\n", "task: masa:d1\nname: !!bool x\n", "task: masa:d1\nname: !!timestamp x\n",
    "task: masa:d1\nseeds: !!set {1, 2}\n", "task: !!binary gICA\n", "task: masa:d1\ndeepspeed: {day: 2024-01-01}\n",
    "task: masa:d1\nseeds: [" + ",".join(map(str, range(3000))) + "]\n", "task: " + "[" * 400 + "]" * 400,
    "task: masa:d1\nx: " + "{a: " * 90 + "1" + "}" * 90, "task: masa:d1\nname: \"\\ud800\"\n",
    "task: masa:d1\nlr: 1:2:3:4:59\n", "k" * 50_000 + ": 1\n",
    "task: masa:d1\ntrain: {learning_rate: .nan}\n", "task: masa:d1\nconstraints: {max_output_tokens: .inf}\n",
    "!!python/object/apply:os.system ['touch owned']\n", "task: !!python/name:os.system\n", "\ufefftask: masa:d1\n",
]  # fmt: skip


def prepared(room: Room) -> Path:
    """A folder with the data of the tasks that are written out, and no way to the hub."""
    patch = pytest.MonkeyPatch()
    patch.setattr("sde_ray.data.source.split_names", lambda *_: ["train", "validation"])
    inside = room.folder / "inside"
    inside.mkdir()
    patch.chdir(inside)
    rows = [{"text": f"{n} rooms", "answer": {"room": "good"}} for n in range(9)]
    (inside / "own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (inside / "bring_your_own.jsonl").write_bytes((SWEEPS[0].parent / "bring_your_own.jsonl").read_bytes())
    return inside


def assert_usable(room: Room, config: Any) -> None:
    """What a configuration that was accepted promises: plain JSON, tasks that open, files inside its folder."""
    json.dumps(resolved(config), allow_nan=False, ensure_ascii=False).encode()
    placed = config.model_copy(update={"storage_path": str(room.folder / "inside" / "runs")})
    write_sweep(placed)
    for name, task in open_tasks(placed).items():
        definition = json.loads(json.dumps(definition_of(placed, name)))
        assert trial_task(name, definition).slots == task.slots  # a worker builds it again
    assert placed.run_dir.path.resolve().parent == (room.folder / "inside" / "runs").resolve()
    assert {path.name for path in room.folder.iterdir()} == {"inside"}, "written outside"


@family("yaml", 1_500)
def yaml_text(room: Room) -> Try:
    """Sweep files, spoiled as text and as bytes: a configuration that can be run, or a `UserError`."""
    inside = prepared(room)
    shipped = [path.read_text(encoding="utf-8") for path in SWEEPS]
    shipped = [re.sub(r"(?m)^\s*#.*\n", "", text) for text in shipped]  # mutations of comments try nothing
    path = inside / "s.yaml"

    def load(raw: bytes) -> Any:
        path.write_bytes(raw)
        return room.law(lambda: load_config(path))

    def attempt(rng: Random) -> None:
        text = rng.choice(TEXTS) if rng.random() < 0.3 else rng.choice(shipped)
        text = text if rng.random() < 0.25 else mutated(text, rng, 2)
        raw = text.encode("utf-8", "replace")
        raw = spoiled(raw, rng) if rng.random() < 0.1 else raw
        room.given, room.again = raw, load
        config = load(raw)
        if config and rng.random() < 0.3:
            assert_usable(room, config)

    return attempt


@family("values", 2_000)
def values(room: Room) -> Try:
    """The values of sweeps, twisted: the same law, without the time that YAML takes."""
    inside = prepared(room)
    known = [read_yaml(path) for path in SWEEPS] + [yaml.safe_load(OWN_TASK)]

    def judge(plain: Any) -> Any:
        return room.law(lambda: check({"name": "x", **plain}, base=inside))

    def attempt(rng: Random) -> None:
        plain = twisted(copy.deepcopy(rng.choice(known)), rng, rng.choice((0.01, 0.05, 0.15)))
        if not isinstance(plain, dict):
            return
        plain = {str(key): value for key, value in plain.items()}  # as `read_yaml` gives them
        room.given = plain
        config = judge(plain)
        if config and rng.random() < 0.3:
            assert_usable(room, config)

    return attempt


SETS = ["train.learning_rate=1e-3", "seeds=[0,1]", "name=x", "search.method=grid", "task.data.path=own.jsonl"]
SETS += ["lora.target_modules=[a]"]


@family("sets", 3_000)
def sets(room: Room) -> Try:
    """`--set` with any path and value: it sets what it says in a copy, or tells why not."""

    def attempt(rng: Random) -> None:
        text = mutated(rng.choice(SETS), rng, 2) if rng.random() < 0.7 else some(rng, 8)
        plain: dict[str, Any] = {"task": "masa:d1", "train": {"lr": 0.1}, "seeds": odd(rng)}
        room.given = text
        train = plain["train"]
        room.law(lambda: assign(plain, text))
        assert train == {"lr": 0.1}, "the caller's own section was changed"
        json.dumps(plain, default=str)

    return attempt


# ---- names -----------------------------------------------------------------------------------------------------------

NAMES = ["../x", "..", ".", "/etc/x", "a/b", "a\\b", "~root/x", "$(touch x)", "`x`", "x;y", "a\0b", "x" * 300, "-rf",
         "http://u:pw@h:1/x", "sqlite:////../x.db", "file:///etc", "masa:d1@/etc", "masa:d1@../x", "jsonl:x", "a@b@c",
         "format=lines,x=../y", "os:system", "a.b:C", "ok-name_1.2", "masa:d1", "x.yaml", "es-sde"]  # fmt: skip


def a_name(rng: Random) -> str:
    name = rng.choice(NAMES)
    return name if rng.random() < 0.3 else mutated(name, rng, 2) if rng.random() < 0.8 else some(rng, 6)


@family("names", 9_000)
def names(room: Room) -> Try:
    """Names of sweeps, tasks, designs, files, stores: one folder, one word, or refused; nothing outside is made."""
    inside = prepared(room)

    def attempt(rng: Random) -> None:
        name, other = a_name(rng), a_name(rng)
        room.given = (name, other)
        rng.choice((sweeps, designs_and_tasks, files, stores, labels))(name, other)

    def sweeps(name: str, other: str) -> None:
        config = room.law(lambda: check({"name": name, "task": "masa:d1", "storage_path": str(inside / "runs")}))
        if config:
            assert config.run_dir.path.resolve().parent == (inside / "runs").resolve()
            run_dir = config.model_copy(update={"task": (name, other), "model": (name, other)}).run_dir
            for path in (run_dir.strategy(other, name), run_dir.validation(name, other), run_dir.adapter(name, other)):
                assert path.resolve().parent == config.run_dir.path.resolve(), path

    def designs_and_tasks(name: str, other: str) -> None:
        found = room.law(lambda: designs.parse_design(name))
        assert found is None or designs.paper_label(found)
        room.law(lambda: get_task(name))
        room.law(lambda: get_task(f"masa:d1@{name}"))
        assert re.fullmatch("[0-9a-f]{16}", TrialConfig(name, designs.make_design(), other, 0, 1, 1).key)

    def files(name: str, other: str) -> None:
        for action in (read_yaml, load_strategy, find_adapter):
            room.law(lambda action=action: action(inside / name))
        room.law(lambda: build_package(inside / "s.yaml", (f"name={name}", "storage_path=relative"), inside))

    def stores(name: str, other: str) -> None:
        room.law(lambda: MlflowTracker(name))
        secret = f"postgresql://user:sesam{re.sub(r'[^a-z0-9/:@?#%-]', '', other)[:40]}@host/db"
        assert "sesam" not in str(mask(secret)) and "sesam" not in redact(f"{name} {secret}"), secret

    def labels(name: str, other: str) -> None:
        registered = model_name(Strategy(name, other, designs.make_design(), other, "f1", 0.0))
        assert not re.search(r"[/:\\\0]", registered)
        assert sweep_id(name, other) == sweep_id(name, other)

    return attempt
