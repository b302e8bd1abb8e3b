"""Whether a trial whose process has died is started again: preemption is no failure, a death of its own is one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import ActorDiedError, ActorUnavailableError, OutOfMemoryError, RayActorError, RayTaskError

from sde_ray.sweep import failure_policy
from sde_ray.sweep.failure_policy import FailurePolicy, is_preemption
from sde_ray.sweep.tune_patches import as_actor_error
from sde_ray.training import nodes
from sde_ray.training.runner import WorkerDiedError

TAKEN = ActorUnavailableError("no answer", None)
CRASH = RayActorError(error_msg="the process died")


class Trial:
    """One of Tune's trials, with the progress of its checkpoint."""

    def __init__(self) -> None:
        self.trial_id, self.progress = "t1", (0, 0)


@pytest.fixture
def trial() -> Trial:
    return Trial()


@pytest.fixture
def policy() -> FailurePolicy:
    return FailurePolicy(lambda trial: trial.progress)


def die(policy: FailurePolicy, trial: Trial, error: Exception, times: int = 1) -> list[bool]:
    """Whether it is started again, after each of so many deaths."""
    answers = []
    for _ in range(times):
        policy.on_death(trial, error)
        answers.append(policy.should_recover(trial))
    return answers


def test_a_crash_is_started_again_once(policy: FailurePolicy, trial: Trial) -> None:
    assert die(policy, trial, CRASH, 2) == [True, False]
    assert policy.reason(trial) == "It died 2 times without a new checkpoint between."


def test_memory_that_runs_out_is_a_crash(policy: FailurePolicy, trial: Trial) -> None:
    assert die(policy, trial, as_actor_error(OutOfMemoryError("too much")), 2) == [True, False]


def test_preemptions_never_count_where_there_is_progress(policy: FailurePolicy, trial: Trial) -> None:
    for step in range(50):
        trial.progress = (0, step)
        assert die(policy, trial, TAKEN) == [True]
    assert die(policy, trial, CRASH) == [True], "nor do they count as failures"


def test_a_trial_that_takes_its_nodes_down_fails(policy: FailurePolicy, trial: Trial) -> None:
    answers = die(policy, trial, TAKEN, failure_policy.MAX_PREEMPTIONS + 1)
    assert answers == [True] * failure_policy.MAX_PREEMPTIONS + [False]
    assert "lost its node 5 times without a new checkpoint between" in policy.reason(trial)
    assert "resources.checkpoint_interval_s" in policy.reason(trial)


def test_a_crash_counts_from_the_last_progress(policy: FailurePolicy, trial: Trial) -> None:
    assert die(policy, trial, CRASH) == [True]
    trial.progress = (1, 10)
    assert die(policy, trial, CRASH) == [True], "it came further"
    assert die(policy, trial, CRASH) == [False]


def test_another_trial_has_a_count_of_its_own(policy: FailurePolicy, trial: Trial) -> None:
    other = Trial()
    other.trial_id = "t2"
    assert die(policy, trial, CRASH) == die(policy, other, CRASH) == [True]


# ---- what is a preemption --------------------------------------------------------------------------------------------


def task_error(cause: Exception) -> RayTaskError:
    return RayTaskError("step", "text", cause)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (TAKEN, True),
        (RayActorError(preempted=True), True),
        (task_error(WorkerDiedError("gone", preempted=True)), True),
        (task_error(WorkerDiedError("gone")), False),
        (task_error(ValueError("a defect")), False),
        (ValueError("a defect"), False),
        (None, False),
    ],
)
def test_what_ray_says_of_an_end(error: Exception | None, expected: bool) -> None:
    assert is_preemption(error) is expected


class Cluster:
    """Ray's view of the nodes, look by look: which live, and which are draining."""

    def __init__(
        self, patch: pytest.MonkeyPatch, alive: list[set[str]], draining: set[str], here: str = "here"
    ) -> None:
        self.alive, self.slept = alive, 0.0
        patch.setattr("ray.nodes", self.nodes)
        patch.setattr(nodes, "draining_nodes", lambda: frozenset(draining))
        patch.setattr(nodes, "node_id", lambda: here)
        patch.setattr(nodes, "_node_of", lambda actor_id: "there")
        patch.setattr(nodes, "time", SimpleNamespace(monotonic=lambda: self.slept, sleep=self.sleep))

    def nodes(self) -> list[dict[str, Any]]:
        alive = self.alive.pop(0) if len(self.alive) > 1 else self.alive[0]
        return [{"NodeID": name, "Alive": name in alive} for name in ("here", "there")]

    def sleep(self, seconds: float) -> None:
        self.slept += seconds


@pytest.mark.parametrize(
    ("alive", "draining", "here", "expected", "waits"),
    [
        ([{"here"}], set(), "here", True, False),
        ([{"here", "there"}], {"there"}, "here", True, False),
        ([{"here", "there"}, {"here", "there"}, {"here"}], set(), "here", True, True),
        ([{"here", "there"}], set(), "here", False, True),
        ([{"here", "there"}], set(), "there", False, False),
        ([{"here", "there"}], {"there"}, "there", True, False),
    ],
    ids=["gone", "draining", "goes soon after", "lives", "lives, and is this one", "is this one, and draining"],
)
def test_a_process_dies_with_its_node_or_alone(
    alive: list[set[str]],
    draining: set[str],
    here: str,
    expected: bool,
    waits: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cluster = Cluster(monkeypatch, alive, draining, here)
    assert nodes.was_preempted(ActorDiedError()) is expected
    assert (cluster.slept > 0) is waits
    assert cluster.slept < nodes.NODE_DEATH_TIMEOUT_S + 1


def test_where_ray_does_not_tell_of_nodes_a_death_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked is no public interface: without Ray, as without it, there is no answer."""
    assert nodes.draining_nodes() == frozenset()
    assert nodes.was_preempted(RayActorError(actor_id="ff" * 16)) is False
