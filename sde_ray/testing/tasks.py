"""Small literal tasks of every kind, with examples that a careless format would garble.

`ALL` pairs each task with its examples; the laws run over them and over the package's own tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from sde_ray.types import Example, PromptNouns, Split, Task

Kind = Literal["label", "span", "free"]
METRIC = {"label": "accuracy", "span": "f1", "free": "accuracy"}


def _task(name: str, kind: Kind, slots: tuple[str, ...], nouns: str, instructions: Sequence[str], **rest: Any) -> Task:
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

ALL: list[tuple[Task, list[Example]]] = [
    (REVIEWS, REVIEW_EXAMPLES),
    (ODD_LABELS, ODD_LABEL_EXAMPLES),
    (ENTITIES, ENTITY_EXAMPLES),
    (ENTITIES_ZH, ENTITIES_ZH_EXAMPLES),
    (QUESTIONS, QUESTION_EXAMPLES),
    (FORM, FORM_EXAMPLES),
]
