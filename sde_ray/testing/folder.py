"""The contract of a run's folder, local or remote: what one machine uploads another one downloads, to the byte."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from sde_ray.config.trial import TrialConfig
from sde_ray.design.designs import make_design
from sde_ray.storage.layout import LEDGER
from sde_ray.storage.ledger import Ledger
from sde_ray.storage.mirror import LocalFolder
from sde_ray.types import TrialResult


def finished(seed: int) -> TrialResult:
    """A finished trial of `masa:d1` with a made score."""
    config = TrialConfig("masa:d1", make_design(), "tiny", seed, 40, 20)
    return TrialResult(config.key, config.resolved(), "finished", {"dev": {"weighted_kappa": 0.5}})


class FolderContract(ABC):
    """What holds for every folder of a run. A subclass opens one below `tmp_path`."""

    @abstractmethod
    def open(self, tmp_path: Path) -> LocalFolder:
        """The folder as this machine has it; each call gives one that knows nothing of the others."""

    def elsewhere(self, tmp_path: Path) -> AbstractContextManager[object]:
        """Within it, `open` is what another machine would open. One folder for both: nothing to do."""
        return nullcontext()

    def test_what_was_uploaded_is_on_another_machine(self, tmp_path: Path) -> None:
        folder = self.open(tmp_path)
        folder.folder.mkdir(parents=True, exist_ok=True)
        (folder.folder / "sweep.yaml").write_text("name: x\n", encoding="utf-8")
        (folder.folder / "strategy.yaml").write_bytes("名: 1\r\n".encode())
        assert folder.upload(folder.folder / "sweep.yaml", folder.folder / "strategy.yaml")
        with self.elsewhere(tmp_path):
            other = self.open(tmp_path)
            other.download()
            assert (other.folder / "sweep.yaml").read_text(encoding="utf-8") == "name: x\n"
            assert (other.folder / "strategy.yaml").read_bytes() == "名: 1\r\n".encode()

    def test_a_download_of_nothing_leaves_nothing(self, tmp_path: Path) -> None:
        folder = self.open(tmp_path)
        folder.download()
        assert [path for path in folder.folder.rglob("*") if path.is_file()] == []

    def test_a_driver_s_results_are_on_another_machine(self, tmp_path: Path) -> None:
        folder, results = self.open(tmp_path), [finished(0), finished(1)]
        folder.folder.mkdir(parents=True, exist_ok=True)
        with folder.open_ledger(lambda: None) as ledger:
            for result in results:
                ledger.append(result)
        with self.elsewhere(tmp_path):
            other = self.open(tmp_path)
            other.download()
            assert list(Ledger(other.folder / LEDGER).results()) == [result.key for result in results]

    def test_a_second_driver_adds_to_the_first_one_s_results(self, tmp_path: Path) -> None:
        for seed in range(2):
            with self.elsewhere(tmp_path) if seed else nullcontext():
                folder = self.open(tmp_path)
                folder.folder.mkdir(parents=True, exist_ok=True)
                with folder.open_ledger(lambda: None) as ledger:
                    ledger.append(finished(seed))
        folder = self.open(tmp_path)
        folder.download()
        assert set(Ledger(folder.folder / LEDGER).results()) == {finished(0).key, finished(1).key}

    def test_a_trial_s_files_and_its_report_are_on_another_machine(self, tmp_path: Path) -> None:
        folder, result = self.open(tmp_path), finished(0)
        trial = folder.folder / "trials" / result.key
        folder.start_trial(trial)
        trial.mkdir(parents=True, exist_ok=True)
        (trial / "predictions.jsonl").write_text('{"id": "1"}\n', encoding="utf-8")
        report = folder.upload_trial(trial, result, True)
        assert not report or json.loads(report)["unsent"] == ""
        with self.elsewhere(tmp_path):
            other = self.open(tmp_path)
            there = other.folder / "trials" / result.key
            other.download_trial(there)
            assert (there / "predictions.jsonl").read_text(encoding="utf-8") == '{"id": "1"}\n'

    def test_dropped_files_are_gone_everywhere_and_others_stay(self, tmp_path: Path) -> None:
        folder, result = self.open(tmp_path), finished(0)
        trial = folder.folder / "trials" / result.key
        trial.mkdir(parents=True)
        for name in ("checkpoint.json", "predictions.jsonl"):
            (trial / name).write_text("{}\n", encoding="utf-8")
        folder.upload_trial(trial, result, True)
        folder.delete(trial, "checkpoint*")
        with self.elsewhere(tmp_path):
            other = self.open(tmp_path)
            there = other.folder / "trials" / result.key
            other.download_trial(there)
            assert [path.name for path in there.iterdir()] == ["predictions.jsonl"]

    def test_a_file_that_is_being_written_survives_a_download(self, tmp_path: Path) -> None:
        folder = self.open(tmp_path)
        folder.folder.mkdir(parents=True, exist_ok=True)
        file = folder.folder / "cache.jsonl"
        file.write_text("one\n", encoding="utf-8")
        folder.upload(file)
        folder.mark_dirty(file)
        file.write_text("one\ntwo\n", encoding="utf-8")
        folder.download()
        assert file.read_text(encoding="utf-8") == "one\ntwo\n"

    def test_another_process_finds_a_trial_s_folder_by_its_place(self, tmp_path: Path) -> None:
        assert self.open(tmp_path).trial("abc").endswith("/trials/abc")
