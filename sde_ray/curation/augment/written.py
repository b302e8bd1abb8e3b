"""Written examples: reading a teacher's reply, and near-copies.

    read_written("Text: the soup was cold\nAnswer: {"food": "negative"}", task, "l2l-0-3", 400)
        -> Written(Example("l2l-0-3", "the soup was cold", {"food": ("negative",)}), "")
    read_written("I cannot help with that.", ...)        -> Written(None, "unreadable")
    NearCopies(["the soup was cold"], 0.95).has("The soup was cold!")     -> True

A reply is data, whatever it is: it gives an example without a fault, or the reason why it is dropped. The answer is
read by the task's own reader (`design/render.py`) in the design `TEACHER_DESIGN`; what follows the first example of a
reply is left out.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sde_ray.design import render
from sde_ray.design.designs import make_design
from sde_ray.types import Example, Task

TEACHER_DESIGN = make_design(format="json_object")  # one object holds the whole answer, so its end is known
TEXT, ANSWER = "Text:", "Answer:"
_WORDS = re.compile(r"[\u3400-\u9fff]|[^\W\u3400-\u9fff]+")  # a Chinese character is a word


@dataclass(frozen=True)
class Written:
    """An example that a teacher has written, or None with the reason why its reply is dropped."""

    example: Example | None
    dropped: str = ""


def write_example(example: Example, task: Task) -> str:
    """An example as a teacher is shown it, and is to write it."""
    return f"{TEXT} {example.text}\n{ANSWER} {render.completion_of(example, task, TEACHER_DESIGN)}"


def read_written(reply: str, task: Task, name: str, max_characters: int) -> Written:
    """Read a teacher's reply; total: any text gives an example or a reason.

    Args:
        reply: "Text: ... Answer: ..."; the first word may be missing, as the prompt ends with it.
        task: what the answer is about.
        name: the id of the example.
        max_characters: of its text.
    """
    if not reply.strip():
        return Written(None, "no_reply")
    before, marker, after = reply.partition(ANSWER)
    if not marker:
        return Written(None, "unreadable")
    text = before.rpartition(TEXT)[2].strip()
    body = after.partition(TEXT)[0]
    answer = body[: body.rfind("}") + 1].strip()
    parsed = render.parse_completion(answer[max(0, answer.find("{")) :], task, TEACHER_DESIGN)
    if not text or len(text) > max_characters or not _is_storable(text):
        return Written(None, "no_text" if not text else "too_long" if len(text) > max_characters else "unreadable")
    if parsed.faults:
        return Written(None, "faulty_answer")
    values = [value for values in parsed.answer.values() for value in values]
    if task.kind == "span" and not all(value in text for value in values):
        return Written(None, "span_not_in_text")
    return Written(Example(name, text, dict(parsed.answer)))


def example_of(row: dict[str, Any]) -> Example:
    """A written example from the plain values that are kept of it."""
    return Example(row["id"], row["text"], {slot: tuple(values) for slot, values in row["answer"].items()})


def _is_storable(text: str) -> bool:
    """Whether it can be written and tokenized: half a surrogate pair cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


# ---- near-copies -----------------------------------------------------------------------------------------------------


def words(text: str) -> list[str]:
    """The words of a text as ROUGE compares them: lower case, without punctuation."""
    return _WORDS.findall(text.lower())


def rouge_l(one: Sequence[str], other: Sequence[str]) -> float:
    """ROUGE-L F1 of two sequences of words: twice their longest common subsequence, by both lengths (Lin 2004)."""
    return 2 * _common(one, other) / (len(one) + len(other)) if one and other else 0.0


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    """Length of the longest common subsequence."""
    row = [0] * (len(other) + 1)
    for word in one:
        diagonal = 0
        for place, match in enumerate(other, 1):
            diagonal, row[place] = row[place], diagonal + 1 if word == match else max(row[place], row[place - 1])
    return row[-1]


class NearCopies:
    """Texts that a new one must differ from: it is a near-copy where ROUGE-L F1 with any of them is above `limit`."""

    def __init__(self, texts: Iterable[str], limit: float) -> None:
        self.limit = limit
        self._texts: list[tuple[list[str], Counter[str]]] = []
        for text in texts:
            self.add(text)

    def add(self, text: str) -> None:
        """One more text."""
        split = words(text)
        self._texts.append((split, Counter(split)))

    def has(self, text: str) -> bool:
        """Whether a text is a near-copy. A text without words is one of any other such text."""
        split = words(text)
        bag = Counter(split)
        for other, other_bag in self._texts:
            if not split or not other:
                if split == other:
                    return True
                continue
            # No common subsequence is longer than the common words, which are counted much faster.
            bound = 2 * sum((bag & other_bag).values()) / (len(split) + len(other))
            if bound > self.limit and rouge_l(split, other) > self.limit:
                return True
        return False
