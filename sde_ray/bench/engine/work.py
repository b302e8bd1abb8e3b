"""The trials that every way runs: equal designs, samples, order, steps, seeds, limits; as jobs of the plain script too.

trials = make_trials(Size(designs=16, train_size=80, eval_size=40), model="tiny", seed=0)
job = make_job(trials[0], decode_batch_size=64)          what plain_script.py reads; job.data is JSON
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from sde_ray import data, metrics
from sde_ray.bench.engine.floor import Work
from sde_ray.config.trial import Generation, Lora, Train, TrialConfig
from sde_ray.design import render
from sde_ray.design.designs import NAMED
from sde_ray.design.space import design_space
from sde_ray.errors import UserError
from sde_ray.tasks.trial_task import trial_examples, trial_task
from sde_ray.types import Design, Example, Sample, Task

TASK = "masa:d1"
FIRST = ("baseline", "es-sde", "ew-sde")  # before designs that are drawn
# The settings of sweeps/quickstart.yaml; the design alone differs between trials.
TRAIN = Train(train_batch_size=4, learning_rate=6e-3, warmup_steps=0.05)
LORA = Lora()


@dataclass(frozen=True)
class Size:
    """How large the work is: designs, training samples of each, items that each answers."""

    designs: int = 16
    train_size: int = 80
    eval_size: int = 40


@dataclass(frozen=True)
class Job:
    """A trial as the plain script gets it, `data`, with the tokens of its work but for the generated ones."""

    trial: TrialConfig
    data: Mapping[str, Any] = field(repr=False)
    work: Work


def choose_designs(count: int, task_name: str = TASK) -> list[Design]:
    """Designs of a task: the named ones first, then others from its whole space, always the same.

    Raises UserError: when the space has fewer.
    """
    task = trial_task(task_name)
    space = list(design_space(task, task.has_rationales).designs)
    if count > len(space):
        raise UserError(f"--designs {count}: {task_name} has {len(space)} designs. Ask for so many at most.")
    first = [design for design in (NAMED[name] for name in FIRST) if design in space]
    others = [design for design in space if design not in first]
    random.Random(0).shuffle(others)
    return [*first, *others][:count]


def make_trials(
    size: Size, model: str, seed: int, dtype: str = "auto", train: Train = TRAIN, lora: Lora = LORA
) -> list[TrialConfig]:
    """One trial a design. Without a chat template, so that the plain script needs to know nothing of it."""
    return [
        TrialConfig(
            TASK,
            design,
            model,
            seed,
            size.train_size,
            size.eval_size,
            chat_template="off",
            lora=lora,
            train=train.model_copy(update={"dtype": dtype}),
            generation=Generation(),
        )
        for design in choose_designs(size.designs)
    ]


def make_job(trial: TrialConfig, decode_batch_size: int = 32, threads: int = 1, logging_steps: int = 10) -> Job:
    """A trial as data for the plain script: texts, order, limits and settings, as our own engine has them.

    Raises UserError: when a sample would have to be cut, which the script does not do.
    """
    from sde_ray.models import base
    from sde_ray.models.decoder import completion_budget
    from sde_ray.training.batching import batch_indices

    encoder, samples = encoder_of(trial.model), write_samples(trial)
    budget = completion_budget(None, encoder, samples)
    encoded = encoder.samples(samples, budget)
    prompts = [(item.id, _prompt(trial, item)) for item in eval_items(trial)]
    if any(row.num_truncated for row in encoded) or any(
        encoder.length(prompt) + budget > encoder.max_length for _, prompt in prompts
    ):
        raise UserError(
            f"A text of {trial.task} does not fit the {encoder.max_length} tokens of {trial.model}. "
            "Name a model with a longer context."
        )
    steps = batch_indices(len(samples), trial.train, trial.seed)
    order = [index for step in steps for index in step]
    plain = {
        "model": base.pretrained(trial.model),
        "dtype": base.resolve_dtype(trial.train.dtype),
        "seed": trial.seed,
        "threads": threads,
        "train": [_pieces(samples[index]) for index in order],
        "items": [{"id": name, "prompt": [[one.text, one.loss] for one in prompt]} for name, prompt in prompts],
        "lora": plain_lora(trial.lora),
        "training_arguments": training_arguments(trial.train, len(steps)),
        "max_new_tokens": budget,
        "decode_batch_size": decode_batch_size,
        "logging_steps": logging_steps,
    }
    work = Work(
        train_tokens=sum(len(encoded[index].input_ids) for index in order),
        loss_tokens=sum(encoded[index].num_loss_tokens for index in order),
        prompt_tokens=sum(encoder.length(prompt) for _, prompt in prompts),
    )
    return Job(trial, plain, work)


def plain_lora(lora: Lora) -> dict[str, Any]:
    """The fields of peft's `LoraConfig` that decide the same adapter."""
    modules = lora.target_modules
    targets = modules if isinstance(modules, str) else list(modules)
    return {"r": lora.r, "lora_alpha": lora.lora_alpha, "lora_dropout": lora.lora_dropout, "target_modules": targets}


def training_arguments(train: Train, total_steps: int) -> dict[str, Any]:
    """The fields of transformers' `TrainingArguments` that decide the same steps."""
    parts = train.parts
    return {
        "per_device_train_batch_size": train.train_batch_size // parts,
        "gradient_accumulation_steps": parts,
        "learning_rate": train.learning_rate,
        "lr_scheduler_type": train.lr_scheduler_type,
        "warmup_steps": train.num_warmup_steps(total_steps),
        "weight_decay": train.weight_decay,
        "max_grad_norm": train.max_grad_norm,
        "optim": train.optim,
    }


def write_samples(trial: TrialConfig) -> list[Sample]:
    """The training samples of a trial, in the order in which its examples are drawn."""
    examples = data.draw(trial_examples(trial.task, "train"), trial.train_size, trial.seed)
    return [render.render_sample(example, _task(trial), trial.design) for example in examples]


def eval_items(trial: TrialConfig) -> list[Example]:
    return data.eval_items(trial_examples(trial.task, "dev"), trial.eval_size)


def score(trial: TrialConfig, completions: Mapping[str, str]) -> float:
    """The task's objective of completions by id."""
    items, task = eval_items(trial), _task(trial)
    parsed = [render.parse_completion(completions[item.id], task, trial.design, item.text) for item in items]
    return metrics.score(task, items, parsed)[task.objective]


def _task(trial: TrialConfig) -> Task:
    return trial_task(trial.task)


def _prompt(trial: TrialConfig, item: Example) -> tuple[Any, ...]:
    return render.prompt_of(item.text, _task(trial), trial.design)


def _pieces(sample: Sample) -> dict[str, Any]:
    return {"prompt": [[one.text, one.loss] for one in sample.prompt], "completion": sample.completion.text}


@cache
def encoder_of(model: str) -> Any:
    from sde_ray.models import base
    from sde_ray.models.tokenization import Encoder

    longest = _max_positions(model)
    return Encoder(base.load_tokenizer(model), min(TRAIN.max_length, longest), "off")


def _max_positions(model: str) -> int:
    """The longest sequence of a model, as `base.load_base` reads it."""
    from transformers import AutoConfig

    from sde_ray.models import base

    with base.explained(model, "model"):
        config = AutoConfig.from_pretrained(**base.pretrained(model)).get_text_config()
    return int(getattr(config, "max_position_embeddings", None) or 10**6)


def total_work(jobs: Sequence[Job], new_tokens: int) -> Work:
    """The tokens of several jobs, with what they generated together."""
    return sum((job.work for job in jobs), Work(new_tokens=new_tokens))
