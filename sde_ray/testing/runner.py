"""The contract of a runner: scores at every rung, repeatable, usable after a failure, resumed after a cut-off."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from pathlib import Path

from sde_ray.config.trial import TrialConfig
from sde_ray.design.designs import make_design
from sde_ray.training.runner import Runner
from sde_ray.types import TrialResult


class RunnerContract(ABC):
    """What holds for every `Runner`. A subclass builds one, and may give a trial that suits it better."""

    @abstractmethod
    def build(self, folder: Path) -> Runner:
        """A runner for one worker that knows nothing of earlier ones; `folder` is for whatever it has to keep."""

    def trial(self) -> TrialConfig:
        """A small trial of two rungs."""
        return TrialConfig("masa:d1", make_design(), "tiny", 0, 40, 20, rungs=(0.5, 1.0))

    def run(self, runner: Runner, config: TrialConfig, folder: Path) -> TrialResult:
        """A whole trial, from its start or from what its folder has."""
        folder.mkdir(parents=True, exist_ok=True)
        resumed = runner.start(config, folder)
        for index in range(len(resumed.rungs), len(config.rungs)):
            runner.train_rung(index)
        return runner.finish()

    def test_a_trial_in_an_empty_folder_starts_without_results(self, tmp_path: Path) -> None:
        runner = self.build(tmp_path)
        (tmp_path / "trial").mkdir()
        resumed = runner.start(self.trial(), tmp_path / "trial")
        assert resumed.rungs == () and resumed.note == ""
        runner.finish("failed", "not needed")
        runner.close()

    def test_every_rung_is_scored_after_its_share_of_the_training(self, tmp_path: Path) -> None:
        config, runner = self.trial(), self.build(tmp_path)
        result = self.run(runner, config, tmp_path / "trial")
        runner.close()
        assert [rung.rung for rung in result.rungs] == list(range(len(config.rungs)))
        assert [rung.examples for rung in result.rungs] == sorted(rung.examples for rung in result.rungs)
        assert all(set(config.splits) <= set(rung.scores) for rung in result.rungs)
        assert result.rungs[-1].examples == config.train_size and result.scores == result.rungs[-1].scores

    def test_the_result_names_its_trial(self, tmp_path: Path) -> None:
        config, runner = self.trial(), self.build(tmp_path)
        result = self.run(runner, config, tmp_path / "trial")
        runner.close()
        assert (result.key, result.status, result.error) == (config.key, "finished", "")
        assert dict(result.config) == config.resolved()

    def test_the_same_trial_gives_the_same_scores_whatever_ran_before(self, tmp_path: Path) -> None:
        config, runner = self.trial(), self.build(tmp_path)
        first = self.run(runner, config, tmp_path / "1")
        self.run(runner, replace(config, seed=config.seed + 1), tmp_path / "2")
        again = self.run(runner, config, tmp_path / "3")
        runner.close()
        assert again.scores == first.scores and again.losses == first.losses

    def test_it_can_be_used_after_a_failed_trial(self, tmp_path: Path) -> None:
        config, runner = self.trial(), self.build(tmp_path)
        (tmp_path / "1").mkdir()
        runner.start(config, tmp_path / "1")
        failed = runner.finish("failed", "planted")
        assert (failed.key, failed.status, failed.error) == (config.key, "failed", "planted")
        assert self.run(runner, config, tmp_path / "2").status == "finished"
        runner.close()

    def test_a_trial_that_was_cut_off_resumes_from_its_last_rung(self, tmp_path: Path) -> None:
        config, runner = self.trial(), self.build(tmp_path)
        whole = self.run(runner, config, tmp_path / "whole")
        (tmp_path / "cut").mkdir()
        runner.start(config, tmp_path / "cut")
        first = runner.train_rung(0)
        runner = self.build(tmp_path)  # the process of the first one is gone; the folder is what is left
        resumed = runner.start(config, tmp_path / "cut")
        assert resumed.rungs == (first,)
        runner.train_rung(1)
        result = runner.finish()
        runner.close()
        assert result.scores == whole.scores and result.rungs == whole.rungs
