"""What the targets share that are a form of data, not a program: settings in the words of transformers and peft."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sde_ray.config.section import without_neutral
from sde_ray.export.files import Export, jsonl
from sde_ray.export.settings import (
    batch,
    common_notes,
    dtype_notes,
    modules,
    warmup_steps,
    whole_or_fraction,
    with_comments,
)
from sde_ray.export.source import ExportSource, prompt_text
from sde_ray.types import Sample


def plain_prompts(source: ExportSource) -> dict[str, str]:
    """`prompts.jsonl` of each split that is evaluated: the prompt as a user's message, without any template."""
    return {
        "prompts.jsonl" if split == "dev" else f"prompts.{split}.jsonl": jsonl(
            {"id": sample.id, "prompt": prompt_text(sample)} for sample in samples
        )
        for split, samples in source.samples.items()
        if split != "train"
    }


def data_files(source: ExportSource, row: Callable[[Sample], Mapping[str, Any]]) -> dict[str, str]:
    """A JSONL file of each split."""
    return {f"{split}.jsonl": jsonl(map(row, samples)) for split, samples in source.samples.items()}


def chat_note(source: ExportSource) -> str:
    """How the trial frames a prompt, for a tool that frames it by itself."""
    if source.trial.chat_template == "off":
        return "The trial uses no chat template (chat_template: off): give the tool none, for training and prediction."
    return (
        "The trial puts the prompt into the model's own chat template, where it has one: one user's message, no system "
        "message, the assistant's answer without thinking. Let the tool use that template; a base model without one "
        "gets none."
    )


def loss_note(source: ExportSource) -> str:
    """Which tokens count."""
    if source.masked:
        return "The loss counts the answer and its end token only: mask the prompt."
    return "The loss counts the prompt as well (input_modeling=on): do not mask it."


def settings(source: ExportSource) -> dict[str, Any]:
    """The trial's settings, by transformers' and peft's names."""
    trial, sizes = source.trial, batch(source.trial)
    lora = {**without_neutral(trial.lora), "target_modules": modules(trial)}
    train = {name: value for name, value in without_neutral(trial.train).items() if name not in _RENAMED}
    return {
        "model_name_or_path": trial.model,
        "lora": {name: list(value) if isinstance(value, tuple) else value for name, value in lora.items()},
        "train": {
            **train,
            "num_train_epochs": whole_or_fraction(trial.train.num_train_epochs),
            "per_device_train_batch_size": sizes["per_device"],
            "gradient_accumulation_steps": sizes["accumulation"],
            "warmup_steps": warmup_steps(source),
            "seed": trial.seed,
            "train_on_prompt": not source.masked,
        },
        "generation": {"do_sample": False, "max_new_tokens": trial.generation.max_new_tokens},
    }


_RENAMED = {"train_batch_size", "attn_implementation", "torch_compile"}


def export_form(source: ExportSource, row: Callable[[Sample], Mapping[str, Any]], form: str) -> Export:
    """Data in a form that many tools read, with the settings beside it."""
    notes = [
        f"{form} is a form of data: `settings.yaml` has the trial's settings by transformers' and peft's names, for "
        "you to give to the tool.",
        chat_note(source),
        loss_note(source),
        *common_notes(source),
        *dtype_notes(source.trial),
    ]
    files = {
        **data_files(source, row),
        **plain_prompts(source),
        "settings.yaml": with_comments(notes, settings(source)),
    }
    return Export(files, tuple(notes))
