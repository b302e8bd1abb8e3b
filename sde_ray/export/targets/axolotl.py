"""axolotl: the segments of a sample, each with its loss flag (type `input_output`), and a configuration.

{"segments": [{"label": false, "text": "<s>..."}, {"label": true, "text": "food: positive</s>"}]}

axolotl tokenizes segment by segment, as the trial does. https://docs.axolotl.ai/docs/dataset-formats/template_free.html
"""

from __future__ import annotations

from typing import Any

from sde_ray.export.files import Export, jsonl
from sde_ray.export.framing import Framing, Ids, framing_notes, load_framing
from sde_ray.export.settings import (
    batch,
    common_notes,
    dtype_notes,
    modules,
    more_settings,
    warmup_steps,
    whole_or_fraction,
    with_comments,
)
from sde_ray.export.source import ExportSource
from sde_ray.export.targets.framed import eval_note, framed_prompts
from sde_ray.types import Sample

CARRIED = {
    "lora.use_dora": "peft_use_dora",
    "lora.use_rslora": "peft_use_rslora",
    "lora.modules_to_save": "lora_modules_to_save",
    "lora.target_parameters": "lora_target_parameters",
    "lora.layers_to_transform": "peft_layers_to_transform",
    "lora.layers_pattern": "peft_layers_pattern",
    **{
        f"train.{name}": name
        for name in (
            *("adam_beta1", "adam_beta2", "adam_epsilon", "neftune_noise_alpha"),
            *("gradient_checkpointing",),
        )
    },
}
COMMAND = "axolotl train axolotl.yaml"


def row(sample: Sample, framing: Framing) -> dict[str, Any]:
    """A sample as segments; what frames the prompt never counts."""
    parts = [(False, framing.before), *((bool(segment.loss), segment.text) for segment in sample.prompt)]
    parts += [(False, framing.after), (True, sample.completion.text + framing.end)]
    return {"segments": [{"label": loss, "text": text} for loss, text in parts if text]}


def tokens(sample: Sample, framing: Framing) -> Ids:
    """The ids that axolotl makes of it."""
    return tuple(token for segment in row(sample, framing)["segments"] for token in framing.ids(segment["text"]))


def export(source: ExportSource) -> Export:
    """Segments of each split, the configuration, and the prompts."""
    framing = load_framing(source)
    more, lost = more_settings(source.trial, CARRIED)
    notes = [
        *framing_notes(source, framing, lambda sample: tokens(sample, framing)),
        eval_note(framing, "axolotl"),
        *common_notes(source),
        *dtype_notes(source.trial),
        *lost,
    ]
    data = {
        f"{split}.jsonl": jsonl(row(sample, framing) for sample in samples) for split, samples in source.samples.items()
    }
    config = with_comments(notes, _config(source, framing) | more)
    return Export({**data, **framed_prompts(source, framing), "axolotl.yaml": config}, tuple(notes), (COMMAND,))


def _config(source: ExportSource, framing: Framing) -> dict[str, Any]:
    trial, sizes, targets = source.trial, batch(source.trial), modules(source.trial)
    linear = targets == "all-linear"
    target: dict[str, Any] = {"lora_target_linear": True} if linear else {"lora_target_modules": targets}
    return {
        "base_model": framing.where,
        **({"revision_of_model": framing.revision} if framing.revision else {}),
        **({"trust_remote_code": True} if trial.trust_remote_code else {}),
        "adapter": "qlora" if trial.train.quantization == "nf4" else "lora",
        **({"load_in_4bit": True} if trial.train.quantization == "nf4" else {}),
        **({"load_in_8bit": True} if trial.train.quantization == "int8" else {}),
        "lora_r": trial.lora.r,
        "lora_alpha": trial.lora.lora_alpha,
        "lora_dropout": trial.lora.lora_dropout,
        **target,
        "datasets": [{"path": "train.jsonl", "ds_type": "json", "type": "input_output"}],
        **(
            {"test_datasets": [{"path": "dev.jsonl", "ds_type": "json", "split": "train", "type": "input_output"}]}
            if "dev" in source.samples
            else {}
        ),
        "train_on_inputs": False,  # true would count every segment, whatever its flag
        "sequence_len": framing.max_length,
        "sample_packing": False,
        "num_epochs": whole_or_fraction(trial.train.num_train_epochs),
        "micro_batch_size": sizes["per_device"],
        "gradient_accumulation_steps": sizes["accumulation"],
        "learning_rate": trial.train.learning_rate,
        "lr_scheduler": trial.train.lr_scheduler_type,
        "warmup_steps": warmup_steps(source),
        "weight_decay": trial.train.weight_decay,
        "max_grad_norm": trial.train.max_grad_norm,
        "optimizer": trial.train.optim,
        "bf16": trial.train.dtype == "bfloat16",
        "fp16": trial.train.dtype == "float16",
        "seed": trial.seed,
        "output_dir": "adapter",
    }
