"""Retries of batches: a number that a completion leaves out is asked again alone, and read in its place.

    "1: yes, 3: no."  ─ask_again─▶  the prompt of instance 2, below the number 1  ──▶  "1: no."   kept as "ID#2"
    parse_answers(texts, example, task, design) ─▶ Parsed({"1": yes, "2": no, "3": no}, (Fault("missing_slot", "2"),))

A missing number is a fault, and never a "no". It stays one when the retry answers it: format adherence and the strict
scores are of what was written first. All completions are kept, so whoever scores them again reads the same answers.
Trials, `sde-ray predict` and the prompting study all ask again here. What is asked follows from the text, so a text
without a known answer is asked the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from sde_ray.data.batches import join_texts, split_texts
from sde_ray.design.answer_end import answer_end
from sde_ray.design.render import form_of, parse_completion, prompt_of
from sde_ray.types import Design, Example, Fault, Parsed, Segment, Task

MARK = "#"
ALONE = "1"
"""The number of an instance that is asked alone."""

Prompt = tuple[str, tuple[Segment, ...]]
Decode = Callable[..., tuple[list[str], int]]  # prompts, and `ends` where these have grammars -> texts, new tokens


def ask_again(
    parts: Sequence[tuple[Task, Sequence[Example], Sequence[str]]],
    design: Design,
    instruction_variant: int,
    decode: Decode,
    in_context: Callable[[tuple[Segment, ...]], tuple[Segment, ...]] = lambda prompt: prompt,
) -> tuple[list[dict[str, str]], int]:
    """Ask again what batches left out.

    Args:
        parts: task, examples and their completions, of every evaluated task.
        design: that of the completions.
        instruction_variant: which of the tasks' instructions is used.
        decode: gives the completions of prompts, and the number of their tokens.
        in_context: puts a trial's demonstrations before a prompt.

    Returns the completions of each part by id, retries among them, and the tokens that the retries took.
    """
    by_part = [dict(zip((one.id for one in examples), texts, strict=True)) for _, examples, texts in parts]
    prompts: list[list[Prompt]] = [
        [
            (example.id + MARK + number, in_context(retry_prompt(example, number, task, design, instruction_variant)))
            for example in examples
            for number in _left_out(example, own[example.id], task, design)
        ]
        for (task, examples, _), own in zip(parts, by_part, strict=True)
    ]
    if not any(prompts):
        return by_part, 0
    ends = [
        answer_end(task, design, join_texts([""]))
        for (task, _, _), own in zip(parts, prompts, strict=True)
        for _ in own
    ]
    constrained = any(end and end.grammar for end in ends)
    flat = [prompt for own in prompts for prompt in own]
    texts, num_tokens = decode(flat, ends=ends) if constrained else decode(flat)
    for completions, own_prompts in zip(by_part, prompts, strict=True):
        completions |= {name: texts.pop(0) for name, _ in own_prompts}
    return by_part, num_tokens


def retry_prompt(
    example: Example, number: str, task: Task, design: Design, instruction_variant: int = 0
) -> tuple[Segment, ...]:
    """The prompt that asks for one instance of a batch alone."""
    return prompt_of(join_texts([split_texts(example.text)[number]]), task, design, instruction_variant)


def retries_of(texts: Mapping[str, str], example: Example, task: Task) -> dict[str, str]:
    """The completions of an example's retries by the number that was asked again; empty where none was."""
    if not task.numbered:
        return {}
    return {slot: texts[name] for slot in asked(example.text, task) if (name := example.id + MARK + slot) in texts}


def asked(text: str, task: Task) -> tuple[str, ...]:
    """The slots that a text asks for: of a batch the numbers that it has, of any other task all."""
    return tuple(slot for slot in split_texts(text) if slot in task.slots) if task.numbered else task.slots


def _left_out(example: Example, completion: str, task: Task, design: Design) -> list[str]:
    """The numbers that the completion of a batch leaves without an answer."""
    return _unanswered(example, parse_completion(completion, task, design), task) if task.numbered else []


def _unanswered(example: Example, parsed: Parsed, task: Task) -> list[str]:
    return [slot for slot in asked(example.text, task) if not parsed.answer.get(slot)]


def parse_answers(texts: Mapping[str, str], example: Example, task: Task, design: Design) -> Parsed:
    """Parsed completion of an example; `texts` are completions by id, those of its retries among them.

    Where every question has an answer, one that has none is a fault, in whatever design; so is the answer to a number
    that a batch has not, as the last one of a split may be smaller.
    """
    parsed = parse_completion(texts[example.id], task, design, example.text)
    if not task.answered:
        return parsed
    unanswered = _unanswered(example, parsed, task)
    told = {fault.detail.partition(":")[0] for fault in parsed.faults}
    kind = "unexpected_placeholder" if form_of(task, design).complete else "missing_slot"
    faults = tuple(Fault(kind, slot) for slot in unanswered if slot not in told and texts[example.id].strip())  # type: ignore[arg-type]
    retries = retries_of(texts, example, task)
    retried = {
        slot: parse_completion(retries[slot], task, design).answer.get(ALONE, ())
        for slot in unanswered
        if slot in retries
    }
    answer = {**parsed.answer, **{slot: values for slot, values in retried.items() if values}}
    beyond = [slot for slot in answer if slot not in asked(example.text, task)]
    faults += tuple(Fault("unknown_slot", slot) for slot in beyond)
    return Parsed({slot: answer[slot] for slot in answer if slot not in beyond}, (*parsed.faults, *faults))
