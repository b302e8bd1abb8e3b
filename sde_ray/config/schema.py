"""The fields of a sweep's YAML, with what they mean and their defaults (the paper's, PAPER.md section 1.8).

    name: masa-english
    task: masa:d1
    model: tiny
    axes: {reasoning: none}
    search: {method: random, n_trials: 40}
    seeds: [0, 1]
    train: {learning_rate: 0.005}

Keys are those that users know from peft, transformers, DeepSpeed, Ray, Optuna and MLflow, wherever these have one.
Unknown keys fail. What needs the tables of axes, tasks and metrics is checked in `checks.py`; here only the shapes are.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from sde_ray.config.constraints import Constraints
from sde_ray.config.curation import Curation
from sde_ray.config.general import General
from sde_ray.config.section import Section
from sde_ray.config.trial import AutoOrCount, Generation, Lora, Train, check_batch_size
from sde_ray.config.vllm import refused_by_vllm
from sde_ray.design.axes import find_axis
from sde_ray.safe_text import MASK, VARIABLE, mask_webhook
from sde_ray.storage.run_directory import RunDirectory
from sde_ray.storage.uri import checked
from sde_ray.types import Task

Name = Annotated[str, Field(min_length=1)]
OptionName = str | bool | int | float
DesignName = str | dict[str, OptionName]
MOST_PACKED = 64  # Ray counts parts of a GPU in ten-thousandths
LONG = 400  # steps from which on a quarter of the training already tells something of a design
SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def _as_tuple(value: Any) -> Any:
    """One value may stand where a list may: `task: masa:d1` is `task: [masa:d1]`."""
    if value is None or isinstance(value, tuple):
        return value
    return tuple(value) if isinstance(value, list) else (value,)


def _as_list(value: Any) -> Any:
    """One option may stand where a list may: `reasoning: none` is `reasoning: [none]`."""
    return value if value is None or isinstance(value, list | tuple | dict) else [value]


def _off(value: Any) -> Any:
    """YAML reads `off` as false."""
    return "off" if value is False else value


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


def _program(value: tuple[str, ...]) -> tuple[str, ...]:
    if len(value) == 1 and len(value[0].split()) > 1:
        words = ", ".join(json.dumps(word) for word in value[0].split())
        raise ValueError(f'"{value[0]}" is one word of a command. Write its words one by one: [{words}]')
    return value


def check_webhook(value: str) -> str:
    """The address, if it can be one of a webhook; without variables it must be a whole one. Raises ValueError."""
    shown, parts = mask_webhook(value), urlsplit(VARIABLE.sub("x", value))
    if MASK in value:
        raise ValueError("was written by a run, which leaves secrets out of addresses. Write the address itself.")
    whole = parts.scheme in ("http", "https") and parts.hostname
    if not VARIABLE.fullmatch(value) and not (whole and "@" not in parts.netloc and value.isprintable()):
        raise ValueError(
            f'"{shown}" is no address of a webhook. Write https://HOST/PATH, or ${{NAME}} for an environment variable '
            "that holds it; without a user and a password."
        )
    if re.search(r"\s", value):
        raise ValueError(f'"{shown}" has a space in it. An address has none.')
    return value


Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
Size = Annotated[int, Field(ge=1)]
Seeds = Annotated[tuple[Seed, ...], BeforeValidator(_as_tuple), AfterValidator(_no_repeats)]
Rungs = Annotated[tuple[float, ...], AfterValidator(_ascending_to_one)]
Sizes = Annotated[tuple[Size, ...], BeforeValidator(_as_tuple), AfterValidator(_no_repeats)]


class Objective(Section):
    """What is maximised."""

    metric: str = ""
    """Ranks designs and prunes trials; empty: the task's own objective."""
    split: Literal["dev", "dev_ood"] = "dev"
    """In-domain, or out-of-domain (`dev_ood`, the mean over those tasks). Test splits are never selected on."""


class Asha(Section):
    """Asynchronous successive halving."""

    rungs: Rungs = (0.25, 0.5, 1.0)
    """Shares of the training at which a trial is scored and may be pruned; ascending, ending with 1.0."""
    reduction_factor: Annotated[float, Field(gt=1, le=100)] = 2.0
    """One in so many trials is trained further at each rung."""


class Search(Section):
    """The search: method, budget, early stopping."""

    method: str = "adaptive"
    """`adaptive` (our own), `grid`, `random`, `factorial`, `one_at_a_time` (the paper's) or `optuna`."""
    n_trials: Annotated[int, Field(ge=1)] | None = None
    """How many designs are tried for each task and model; empty: all that the method has. `grid` has no such limit.
    `adaptive` counts full trainings for each task, model and size: a trial that stops at a quarter has used a quarter,
    one that is repeated with another seed counts again; empty: a tenth of the designs, or two for each effect. With a
    nuisance axis each is tried at all its values and counts once."""
    rungs: Literal["auto"] | Rungs = "auto"
    """Shares of the training at which a trial is scored, ending with 1.0; `adaptive` may stop it there.
    `auto`: [0.25, 0.5, 1.0] for `adaptive` where a training has 400 steps or more, else [1.0]."""
    confidence: Annotated[float, Field(gt=0, le=1)] = 0.95
    """Probability of having the best design at which `adaptive` ends before its budget; 1: never."""
    margin: Annotated[float, Field(ge=0)] = 0.01
    """The best design: no other one is better by more than this."""
    interactions: tuple[tuple[Name, Name], ...] = ()
    """Pairs of axes whose interaction `factorial` estimates beside the options, such as [[format, labels]]."""
    seed: Seed = 0
    """Decides the order of designs and every choice of the method."""
    reference_design: DesignName = "baseline"
    """The design that `one_at_a_time` varies, one axis after another."""
    points_to_evaluate: tuple[DesignName, ...] = ("baseline", "es-sde")
    """Designs that every search tries first, where the space has them, so that they are measured and not predicted. The
    first one gets at least two seeds, which tell the noise of training. `one_at_a_time` adds no design, but gives its
    `reference_design` the second seed. With an explicit list of `designs` they are only moved to its beginning."""
    asha: Asha | None = None
    """Stop weak trials early (asynchronous successive halving on the objective); for all methods but `adaptive`, which
    has a rule of its own. `asha: {}` takes the defaults."""
    racing: Annotated[tuple[float, ...], BeforeValidator(_as_tuple), AfterValidator(_ascending_below_one)] = ()
    """Shares of the dev items, such as [0.25, 0.5], after which a trial whose answers are clearly worse than those of
    the leading trial to the same items is stopped (its scores are then those of these items). Empty: never."""
    max_trials: Annotated[int, Field(ge=1)] = 10_000
    """More planned trials than this are refused, as a sweep of such a size is mostly a mistake."""


class WorkerResources(Section):
    """Resources of one worker, by Ray's names."""

    CPU: Annotated[float, Field(ge=0.1)] = 1.0
    """CPU cores of one worker."""
    GPU: Literal["auto"] | Annotated[float, Field(ge=0)] = "auto"
    """GPUs of one worker; with 0 it sees none. `auto`: 1 where the machine, or the cluster when the sweep starts, has
    one for each worker of a trial, else 0. A fraction lets workers share a GPU; it is bookkeeping, not isolation."""

    @property
    def gpus(self) -> float:
        """`GPU` as a number; 0 for an `auto` that was not resolved (`sweep/cluster/gpus.py`)."""
        return 0.0 if self.GPU == "auto" else self.GPU


class Resources(Section):
    """Workers, concurrency and the cluster."""

    num_workers: Annotated[int, Field(ge=1)] = 1
    """Workers that share one trial (ZeRO); each has a bundle of its own."""
    resources_per_worker: WorkerResources = WorkerResources()
    """What one worker occupies, such as {CPU: 4, GPU: 1}."""
    pack: AutoOrCount = 1
    """Trials that share one worker, its base model and each pass through it; their results are those that they have
    alone. Each takes so small a part of the worker's CPUs and GPU. `auto`: 8 on a GPU, 1 on a CPU, where it gains
    little."""
    max_concurrent_trials: Annotated[int, Field(ge=1)] | None = None
    """Trials at the same time; empty: as many as the machine or cluster has room for."""
    address: str | None = None
    """A running Ray cluster (`auto`, `ray://...`); empty: Ray on this machine, for the time of the sweep."""
    startup_timeout_s: Annotated[float, Field(ge=0)] = 300.0
    """Seconds to wait for the nodes of a cluster that is still starting or grows by itself, until a trial fits."""
    checkpoint_interval_s: Annotated[float, Field(gt=0)] | None = 300.0
    """Seconds of training after which a trial is saved within a rung, besides after each rung; empty: only then."""
    env_vars: dict[str, str] = Field(default_factory=dict)
    """Environment variables of the workers, also on a cluster's other nodes."""

    @model_validator(mode="after")
    def _packed_alone(self) -> Resources:
        if self.num_workers > 1 and self.pack not in (1, "auto"):
            raise ValueError(
                f"pack: {self.pack} is for trials of one worker, but num_workers is {self.num_workers}. Leave one of "
                "them out."
            )
        if self.pack != "auto" and self.pack > MOST_PACKED:
            raise ValueError(f"pack: {self.pack} is more than the {MOST_PACKED} trials that one worker takes.")
        return self

    @model_validator(mode="after")
    def _shared_gpu(self) -> Resources:
        if self.num_workers > 1 and 0 < self.resources_per_worker.gpus < 1:
            raise ValueError(
                "workers of one trial cannot share a GPU (NCCL refuses it). Set resources_per_worker.GPU: 1."
            )
        return self


class Mlflow(Section):
    """Tracking in MLflow."""

    tracking_uri: str | None = None
    """Where runs are logged; empty: sqlite in the storage folder. Passwords belong in MLFLOW_TRACKING_PASSWORD."""
    experiment_name: str = "sde_ray"
    """MLflow's experiment."""
    enabled: bool = True
    """`false`: log nothing."""
    retry_interval_s: Annotated[float, Field(gt=0)] = 15.0
    """Seconds between two attempts to reach an MLflow that does not answer."""
    flush_timeout_s: Annotated[float, Field(ge=0)] = 90.0
    """Seconds that the end of a sweep waits for an MLflow that does not answer; `sde-ray sync` writes the rest."""


class Validation(Section):
    """The final comparison."""

    seeds: Seeds = (101, 102, 103)
    """Seeds of the final comparison; none of the sweep's own."""
    train_sizes: Sizes = ()
    """Training sizes of the final comparison; empty: the sweep's."""
    test_size: Annotated[int, Field(ge=1)] = 500
    """Test items of each task, at most."""
    controls: tuple[DesignName, ...] = ("baseline", "es-sde", "ew-sde", "heuristic")
    """Designs that the assembled one must beat, beside the best design seen."""


class Notify(Section):
    """What is told of the end of a sweep, by the machine that its driver runs on (docs/operation.md)."""

    command: Annotated[tuple[Name, ...], BeforeValidator(_as_tuple), AfterValidator(_program)] = ()
    """A program and its arguments, such as [python, tell.py]; gets the notification as JSON on its standard input.
    Runs without a shell. Empty: none."""
    webhook: Annotated[str, AfterValidator(check_webhook)] | None = None
    """An http(s) address that gets the same JSON by POST. `${NAME}` stands for an environment variable of the driver,
    so that no secret need be written down: ${SDE_WEBHOOK}."""
    timeout_s: Annotated[float, Field(gt=0, le=600)] = 30.0
    """Seconds that each of them has; 10 at most where the sweep was interrupted."""


class SweepConfig(Section):
    """A whole sweep. `config.load_config` makes it from a YAML file."""

    name: Annotated[str, AfterValidator(_safe_name)]
    """The sweep's folder under `storage_path`, and its name in MLflow; default: the YAML file's name."""
    task: Annotated[tuple[str | dict[str, Any], ...], Field(min_length=1), BeforeValidator(_as_tuple)]
    """A task by name (`masa:d1`, `my_pkg.my_task:TASK`), a list of them, or a task written out with its own data."""
    model: Annotated[tuple[Name, ...], Field(min_length=1), BeforeValidator(_as_tuple), AfterValidator(_no_repeats)] = (
        "tiny",
    )
    """Base models by Hugging Face name, folder or GGUF file; `tiny` is the embedded one. `org/repo@REVISION` pins a
    model of the hub to a commit, tag or branch, in the trials' keys and on the adapters' cards, too."""
    axes: dict[str, Annotated[list[OptionName], BeforeValidator(_as_list)]] = Field(default_factory=dict)
    """Options to try by axis: a list, or one option, which pins the axis. An axis that is not listed tries all of its
    options."""
    designs: tuple[DesignName, ...] = ()
    """Try exactly these designs (names, slugs or mappings) instead of the combinations of the axes."""
    objective: Objective = Objective()
    """What is maximised."""
    search: Search = Search()
    """Which designs are tried, in which order, and when a trial is stopped early."""
    seeds: Annotated[Seeds, Field(min_length=1)] = (0,)
    """Each design is trained once with each seed: draw of the examples, order, dropout, initial adapter.
    `adaptive` repeats with further seeds only the designs that may be the best."""
    train_sizes: Annotated[Sizes, Field(min_length=1)] = (500,)
    """Numbers of training examples; each design is trained with each, in a study of its own
    (`axes: {train_size: [...]}` compares sizes in one, and chooses)."""
    eval_size: Size = 200
    """Dev items a trial is scored on, at most."""
    out_of_domain: Literal["auto"] | tuple[str, ...] = "auto"
    """Tasks scored beside the trained one; `auto`: the task's own sibling domains; []: none."""
    instruction_variant: Annotated[int, Field(ge=0, le=2)] = 0
    """Which of the task's three instruction wordings is used."""
    train: Train = Train()
    """Training of a trial."""
    lora: Lora = Lora()
    """The adapter."""
    curation: Curation = Curation()
    """How the axes of data and training are carried out; each section counts only where `axes` names its axis."""
    generation: Generation = Generation()
    """Decoding of the completions that are scored."""
    chat_template: Annotated[Literal["auto", "off"], BeforeValidator(_off)] = "auto"
    """`auto`: a model with a chat template gets its prompts through it. Where that names today, it is 1 January 2025;
    where it only knows thinking, the thought is empty. An adapter's card keeps what stands around its prompts."""
    deepspeed: Annotated[dict[str, Any], AfterValidator(_plain)] = Field(default_factory=dict)
    """DeepSpeed's own configuration, passed through, such as {zero_optimization: {stage: 2}}."""
    resources: Resources = Resources()
    """What a trial occupies, and how many run at a time."""
    storage_path: Annotated[Name, AfterValidator(checked)] = "runs"
    """Folder of all sweeps; on a cluster one that all nodes share, or an address such as s3://bucket/runs."""
    mlflow: Mlflow = Mlflow()
    """Logging to MLflow."""
    notify: Notify = Notify()
    """What is told of the end of the sweep."""
    constraints: Constraints = Constraints()
    """What the assembled design must keep to."""
    validation: Validation = Validation()
    """The final comparison of the assembled design with its controls."""
    general: General = General()
    """What the trained models have forgotten."""
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

    @model_validator(mode="after")
    def _even_batches(self) -> SweepConfig:
        check_batch_size(self.train, self.resources.num_workers)
        return self

    @model_validator(mode="after")
    def _vllm_can_decode(self) -> SweepConfig:
        resources = self.resources
        reasons = refused_by_vllm(
            self.lora,
            quantization=self.train.quantization,
            num_workers=resources.num_workers,
            pack=resources.pack,
            gpus=resources.resources_per_worker.GPU,
            models=self.model,
        )
        if reasons and self.generation.backend == "vllm":
            raise ValueError(
                f"generation.backend: vllm does not go with {'; with '.join(reasons)}. Use backend: builtin, or leave "
                f"{'it' if len(reasons) == 1 else 'these'} out."
            )
        return self

    @property
    def run_dir(self) -> RunDirectory:
        """Where everything of the sweep lies."""
        counts = (len(self.task), len(self.model), len(self.train_sizes))
        return RunDirectory(self.storage_path, self.name, *counts)

    def metric_for(self, task: Task) -> str:
        """The metric that ranks designs on a task: `objective.metric`, else the task's own."""
        return self.objective.metric or task.objective

    def rungs(self) -> tuple[float, ...]:
        """The shares of the training at which the sweep's trials are scored; some training axes have the end only."""
        if any(find_axis(axis).one_rung for axis in self.axes):
            return (1.0,)
        if self.search.asha:
            return self.search.asha.rungs
        if self.search.rungs != "auto":
            return self.search.rungs
        listed = [size for size in self.axes.get("train_size", ()) if isinstance(size, int | float)]
        steps = min(map(float, listed or self.train_sizes)) * self.train.num_train_epochs / self.train.train_batch_size
        return Asha().rungs if self.search.method == "adaptive" and steps >= LONG else (1.0,)
