"""LLaMA-Factory: prompts with everything around them written out, template `empty`, and two configurations.

{"instruction": "<s>...Output: ", "input": "", "output": "food: positive</s>"}

Its template `empty` adds nothing, no end token either: a model trained with it alone never learns to stop. So begin
and end token and the chat template stand in the file. https://llamafactory.readthedocs.io
"""

from __future__ import annotations

from typing import Any

from sde_ray.export.files import Export, indented, jsonl
from sde_ray.export.framing import Framing, Ids, framing_notes, load_framing
from sde_ray.export.settings import (
    batch,
    common_notes,
    modules,
    more_settings,
    precision,
    warmup_steps,
    whole_or_fraction,
    with_comments,
)
from sde_ray.export.source import ExportSource
from sde_ray.export.targets.framed import eval_note, framed_prompts, whole_prompt
from sde_ray.types import Sample

CARRIED = {
    "lora.use_dora": "use_dora",
    "lora.use_rslora": "use_rslora",
    **{
        f"train.{name}": name
        for name in ("adam_beta1", "adam_beta2", "adam_epsilon", "neftune_noise_alpha", "label_smoothing_factor")
    },
}
COMMANDS = (
    "llamafactory-cli train train.yaml",
    "llamafactory-cli train predict.yaml     # writes predicted/generated_predictions.jsonl",
)


def row(sample: Sample, framing: Framing) -> dict[str, str]:
    """A sample as instruction and output, for the template `empty`."""
    return {
        "instruction": whole_prompt(sample, framing),
        "input": "",
        "output": sample.completion.text + framing.end,
    }


def tokens(sample: Sample, framing: Framing) -> Ids:
    """The ids that LLaMA-Factory makes of it: instruction and output, each by itself."""
    one = row(sample, framing)
    return framing.ids(one["instruction"]) + framing.ids(one["output"])


def export(source: ExportSource) -> Export:
    """The data with its `dataset_info.json`, the configurations of training and prediction, and the prompts."""
    framing = load_framing(source)
    more, lost = more_settings(source.trial, CARRIED)
    if source.trial.train.gradient_checkpointing:
        lost = [note for note in lost if "gradient_checkpointing" not in note]
    notes = [
        *framing_notes(source, framing, lambda sample: tokens(sample, framing)),
        eval_note(framing, "LLaMA-Factory"),
        "For an adapter that is served later: the template is `empty`, so send whole prompts, not a user's text.",
        *common_notes(source),
        *_dtype_notes(source),
        *lost,
    ]
    if not source.masked:
        notes.insert(2, prompt_note(framing))
    data = {
        f"{split}.jsonl": jsonl(row(sample, framing) for sample in samples) for split, samples in source.samples.items()
    }
    info = {split: {"file_name": f"{split}.jsonl"} for split in source.samples}
    evaluated = ",".join(split for split in source.samples if split != "train")
    files = {
        **data,
        **framed_prompts(source, framing),
        "dataset_info.json": indented(info),
        "train.yaml": with_comments(notes, _train(source, framing) | more),
    }
    if evaluated:
        files["predict.yaml"] = with_comments([], _predict(source, framing, evaluated))
    return Export(files, tuple(notes), COMMANDS if evaluated else COMMANDS[:1])


def prompt_note(framing: Framing) -> str:
    """What of a loss on the prompt comes out differently; a begin token is the first, which is never predicted."""
    around = ", and with it the chat template around the text, which the trial leaves out" if framing.chat else ""
    return f"The loss counts the prompt (`train_on_prompt`){around}."


def _dtype_notes(source: ExportSource) -> list[str]:
    """Without `bf16` and `fp16` LLaMA-Factory computes in the format in which the model is stored."""
    dtype = source.trial.train.dtype
    if dtype not in ("auto", "float32"):
        return []
    return [f"LLaMA-Factory computes in the number format that the model is stored in; the trial has dtype: {dtype}."]


def _model(source: ExportSource, framing: Framing) -> dict[str, Any]:
    quantization = {"nf4": 4, "int8": 8}.get(source.trial.train.quantization)
    return {
        "model_name_or_path": framing.where,
        **({"model_revision": framing.revision} if framing.revision else {}),
        "trust_remote_code": source.trial.trust_remote_code,
        **({"quantization_bit": quantization} if quantization else {}),
        "stage": "sft",
        "finetuning_type": "lora",
        "dataset_dir": ".",
        "template": "empty",
        "cutoff_len": framing.max_length,
        **precision(source.trial),
        "seed": source.trial.seed,
        "report_to": "none",
    }


def _train(source: ExportSource, framing: Framing) -> dict[str, Any]:
    trial, sizes, targets = source.trial, batch(source.trial), modules(source.trial)
    names = ",".join(targets) if isinstance(targets, list) else targets
    return {
        **_model(source, framing),
        "do_train": True,
        "dataset": "train",
        "train_on_prompt": not source.masked,
        "packing": False,
        "lora_rank": trial.lora.r,
        "lora_alpha": trial.lora.lora_alpha,
        "lora_dropout": trial.lora.lora_dropout,
        "lora_target": "all" if names == "all-linear" else names,
        "num_train_epochs": whole_or_fraction(trial.train.num_train_epochs),
        "per_device_train_batch_size": sizes["per_device"],
        "gradient_accumulation_steps": sizes["accumulation"],
        "learning_rate": trial.train.learning_rate,
        "lr_scheduler_type": trial.train.lr_scheduler_type,
        "warmup_steps": warmup_steps(source),
        "weight_decay": trial.train.weight_decay,
        "max_grad_norm": trial.train.max_grad_norm,
        "optim": trial.train.optim,
        "disable_gradient_checkpointing": not trial.train.gradient_checkpointing,
        "output_dir": "adapter",
        "save_strategy": "no",
        "logging_steps": 1,
    }


def _predict(source: ExportSource, framing: Framing, evaluated: str) -> dict[str, Any]:
    return {
        **_model(source, framing),
        "adapter_name_or_path": "adapter",
        "do_predict": True,
        "predict_with_generate": True,
        "do_sample": False,  # its own default draws
        "max_new_tokens": framing.max_new_tokens,
        "eval_dataset": evaluated,
        "per_device_eval_batch_size": 8,
        "output_dir": "predicted",
    }
