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
from sde_ray.config.section import Section

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
    "global_batch_size": "train.train_batch_size",
    "num_epochs": "train.num_train_epochs",
    "n_epochs": "train.num_train_epochs",
    "max_epochs": "train.num_train_epochs",
    "epochs": "train.num_train_epochs",
    "accumulate_grad_batches": "train.gradient_accumulation_steps",
    "gradient_accumulation": "train.gradient_accumulation_steps",
    "lr": "train.learning_rate",
    "lr_scheduler": "train.lr_scheduler_type",
    "scheduler": "train.lr_scheduler_type",
    "warmup_ratio": "train.warmup_steps",
    "optimizer": "train.optim",
    "gradient_clipping": "train.max_grad_norm",
    "clip_grad_norm": "train.max_grad_norm",
    "neftune_alpha": "train.neftune_noise_alpha",
    "activation_checkpointing": "train.gradient_checkpointing",
    "max_seq_len": "train.max_length",
    "mixed_precision": "train.dtype",
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
    "lora_modules_to_save": "lora.modules_to_save",
    "additional_target": "lora.modules_to_save",
    "base_model": "model",
    "model_name": "model",
    "model_name_or_path": "model",
    "pretrained_model_name_or_path": "model",
    "dataset": "task",
    "datasets": "task",
    "dataset_name": "task",
    "data": "task",
    "train_file": "task",
    "data_path": "task",
    "template": "chat_template",
    "max_samples": "train_sizes",
    "val_size": "eval_size",
    "val_set_size": "eval_size",
    "seed": "seeds",
    "output_dir": "storage_path",
    "run_name": "name",
    "num_gpus": "resources.resources_per_worker.GPU",
    "deepspeed_config": "deepspeed",
    "num_samples": "search.n_trials",
    "report_to": "mlflow.enabled",
    "mlflow_tracking_uri": "mlflow.tracking_uri",
    "mlflow_experiment_name": "mlflow.experiment_name",
}

GLOBAL_BATCH = "It is global: all samples of an optimiser step, over all workers, accumulation included."
OWN_DATA = "Data of your own belong to a task: sde-ray init DATA writes the whole file."
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
    "mixed_precision": "Its values are auto, float32, bfloat16 and float16.",
    "optimizer": "Its values are transformers' names, such as adamw_torch.",
    "deepspeed_config": "It takes the settings themselves, not a file.",
    "dataset": OWN_DATA,
    "datasets": OWN_DATA,
    "dataset_name": OWN_DATA,
    "data": OWN_DATA,
    "train_file": OWN_DATA,
    "data_path": OWN_DATA,
    "lora_target_linear": "Write target_modules: all-linear.",
}

_SCORED = "a trial is scored at its rungs (search.rungs) and keeps its last adapter. Leave the key out"
_GREEDY = "decoding is greedy, so that a score does not vary by itself. Leave the key out"
_BITS = "a base runs in 16 or 32 bits (train.dtype), also one that was stored in fewer. Leave the key out"
_ATTENTION = "the model takes the attention that transformers chooses for it. Leave the key out"

# What every trial is, so that there is nothing to set.
_REVISION = "it stands behind the model's name, as several may be compared. Write model: org/repo@REVISION"
NEEDLESS: Mapping[str, str] = {
    "finetuning_type": "every trial trains a LoRA adapter. Leave the key out",
    "adapter": "every trial trains a LoRA adapter. Leave the key out",
    "bias": "a bias belongs to the base model, which all trials of a worker share. Leave the key out",
    "stage": "every trial is supervised fine-tuning. Leave the key out",
    "packing": "each sample is a row of its own, as designs are compared sample by sample. Leave the key out",
    "sample_packing": "each sample is a row of its own, as designs are compared sample by sample. Leave the key out",
    "max_steps": "a trial is as long as train_sizes times train.num_train_epochs. Set these",
    "revision": _REVISION,
    "model_revision": _REVISION,
    "load_in_4bit": _BITS,
    "load_in_8bit": _BITS,
    "quantization_bit": _BITS,
    "flash_attn": _ATTENTION,
    "flash_attention": _ATTENTION,
    "attn_implementation": _ATTENTION,
    "logging_steps": "loss and learning rate of every step are logged. Leave the key out",
    "save_steps": _SCORED,
    "save_strategy": _SCORED,
    "eval_steps": _SCORED,
    "eval_strategy": _SCORED,
    "evaluation_strategy": _SCORED,
    "temperature": _GREEDY,
    "do_sample": _GREEDY,
    "top_p": _GREEDY,
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
    """The path of the one setting that has this name, in whatever section but those of single methods."""
    paths = [path for path, field in fields() if field == name and not path.startswith("curation.")]
    return paths[0] if len(paths) == 1 else ""
