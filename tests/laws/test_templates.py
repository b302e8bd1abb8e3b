"""What samples look like, for people to read; the published prompt to the letter; no word against the completion."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace

import pytest

from sde_ray.data.record_values import leaf_paths
from sde_ray.design import designs
from sde_ray.design.axes import AXES, find_option
from sde_ray.design.labels import numbers_of
from sde_ray.design.record_schematic import number_nouns, record_stand_in
from sde_ray.design.render import (
    completion_of,
    form_of,
    parse_completion,
    prompt_of,
    render_instruction,
    render_sample,
    schematic,
)
from sde_ray.errors import UserError
from sde_ray.tasks import TASKS, get_task
from sde_ray.testing.axis_option import is_possible
from sde_ray.testing.tasks import ALL, ENTITIES, PRICES, QUESTIONS, RELATIONS, REVIEWS, STARS, TAGS, TICKETS, TOPICS
from sde_ray.types import Design, Example, Parsed, Segment, Task

PAPER = {name: [o for o, option in axis.options.items() if option.swept] for name, axis in AXES.items()}
FREE = {**PAPER, "instruction": ["last"], "input_modeling": ["off"]}
WITH_ONE_MORE = [
    {**FREE, "labels": ["text"], "reasoning": ["none", "cot"], axis: [option]}
    for axis in ("format", "labels", "reasoning")
    for option in AXES[axis].options
    if option not in PAPER[axis]
]
DESIGNS = [
    Design(tuple(zip(AXES, options, strict=True)))
    for axes in (FREE, *WITH_ONE_MORE)
    for options in itertools.product(*axes.values())
]
"""Every design of the paper's options that writes answers differently; those with one option more."""


def designs_of(task: Task) -> list[Design]:
    return [design for design in DESIGNS if is_possible(task, design)]


ALL_BY_NAME = [(task.name, examples) for task, examples in ALL]
TASKS_AND_MORE = [*TASKS.values(), *(task for task, _ in ALL)]
OF_VALUES = [task for task in TASKS_AND_MORE if task.kind != "record"]
OF_RECORDS = [task for task in TASKS_AND_MORE if task.kind == "record"]


def shown(task: Task, example: Example, **options: str) -> str:
    sample = render_sample(example, task, designs.make_design(**options))
    return "".join(segment.text for segment in sample.prompt) + "|" + sample.completion.text


# ---- Chinese, as published (PAPER.md 1.6) ----------------------------------------------------------------------------

ZH = get_task("masa_zh:d1")
ZH_EXAMPLE = Example("1", "菜一般。", {"食品评价": ("中性",)}, {"食品评价": "菜的味道一般，不贵"})


def test_published_prompt_to_the_letter():
    assert shown(ZH, ZH_EXAMPLE) == (
        "菜一般。\n---\n"
        "阅读上面这段评论，观察以下这些方面：食品评价，饮品评价，价格水平，卫生情况，服务人员态度，停车方便程度。"
        "请根据评论对这些方面进行情感分析，具体有四类情感：正面、负面、中性、未提及。"
        '请用以下格式给出所有方面的情感："方面1：情感类别，方面2：情感类别，..."\n'
        "输出：|食品评价：中性，饮品评价：未提及，价格水平：未提及，卫生情况：未提及，服务人员态度：未提及，停车方便程度：未提及。"
    )


def test_published_lines():
    text = shown(ZH, ZH_EXAMPLE, format="lines", instruction="first")
    assert text.startswith("阅读下面这段评论，")
    assert '"方面1：情感类别\n方面2：情感类别\n..."\n---\n菜一般。\n输出：|食品评价：中性\n饮品评价：未提及\n' in text


def test_published_json_and_rationales():
    plain = shown(ZH, ZH_EXAMPLE, format="json", unmentioned="omit")
    cot = shown(ZH, ZH_EXAMPLE, format="json", unmentioned="omit", reasoning="cot")
    rcot = shown(ZH, ZH_EXAMPLE, format="json", unmentioned="omit", reasoning="rcot")
    assert plain.split("|")[1] == '{"方面": "食品评价", "情感": "中性"}'
    assert cot.split("|")[1] == '{"方面": "食品评价", "描述": "菜的味道一般，不贵", "情感": "中性"}'
    assert rcot.split("|")[1] == '{"方面": "食品评价", "情感": "中性", "描述": "菜的味道一般，不贵"}'


def test_omitted_placeholder_is_not_counted_or_listed():
    text = shown(ZH, ZH_EXAMPLE, unmentioned="omit")
    assert '具体有三类情感：正面、负面、中性。不要输出未提及的方面；如果都未提及，输出："未提及。"。' in text
    assert "所有方面" not in text


def test_published_numbers():
    text = shown(ZH, ZH_EXAMPLE, labels="number")
    assert "用数字表示：正面为1，负面为-1，中性为0，未提及为-2。" in text and '"方面1：数字，方面2：数字，..."' in text
    assert text.endswith("|食品评价：0，饮品评价：-2，价格水平：-2，卫生情况：-2，服务人员态度：-2，停车方便程度：-2。")


# ---- English ---------------------------------------------------------------------------------------------------------

SOUP = Example("1", "Nice soup.", {"food": ("positive",)}, {"food": "nice, warm"})
GENE = Example("1", "IL-2 gene, in B cells.", {"DNA": ("IL-2 gene",), "protein": ("IL-2", "a, b")})


def test_baseline():
    assert shown(get_task("masa:d1"), SOUP) == (
        "Nice soup.\n---\n"
        "Read the review above and rate these aspects: food, drinks, price, hygiene, staff, parking. "
        "Ratings: positive, negative, neutral, unmentioned.\n"
        "Form:\naspect 1: sentiment, aspect 2: sentiment, ...\n"
        "Output: |food: positive, drinks: unmentioned, price: unmentioned, hygiene: unmentioned, "
        "staff: unmentioned, parking: unmentioned."
    )


def test_es_sde_on_spans():
    assert shown(get_task("nested_ner"), GENE, instruction="first", format="lines") == (
        "Read the sentence below and list the entities of these types: DNA, RNA, protein, cell_type, cell_line.\n"
        "If a type has no entity, write: type 1: none\n"
        "Form:\ntype 1: entity, entity\ntype 2: entity\n...\n---\n"
        "IL-2 gene, in B cells.\n"
        'Output: |DNA: IL-2 gene\nRNA: none\nprotein: IL-2, "a, b"\ncell_type: none\ncell_line: none'
    )


def test_heuristic_on_spans():
    options = {"instruction": "first", "format": "pairs", "unmentioned": "omit"}
    assert shown(ENTITIES, GENE, **options) == (
        "List the DNA, RNA, protein of the sentence below.\n"
        "Leave out every type that has no entity; if none has one, write: []\n"
        'Form:\n["type 1", "entity"]\n["type 1", "entity"]\n["type 2", "entity"]\n...\n---\n'
        'IL-2 gene, in B cells.\nOutput: |["DNA", "IL-2 gene"]\n["protein", "IL-2"]\n["protein", "a, b"]'
    )
    assert shown(ENTITIES, Example("1", "x", {}), **options).endswith("|[]")


@pytest.mark.parametrize(
    ("options", "completion"),
    [
        ({"reasoning": "cot"}, 'food: "nice, warm" => positive, drinks: not mentioned => unmentioned, '
                               "price: not mentioned => unmentioned."),
        ({"reasoning": "rcot", "format": "lines", "labels": "number"},
         "food: 1 <= nice, warm\ndrinks: -2 <= not mentioned\nprice: -2 <= not mentioned"),
        ({"reasoning": "cot", "format": "json", "unmentioned": "omit", "labels": "number"},
         '{"aspect": "food", "reason": "nice, warm", "sentiment": "1"}'),
        ({"reasoning": "rcot", "format": "pairs", "unmentioned": "omit"}, '["food", "positive", "nice, warm"]'),
        ({"format": "pairs"}, '["food", "positive"]\n["drinks", "unmentioned"]\n["price", "unmentioned"]'),
    ],
)  # fmt: skip
def test_completions(options, completion):
    assert completion_of(SOUP, REVIEWS, designs.make_design(**options)) == completion


@pytest.mark.parametrize(
    ("value", "natural", "lines"),
    [
        ("5'-flank (1,25)", "5'-flank (1,25)", "5'-flank (1,25)"),
        ("[3H]thymidine", "[3H]thymidine", "[3H]thymidine"),
        ("a; b", '"a; b"', "a; b"),
        ("e.g.", '"e.g."', "e.g."),  # a model may forget the full stop of the sentence
        ("none", '"none"', '"none"'),
        ("None", "None", "None"),
        ("a\u2028b", '"a\u2028b"', '"a\u2028b"'),
    ],
)
def test_values_are_quoted_only_where_they_need_it(value, natural, lines):
    example = Example("1", "x", {"DNA": (value,)})
    assert completion_of(example, ENTITIES, designs.make_design(unmentioned="omit")) == f"DNA: {natural}."
    assert completion_of(example, ENTITIES, designs.make_design(unmentioned="omit", format="lines")) == f"DNA: {lines}"


def test_a_mentioned_slot_without_rationale_is_not_said_to_be_unmentioned():
    bare = replace(SOUP, rationale={})
    assert completion_of(bare, REVIEWS, designs.make_design(reasoning="cot", unmentioned="omit")) == (
        "food: as the text says => positive."
    )


@pytest.mark.parametrize(
    ("task", "marker"),
    [(REVIEWS, ["unmentioned.", "unmentioned", "{}", "[]"]), (ENTITIES, ["none.", "none", "{}", "[]"]),
     (ZH, ["未提及。", "未提及", "{}", "[]"]), (QUESTIONS, ["unknown.", "unknown", "{}", "[]"]),
     (TAGS, ["nothing.", "nothing", "{}", "[]"])],
)  # fmt: skip
def test_an_empty_answer_is_written(task, marker):
    empty = Example("1", "x", {})
    formats = [designs.make_design(format=name, unmentioned="omit") for name in ("natural", "lines", "json", "pairs")]
    assert [completion_of(empty, task, design) for design in formats] == marker
    assert completion_of(empty, task, designs.make_design(format="json_object", unmentioned="omit")) == "{}"


def test_segments_carry_role_and_loss():
    on = designs.make_design(instruction="first", input_modeling="on")
    asked = render_instruction(REVIEWS, on, 0, "below")
    assert prompt_of("Text.", REVIEWS, on) == (
        Segment(asked, True, "instruction"), Segment("\n---\n", True), Segment("Text.", True, "text"),
        Segment("\nOutput: ", True),
    )  # fmt: skip
    none = designs.make_design(instruction="none")
    assert prompt_of("Text.", REVIEWS, none) == (Segment("Text.", False, "text"), Segment("\nOutput: ", False))


# ---- labels by slot, several labels, numbers, one JSON object --------------------------------------------------------

TICKET = Example("1", "It hangs.", {"urgency": ("high",), "product": ("app",)}, {"urgency": "it hangs"})
POST = Example("1", "帖子。", {"话题": ("体育", "政治，经济"), "语气": ("负",)})


def test_labels_by_slot_are_shown_slot_by_slot():
    assert shown(TICKETS, TICKET) == (
        "It hangs.\n---\n"
        "Sort the ticket above by field: urgency (low, high, not said), product (app, high, low, not said), "
        "mood: now (so, so, low, [], not said).\n"
        "Form:\nfield 1: label, field 2: label, ...\n"
        'Output: |urgency: high, product: app, "mood: now": not said.'
    )
    assert "by field: urgency (low, high), product (app, high, low)," in shown(TICKETS, TICKET, unmentioned="omit")


def test_numbers_by_slot():
    asked = render_instruction(TICKETS, designs.make_design(labels="number"), 0, "above")
    assert (
        "Write for urgency low as 0, high as 1; for product app as 0, high as 1, low as 2; "
        "for mood: now so, so as 0, low as 1, [] as 2; not said as -1.\n"
    ) in asked
    assert shown(TICKETS, TICKET, labels="number", unmentioned="omit").endswith("|urgency: 1, product: 0.")


def test_labels_by_slot_and_several_in_chinese():
    assert shown(TOPICS, POST, labels="number") == (
        "帖子。\n---\n"
        "阅读上面的帖子，给出每个方面的类别：话题（体育、政治，经济、正、未提及），语气（正、负、未提及），语言（无语、负、正、未提及）。"
        "话题，语言可以有多个类别，其他方面只有一个。"
        "用数字表示：话题（体育为0，政治，经济为1，正为2）；语气（正为1，负为-1）；语言（无语为0，负为1，正为2）；未提及为-2。"
        '请用以下格式输出："方面1：数字；方面2：数字，数字；..."\n'
        "输出：|话题：0，1；语气：-1；语言：-2。"
    )


@pytest.mark.parametrize(
    ("options", "completion"),
    [
        ({}, '话题：体育，"政治，经济"；语气：负；语言：未提及。'),
        ({"format": "lines"}, '话题：体育，"政治，经济"\n语气：负\n语言：未提及'),
        ({"format": "json"}, '{"方面": "话题", "类别": ["体育", "政治，经济"]}\n{"方面": "语气", "类别": "负"}\n'
                             '{"方面": "语言", "类别": []}'),
        ({"format": "pairs", "unmentioned": "omit"}, '["话题", "体育"]\n["话题", "政治，经济"]\n["语气", "负"]'),
        ({"format": "json_object"}, '{"话题": ["体育", "政治，经济"], "语气": "负", "语言": []}'),
    ],
)  # fmt: skip
def test_completions_with_several_labels(options, completion):
    assert completion_of(POST, TOPICS, designs.make_design(**options)) == completion


def test_an_empty_list_is_shown_where_the_placeholder_is_not_written():
    asked = {
        name: render_instruction(TOPICS, designs.make_design(format=name), 0, "above")
        for name in AXES["format"].options
    }
    assert '可以有多个类别的方面若没有，写作："{"方面": "方面2", "类别": []}"。' in asked["json"]
    assert '可以有多个类别的方面若没有，写作：""方面2": []"。' in asked["json_object"]
    assert not any("若没有" in asked[name] for name in ("natural", "lines", "pairs"))


def test_several_labels_are_asked_for():
    asked = render_instruction(TAGS, designs.make_design(format="json"), 0, "above")
    assert asked == (
        "Give every tag of the text: a; b, c, d, none, => e, f., 0, nothing.\nEach slot may have several tags.\n"
        'If a slot has no tag, write: {"slot": "tag", "tag": []}\nForm:\n{"slot": "tag", "tag": ["tag", "tag"]}'
    )


OBJECT = {"format": "json_object"}


@pytest.mark.parametrize(
    ("task", "answer", "options", "completion"),
    [
        (REVIEWS, {"food": ("positive",)}, OBJECT,
         '{"food": "positive", "drinks": "unmentioned", "price": "unmentioned"}'),
        (REVIEWS, {"food": ("positive",)}, OBJECT | {"unmentioned": "omit"}, '{"food": "positive"}'),
        (REVIEWS, {"food": ("positive",)}, OBJECT | {"labels": "number"}, '{"food": 1, "drinks": -2, "price": -2}'),
        (REVIEWS, {"food": ("positive",)}, OBJECT | {"reasoning": "cot", "unmentioned": "omit"},
         '{"food": {"reason": "nice, warm", "sentiment": "positive"}}'),
        (REVIEWS, {"food": ("positive",)}, OBJECT | {"reasoning": "rcot"},
         '{"food": {"sentiment": "positive", "reason": "nice, warm"}, '
         '"drinks": {"sentiment": "unmentioned", "reason": "not mentioned"}, '
         '"price": {"sentiment": "unmentioned", "reason": "not mentioned"}}'),
        (ENTITIES, {"DNA": ("a", "12")}, OBJECT, '{"DNA": ["a", "12"], "RNA": [], "protein": []}'),
        (QUESTIONS, {}, OBJECT, '{"answer": null}'),
        (QUESTIONS, {"answer": ("12.50",)}, OBJECT, '{"answer": 12.50}'),
        (QUESTIONS, {"answer": ("007",)}, OBJECT, '{"answer": "007"}'),
        (STARS, {"stars": ("-1",), "mark": ("1.50",)}, OBJECT, '{"stars": -1, "mark": 1.50}'),
    ],
)  # fmt: skip
def test_one_json_object(task, answer, options, completion):
    example = Example("1", "x", answer, {"food": "nice, warm"})
    assert completion_of(example, task, designs.make_design(**options)) == completion


def test_one_json_object_in_the_prompt():
    assert shown(get_task("nested_ner"), GENE, **OBJECT) == (
        "IL-2 gene, in B cells.\n---\n"
        "Read the sentence above and list the entities of these types: DNA, RNA, protein, cell_type, cell_line.\n"
        'If a type has no entity, write: "type 1": []\n'
        'Form:\n{"type 1": ["entity", "entity"], "type 2": ["entity"], ...}\n'
        'Output: |{"DNA": ["IL-2 gene"], "RNA": [], "protein": ["IL-2", "a, b"], "cell_type": [], "cell_line": []}'
    )


def test_values_that_are_numbers_are_asked_for():
    assert shown(PRICES, Example("1", "A cup for 12.", {"price": ("12",)}), unmentioned="omit") == (
        "A cup for 12.\n---\n"
        "Give price, share of the offer above.\n"
        "Give as a number: price from 0 to 1000, share from -1 to 1.\n"
        "Leave out every field that has no value; if none has one, write: unknown.\n"
        "Form:\nfield 1: value, field 2: value.\n"
        "Output: |price: 12."
    )
    chinese = replace(PRICES, language="zh", ranges={"price": (0.0, 2.5)})
    assert "以数字回答：price从0到2.5。" in render_instruction(chinese, designs.make_design(), 0, "above")


def test_a_noun_that_stands_for_a_number_has_no_quotes():
    form = '{"field 1": number, "field 2": number, ...}'
    assert form in render_instruction(TICKETS, designs.make_design(**OBJECT, labels="number"), 0, "above")
    assert schematic(STARS, designs.make_design(**OBJECT)) == '{"slot 1": rating, "slot 2": rating}'
    assert schematic(PRICES, designs.make_design(**OBJECT)) == '{"field 1": value, "field 2": value}'
    named = replace(TICKETS, slot_numbers={"urgency": {"low": "A", "high": "B"}})
    assert '"field 1": "number"' in schematic(named, designs.make_design(**OBJECT, labels="number"))
    assert schematic(QUESTIONS, designs.make_design(**OBJECT)) == '{"answer": "value"}'


def test_labels_that_are_numbers_pin_the_axis():
    pinned = AXES["labels"].pinned
    assert pinned(STARS, True) == "the labels of stars are numbers already"
    for example, design in itertools.product(dict(ALL_BY_NAME)["stars"], DESIGNS):
        number, text = (render_sample(example, STARS, design.replace(labels=name)) for name in ("number", "text"))
        assert number.completion == text.completion
    assert pinned(replace(STARS, slot_labels={**STARS.slot_labels, "mark": ("good", "bad")}), True) == ""
    assert pinned(replace(STARS, numbers={"1": "one"}), True) == ""
    assert pinned(PRICES, True) == "the answers of prices are not labels"


# ---- nothing in the prompt contradicts the completion ----------------------------------------------------------------


DOTS = r"[,;，；]? ?\n?\.\.\.(?=[}\]]*(\n</tool_call>|\n===\n(.|\n)*)?$)"


@pytest.mark.parametrize("task", OF_VALUES, ids=lambda task: task.name)
def test_schematic_reads_as_the_form_it_shows(task: Task):
    """The abstract form, without its dots, is a completion of the same design for a task with those slots."""
    for design in designs_of(task):
        slots = task.slots if len(task.slots) == 1 else (f"{task.nouns.slot} 1", f"{task.nouns.slot} 2")
        if task.language == "zh":
            slots = tuple(slot.replace(" ", "") for slot in slots)
        value = task.wordings.get("schematic_value", task.nouns.value)
        number = {"en": "number", "zh": "数字"}[task.language]
        both = len(task.multilabel) in (0, len(task.slots))
        stand_in = replace(task, slots=slots, labels=task.labels and (value,), slot_labels={}, slot_numbers={},
                           multilabel=() if not task.multilabel else slots if both else slots[1:],
                           numbers={value: number, task.placeholder: numbers_of(task)[task.placeholder]})  # fmt: skip
        text = schematic(task, design)
        if design["format"] in ("json_object", "tool_call", "code"):  # a number has no quotes, and so its noun has none
            text = re.sub(rf"(?<=[ \[=])({value}|{number})(?=[],}})])", r'"\1"', text)
        if "inline" in design["format"]:  # its dots are words of the text
            assert not parse_completion(text, stand_in, design).faults
            continue
        assert bool(re.search(DOTS, text)) == (len(task.slots) > 2)
        parsed = parse_completion(re.sub(DOTS, "", text), stand_in, design)
        # A list is shown by the same noun twice: "aspect 1: label, label".
        assert {fault.kind for fault in parsed.faults} <= ({"repeated_label"} if task.multilabel else set())
        assert list(parsed.answer) == list(slots), (design.slug, text, parsed)


@pytest.mark.parametrize("task", OF_RECORDS, ids=lambda task: task.name)
def test_schematic_of_records_reads_as_the_form_it_shows(task: Task):
    """The schematic is a completion of the same design, of the task with nouns for values."""
    for design in designs_of(task):
        by_name = design["format"] == "pairs"
        stand_in, answer = record_stand_in(task, by_name)
        text, nouns = schematic(task, design), "|".join(map(re.escape, number_nouns(task, by_name)))
        if design["format"] in (
            "json",
            "pairs",
            "json_object",
            "tool_call",
        ):  # a number has no quotes, and so its noun has none
            text = re.sub(rf"(?<=[ \[])({nouns or 'x'})(?=[],}}])", r'"\1"', text)
        assert parse_completion(text, stand_in, design) == Parsed(answer), (design.slug, text)
        asked = render_instruction(task, design, 0, "above")
        for path, one in (each for fields in task.fields.values() for each in leaf_paths(fields)):
            assert all(label in asked for label in one.labels)
            assert path.rpartition(".")[2] in asked


def test_records_are_asked_for_by_their_shape():
    asked = render_instruction(RELATIONS, designs.make_design(format="lines", unmentioned="omit"), 0, "below")
    assert asked == (
        "List every relation of the sentence below.\n"
        "Choose relation from born in, works, for, none, null.\n"
        "Leave out every type that has no record; if none has one, write: none\n"
        "Leave out every field that the sentence does not tell.\n"
        "Form:\n"
        "relation: head = words of the sentence, relation = label, tail = words of the sentence, year = whole number\n"
        "relation: head = words of the sentence, relation = label, tail = words of the sentence, year = whole number"
    )


@pytest.mark.parametrize("task", TASKS_AND_MORE, ids=lambda task: task.name)
def test_instruction_speaks_of_its_own_design_only(task: Task):
    as_number = {"en": "{} as {}", "zh": "{}为{}"}[task.language]
    comma = {"en": ", ", "zh": "、"}[task.language]
    for design in designs_of(task):
        asked, form = render_instruction(task, design, 0, "above"), form_of(task, design)
        if design["format"] != "terse" or len(task.slots) > 1:  # the form of a single value is its noun alone
            assert asked.count(schematic(task, design)) == (design["format"] != "tool_call")
        others = [schematic(task, design.replace(format=name)) for name in AXES["format"].options]
        assert [other for other in others if other in asked and other not in schematic(task, design)] == []
        if task.labels and "{labels}" in task.instructions[0]:
            for labels in [task.labels_of(slot) for slot in task.slots]:
                assert comma.join(labels) in asked
                absent = form.complete and task.has_absent_slots and form.placeholder != "-"
                assert (comma.join([*labels, task.placeholder]) in asked) == absent
        for name in task.slots:
            pairs = [as_number.format(label, numbers_of(task, name)[label]) for label in task.labels_of(name)]
            assert [pair in asked for pair in pairs] == [design["labels"] == "number"] * len(pairs), pairs
        if not form.complete and not find_option("format", design["format"]).in_text:
            assert completion_of(Example("x", "", {}), task, design) in asked.replace(schematic(task, design), "")


@pytest.mark.parametrize("task", [ENTITIES, QUESTIONS, TASKS["events"]], ids=lambda task: task.name)
def test_entry_shown_for_an_absent_slot_reads_as_absent(task: Task):
    slot = task.slots[0] if len(task.slots) == 1 else "type 1"
    for design in designs_of(task):
        inline_with_why = "inline" in design["format"] and design["reasoning"] != "none"  # reasons stand elsewhere
        if design["unmentioned"] == "placeholder" and not inline_with_why and design["reasoning"] != "think":
            after = render_instruction(task, design, 0, "above").split("write: ")[1]
            shown_entry = re.split(r"\n(?:Form:|Give |After |Before )", after)[0]
            option = find_option("format", design["format"])
            shown_entry = f"x\n---\n{shown_entry}" if option.in_text else option.opening + shown_entry + option.closing
            assert parse_completion(shown_entry, replace(task, slots=(slot,)), design) == Parsed({}), (
                design.slug,
                shown_entry,
            )


@pytest.mark.parametrize("name", TASKS)
def test_three_wordings_speak_of_text_slots_and_place(name):
    task = TASKS[name]
    for wording, where in itertools.product(range(3), ("above", "below")):
        asked = render_instruction(task, designs.make_design(), wording, where)
        place = {"above": "上面", "below": "下面"}[where] if task.language == "zh" else where
        assert place in asked and task.nouns.text in asked
        assert task.kind == "free" or all(slot in asked for slot in task.slots)
        assert all(label in asked for label in task.labels or ())
    assert len({task.instructions[n] for n in range(3)}) == len(task.instructions) == 3


def test_braces_of_the_users_own_stay():
    task = replace(REVIEWS, instructions=('Rate {slots} like {"food": 1} or {this}: {schematic}!',))
    assert render_instruction(task, designs.make_design(), 0, "above") == (
        'Rate food, drinks, price like {"food": 1} or {this}: aspect 1: sentiment, aspect 2: sentiment, ...!'
    )


def test_unknown_wording_is_explained():
    with pytest.raises(UserError, match="reviews has no wording 3. Choose one of 0 to 2."):
        prompt_of("x", REVIEWS, designs.make_design(), instruction_variant=3)
