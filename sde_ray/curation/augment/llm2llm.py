"""LLM2LLM: a teacher writes examples like those that the student gets wrong, in rounds (2403.15042).

    D_0 = the trial's examples, the seeds
    round i: train the base on D_i; answer D_i greedily; of what is wrong, the seeds go to the teacher, which writes one
             similar example each; D_{i+1} = D_i and what is new

A written example never has a written parent, so errors do not breed. One whose text is a near-copy of a seed or of a
written example is dropped, as is one that the task's reader finds a fault in; the teacher is then asked again, up to
`attempts` times. It ends after `rounds`, or before: when no seed is wrong, when a round keeps nothing (the next would
train the same student), or when the requests that are left do not suffice for a first attempt at each wrong seed.

As in the paper the student's wrong answer is not shown to the teacher. Unlike there, the student answers greedily, so a
round is a function of its examples; and every round trains as the trial itself does.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from sde_ray.config.curation import Augment as Settings
from sde_ray.curation.augment.round import Round
from sde_ray.curation.augment.teacher import Prompt, Teacher
from sde_ray.curation.augment.written import ANSWER, TEACHER_DESIGN, TEXT, NearCopies, read_written
from sde_ray.design import render
from sde_ray.metrics.free import accepted
from sde_ray.metrics.span_matching import words
from sde_ray.types import Example, Parsed, Segment, Task

if TYPE_CHECKING:
    from sde_ray.training.preparation import Preparation

LONGEST = 3  # times the longest seed; a longer text is not one of its kind

ASK = {
    "en": "You write examples from which a model learns a task. The task:\n{instruction}\n\n"
    "Below is an example that the model gets wrong. Write one similar example: as hard, with the same kind of "
    "difficulty, but with other content, and with its right answer. Do not repeat the example. Write the text after "
    '"{text}" and the answer after "{answer}", in exactly the same form, and nothing else.\n\n',
    "zh": "你要为一个模型编写学习任务的例子。任务：\n{instruction}\n\n下面是模型答错的一个例子。请写一个相似的新例子："
    "难度和难点相同，内容不同，并给出正确答案。不要重复原例。请把文本写在“{text}”之后，答案写在“{answer}”之后，形式与原例完全相同，不要写别的内容。\n\n",
}


def llm2llm(seeds: Sequence[Example], settings: Settings, preparation: Preparation, teacher: Teacher) -> dict[str, Any]:
    """Run the rounds. Returns plain values: the `rounds`' counts, why it `ended`, and the `written` examples."""
    rounds: list[dict[str, Any]] = []
    written: list[dict[str, Any]] = []
    ended, left = "rounds", settings.budget
    for number in range(settings.rounds):
        one_round = _Round(seeds, written, number, settings, preparation, teacher)
        done = preparation.remember(f"llm2llm-round-{number}", partial(one_round.run, left))
        rounds.append(done["counts"])
        written += done["written"]
        left -= done["counts"]["requests"]
        if done["ends"]:
            ended = done["ends"]
            break
    return {"rounds": rounds, "ended": ended, "written": written}


class _Round(Round):
    """One round: what is wrong after training on D_i, and what the teacher writes for it."""

    def run(self, left: float) -> dict[str, Any]:
        """The round, with at most `left` requests: its counts, what is new, and why it is the last, or ""."""
        examples = [*self.seeds, *self.written]
        self.preparation.fit(self.preparation.render(examples))
        answers = self.preparation.answer(examples)
        is_wrong = [not is_right(self.task, one, parsed) for one, parsed in zip(examples, answers, strict=True)]
        wrong = [one for one, failed in zip(self.seeds, is_wrong, strict=False) if failed]
        counts: dict[str, Any] = {
            "answered": len(examples),
            "right": is_wrong.count(False),
            "wrong_written": sum(is_wrong[len(self.seeds) :]),
            "wrong_seeds": len(wrong),
        }
        new: list[dict[str, Any]] = []
        requests = 0
        ends = "nothing_wrong" if not wrong else "budget" if len(wrong) > left else ""
        if not ends:
            self.clear_adapter()
            new, requests = self._ask(wrong, left)
            ends = "" if new else "nothing_new"
        counts |= {"requests": requests, "kept": len(new), "dropped": dict(sorted(self.dropped.items()))}
        counts["given_up"] = len(wrong) - len(new)
        return {"counts": counts, "written": new, "ends": ends}

    def _ask(self, wrong: Sequence[Example], left: float) -> tuple[list[dict[str, Any]], int]:
        """One new example for each wrong seed, where an attempt gives a usable one; and the requests it took."""
        new: dict[str, dict[str, Any]] = {}
        pending, requests = list(wrong), 0
        self.copies = NearCopies([one.text for one in (*self.seeds, *self.written)], self.settings.near_copy)
        for attempt in range(self.settings.attempts):
            pending = pending[: int(min(len(pending), left - requests))]
            if not pending:
                break
            prompts = [prompt_for(one, self.task) for one in pending]
            replies = self.teacher.answer(
                prompts, self.settings.max_new_tokens, self.settings.temperature, self.seed * 100 + attempt
            )
            requests += len(pending)
            for parent, reply in zip(pending, replies, strict=True):
                if (example := self._usable(reply, parent)) is not None:
                    new[parent.id] = {"parent": parent.id, "round": self.number, **_plain(example)}
            pending = [one for one in pending if one.id not in new]
        return [new[one.id] for one in wrong if one.id in new], requests

    def _usable(self, reply: str, parent: Example) -> Example | None:
        """The example of a reply, if there is a new one in it; else the reason is counted."""
        longest = LONGEST * max(len(one.text) for one in self.seeds)
        read = read_written(reply, self.task, f"{parent.id}~{self.number}", longest)
        example, reason = read.example, read.dropped
        if example is not None and self.copies.has(example.text):
            example, reason = None, "near_copy"
        if example is None:
            self.dropped[reason] += 1
        else:
            self.copies.add(example.text)
        return example


def prompt_for(example: Example, task: Task) -> Prompt:
    """The prompt that asks a teacher for an example like this one; it ends where the new text begins."""
    instruction = render.render_instruction(task, TEACHER_DESIGN, 0, "below")
    ask = ASK[task.language].format(instruction=instruction, text=TEXT, answer=ANSWER)
    answer = render.completion_of(example, task, TEACHER_DESIGN)
    return (
        Segment(f"{ask}{TEXT} ", loss=False, role="instruction"),
        Segment(example.text, loss=False, role="text"),
        Segment(f"\n{ANSWER} {answer}\n\n{TEXT}", loss=False),
    )


def is_right(task: Task, example: Example, parsed: Parsed) -> bool:
    """Whether an answer is right: without a fault of form, and gold's in each slot (free values: by words, aliases)."""
    if parsed.faults:
        return False
    for slot in task.slots:
        gold, answer = example.answer.get(slot, ()), parsed.answer.get(slot, ())
        if task.kind == "free" and gold and answer:
            if words(", ".join(answer)) not in [words(one) for one in accepted(example, slot)]:
                return False
        elif sorted(gold) != sorted(answer):
            return False
    return True


def _plain(example: Example) -> dict[str, Any]:
    answer = {slot: list(values) for slot, values in example.answer.items()}
    return {"id": example.id, "text": example.text, "answer": answer}
