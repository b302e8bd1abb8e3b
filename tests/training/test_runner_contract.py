"""One contract for every runner: the real one on a tiny random model, and the fake one of the tests of sweeps."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.fake_runner import FakeRunner, Fakes
from helpers.one_worker import runner_on

from sde_ray.config.trial import Generation, Train, TrialConfig
from sde_ray.design.designs import make_design
from sde_ray.testing import RunnerContract
from sde_ray.training.runner import RunnerResources
from sde_ray.training.trial_runner import TrialRunner
from sde_ray.training.worker import Worker


class TestFake(RunnerContract):
    def build(self, folder: Path) -> FakeRunner:
        return Fakes(folder / "calls.jsonl")(RunnerResources())


class TestReal(RunnerContract):
    """On a CPU, so that repetition is exact."""

    @pytest.fixture(autouse=True)
    def _resident(self, worker: Worker, tiny_llama: Path) -> None:
        self.worker, self.model = worker, str(tiny_llama)

    def build(self, folder: Path) -> TrialRunner:
        return runner_on(self.worker)

    def trial(self) -> TrialConfig:
        train = Train(learning_rate=1e-2, train_batch_size=4, max_length=2048)
        generation = Generation(batch_size=4, max_new_tokens=8)
        return TrialConfig(
            "masa:d1", make_design(), self.model, 1, 8, 2, train=train, generation=generation, rungs=(0.5, 1.0)
        )
