"""Pack: the process of several trials that share one frozen base, each on a seat of its own.

    pack = Pack(cpus=4)                                 a Ray actor with a thread for each seat, or in this process
    pack.call(0, "start_trial", config, samples)        what `Worker` can, for the trial on seat 0
    pack.call(0, "train", 100)                          its steps are taken together with those of whoever trains now

A seat is a `Worker` whose base is a copy of the modules on the pack's own weights, so that nothing of a trial (adapter,
hooks, a merge) is seen by another. Trials whose base and precision agree train together, step by step; one that comes,
ends, decodes or fails changes nothing for the others. A trial that cannot be packed (see `may_be_packed`, or with
another kind of adapter) trains on its seat by turns. One whose base is another waits until the others have ended.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sde_ray.config.trial import TrialConfig
from sde_ray.training.runner import WorkerDiedError
from sde_ray.training.turns import Turns
from sde_ray.training.worker import Worker, base_identity, load_base_of

# Devices on which trials decode in common batches, each adapter beside the layers: where a pass costs about the same
# for many rows as for few. On a CPU one after another is faster, each with its adapter merged.
TOGETHER = ("cuda",)
STARTS = ("start_trial", "start_plain", "count_tokens")  # what needs the base of its trial


class Pack:
    """The seats of one process, and the base that they share.

    `gpus`: the ids of its GPUs; none: it computes on the CPU. None: what the process sees, as inside of somebody's own.
    """

    def __init__(self, cpus: float = 1.0, gpus: Sequence[str] | None = None) -> None:
        if gpus is not None:
            os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(gpus)  # before the first look at them
        self._cpus = cpus
        self._turns = Turns()
        self._seats: dict[int, Seat] = {}
        self._seating = threading.Lock()
        self._starts: list[int] = []  # seats whose trial is to start, in the order in which they have asked
        self._training: list[_Request] = []
        self._decoding: list[_Decoding] = []
        self._base: Any = None
        self._base_for: tuple[Any, ...] = ()
        self._joint: Any = None

    def call(self, seat: int, method: str, *arguments: Any) -> Any:
        """Call a method of the worker on a seat, which is made when it is first named."""
        worker = self._seat(seat)
        if method == "train":
            return self._train(worker, *arguments)
        if method == "generate" and worker.decodes_together:
            return self._generate(worker, *arguments)
        if method not in STARTS:
            with self._turns.turn(), worker.streams.active():
                return getattr(worker, method)(*arguments)
        self._starts.append(seat)
        with self._turns.turn(lambda: self._may_start(seat, arguments[0])), worker.streams.active():
            self._starts.remove(seat)
            return getattr(worker, method)(*arguments)

    def _seat(self, number: int) -> Seat:
        """A seat; without a turn, so that who trains or decodes with others need not wait for them first."""
        with self._seating:
            if number not in self._seats:
                self._seats[number] = Seat(self, self._cpus)
            return self._seats[number]

    def leave(self, seat: int) -> None:
        """Give a seat up, whatever its trial is doing."""
        for request in list(self._training):
            if request.worker is self._seats.get(seat):
                request.error = WorkerDiedError("The trial has left its seat.")
        with self._turns.turn():
            worker = self._seats.pop(seat, None)
            if worker is not None:
                with worker.streams.active():
                    worker.end_trial()

    def ready(self) -> bool:
        """Answers at once, also while others compute."""
        return True

    def _may_start(self, seat: int, config: TrialConfig) -> bool:
        """Whether it is this seat's turn, and no other trial has another base."""
        others = (one for number, one in list(self._seats.items()) if number != seat and one.has_trial)
        return self._starts[0] == seat and (_identity(config) == self._base_for or not any(others))

    def base(self, config: TrialConfig) -> Any:
        """The shared base of a trial that may start."""
        from sde_ray.models.joint_model import JointModel
        from sde_ray.models.lora_group import UngroupedError

        if self._base_for != _identity(config):
            self._base = self._joint = None
            self._base_for = ()
            self._base = load_base_of(config, _dtype(config))
            try:
                self._joint = JointModel(self._base.model)
            except UngroupedError:
                self._joint = None  # all its trials take turns
            self._base_for = _identity(config)
        return self._base

    @property
    def joint(self) -> Any:
        """The base as it trains several trials at once; None: it cannot."""
        return self._joint

    def _train(self, worker: Seat, until: int, seconds: float = math.inf) -> list[float]:
        """Train up to step `until`, or for so long; see `Worker.train`."""
        request = _Request(worker.trainer, worker, until, time.perf_counter() + seconds, len(worker.trainer.losses))
        self._training.append(request)
        try:
            while not request.done:
                with self._turns.turn():
                    if not request.done:
                        self._step()
        finally:
            self._training.remove(request)
        if request.error is not None:
            raise request.error
        return list(worker.trainer.losses[request.first :])

    def _generate(self, worker: Seat, *arguments: Any) -> tuple[list[str], int]:
        """Decode in one batch with whoever decodes now; see `Worker.generate`."""
        request = _Decoding(worker, arguments)
        self._decoding.append(request)
        while request.answer is None and request.error is None:
            with self._turns.turn():
                if request.answer is None and request.error is None:
                    self._decode()
        if request.error is not None:
            raise request.error
        assert request.answer is not None
        return request.answer

    def _decode(self) -> None:
        """The completions of every trial that decodes now; of one alone with its adapter merged."""
        from sde_ray.models.joint_decoding import generate_together

        waiting = [self._decoding.pop(0) for _ in range(len(self._decoding))]
        if len(waiting) > 1:
            try:
                answers = generate_together(self._joint, [one.worker.to_decode(*one.arguments) for one in waiting])
            except Exception:
                answers = []  # each by itself, which tells whose fault it is
            for one, answer in zip(waiting, answers, strict=False):
                one.answer = answer
        for one in waiting:
            if one.answer is None:
                one.decode_alone()

    def _step(self) -> None:
        """One step of every trial that trains now."""
        from sde_ray.training.packed_training import PackedTrainer, packed_step

        waiting = [request for request in list(self._training) if not request.done]
        together = [one for one in waiting if isinstance(one.trainer, PackedTrainer)]
        if together:
            for request, outcome in zip(together, packed_step(self._joint, [r.trainer for r in together]), strict=True):
                request.error = outcome if isinstance(outcome, Exception) else None
        for request in waiting:
            if request not in together:
                request.step_alone()


@dataclass(eq=False)
class _Request:
    """A trial that trains: to which step, until when (of this process' clock), and the number of steps before."""

    trainer: Any
    worker: Seat
    until: int
    deadline: float
    first: int
    error: Exception | None = None

    @property
    def done(self) -> bool:
        """At least one step is taken, but where there is none left."""
        losses = self.trainer.losses
        if self.error is not None or len(losses) >= min(self.until, len(self.trainer.steps)):
            return True
        return len(losses) > self.first and (time.perf_counter() >= self.deadline or not math.isfinite(losses[-1]))

    def step_alone(self) -> None:
        try:
            with self.worker.streams.active():
                self.trainer.run(len(self.trainer.losses) + 1)
        except Exception as error:
            self.error = error


@dataclass(eq=False)
class _Decoding:
    """A trial that decodes."""

    worker: Seat
    arguments: tuple[Any, ...]
    answer: tuple[list[str], int] | None = None
    error: Exception | None = None

    def decode_alone(self) -> None:
        try:
            with self.worker.streams.active():
                self.answer = self.worker.generate(*self.arguments)
        except Exception as error:
            self.error = error


class Seat(Worker):
    """A worker on the pack's base, with random generators of its own."""

    def __init__(self, pack: Pack, cpus: float) -> None:
        from sde_ray.training.random_state import RandomStreams

        super().__init__(0, 1, cpus)
        self._pack = pack
        self.streams = RandomStreams()

    @property
    def has_trial(self) -> bool:
        return self._loaded is not None

    @property
    def trainer(self) -> Any:
        return self._trainer

    @property
    def decodes_together(self) -> bool:
        """Whether its adapter may be in one batch with others: a packed trial, on a model with plain attention."""
        from sde_ray.models.kv_cache import is_plain_attention, make_kv_cache
        from sde_ray.training.packed_training import PackedTrainer

        if not isinstance(self._trainer, PackedTrainer) or self._trainer.device.type not in TOGETHER:
            return False
        return self._config.generation.backend == "builtin" and is_plain_attention(make_kv_cache(self._loaded.model, 0))

    def to_decode(self, prompts: Any, ends: Sequence[Any] = ()) -> Any:
        """What `generate` with these arguments asks for."""
        from sde_ray.models.joint_decoding import JointRequest

        return JointRequest(self._decoder, self._trainer.adapter, prompts, self._max_new_tokens, ends)

    def end_trial(self) -> float:
        peak = super().end_trial()
        if self._pack.joint is not None:
            self._pack.joint.forget()
        self._loaded = None  # the copy of the modules; the weights are the pack's
        return peak

    def _load(self, config: TrialConfig, dtype: str) -> None:
        from sde_ray.models.joint_model import shared_copy

        base = self._pack.base(config)
        self._loaded = replace(base, model=shared_copy(base.model))

    def _make_trainer(self, peft_model: Any, samples: Any, config: TrialConfig, **options: Any) -> Any:
        from sde_ray.models.lora_group import Adapter, UngroupedError
        from sde_ray.training.packed_training import PackedTrainer, may_be_packed

        joint = self._pack.joint
        if joint is not None and may_be_packed(config, options["dtype"]):
            try:
                adapter = Adapter.of(peft_model)
                joint.check(adapter)
                return PackedTrainer(adapter, peft_model, samples, config, **options)
            except UngroupedError:
                pass  # it trains by turns
        self._join_alone()
        return super()._make_trainer(peft_model, samples, config, **options)

    def _join_alone(self) -> None:
        """DeepSpeed's process group, for a trial that needs it; one for all seats."""
        from torch import distributed

        if not distributed.is_initialized():
            self.join(*self.address())


def _dtype(config: TrialConfig) -> str:
    from sde_ray.models import base

    return base.resolve_dtype(config.train.dtype)


def _identity(config: TrialConfig) -> tuple[Any, ...]:
    return base_identity(config, _dtype(config))
