"""Federated averaging: clients that train on samples of their own and share adapters only.

    central      the plain trial: all samples in one place
    federated    in each round every client trains the common adapter on its samples; then the adapters are averaged
    local        one client alone, in as many steps: number seed % clients, so that the mean over as many seeds as
                 clients is the mean over clients
    2            client number 2 alone
    pooled       one client that has all samples, in the same rounds: what a new optimizer each round does by itself

Each client takes the steps of the plain trial, so one that has a third of the samples sees each three times. The
samples are split by `clients.py`, the rounds are `training/federated_trainer.py`: with several workers
(`resources.num_workers`) clients train at the same time. FedAvg is as in FederatedScope-LLM
(2309.00363): by number of samples, A and B each by themselves, with a new optimizer each round.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from sde_ray.curation.clients import Client, assign, check_field
from sde_ray.data import draw
from sde_ray.errors import UserError
from sde_ray.tasks.trial_task import trial_examples, trial_task
from sde_ray.training.curation import Method
from sde_ray.types import Example, Sample

if TYPE_CHECKING:
    from sde_ray.models.tokenization import TokenizedSample
    from sde_ray.training.batching import Step
    from sde_ray.training.preparation import Preparation
    from sde_ray.training.trainer import Trainer


class Federated(Method):
    """Rounds of clients, or one client alone; `value` is "federated", "local", "pooled" or a client's number.

    `prepared` has each client's samples by their index; of a client alone only its own.
    """

    _seen: Sequence[Example] = ()

    def faults(self) -> Iterable[str]:
        config, settings = self.config, self.settings
        if isinstance(self.value, int) and self.value >= settings.clients:
            yield (
                f"federated={self.value} is no client: curation.federated.clients is {settings.clients}, so they are 0 "
                f"to {settings.clients - 1}."
            )
        yield from self._budget_faults()
        if self.value == "federated" and config.num_workers > settings.clients:
            yield (
                f"federated trains a client on one worker, and resources.num_workers is {config.num_workers} for "
                f"{settings.clients} clients. Set it to {settings.clients} at most."
            )
        if config.deepspeed.get("zero_optimization", {}).get("stage") == 3:
            yield (
                "federated trains each client on one worker, which ZeRO stage 3 leaves no whole model. Set "
                "deepspeed.zero_optimization.stage to 2 at most."
            )
        task = trial_task(config.task, config.definition)
        no_field = check_field(task, settings.split)
        yield from [f"curation.federated.{no_field}"] if no_field else []
        if not no_field:
            yield from self._split_faults()

    def _budget_faults(self) -> Iterable[str]:
        """Whether the trial has steps for all rounds."""
        train, settings = self.config.train, self.settings
        seen = max(1, round(self.config.train_size * train.num_train_epochs))
        steps, wanted = -(-seen // train.train_batch_size), settings.rounds * (settings.local_steps or 1)
        if wanted > steps:
            each = f" of {settings.local_steps} steps" if settings.local_steps else ""
            yield (
                f"federated: {settings.rounds} rounds{each} need {wanted} optimiser steps at least, and a trial of "
                f"{self.config.train_size} samples has {steps}. Lower curation.federated.rounds"
                f"{' or local_steps' if each else ''}, or set train.num_train_epochs or train_sizes higher."
            )

    def _split_faults(self) -> Iterable[str]:
        """Whether every client gets a sample, of those that the trial draws."""
        pool = trial_examples(self.config.task, "train", self.config.definition)
        if self.config.train_size <= len(pool):
            try:
                self._clients(draw(pool, self.config.train_size, self.config.seed))
            except UserError as error:
                yield str(error)

    def _clients(self, examples: Sequence[Example]) -> list[Client]:
        task = trial_task(self.config.task, self.config.definition)
        settings = self.settings
        return assign(examples, task, clients=settings.clients, split=settings.split, seed=self.config.seed)

    def examples(self, examples: Sequence[Example], preparation: Preparation) -> Sequence[Example]:
        self._seen = examples
        return examples

    def samples(self, samples: Sequence[Sample], preparation: Preparation) -> Sequence[Sample]:
        if self.value == "pooled":
            self.prepared = [list(range(len(samples)))]
            return samples
        by_id = {example.id: example for example in self._seen}
        foreign = Example("", "", {})  # a sample that another method has added: without label
        clients = self._clients([by_id.get(sample.id, foreign) for sample in samples])
        sizes = [len(client) for client in clients]
        ids = [[samples[index].id for index in client] for client in clients]
        preparation.write("clients.json", json.dumps({"sizes": sizes, "samples": ids}, indent=1, ensure_ascii=False))
        preparation.count("clients", len(clients))
        preparation.count("smallest_client", min(sizes))
        preparation.count("largest_client", max(sizes))
        if self.value == "federated":
            self.prepared = [list(client) for client in clients]
            return samples
        number = self.config.seed % len(clients) if self.value == "local" else self.value
        preparation.count("client", number)
        self.prepared = [list(range(sizes[number]))]
        return [samples[index] for index in clients[number]]

    def steps(self, steps: list[Step], samples: Sequence[TokenizedSample]) -> list[Step]:
        """As many as each client takes; which samples are in them the trainer decides for each client."""
        from sde_ray.training.batching import batch_indices

        train, local_steps = self.config.train, self.settings.local_steps
        if self.value != "federated":  # a client alone has less samples, and takes as many steps
            total = max(1, round(self.config.train_size * train.num_train_epochs))
            steps = batch_indices(len(samples), train, self.config.seed, total)
        return steps[: self.settings.rounds * local_steps] if local_steps else steps

    def trainer(self, *arguments: Any, **options: Any) -> Trainer:
        from sde_ray.training.federated_trainer import FederatedTrainer

        return FederatedTrainer(
            *arguments,
            clients=[tuple(client) for client in self.prepared],
            rounds=self.settings.rounds,
            weighted=self.settings.aggregate == "weighted",
            carried=self.settings.optimizer_state == "carried",
            exchange=self.value == "federated",
            **options,
        )
