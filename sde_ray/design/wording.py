"""Wordings, the sentences of an instruction by language; a task overrides any of them in `Task.wordings`.

A wording is filled word by word, so braces of the user's own (JSON in an instruction, say) stay as they are:
    fill("Rate {slots} as {...}", slots="food, drinks")  ->  "Rate food, drinks as {...}"

An instruction may also be a function of the user's own, named by import path. It takes the fields by name:
    def ask(where, slots, labels, **fields):
        return f"Sort the ticket {where}. {labels}"
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import FunctionType

from sde_ray.errors import UserError
from sde_ray.plugins import is_path, load_object
from sde_ray.types import Task

WORDINGS: Mapping[str, Mapping[str, str]] = {
    "en": {
        "above": "above",
        "below": "below",
        "cue": "Output: ",
        "label_comma": ", ",
        "join": "\n",
        "slot_labels": "{name} ({labels})",
        "multilabel": "Each {slot} may have several {value}s.",
        "multilabel_slots": "Several {value}s may stand for {slots}, one for any other {slot}.",
        "ranges": "Give as a number: {ranges}.",
        "range": "{name} from {low} to {high}",
        "schematic_slot": "{slot} {n}",
        "schematic_value": "{value}",
        "schematic_number": "number",
        "form": "Form:\n{schematic}",
        "form_example": "For example:\n{example}",
        "definitions": "Meanings:\n{entries}",
        "definition": "- {name}: {meaning}",
        "definition_comma": "\n",
        "mark": "Write the {text} again and mark each {value} in it.",
        "unmarked": "the {text} as it is",
        "values_alone": "Write only each {slot}'s {value}, in the order of the {slot}s.",
        "tool": "Answer with a call of this tool, as {call}:\n<tools>\n{tool}\n</tools>",
        "classes": "Answer with objects of these Python classes:\n{classes}",
        "any_order": "The order does not matter.",
        "text_order": "Follow the order of the {text}.",
        "placeholder": "If a {slot} has no {value}, write: {entry}",
        "placeholder_list": "If a {slot} with several {value}s has none, write: {entry}",
        "omit": "Leave out every {slot} that has no {value}; if none has one, write: {marker}",
        "field_placeholder": "For a field that the {text} does not tell, write: {entry}",
        "field_omit": "Leave out every field that the {text} does not tell.",
        "field_labels": "Choose {name} from {labels}.",
        "field_label": "label",
        "field_span": "words of the {text}",
        "field_text": "words",
        "field_number": "number",
        "field_integer": "whole number",
        "field_boolean": "true or false",
        "numbers": "Write {pairs}.",
        "numbers_slot": "for {name} {pairs}",
        "number_pair": "{label} as {number}",
        "letters": "Write {pairs}.",
        "label_words": "Write {pairs}.",
        "schematic_letter": "letter",
        "rationale_first": "Give the {rationale} before the {value}.",
        "rationale_last": "Give the {rationale} after the {value}.",
        "rationale_cut": "After the answer write === and the {rationale} for each {slot}.",
        "think": "First give the {rationale} for each {slot} between <think> and </think>, then the answer.",
        "keywords": "Before the {value}, give the words of the {text} that show it.",
        "no_rationale": "not mentioned",
        "plain_rationale": "as the text says",
    },
    "zh": {
        "above": "上面",
        "below": "下面",
        "cue": "输出：",
        "label_comma": "、",
        "join": "",
        "slot_labels": "{name}（{labels}）",
        "multilabel": "每个{slot}可以有多个{value}。",
        "multilabel_slots": "{slots}可以有多个{value}，其他{slot}只有一个。",
        "ranges": "以数字回答：{ranges}。",
        "range": "{name}从{low}到{high}",
        "schematic_slot": "{slot}{n}",
        "schematic_value": "{value}",
        "schematic_number": "数字",
        "form": '请用以下格式输出："{schematic}"',
        "form_example": '例如："{example}"',
        "definitions": "说明：{entries}。",
        "definition": "{name}指{meaning}",
        "definition_comma": "；",
        "mark": "请重写{text}，并在其中标出每个{value}。",
        "unmarked": "原{text}",
        "values_alone": "按{slot}的顺序，只写{value}。",
        "tool": "请调用以下工具来回答，写作{call}：\n<tools>\n{tool}\n</tools>\n",
        "classes": "请用以下Python类的对象回答：\n{classes}\n",
        "any_order": "顺序不限。",
        "text_order": "请按{text}中的顺序输出。",
        "placeholder": '没有{value}的{slot}写作："{entry}"。',
        "placeholder_list": '可以有多个{value}的{slot}若没有，写作："{entry}"。',
        "omit": '不要输出没有{value}的{slot}；如果都没有，输出："{marker}"。',
        "field_placeholder": "{text}没有提到的字段写作：{entry}。",
        "field_omit": "{text}没有提到的字段不要输出。",
        "field_labels": "{name}从以下选择：{labels}。",
        "field_label": "类别",
        "field_span": "{text}中的词语",
        "field_text": "文字",
        "field_number": "数字",
        "field_integer": "整数",
        "field_boolean": "true或false",
        "numbers": "用数字表示：{pairs}。",
        "numbers_slot": "{name}（{pairs}）",
        "number_pair": "{label}为{number}",
        "letters": "用字母表示：{pairs}。",
        "label_words": "用以下词表示：{pairs}。",
        "schematic_letter": "字母",
        "rationale_first": "先写{rationale}，再写{value}。",
        "rationale_last": "先写{value}，再写{rationale}。",
        "rationale_cut": "答完后写===，再写出每个{slot}的{rationale}。",
        "think": "先在<think>和</think>之间写出每个{slot}的{rationale}，再作答。",
        "keywords": "先写出{text}中说明{value}的词语，再写{value}。",
        "no_rationale": "文中没有提到",
        "plain_rationale": "如文中所述",
    },
}

COUNTS_ZH = "零一二三四五六七八九十"


def wording(task: Task, key: str, **words: str) -> str:
    """Wording of `key`: the task's, else its language's, filled with the task's nouns and `words`."""
    if key == "form_omit" and key not in task.wordings:
        key = "form"
    template = task.wordings[key] if key in task.wordings else WORDINGS[task.language][key]
    return fill_template(task, template, **words)


def definitions_sentence(task: Task, length: str) -> str:
    """What slots and labels mean: "short" is a definition's first sentence, "guideline" all of it, "none" nothing."""
    if length == "none" or not task.definitions:
        return ""
    meanings = {name: text.strip() for name, text in task.definitions.items()}
    if length == "short":
        meanings = {name: re.split(r"(?<=[.!?])\s|(?<=[。！？])", text)[0] for name, text in meanings.items()}
    entries = [wording(task, "definition", name=name, meaning=text.rstrip("。")) for name, text in meanings.items()]
    return wording(task, "definitions", entries=wording(task, "definition_comma").join(entries))


def is_function(instruction: str) -> bool:
    """Whether an instruction is the import path of a function: a sentence in Chinese may look like one."""
    return instruction.isascii() and is_path(instruction)


def call_wording(task: Task, path: str, **words: str) -> str:
    """Instruction by a function of the user's own, named by import path; it takes the fields by name.

    Raises UserError: when it is not there or not trusted, when it fails, or when it returns no text.
    """
    function = load_object(path, FunctionType, "a wording")
    nouns = task.nouns
    fields = {"text": nouns.text, "slot": nouns.slot, "value": nouns.value, "rationale": nouns.rationale, **words}
    try:
        text = function(**fields)
    except Exception as error:  # the function's own
        raise UserError(
            f'The wording "{path}" of {task.name} fails with {type(error).__name__}: {error}. It is called with the '
            f"fields {', '.join(fields)} by name, and takes those that it does not use as **fields."
        ) from error
    if not isinstance(text, str) or not text.strip():
        raise UserError(f'The wording "{path}" of {task.name} returned {text!r}. Return the instruction as a text.')
    return text


def fill_template(task: Task, template: str, **words: str) -> str:
    """Template of a task, filled with its nouns and `words`."""
    nouns = task.nouns
    return fill(
        template,
        **{"text": nouns.text, "slot": nouns.slot, "value": nouns.value, "rationale": nouns.rationale, **words},
    )


def fill(template: str, **words: str) -> str:
    """Template with `{name}` replaced for every name in `words`; other braces stay."""
    return re.sub(r"\{(\w+)\}", lambda brace: words.get(brace.group(1), brace.group()), template)


def count_word(task: Task, count: int) -> str:
    """Number word of an instruction: Chinese numerals up to ten, else digits."""
    return COUNTS_ZH[count] if task.language == "zh" and count < len(COUNTS_ZH) else str(count)
