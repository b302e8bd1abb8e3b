"""Files: data sets in every format, and what a sweep has written (ledger, predictions, results)."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from fuzz.hostile import Outcomes, encoded, hostile, mutated, one_in, spoiled, twisted
from fuzz.samples import CONFIG, PREDICTIONS, RESULT, STRATEGY, TRIAL, VERDICT, write_trial
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

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
from sde_ray.types import TrialResult

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
    "bio": [
        {"tokens": ["good", "soup"], "ner_tags": ["O", "B-food"], "id": 1},
        {"words": ["so", "dear"], "tags": ["I-price", "E-price"]},
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


ENDS = ("\n", "\r\n", "\r")
SCHEMAS = [LABELS, SPANS, FREE]


@st.composite
def tables(draw: DrawFn, rows: list[list[str]]) -> str:
    """A table as text, with any end of line."""
    end = draw(st.sampled_from(ENDS))
    return draw(mutated(end.join(",".join(row) for row in rows) + end, 2))


@st.composite
def json_lines(draw: DrawFn, rows: list[Any]) -> str:
    """Rows as JSON lines, or as one list; some lost, doubled or twisted."""
    kept = [row for row in rows for _ in range(draw(st.sampled_from((1, 1, 1, 0, 2))))]
    kept = [draw(twisted(row, 2)) for row in kept]
    if one_in(draw, 10):
        return json.dumps(kept, default=str)
    lines = [json.dumps(row, ensure_ascii=draw(st.booleans()), default=str) for row in kept]
    text = draw(st.sampled_from(ENDS[:2])).join(lines) + "\n"
    return draw(mutated(text, 2)) if one_in(draw, 3) else text


@st.composite
def data_files(draw: DrawFn) -> tuple[str, str, bytes]:
    """A format, the ending of a file's name, and its bytes."""
    name = draw(st.sampled_from(("asap", "mams", *ROWS, "jsonl")))
    if name == "mams":
        suffix, text = ".xml", draw(mutated(MAMS, 2)) if draw(st.booleans()) else MAMS.replace("&amp;", "&b;" * 9)
    elif name == "asap" or (name == "jsonl" and one_in(draw, 3)):
        suffix, text = draw(st.sampled_from((".csv", ".csv", ".tsv"))), draw(tables(CSV[name]))
    else:
        suffix, text = ".jsonl", draw(json_lines(ROWS[name]))
    return name, suffix, draw(encoded(text))


@hostile(10_000, file=data_files(), schema=st.sampled_from(SCHEMAS), auto=st.sampled_from((True, False, False)))
def test_data_files(
    outcomes: Outcomes, tmp_path: Path, file: tuple[str, str, bytes], schema: data.Schema, auto: bool
) -> None:
    """Every format, named or recognised: examples that can be stored, or a `UserError`."""
    name, suffix, raw = file
    path, data_format = tmp_path / f"x{suffix}", FORMATS[name]
    path.write_bytes(raw)

    def read() -> Any:
        if auto:
            return recognition.examples("auto", str(path), recognition.read_any(path), schema, {})[0]
        return data_format(path, None if data_format.schema else schema)

    examples = outcomes.value_of(read)
    for example in examples or ():
        assert isinstance(example.id, str) and isinstance(example.text, str) and example.text.strip()
        texts = [*example.answer.values(), *example.aliases.values(), tuple(example.rationale.values())]
        assert all(isinstance(value, str) for values in texts for value in values), example
        json.dumps([example.id, example.text, dict(example.answer)], ensure_ascii=False).encode()
    if examples:
        data.fingerprint(examples)


@hostile(3_000, file=data_files())
def test_drafted_tasks(outcomes: Outcomes, tmp_path: Path, file: tuple[str, str, bytes]) -> None:
    """What `sde-ray init` makes of any file: a drafted task, or a `UserError`."""
    name, suffix, raw = file
    path = tmp_path / f"x{suffix}"
    path.write_bytes(raw)
    task = outcomes.value_of(lambda: draft_task("x", survey(name, recognition.read_any(path))))
    if task is not None:
        assert task.slots and yaml.safe_load(yaml.safe_dump(task.section())) == task.section()


SECTION: dict[str, Any] = {"format": "jsonl", "path": "t.jsonl", "columns": {"text": "text"}, "overlap": "drop"}
OPTIONS: list[dict[str, Any]] = [
    {}, {"train": "t.jsonl", "dev": "t.jsonl"}, {"format": "genia"}, {"relations": ["P17"]}, {"keep_empty": True},
    {"format": "auto", "prompt_template": "a {text}", "keep_instruction": True}, {"format": "bio", "tag_names": ["O"]},
    {"format": "label_studio", "disagreement": "first", "columns": {"text": "text"}},
]  # fmt: skip


@hostile(1_500, section=st.sampled_from(OPTIONS).flatmap(lambda options: twisted({**SECTION, **options})))
def test_data_sections(outcomes: Outcomes, tmp_path: Path, section: Any) -> None:
    """A `data` section of YAML with odd paths, options and splits: examples or a `UserError`."""
    rows = [json.dumps({"text": f"{n} soup", "answer": {}}) for n in range(9)]
    (tmp_path / "t.jsonl").write_text("\n".join(rows))
    if isinstance(section, dict):
        section = {key: value for key, value in section.items() if key != "hub"}
        examples = outcomes.value_of(lambda: data.open_dataset(section, tmp_path, LABELS)("train"))
        assert all(isinstance(one.text, str) and one.text.strip() for one in examples or ())


# ---- what a sweep has written ----------------------------------------------------------------------------------------

OTHER = replace(RESULT, key=content_hash({**CONFIG, "seed": 99}), config={**CONFIG, "seed": 99})


@st.composite
def written_lines(draw: DrawFn, rows: list[Any]) -> bytes:
    """JSON lines, some of them twisted, torn or foreign."""
    lines = []
    for row in rows:
        row = draw(twisted(row, 3))
        if isinstance(row, dict) and isinstance(row.get("config"), dict) and not one_in(draw, 5):
            # Else the key alone would keep nearly every line out.
            row["key"] = content_hash(json.loads(json.dumps(row["config"], default=str)))
        text = json.dumps(row, ensure_ascii=draw(st.booleans()), default=str)
        lines.append(draw(mutated(text)) if one_in(draw, 3) else text)
    raw = "\n".join(lines).encode("utf-8", "replace") + draw(st.sampled_from((b"", b"\n")))
    return draw(spoiled(raw)) if one_in(draw, 7) else raw


@st.composite
def written_json(draw: DrawFn, plain: Any) -> bytes:
    """One JSON value as a file; YAML takes it, too."""
    text = json.dumps(draw(twisted(plain, 3)), default=str, ensure_ascii=draw(st.booleans()))
    return (draw(mutated(text)) if one_in(draw, 3) else text).encode("utf-8", "replace")


def results_lines(count: int) -> SearchStrategy[bytes]:
    return written_lines([to_json(RESULT)] * count)


@hostile(4_000, raw=st.integers(1, 2).flatmap(results_lines))
def test_ledger(outcomes: Outcomes, tmp_path: Path, raw: bytes) -> None:
    """Lines of any kind: what can be read is a result with the right types, the rest is left out."""
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(raw)
    entries = outcomes.value_of(lambda: Ledger(path).entries())
    if entries is None:
        return
    for entry in entries:
        assert_result(entry)
    Ledger(path).append(OTHER)
    assert OTHER.key in Ledger(path).results()


def assert_result(entry: TrialResult) -> None:
    """Everything that the code after the ledger relies on."""
    assert "/" not in entry.key and entry.key not in ("", ".", "..") and "\0" not in entry.key
    assert isinstance(entry.config["task"], str) and isinstance(entry.config["design"], dict)
    assert all(isinstance(value, int | float) for own in entry.scores.values() for value in own.values())
    assert all(isinstance(count, int) for own in entry.faults.values() for count in own.values())
    assert all(isinstance(rung.examples, int) and dict(rung.scores) is not None for rung in entry.rungs)
    assert isinstance(entry.error, str) and sum(entry.seconds.values()) is not None
    json.dumps(to_json(entry), ensure_ascii=False).encode()


HOLDER = {"host": "h", "pid": 1, "started": "5", "expires": 1.0}
LEASES = st.sampled_from([[HOLDER], [{**HOLDER, "expires": 1e12}]])
CACHED = [{"key": "k", "value": {"text": "x"}}] * 2


@hostile(2_000, result=results_lines(1), cached=written_lines(CACHED), lease=LEASES.flatmap(written_lines))
def test_results_caches_and_leases(
    outcomes: Outcomes, tmp_path: Path, result: bytes, cached: bytes, lease: bytes
) -> None:
    """`result.json` and `partial.json` of a trial, replies and measurements by key, a lease: read or passed over."""
    (tmp_path / "result.json").write_bytes(result)
    loaded = load_result(tmp_path / "result.json")
    if loaded is not None:
        assert_result(loaded)
    (tmp_path / "keyed.jsonl").write_bytes(cached)
    assert all(isinstance(value, dict) for value in JsonlCache(tmp_path / "keyed.jsonl").read().values())
    (tmp_path / "lease.json").write_bytes(lease)
    outcomes.value_of(lambda: refuse_if_held(tmp_path))


@st.composite
def trial_files(draw: DrawFn) -> dict[str, bytes]:
    """The files of a trial's folder by name; the completions and at most one other are spoiled."""
    files = {name: json.dumps(plain).encode() for name, plain in TRIAL.items()}
    name = draw(st.sampled_from(("", "", *files)))
    if name:
        files[name] = draw(st.one_of(spoiled(files[name]), written_json(TRIAL[name])))
    return {**files, "predictions.jsonl": draw(written_lines(PREDICTIONS))}


@hostile(2_000, files=trial_files())
def test_predictions(outcomes: Outcomes, tmp_path: Path, files: dict[str, bytes]) -> None:
    """Saved completions, and the configuration beside them: scored again, or explained with the place."""
    trial = write_trial(tmp_path)
    for name, raw in files.items():
        (trial / name).write_bytes(raw)
    outcomes.value_of(lambda: rescore.score_run(tmp_path))
    items = outcomes.value_of(lambda: read_items(RESULT, trial, "dev", "weighted_kappa"))
    assert items is None or all(part.rows.size for part in items.parts)


TARGETS = [
    {"target": "food: positive", "prediction": "food: negative", "aliases": ["x"]},
    {"target": "", "prediction": ""},
    {"id": "masa-d1-dev-1", "prediction": "food: negative"},
    {"prompt": "x", "predict": "food: negative", "label": "food: positive"},
]


@hostile(3_000, raw=written_lines(TARGETS))
def test_targets_and_predictions(outcomes: Outcomes, tmp_path: Path, raw: bytes) -> None:
    """A file of targets and predictions: scored, or a `UserError` with the lines."""
    path = tmp_path / "out.jsonl"
    path.write_bytes(raw)
    scored = outcomes.value_of(lambda: rescore.score_file(path, "masa:d1", "format=lines,unmentioned=omit"))
    if scored:
        assert all(math.isfinite(value) for value in scored.scores.values()) and scored.items > 0


@hostile(1_500, strategy=written_json(STRATEGY), verdict=written_json(VERDICT))
def test_strategies_and_verdicts(outcomes: Outcomes, tmp_path: Path, strategy: bytes, verdict: bytes) -> None:
    """`strategy.yaml` and `validation.json`: a value of the right types, or a `UserError`."""
    path = tmp_path / "strategy.yaml"
    path.write_bytes(strategy)
    loaded = outcomes.value_of(lambda: load_strategy(path))
    if loaded:
        assert strategy_table(loaded) and isinstance(loaded.task, str) and f"{loaded.predicted:.4f}"
        assert all(isinstance(effect.axis, str) and f"{effect.difference:.3f}" for effect in loaded.effects)
    path.write_bytes(verdict)
    judged = outcomes.value_of(lambda: load_verdict(path))
    if judged:
        assert isinstance(judged.summary, str) and judged.overall() is not None and verdict_table(judged) is not None
