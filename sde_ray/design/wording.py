"""Wordings, the sentences of an instruction by language; a task overrides any of them in `Task.wordings`.

A wording is filled word by word, so braces of the user's own (JSON in an instruction, say) stay as they are:
    fill("Rate {slots} as {...}", slots="food, drinks")  ->  "Rate food, drinks as {...}"
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from sde_ray.types import Task

WORDINGS: Mapping[str, Mapping[str, str]] = {
    "en": {
        "above": "above",
        "below": "below",
        "cue": "Output: ",
        "label_comma": ", ",
        "join": "\n",
        "schematic_slot": "{slot} {n}",
        "schematic_value": "{value}",
        "schematic_number": "number",
        "form": "Form:\n{schematic}",
        "placeholder": "If a {slot} has no {value}, write: {entry}",
        "omit": "Leave out every {slot} that has no {value}; if none has one, write: {marker}",
        "numbers": "Write {pairs}.",
        "number_pair": "{label} as {number}",
        "rationale_first": "Give the {rationale} before the {value}.",
        "rationale_last": "Give the {rationale} after the {value}.",
        "no_rationale": "not mentioned",
        "plain_rationale": "as the text says",
    },
    "zh": {
        "above": "上面",
        "below": "下面",
        "cue": "输出：",
        "label_comma": "、",
        "join": "",
        "schematic_slot": "{slot}{n}",
        "schematic_value": "{value}",
        "schematic_number": "数字",
        "form": '请用以下格式输出："{schematic}"',
        "placeholder": '没有{value}的{slot}写作："{entry}"。',
        "omit": '不要输出没有{value}的{slot}；如果都没有，输出："{marker}"。',
        "numbers": "用数字表示：{pairs}。",
        "number_pair": "{label}为{number}",
        "rationale_first": "先写{rationale}，再写{value}。",
        "rationale_last": "先写{value}，再写{rationale}。",
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
