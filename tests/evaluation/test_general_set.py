"""The general set: what is read, what is refused, and what becomes of it in a trial's configuration."""

from __future__ import annotations

import json
from dataclasses import replace
from math import sqrt
from pathlib import Path

import pytest

from sde_ray.config.load import check, load_config
from sde_ray.config.trial import TrialConfig
from sde_ray.design.designs import make_design
from sde_ray.errors import UserError
from sde_ray.evaluation.general_set import BUNDLED, GeneralItem, forgetting, general_set_name, open_general_set
from sde_ray.storage.ledger import from_json, has_own_key, to_json
from sde_ray.sweep.plan import plan
from sde_ray.types import TrialResult

ROWS = [{"text": f"passage {n}"} for n in range(5)] + [{"text": "The sky is", "right": "blue.", "wrong": ["soup."]}]


def written(path: Path, rows: list[object]) -> str:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return str(path)


def test_the_bundled_set_has_passages_and_endings() -> None:
    items = open_general_set(BUNDLED)
    assert sum(not item.endings for item in items) == 60 and sum(bool(item.endings) for item in items) == 40
    assert len({item.text for item in items}) == 100
    assert all(item.right not in item.wrong for item in items if item.endings)


def test_a_set_of_one_s_own_is_named_by_its_content(tmp_path: Path) -> None:
    path = written(tmp_path / "own@home.jsonl", ROWS)
    name = general_set_name(path)
    assert name.startswith(path + "@") and open_general_set(name)[-1] == GeneralItem("The sky is", "blue.", ("soup.",))
    written(tmp_path / "own@home.jsonl", [*ROWS, {"text": "more"}])
    assert general_set_name(path) != name
    open_general_set.cache_clear()
    with pytest.raises(UserError, match="has changed since"):
        open_general_set(name)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("{", "line 6"),
        ({"body": "x"}, "not a row such as"),
        ({"text": ""}, "not a row such as"),
        ({"text": "a b", "right": "c"}, '"text" alone'),
        ({"text": "a b", "right": "c", "wrong": ["d", 1]}, '"text" alone'),
        ({"text": "a b", "right": "c", "wrong": "d"}, '"text" alone'),
        ({"text": "a b", "rihgt": "c"}, '"text" alone'),
    ],
)
def test_a_faulty_set_is_refused_by_the_plan(row: object, words: str, tmp_path: Path) -> None:
    path = written(tmp_path / "set.jsonl", [*ROWS[:5], row])
    for score in ("validation", "all"):
        config = check({"name": "x", "task": "masa:d1", "general": {"score": score, "path": path}})
        with pytest.raises(UserError, match="general.path") as raised:
            plan(config)
        assert words in str(raised.value)


def test_too_little_or_none_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="fewer than 5 passages"):
        general_set_name(written(tmp_path / "few.jsonl", [*ROWS[1:]]))
    with pytest.raises(UserError, match="cannot be read"):
        general_set_name(str(tmp_path / "none.jsonl"))
    with pytest.raises(UserError, match="score is none"):
        check({"name": "x", "task": "masa:d1", "general": {"path": "x.jsonl"}})


def test_a_path_is_relative_to_the_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path / "own.jsonl", ROWS)
    (tmp_path / "x.yaml").write_text("task: masa:d1\ngeneral: {score: all, path: own.jsonl}\n")
    monkeypatch.chdir("/")
    assert load_config(tmp_path / "x.yaml").general.path == str((tmp_path / "own.jsonl").resolve())


def test_only_a_sweep_that_asks_for_it_has_other_keys() -> None:
    trial = TrialConfig("masa:d1", make_design(), "tiny", 0, 40, 20)
    asked = replace(trial, general=BUNDLED)
    assert "general" not in trial.resolved() and asked.resolved()["general"] == BUNDLED and asked.key != trial.key
    moved, changed = (replace(trial, general=name) for name in ("/here/set.jsonl@5f0c", "/here/set.jsonl@77aa"))
    assert moved.key == replace(trial, general="/there/s@t.jsonl@5f0c").key != changed.key, "where it is makes no other"
    values = {"name": "x", "task": "masa:d1", "designs": ["baseline"], "search": {"method": "grid"}}
    of = {score: plan(check({**values, "general": {"score": score}})).trials for score in ("none", "validation", "all")}
    assert plan(check(values)).trials == of["none"] == of["validation"], "the search's trials are as they were"
    assert {trial.general for trial in of["all"]} == {BUNDLED}


def test_a_result_without_it_is_written_as_before() -> None:
    trial = replace(TrialConfig("masa:d1", make_design(), "tiny", 0, 40, 20), general=BUNDLED)
    plain = TrialResult(trial.key, trial.resolved(), "finished")
    assert "general" not in to_json(plain)
    scored = replace(plain, general={"bits_per_byte": 1.5})
    own = replace(trial, general="/here/set.jsonl@5f0c")
    assert has_own_key(TrialResult(own.key, own.resolved(), "finished"))
    assert from_json(json.loads(json.dumps(to_json(scored)))) == scored and has_own_key(scored)


def test_forgetting_is_paired_by_passage() -> None:
    items = [GeneralItem("a"), GeneralItem("b"), GeneralItem("c", "d", ("e",)), GeneralItem("f", "g", ("h",))]
    values = forgetting(items, [1.0, 3.0, 1.0, 1.0], [1.2, 3.4, 1.0, 0.0])
    assert values["bits_per_byte"] == pytest.approx(2.3) and values["base_bits_per_byte"] == 2.0
    assert values["difference"] == pytest.approx(0.3)
    assert values["standard_error"] == pytest.approx(sqrt(0.02) / sqrt(2))
    assert (values["base_right_endings"], values["right_endings"]) == (1.0, 0.5)
