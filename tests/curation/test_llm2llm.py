"""LLM2LLM: rounds, their accounts, and what a right, a wrong, a repeating and a refusing teacher come to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers import fake_teacher as teachers
from helpers.fake_teacher import FakeTeacher, Write, fake_teacher
from helpers.run_trial import run_trial

from sde_ray.config.curation import Augment, Curation
from sde_ray.config.trial import Generation, Train, TrialConfig
from sde_ray.curation.augment import teacher as teacher_module
from sde_ray.curation.augment.llm2llm import is_right, llm2llm
from sde_ray.data import draw
from sde_ray.design.designs import make_design
from sde_ray.safe_json import read_json
from sde_ray.tasks import get_task
from sde_ray.training.batching import batch_indices
from sde_ray.training.curation import methods_of
from sde_ray.training.preparation import Preparation
from sde_ray.training.runner import RunnerResources
from sde_ray.training.trial_runner import TrialRunner
from sde_ray.training.worker_group import WorkerGroup
from sde_ray.types import Example, Fault, Parsed, TrialResult

TRAIN = Train(learning_rate=6e-3, train_batch_size=4)
MASA = get_task("masa:d1")


def trial(option: str = "llm2llm", size: int = 8, seed: int = 1, eval_size: int = 2, **settings: Any) -> TrialConfig:
    design = make_design(augment=option)
    config = TrialConfig("masa:d1", design, "tiny", seed, size, eval_size, train=TRAIN)
    return replace(config, curation=Curation(augment=Augment(**settings)))


def even(example: Example, number: int) -> bool:
    """Whether the example is one of about half of all."""
    return len(example.text) % 2 == 0


class Student(Preparation):
    """A student that is wrong where `fails(example, round)` says so; it needs no model."""

    def __init__(self, config: TrialConfig, folder: Path, fails: Callable[[Example, int], bool]) -> None:
        drawn = draw(MASA.load("train"), config.train_size, config.seed)
        super().__init__(config, folder, None, drawn, methods_of(config))  # type: ignore[arg-type]
        self.fails, self.fitted, self.asked = fails, [], 0

    def fit(self, samples: Sequence[Any], steps: int | None = None) -> list[float]:
        self.fitted.append([sample.id for sample in samples] if steps != 0 else [])
        return []

    def answer(self, examples: Sequence[Example]) -> list[Parsed]:
        self.asked += 1
        number = self.asked - 1
        wrong = Parsed({}, (Fault("empty"),))
        return [wrong if self.fails(one, number) else Parsed(one.answer) for one in examples]


def rounds_of(
    folder: Path,
    write: Write,
    fails: Callable[[Example, int], bool] = even,
    **settings: Any,
) -> tuple[dict[str, Any], Student, FakeTeacher]:
    config = trial(**settings)
    student, teacher = Student(config, folder, fails), fake_teacher(config, write)
    return llm2llm(student.drawn, config.curation.augment, student, teacher), student, teacher


def check_accounts(audit: dict[str, Any]) -> None:
    """Every answer, every request and every wrong seed is in one class."""
    for one in audit["rounds"]:
        assert one["answered"] == one["right"] + one["wrong_written"] + one["wrong_seeds"]
        assert one["requests"] == one["kept"] + sum(one["dropped"].values())
        assert one["wrong_seeds"] == one["kept"] + one["given_up"]
        assert one["kept"] <= one["wrong_seeds"]
    assert len(audit["written"]) == sum(one["kept"] for one in audit["rounds"])


# ---- rounds, without a model -----------------------------------------------------------------------------------------


def test_each_round_trains_on_all_before_it_and_asks_about_wrong_seeds_only(tmp_path: Path) -> None:
    """Also where a written example is wrong: none has a written parent, so errors do not breed."""
    audit, student, teacher = rounds_of(tmp_path, teachers.right, rounds=3)
    seeds = [one.id for one in student.drawn]
    wrong = [one.id for one in student.drawn if even(one, 0)]
    assert 0 < len(wrong) < len(seeds)
    check_accounts(audit)
    assert audit["ended"] == "rounds" and [one["kept"] for one in audit["rounds"]] == [len(wrong)] * 3
    assert audit["rounds"][1]["wrong_written"] > 0
    assert [row["parent"] for row in audit["written"]] == wrong * 3
    trained = [ids for ids in student.fitted if ids]
    written = [row["id"] for row in audit["written"]]
    assert trained == [seeds + written[: number * len(wrong)] for number in range(3)]
    assert len({*seeds, *written}) == len(seeds) + len(written)
    texts = {one.text for one in student.drawn}
    assert {
        teacher_prompt.partition("\n\nText: ")[2].partition("\nAnswer:")[0] for teacher_prompt in teacher.prompts
    } <= texts


def test_nothing_wrong_ends_it_and_changes_nothing(tmp_path: Path) -> None:
    audit, student, teacher = rounds_of(tmp_path, teachers.right, lambda one, number: False)
    check_accounts(audit)
    assert (audit["ended"], audit["written"], teacher.prompts) == ("nothing_wrong", [], [])
    assert len(audit["rounds"]) == 1 and len([ids for ids in student.fitted if ids]) == 1


def test_it_ends_in_the_round_in_which_nothing_is_wrong(tmp_path: Path) -> None:
    audit, *_ = rounds_of(tmp_path, teachers.right, lambda one, number: number == 0 and even(one, 0), rounds=5)
    check_accounts(audit)
    assert audit["ended"] == "nothing_wrong" and [one["kept"] > 0 for one in audit["rounds"]] == [True, False]


@pytest.mark.parametrize(
    ("write", "reason"),
    [(teachers.refusing, "unreadable"), (teachers.repeating, "near_copy")],
    ids=["refuses", "repeats"],
)
def test_a_teacher_that_refuses_or_repeats_is_counted_and_changes_nothing(
    write: Write, reason: str, tmp_path: Path
) -> None:
    audit, *_ = rounds_of(tmp_path, write, attempts=3)
    check_accounts(audit)
    (one,) = audit["rounds"]
    assert audit["ended"] == "nothing_new" and audit["written"] == []
    assert one["dropped"] == {reason: 3 * one["wrong_seeds"]}


def test_the_same_example_for_all_seeds_is_kept_once(tmp_path: Path) -> None:
    def same(seed: str, teacher: FakeTeacher) -> str:
        return teachers.write_example(teacher.unused[0], teacher.task)

    audit, *_ = rounds_of(tmp_path, same, attempts=1, rounds=1)
    check_accounts(audit)
    (one,) = audit["rounds"]
    assert one["kept"] == 1 and one["dropped"] == {"near_copy": one["wrong_seeds"] - 1}


def test_a_second_attempt_asks_only_for_what_is_missing(tmp_path: Path) -> None:
    def second(seed: str, teacher: FakeTeacher) -> str:
        first_time = seed not in asked
        asked.add(seed)
        return "no" if first_time and len(asked) % 2 else teachers.right(seed, teacher)

    asked: set[str] = set()
    audit, *_ = rounds_of(tmp_path, second, rounds=1, attempts=2)
    check_accounts(audit)
    (one,) = audit["rounds"]
    assert one["kept"] == one["wrong_seeds"] and one["requests"] == one["wrong_seeds"] + one["dropped"]["unreadable"]


def test_a_round_that_the_budget_cannot_ask_once_for_each_is_not_begun(tmp_path: Path) -> None:
    endpoint = {"teacher": "http://127.0.0.1:9/v1", "teacher_model": "m"}
    wrong = rounds_of(tmp_path / "all", teachers.right, rounds=1)[0]["rounds"][0]["wrong_seeds"]
    audit, *_ = rounds_of(tmp_path / "few", teachers.right, rounds=5, max_requests=2 * wrong + 1, **endpoint)
    check_accounts(audit)
    assert audit["ended"] == "budget" and [one["kept"] for one in audit["rounds"]] == [wrong, wrong, 0]
    refused, *_ = rounds_of(
        tmp_path / "no", teachers.refusing, rounds=1, attempts=9, max_requests=2 * wrong + 1, **endpoint
    )
    check_accounts(refused)
    assert refused["rounds"][0]["requests"] == 2 * wrong + 1  # the last attempt is for one seed only


def test_a_round_that_is_done_is_not_done_again(tmp_path: Path) -> None:
    """As after a kill: the trial runs again in its folder, and the third round begins with the first two's examples."""

    def until_third(seed: str, teacher: FakeTeacher) -> str:
        if len(teacher.prompts) > 16:
            raise ConnectionError("the teacher is gone")
        return teachers.right(seed, teacher)

    with pytest.raises(ConnectionError):
        rounds_of(tmp_path / "cut", until_third, lambda one, number: True, rounds=3)
    config = trial(rounds=3)
    student, teacher = Student(config, tmp_path / "cut", lambda one, number: True), fake_teacher(config, teachers.right)
    del teacher.unused[-16:]  # those that the first one has given
    audit = llm2llm(student.drawn, config.curation.augment, student, teacher)
    whole, *_ = rounds_of(tmp_path / "whole", teachers.right, lambda one, number: True, rounds=3)
    assert audit == whole and len(teacher.prompts) == 8


def test_right_is_golds_answer_in_the_asked_form() -> None:
    example = next(one for one in MASA.load("train") if len(one.answer) > 1)
    slot = next(iter(example.answer))
    assert is_right(MASA, example, Parsed(example.answer))
    assert not is_right(MASA, example, Parsed({}))
    assert not is_right(MASA, example, Parsed({**example.answer, slot: ("other",)}))
    assert not is_right(MASA, example, Parsed(example.answer, (Fault("syntax"),)))
    qa = get_task("qa")
    asked = Example("q", "who?", {"answer": ("Ada Lovelace",)}, aliases={"answer": ("Countess of Lovelace",)})
    for answer, right in (("the ada lovelace", True), ("Countess of Lovelace", True), ("Ada", False)):
        assert is_right(qa, asked, Parsed({qa.slots[0]: (answer,)})) == right
    ner = get_task("nested_ner")
    spans = Example("s", "a b", {ner.slots[0]: ("a", "b")})
    assert is_right(ner, spans, Parsed({ner.slots[0]: ("b", "a")}))
    assert not is_right(ner, spans, Parsed({ner.slots[0]: ("b",)}))


# ---- steps, plan -----------------------------------------------------------------------------------------------------


def test_equal_steps_are_those_of_the_plain_trial_and_equal_samples_see_each_as_often() -> None:
    plain = batch_indices(8, TRAIN, 1)
    samples: list[Any] = [None] * 20
    given = batch_indices(20, TRAIN, 1)
    (method,) = methods_of(trial(equal="steps"))
    steps = method.steps(given, samples)
    assert list(map(len, steps)) == list(map(len, plain)) and max(max(step) for step in steps) > 7
    assert method.steps(plain, samples[:8]) is plain
    (method,) = methods_of(trial(equal="samples"))
    assert method.steps(given, samples) is given


# ---- whole trials ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def runner() -> Iterator[TrialRunner]:
    one = TrialRunner(WorkerGroup(RunnerResources(), in_process=True))
    yield one
    one.close()


def taught(
    runner: TrialRunner, config: TrialConfig, write: Write, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> TrialResult:
    teacher = fake_teacher(config, write)
    monkeypatch.setattr(teacher_module, "open_teacher", lambda settings, preparation: teacher)
    return run_trial(runner, config, folder)


def test_a_trial_with_a_useless_teacher_is_the_plain_trial_to_the_digit(
    runner: TrialRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = Generation(max_new_tokens=4)
    plain = run_trial(runner, replace(trial("none"), generation=short), tmp_path / "plain")
    config = replace(trial(attempts=1), generation=short)
    refused = taught(runner, config, teachers.refusing, tmp_path / "refused", monkeypatch)
    assert plain.status == refused.status == "finished", plain.error + refused.error
    assert refused.losses == plain.losses and refused.scores == plain.scores
    assert refused.curation["augment/requests"] == refused.curation["augment/dropped_unreadable"] == 8
    audit = read_json((tmp_path / "refused" / "curation" / "augment.json").read_text())
    check_accounts({**audit, "written": []})
    assert audit["ended"] == "nothing_new" and audit["written"] == 0


def test_the_base_is_its_own_teacher_without_its_adapter(runner: TrialRunner, tmp_path: Path) -> None:
    """Its replies do not depend on what the student has learned, and another attempt gives another reply."""
    config = replace(trial(size=4, attempts=2, max_new_tokens=6), generation=Generation(max_new_tokens=4))
    result = run_trial(runner, config, tmp_path / "trial")
    assert result.status == "finished", result.error
    (one,) = read_json((tmp_path / "trial" / "curation" / "augment.json").read_text())["rounds"]
    assert one["requests"] == 8 and sum(one["dropped"].values()) == 8
    assert 0 < result.curation["augment/teacher_tokens"] <= 8 * 6
