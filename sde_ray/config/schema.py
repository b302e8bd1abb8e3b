"""The fields of a sweep's YAML, with what they mean and their defaults (the paper's, PAPER.md section 1.8).

    name: masa-english
    task: masa:d1
    model: tiny
    fixed: {reasoning: none}
    search: {method: random, trials: 40}
    seeds: [0, 1]
    train: {lr: 0.005}

Unknown keys fail. What needs the tables of axes, tasks and metrics is checked in `config.py`; here only the shapes are.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from sde_ray.config.trial import DecodeSettings, LoraSettings, TrainSettings
from sde_ray.storage.uri import checked

Name = Annotated[str, Field(min_length=1)]
OptionName = str | bool | int
DesignName = str | dict[str, OptionName]
LONG = 400  # steps from which on a quarter of the training already tells something of a design
SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def _as_tuple(value: Any) -> Any:
    """One value may stand where a list may: `task: masa:d1` is `task: [masa:d1]`."""
    if value is None or isinstance(value, tuple):
        return value
    return tuple(value) if isinstance(value, list) else (value,)


def _no_repeats(value: tuple[Any, ...]) -> tuple[Any, ...]:
    repeated = sorted(str(one) for one, times in Counter(value).items() if times > 1)
    if repeated:
        raise ValueError(f"lists {', '.join(repeated)} more than once. List each once.")
    return value


def _safe_name(value: str) -> str:
    if not SAFE_NAME.fullmatch(value):
        raise ValueError(
            f'"{value}" cannot name a folder. Use letters, digits, ".", "_" and "-", beginning with a letter or digit.'
        )
    return value


def _ascending_to_one(value: tuple[float, ...]) -> tuple[float, ...]:
    if list(value) != sorted(set(value)) or value[-1:] != (1.0,) or value[0] <= 0:
        raise ValueError(f"{list(value)} must rise from above 0 and end with 1.0, such as [0.25, 0.5, 1.0].")
    return value


def _ascending_below_one(value: tuple[float, ...]) -> tuple[float, ...]:
    if list(value) != sorted(set(value)) or any(not 0 < share < 1 for share in value):
        raise ValueError(f"{list(value)} must rise and lie between 0 and 1, such as [0.25, 0.5].")
    return value


def _plain(value: dict[str, Any]) -> dict[str, Any]:
    try:
        json.dumps(value, allow_nan=False)
    except (ValueError, TypeError) as error:
        raise ValueError(f"must hold plain JSON values: {error}") from None
    return value


Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
Size = Annotated[int, Field(ge=1)]
Seeds = Annotated[tuple[Seed, ...], BeforeValidator(_as_tuple), AfterValidator(_no_repeats)]
Rungs = Annotated[tuple[float, ...], AfterValidator(_ascending_to_one)]
Sizes = Annotated[tuple[Size, ...], BeforeValidator(_as_tuple), AfterValidator(_no_repeats)]


class Section(BaseModel):
    """A part of the configuration: frozen, without unknown keys, every field documented."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)


class Objective(Section):
    metric: str = ""
    """Ranks designs and prunes trials; empty: the task's own objective."""
    split: Literal["dev", "dev_ood"] = "dev"
    """In-domain, or out-of-domain (`dev_ood`, the mean over those tasks). Test splits are never selected on."""


class Asha(Section):
    rungs: Rungs = (0.25, 0.5, 1.0)
    """Shares of the training at which a trial is scored and may be pruned; ascending, ending with 1.0."""
    reduction_factor: Annotated[float, Field(gt=1, le=100)] = 2.0
    """One in so many trials goes on at each rung."""


class Search(Section):
    method: str = "adaptive"
    """`adaptive` (our own), `grid`, `random`, `factorial`, `one_at_a_time` (the paper's) or `optuna`."""
    trials: Annotated[int, Field(ge=1)] | None = None
    """How many designs are tried for each task and model; empty: all that the method has. `grid` has no such limit.
    `adaptive` counts full trainings for each task, model and size: a trial that stops at a quarter has used a quarter,
    one that is repeated with another seed counts again; empty: a tenth of the designs, or two for each effect."""
    rungs: Literal["auto"] | Rungs = "auto"
    """Shares of the training at which a trial is scored, ending with 1.0; `adaptive` may stop it there.
    `auto`: [0.25, 0.5, 1.0] for `adaptive` where a training has 400 steps or more, else [1.0]."""
    confidence: Annotated[float, Field(gt=0, le=1)] = 0.95
    """`adaptive` ends before its budget when it is so sure of the best design; 1: never."""
    margin: Annotated[float, Field(ge=0)] = 0.01
    """Sure of the best means: no other design is better by more than this."""
    pairs: tuple[tuple[Name, Name], ...] = ()
    """Pairs of axes whose interaction `factorial` estimates beside the options, such as [[format, labels]]."""
    seed: Seed = 0
    """Decides the order of designs and every choice of the method."""
    around: DesignName = "baseline"
    """The design that `one_at_a_time` varies, one axis after another."""
    asha: Asha | None = None
    """Stop weak trials early (asynchronous successive halving on the objective); for all methods but `adaptive`, which
    has a rule of its own. `asha: {}` takes the defaults."""
    race: Annotated[tuple[float, ...], BeforeValidator(_as_tuple), AfterValidator(_ascending_below_one)] = ()
    """Shares of the dev items, such as [0.25, 0.5], after which a trial whose answers are clearly worse than those of
    the leading trial to the same items is asked no more (its scores are then those of these items). Empty: never."""
    max_trials: Annotated[int, Field(ge=1)] = 10_000
    """More planned trials than this are refused, as a sweep of such a size is mostly a mistake."""


class Train(Section):
    epochs: Annotated[float, Field(gt=0, le=1000)] = 1.0
    """Passes over the training samples."""
    batch_size: Annotated[int, Field(ge=1)] = 4
    """Samples a step, over all workers of the trial."""
    gradient_accumulation: Annotated[int, Field(ge=1)] = 1
    """Batches of `batch_size` that are added up for one optimiser step."""
    lr: Annotated[float, Field(gt=0, lt=100)] = 1e-4
    """Peak learning rate; 1e-4 suits models of 7B, small ones want more."""
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    """How the learning rate falls after the warm-up."""
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the steps in which the learning rate rises."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """AdamW's weight decay."""
    max_length: Annotated[int, Field(ge=8)] = 1024
    """Tokens of a sample at most; a longer text is cut (never the instruction or the answer) and counted."""
    max_grad_norm: Annotated[float, Field(ge=0)] = 1.0
    """Gradients are clipped to this norm; 0 switches clipping off."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """`auto`: bf16 on a GPU that has it, else fp32."""


class Lora(Section):
    r: Annotated[int, Field(ge=1)] = 8
    """Rank of the adapter."""
    alpha: Annotated[int, Field(ge=1)] = 16
    """Scale of the adapter; it is multiplied by alpha / r."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Dropout on the adapter's input."""
    targets: str | tuple[str, ...] = "all-linear"
    """Modules that get an adapter: `all-linear`, or names such as [q_proj, v_proj]."""


class Decode(Section):
    batch_size: Annotated[int, Field(ge=1)] = 32
    """Prompts decoded together."""
    max_new_tokens: Annotated[int, Field(ge=0)] = 0
    """Longest completion; 0: 1.5 times the longest gold completion of the training samples."""


class Resources(Section):
    cpus_per_worker: Annotated[float, Field(ge=0.1)] = 1.0
    """CPU cores of one worker."""
    gpus_per_worker: Annotated[float, Field(ge=0)] = 0.0
    """GPUs of one worker. A fraction lets workers share a GPU; it is bookkeeping, not isolation."""
    workers_per_trial: Annotated[int, Field(ge=1)] = 1
    """Workers that share one trial (ZeRO); each has a bundle of its own."""
    concurrent: Annotated[int, Field(ge=1)] | None = None
    """Trials at the same time; empty: as many as the machine or cluster has room for."""
    address: str | None = None
    """A running Ray cluster (`auto`, `ray://...`); empty: Ray on this machine, for the time of the sweep."""
    wait: Annotated[float, Field(ge=0)] = 300.0
    """Seconds to wait for the nodes of a cluster that is still starting or grows by itself, until a trial fits."""
    env: dict[str, str] = Field(default_factory=dict)
    """Environment variables of the workers, also on a cluster's other nodes."""

    @model_validator(mode="after")
    def _shared_gpu(self) -> Resources:
        if self.workers_per_trial > 1 and 0 < self.gpus_per_worker < 1:
            raise ValueError("workers of one trial cannot share a GPU (NCCL refuses it). Set gpus_per_worker: 1.")
        return self


class Mlflow(Section):
    tracking_uri: str | None = None
    """Where runs are logged; empty: sqlite in the storage folder. Passwords belong in MLFLOW_TRACKING_PASSWORD."""
    experiment: str = "sde_ray"
    """MLflow's experiment."""
    enabled: bool = True
    """`false`: log nothing."""
    retry: Annotated[float, Field(gt=0)] = 15.0
    """Seconds between two attempts to reach a store that is away."""
    grace: Annotated[float, Field(ge=0)] = 90.0
    """Seconds that the end of a sweep waits for a store that gives no sign of life. `sde-ray sync` makes up for it."""


class Validation(Section):
    seeds: Seeds = (101, 102, 103)
    """Seeds of the final comparison; none of the sweep's own."""
    train_sizes: Sizes = ()
    """Training sizes of the final comparison; empty: the sweep's."""
    test_size: Annotated[int, Field(ge=1)] = 500
    """Test items of each task, at most."""
    controls: tuple[DesignName, ...] = ("baseline", "es-sde", "ew-sde", "heuristic")
    """Designs that the assembled one must beat, beside the best design seen."""


class Assembly(Section):
    min_format_adherence: Annotated[float, Field(ge=0, le=1)] | None = None
    """Least share of completions without a fault that the assembled design may have; empty: any."""
    max_output_tokens: Annotated[float, Field(gt=0)] | None = None
    """Most output tokens of a completion, in the mean, that the assembled design may need; empty: any."""


class SweepConfig(Section):
    """A whole sweep. `config.load_config` makes it from a YAML file."""

    name: Annotated[str, AfterValidator(_safe_name)]
    """The sweep's folder under `storage`, and its name in MLflow; default: the YAML file's name."""
    task: Annotated[tuple[str | dict[str, Any], ...], Field(min_length=1), BeforeValidator(_as_tuple)]
    """A task by name (`masa:d1`, `my_pkg.my_task:TASK`), a list of them, or a task written out with its own data."""
    model: Annotated[tuple[Name, ...], Field(min_length=1), BeforeValidator(_as_tuple), AfterValidator(_no_repeats)] = (
        "tiny",
    )
    """Base models by Hugging Face name or path; `tiny` is the embedded one."""
    axes: dict[str, list[OptionName]] = Field(default_factory=dict)
    """Options to try by axis; an axis that is not listed tries all of its options."""
    fixed: dict[str, OptionName] = Field(default_factory=dict)
    """Axes that stand still, with their option."""
    designs: tuple[DesignName, ...] = ()
    """Try exactly these designs (names, slugs or mappings) instead of the combinations of the axes."""
    objective: Objective = Objective()
    """What is maximised."""
    search: Search = Search()
    """Which designs are tried, in which order, and when a trial is given up."""
    seeds: Annotated[Seeds, Field(min_length=1)] = (0,)
    """Each design is trained once with each seed: draw of the examples, order, dropout, initial adapter.
    `adaptive` repeats with further seeds only the designs that may be the best."""
    train_sizes: Annotated[Sizes, Field(min_length=1)] = (500,)
    """Numbers of training examples; each design is trained with each."""
    eval_size: Size = 200
    """Dev items a trial is scored on, at most."""
    out_of_domain: Literal["auto"] | tuple[str, ...] = "auto"
    """Tasks scored beside the trained one; `auto`: the task's own sibling domains; []: none."""
    wording: Annotated[int, Field(ge=0, le=2)] = 0
    """Which of the task's three instruction wordings is used."""
    train: Train = Train()
    """Training of a trial."""
    lora: Lora = Lora()
    """The adapter."""
    decode: Decode = Decode()
    """Decoding of the completions that are scored."""
    chat: Literal["auto", "off"] = "auto"
    """`auto`: a model with a chat template gets its prompts through it."""
    deepspeed: Annotated[dict[str, Any], AfterValidator(_plain)] = Field(default_factory=dict)
    """DeepSpeed's own configuration, passed through, such as {zero_optimization: {stage: 2}}."""
    resources: Resources = Resources()
    """What a trial occupies, and how many run at a time."""
    storage: Annotated[Name, AfterValidator(checked)] = "runs"
    """Folder of all sweeps; on a cluster one that all nodes share, or an address such as s3://bucket/runs."""
    mlflow: Mlflow = Mlflow()
    """Logging to MLflow."""
    assembly: Assembly = Assembly()
    """What the assembled design must keep to."""
    validation: Validation = Validation()
    """The final comparison of the assembled design with its controls."""
    trust_remote_code: bool = False
    """Let a model repository run its own Python code. Only for models you trust."""

    @model_validator(mode="after")
    def _fresh_seeds(self) -> SweepConfig:
        shared = sorted(set(self.seeds) & set(self.validation.seeds))
        if shared:
            raise ValueError(
                f"validation.seeds {shared} are seeds of the sweep, too. The final comparison needs fresh ones."
            )
        return self

    def rungs(self) -> tuple[float, ...]:
        """The shares of the training at which the sweep's trials are scored."""
        if self.search.asha:
            return self.search.asha.rungs
        if self.search.rungs != "auto":
            return self.search.rungs
        steps = min(self.train_sizes) * self.train.epochs / (self.train.batch_size * self.train.gradient_accumulation)
        return Asha().rungs if self.search.method == "adaptive" and steps >= LONG else (1.0,)

    def lora_settings(self) -> LoraSettings:
        return LoraSettings(**self.lora.model_dump())

    def decode_settings(self, racing: bool = True) -> DecodeSettings:
        """Settings of a trial; a final comparison does not race: it reports every item."""
        return DecodeSettings(**self.decode.model_dump(), looks=self.search.race if racing else ())

    def train_settings(self, rungs: tuple[float, ...] | None = None) -> TrainSettings:
        """Settings of a trial; `rungs` are the search's unless given (a validation has no rungs)."""
        deepspeed: Mapping[str, Any] = self.deepspeed
        return TrainSettings(
            **self.train.model_dump(),
            rungs=rungs or self.rungs(),
            workers=self.resources.workers_per_trial,
            deepspeed=deepspeed,
        )
