"""Federated trainer: in each round every client trains the common adapter on its samples, then they are averaged.

    common adapter ─▶ client 0: some steps ─▶ adapter 0 ─┐
                  └─▶ client 1: some steps ─▶ adapter 1 ─┴─ mean by number of samples ─▶ common adapter

One engine trains the clients one after another: between two of them the adapter, the optimizer's state, the learning
rate and the random generator are exchanged. Of several workers each trains clients of its own, number `rank`, `rank` +
workers, ..., with an engine that shares nothing; between them travel adapters and losses only, and all take the mean in
the same order, so that it is the same to the digit on any number of workers. All clients have the trial's seed, so that
one client with `carried` is the plain trial to the digit, and alike clients are as one.

A step of the trial is one step of every client. A round is never cut: training stops, and is saved, between rounds.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import torch
from peft import PeftModel
from torch import distributed

from sde_ray.config.trial import TrialConfig
from sde_ray.errors import UserError
from sde_ray.models.tokenization import TokenizedSample
from sde_ray.training import batching, engine_state
from sde_ray.training.trainer import Trainer

Tensors = list[torch.Tensor]  # of the adapter: what the optimizer works on, in its order
OptimizerState = list[dict[str, Any]]  # one entry a tensor


@dataclass
class _Client:
    """A client: its steps (indices of its samples), and what is its own from round to round."""

    steps: list[batching.Step]
    size: int
    random: list[torch.Tensor]
    optimizer: OptimizerState = field(default_factory=list)


class FederatedTrainer(Trainer):
    """Trainer in rounds of clients; arguments as of `Trainer`, and those of the axis `federated`.

    Args:
        clients: the indices of each client's samples.
        rounds: how many times the adapters are averaged.
        weighted: average by the clients' numbers of samples, else plainly.
        carried: a client goes on with the optimizer of its last round, else each round has a new one.
        exchange: whether adapters travel; a client alone sends none.
    """

    def __init__(
        self,
        peft_model: PeftModel,
        samples: Sequence[TokenizedSample],
        config: TrialConfig,
        *,
        clients: Sequence[Sequence[int]],
        rounds: int,
        weighted: bool = True,
        carried: bool = False,
        exchange: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(peft_model, samples, config, apart=True, **options)
        self._weighted, self._carried, self._exchange = weighted, carried, exchange
        self._gaps: list[float] = []
        count = len(self.steps)
        if count < rounds:
            raise UserError(f"federated: {rounds} rounds need as many optimiser steps, and the trial has {count}.")
        self._ends = [round((number + 1) * count / rounds) for number in range(rounds)]
        self._new_optimizer = self._optimizer_state()
        self._clients = [self._client(indices) for indices in clients]

    def run(self, until: int, seconds: float = math.inf) -> list[float]:
        """Train whole rounds, up to step number `until` at least; returns the new losses, means over the clients.

        Of several workers the first one returns the losses, the others 0, as the parts of them are summed up.
        """
        first, deadline = len(self.losses), time.perf_counter() + seconds
        self.engine.train()
        while len(self.losses) < min(until, len(self.steps)):
            losses = self._round()
            self.losses += losses if self.rank == 0 else [0.0] * len(losses)
            late = self.config.num_workers == 1 and time.perf_counter() >= deadline
            if late or not all(map(math.isfinite, losses)):
                break
        self.engine.eval()
        return self.losses[first:]

    # ---- rounds ----------------------------------------------------------------------------------------------------

    def _round(self) -> list[float]:
        first = len(self.losses)
        until = next(end for end in self._ends if end > first)
        common = self._weights()
        schedule, rates = deepcopy(self.engine.lr_scheduler.state_dict()), self._rates()
        adapters: list[Tensors] = []
        losses = torch.zeros(len(self._clients), until - first, dtype=torch.float64, device=self.device)
        for number, client in enumerate(self._clients):
            if not self._is_mine(number):
                adapters.append([torch.empty_like(weight) for weight in common])
                continue
            self._set_weights(common)
            self.engine.lr_scheduler.load_state_dict(deepcopy(schedule))
            self._set_rates(rates)
            losses[number] = torch.tensor(self._train(client, first, until), dtype=torch.float64)
            adapters.append(self._weights())
        self._share_with_workers(adapters, losses)
        shares = [client.size if self._weighted else 1 for client in self._clients]
        if self._exchange:
            self._gaps.append(self._gap(adapters, shares))
        self._set_weights(_mean(adapters, shares))
        self._count(until)
        weights = torch.tensor(shares, dtype=torch.float64, device=self.device)
        means: list[float] = ((losses * weights[:, None]).sum(0) / weights.sum()).tolist()
        return means

    def _is_mine(self, number: int) -> bool:
        """Whether this worker trains the client; one that has none does the same as another, so as to have a state."""
        return number % self.config.num_workers == self.rank or self.rank % len(self._clients) == number

    def _share_with_workers(self, adapters: list[Tensors], losses: torch.Tensor) -> None:
        """Take over what the other workers' clients have trained."""
        workers = self.config.num_workers
        if workers == 1:
            return
        for number, adapter in enumerate(adapters):
            for tensor in (*adapter, losses[number]):
                distributed.broadcast(tensor, src=number % workers)

    def _train(self, client: _Client, first: int, until: int) -> list[float]:
        """The client's losses in these steps, after which the engine holds its adapter."""
        self._set_optimizer_state(client.optimizer if self._carried and client.optimizer else self._new_optimizer)
        _set_random(client.random)
        losses = []
        for number in range(first, until):
            for method in self.methods:
                method.before_step(self, number)
            losses.append(self._step(client.steps[number]).item())
        client.random = _random()
        if self._carried:
            client.optimizer = self._optimizer_state()
        return losses

    def _client(self, indices: Sequence[int]) -> _Client:
        """A client that sees as many samples as the plain trial, so that all take the same steps."""
        seen = sum(map(len, self.steps))
        steps = batching.batch_indices(len(indices), self.config.train, self.config.seed, seen)
        assert len(steps) == len(self.steps), f"{len(steps)} steps of a client, {len(self.steps)} of the trial"
        return _Client([tuple(indices[n] for n in step) for step in steps], len(indices), _random())

    # ---- what is counted -------------------------------------------------------------------------------------------

    def _count(self, done: int) -> None:
        """Count what has travelled, as between clients and a server, and the gap of the averages."""
        if not self._exchange:
            return
        rounds = self._ends.index(done) + 1
        trained = [weight for weight in self.peft_model.parameters() if weight.requires_grad]
        size = sum(weight.numel() for weight in trained) * engine_state.masters(self)[0].element_size()
        self.counts |= {
            "federated/rounds": rounds,
            "federated/adapter_bytes": size,
            "federated/bytes": 2 * rounds * len(self._clients) * size,
            "federated/gap": self._gaps[-1],
            "federated/largest_gap": max(self._gaps),
        }

    def _gap(self, adapters: list[Tensors], shares: list[int]) -> float:
        """|mean(BA) - mean(B) mean(A)| / |mean(BA)|, Frobenius norms over all layers; 0 where the clients agree.

        The difference is the mean of (B - mean(B)) (A - mean(A)), and both are products of thin matrices, whose norm
        needs no matrix of a layer's size: |UV|^2 = <U'U, VV'>.
        """
        clients = [self._layers(adapter) for adapter in adapters]
        total, difference, whole = sum(shares), 0.0, 0.0
        for name in clients[0]:
            roots = [math.sqrt(share / total) for share in shares]
            left, right = (torch.stack([client[name][side] for client in clients]) for side in (0, 1))
            scale = torch.tensor(roots, dtype=torch.float64, device=left.device)[:, None, None]
            whole += _product_norm(left * scale, right * scale)
            means = [(matrices * scale**2).sum(0) for matrices in (left, right)]
            difference += _product_norm((left - means[0]) * scale, (right - means[1]) * scale)
        return math.sqrt(max(0.0, difference) / whole) if whole > 0 else 0.0

    def _layers(self, adapter: Tensors) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
        """B [out, r] and A [r, in] of every layer of a client's adapter."""
        self._set_weights(adapter)
        trained = {name: weight for name, weight in self.peft_model.named_parameters() if weight.requires_grad}
        pairs = {name: (trained.get(name.replace(".lora_A.", ".lora_B.")), weight) for name, weight in trained.items()}
        return {
            name: (left.detach().double(), right.detach().double())
            for name, (left, right) in pairs.items()
            if ".lora_A." in name and left is not None and left.dim() == right.dim() == 2
        }

    # ---- the engine's contents -------------------------------------------------------------------------------------

    def _weights(self) -> Tensors:
        """A copy of the adapter."""
        return [master.detach().clone() for master in engine_state.masters(self)]

    def _set_weights(self, weights: Tensors) -> None:
        """Put an adapter into the engine; what the model computes with in half precision follows it."""
        from deepspeed.utils import safe_get_full_fp32_param

        with torch.no_grad():
            for master, weight in zip(engine_state.masters(self), weights, strict=True):
                master.copy_(weight)
            for parameter in self.peft_model.parameters():
                whole = safe_get_full_fp32_param(parameter) if parameter.requires_grad else None
                if whole is not None:
                    parameter.copy_(whole)

    def _optimizer_state(self) -> OptimizerState:
        """A copy of the optimizer's state."""
        state = self.engine.basic_optimizer.state
        return [deepcopy(dict(state.get(master, {}))) for master in engine_state.masters(self)]

    def _set_optimizer_state(self, states: OptimizerState) -> None:
        present = self.engine.basic_optimizer.state
        for master, state in zip(engine_state.masters(self), states, strict=True):
            present.pop(master, None)
            if state:
                present[master] = deepcopy(state)

    def _rates(self) -> list[Any]:
        return [group["lr"] for group in self.engine.basic_optimizer.param_groups]

    def _set_rates(self, rates: list[Any]) -> None:
        for group, rate in zip(self.engine.basic_optimizer.param_groups, rates, strict=True):
            group["lr"] = rate

    # ---- checkpoints -----------------------------------------------------------------------------------------------

    def more_state(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        tensors: dict[str, torch.Tensor] = {}
        for number, client in enumerate(self._clients):
            tensors |= {f"client.{number}.random.{n}": state for n, state in enumerate(client.random)}
            for place, state in enumerate(client.optimizer):
                tensors |= {f"client.{number}.optimizer.{place}.{name}": value for name, value in state.items()}
        return tensors, {"gaps": self._gaps}

    def restore_more(self, tensors: dict[str, torch.Tensor], values: dict[str, Any]) -> None:
        masters = engine_state.masters(self)
        for number, client in enumerate(self._clients):
            client.random = [tensors[f"client.{number}.random.{n}"] for n in range(len(client.random))]
            client.optimizer = [
                _under(tensors, f"client.{number}.optimizer.{place}.", master.device)
                for place, master in enumerate(masters)
            ]
            client.optimizer = client.optimizer if any(client.optimizer) else []
        self._gaps = list(values["gaps"])
        if self.losses:
            self._count(len(self.losses))


def _mean(adapters: list[Tensors], shares: list[int]) -> Tensors:
    """The weighted mean of adapters, tensor by tensor. In double precision the mean of equal ones is that very one."""
    sums = [
        sum(weight.double() * share for weight, share in zip(column, shares, strict=True))
        for column in zip(*adapters, strict=True)
    ]
    return [total / sum(shares) for total in sums]


def _product_norm(left: torch.Tensor, right: torch.Tensor) -> float:
    """|sum of left[k] right[k]|^2, of [clients, out, r] and [clients, r, in]."""
    columns, rows = torch.cat(list(left), dim=1), torch.cat(list(right), dim=0)
    return float(((columns.T @ columns) * (rows @ rows.T)).sum())


def _under(tensors: dict[str, torch.Tensor], prefix: str, device: torch.device) -> dict[str, Any]:
    return {
        name.removeprefix(prefix): tensor.to(device, copy=True)
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }


def _random() -> list[torch.Tensor]:
    """The state of torch's generators."""
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state()] if torch.cuda.is_available() else [])]


def _set_random(states: list[torch.Tensor]) -> None:
    torch.set_rng_state(states[0])
    if len(states) > 1:
        torch.cuda.set_rng_state(states[1])
