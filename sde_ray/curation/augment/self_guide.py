"""SELF-GUIDE: a teacher writes texts from the task and demonstrations, then answers them itself (2407.12874).

    texts     instruction, demonstrations, texts written so far ─teacher─▶ a text; where labels are closed, one for a
              slot and a label that are drawn uniformly
    filters   empty; length in characters outside mean +- 2 sd of the demonstrations; phrases of a conversation; copies
    answers   the same prompt with the text, `outputs` samples ─▶ the most frequent one, if its share is at least 0.3
    filters   an answer that the task's reader finds a fault in; classes cut to the smallest
    trial     the demonstrations, which are the trial's own examples, and what is left

Where nothing is left the trial is the plain one. Filters, thresholds and the temperature of answers are as published.
Unlike there, the demonstrations are trained on, too, instead of standing in every prompt, and the temperature of texts
is a setting, not chosen on other tasks.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import mean, pstdev
from typing import TYPE_CHECKING, Any, TypeVar

from sde_ray.config.curation import Augment as Settings
from sde_ray.curation.augment.round import Round
from sde_ray.curation.augment.teacher import Prompt, Teacher
from sde_ray.curation.augment.written import ANSWER, TEACHER_DESIGN, TEXT, read_written, write_example
from sde_ray.design import render
from sde_ray.types import Example, Segment, Task

if TYPE_CHECKING:
    from sde_ray.training.preparation import Preparation

DEMONSTRATIONS = 6  # in a prompt
MOST_EARLIER = 4  # texts written before, which a prompt shows as not so good
MIN_SHARE = 0.3  # of the samples of an answer that agree
ANSWER_TEMPERATURE = 0.2
NOISE = (
    "i'm sorry", "i am sorry", "i apologize", "as an ai", "language model", "sure, ", "sure!", "here is", "here's",
    "i cannot", "i can't", "hope this helps", "let me know", "you're welcome", TEXT.lower(), ANSWER.lower(),
)  # fmt: skip

WORDS = {
    "en": {
        "task": "The task:\n{instruction}\n\nExamples:\n\n",
        "earlier": "Texts that were written before, and are not as good:\n{texts}\n\n",
        "label": "Write one new text like those of the examples, for which {slot} is {label}.",
        "free": "Write one new text like those of the examples.",
    },
    "zh": {
        "task": "任务：\n{instruction}\n\n例子：\n\n",
        "earlier": "以前写的、质量较差的文本：\n{texts}\n\n",
        "label": "请仿照例子写一个新文本，其中{slot}为{label}。",
        "free": "请仿照例子写一个新文本。",
    },
}


@dataclass(frozen=True)
class Asked:
    """A text that a teacher is asked for, or has written.

    `slot` and `label` are what was asked of it, empty where labels are not closed.
    """

    text: str
    slot: str = ""
    label: str = ""


def self_guide(
    seeds: Sequence[Example], settings: Settings, preparation: Preparation, teacher: Teacher
) -> dict[str, Any]:
    """Run it. Returns plain values: `rounds` (counts), why it `ended`, how many were `cut`, and what is `written`."""
    rounds: list[dict[str, Any]] = []
    written: list[dict[str, Any]] = []
    ended, left = "rounds", settings.budget
    for number in range(settings.rounds):
        if settings.texts * (1 + settings.outputs) > left:
            ended = "budget"
            break
        one_round = _Round(seeds, written, number, settings, preparation, teacher)
        done = preparation.remember(f"self-guide-round-{number}", one_round.run)
        rounds.append(done["counts"])
        written = [*written, *done["written"]]
        left -= done["counts"]["requests"]
    kept = balanced(written)
    return {"rounds": rounds, "ended": ended, "cut": len(written) - len(kept), "written": kept}


class _Round(Round):
    """One round: texts, then their answers."""

    def run(self) -> dict[str, Any]:
        """The round's counts, and its examples as plain values."""
        self.random = random.Random(f"self_guide {self.seed}")
        self.clear_adapter()
        texts = self._texts()
        examples = self._answered(texts)
        counts = {
            "texts": self.settings.texts,
            "requests": self.settings.texts + len(texts) * self.settings.outputs,
            "kept": len(examples),
            "dropped": dict(sorted(self.dropped.items())),
        }
        return {"counts": counts, "written": examples}

    def _texts(self) -> list[Asked]:
        """The texts of the round that pass the filters."""
        asked = [ask_for(self.task, self.random) for _ in range(self.settings.texts)]
        earlier = [one.text for one in self.written]
        prompts = [
            text_prompt(one, self._demonstrations(), _some(earlier, MOST_EARLIER, self.random), self.task)
            for one in asked
        ]
        replies = self.teacher.answer(prompts, self.settings.max_new_tokens, self.settings.temperature, self.seed)
        texts = [first_text(reply) for reply in replies]
        reasons = text_faults(texts, [one.text for one in self.seeds], earlier)
        self.dropped.update(reason for reason in reasons if reason)
        return [replace(one, text=text) for one, text, reason in zip(asked, texts, reasons, strict=True) if not reason]

    def _answered(self, texts: Sequence[Asked]) -> list[dict[str, Any]]:
        """Examples of the texts whose samples of an answer agree, and that the task's reader finds no fault in."""
        prompts = [answer_prompt(one.text, self._demonstrations(), self.task) for one in texts]
        samples = [
            self.teacher.answer(prompts, self.settings.max_new_tokens, ANSWER_TEMPERATURE, self.seed * 100 + number)
            for number in range(self.settings.outputs if prompts else 0)
        ]
        examples = []
        for place, one in enumerate(texts):
            answer = self_consistent([first_answer(sample[place]) for sample in samples])
            name = f"self-guide~{self.number}~{place}"
            read = read_written(f"{TEXT} {one.text}\n{ANSWER} {answer}", self.task, name, len(one.text))
            if answer is None or read.example is None:
                self.dropped["inconsistent" if answer is None else read.dropped] += 1
            else:
                given = {slot: list(values) for slot, values in read.example.answer.items()}
                cell = f"{one.slot}={', '.join(given.get(one.slot, [self.task.placeholder]))}" if one.slot else ""
                row = {"id": name, "round": self.number, "text": one.text, "answer": given, "class": cell}
                examples.append(row)
        return examples

    def _demonstrations(self) -> list[Example]:
        return _some(self.seeds, DEMONSTRATIONS, self.random)


# ---- prompts ---------------------------------------------------------------------------------------------------------


def ask_for(task: Task, choose: random.Random) -> Asked:
    """What is asked of a text: of a task with closed labels a slot and a label of it, drawn uniformly."""
    if task.kind != "label":
        return Asked("")
    slot = choose.choice(task.slots)
    return Asked("", slot, choose.choice([*task.labels_of(slot), task.placeholder]))


def text_prompt(asked: Asked, demonstrations: Sequence[Example], earlier: Sequence[str], task: Task) -> Prompt:
    """The prompt for a text; it ends where that begins."""
    words = WORDS[task.language]
    ask = words["label" if asked.slot else "free"].format(slot=asked.slot, label=asked.label)
    before = words["earlier"].format(texts="\n".join(f"- {text}" for text in earlier)) if earlier else ""
    return (
        Segment(_task(task), loss=False, role="instruction"),
        Segment(_shown(demonstrations, task) + before, loss=False, role="text"),
        Segment(f"{ask}\n\n{TEXT}", loss=False),
    )


def answer_prompt(text: str, demonstrations: Sequence[Example], task: Task) -> Prompt:
    """The prompt for the answer to a text; it ends where that begins."""
    return (
        Segment(_task(task), loss=False, role="instruction"),
        Segment(_shown(demonstrations, task), loss=False, role="text"),
        Segment(f"{TEXT} {text}\n{ANSWER}", loss=False),
    )


def _task(task: Task) -> str:
    instruction = render.render_instruction(task, TEACHER_DESIGN, 0, "below")
    return WORDS[task.language]["task"].format(instruction=instruction)


def _shown(demonstrations: Sequence[Example], task: Task) -> str:
    return "".join(f"{write_example(one, task)}\n\n" for one in demonstrations)


Row = TypeVar("Row")


def _some(rows: Sequence[Row], count: int, choose: random.Random) -> list[Row]:
    return choose.sample(list(rows), min(count, len(rows)))


# ---- filters: pure functions -----------------------------------------------------------------------------------------


def first_text(reply: str) -> str:
    """The text of a reply: without its mark, and what follows it."""
    return reply.strip().removeprefix(TEXT).partition(f"\n{ANSWER}")[0].partition(f"\n{TEXT}")[0].strip()


def first_answer(reply: str) -> str:
    """The answer of a reply: without its mark, and what follows it."""
    return reply.strip().removeprefix(ANSWER).partition(f"\n{TEXT}")[0].strip()


def text_faults(texts: Sequence[str], demonstrations: Sequence[str], earlier: Sequence[str] = ()) -> list[str]:
    """Why each text is dropped, or "": `no_reply`, `length`, `noise`, `duplicate`. What is left has none itself."""
    lengths = [len(text) for text in demonstrations]
    low, high = (int(mean(lengths) + sign * 2 * pstdev(lengths)) for sign in (-1, 1))
    seen = {*demonstrations, *earlier}
    reasons = []
    for text in texts:
        if not text:
            reason = "no_reply"
        elif not low <= len(text) <= high:
            reason = "length"
        elif any(phrase in text.lower() for phrase in NOISE):
            reason = "noise"
        else:
            reason = "duplicate" if text in seen else ""
        if not reason:
            seen.add(text)
        reasons.append(reason)
    return reasons


def self_consistent(samples: Sequence[str]) -> str | None:
    """The most frequent sample, of equally frequent ones the shortest; None where less than 0.3 of all agree."""
    counts = Counter(samples)
    if not counts:
        return None
    best = min(counts, key=lambda sample: (-counts[sample], len(sample), sample))
    return best if counts[best] >= MIN_SHARE * len(samples) else None


def balanced(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with as many of each class as the smallest has, the first ones, in their order.

    A class is the label that a text got in the slot that was asked of it. Slots are balanced each by itself; rows
    without a class stay.
    """
    sizes = Counter(row["class"] for row in rows)
    smallest: dict[str, int] = {}
    for name, size in sizes.items():
        slot = name.partition("=")[0]
        smallest[slot] = min(size, smallest.get(slot, size))
    seen: Counter[str] = Counter()
    kept = []
    for row in rows:
        seen[row["class"]] += 1
        if not row["class"] or seen[row["class"]] <= smallest[row["class"].partition("=")[0]]:
            kept.append(row)
    return kept
