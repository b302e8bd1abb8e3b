"""TRL: token ids with the trial's loss mask, and a configuration of `trl sft`.

{"id": ..., "input_ids": [...], "labels": [-100, ..., 512, 7, 2]}

Of texts TRL tokenizes prompt and completion together, where "Output: " and "food" become "Output:" and " food": the
prompt of the training would be none that is ever asked. Ids that are given it takes as they are.
https://huggingface.co/docs/trl/sft_trainer
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sde_ray.export.files import Export, jsonl
from sde_ray.export.framing import Framing, load_framing
from sde_ray.export.settings import (
    batch,
    common_notes,
    dtype_notes,
    modules,
    more_settings,
    precision,
    warmup_steps,
    whole_or_fraction,
    with_comments,
)
from sde_ray.export.source import ExportSource
from sde_ray.export.targets.framed import eval_note, framed_prompts
from sde_ray.types import Sample

CARRIED = {
    "lora.use_dora": "use_dora",
    "lora.use_rslora": "use_rslora",
    "lora.modules_to_save": "lora_modules_to_save",
    "lora.target_parameters": "lora_target_parameters",
    **{
        f"train.{name}": name
        for name in (
            *("adam_beta1", "adam_beta2", "adam_epsilon", "neftune_noise_alpha", "label_smoothing_factor"),
            *("gradient_checkpointing",),
        )
    },
}
COMMAND = "trl sft --config trl.yaml"


def rows(framing: Framing, samples: Sequence[Sample]) -> list[dict[str, Any]]:
    """Samples as ids, with the labels that count."""
    encoded = framing.encoded(samples)
    return [{"id": row.id, "input_ids": list(row.input_ids), "labels": list(row.labels)} for row in encoded]


def export(source: ExportSource) -> Export:
    """Ids of each split, the configuration of `trl sft`, and the prompts."""
    framing = load_framing(source)
    more, lost = more_settings(source.trial, CARRIED)
    notes = [
        "The files hold the trial's own token ids and loss mask, over-long texts cut as it cuts them: for this model's "
        "tokenizer, and no other.",
        eval_note(framing, "TRL"),
        *common_notes(source),
        *dtype_notes(source.trial),
        *lost,
    ]
    data = {f"{split}.jsonl": jsonl(rows(framing, samples)) for split, samples in source.samples.items()}
    files = {
        **data,
        **framed_prompts(source, framing),
        "trl.yaml": with_comments(notes, _config(source, framing) | more),
    }
    return Export(files, tuple(notes), (COMMAND,))


def _config(source: ExportSource, framing: Framing) -> dict[str, Any]:
    trial, sizes, targets = source.trial, batch(source.trial), modules(source.trial)
    return {
        "model_name_or_path": framing.where,
        **({"model_revision": framing.revision} if framing.revision else {}),
        **({"trust_remote_code": True} if trial.trust_remote_code else {}),
        "dtype": "float32" if trial.train.dtype == "auto" else trial.train.dtype,
        "attn_implementation": trial.train.attn_implementation,
        "datasets": [{"path": "json", "data_files": "train.jsonl", "columns": ["input_ids", "labels"]}],
        "use_peft": True,
        "lora_r": trial.lora.r,
        "lora_alpha": trial.lora.lora_alpha,
        "lora_dropout": trial.lora.lora_dropout,
        "lora_target_modules": targets if isinstance(targets, list) else [targets],
        **({"load_in_4bit": True} if trial.train.quantization == "nf4" else {}),
        **({"load_in_8bit": True} if trial.train.quantization == "int8" else {}),
        "max_length": framing.max_length,
        "packing": False,
        "num_train_epochs": whole_or_fraction(trial.train.num_train_epochs),
        "per_device_train_batch_size": sizes["per_device"],
        "gradient_accumulation_steps": sizes["accumulation"],
        "learning_rate": trial.train.learning_rate,
        "lr_scheduler_type": trial.train.lr_scheduler_type,
        "warmup_steps": warmup_steps(source),
        "weight_decay": trial.train.weight_decay,
        "max_grad_norm": trial.train.max_grad_norm,
        "optim": trial.train.optim,
        "gradient_checkpointing": False,
        **precision(trial),
        "seed": trial.seed,
        "output_dir": "adapter",
        "save_strategy": "no",
        "eval_strategy": "no",
        "logging_steps": 1,
        "report_to": "none",
    }
