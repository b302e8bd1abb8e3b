"""Families of files: data sets in every format, and what a sweep has written (ledger, predictions, results)."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from fuzz.engine import Random, Room, Try, family, mutated, spoiled, twisted

from sde_ray import data
from sde_ray.analysis.strategy import load as load_strategy
from sde_ray.analysis.strategy import strategy_table
from sde_ray.analysis.verdict import load as load_verdict
from sde_ray.analysis.verdict import verdict_table
from sde_ray.data import recognition
from sde_ray.data.formats import FORMATS
from sde_ray.data.survey import survey
from sde_ray.evaluation import rescore
from sde_ray.evaluation.per_item import read_items
from sde_ray.safe_json import content_hash
from sde_ray.storage.jsonl_cache import JsonlCache
from sde_ray.storage.lease import refuse_if_held
from sde_ray.storage.ledger import Ledger, load_result, to_json
from sde_ray.tasks.draft import draft_task
from sde_ray.types import RungResult, TrialResult

LABELS = data.Schema("label", ("food", "price"), ("good", "bad"), "none")
SPANS = data.Schema("span", ("food", "price"))
FREE = data.Schema("free", ("answer",))

MAMS = (
    '<?xml version="1.0"?>\n<!DOCTYPE sentences [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]>\n<sentences><sentence>'
    '<text>Good &amp; cheap.</text><aspectCategories><aspectCategory category="food" polarity="positive"/>'
    '<aspectCategory category="price" polarity="neutral"/></aspectCategories></sentence></sentences>'
)
ROWS: dict[str, list[Any]] = {
    "genia": [
        {"text": "IL-2 gene of T cells", "sent_id": "s1", "entity_mentions": [
            {"entity_type": "DNA", "surface": "IL-2 gene", "char_start": 0, "char_end": 9}]},
        {"tokens": ["IL-2", "gene"], "sent_id": "s2", "entity_mentions": [
            {"start": 0, "end": 2, "entity_type": "DNA", "text": "IL-2 gene"}]},
    ],
    "maven": [
        {"id": "d", "content": [{"sentence": "They flew.", "tokens": ["They", "flew"]}], "events": [
            {"type": "Motion", "mention": [{"trigger_word": "flew", "sent_id": 0, "offset": [1, 2]}]}]},
        {"id": "e", "tokens": ["They", "flew"], "events": [
            {"text": "flew", "start": 1, "end": 2, "event_type": "Motion"}]},
    ],
    "phee": [
        {"id": "p", "context": "It induced pain.", "annotations": [{"events": [
            {"event_type": "Adverse_event", "Trigger": {"text": [["induced"]], "start": [[3]]}}]}]},
        {"id": "q", "context": "It helped.", "annotations": []},
    ],
    "entityquestions": [{"question": "Which country?", "answers": ["Iran"]}, {"question": "Who?", "answers": ["US"]}],
    "messages": [
        {"messages": [{"role": "system", "content": "Rate."}, {"role": "user", "content": "good soup"},
                      {"role": "assistant", "content": "food: good\nprice: none"}]},
        {"conversations": [{"from": "human", "value": [{"type": "text", "text": "a"}]},
                           {"from": "gpt", "value": "Iran"}], "id": 3, "system": "s"},
    ],
    "alpaca": [
        {"instruction": "Rate.", "input": "good soup", "output": '{"food": "good"}', "history": [["a", "b"]]},
        {"instruction": "dear", "response": '<think>so</think>["a"]'},
    ],
    "prompt_completion": [
        {"prompt": "good soup", "completion": '```json\n[{"aspect": "food", "label": "good"}]\n```'},
        {"prompt": [{"role": "user", "content": "a"}], "completion": [{"role": "assistant", "content": "b"}]},
    ],
    "label_studio": [
        {"id": 1, "data": {"text": "good \U0001f600 soup"}, "annotations": [{"was_cancelled": False, "result": [
            {"from_name": "food", "type": "choices", "value": {"choices": ["good"]}},
            {"from_name": "l", "type": "labels", "value": {"start": 8, "end": 12, "text": "soup", "labels": ["food"]}},
            {"from_name": "answer", "type": "textarea", "value": {"text": ["soup"]}}]}]},
        {"id": 2, "text": "soup", "food": "bad", "l": [{"start": 0, "end": 4, "text": "soup", "labels": ["food"]}],
         "annotator": 1, "annotation_id": 2},
    ],
    "offsets": [
        {"text": "good soup", "entities": [[5, 9, "food"], {"start_offset": 0, "end_offset": 4, "label": "price"}]},
        ["good soup", {"entities": [[5, 9, "food"]]}],
    ],
    "jsonl": [
        {"id": "7", "text": "good soup", "answer": {"food": "good"}, "rationale": {"food": "it is"}},
        {"id": 8, "text": "dear", "answer": {"price": ["bad"], "food": []}, "aliases": {"price": ["x"]}},
    ],
}  # fmt: skip
ASAP_HEADER = ["index", "reviewbody", "star", *data.asap.SLOTS]
CSV = {
    "asap": [ASAP_HEADER, ["1", '"good, ""very""\nsoup"', "5", *["1", "0", "-1", "-2", *["-2"] * 14]]],
    "jsonl": [["id", "text", "food", "price"], ["1", "good soup", "good", ""], ["2", '"dear, dear"', "", "bad"]],
}


def a_table(rows: list[list[str]], rng: Random) -> str:
    end = rng.choice(("\n", "\r\n", "\r"))
    text = end.join(",".join(row) for row in rows) + end
    return text if rng.random() < 0.3 else mutated(text, rng, 2)


def json_lines(rows: list[Any], rng: Random) -> str:
    rows = [
        twisted(row, rng, rng.choice((0.0, 0.0, 0.05, 0.2))) for row in rows for _ in range(rng.choice((0, 1, 1, 1, 2)))
    ]
    if rng.random() < 0.1:
        return json.dumps(rows, default=str)
    lines = [json.dumps(row, ensure_ascii=rng.random() < 0.5, default=str) for row in rows]
    text = rng.choice(("\n", "\r\n")).join(lines) + "\n"
    return text if rng.random() < 0.7 else mutated(text, rng, 2)


def a_data_file(rng: Random) -> tuple[str, str, bytes]:
    """A format, the ending of a file's name, and its bytes."""
    name = rng.choice(("asap", "mams", *ROWS, "jsonl"))
    if name == "mams":
        suffix, text = ".xml", mutated(MAMS, rng, 2) if rng.random() < 0.7 else MAMS.replace("&amp;", "&b;" * 9)
    elif name == "asap" or (name == "jsonl" and rng.random() < 0.3):
        suffix, text = rng.choice((".csv", ".csv", ".tsv")), a_table(CSV[name], rng)
    else:
        suffix, text = ".jsonl", json_lines(ROWS[name], rng)
    raw = text.encode("utf-8", "replace")
    return name, suffix, raw if rng.random() < 0.85 else spoiled(raw, rng)


SCHEMAS = [LABELS, SPANS, FREE]


@family("survey", 3_000)
def surveys(room: Room) -> Try:
    """What `sde-ray init` makes of any file: a drafted task, or a `UserError`."""

    def attempt(rng: Random) -> None:
        name, suffix, raw = a_data_file(rng)
        path = room.folder / f"x{suffix}"

        def draft(given: bytes) -> Any:
            path.write_bytes(given)
            return room.law(lambda: draft_task("x", survey(name, recognition.read_any(path))))

        room.given, room.again = raw, draft
        task = draft(raw)
        if task is not None:
            assert task.slots and yaml.safe_load(yaml.safe_dump(task.section())) == task.section()

    return attempt


@family("data", 10_000)
def data_files(room: Room) -> Try:
    """Every format: examples that can be stored, or a `UserError`."""

    def attempt(rng: Random) -> None:
        name, suffix, raw = a_data_file(rng)
        path = room.folder / f"x{suffix}"
        form, auto = FORMATS[name], rng.random() < 0.3
        schema = None if form.schema and not auto else rng.choice(SCHEMAS)

        def read(path: Path) -> Any:
            if not auto:
                return form(path, schema)
            return recognition.examples("auto", str(path), recognition.read_any(path), schema, {})[0]

        def load(given: bytes) -> Any:
            path.write_bytes(given)
            return room.law(lambda: read(path))

        room.given, room.again = raw, load
        examples = load(raw)
        for example in examples or ():
            assert isinstance(example.id, str) and isinstance(example.text, str) and example.text.strip()
            told = [*example.answer.values(), *example.aliases.values(), tuple(example.rationale.values())]
            assert all(isinstance(value, str) for values in told for value in values), example
            json.dumps([example.id, example.text, dict(example.answer)], ensure_ascii=False).encode()
        if examples:
            data.fingerprint(examples)

    return attempt


@family("sources", 1_500)
def data_sections(room: Room) -> Try:
    """A `data` section of YAML with odd paths, options and splits: examples or a `UserError`."""
    (room.folder / "t.jsonl").write_text(
        "".join(json.dumps({"text": f"{n} soup", "answer": {}}) + "\n" for n in range(9))
    )
    usual: dict[str, Any] = {"format": "jsonl", "path": "t.jsonl", "columns": {"text": "text"}, "overlap": "drop"}
    more = [{"train": "t.jsonl", "dev": "t.jsonl"}, {"format": "genia"}, {"relations": ["P17"]}, {"keep_empty": True}]

    def attempt(rng: Random) -> None:
        section = twisted({**usual, **rng.choice((*more, {}))}, rng, 0.15)
        if isinstance(section, dict):
            section.pop("hub", None)
        room.given = section

        def load() -> Any:
            return data.open_dataset(section, room.folder, LABELS)("train")

        if isinstance(section, dict):
            room.law(load)

    return attempt


# ---- what a sweep has written ----------------------------------------------------------------------------------------

DESIGN = {"instruction": "last", "input_modeling": "off", "format": "lines", "unmentioned": "omit", "labels": "text",
          "reasoning": "none"}  # fmt: skip
CONFIG = {"task": "masa:d1", "design": DESIGN, "model": "tiny", "seed": 0, "train": {"rungs": [1.0]}, "train_size": 9}
RESULT = TrialResult(
    key=content_hash(CONFIG),
    config=CONFIG,
    status="finished",
    scores={"dev": {"weighted_kappa": 0.5, "f1": math.nan}},
    faults={"dev": {"syntax": 3}},
    rungs=(RungResult(0, 50, {"dev": {"weighted_kappa": 0.5}}),),
    seconds={"total": 3.5},
    tokens={"output": 20.0},
    losses=(1.5, 0.25),
)


def lines_of(rows: list[Any], rng: Random, rate: float) -> bytes:
    """JSON lines, some of them twisted, torn or foreign."""
    lines = []
    for row in rows:
        row = twisted(row, rng, rate)
        if isinstance(row, dict) and isinstance(row.get("config"), dict) and rng.random() < 0.8:
            # Else the key alone would keep nearly every line out.
            row["key"] = content_hash(json.loads(json.dumps(row["config"], default=str)))
        text = json.dumps(row, ensure_ascii=rng.random() < 0.5, default=str)
        lines.append(mutated(text, rng) if rng.random() < 0.3 else text)
    raw = "\n".join(lines).encode("utf-8", "replace") + rng.choice((b"", b"\n"))
    return raw if rng.random() < 0.85 else spoiled(raw, rng)


@family("ledger", 4_000)
def ledger(room: Room) -> Try:
    """Lines of any kind: what can be read is a result with the right types, the rest is set aside."""
    path = room.folder / "ledger.jsonl"
    other = replace(RESULT, key=content_hash({**CONFIG, "seed": 99}), config={**CONFIG, "seed": 99})

    def read(raw: bytes) -> Any:
        path.write_bytes(raw)
        return room.law(lambda: Ledger(path).entries())

    def attempt(rng: Random) -> None:
        rows = [to_json(RESULT) for _ in range(rng.randint(1, 2))]
        raw = lines_of(rows, rng, rng.choice((0.0, 0.05, 0.2)))
        room.given, room.again = raw, read
        entries = read(raw)
        if entries is None:
            return
        for entry in entries:
            assert_result(entry)
        Ledger(path).append(other)
        assert other.key in Ledger(path).results()  # and reading again finds no torn line
        whole = path.with_name("ledger.jsonl.torn")
        if whole.exists():
            whole.unlink()

    return attempt


def assert_result(entry: TrialResult) -> None:
    """Everything that the code after the ledger relies on."""
    assert "/" not in entry.key and entry.key not in ("", ".", "..") and "\0" not in entry.key
    assert isinstance(entry.config["task"], str) and isinstance(entry.config["design"], dict)
    assert all(isinstance(value, int | float) for own in entry.scores.values() for value in own.values())
    assert all(isinstance(count, int) for own in entry.faults.values() for count in own.values())
    assert all(isinstance(rung.examples, int) and dict(rung.scores) is not None for rung in entry.rungs)
    assert isinstance(entry.error, str) and sum(entry.seconds.values()) is not None
    json.dumps(to_json(entry), ensure_ascii=False).encode()


@family("results", 2_000)
def results(room: Room) -> Try:
    """`result.json` and `partial.json` of a trial, replies and measurements by key, a lease: read or passed over."""
    result, keyed, lease = (room.folder / name for name in ("result.json", "keyed.jsonl", "lease.json"))
    holder = {"host": "h", "pid": 1, "started": "5", "expires": 1.0}

    def attempt(rng: Random) -> None:
        raw = lines_of([to_json(RESULT)], rng, 0.1)
        room.given = raw
        result.write_bytes(raw)
        found = load_result(result)
        if found is not None:
            assert_result(found)
        raw = lines_of([{"key": "k", "value": {"text": "x"}}] * 2, rng, 0.15)
        room.given = raw
        keyed.write_bytes(raw)
        assert all(isinstance(value, dict) for value in JsonlCache(keyed).read().values())
        raw = lines_of([{**holder, "expires": rng.choice((1.0, 1e12))}], rng, 0.1)
        room.given = raw
        lease.write_bytes(raw)
        room.law(lambda: refuse_if_held(room.folder))

    return attempt


def a_trial(room: Room) -> Path:
    """The folder of a trial in a sweep's."""
    trial = room.folder / "trials" / "0123456789abcdef"
    trial.mkdir(parents=True)
    config = {**RESULT.config, "key": trial.name}
    (trial / "config.json").write_text(json.dumps(config))
    (trial / "scores.json").write_text(json.dumps({"scores": {"dev": {"weighted_kappa": 0.5}}}))
    return trial


@family("predictions", 2_000)
def predictions(room: Room) -> Try:
    """Kept completions, and the configuration beside them: scored again, or explained with the place."""
    trial = a_trial(room)
    good = {name: (trial / name).read_bytes() for name in ("config.json", "scores.json")}
    rows = [
        {"id": f"masa-d1-dev-{n}", "split": "dev", "task": "masa:d1", "prediction": "food: positive"} for n in range(3)
    ]

    def attempt(rng: Random) -> None:
        raw = lines_of(rows, rng, rng.choice((0.0, 0.1)))
        name = rng.choice(("config.json", "scores.json", "", ""))
        for file, text in good.items():
            spoilt = json.dumps(twisted(json.loads(text), rng, 0.2), default=str).encode()
            (trial / file).write_bytes(text if file != name else rng.choice((spoiled(text, rng), spoilt)))
        room.given = (raw, name and (trial / name).read_bytes())
        (trial / "predictions.jsonl").write_bytes(raw)
        room.law(lambda: rescore.score_run(room.folder))
        items = room.law(lambda: read_items(RESULT, trial, "dev", "weighted_kappa"))
        assert items is None or all(part.rows.size for part in items.parts)

    return attempt


@family("lines", 3_000)
def lines(room: Room) -> Try:
    """A file of targets and predictions: scored, or a `UserError` with the lines."""
    path = room.folder / "out.jsonl"
    rows = [
        {"target": "food: positive", "prediction": "food: negative", "aliases": ["x"]},
        {"target": "", "prediction": ""},
    ]

    def attempt(rng: Random) -> None:
        raw = lines_of(rows, rng, rng.choice((0.0, 0.05, 0.2)))
        room.given = raw
        path.write_bytes(raw)
        scored = room.law(lambda: rescore.score_file(path, "masa:d1", "format=lines,unmentioned=omit"))
        if scored:
            assert all(math.isfinite(value) for value in scored.scores.values()) and scored.items > 0

    return attempt


STRATEGY = {
    "kind": "sde_ray strategy", "task": "masa:d1", "model": "tiny", "design": DESIGN, "sweep": "x", "objective": "f1",
    "predicted": 0.5, "reasons": {"format": "lines: better"}, "verdict": "",
    "effects": [{"axis": "format", "option": "lines", "reference": "natural", "difference": 0.1, "low": None,
                 "high": 0.2, "replicates": 3}],
}  # fmt: skip
VERDICT = {
    "strategy_design": DESIGN, "objective": "f1", "summary": "It is as good.", "recommended": "baseline",
    "rows": [{"control": "baseline", "design": DESIGN, "split": "test", "train_size": None, "assembled": 0.5,
              "score": 0.4, "seeds": 3, "items": 9, "claim": "better",
              "paired": {"difference": 0.1, "low": 0.0, "high": 0.2, "p_value": 0.5, "adjusted_p_value": 0.5}}],
}  # fmt: skip


@family("strategies", 1_500)
def strategies(room: Room) -> Try:
    """`strategy.yaml` and `validation.json`: a value of the right types, or a `UserError`."""
    path = room.folder / "strategy.yaml"

    def attempt(rng: Random) -> None:
        plain = twisted(STRATEGY, rng, 0.08)
        text = json.dumps(plain, default=str, ensure_ascii=rng.random() < 0.5)  # YAML takes JSON
        text = mutated(text, rng) if rng.random() < 0.3 else text
        room.given = text
        path.write_bytes(text.encode("utf-8", "replace"))
        strategy = room.law(lambda: load_strategy(path))
        if strategy:
            assert strategy_table(strategy) and isinstance(strategy.task, str) and f"{strategy.predicted:.4f}"
            assert all(isinstance(effect.axis, str) and f"{effect.difference:.3f}" for effect in strategy.effects)
        text = json.dumps(twisted(VERDICT, rng, 0.08), default=str, ensure_ascii=rng.random() < 0.5)
        text = mutated(text, rng) if rng.random() < 0.3 else text
        room.given = text
        path.write_bytes(text.encode("utf-8", "replace"))
        verdict = room.law(lambda: load_verdict(path))
        if verdict:
            assert (
                isinstance(verdict.summary, str)
                and verdict.overall() is not None
                and verdict_table(verdict) is not None
            )

    return attempt
