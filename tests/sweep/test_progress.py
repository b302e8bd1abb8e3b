"""What a person sees of a running sweep."""

from __future__ import annotations

import io

from rich.console import Console

from sde_ray.config.trial import TrialConfig
from sde_ray.design.designs import make_design
from sde_ray.sweep.progress import Progress
from sde_ray.types import TrialResult


def result(key: str, **options: str) -> TrialResult:
    return TrialResult(key, {"design": dict(make_design(**options).options)}, "finished")


def test_a_second_round_counts_from_nothing() -> None:
    shown = io.StringIO()
    progress = Progress(Console(file=shown, width=200))
    progress.begin(2, [])
    progress.ended(result("a"), 0.9)
    progress.ended(result("b", format="lines"), 0.8)
    progress.finish()
    progress.begin(4, [(result("c", format="json"), 0.3)])
    progress.ended(result("d"), 0.2)
    progress.finish()
    lines = shown.getvalue().splitlines()
    assert [line.split("]")[0] for line in lines if line.startswith("[")] == ["[1/2", "[2/2", "[2/4"]
    assert progress.best is not None and progress.best[0] == 0.3


def test_trials_that_were_stopped_early_count_by_their_share() -> None:
    shown = io.StringIO()
    progress = Progress(Console(file=shown, width=200))
    progress.begin(2, [(result("c"), 0.3)], lambda one: 0.25)
    progress.ended(result("a"), 0.9)
    assert progress.line().startswith("0.5/2 done")
    progress.begin(2, [(result("c"), 0.3)])
    assert progress.line().startswith("1/2 done"), "without a cost every trial counts as one"
    assert "Resuming: 0.25 of 2 trials" in shown.getvalue()


def test_trials_that_go_on_from_a_rung_are_told() -> None:
    shown = io.StringIO()
    progress = Progress(Console(file=shown, width=200))
    progress.begin(4, [(result("c"), 0.3)], in_flight=1)
    progress.begin(4, [], in_flight=2)
    progress.begin(4, [])
    lines = shown.getvalue().splitlines()
    assert lines[0] == "Resuming: 1 of 4 trials are in the ledger, 1 goes on from its checkpoint."
    assert lines[1] == "Resuming: 0 of 4 trials are in the ledger, 2 go on from their checkpoints."
    assert len(lines) == 2


def failed(key: str, error: str) -> TrialResult:
    return TrialResult(key, {"design": dict(make_design().options)}, "failed", error=error)


def test_one_kind_of_failure_is_one_line_with_its_count() -> None:
    shown = io.StringIO()
    progress = Progress(Console(file=shown, width=200))
    progress.begin(5, [])
    for n in range(3):
        progress.ended(failed(f"a{n}", "CUDA out of memory\nmore of it"), None)
    progress.ended(failed("b", "no such file"), None)
    progress.finish()
    text = shown.getvalue()
    assert text.count("CUDA out of memory") == 2, "when it is met first, and at the end with its count"
    assert "failed alike (3 now)" in text and "3 trials failed alike: CUDA out of memory" in text
    assert text.count("no such file") == 1 and "1 trials" not in text


def test_before_the_first_trial_it_says_what_it_waits_for() -> None:
    shown = io.StringIO()
    progress = Progress(Console(file=shown, width=200))
    progress.begin(9, [])
    progress.wait("Starting Ray and a worker with the model")
    assert progress.line() == "Starting Ray and a worker with the model ..." == shown.getvalue().strip()
    config = TrialConfig("masa:d1", make_design(), "tiny", 0, 10, 5)
    progress.started(config)
    assert progress.line() == "0/9 done · 1 running"
