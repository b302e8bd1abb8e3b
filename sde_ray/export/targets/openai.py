"""OpenAI's format: a chat of two messages a line, and the request of a fine-tuning job.

{"messages": [{"role": "user", "content": PROMPT}, {"role": "assistant", "content": COMPLETION}]}

TRL, axolotl, LLaMA-Factory, MLX, Together and others read it, too. https://platform.openai.com/docs/guides/fine-tuning
"""

from __future__ import annotations

from typing import Any

from sde_ray.errors import UserError
from sde_ray.export.files import Export, indented
from sde_ray.export.settings import common_notes
from sde_ray.export.source import ExportSource, prompt_text
from sde_ray.export.targets.neutral import chat_note, data_files, plain_prompts
from sde_ray.types import Sample

MODEL = "NAME_OF_A_MODEL_THAT_CAN_BE_FINE_TUNED"


def row(sample: Sample) -> dict[str, Any]:
    """A sample as a chat."""
    return {
        "messages": [
            {"role": "user", "content": prompt_text(sample)},
            {"role": "assistant", "content": sample.completion.text},
        ]
    }


def export(source: ExportSource) -> Export:
    """Chats, and the request of a job. Raises UserError for a loss on the prompt, which such a job has not."""
    if not source.masked:
        raise UserError(
            f"{source.design.slug} counts the loss of the prompt (input_modeling=on), and a fine-tuning job of this "
            "API counts the assistant's messages only. Export the design with input_modeling=off (--design ...), or to "
            "trl, axolotl or llama-factory."
        )
    train = source.trial.train
    epochs = max(1, round(train.num_train_epochs))
    job = {
        "model": MODEL,
        "training_file": "ID_OF_train.jsonl",
        **({"validation_file": "ID_OF_dev.jsonl"} if "dev" in source.samples else {}),
        "seed": source.trial.seed,
        "method": {
            "type": "supervised",
            "supervised": {"hyperparameters": {"n_epochs": epochs, "batch_size": train.train_batch_size}},
        },
    }
    notes = [
        f"`job.json` is the request of a fine-tuning job: set `model` ({MODEL}) and the ids of the uploaded files.",
        "The design was found on "
        f"{source.trial.model}; which design is best depends on the model. The service's own chat template frames the "
        "prompt, and its own method trains: LoRA's settings, learning rate, schedule and length are not carried over.",
        chat_note(source),
        "Ask the tuned model with temperature 0, the prompt of `prompts.jsonl` as one user's message.",
        *common_notes(source),
    ]
    if epochs != train.num_train_epochs:
        notes.append(f"The service counts whole epochs: {epochs} in place of {train.num_train_epochs:g}.")
    files = {**data_files(source, row), **plain_prompts(source), "job.json": indented(job)}
    return Export(files, tuple(notes))
