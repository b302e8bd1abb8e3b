"""A disk that is full or can only be read, for real: a file system of the test's own, which no other process sees."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml
from helpers.fake_runner import Fakes
from helpers.nodes import own_namespace

from sde_ray.config.load import load_config
from sde_ray.errors import UserError
from sde_ray.storage.ledger import Ledger
from sde_ray.sweep.plan import plan
from sde_ray.types import TrialResult

pytestmark = [pytest.mark.cluster, pytest.mark.faults]

# Each line of the script is a step; `try NAME COMMAND` keeps its output, its status and a copy of the disk as NAME.
STEPS = """
set -eu
mkdir -p "$DISK"
mount -t tmpfs -o size="$SIZE" tmpfs "$DISK"
try() {
    name=$1; shift
    code=0
    "$@" >> "$KEPT/$name.log" 2>&1 || code=$?
    echo "$code" > "$KEPT/$name.code"
    cp -R "$DISK" "$KEPT/$name"
}
"""
READ = "import sys; from sde_ray.storage.ledger import Ledger; print(*Ledger(sys.argv[1]).results())"


class Disk:
    """A small file system with a sweep on it."""

    def __init__(self, folder: Path, size: str) -> None:
        self.folder, self.size, self.disk, self.kept = folder, size, folder / "disk", folder / "kept"
        self.kept.mkdir()
        self.sweep, self.calls = folder / "study.yaml", folder / "calls.jsonl"
        given = {"task": "masa:d1", "search": {"method": "one_at_a_time"}, "train_sizes": 40, "eval_size": 20}
        given |= {"storage_path": str(self.disk), "resources": {"max_concurrent_trials": 1}}
        given |= {"mlflow": {"enabled": False}}
        self.sweep.write_text(yaml.safe_dump(given))
        self.trials = {trial.key: trial for trial in plan(load_config(self.sweep)).trials}

    def run(self, *steps: str) -> None:
        """The steps one after another; `$RUN` is the driver's command."""
        env = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        env |= {"DISK": str(self.disk), "KEPT": str(self.kept), "SIZE": self.size}
        env |= {"FAKE_CALLS": str(self.calls), "FAKE_GO": str(self.folder / "go")}
        env |= {"RUN": f"{sys.executable} -m helpers.fake_driver run {self.sweep}", "RAY_worker_niceness": "0"}
        command = [*own_namespace(), "sh", "-c", STEPS + "\n".join(steps)]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=400, cwd=self.folder)
        assert done.returncode == 0, done.stderr

    def ended(self, name: str) -> tuple[int, str]:
        """A step's exit code, and what the user saw."""
        return int((self.kept / f"{name}.code").read_text()), (self.kept / f"{name}.log").read_text()

    def ledger(self, name: str) -> Ledger:
        """As it was after a step."""
        return Ledger(self.kept / name / "study" / "ledger.jsonl")

    def assert_whole(self, name: str) -> None:
        finished = Counter(entry.key for entry in self.ledger(name).entries() if entry.status == "finished")
        assert finished == Counter(self.trials.keys()), "every trial of the plan is finished exactly once"


@pytest.mark.long
def test_a_disk_that_fills_up_ends_the_sweep_with_a_message_and_keeps_what_was_written(tmp_path: Path) -> None:
    disk = Disk(tmp_path, size="4m")
    disk.run(
        'FAKE_HOLD=3 $RUN > "$KEPT/filled.log" 2>&1 & driver=$!',
        'until [ "$(cat "$FAKE_CALLS" 2> /dev/null | wc -l)" -ge 3 ]; do kill -0 $driver; sleep 0.1; done',
        'cat /dev/zero > "$DISK/others" 2> /dev/null || true',  # someone else's files, in the middle of the sweep
        'touch "$FAKE_GO"',
        "try filled wait $driver",
        'rm "$DISK/others"',
        "try again $RUN",
    )
    code, said = disk.ended("filled")
    assert code == 2, said
    assert "No space left on device" in said or "The disk is full" in said, said
    assert "Traceback" not in said
    kept = [entry for entry in disk.ledger("filled").entries() if entry.status == "finished"]
    assert len(kept) == 2, said
    assert not disk.ledger("filled").path.with_name("ledger.jsonl.torn").exists()
    assert disk.ended("again")[0] == 0, disk.ended("again")[1]
    assert f"complete: {len(disk.trials)}" in disk.ended("again")[1]
    disk.assert_whole("again")
    before, after = disk.ledger("filled").path.read_bytes(), disk.ledger("again").path.read_bytes()
    assert after.startswith(before)
    begun = Counter(str(call["key"]) for call in Fakes(disk.calls).begun())
    assert {begun[entry.key] for entry in kept} == {1}, "what is finished does not run again"


def test_a_disk_that_is_full_from_the_start_is_told_before_anything_runs(tmp_path: Path) -> None:
    disk = Disk(tmp_path, size="64k")
    disk.run('head -c 1000000 /dev/zero > "$DISK/others" 2> /dev/null || true', "try full $RUN")
    code, said = disk.ended("full")
    assert code == 2 and f'Cannot write to "{disk.disk / "study"}": No space left on device' in said, said
    assert "Traceback" not in said and Fakes(disk.calls).begun() == []


def test_storage_that_can_only_be_read_is_told_and_can_still_be_read(tmp_path: Path) -> None:
    disk = Disk(tmp_path, size="4m")
    first, second = list(disk.trials.values())[:2]
    scores = {"dev": {"weighted_kappa": 0.5}}
    for trial in (first, second):
        Ledger(tmp_path / "before" / "ledger.jsonl").append(
            TrialResult(trial.key, trial.resolved(), "finished", scores)
        )
    before = (tmp_path / "before" / "ledger.jsonl").read_bytes()
    disk.run(
        'cp -R before "$DISK/study"',
        'mount -o remount,ro "$DISK"',
        "try refused $RUN",
        f'try read {sys.executable} -c "{READ}" "$DISK/study/ledger.jsonl"',
    )
    code, said = disk.ended("refused")
    assert code == 2 and f'Cannot write to "{disk.disk / "study"}": Read-only file system' in said, said
    assert "Traceback" not in said and Fakes(disk.calls).begun() == []
    assert disk.ledger("refused").path.read_bytes() == before
    assert disk.ended("read") == (0, f"{first.key} {second.key}\n")


def test_a_file_that_may_not_grow_refuses_the_line_and_keeps_the_others(tmp_path: Path) -> None:
    """What a quota or a limit of the shell does, on any machine: the kernel writes part of the line, then refuses."""
    trial = next(iter(Disk(tmp_path, "0").trials.values()))
    ledger, result = Ledger(tmp_path / "ledger.jsonl"), TrialResult(trial.key, trial.resolved(), "finished")
    ledger.append(result)
    before = ledger.path.read_bytes()
    code = "import resource, sys; from pathlib import Path; from sde_ray.storage.ledger import Ledger\n"
    code += "ledger = Ledger(Path(sys.argv[1])); (result,) = ledger.results().values()\n"
    code += "limit = ledger.path.stat().st_size + 100; resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))\n"
    code += "ledger.append(result)"
    done = subprocess.run([sys.executable, "-c", code, str(ledger.path)], capture_output=True, text=True)
    assert f'UserError: Cannot write "{ledger.path}": File too large' in done.stderr, done.stderr
    assert ledger.path.read_bytes() == before, "no part of the refused line stays"
    ledger.append(result)
    assert len(ledger.entries()) == 2


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    from sde_ray.storage.lease import lease

    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=r'Cannot write to ".*file/x": Not a directory'), lease(tmp_path / "file" / "x"):
        pass
