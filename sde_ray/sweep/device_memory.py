"""What trials need of a device's memory, told by a plan, and refused where it cannot fit.

    memory, = trial_memory(plan, resources)
    memory.line             "tiny: 0.10 GiB in float32 on a CPU, 4 samples of up to 241 tokens at a time: weights ..."
    check_memory([memory])  UserError where a GPU is known and not even one sample at a time fits

The longest sample is looked for among the longest texts and answers, in the longest designs. Only models whose
configuration is on this machine are looked at.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sde_ray.config.load import open_tasks
from sde_ray.config.schema import Resources
from sde_ray.config.trial import CPU_ROWS, TrialConfig
from sde_ray.design.asking import first_sample, samples_of
from sde_ray.errors import UserError
from sde_ray.models.availability import check_model
from sde_ray.models.base_settings import check_base_settings
from sde_ray.models.decoder import completion_budget
from sde_ray.models.meta import check_lora
from sde_ray.sweep.cluster.gpus import with_gpus
from sde_ray.sweep.contest import Contest
from sde_ray.sweep.data_summary import model_encoder
from sde_ray.sweep.plan import Plan
from sde_ray.training import deepspeed_engine
from sde_ray.training.device_memory import GIB, MemoryEstimate, Sizes, estimate_memory

if TYPE_CHECKING:
    from sde_ray.types import Task

CONTEXT = GIB  # bytes of a GPU that its context, workspaces of kernels and fragmentation take, at least
DRIVER_TIMEOUT_S = 10.0
LOOKED_AT = 6  # examples with the longest texts, and as many with the longest answers
LONGEST_DESIGNS = 4
MAX_ESTIMATES = 8  # of trials with different settings, a contest


@dataclass(frozen=True)
class Device:
    """What trials run on. `memory`: bytes of one worker's share; None: not known here."""

    gpu: bool
    memory: int | None = None


@dataclass(frozen=True)
class TrialMemory:
    """Memory of the trials of one contest that need most. `smallest`: with one sample at a time."""

    trial: TrialConfig
    device: Device
    sizes: Sizes
    estimate: MemoryEstimate
    smallest: MemoryEstimate

    @property
    def line(self) -> str:
        """In words, for a person."""
        estimate, sizes = self.estimate, self.sizes
        dtype = self.trial.train.dtype
        dtype = dtype if dtype != "auto" else "bfloat16" if self.device.gpu else "float32"
        where = f"{self.trial.model}: {{}} in {dtype} on a {'GPU' if self.device.gpu else 'CPU'}"
        parts = [("weights", estimate.weights), ("adapter and optimizer", estimate.adapter + estimate.optimizer)]
        if estimate.activations is None:
            told = ", ".join(f"{name} {_size(count)}" for name, count in parts)
            return (
                where.format(f"{_size(estimate.resident)} and what a step needs") + f": {told}; not known: activations"
            )
        parts += [("activations", estimate.activations), ("logits and workspace", estimate.workspace or 0)]
        told = ", ".join(f"{name} {_size(count)}" for name, count in parts)
        answers = f"{sizes.decoded_rows} answers" if sizes.decoded_rows > 1 else "an answer"
        decoding = f"decoding {answers} at a time takes {_size(estimate.decoding)}" if sizes.new_tokens else ""
        copies = f", merged weights {_size(estimate.merged)}" if estimate.merged else ""
        if decoding and estimate.cache is not None:
            decoding += f" (cache {_size(estimate.cache)}{copies})"
        rows = f"{sizes.rows} sample{'s' * (sizes.rows > 1)} of up to {sizes.length} tokens at a time"
        return where.format(_size(estimate.peak)) + f", {rows}: {told}" + (f"; {decoding}" if decoding else "")

    @property
    def note(self) -> str:
        """What does not fit as it is set, but will be cut; empty: all fits, or nothing is known of the device."""
        least = max(self.estimate.training, self.estimate.decoding - self.estimate.merged)
        if self.device.memory is None or least + CONTEXT <= self.device.memory:
            return ""
        rows = self.sizes.decoded_rows
        if self.estimate.training + CONTEXT > self.device.memory:
            return (
                f"A step of {self.trial.model} with {self.sizes.rows} samples at a time needs "
                f"{_size(self.estimate.training)} of a GPU of {_size(self.device.memory)}: it will be cut into smaller "
                "parts when memory runs out, with the same result."
            )
        return (
            f"Decoding {rows} answers of {self.trial.model} at a time may need {_size(least)} of a GPU "
            f"of {_size(self.device.memory)}. Lower generation.batch_size."
        )

    def to_dict(self) -> dict[str, Any]:
        """Bytes, for a program."""
        return {
            "task": self.trial.task,
            "model": self.trial.model,
            "gpu": self.device.gpu,
            "device_bytes": self.device.memory,
            **{name: getattr(self.sizes, name) for name in ("rows", "length", "loss_positions", "new_tokens")},
            **vars(self.estimate),
            "training": self.estimate.training,
            "decoding": self.estimate.decoding,
        }


def check_bases(plan: Plan, device: Device) -> None:
    """Raises UserError where this machine cannot load or compile a model as its trials want it."""
    distinct = {(trial.model, trial.train.model_dump_json()): trial for trial in plan.trials}
    for trial in distinct.values():
        train, half = trial.train, trial.train.dtype != "float32" and device.gpu
        stage = deepspeed_engine.stage(trial, "bfloat16" if half else "float32")
        check_base_settings(trial.model, train, stage, device.gpu)


def check_adapters(plan: Plan) -> None:
    """Raises UserError where a model cannot take the adapter of its trials, before any weight is read.

    A model that is not on this machine yet is fetched by the trial that needs it, and checked there.
    """
    distinct = {(trial.model, trial.lora.model_dump_json(), trial.trust_remote_code) for trial in plan.trials}
    for model, lora, trusted in sorted(distinct):
        if check_model(model, trusted, must_load=True).is_local:
            check_lora(model, lora, trusted)


def worker_device(resources: Resources, gpu_memory: float | None = None) -> Device:
    """The device of a worker. `gpu_memory`: GB of a GPU that is elsewhere, as its maker counts them (80 for 80 GB)."""
    if gpu_memory is not None:
        return Device(True, int(gpu_memory * 1e9))
    elsewhere = resources.address is not None
    gpus = with_gpus(resources).resources_per_worker.gpus
    if elsewhere:
        return Device(resources.resources_per_worker.GPU == "auto" or gpus > 0)
    if not gpus:
        return Device(False)
    memory = local_gpu_memory()
    return Device(True, memory and int(memory * min(1.0, gpus)))


def local_gpu_memory() -> int | None:
    """Bytes of this machine's smallest GPU, asked of the driver: torch would take a part of the GPU to tell."""
    question = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(question, capture_output=True, text=True, timeout=DRIVER_TIMEOUT_S, check=True)
        return min(int(line) for line in answer.stdout.split()) * 2**20
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def trial_memory(plan: Plan, device: Device) -> list[TrialMemory]:
    """Of each contest the trials that need most. Models that are not on this machine are left out."""
    tasks = open_tasks(plan.config)
    memory = []
    for contest in (contest for contest in plan.contests if contest.trials):
        with suppress(UserError):  # shapes alone do not tell: nothing is said, and nothing refused
            memory.append(_of_contest(plan, contest, tasks[contest.task], device))
    return [each for each in memory if each is not None]


def check_memory(memory: Sequence[TrialMemory]) -> None:
    """Raises UserError where a known GPU cannot hold a trial, however small its steps are cut."""
    for each in memory:
        # Steps of several workers, and under ZeRO-3, are not cut.
        whole = each.trial.num_workers > 1 or each.trial.deepspeed.get("zero_optimization", {}).get("stage") == 3
        least = (each.estimate if whole else each.smallest).training
        available = each.device.memory
        if available is not None and least + CONTEXT > available:
            rows = each.sizes.rows if whole else 1
            raise UserError(
                f"A trial of {each.trial.model} does not fit: with {rows} sample{'s' * (rows > 1)} of "
                f"{each.sizes.length} tokens at a time it needs {_size(least)}, beside {_size(CONTEXT)} for the GPU's "
                f"context, and a worker has {_size(available)}. {_remedy(each, whole)}"
            )


def _remedy(memory: TrialMemory, whole: bool) -> str:
    train, remedies = memory.trial.train, []
    if not train.gradient_checkpointing:
        remedies.append("train.gradient_checkpointing: true")
    sharded = memory.trial.deepspeed.get("zero_optimization", {}).get("stage") == 3
    if train.quantization == "none" and not sharded:
        remedies.append("train.quantization: nf4")
    if whole and memory.sizes.rows > 1:
        remedies.append("a higher train.gradient_accumulation_steps")
    remedies.append("a lower train.max_length")
    remedies.append("more workers" if sharded else "several workers with deepspeed.zero_optimization.stage: 3")
    return f"Set {', or '.join(remedies)}; or take a smaller model."


def _of_contest(plan: Plan, contest: Contest, task: Task, device: Device) -> TrialMemory | None:
    encoder = model_encoder(contest.model, plan.config)
    if encoder is None:
        return None
    trials = {
        (one.lora.model_dump_json(), one.train.model_dump_json()): one
        for group in contest.trials.values()
        for one in group
    }
    estimates = []
    lengths = _longest(contest, task, encoder, plan.config.instruction_variant)
    for trial in list(trials.values())[:MAX_ESTIMATES]:
        sizes = _sizes(trial, device.gpu, *lengths)
        estimate = estimate_memory(trial, sizes, device.gpu)
        one = Sizes(1, sizes.length, lengths[1])
        smallest = estimate if sizes.rows == 1 or device.memory is None else estimate_memory(trial, one, device.gpu)
        estimates.append(TrialMemory(trial, device, sizes, estimate, smallest))
    return max(estimates, key=lambda each: each.estimate.peak)


def _sizes(trial: TrialConfig, gpu: bool, length: int, positions: int, new_tokens: int) -> Sizes:
    """The sizes of a step. Positions that count differ from row to row, and all rows have those of all."""
    train = trial.train
    rows = max(1, train.train_batch_size // (trial.num_workers * train.parts))
    decoded = trial.generation.rows or (1 if gpu else CPU_ROWS)  # a GPU decodes as many as there is room for
    return Sizes(rows, length, min(length, rows * positions), new_tokens, min(decoded, trial.eval_size))


def _longest(contest: Contest, task: Task, encoder: Any, variant: int) -> tuple[int, int, int]:
    """(tokens of the longest sample, its positions that count, new tokens of a completion at most)."""
    rows = task.load("train")
    by_answer = sorted(rows, key=lambda row: -len(str(row.answer) + str(row.rationale)))[:LOOKED_AT]
    chosen = [*sorted(rows, key=lambda row: -len(row.text))[:LOOKED_AT], *by_answer]
    sketches = {design: first_sample(chosen[0], task, design, chosen, variant) for design in contest.trials}
    designs = sorted(sketches, key=lambda design: -sum(map(len, _texts(sketches[design]))))[:LONGEST_DESIGNS]
    designs += [design for design in sketches if design["input_modeling"] == "on"][:1]
    length = positions = new_tokens = 1
    generation = next(iter(contest.trials.values()))[0].generation
    for design in designs:
        samples = samples_of(chosen, task, design, variant)
        try:
            budget = completion_budget(generation.max_new_tokens, encoder, samples)
            encoded = encoder.samples(samples, budget)
        except UserError:  # it does not fit into the context: the trial says so
            continue
        length = max(length, *(len(sample.input_ids) for sample in encoded))
        positions = max(positions, *(sample.num_loss_tokens for sample in encoded))
        new_tokens = max(new_tokens, budget)
    return length, positions, new_tokens


def _texts(sample: Any) -> Iterator[str]:
    yield from (segment.text for segment in (*sample.prompt, sample.completion))


def _size(count: int) -> str:
    """`15.2 GiB`, `96 MiB`."""
    return f"{count / GIB:.1f} GiB" if count >= GIB else f"{count / 2**20:.0f} MiB"
