"""The laws of designs: reading undoes writing, reading never fails, and the prompt is one and the same.

They run over every design, those with `pairs` and `json_object` included, times every task of the package and of
`sde_ray.testing.tasks`.
"""

from __future__ import annotations

import itertools
import random
import subprocess
import sys
from dataclasses import replace

import pytest
from helpers.any_records import record_values
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sde_ray.design import designs
from sde_ray.design.axes import AXES, OPTIONAL
from sde_ray.design.record_schematic import made_up_record
from sde_ray.design.render import completion_of, parse_completion, prompt_of, render_sample
from sde_ray.tasks import TASKS, get_task
from sde_ray.testing.axis_option import HOSTILE, PIECES, assert_is_an_answer, is_possible, read_back
from sde_ray.testing.tasks import (
    ALL,
    ENTITIES,
    FORM,
    QUESTIONS,
    REVIEWS,
    TAGS,
    TICKETS,
    TOPICS,
)
from sde_ray.types import Design, Example, Fault, Parsed, Task

KNOWN = ("pairs", "json_object")  # not swept by default, and crossed with all others
CORE = {name: [o for o, option in axis.options.items() if option.swept or o in KNOWN] for name, axis in AXES.items()}
EVERY_DESIGN = [Design(tuple(zip(CORE, options, strict=True))) for options in itertools.product(*CORE.values())]
PLAIN = {"instruction": ["last"], "input_modeling": ["off"]}  # what the prompt's axes do not touch


def forms(axes: dict[str, list[str]]) -> list[Design]:
    """The designs that write completions differently, of these options of the axes."""
    return [designs.make_design(**dict(zip(axes, o, strict=True))) for o in itertools.product(*axes.values())]


CORE_FORMS = forms(CORE | PLAIN)
FURTHER_FORMATS = [name for name in AXES["format"].options if name not in CORE["format"]]
WITH_A_FURTHER_FORMAT = CORE | PLAIN | {"format": FURTHER_FORMATS}
NOT_WRITTEN = ("decoding", "negatives")  # they change no completion
BEYOND = [
    design
    for name, axis in {**AXES, **OPTIONAL}.items()
    for option in axis.options
    if axis.stage in ("answer", "format") and option not in CORE.get(name, ()) and name not in NOT_WRITTEN
    for axes in (CORE | PLAIN, WITH_A_FURTHER_FORMAT | {"labels": ["text"], "reasoning": ["none"]})
    for design in forms(axes | {name: [option]})
]
"""Every further option in every design of the others, and with every further format in their plain designs."""
EVERY_FORM = list(dict.fromkeys([*CORE_FORMS, *BEYOND]))


def forms_of(task: Task) -> list[Design]:
    """The forms that a task can have."""
    return [design for design in EVERY_FORM if is_possible(task, design)]


def sample_of_forms(task: Task, seed: str) -> list[Design]:
    """Those of the paper's options, and 60 of the others."""
    further = [design for design in BEYOND if is_possible(task, design)]
    return [*CORE_FORMS, *random.Random(seed).sample(further, min(60, len(further)))]


def made_examples(task: Task) -> list[Example]:
    """Examples of a task of the package: each slot alone, all slots, none."""
    if task.kind == "record":
        values = {slot: (made_up_record(task, slot),) for slot in task.slots}
    else:
        values = {slot: (task.labels[i % 3] if task.labels else f"value {i}",) for i, slot in enumerate(task.slots)}
    single = [Example(slot, "a text", {slot: values[slot]}, {slot: "a, b"}) for slot in task.slots]
    return [*single, Example("all", "a text", values), Example("none", "a text", {})]


CASES = [*ALL, *((task, made_examples(task)) for task in TASKS.values())]
NAMES = [task.name for task, _ in CASES]
TABLES = ("matching", "imputation:batch=3", "errors:batch=2,serialization=sentences", "schema")


def test_every_option_is_in_the_designs():
    assert len(EVERY_DESIGN) == 3 * 2 * 5 * 2 * 2 * 3 and len(CORE_FORMS) == 60
    written = {pair for design in EVERY_FORM for pair in design.options}
    written |= {pair for design in EVERY_DESIGN for pair in design.options}
    axes = {
        **AXES,
        **{name: axis for name, axis in OPTIONAL.items() if axis.stage != "prompt" and name not in NOT_WRITTEN},
    }
    assert {(name, option) for name, axis in axes.items() for option in axis.options} <= written
    assert len([d for d in EVERY_DESIGN if d["format"] not in ("pairs", "json_object")]) == 216


@pytest.mark.parametrize(("task", "examples"), CASES, ids=NAMES)
def test_reading_undoes_writing(task: Task, examples: list[Example]):
    for design, example in itertools.product(forms_of(task), examples):
        completion = completion_of(example, task, design)
        assert completion.strip() == completion != "", (design.slug, completion)
        assert read_back(example, task, design) == Parsed(example.answer), (design.slug, example.id, completion)


@pytest.mark.parametrize(("task", "examples"), CASES, ids=NAMES)
def test_prompt_is_one_and_the_same_and_the_completion_follows(task: Task, examples: list[Example]):
    for design in EVERY_DESIGN:
        sample = render_sample(examples[0], task, design)
        assert parse_completion(sample.completion.text, task, design) == Parsed(examples[0].answer)
        assert sample.prompt == prompt_of(examples[0].text, task, design)
        assert [s.text for s in sample.prompt if s.role == "text"] == [examples[0].text]
        assert len([s for s in sample.prompt if s.role == "instruction"]) == (design["instruction"] != "none")
        assert sample.completion.loss and sample.completion.role == "completion"
        assert {s.loss for s in sample.prompt} == {design["input_modeling"] == "on"}


# ---- any values ------------------------------------------------------------------------------------------------------

nasty = st.lists(st.sampled_from(PIECES), max_size=8).map("".join)
anything = st.text(max_size=12) | nasty | st.sampled_from(["none", "unknown", "无", "", "null", "[]", "{}", "DNA: x"])


def answers(task: Task) -> st.SearchStrategy[dict[str, tuple[str, ...]]]:
    def values(slot: str) -> st.SearchStrategy[tuple[str, ...]]:
        if task.kind == "record":
            return record_values(task, slot, anything)
        labels, several = task.labels_of(slot), task.kind == "span" or slot in task.multilabel
        value = st.sampled_from(labels) if labels else anything
        return st.lists(value, min_size=1, max_size=4 if several else 1, unique=bool(labels)).map(tuple)

    answer = st.fixed_dictionaries({}, optional={slot: values(slot) for slot in task.slots})
    return answer.map(lambda by_slot: {slot: several for slot, several in by_slot.items() if several})


def some_forms(data: st.DataObject, task: Task) -> list[Design]:
    """All forms of the paper's options and some of the others: which ones, each example decides anew."""
    further = [design for design in BEYOND if is_possible(task, design)]
    return [*CORE_FORMS, *(data.draw(st.lists(st.sampled_from(further), max_size=40)) if further else [])]


TASKS_TO_FUZZ = [task for task, _ in ALL if task is not FORM]
fuzz = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)


@pytest.mark.parametrize("task", TASKS_TO_FUZZ, ids=lambda task: task.name)
@fuzz
@given(data=st.data())
def test_reading_undoes_writing_of_any_value(task: Task, data: st.DataObject):
    why = data.draw(st.dictionaries(st.sampled_from(task.slots), anything, max_size=2))
    answer = data.draw(answers(task))
    in_text = data.draw(st.permutations([value for values in answer.values() for value in values]))
    example = Example("x", data.draw(st.sampled_from([" ", "", "---\n"])).join(in_text), answer, why)
    for design in some_forms(data, task):
        assert read_back(example, task, design) == Parsed(example.answer), design.slug


@pytest.mark.parametrize("slot", ["none", "a: b", "x, y", "", " ", '"', "=>", "f\ng", "unmentioned", "s."])
def test_reading_undoes_writing_of_any_slot_name(slot: str):
    for base in (REVIEWS, ENTITIES):
        task = replace(base, slots=(slot, "other"))
        example = Example("x", "", {slot: (base.labels[0] if base.labels else "IL-2",)})
        for design in forms_of(task):
            assert read_back(example, task, design) == Parsed(example.answer), design.slug


# ---- any completion --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", TASKS_TO_FUZZ, ids=lambda task: task.name)
@fuzz
@given(data=st.data(), text=st.text() | nasty | st.lists(nasty, max_size=6).map("".join))
def test_any_text_is_read(task: Task, data: st.DataObject, text: str):
    for design in some_forms(data, task):
        parsed = parse_completion(text, task, design)
        assert_is_an_answer(parsed, task, design)
        if not text.strip():
            assert parsed == Parsed({}, (Fault("empty"),))


@pytest.mark.parametrize("task", TASKS_TO_FUZZ, ids=lambda task: task.name)
@fuzz
@given(data=st.data())
def test_any_spoiled_completion_is_read(task: Task, data: st.DataObject):
    design = data.draw(st.sampled_from(forms_of(task)))
    text = completion_of(Example("x", "", data.draw(answers(task))), task, design)
    for _ in range(data.draw(st.integers(1, 3))):
        start, end = sorted(data.draw(st.tuples(st.integers(0, len(text)), st.integers(0, len(text)))))
        text = text[:start] + data.draw(nasty | st.just(text[start:end] * 2) | st.just("")) + text[end:]
    assert_is_an_answer(parse_completion(text, task, design), task, design)


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:20])
def test_hostile_text_is_read(text: str):
    for design in sample_of_forms(ENTITIES, text[:20]):
        parsed = parse_completion(text, ENTITIES, design, source="x")
        # A terse answer about one slot is its value alone, so any words may be one.
        assert (parsed.answer == {} and parsed.faults) or (design["format"] == "terse" and len(parsed.answer) <= 1), (
            design.slug
        )


# ---- each fault ------------------------------------------------------------------------------------------------------

OMIT = {"unmentioned": "omit"}
LINES_OMIT = {**OMIT, "format": "lines"}
JSON_OMIT = {**OMIT, "format": "json"}
PAIRS_OMIT = {**OMIT, "format": "pairs"}
NUMBER_OMIT = {**OMIT, "labels": "number"}
OBJECT_OMIT = {**OMIT, "format": "json_object"}
TERSE = {"format": "terse"}
THINK = {**OMIT, "reasoning": "think"}
TOOL_CALL, XML, YAML, CODE = ({**OMIT, "format": name} for name in ("tool_call", "xml", "yaml", "code"))
COT_OMIT = {**OMIT, "reasoning": "cot"}

FAULTS: list[tuple[Task, dict[str, str], str, dict[str, tuple[str, ...]], list[str]]] = [
    (REVIEWS, {}, " \n", {}, ["empty"]),
    (REVIEWS, {}, "food: positive, drinks: negative, price: unmentioned",
     {"food": ("positive",), "drinks": ("negative",)}, []),  # the full stop may be missing
    (REVIEWS, {}, "food: positive, drinks negative, price: unmentioned.",
     {"food": ("positive",)}, ["syntax", "missing_slot"]),
    (REVIEWS, {}, "food: not positive, drinks: unmentioned, price: unmentioned.", {}, ["unknown_label"]),
    (REVIEWS, {}, "food: Positive, drinks: unmentioned, price: unmentioned.", {}, ["unknown_label"]),
    (REVIEWS, {}, "food: positive, food: negative, drinks: unmentioned, price: unmentioned.",
     {"food": ("positive",)}, ["repeated_slot"]),
    (REVIEWS, {}, "food: positive, drinks: unmentioned, price: neutral, wine: neutral.",
     {"food": ("positive",), "price": ("neutral",)}, ["unknown_slot"]),
    (REVIEWS, {}, "food: positive, , drinks: unmentioned, price: neutral.",
     {"food": ("positive",), "price": ("neutral",)}, ["syntax"]),
    (REVIEWS, {}, "unmentioned.", {}, ["missing_slot"] * 3),
    (REVIEWS, OMIT, "unmentioned.", {}, []),
    (REVIEWS, OMIT, "food: positive.", {"food": ("positive",)}, []),
    (REVIEWS, OMIT, "food: positive, price: unmentioned.",
     {"food": ("positive",)}, ["unexpected_placeholder"]),
    (REVIEWS, NUMBER_OMIT, "food: 1, price: -1.",
     {"food": ("positive",), "price": ("negative",)}, []),
    (REVIEWS, NUMBER_OMIT, "food: 7, price: positive.", {}, ["unknown_label"] * 2),
    (REVIEWS, {"labels": "number"}, "food: -2, price: 0, drinks: -2.", {"price": ("neutral",)}, []),
    (REVIEWS, COT_OMIT, "food: tasty => positive, price: neutral.",
     {"food": ("positive",), "price": ("neutral",)}, ["missing_rationale"]),
    (REVIEWS, {"reasoning": "rcot", "unmentioned": "omit"}, "food: positive <= tasty, price: dear => neutral.",
     {"food": ("positive",)}, ["missing_rationale", "unknown_label"]),
    (REVIEWS, COT_OMIT, "food: a => b => positive.", {}, ["syntax"]),
    (REVIEWS, JSON_OMIT, '{"aspect": "food", "sentiment": ["positive"]}', {}, ["syntax"]),
    (REVIEWS, JSON_OMIT, '{"aspect": "food", "sentiment": "positive"}, {}', {}, ["syntax"]),
    (REVIEWS, JSON_OMIT, '{"aspect": "food", "sentiment": "positive", "note": ""}', {},
     ["syntax"]),
    (REVIEWS, JSON_OMIT, '{"aspect": "food", "sentiment": "positive"}\n{"aspect"',
     {"food": ("positive",)}, ["syntax"]),
    (REVIEWS, JSON_OMIT, "{}", {}, []),
    (REVIEWS, JSON_OMIT, "__import__('os').abort()", {}, ["syntax"]),
    (REVIEWS, PAIRS_OMIT, '["food", "positive"]\n["food", "negative"]',
     {"food": ("positive",)}, ["repeated_slot"]),
    (REVIEWS, LINES_OMIT, "food: positive\n\n  price: neutral \n",
     {"food": ("positive",), "price": ("neutral",)}, []),
    (ENTITIES, OMIT, 'DNA: "none", none.', {}, ["syntax"]),
    (ENTITIES, OMIT, 'DNA: "a; RNA: b.', {"RNA": ("b",)}, ["syntax"]),
    (ENTITIES, OMIT, 'DNA: "a" x, b; RNA: c.', {"RNA": ("c",)}, ["syntax"]),
    (ENTITIES, OMIT, "DNA: a\nb; RNA: c.", {"RNA": ("c",)}, ["syntax"]),
    (ENTITIES, OMIT, 'RNA: "e.g."', {"RNA": ("e.g.",)}, []),
    (ENTITIES, {"format": "lines"}, "DNA: none\nRNA: a\nprotein: none", {"RNA": ("a",)}, []),
    (ENTITIES, JSON_OMIT, '{"type": "DNA", "entity": "a"}', {}, ["syntax"]),
    (ENTITIES, JSON_OMIT, '{"type": "DNA", "entity": []}', {}, ["unexpected_placeholder"]),
    (ENTITIES, PAIRS_OMIT, '["DNA", "a"]\n["DNA", "a"]\n["RNA"]',
     {"DNA": ("a", "a")}, ["syntax"]),
    (ENTITIES, PAIRS_OMIT, "[]", {}, []),
    # Of another slot: an unknown label, whatever the design.
    (TICKETS, OMIT, "urgency: app, product: app.", {"product": ("app",)}, ["unknown_label"]),
    (TICKETS, NUMBER_OMIT, "urgency: 2, product: 2.", {"product": ("low",)}, ["unknown_label"]),
    (TICKETS, JSON_OMIT, '{"field": "urgency", "label": "so, so"}', {}, ["unknown_label"]),
    (TICKETS, OBJECT_OMIT, '{"urgency": "so, so", "product": "high"}', {"product": ("high",)}, ["unknown_label"]),
    (TOPICS, OMIT, "话题：体育，无语；语气：正。", {"语气": ("正",)}, ["unknown_label"]),
    (TOPICS, OMIT, "话题：体育，体育，正。", {"话题": ("体育", "正")}, ["repeated_label"]),
    (TOPICS, OMIT, "语气：正，负；话题：正。", {"话题": ("正",)}, ["syntax"]),
    (TOPICS, JSON_OMIT, '{"方面": "语气", "类别": ["正"]}', {}, ["syntax"]),
    (TOPICS, JSON_OMIT, '{"方面": "话题", "类别": "正"}', {}, ["syntax"]),
    (TOPICS, PAIRS_OMIT, '["话题", "体育"]\n["话题", "正"]\n["语气", "正"]\n["语气", "负"]',
     {"话题": ("体育", "正"), "语气": ("正",)}, ["repeated_slot"]),
    (TOPICS, OBJECT_OMIT, '{"话题": [], "语言": ["正", "负"]}', {"语言": ("正", "负")}, ["unexpected_placeholder"]),
    (TAGS, OMIT, "tag: nothing, none.", {}, ["syntax"]),
    (REVIEWS, OBJECT_OMIT, "{}", {}, []),
    (REVIEWS, OBJECT_OMIT, ' {"food":\n"positive" , "price":"neutral"} ',
     {"food": ("positive",), "price": ("neutral",)}, []),
    (REVIEWS, OBJECT_OMIT, '{"food": "positive", "food": "negative"}', {"food": ("positive",)}, ["repeated_slot"]),
    (REVIEWS, OBJECT_OMIT, '{"food": "positive", "wine": "neutral", "price": true, "drinks": {"sentiment": "neutral"}}',
     {"food": ("positive",)}, ["unknown_slot", "syntax", "syntax"]),
    (REVIEWS, OBJECT_OMIT, '{"food": "positive"} and more', {}, ["syntax"]),
    (REVIEWS, OBJECT_OMIT, '{"food": "positive", "price": "neu', {}, ["syntax"]),
    (REVIEWS, OBJECT_OMIT, "[]", {}, ["syntax"]),
    (REVIEWS, {"format": "json_object"}, '{"food": "positive", "price": null, "drinks": "unmentioned"}',
     {"food": ("positive",)}, ["syntax", "missing_slot"]),
    (REVIEWS, OBJECT_OMIT | {"labels": "number"}, '{"food": "1", "price": -1, "drinks": 0.0}',
     {"food": ("positive",), "price": ("negative",)}, ["unknown_label"]),
    (REVIEWS, OBJECT_OMIT | {"reasoning": "cot"},
     '{"food": {"reason": "a", "sentiment": "positive"}, "price": "neutral", "drinks": {"sentiment": "neutral"}}',
     {"food": ("positive",), "price": ("neutral",), "drinks": ("neutral",)}, ["missing_rationale"] * 2),
    (REVIEWS, OBJECT_OMIT | {"reasoning": "cot"},
     '{"food": {"reason": "a", "reason": "b", "sentiment": "positive"}, "price": {"reason": "c"}}', {}, ["syntax"] * 2),
    (ENTITIES, OBJECT_OMIT, '{"DNA": ["a", 1], "RNA": "b", "protein": ["NaN"]}',
     {"protein": ("NaN",)}, ["syntax", "syntax"]),
    (QUESTIONS, {"format": "json_object"}, '{"answer": NaN}', {}, ["syntax", "missing_slot"]),
    (QUESTIONS, {"format": "json_object"}, '{"answer": 1e999}', {"answer": ("1e999",)}, []),
    (REVIEWS, TERSE, "positive - negative", {"food": ("positive",), "price": ("negative",)}, []),
    (REVIEWS, TERSE, "positive negative", {}, ["syntax", *["missing_slot"] * 3]),  # which two is not guessed
    (REVIEWS, TERSE, "positive unmentioned great", {"food": ("positive",)}, ["unknown_label"] * 2),
    (REVIEWS, TERSE | OMIT, "food positive price", {"food": ("positive",)}, ["syntax"]),
    (REVIEWS, TERSE | OMIT, "food positive food negative wine neutral", {"food": ("positive",)},
     ["repeated_slot", "unknown_slot"]),
    (REVIEWS, TERSE | OMIT, "-", {}, []),
    (REVIEWS, TERSE | {"reasoning": "cot"}, "tasty => positive\n-\ndear => negative",
     {"food": ("positive",), "price": ("negative",)}, ["missing_rationale"]),
    (ENTITIES, TERSE, "a, b\n-\n-, c", {"DNA": ("a", "b")}, ["syntax", "missing_slot"]),
    (ENTITIES, TERSE | OMIT, "DNA a, b\nRNA\nprotein -", {"DNA": ("a", "b")}, ["syntax", "unexpected_placeholder"]),
    (QUESTIONS, TERSE, "Iran", {"answer": ("Iran",)}, []),
    (REVIEWS, TOOL_CALL, '<tool_call>{"name":"answer","arguments":{"food": "positive"}}</tool_call>',
     {"food": ("positive",)}, []),
    (REVIEWS, TOOL_CALL, '<tool_call>\n{"name": "other", "arguments": {}}\n</tool_call>', {}, ["syntax"]),
    (REVIEWS, TOOL_CALL, '{"food": "positive"}', {}, ["syntax"]),
    (REVIEWS, TOOL_CALL,
     '<tool_call>\n{"name": "answer", "arguments": {"food": "positive", "price": 1, "wine": "neutral"}}\n</tool_call>',
     {"food": ("positive",)}, ["unknown_label", "unknown_slot"]),
    (REVIEWS, TOOL_CALL, '<tool_call>\n{"name": "answer", "arguments": {"food": "positive"}', {}, ["syntax"]),
    (REVIEWS, XML, "<food>positive</food> and <price>neutral</price>",
     {"food": ("positive",), "price": ("neutral",)}, ["syntax"]),
    (REVIEWS, XML, "<food>positive</drinks>\n<price>neutral", {}, ["syntax"]),
    (REVIEWS, XML, "<food>positive</food><food>neutral</food><price/>",
     {"food": ("positive",)}, ["repeated_slot", "syntax"]),
    (ENTITIES, XML, "<DNA>R&amp;D</DNA>\n<DNA>a & b</DNA>\n<RNA/>",
     {"DNA": ("R&D",)}, ["syntax", "unexpected_placeholder"]),
    (ENTITIES, XML | {"reasoning": "cot"}, "<DNA>a</DNA><RNA>b<reason>c</reason></RNA>",
     {"DNA": ("a",)}, ["missing_rationale", "syntax"]),
    (REVIEWS, YAML, "food: positive\n\nprice: no\ndrinks: [neutral]\nwine: neutral",
     {"food": ("positive",)}, ["syntax", "syntax", "unknown_slot"]),
    (REVIEWS, YAML, "food: 'positive'\nfood: neutral # so", {"food": ("positive",)}, ["syntax"]),
    (REVIEWS, {"format": "yaml"}, "food: positive\nprice: null", {"food": ("positive",)},
     ["syntax", *["missing_slot"] * 2]),
    (ENTITIES, YAML, "DNA:\n- a\n  - b\nRNA: c\nprotein: []", {},
     ["syntax", "syntax", "unexpected_placeholder"]),
    (ENTITIES, YAML, "DNA:\n  - a\n  - 1\nRNA:\n- b\n-", {}, ["syntax", "syntax"]),
    (ENTITIES, YAML | {"reasoning": "cot"}, "DNA:\n  reason: so\n  entity:\n  - a\nRNA:\n- b",
     {"DNA": ("a",), "RNA": ("b",)}, ["missing_rationale"]),
    (REVIEWS, CODE, 'result=[Food(sentiment="positive"),Price(sentiment = "neutral")]',
     {"food": ("positive",), "price": ("neutral",)}, []),
    (REVIEWS, CODE, 'result = [Food(sentiment="positive"), Price(sentiment=good), Drinks()]',
     {"food": ("positive",)}, ["syntax"]),
    (REVIEWS, CODE, 'result = [Food(label="positive"), Wine(sentiment="neutral"), food(sentiment="neutral")]',
     {}, ["syntax", "unknown_slot", "unknown_slot"]),
    (REVIEWS, CODE, '[Food(sentiment="positive")]', {}, ["syntax"]),
    (REVIEWS, CODE, '__import__("os").abort()', {}, ["syntax"]),
    (ENTITIES, CODE, 'result = [DNA(entity="a"), DNA(entity=1), RNA(entity=None)] # done',
     {"DNA": ("a",)}, ["syntax", "syntax", "unexpected_placeholder"]),
    (REVIEWS, THINK, "<think>\nfood: tasty\n</think>\n\nfood: positive, price: neutral.",
     {"food": ("positive",), "price": ("neutral",)}, ["missing_rationale"]),
    (REVIEWS, THINK, "food: positive, price: neutral.", {"food": ("positive",), "price": ("neutral",)},
     ["missing_rationale"]),  # the block is missing
    (REVIEWS, THINK, "<think>\nfood: tasty, so\nfood: positive.", {}, ["empty", "syntax"]),
    (REVIEWS, THINK, "<think>\nwho knows\n</think>\nunmentioned.", {}, ["syntax"]),
    (REVIEWS, THINK, "<think>\n</think>\n", {}, ["empty"]),
    (REVIEWS, {**OMIT, "reasoning": "rcot_cut"}, "food: positive.", {"food": ("positive",)}, []),
    (REVIEWS, {**OMIT, "reasoning": "rcot_cut"}, "food: positive.\n===\nanything: at all", {"food": ("positive",)}, []),
    (REVIEWS, {**OMIT, "reasoning": "rcot_cut"}, "food: positive ===\nfood: tasty", {}, ["syntax"]),
    (REVIEWS, {**OMIT, "reasoning": "rcot_cut"}, "===\nfood: tasty", {}, ["empty"]),
    (REVIEWS, {**OMIT, "reasoning": "keywords"}, "food: tasty => positive, price: neutral.",
     {"food": ("positive",), "price": ("neutral",)}, ["missing_rationale"]),
    (QUESTIONS, {}, "answer: unknown.", {}, []),
    (QUESTIONS, {"format": "json"}, '{"field": "answer", "value": "unknown"}', {"answer": ("unknown",)}, []),
    (QUESTIONS, {"format": "json"}, '{"field": "answer", "value": null}', {}, []),
]  # fmt: skip


@pytest.mark.parametrize(("task", "options", "text", "answer", "kinds"), FAULTS, ids=[row[2][:60] for row in FAULTS])
def test_departures_are_faults(task, options, text, answer, kinds):
    parsed = parse_completion(text, task, designs.make_design(**options))
    assert (dict(parsed.answer), sorted(fault.kind for fault in parsed.faults)) == (answer, sorted(kinds))


def test_faults_tell_what_is_wrong():
    parsed = parse_completion("food: good, wine: neutral, price", REVIEWS, designs.make_design(unmentioned="omit"))
    assert parsed.faults[0].detail == "no ': ' after the aspect: 'price'"
    assert [fault.detail for fault in parsed.faults[1:]] == ["wine", "food: good"]


# ---- the core stays light --------------------------------------------------------------------------------------------

HEAVY = ["torch", "ray", "mlflow", "deepspeed", "transformers", "peft", "datasets", "optuna"]
CORE = ["axes", "design", "render", "tasks", "metrics", "data", "data.made", "config", "plan", "ledger"]


def test_core_imports_nothing_heavy():
    code = (
        "import importlib, importlib.util, sys\n"
        f"for name in {CORE!r}:\n"
        "    if importlib.util.find_spec('sde_ray.' + name):\n"
        "        importlib.import_module('sde_ray.' + name)\n"
        "from sde_ray import tasks\n"
        "tasks.get_task('masa:d1').load('dev')\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_bundled_examples_keep_the_law():
    for name in ("masa:d1", "masa:d2", "nested_ner", "events", "qa", *TABLES):
        task = get_task(name)
        for example, design in itertools.product(task.load("dev")[:8], sample_of_forms(task, name)):
            assert read_back(example, task, design) == Parsed(example.answer), (design.slug, example)
