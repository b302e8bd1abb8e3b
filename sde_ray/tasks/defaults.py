"""Defaults of a task defined in YAML: instructions, nouns, placeholder and metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from sde_ray.types import PromptNouns

NOUNS: Mapping[str, Mapping[str, PromptNouns]] = {
    "en": {
        "label": PromptNouns(text="text", slot="aspect", value="label", rationale="reason"),
        "span": PromptNouns(text="text", slot="type", value="span", rationale="reason"),
        "free": PromptNouns(text="text", slot="field", value="value", rationale="reason"),
        "record": PromptNouns(text="text", slot="type", value="record", rationale="reason"),
    },
    "zh": {
        "label": PromptNouns(text="文本", slot="方面", value="类别", rationale="理由"),
        "span": PromptNouns(text="文本", slot="类型", value="片段", rationale="理由"),
        "free": PromptNouns(text="文本", slot="字段", value="值", rationale="理由"),
        "record": PromptNouns(text="文本", slot="类型", value="记录", rationale="理由"),
    },
}

OTHER_VALUE: Mapping[str, str] = {"en": "class", "zh": "标签"}
OTHER_RECORD: Mapping[str, str] = {"en": "entry", "zh": "条目"}
"""What a value is called where a slot has the usual word for its name."""

INSTRUCTIONS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "en": {
        "label": (
            "Read the {text} {where} and give the {value} of each {slot}: {slots}. Choose from {labels}.",
            "Which {value} does the {text} {where} call for, for {slots}? Choose from {labels}.",
            "This is classification by {slot}. The {slot}s are {slots}, the {value}s {labels}; the {text} is {where}.",
        ),
        "slot_label": (
            "Read the {text} {where} and give the {value} of each {slot}, from those in brackets: {labels}.",
            "Which {value}s does the {text} {where} call for? The {slot}s with their {value}s: {labels}.",
            "This is classification; the {text} is {where}. Each {slot} has {value}s of its own: {labels}.",
        ),
        "span": (
            "Read the {text} {where} and list its {value}s of each {slot}: {slots}.",
            "Which words of the {text} {where} belong to the {slot}s {slots}?",
            "This is extraction of {value}s. The {slot}s are {slots}; the {text} is {where}.",
        ),
        "free": (
            "Read the {text} {where} and give the {value} of each {slot}: {slots}.",
            "What does the {text} {where} say for {slots}?",
            "This is a form to be filled. The {slot}s are {slots}; the {text} is {where}.",
        ),
        "record": (
            "Read the {text} {where} and list its {value}s of each {slot}: {slots}.",
            "Which {value}s of the {slot}s {slots} does the {text} {where} tell of?",
            "This is extraction of {value}s. The {slot}s are {slots}; the {text} is {where}.",
        ),
        "single_record": (
            "Read the {text} {where} and fill in one {value} of each {slot}: {slots}.",
            "What does the {text} {where} say of {slots}? Fill in one {value} each.",
            "These are forms to be filled, one {value} of each {slot}: {slots}. The {text} is {where}.",
        ),
    },
    "zh": {
        "label": (
            "阅读{where}这段{text}，给出以下每个{slot}的{value}：{slots}。{value}有：{labels}。",
            "根据{where}的{text}，判断这些{slot}：{slots}。请从以下{value}中选择：{labels}。",
            "这是一个分类任务，{text}在{where}。{slot}有：{slots}；{value}有：{labels}。",
        ),
        "slot_label": (
            "阅读{where}这段{text}，给出以下每个{slot}的{value}，从括号中选择：{labels}。",
            "根据{where}的{text}，判断每个{slot}的{value}。各{slot}及其{value}：{labels}。",
            "这是一个分类任务，{text}在{where}。每个{slot}有自己的{value}：{labels}。",
        ),
        "span": (
            "阅读{where}这段{text}，找出以下每个{slot}的{value}：{slots}。",
            "{where}的{text}中，哪些词属于这些{slot}：{slots}？",
            "这是一个抽取任务，{text}在{where}。{slot}有：{slots}。",
        ),
        "free": (
            "阅读{where}这段{text}，给出以下每个{slot}的{value}：{slots}。",
            "根据{where}的{text}，回答：{slots}。",
            "这是一个填表任务，{text}在{where}。{slot}有：{slots}。",
        ),
        "record": (
            "阅读{where}这段{text}，列出以下每个{slot}的{value}：{slots}。",
            "{where}的{text}提到了哪些{value}？{slot}有：{slots}。",
            "这是一个抽取{value}的任务，{text}在{where}。{slot}有：{slots}。",
        ),
        "single_record": (
            "阅读{where}这段{text}，为以下每个{slot}填写一条{value}：{slots}。",
            "{where}的{text}说了什么？为{slots}各填写一条{value}。",
            "这是一个填表任务，{text}在{where}。每个{slot}一条{value}：{slots}。",
        ),
    },
}

ONE_SLOT: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "en": {
        "label": (
            "Read the {text} {where} and give its {slots}. Choose from {labels}.",
            "Which {slots} does the {text} {where} call for? Choose from {labels}.",
            "This is classification; the {text} is {where}. Give its {slots}, out of {labels}.",
        ),
        "slot_label": (
            "Read the {text} {where} and give its {slots}, from those in brackets: {labels}.",
            "Which {slots} does the {text} {where} call for? From those in brackets: {labels}.",
            "This is classification; the {text} is {where}. Give its {slots}, from those in brackets: {labels}.",
        ),
        "span": (
            "Read the {text} {where} and list its {value}s of the {slot} {slots}.",
            "Which words of the {text} {where} belong to the {slot} {slots}?",
            "This is extraction of {value}s. The {slot} is {slots}; the {text} is {where}.",
        ),
        "free": (
            "Read the {text} {where} and give the {slots}.",
            "What does the {text} {where} say for {slots}?",
            "This is a form with one {slot}, {slots}, to be filled; the {text} is {where}.",
        ),
        "record": (
            "Read the {text} {where} and list every {slots} that it tells of.",
            "Which {value}s of the {slot} {slots} does the {text} {where} tell of?",
            "This is extraction of {value}s of the {slot} {slots}; the {text} is {where}.",
        ),
        "single_record": (
            "Read the {text} {where} and fill in the {slots}.",
            "What does the {text} {where} say for the {slots}?",
            "This is a form to be filled, the {slots}; the {text} is {where}.",
        ),
    },
    "zh": {
        "label": (
            "阅读{where}这段{text}，给出{slots}。请从以下{value}中选择：{labels}。",
            "{where}的{text}属于哪种{slots}？请从以下{value}中选择：{labels}。",
            "这是一个分类任务，{text}在{where}。请给出{slots}，{value}有：{labels}。",
        ),
        "slot_label": (
            "阅读{where}这段{text}，给出{slots}，从括号中选择：{labels}。",
            "{where}的{text}属于哪种{slots}？从括号中选择：{labels}。",
            "这是一个分类任务，{text}在{where}。请给出{slots}，从括号中选择：{labels}。",
        ),
        "span": (
            "阅读{where}这段{text}，找出{slot}为{slots}的{value}。",
            "{where}的{text}中，哪些词属于{slots}？",
            "这是一个抽取任务，{text}在{where}。{slot}是{slots}。",
        ),
        "free": (
            "阅读{where}这段{text}，给出{slots}。",
            "根据{where}的{text}，回答：{slots}。",
            "这是一个填表任务，{text}在{where}。{slot}只有一个：{slots}。",
        ),
        "record": (
            "阅读{where}这段{text}，列出其中所有的{slots}。",
            "{where}的{text}提到了哪些{slots}？",
            "这是一个抽取任务，{text}在{where}。请列出所有的{slots}。",
        ),
        "single_record": (
            "阅读{where}这段{text}，填写{slots}。",
            "根据{where}的{text}，{slots}应填什么？",
            "这是一个填表任务，{text}在{where}。请填写{slots}。",
        ),
    },
}
"""Instructions of a task with one slot, which need no talk of "each aspect"."""

ONE_SLOT_WORDINGS: Mapping[str, Mapping[str, str]] = {
    "en": {
        "multilabel": "There may be several.",
        "placeholder": "If there is none, write: {entry}",
        "placeholder_list": "If there is none, write: {entry}",
        "omit": "If there is none, write: {marker}",
    },
    "zh": {
        "multilabel": "可以有多个。",
        "placeholder": '如果没有，写作："{entry}"。',
        "placeholder_list": '如果没有，写作："{entry}"。',
        "omit": '如果没有，输出："{marker}"。',
    },
}
"""The sentences of the other axes in a task with one slot."""

PLACEHOLDERS: Mapping[str, Mapping[str, str]] = {
    "en": {"label": "unmentioned", "span": "none", "free": "unknown", "record": "none"},
    "zh": {"label": "未提及", "span": "无", "free": "未知", "record": "无"},
}


def default_instructions(language: str, kind: str, slots: Sequence[str]) -> tuple[str, ...]:
    """Instructions of a task that names none.

    `kind`: label, or slot_label where each slot has its own; span; free; record, or single_record where a text has one.
    """
    return (ONE_SLOT if len(slots) == 1 else INSTRUCTIONS)[language][kind]


def default_nouns(language: str, kind: str, slots: Sequence[str]) -> PromptNouns:
    """Nouns of a task that names none. A slot that is called "label" has a class, not a "label: label"."""
    nouns = NOUNS[language][kind]
    other = OTHER_RECORD if kind == "record" else OTHER_VALUE
    return replace(nouns, value=other[language]) if nouns.value in slots else nouns


METRICS: Mapping[str, tuple[str, ...]] = {
    "sentiment": ("weighted_kappa", "kappa", "accuracy", "sentence_accuracy", "macro_f1"),
    "label": ("kappa", "accuracy", "sentence_accuracy", "macro_f1"),
    "span": ("f1", "precision", "recall", "f1_soft", "precision_soft", "recall_soft"),
    "free": ("accuracy", "exact_match"),
    "slot_label": ("kappa", "macro_kappa", "accuracy", "sentence_accuracy", "macro_f1"),
    "ordinal": ("kappa", "quadratic_weighted_kappa", "accuracy", "sentence_accuracy", "macro_f1"),
    "slot_ordinal": ("kappa", "quadratic_weighted_kappa", "macro_kappa", "accuracy", "sentence_accuracy", "macro_f1"),
    "multilabel": ("micro_f1", "macro_f1", "exact_match", "sentence_accuracy"),
    "number": ("neg_nmae", "neg_mae", "parsable", "exact_match"),
    "record": ("record_f1", "field_f1", "precision", "recall", "exact_match"),
}
"""The first is the objective."""
