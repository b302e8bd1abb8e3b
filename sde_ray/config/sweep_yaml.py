"""The YAML text of a drafted sweep: every line that its author may want to change says what it is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sde_ray.data.survey import Survey
from sde_ray.tasks.draft import TaskDraft
from sde_ray.types import Split

MOST_TRAIN, MOST_EVAL, MOST_TEST = 500, 200, 500
COMMENTS_AT, LONGEST_LINE = 44, 150
EXAMPLE = "Read the {text} {where} and give the {value} of each {slot}: {slots}."
KINDS = {
    "label": "label: one label a slot · span: words of the text · free: any words",
    "span": "span: words of the text · label: one label a slot · free: any words",
    "free": "free: any words · label: one label a slot · span: words of the text",
    "record": "record: objects with fields of their own",
}


@dataclass(frozen=True)
class Sizes:
    """Numbers of items: of a training, of a trial's dev evaluation, of the final test; and passes over the samples."""

    train: int
    dev: int
    test: int
    epochs: int

    @classmethod
    def of(cls, counts: Mapping[Split, int]) -> Sizes:
        """Sizes that fit the items per split; some train examples are left over, so that seeds draw different ones."""
        most = counts["train"]
        train = most if most < 50 else min(MOST_TRAIN, most * 9 // 10 // 10 * 10)
        epochs = 5 if train < 100 else 3 if train < 300 else 2
        return cls(train, min(MOST_EVAL, counts["dev"]), min(MOST_TEST, counts["test"]), epochs)


def sweep_yaml(
    out: Path, data: str, survey: Survey, draft: TaskDraft, section: Mapping[str, Any], sizes: Sizes, metric: str
) -> str:
    """The whole file: head, task, model, search, sizes, validation."""
    head = [
        f"# Which way of writing samples teaches {data} best? Drafted by `sde-ray init` from",
        f"# {len(survey.texts)} records ({survey.title}). Change what is not as you mean it.",
        "#",
        f"#   sde-ray plan {out}    what would run, what was left out and why",
        f"#   sde-ray show {out} -n 3    read the samples before anything trains on them",
        f"#   sde-ray run {out}",
        "",
        _line("name", out.stem if out.stem[:1].isalnum() else draft.name, "the folder of the results, in runs/"),
        "",
        "task:",
    ]
    return "\n".join([*head, *_task(survey, draft, section, metric), "", *_training(sizes), ""])


def _task(survey: Survey, draft: TaskDraft, section: Mapping[str, Any], metric: str) -> list[str]:
    drafted = draft.section()
    lines = [
        _line("  name", draft.name),
        _line("  kind", draft.kind, KINDS[draft.kind]),
        _line("  slots", drafted["slots"], "what is asked about"),
    ]
    lines += [_line("  language", draft.language, "of the prompt")] if draft.language != "en" else []
    lines += _labels(draft, drafted)
    lines += _records(draft, drafted)
    if draft.multilabel:
        lines.append(_line("  multilabel", drafted["multilabel"], "any number of labels a slot"))
    if draft.ranges:
        lines.append(_line("  range", drafted["range"], "the values are numbers, from lowest to highest"))
    lines.append(_line("  placeholder", draft.placeholder, "the word for a slot that the text says nothing about"))
    if metric:
        lines.append(_line("  objective", metric, "the metric that ranks designs"))
    if draft.has_one_label:
        lines.append(_line("  instruction", drafted["instruction"], "the words of the prompt before the form"))
    if survey.instruction:
        said = " ".join(survey.instruction.split())[:LONGEST_LINE]
        lines.append(
            "  # What the data tell a model to do, in place of which each design writes an instruction of its own:"
        )
        lines.append(f"  # {said}")
        lines += [] if draft.has_one_label else [f"  # instruction: {_word(EXAMPLE)}"]
    lines.append("  data:")
    lines += [_line(f"    {key}", value, _meaning(key)) for key, value in section.items()]
    if not survey.has_rationales:
        template = '  # rationale: {template: "the {slot} is called {value}"}'
        lines.append(f"{template}    # reasons for the axis `reasoning`; these data have none")
    return lines


def _labels(draft: TaskDraft, drafted: Mapping[str, Any]) -> list[str]:
    """The labels, with how often each stands in the train split."""
    if draft.kind != "label":
        return []
    if draft.shares_labels:
        counts = {label: sum(draft.counts[slot].get(label, 0) for slot in draft.slots) for label in drafted["labels"]}
        return [_line("  labels", drafted["labels"], _times(counts))]
    rows = ["  labels:"]
    for slot, labels in drafted["labels"].items():
        rows.append(_line(f"    {_word(slot)}", labels, _times({label: draft.counts[slot][label] for label in labels})))
    return rows


def _records(draft: TaskDraft, drafted: Mapping[str, Any]) -> list[str]:
    """The fields of records, a line each."""
    if not draft.fields:
        return []
    meaning = "span, text, number, integer, boolean; a list of labels; [type]: a list of it; {...}: a record"
    rows = [_line("  fields", None, meaning)]
    for name, one in drafted["fields"].items():
        if len(draft.slots) > 1:
            rows += [f"    {_word(name)}:", *(_line(f"      {_word(key)}", value) for key, value in one.items())]
        else:
            rows.append(_line(f"    {_word(name)}", one))
    if "optional" in drafted:
        rows.append(_line("  optional", drafted["optional"], "what a record may lack; true: any field"))
    if "single" in drafted:
        rows.append(_line("  single", True, "one record a text"))
    return rows


def _times(counts: Mapping[str, int]) -> str:
    """How often labels stand in the data; empty for a published set, whose labels are not counted."""
    shown = ", ".join(f"{label} {times}" for label, times in counts.items())
    return shown if any(counts.values()) and len(shown) <= LONGEST_LINE // 2 and "\n" not in shown else ""


def _meaning(key: str) -> str:
    return {
        "path": "splits that have no file of their own are cut from train",
        "hub": "on the Hugging Face hub",
        "format": "as it was recognised",
        "columns": "what is called otherwise in the data",
        "keep_instruction": "the instruction is a part of the text",
        "prompt_template": "what of a message is the text",
        "disagreement": "where annotations differ; skip leaves such a record out",
        "overlap": "a text in two splits stays in the later one",
    }.get(key, "")


def _training(sizes: Sizes) -> list[str]:
    return [
        _line("model", "tiny", "the embedded base: no download, minutes; it shows that all runs"),
        "# For results: any causal model of the hub or on disk, and a rate of 1.0e-4 to 5.0e-4 in place of that below:",
        "# model: HuggingFaceTB/SmolLM2-135M",
        "# resources: {resources_per_worker: {CPU: 1, GPU: 1}}",
        "",
        _line(
            "search",
            {"method": "adaptive"},
            "n_trials: N sets a budget; else about a tenth of the designs",
        ),
        _line("train_sizes", [sizes.train], "training examples of a trial"),
        _line("eval_size", sizes.dev, "dev items of a trial"),
        _line(
            "train",
            {"num_train_epochs": sizes.epochs, "train_batch_size": 8, "learning_rate": 0.003},
            "a tiny base wants a high rate",
        ),
        _line("validation", {"seeds": [101, 102], "test_size": sizes.test}, "the final comparison, on test items"),
    ]


def _line(key: str, value: Any, comment: str = "") -> str:
    """`key: value    # comment`, the comments in one column."""
    line = f"{key}: {_flow(value)}" if value is not None else f"{key}:"
    return f"{line.ljust(COMMENTS_AT)}  # {comment}" if comment else line


def _flow(value: Any) -> str:
    """A value on one line, as YAML reads it back."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_word(str(key))}: {_flow(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, float):
        return f"{value:g}"
    return _word(value) if isinstance(value, str) else str(value).lower()


def _word(text: str) -> str:
    """A text in YAML, in quotes where it needs them, also inside a flow list."""
    if "\n" in text:
        return json.dumps(text, ensure_ascii=False)  # a string in JSON is one in YAML, on one line
    written: str = yaml.safe_dump([text], default_flow_style=True, allow_unicode=True, width=10**6)
    return written.strip()[1:-1]
