"""The settings of one trial: everything that decides its outcome, and the key that names it.

    TrialConfig ──resolved()──▶ plain JSON ──sha256──▶ key: "5f0c..."

`Lora`, `Train` and `Generation` are sections of the YAML (`schema.py` has the others) and of every trial: one class for
both, so that each default is written once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from sde_ray.config.curation import Curation
from sde_ray.config.section import NEUTRAL, PEFT, TRANSFORMERS, Section, without_neutral
from sde_ray.design.axes import CURATION, find_axis, is_neutral, without_neutral_options
from sde_ray.safe_json import content_hash
from sde_ray.types import Design, key_values


def _steps_or_share(value: float) -> float:
    """A number of steps, or a share below 1; one number has one spelling, since a trial's key is made of it."""
    if value < 1 and value != 0:
        return value
    if value != int(value):
        raise ValueError(f"{value} is neither a whole number of steps nor a share below 1, such as 100 or 0.05.")
    return int(value)


def auto_or_count(value: Any) -> Any:
    """One message for what is neither, instead of one for each."""
    text = str(value).strip()
    if value != "auto" and (isinstance(value, bool) or not text.isdecimal() or int(text) < 1):
        raise ValueError(f"{value!r} is neither auto nor a whole number of at least 1.")
    return value


AutoOrCount = Annotated[Literal["auto"] | Annotated[int, Field(ge=1)], BeforeValidator(auto_or_count)]


class Train(Section):
    """Training arguments."""

    num_train_epochs: Annotated[float, Field(gt=0, le=1000)] = 1.0
    """Passes over the training samples."""
    train_batch_size: Annotated[int, Field(ge=1)] = 4
    """Samples of one optimiser step, all workers and accumulated batches together. A multiple of `num_workers` times
    `gradient_accumulation_steps`."""
    gradient_accumulation_steps: AutoOrCount = 1
    """Parts into which each worker cuts its share of a step, to need less memory. The gradient is the same (dropout
    draws otherwise). `auto`: as few as fit into the memory that is free, by the model's shapes; the node remembers."""
    learning_rate: Annotated[float, Field(gt=0, lt=100)] = 1e-4
    """Peak learning rate; 1e-4 suits models of 7B, small ones want more."""
    lr_scheduler_type: Literal["linear", "cosine", "constant", "constant_with_warmup"] = "linear"
    """The learning rate after the warm-up: it falls to 0 in a line or a half cosine, or stays. `constant` has none."""
    warmup_steps: Annotated[float, Field(ge=0, le=10**9), AfterValidator(_steps_or_share)] = 0
    """Steps in which the learning rate rises; below 1: the share of all steps."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """The optimizer's weight decay."""
    max_length: Annotated[int, Field(ge=8)] = 1024
    """Tokens of a sample at most; a longer text is cut (never the instruction or the answer) and counted."""
    max_grad_norm: Annotated[float, Field(ge=0)] = 1.0
    """Gradients are clipped to this norm; 0 switches clipping off."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Number format of the base model and of training. `auto`: float32 on a CPU, bfloat16 on a GPU that has it, float16
    on an older one (V100, T4)."""
    optim: Annotated[Literal["adamw_torch_fused", "adamw_torch", "sgd", "rmsprop", "adafactor"], TRANSFORMERS] = (
        "adamw_torch_fused"
    )
    """The optimizer, by transformers' names. `adafactor` needs one worker in float32."""
    adam_beta1: Annotated[float, Field(ge=0, lt=1), TRANSFORMERS] = 0.9
    """AdamW's decay of the mean of the gradients."""
    adam_beta2: Annotated[float, Field(ge=0, lt=1), TRANSFORMERS] = 0.999
    """AdamW's decay of the mean of their squares."""
    adam_epsilon: Annotated[float, Field(gt=0), TRANSFORMERS] = 1e-8
    """AdamW's term against a division by zero."""
    neftune_noise_alpha: Annotated[Annotated[float, Field(gt=0)] | None, TRANSFORMERS] = None
    """Uniform noise on the token embeddings in training, of this scale (NEFTune; 5 is usual). Empty: none."""
    label_smoothing_factor: Annotated[float, Field(ge=0, lt=1), TRANSFORMERS] = 0.0
    """Share of a counted token's target that is spread evenly over the vocabulary."""
    gradient_checkpointing: Annotated[bool, TRANSFORMERS] = False
    """Keep each layer's input only and compute its activations again in the backward pass: the same result, a third
    more time for a step, and a fraction of the memory. For large models and long samples."""
    quantization: Annotated[Literal["none", "int8", "nf4"], NEUTRAL] = "none"
    """Weights of the frozen base in 8 bits (LLM.int8) or 4 (NF4, as in QLoRA), by bitsandbytes: `sde-ray[quant]`. The
    adapter is trained, and answers, beside them."""
    attn_implementation: Annotated[Literal["sdpa", "eager", "flash_attention_2"], NEUTRAL] = "sdpa"
    """Attention, by transformers' names. `eager` keeps the scores of all pairs of tokens. `flash_attention_2` needs a
    GPU, the package flash-attn and half precision."""
    torch_compile: Annotated[bool, TRANSFORMERS] = False
    """Compile the layers for training (torch.compile): faster steps, after a first one that waits for the compiler. For
    long trainings on a GPU; on a CPU it takes a minute."""

    @model_validator(mode="after")
    def _betas_are_adams(self) -> Train:
        betas = {"adam_beta1", "adam_beta2", "adam_epsilon"} & set(without_neutral(self))
        if betas and not self.optim.startswith("adam"):
            raise ValueError(f"{', '.join(sorted(betas))} is for AdamW, but optim is {self.optim}. Leave it out.")
        return self

    @model_validator(mode="after")
    def _constant_has_no_warmup(self) -> Train:
        if self.lr_scheduler_type == "constant" and self.warmup_steps:
            raise ValueError(
                f"lr_scheduler_type: constant has no warm-up, but warmup_steps is {self.warmup_steps:g}. "
                "Use constant_with_warmup, or warmup_steps: 0."
            )
        return self

    @property
    def base_options(self) -> dict[str, Any]:
        """How the base model is loaded, beside its number format: what `load_base` takes."""
        return {"quantization": self.quantization, "attn_implementation": self.attn_implementation}

    @property
    def parts(self) -> int:
        """`gradient_accumulation_steps` as a number; of `auto` the least."""
        return 1 if self.gradient_accumulation_steps == "auto" else self.gradient_accumulation_steps

    def num_warmup_steps(self, total_steps: int) -> int:
        """`warmup_steps` as a number of steps."""
        share = 0 < self.warmup_steps < 1
        return round(self.warmup_steps * total_steps) if share else int(self.warmup_steps)


def check_batch_size(train: Train, num_workers: int) -> None:
    """Raises ValueError when the samples of a step cannot be spread evenly."""
    parts = num_workers * train.parts
    if train.train_batch_size % parts:
        raise ValueError(
            f"train.train_batch_size {train.train_batch_size} counts all samples of an optimiser step and must be a "
            f"multiple of {parts}: resources.num_workers {num_workers} x train.gradient_accumulation_steps "
            f"{train.parts}."
        )


class Lora(Section):
    """The LoRA adapter: fields of peft's `LoraConfig`."""

    r: Annotated[int, Field(ge=1)] = 8
    """Rank of the adapter."""
    lora_alpha: Annotated[int, Field(ge=1)] = 16
    """Scale of the adapter; it is multiplied by lora_alpha / r."""
    lora_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Dropout on the adapter's input."""
    target_modules: str | tuple[str, ...] = "all-linear"
    """Modules that get an adapter: `all-linear`, or names such as [q_proj, v_proj]."""
    exclude_modules: Annotated[str | tuple[str, ...] | None, PEFT] = None
    """Modules that get none, of those in `target_modules`."""
    target_parameters: Annotated[tuple[str, ...] | None, PEFT] = None
    """Parameters that get an adapter, such as [experts.down_proj] of a mixture of experts. Needs `lora_dropout: 0`."""
    layers_to_transform: Annotated[int | tuple[int, ...] | None, PEFT] = None
    """Numbers of the layers that get an adapter; empty: all."""
    layers_pattern: Annotated[str | tuple[str, ...] | None, PEFT] = None
    """What the list of layers is called in the model, where peft does not find it."""
    rank_pattern: Annotated[dict[str, Annotated[int, Field(ge=1)]], PEFT] = Field(default_factory=dict)
    """Ranks of modules that have their own, by name or regular expression, such as {q_proj: 16}."""
    alpha_pattern: Annotated[dict[str, Annotated[int, Field(ge=1)]], PEFT] = Field(default_factory=dict)
    """The same for `lora_alpha`."""
    use_rslora: Annotated[bool, PEFT] = False
    """Scale by lora_alpha / sqrt(r) instead of lora_alpha / r (rank-stabilised LoRA)."""
    use_dora: Annotated[bool, PEFT] = False
    """Train the magnitude of the weights apart from their direction (DoRA). Slower, also in decoding."""
    init_lora_weights: Annotated[bool | Literal["gaussian", "orthogonal"], PEFT] = True
    """How the adapter starts: `true` is peft's own, `false` random in both matrices. Starts that change the base's
    weights (pissa, olora, ...) are not allowed: all trials share the base."""
    modules_to_save: Annotated[tuple[str, ...] | None, PEFT] = None
    """Modules trained whole beside the adapter, and saved with it, such as [lm_head]."""

    @model_validator(mode="after")
    def _parameters_have_no_dropout(self) -> Lora:
        if self.target_parameters and self.lora_dropout:
            raise ValueError("target_parameters have no dropout in peft. Set lora_dropout: 0.")
        return self

    @model_validator(mode="after")
    def _layers_need_names(self) -> Lora:
        if self.layers_to_transform is not None and isinstance(self.target_modules, str):
            raise ValueError(
                f"layers_to_transform needs target_modules as a list, such as [q_proj, v_proj]; it is "
                f'"{self.target_modules}".'
            )
        return self


CPU_ROWS = 32  # decoded together: a CPU is no faster with more


class Generation(Section):
    """Greedy decoding of the scored completions."""

    batch_size: AutoOrCount = "auto"
    """Prompts decoded together, or fewer where memory is short. `auto`: on a GPU up to 512, on a CPU 32. In float32 no
    completion depends on it; in half precision near ties do."""
    max_new_tokens: Annotated[int, Field(ge=1)] | None = None
    """Longest completion; empty: 1.5 times the longest gold completion of the training samples."""
    merge_adapter: Annotated[bool, NEUTRAL] = True
    """Add the adapter to the weights while decoding (the base gets its own back), where it is a sum with them: not with
    `use_dora`, `modules_to_save`, `target_parameters` or a quantised base. `false`: beside its layers, as in training;
    slower. The same completions, but in half precision for near ties."""

    backend: Annotated[Literal["builtin", "vllm"], NEUTRAL] = "builtin"
    """What decodes a trial's completions. `vllm`: vLLM's engine, on the trial's GPU beside the trained model and asleep
    while that trains (`pip install "sde_ray[vllm]"`); the same completions but for near ties. One worker a trial, a
    plain adapter."""

    @property
    def rows(self) -> int | None:
        """`batch_size` as a number; None: as many as suit the device."""
        return None if self.batch_size == "auto" else self.batch_size

    @cached_property
    def key_values(self) -> Mapping[str, Any]:
        """What is in a trial's key: of `auto` the rows of a CPU, since the batch decides no completion there."""
        return {**without_neutral(self), "batch_size": self.rows or CPU_ROWS}


@dataclass(frozen=True)
class TrialConfig:
    """Configuration of one trial: everything that decides its outcome.

    `data` fingerprints the examples and the task's definition.

    `definition` is the section of the YAML of a task that is written out there, so that any process can build the task
    from a trial's configuration; empty where the task's name says all.
    `curation`: settings of the data and training axes; in the key are those of the axes that the trial's design has.
    `rungs`: shares of the training at which the trial is scored, ascending, ending with 1.0.
    `general`: the set on which forgetting is measured, as `evaluation.general_set.general_set_name` calls it.
    `interim_looks`: shares of the dev items after which a trial that is clearly behind its opponent is stopped.
    """

    task: str
    design: Design
    model: str
    seed: int
    train_size: int
    eval_size: int
    splits: tuple[str, ...] = ("dev",)
    out_of_domain: tuple[str, ...] = ()
    instruction_variant: int = 0
    chat_template: Literal["auto", "off"] = "auto"
    trust_remote_code: bool = False
    lora: Lora = field(default_factory=Lora)
    train: Train = field(default_factory=Train)
    generation: Generation = field(default_factory=Generation)
    deepspeed: Mapping[str, Any] = field(default_factory=dict)
    num_workers: int = 1
    rungs: tuple[float, ...] = (1.0,)
    interim_looks: tuple[float, ...] = ()
    curation: Curation = field(default_factory=Curation)
    data: str = ""
    general: str = ""
    definition: Mapping[str, Any] = field(default_factory=dict)

    def resolved(self) -> dict[str, Any]:
        """The configuration as plain JSON values; without neutral options, as they make no other trial."""
        values = {entry.name: getattr(self, entry.name) for entry in fields(self) if entry.name != "curation"}
        sections = {name: dict(value.key_values) for name, value in values.items() if isinstance(value, Section)}
        curation = {section: dict(settings.key_values) for section, settings in self.curation_settings.items()}
        design = without_neutral_options(dict(self.design.options))
        if not self.general:
            values.pop("general")
        whole = {**values, **sections, "design": design, **({"curation": curation} if curation else {})}
        plain: dict[str, Any] = json.loads(json.dumps(whole))
        return plain

    @property
    def curated(self) -> dict[str, str]:
        """The data and training axes that change this trial, with their options, in the order of the table."""
        options = {axis: option for axis, option in self.design.options if find_axis(axis).curates}
        order = [*(axis for axis in CURATION if axis in options), *(axis for axis in options if axis not in CURATION)]
        return {axis: options[axis] for axis in order if not is_neutral(axis, options[axis])}

    @property
    def tasks_read(self) -> tuple[str, ...]:
        """The other tasks whose examples the trial learns from."""
        rows = [find_axis(axis) for axis in self.curated]
        return tuple(name for row in rows for name in row.reads(self.curation_settings.get(row.section)))

    @property
    def curation_settings(self) -> dict[str, Section]:
        """The settings of those axes, by their section in the YAML."""
        sections = [find_axis(axis).section for axis in self.curated]
        return {section: getattr(self.curation, section) for section in sections if section}

    @cached_property
    def key(self) -> str:
        """sha256 of the sorted resolved JSON, 16 hex digits; computed once, as it is asked for wherever a trial is.

        Without `definition`: `data` has its fingerprint, and where its files are does not make another trial.
        """
        return content_hash(key_values(self.resolved()))
