"""Small literal tasks of every kind, with examples that a careless format would garble.

`ALL` pairs each task with its examples; the laws run over them and over the package's own tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sde_ray.data.record_values import canonical
from sde_ray.types import Example, PromptNouns, RecordField, Split, Task, TaskKind

METRIC = {"label": "accuracy", "span": "f1", "free": "accuracy", "record": "record_f1"}


def _task(
    name: str, kind: TaskKind, slots: tuple[str, ...], nouns: str, instructions: Sequence[str], **rest: Any
) -> Task:
    """A task without data; `nouns` are those of the text, the slot, the value and the rationale, one word each."""

    def load(split: Split) -> list[Example]:
        return []

    metric = rest.pop("metric", METRIC[kind])
    settings = {"language": "en", "metrics": (metric,), "objective": metric, "load": load, **rest}
    words = PromptNouns(*nouns.split())
    return Task(name=name, kind=kind, slots=slots, nouns=words, instructions=tuple(instructions), **settings)


REVIEWS = _task(
    "reviews",
    "label",
    ("food", "drinks", "price"),
    "review aspect sentiment reason",
    ["Rate {slots} of the {text} {where}: {labels}.", "Second {where}.", "Third {where}."],
    metric="weighted_kappa",
    load=lambda split: list(REVIEW_EXAMPLES),
    labels=("positive", "negative", "neutral"),
    numbers={"positive": "1", "negative": "-1", "neutral": "0", "unmentioned": "-2"},
    placeholder="unmentioned",
    label_words={"": {"positive": "great, really", "negative": "terrible", "unmentioned": "absent"}},
)
REVIEW_EXAMPLES: list[Example] = [
    Example("all", "Good, bad, fair.", {"food": ("positive",), "drinks": ("negative",), "price": ("neutral",)}),
    Example("one", "Nice soup.", {"price": ("negative",)}, {"price": 'he said: "dear, too dear"; => gone <= \n.'}),
    Example("none", "We were there.", {}),
    Example("reason like a placeholder", "x", {"food": ("neutral",)}, {"food": "unmentioned", "drinks": "  "}),
]

ODD_LABELS = _task(
    "odd labels",
    "label",
    ('a: "b"', "none, none", "1"),
    "text slot value why",
    ['Label {slots} as {labels}, JSON like {"a": 1} or {unknown}.'],
    labels=("so, so", "not positive", "positive", "=> up", "end."),
    placeholder="nothing",
)
ODD_LABEL_EXAMPLES = [
    Example("delimiters", "x", {'a: "b"': ("so, so",), "none, none": ("=> up",), "1": ("end.",)}),
    Example("inside one another", "x", {"1": ("not positive",), "none, none": ("positive",)}),
]

ENTITIES = _task(
    "entities",
    "span",
    ("DNA", "RNA", "protein"),
    "sentence type entity reason",
    ["List the {slots} of the {text} {where}."],
)
ENTITY_EXAMPLES = [
    Example("plain", "IL-2 gene", {"DNA": ("IL-2 gene",), "protein": ("IL-2", "5'-flank (1,25)")}),
    Example("like the placeholder", "x", {"DNA": ("none", "None", '"none"', "none."), "RNA": ("none",)}),
    Example("delimiters", "x", {"DNA": ("a, b", "c: d", "e; f", "g\nh", "a:", "b,", ";"), "RNA": (" => ", "<=", "=>")}),
    Example("quotes", "x", {"DNA": ('"', '""', 'say "hi"', '"a" b', "\\", '\\"', "'"), "protein": ('"a", "b"',)}),
    Example("brackets", "x", {"DNA": ("[]", "{}", '["DNA", "x"]', '{"type": "DNA"}', "[3H]thymidine", "null")}),
    Example("blanks", "x", {"DNA": ("", " ", " a", "a ", "\t", "a\r\nb", "\u2028", "\x85", "a\xa0b", "\u3000")}),
    Example("stops", "x", {"protein": (".", "e.g.", "..."), "RNA": ("a.",)}),
    Example("unicode", "x", {"DNA": ("日本：語，。", "😀", "e\u0301", "\u200b", "\x00", "\x7f")}),
    Example("duplicates", "x", {"DNA": ("IL-2", "IL-2"), "RNA": ("IL-2",)}),
    Example("slots as values", "x", {"DNA": ("RNA: none", "protein"), "protein": ("DNA",)}, {"DNA": "x => y"}),
    Example("none", "x", {}, {"RNA": 'a "reason", with => arrows'}),
]

ENTITIES_ZH = _task(
    "实体",
    "span",
    ("人物", "地点：国内", "组织"),
    "句子 类型 实体 理由",
    ["找出{where}的{text}中的{slots}。"],
    language="zh",
    placeholder="无",
)
ENTITIES_ZH_EXAMPLES = [
    Example("普通", "小明在北京。", {"人物": ("小明",), "地点：国内": ("北京", "上海")}, {"人物": "主语，人名"}),
    Example(
        "标点",
        "x",
        {"人物": ("无", "无。", "甲，乙", "甲：乙", "甲；乙", "。", "，", "a, b: c; d."), "组织": ("“无”",)},
    ),
    Example("都没有", "x", {}),
]

QUESTIONS = _task(
    "questions",
    "free",
    ("answer",),
    "question field value reason",
    ["Answer the {text} {where}."],
    placeholder="unknown",
)
QUESTION_EXAMPLES = [
    Example(str(n), "x", {"answer": (value,)})
    for n, value in enumerate(
        ["Iran", "unknown", "unknown.", "null", "a, b", "a: b", "", "\n", '"', "answer: unknown", "{}"]
    )
] + [Example("none", "x", {})]

FORM = _task(
    "form", "free", ("姓名", "年龄", "城市"), "文本 字段 值 理由", ["填写{slots}。"], language="zh", placeholder="未知"
)
FORM_EXAMPLES = [Example("1", "x", {"姓名": ("未知",), "城市": ("北京，上海",)}), Example("2", "x", {})]

TICKETS = _task(
    "tickets",
    "label",
    ("urgency", "product", "mood: now"),
    "ticket field label reason",
    ["Sort the {text} {where} by {slot}: {labels}."],
    labels=("low", "high", "app", "so, so", "[]"),
    slot_labels={"urgency": ("low", "high"), "product": ("app", "high", "low"), "mood: now": ("so, so", "low", "[]")},
    placeholder="not said",
    label_words={"urgency": {"low": "app", "high": "=> so"}, "product": {"low": "l"}, "mood: now": {"low": "h"}},
)
"""Labels by slot; the slots share words, in another order."""
TICKET_EXAMPLES = [
    Example("all", "x", {"urgency": ("high",), "product": ("low",), "mood: now": ("so, so",)}, {"product": "a => b"}),
    Example("same word", "x", {"urgency": ("low",), "product": ("low",), "mood: now": ("low",)}),
    Example("like an empty list", "x", {"mood: now": ("[]",)}),
    Example("none", "x", {}),
]

TOPICS = _task(
    "话题",
    "label",
    ("话题", "语气", "语言"),
    "帖子 方面 类别 理由",
    ["阅读{where}的{text}，给出每个{slot}的{value}：{labels}。"],
    language="zh",
    metric="micro_f1",
    labels=("体育", "政治，经济", "无语", "正", "负"),
    slot_labels={"话题": ("体育", "政治，经济", "正"), "语气": ("正", "负"), "语言": ("无语", "负", "正")},
    slot_numbers={"语气": {"正": "1", "负": "-1"}},
    numbers={"未提及": "-2"},
    multilabel=("话题", "语言"),
    placeholder="未提及",
    label_words={"话题": {"体育": "球，赛"}},
)
"""Labels by slot, several of them in two of the slots."""
TOPIC_EXAMPLES = [
    Example(
        "都有", "x", {"话题": ("体育", "政治，经济"), "语气": ("负",), "语言": ("负",)}, {"话题": "甲 => 乙，“丙”"}
    ),
    Example("任意顺序", "x", {"话题": ("正", "体育"), "语言": ("正", "负", "无语")}),
    Example("都没有", "x", {}),
]

TAGS = _task(
    "tags",
    "label",
    ("tag",),
    "text slot tag why",
    ["Give every {value} of the {text}: {labels}."],
    metric="micro_f1",
    labels=("a; b", "c, d", "none", "=> e", "f.", "0"),
    multilabel=("tag",),
    placeholder="nothing",
)
"""One slot with several labels."""
TAG_EXAMPLES = [
    Example("all", "x", {"tag": TAGS.labels or ()}, {"tag": "why; not, then"}),
    Example("one", "x", {"tag": ("none",)}),
    Example("none", "x", {}),
]

STARS = _task(
    "stars",
    "label",
    ("stars", "mark"),
    "review slot rating reason",
    ["Rate the {text} {where}: {labels}."],
    metric="quadratic_weighted_kappa",
    labels=("1", "2", "-1", "0.5", "1.50"),
    slot_labels={"stars": ("1", "2", "-1"), "mark": ("0.5", "1", "1.50")},
    placeholder="unrated",
)
"""Labels that are numbers, whole ones and decimals."""
STAR_EXAMPLES = [
    Example("both", "x", {"stars": ("-1",), "mark": ("1.50",)}, {"stars": "1 of 5"}),
    Example("one", "x", {"mark": ("1",)}),
    Example("none", "x", {}),
]

PRICES = _task(
    "prices",
    "free",
    ("price", "share"),
    "offer field value reason",
    ["Give {slots} of the {text} {where}."],
    metric="neg_nmae",
    ranges={"price": (0.0, 1000.0), "share": (-1.0, 1.0)},
    placeholder="unknown",
)
"""Free values that are numbers."""
PRICE_EXAMPLES = [
    Example(str(n), "x", {"price": (price,), "share": (share,)})
    for n, (price, share) in enumerate([("12", "0.5"), ("12.50", "-0"), ("1e2", "+1"), ("007", ".5"), ("9" * 30, "1.")])
] + [Example("none", "x", {})]

RELATIONS = _task(
    "relations",
    "record",
    ("relation",),
    "sentence type record reason",
    ["List every {slots} of the {text} {where}."],
    fields={
        "relation": (
            RecordField("head", "span"),
            RecordField("relation", "label", ("born in", "works, for", "none", "null")),
            RecordField("tail", "span"),
            RecordField("year", "integer", optional=True),
        )
    },
)
"""Any number of flat records of one slot, which is also the name of a field."""


def records(task: Task, slot: str, *values: dict[str, Any]) -> dict[str, tuple[str, ...]]:
    """The answer with these records in a slot."""
    texts = [canonical(value, task.fields[slot])[0] for value in values]
    assert None not in texts, values
    return {slot: tuple(text for text in texts if text is not None)}


def _relation(head: str, relation: str, tail: str, **year: int) -> dict[str, Any]:
    return {"head": head, "relation": relation, "tail": tail, **year}


RELATION_EXAMPLES = [
    Example("one", "x", records(RELATIONS, "relation", _relation("Marie Curie", "born in", "Warsaw", year=1867))),
    Example(
        "several",
        "x",
        records(
            RELATIONS,
            "relation",
            _relation("a, b", "works, for", "c = d"),
            _relation("none", "none", "null", year=-1),
            _relation('"', "null", "relation: head = x"),
            _relation("", "born in", " e; f.\n"),
        ),
        {"relation": "he said: x = y => z <= \n."},
    ),
    Example("duplicates", "x", records(RELATIONS, "relation", *[_relation("A", "none", "B")] * 2)),
    Example("none", "x", {}, {"relation": "nothing, at all"}),
]

PERSON = _task(
    "person",
    "record",
    ("person",),
    "text form record reason",
    ["Fill in the {slots} of the {text} {where}."],
    fields={
        "person": (
            RecordField("name", "text", optional=True),
            RecordField("height", "number", optional=True),
            RecordField("stars", "integer", ("1", "2", "3"), optional=True),
            RecordField("alive", "boolean", optional=True),
            RecordField(
                "home",
                "record",
                optional=True,
                fields=(RecordField("city", "text", optional=True), RecordField("zip", "text", optional=True)),
            ),
            RecordField("tags", "text", many=True),
            RecordField("moods", "label", ("so, so", "good"), optional=True, many=True),
            RecordField(
                "works",
                "record",
                optional=True,
                many=True,
                fields=(
                    RecordField("title", "text"),
                    RecordField("of", "record", fields=(RecordField("year", "integer"),)),
                ),
            ),
            RecordField("odd = name: x", "text", optional=True),
        )
    },
    single=("person",),
)
"""One nested record a text: lists, numbers, fields of odd names, almost all of them optional."""
PERSON_EXAMPLES = [
    Example("little", "x", records(PERSON, "person", {"tags": []})),
    Example("name", "x", records(PERSON, "person", {"name": "none", "tags": ["none"], "stars": 3, "alive": False})),
    Example(
        "all",
        "x",
        records(
            PERSON,
            "person",
            {
                "name": 'Ada, "Countess"; of. Lovelace',
                "height": 1.65,
                "alive": True,
                "home": {"zip": "EC1: x = y"},
                "tags": ["a, b", "null", "", "[]", "\u2028", "日本：語，。"],
                "moods": ["good", "so, so", "good"],
                "works": [{"title": "Notes => 1", "of": {"year": 1843}}, {"title": ".", "of": {"year": 0}}],
                "odd = name: x": "works.1.title = y",
            },
        ),
        {"person": "the text; says, so"},
    ),
    Example("none", "x", {}),
]

EVENTS_ZH = _task(
    "事件",
    "record",
    ("冲突", "会议：国际", "灾害"),
    "句子 类型 事件 理由",
    ["找出{where}的{text}中的{slots}。"],
    language="zh",
    placeholder="无",
    fields={
        "冲突": (RecordField("触发词", "span"), RecordField("地点", "span", optional=True, many=True)),
        "会议：国际": (RecordField("触发词", "span"), RecordField("规模", "label", ("大", "小，中"), optional=True)),
        "灾害": (RecordField("触发词", "span"), RecordField("人数", "number", optional=True)),
    },
    single=("灾害",),
)
"""Records of several slots, each of fields of its own; one of the slots has one record at most."""
EVENT_ZH_EXAMPLES = [
    Example(
        "都有",
        "x",
        {
            **records(EVENTS_ZH, "冲突", {"触发词": "无", "地点": ["北京", "甲，乙：丙；丁。"]}, {"触发词": "袭击"}),
            **records(EVENTS_ZH, "会议：国际", {"触发词": "开会", "规模": "小，中"}),
            **records(EVENTS_ZH, "灾害", {"触发词": "地震。", "人数": 0.5}),
        },
        {"冲突": "甲 => 乙，“丙” = 丁"},
    ),
    Example("一个", "x", records(EVENTS_ZH, "灾害", {"触发词": "洪水"})),
    Example("都没有", "x", {}),
]

ALL: list[tuple[Task, list[Example]]] = [
    (REVIEWS, REVIEW_EXAMPLES),
    (ODD_LABELS, ODD_LABEL_EXAMPLES),
    (ENTITIES, ENTITY_EXAMPLES),
    (ENTITIES_ZH, ENTITIES_ZH_EXAMPLES),
    (QUESTIONS, QUESTION_EXAMPLES),
    (FORM, FORM_EXAMPLES),
    (TICKETS, TICKET_EXAMPLES),
    (TOPICS, TOPIC_EXAMPLES),
    (TAGS, TAG_EXAMPLES),
    (STARS, STAR_EXAMPLES),
    (PRICES, PRICE_EXAMPLES),
    (RELATIONS, RELATION_EXAMPLES),
    (PERSON, PERSON_EXAMPLES),
    (EVENTS_ZH, EVENT_ZH_EXAMPLES),
]
