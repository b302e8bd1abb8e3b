"""The model card of an adapter: what it answers, in which design, on what evidence, how to ask it, and its limits.

    card = model_card(folder, evidence_of(folder), "me/reviews", base_model="org/base")      README.md

Of data there is one made-up example; where the adapter was trained and on what files is not told.
https://huggingface.co/docs/hub/model-cards
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sde_ray.analysis import strategy as strategies
from sde_ray.analysis import verdict as verdicts
from sde_ray.analysis.estimate import format_estimate
from sde_ray.analysis.strategy import Strategy
from sde_ray.analysis.verdict import Verdict
from sde_ray.config.open import open_sweep
from sde_ray.design.asking import ask_in, first_group
from sde_ray.design.axes import find_option, is_neutral
from sde_ray.design.designs import essential, paper_label, parse_design
from sde_ray.design.record_schematic import made_up_record
from sde_ray.design.render import completion_of
from sde_ray.errors import UserError
from sde_ray.export.settings import decoding_notes
from sde_ray.models.predictor import AdapterCard, read_card, read_task
from sde_ray.models.tokenization import PLACEHOLDER
from sde_ray.safe_text import mask_values
from sde_ray.storage.layout import SWEEP
from sde_ray.types import Design, Example, Task

HOME = "https://arxiv.org/abs/2404.13033"
MOST_EFFECTS = 40


@dataclass(frozen=True)
class Evidence:
    """What the sweep of an adapter has found: the assembled strategy, and the final comparison."""

    strategy: Strategy
    verdict: Verdict | None


def evidence_of(folder: Path) -> Evidence | None:
    """The evidence of the sweep in whose folder the adapter lies; None for one that lies elsewhere."""
    sweep = next((parent for parent in folder.absolute().parents if (parent / SWEEP).is_file()), None)
    if sweep is None:
        return None
    card = read_card(folder)
    try:
        run_dir = open_sweep(sweep).run_dir
        path, judged = run_dir.strategy(card.task, card.model), run_dir.validation(card.task, card.model)
        if not path.is_file():
            return None
        return Evidence(strategies.load(path), verdicts.load(judged) if judged.is_file() else None)
    except UserError:  # the sweep's own file names what is not here any more
        return None


def made_up_example(task: Task) -> Example:
    """An example that nobody has written: every other slot, with the first labels or invented values."""
    answer: dict[str, tuple[str, ...]] = {}
    for number, slot in enumerate(task.slots):
        if number % 2 == 0 or not task.has_absent_slots:
            answer[slot] = (_made_up_value(task, slot, number),)
    words = (f"{value} ..." for values in answer.values() for value in values)
    text = " ".join(["...", *words]) if task.kind == "span" else f"(a {task.nouns.text})"
    rationale = dict.fromkeys(answer, task.nouns.rationale)
    return Example("made-up", text, answer, rationale)


def _made_up_value(task: Task, slot: str, number: int) -> str:
    if task.kind == "record":
        return made_up_record(task, slot)
    if labels := task.labels_of(slot):
        return labels[number % len(labels)]
    return f"{task.ranges[slot][0]:g}" if slot in task.ranges else f"{task.nouns.value} {number + 1}"


def model_card(folder: Path, evidence: Evidence | None, repo: str, base_model: str = "") -> str:
    """The page as Markdown, with the hub's metadata at its head.

    Args:
        folder: of the adapter or the merged model, with its card.
        evidence: of its sweep.
        repo: the repository's name.
        base_model: the base's name on the hub; "": it has none.
    """
    card = read_card(folder)
    task, design = read_task(card), parse_design(card.design)
    parts = [
        _metadata(card, task, base_model),
        f"# {task.name}: {paper_label(design)}",
        _summary(card, task, design, base_model),
        _design(design, evidence),
        _example(card, task, design),
        *_evidence(design, evidence),
        _use(card, task, design, repo, base_model),
        _limits(card, task, design),
    ]
    return mask_values("\n\n".join(part.strip("\n") for part in parts) + "\n")


def _metadata(card: AdapterCard, task: Task, base_model: str) -> str:
    values: dict[str, Any] = {
        **({"base_model": base_model} if base_model else {}),
        **({"base_model_relation": "merge" if card.merged else "adapter"} if base_model else {}),
        "library_name": "transformers" if card.merged else "peft",
        "pipeline_tag": "text-generation",
        "language": [task.language],
        "tags": ["sde_ray", "sample-design-engineering", "lora", f"task-kind:{task.kind}"],
    }
    return f"---\n{yaml.safe_dump(values, sort_keys=False, allow_unicode=True)}---"


def _summary(card: AdapterCard, task: Task, design: Design, base_model: str) -> str:
    base = f"[{base_model}](https://huggingface.co/{base_model})" if base_model else f"`{card.model}`"
    kind = "A LoRA adapter of" if not card.merged else "A LoRA adapter merged into"
    slots = ", ".join(task.slots[:20]) + (", ..." if len(task.slots) > 20 else "")
    labels = f" Labels: {', '.join(task.labels[:30])}." if task.labels else ""
    return (
        f"{kind} {base}. It reads a {task.nouns.text} and answers for {task.nouns.slot}: {slots}.{labels}\n\n"
        f"How its training samples are written was chosen by a search over sample designs (Sample Design Engineering, "
        f"{HOME}) with `sde_ray`. It answers well only to prompts written in this very design."
    )


def _design(design: Design, evidence: Evidence | None) -> str:
    same = evidence is not None and essential(evidence.strategy.design) == essential(design)
    reasons = evidence.strategy.reasons if evidence is not None and same else {}
    rows = ["| axis | option | | why |" if reasons else "| axis | option | |", "|---|---|---|" + "---|" * bool(reasons)]
    for axis, option in design.options:
        if not is_neutral(axis, option):
            cells = [f"`{axis}`", f"`{option}`", find_option(axis, option).label]
            cells += [_cell(reasons.get(axis, "").removeprefix(option).lstrip(":, "))] if reasons else []
            rows.append(f"| {' | '.join(cells)} |")
    return "## Design\n\n" + "\n".join(rows)


def _example(card: AdapterCard, task: Task, design: Design) -> str:
    example = made_up_example(task)
    (before, after), *more = prompt_parts(card, task, design)
    several = f"\n\nA text is asked in {len(more) + 1} prompts, each about some of the slots; this is the first."
    completion = completion_of(example, *first_group(task, design))
    return (
        "## A prompt and its completion\n\nA made-up text, with everything that stands around it:\n\n"
        f"{_block(before + example.text + after)}\n\n{_block(completion)}" + several * bool(more)
    )


def prompt_parts(card: AdapterCard, task: Task, design: Design) -> list[tuple[str, str]]:
    """What stands before and after the user's text in each whole prompt that asks it, mostly one.

    Without the begin token that a tokenizer adds.
    """
    before_all, after_all = card.chat_frame or ("", "")
    asking = ask_in(task, design, card.demonstrations, card.instruction_variant)
    parts = []
    for _, prompt in asking.prompts("x", PLACEHOLDER):
        before, _, after = "".join(segment.text for segment in prompt).partition(PLACEHOLDER)
        parts.append((before_all + before, after + after_all))
    return parts


def _evidence(design: Design, evidence: Evidence | None) -> Iterator[str]:
    yield "## Evidence"
    if evidence is None:
        yield "None is at hand: this adapter lies outside its sweep. Measure it on your own items before you use it."
        return
    strategy, verdict = evidence.strategy, evidence.verdict
    if essential(strategy.design) != essential(design):
        yield (
            f"The sweep assembled {paper_label(strategy.design)}; this adapter has another design. What follows is the "
            "sweep's."
        )
    yield (verdict.summary if verdict else strategy.verdict) or (
        f"Not validated: the expected {strategy.objective} on dev items is {strategy.predicted:.3f}, an estimate of "
        "the search and no measurement on test items."
    )
    if verdict is not None and verdict.overall():
        rows = [f"| against | {verdict.objective} | difference | 95% interval | seeds | |", "|---|--:|--:|---|--:|---|"]
        for row in verdict.overall():
            paired = row.paired
            numbers = (f"{paired.difference:+.3f}", _interval(paired.low, paired.high)) if paired else ("–", "unknown")
            ours, theirs = (f"{score:.3f}" if score is not None else "–" for score in (row.assembled, row.score))
            rows.append(
                f"| {_cell(row.control)} | {ours} to {theirs} | {' | '.join(numbers)} | {row.seeds} | {row.claim} |"
            )
        yield "Test items, fresh seeds, the assembled design:\n\n" + "\n".join(rows)
    if strategy.effects:
        rows = ["| axis | option | against | effect on dev | trials |", "|---|---|---|---|--:|"]
        for effect in strategy.effects[:MOST_EFFECTS]:
            value = format_estimate(effect.difference, effect.low, effect.high, unknown=" (no interval)")
            rows.append(f"| {effect.axis} | {effect.option} | {effect.reference} | {value} | {effect.replicates} |")
        yield f"Effects of the options on {strategy.objective}, averaged over the other axes:\n\n" + "\n".join(rows)


def _interval(low: float | None, high: float | None) -> str:
    return "unknown" if low is None or high is None else f"[{low:+.3f}, {high:+.3f}]"


def _use(card: AdapterCard, task: Task, design: Design, repo: str, base_model: str) -> str:
    ours = (
        "## Use\n\nWith `sde_ray`, which writes the prompt and reads the answer, with its faults:\n\n"
        f'```sh\nhf download {repo} --local-dir model\nsde-ray predict model "..."\n```'
    )
    if not (base_model or card.merged):
        return f"{ours}\n\nIts base model comes with `sde_ray` and is nowhere else."
    (before, after), *more = prompt_parts(card, task, design)
    if more:
        return f"{ours}\n\nWithout it each text has to be asked in {len(more) + 1} prompts, and the answers joined."
    kind, library = ("AutoModelForCausalLM", "transformers") if card.merged else ("AutoPeftModelForCausalLM", "peft")
    special = ", add_special_tokens=False" if card.chat_frame else ""
    code = (
        f"from {library} import {kind}\nfrom transformers import AutoTokenizer\n\n"
        f"model = {kind}.from_pretrained({json.dumps(repo)})\n"
        f"tokenizer = AutoTokenizer.from_pretrained({json.dumps(repo if card.merged else base_model)})\n\n"
        f"BEFORE = {before!r}\nAFTER = {after!r}\n\n"
        'text = "..."\n'
        f'ids = tokenizer(BEFORE + text + AFTER, return_tensors="pt"{special}).input_ids\n'
        f"new = model.generate(input_ids=ids, do_sample=False, max_new_tokens={card.max_new_tokens})\n"
        "print(tokenizer.decode(new[0, ids.shape[1] :], skip_special_tokens=True))"
    )
    return f"{ours}\n\nWithout it, with the exact prompt:\n\n```python\n{code}\n```"


def _limits(card: AdapterCard, task: Task, design: Design) -> str:
    lines = [
        f"Prompts in another form than above are another task. Texts were cut at {card.max_length} tokens of prompt "
        "and completion together.",
        "Which design is best depends on the model and on the number of samples; the evidence is of this base.",
        "What it was trained on is not stated here. Nothing is known of other domains, languages or kinds of text.",
        "Decode greedily: scores of sampled answers were not measured.",
    ]
    if design["instruction"] == "none":
        lines.append(
            f"Its prompt names no {task.nouns.slot}, so it cannot be asked for others than those of its training."
        )
    lines += decoding_notes(design)
    if card.quantization != "none":
        lines.append(f"Trained beside a base in {card.quantization}; beside the full weights it answers otherwise.")
    return "## Limits\n\n" + "\n".join(f"- {line}" for line in lines)


def _block(text: str) -> str:
    """A fenced block that no text can end."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}text\n{text}\n{fence}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
