"""Hints for unknown keys: what a key of version 0.1, or of another tool, is called here.

    train: {lr: 0.001}          Unknown key "train.lr": use "train.learning_rate" instead.
    cutoff_len: 512             Unknown key "cutoff_len": use "train.max_length" instead.
    learning_rate: 0.001        Unknown key "learning_rate": use "train.learning_rate" instead.

The last one is in no table: a key that stands in the wrong section is found in the schema.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import get_args

from pydantic.fields import FieldInfo

from sde_ray.config.schema import SweepConfig
from sde_ray.config.trial import Section

# Where the key stood in version 0.1.
FORMER: Mapping[str, str] = {
    "train.epochs": "train.num_train_epochs",
    "train.batch_size": "train.train_batch_size",
    "train.gradient_accumulation": "train.gradient_accumulation_steps",
    "train.lr": "train.learning_rate",
    "train.schedule": "train.lr_scheduler_type",
    "train.warmup": "train.warmup_steps",
    "train.precision": "train.dtype",
    "lora.alpha": "lora.lora_alpha",
    "lora.dropout": "lora.lora_dropout",
    "lora.targets": "lora.target_modules",
    "decode": "generation",
    "resources.workers_per_trial": "resources.num_workers",
    "resources.cpus_per_worker": "resources.resources_per_worker.CPU",
    "resources.gpus_per_worker": "resources.resources_per_worker.GPU",
    "resources.concurrent": "resources.max_concurrent_trials",
    "resources.env": "resources.env_vars",
    "resources.wait": "resources.startup_timeout_s",
    "storage": "storage_path",
    "mlflow.experiment": "mlflow.experiment_name",
    "mlflow.retry": "mlflow.retry_interval_s",
    "mlflow.grace": "mlflow.flush_timeout_s",
    "search.trials": "search.n_trials",
    "search.around": "search.reference_design",
    "search.pairs": "search.interactions",
    "search.race": "search.racing",
    "assembly": "constraints",
    "wording": "instruction_variant",
    "chat": "chat_template",
    "fixed": "axes",
}

# In whatever section it stands: names of TrainingArguments, LLaMA-Factory and Axolotl.
FOREIGN: Mapping[str, str] = {
    "per_device_train_batch_size": "train.train_batch_size",
    "micro_batch_size": "train.train_batch_size",
    "batch_size": "train.train_batch_size",
    "per_device_eval_batch_size": "generation.batch_size",
    "eval_batch_size": "generation.batch_size",
    "num_epochs": "train.num_train_epochs",
    "lr": "train.learning_rate",
    "lr_scheduler": "train.lr_scheduler_type",
    "warmup_ratio": "train.warmup_steps",
    "gradient_clipping": "train.max_grad_norm",
    "cutoff_len": "train.max_length",
    "sequence_len": "train.max_length",
    "max_seq_length": "train.max_length",
    "model_max_length": "train.max_length",
    "bf16": "train.dtype",
    "fp16": "train.dtype",
    "pure_bf16": "train.dtype",
    "torch_dtype": "train.dtype",
    "lora_r": "lora.r",
    "lora_rank": "lora.r",
    "lora_target": "lora.target_modules",
    "lora_target_modules": "lora.target_modules",
    "lora_target_linear": "lora.target_modules",
    "base_model": "model",
    "model_name_or_path": "model",
    "dataset": "task",
    "datasets": "task",
    "template": "chat_template",
    "max_samples": "train_sizes",
    "val_size": "eval_size",
    "val_set_size": "eval_size",
    "seed": "seeds",
    "output_dir": "storage_path",
    "num_samples": "search.n_trials",
    "report_to": "mlflow.enabled",
    "mlflow_tracking_uri": "mlflow.tracking_uri",
    "mlflow_experiment_name": "mlflow.experiment_name",
}

GLOBAL_BATCH = "It is global: all samples of an optimiser step, over all workers, accumulation included."
NOTES: Mapping[str, str] = {
    "train.batch_size": GLOBAL_BATCH,
    "per_device_train_batch_size": GLOBAL_BATCH,
    "micro_batch_size": GLOBAL_BATCH,
    "batch_size": GLOBAL_BATCH,
    "train.precision": "Its values are auto, float32, bfloat16 and float16.",
    "bf16": "Write dtype: bfloat16.",
    "pure_bf16": "Write dtype: bfloat16.",
    "fp16": "Write dtype: float16.",
    "train.warmup": "A value below 1 is a share of the steps.",
    "warmup_ratio": "A value below 1 is a share of the steps.",
    "train.schedule": 'What was "constant" is "constant_with_warmup".',
    "fixed": "Write axes: {reasoning: none}.",
    "lora_target_linear": "Write target_modules: all-linear.",
}

# What every trial is, so that there is nothing to set.
NEEDLESS: Mapping[str, str] = {
    "finetuning_type": "every trial trains a LoRA adapter. Leave the key out",
    "adapter": "every trial trains a LoRA adapter. Leave the key out",
    "bias": "a bias belongs to the base model, which all trials of a worker share. Leave the key out",
    "stage": "every trial is supervised fine-tuning. Leave the key out",
}


def hint(location: Sequence[str]) -> str:
    """What to write instead of an unknown key, as the end of a sentence; empty where no setting means the same."""
    path, name = ".".join(location), location[-1]
    if name in NEEDLESS:
        return f"{NEEDLESS[name]}."
    instead = FORMER.get(path) or FOREIGN.get(name) or _elsewhere(name)
    if not instead:
        return ""
    note = NOTES.get(path) or NOTES.get(name, "")
    return f'use "{instead}" instead.{" " * bool(note)}{note}'


def fields(model: type[Section] = SweepConfig, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every key of the YAML: its dotted path, and its name in its section."""
    for name, field in model.model_fields.items():
        yield prefix + name, name
        section = section_of(field)
        if section is not None:
            yield from fields(section, f"{prefix}{name}.")


def section_of(field: FieldInfo) -> type[Section] | None:
    """The class of the section that a field holds; None for a plain setting."""
    types = (field.annotation, *get_args(field.annotation))
    return next((inner for inner in types if isinstance(inner, type) and issubclass(inner, Section)), None)


def _elsewhere(name: str) -> str:
    """The path of the one setting that has this name, in whatever section."""
    paths = [path for path, field in fields() if field == name]
    return paths[0] if len(paths) == 1 else ""
