"""What the fuzzer and a review have found, each as a small case of its own: none of them may come back."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fuzz.hostile import bounded
from fuzz.samples import BOMB, RESULT, STRATEGY, write_trial

from sde_ray import data, metrics
from sde_ray.analysis.strategy import load as load_strategy
from sde_ray.config.load import check, load_config, resolved
from sde_ray.design.designs import make_design
from sde_ray.design.render import parse_completion
from sde_ray.errors import UserError
from sde_ray.evaluation import rescore
from sde_ray.evaluation.per_item import read_items
from sde_ray.metrics.span_matching import count_matches, is_near
from sde_ray.models.predictor import find_adapter
from sde_ray.safe_json import MAX_DEPTH, read_json
from sde_ray.safe_text import mask, redact
from sde_ray.safe_yaml import MAX_BYTES, MAX_VALUES, read_yaml
from sde_ray.storage.jsonl_cache import JsonlCache
from sde_ray.storage.lease import lease, refuse_if_held
from sde_ray.storage.ledger import Ledger, load_result, to_json
from sde_ray.sweep.cluster.doctor import Target, tracking
from sde_ray.tasks import get_task
from sde_ray.types import Example, Parsed, Task

DEEP = "[" * 100_000


# ---- YAML ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (BOMB + "task: *i", r'line 2, column 8: "\*a" is an alias.* write out what it stands for'),
        ("? &a x\n: 1\n? *a\n: 2", "is an alias"),
        ("task: &t [masa:d1, *t]", "is an alias"),
        ("a: &a {<<: *a}", "is an alias"),
        ("base: &b {r: 8}\nlora: {<<: *b}", 'line 2, column 12: "\\*b" is an alias'),
        ("task: " + "[" * 20_000, "nested too deeply"),
        ("- " * 300_000, "nested too deeply"),
        ("x: [" + "a," * (MAX_VALUES + 1) + "]", f"more than {MAX_VALUES} values"),
        ("x: !!int ''", "string index"),
        ("x: !!bool maybe", "maybe"),
        ("x: !!timestamp soon", "could not determine a constructor"),
        ("x: !!binary gICA", "could not determine a constructor"),
        ("x: !!set {1, 2}", "could not determine a constructor"),
        ("x: !!python/name:os.system", "could not determine a constructor"),
        ("x: " + "9" * 30, "too large"),
        ("x: 0x" + "f" * 9000, "too large"),
        ('x: "\\ud800"', "half a surrogate pair"),
        ("x: 1\n" + "#" * MAX_BYTES, "larger than"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_yaml_that_is_a_trap_is_refused_at_once(text: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(text)
    with bounded(30), pytest.raises(UserError, match=told):
        read_yaml(tmp_path / "s.yaml")


def test_deep_lists_and_dates_of_honest_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("base: &b {r: 8}\nname: 2024-01-31\nx: " + "[" * 40 + "]" * 40)
    values = read_yaml(tmp_path / "s.yaml")
    assert values["base"] == {"r": 8} and values["name"] == "2024-01-31"


@pytest.mark.parametrize("path", ["a\0b.yaml", "x" * 300 + ".yaml"], ids=["a NUL", "too long"])
def test_a_path_that_can_be_none_is_told(path: str, tmp_path: Path) -> None:
    for action in (read_yaml, load_config, find_adapter):
        with pytest.raises(UserError):
            action(tmp_path / path)
    with pytest.raises(UserError, match="there is no file"):
        data.open_dataset({"path": path}, tmp_path, data.Schema("span", ("a",)))


@pytest.mark.parametrize(
    "values",
    [
        {"constraints": {"max_output_tokens": float("inf")}},
        {"deepspeed": {"x": float("nan")}},
        {"deepspeed": {"x": b""}},
    ],
)
def test_what_json_cannot_hold_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        check({"name": "x", "task": "masa:d1", **values})


def test_a_task_written_out_is_checked_like_any_other(tmp_path: Path) -> None:
    """A worker would refuse it, when the sweep runs already."""
    (tmp_path / "t.jsonl").write_text("".join(json.dumps({"text": f"{n}", "answer": {}}) + "\n" for n in range(9)))
    task = {"name": "t", "kind": "span", "slots": ["a"], "placeholder": "none: at all", "data": {"path": "t.jsonl"}}
    with pytest.raises(UserError, match="holds a delimiter"):
        check({"name": "x", "task": task}, base=tmp_path)


def test_long_lists_take_no_square_of_their_length() -> None:
    with bounded(30), pytest.raises(UserError, match="lists 7 more than once"):
        check({"name": "x", "task": "masa:d1", "seeds": [*range(15_000), 7]})


# ---- data ------------------------------------------------------------------------------------------------------------

SPANS = data.Schema("span", ("a",))


@pytest.mark.parametrize(
    ("load", "record", "told"),
    [
        (data.load_genia, {"tokens": ["a", 1], "entity_mentions": []}, '"tokens" holds 1'),
        (data.load_maven, {"id": 1, "tokens": [["a"]], "events": []}, '"tokens" holds'),
        (
            data.load_maven,
            {"id": 1, "content": [{"sentence": "a"}],
             "events": [{"type": "Motion", "mention": [{"trigger_word": "a", "sent_id": 0, "offset": [{}]}]}]},
            '"offset" holds',
        ),
        (
            data.load_phee,
            {"id": 1, "context": "a", "annotations": [
                {"events": [{"event_type": "Adverse_event", "Trigger": {"text": [["a"]], "start": [[[]]]}}]}]},
            '"start" holds',
        ),
        (
            data.load_phee,
            {"id": 1, "context": "a", "annotations": [
                {"events": [{"event_type": "Adverse_event", "Trigger": {"text": [[1]], "start": [[0]]}}]}]},
            '"text" holds 1',
        ),
    ],
)  # fmt: skip
def test_values_of_another_type_are_told_with_their_line(
    load: Callable[..., Any], record: Any, told: str, tmp_path: Path
) -> None:
    (tmp_path / "x.jsonl").write_text(json.dumps(record) + "\n")
    with pytest.raises(UserError, match=told) as fault:
        load(tmp_path / "x.jsonl")
    assert "line 1" in str(fault.value)


@pytest.mark.parametrize("columns", ["text", ["text"], {"text": ["a"]}])
def test_columns_of_another_shape_are_told_before_anything_is_read(columns: Any, tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text("{}\n")
    with pytest.raises(UserError, match="columns is .* expected a mapping"):
        data.open_dataset({"path": "x.jsonl", "columns": columns}, tmp_path, SPANS)


def test_a_csv_header_that_is_too_long_is_told(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a" * 200_000 + ",b\n1,2\n")
    with pytest.raises(UserError, match="field larger than field limit"):
        data.load_jsonl(tmp_path / "x.csv", SPANS)


def test_xml_with_entities_of_its_own_is_refused(tmp_path: Path) -> None:
    bomb = "".join(f'<!ENTITY e{n + 1} "{f"&e{n};" * 9}">' for n in range(9))
    (tmp_path / "x.xml").write_text(
        f'<!DOCTYPE s [<!ENTITY e0 "aaa">{bomb}]><s><sentence><text>&e9;</text></sentence></s>'
    )
    with bounded(30), pytest.raises(UserError, match="declares entities"):
        data.load_mams(tmp_path / "x.xml")


# ---- what a sweep has written ----------------------------------------------------------------------------------------


def test_json_of_others_is_read_or_a_value_error() -> None:
    assert read_json('{"a": "\\ud83d\\ude00"}') == {"a": "😀"} and read_json(b"\xef\xbb\xbf[1]") == [1]
    assert read_json("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    for text in (DEEP, "[" * 101 + "]" * 101, '"\\ud800"', "9" * 5000, b"\xff", b'"\xed\xa0\x80"', "", '"\ud800"'):
        with pytest.raises(ValueError):
            read_json(text)


@pytest.mark.parametrize(
    "change",
    [
        {"key": "../../elsewhere"}, {"key": ["k"]}, {"key": ""}, {"scores": []}, {"scores": {"dev": {"f1": "high"}}},
        {"seconds": {"total": None}}, {"rungs": [{"rung": 0}]}, {"config": {}}, {"config": {"task": 1, "design": {}}},
        {"faults": {"dev": {"syntax": "x"}}}, {"status": "done"}, {"error": None}, {"losses": 5},
    ],
    ids=str,
)  # fmt: skip
def test_a_line_of_other_types_is_set_aside(change: dict[str, Any], tmp_path: Path) -> None:
    good, bad = to_json(RESULT), {**to_json(RESULT), **change}
    (tmp_path / "ledger.jsonl").write_text(f"{json.dumps(good)}\n{json.dumps(bad)}\n")
    with pytest.warns(UserWarning, match=r"1 line\(s\) that are no result"):
        assert list(Ledger(tmp_path / "ledger.jsonl").results()) == [RESULT.key]
    (tmp_path / "result.json").write_text(json.dumps(bad))
    assert load_result(tmp_path / "result.json") is None


@pytest.mark.parametrize("line", ["[]", '"x"', "7", "null", DEEP], ids=lambda line: line[:5])
def test_a_line_that_is_no_mapping_is_set_aside(line: str, tmp_path: Path) -> None:
    (tmp_path / "ledger.jsonl").write_text(f"{line}\n{json.dumps(to_json(RESULT))}\n")
    with pytest.warns(UserWarning, match=r"1 line\(s\) that are no result"):
        assert list(Ledger(tmp_path / "ledger.jsonl").results()) == [RESULT.key]
    (tmp_path / "keyed.jsonl").write_text(f'{line}\n{{"key": "k", "value": {{}}}}\n')
    assert JsonlCache(tmp_path / "keyed.jsonl").read() == {"k": {}}


def test_an_error_text_that_is_no_unicode_does_not_end_the_sweep(tmp_path: Path) -> None:
    """Names of files come with half surrogates where they are no UTF-8."""
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.append(replace(RESULT, error="no file x\udcff"))
    assert ledger.results()[RESULT.key].error == "no file x?"


@pytest.mark.parametrize("expires", ["soon", None, {}, 10**400, True], ids=str)
def test_a_lease_that_is_none_holds_nobody_up(expires: Any, tmp_path: Path) -> None:
    (tmp_path / "lease.json").write_text(json.dumps({"host": "other", "pid": 1, "started": "5", "expires": expires}))
    refuse_if_held(tmp_path)
    with lease(tmp_path):
        assert json.loads((tmp_path / "lease.json").read_text())["host"] != "other"


GOOD_ROW = '{"id": "masa-d1-dev-0", "split": "dev", "prediction": "food: positive"}'


@pytest.mark.parametrize(
    "line",
    ["[]", "7", "{", DEEP, '{"id": "a"}', *(GOOD_ROW.replace(word, "[1]") for word in ('"dev"', '"food: positive"'))],
    ids=lambda line: line[:20],
)
def test_a_damaged_prediction_is_told_with_its_line(line: str, tmp_path: Path) -> None:
    trial = write_trial(tmp_path)
    (trial / "predictions.jsonl").write_text(f"{GOOD_ROW}\n{line}\n")
    with pytest.raises(UserError, match=r"predictions\.jsonl cannot be used: line 2"):
        rescore.score_run(tmp_path)
    assert read_items(RESULT, trial, "dev", "weighted_kappa") is None


@pytest.mark.parametrize(("file", "text"), [("config.json", "{}"), ("config.json", "["), ("scores.json", "[]")])
def test_a_damaged_file_of_a_trial_is_told(file: str, text: str, tmp_path: Path) -> None:
    trial = write_trial(tmp_path)
    (trial / "predictions.jsonl").write_text(GOOD_ROW + "\n")
    (trial / file).write_text(text)
    with pytest.raises(UserError, match=f"{file} cannot be used"):
        rescore.score_run(tmp_path)


@pytest.mark.parametrize(
    "change",
    [{"task": ["x"]}, {"predicted": "high"}, {"reasons": []}, {"effects": [{"axis": 1}]}, {"design": 5}],
    ids=str,
)
def test_a_strategy_of_other_types_is_damaged(change: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "strategy.yaml").write_text(json.dumps({**STRATEGY, **change}))
    with pytest.raises(UserError, match="is a damaged strategy"):
        load_strategy(tmp_path / "strategy.yaml")


# ---- endless answers -------------------------------------------------------------------------------------------------


def test_thousands_of_equal_spans_are_paired() -> None:
    same = ["a"] * 3000
    with bounded(30):
        assert count_matches(same, same, is_near) == 3000


def test_pairs_are_as_many_as_can_be() -> None:
    """The first prediction has to give way twice."""
    fits = {("x", "1"), ("x", "2"), ("y", "1"), ("y", "3"), ("z", "1")}
    assert count_matches(["1", "2", "3"], ["x", "y", "z"], lambda gold, said: (said, gold) in fits) == 3
    assert count_matches(["1"], ["x", "y"], lambda gold, said: (said, gold) in fits) == 1


def test_a_span_without_end_is_compared_at_once() -> None:
    gold = "ab" * 3000
    with bounded(30):
        assert not is_near(gold, "ba" * 40_000)
    assert is_near("raided", "raid") and not is_near("raid", "flew")


def test_a_slot_with_many_values_takes_no_square_of_them() -> None:
    task: Task = get_task("nested_ner")
    text = '["DNA", "a"]\n' * 60_000
    with bounded(30):
        assert (
            len(parse_completion(text, task, make_design(format="pairs", unmentioned="omit")).answer["DNA"]) == 60_000
        )


def test_a_file_of_deep_lines_is_told(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text(DEEP + "\n" + "9" * 5000 + "\n")
    with pytest.raises(UserError, match="2 faults"):
        rescore.score_file(tmp_path / "x.jsonl", "masa:d1", "baseline")


# ---- secrets ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://u:pa/sesam@h/db", "http://u:pa@sesam@h:1", "https://sesam0123456789abcdefghij@h/x",
        "postgresql://h/db?user=u&password=sesam", "see http://h/x?api_key=sesam&y=1 there",
    ],
)  # fmt: skip
def test_a_password_is_masked_wherever_an_address_holds_it(text: str) -> None:
    assert "sesam" not in str(mask(text)) and "//" in str(mask(text))


def test_secrets_are_masked_in_every_section_of_a_configuration() -> None:
    env = {"AWS_SECRET_ACCESS_KEY": "sesam", "DB_PASSPHRASE": "sesam", "X_AUTHORIZATION": "sesam"}
    config = check({"name": "x", "task": "masa:d1", "model": "http://u:sesam@h/m", "resources": {"env_vars": env},
                    "deepspeed": {"comms": {"auth_token": "sesam", "steps": 3}}})  # fmt: skip
    assert "sesam" not in json.dumps(resolved(config)) and resolved(config)["deepspeed"]["comms"]["steps"] == 3
    assert resolved(config)["generation"]["max_new_tokens"] is None


def test_a_doctor_survives_a_password_without_a_port() -> None:
    (row,) = tracking(Target(tracking_uri="http://user:sesam@localhost.invalid"))
    assert row.state == "fail" and "sesam" not in row.found + row.remedy


def test_logs_of_a_cluster_tell_no_bearer() -> None:
    assert "sesam" not in redact("Authorization: Bearer sesam0123456789") + redact("AWS_SECRET_ACCESS_KEY='sesam012'")


@pytest.mark.parametrize("text", ["token" * 40_000, "://a:" * 40_000, "?token" * 40_000, "bearer " * 30_000])
def test_masking_takes_no_square_of_a_text(text: str) -> None:
    begun = time.process_time()
    redact(text)
    assert time.process_time() - begun < 5


def test_scores_of_gold_stay_the_maximum_after_all_this() -> None:
    task = get_task("masa:d1")
    example = Example("x", "t", {task.slots[0]: ((task.labels or ("",))[0],)})
    assert metrics.score(task, [example], [Parsed(example.answer)])[task.objective] == 1.0
