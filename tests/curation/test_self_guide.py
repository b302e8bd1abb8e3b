"""SELF-GUIDE: texts, answers, filters and balance, with every drop counted, and what teachers come to."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from helpers.run_trial import run_trial
from hypothesis import given
from hypothesis import strategies as st

from sde_ray.config.curation import Augment, Curation
from sde_ray.config.trial import Generation, Train, TrialConfig
from sde_ray.curation.augment.self_guide import (
    ask_for,
    balanced,
    first_answer,
    first_text,
    self_consistent,
    self_guide,
    text_faults,
)
from sde_ray.curation.augment.teacher import Prompt
from sde_ray.curation.augment.written import ANSWER, write_example
from sde_ray.data import draw
from sde_ray.design.designs import make_design
from sde_ray.safe_json import read_json
from sde_ray.tasks import get_task
from sde_ray.training.curation import methods_of
from sde_ray.training.preparation import Preparation
from sde_ray.training.runner import RunnerResources
from sde_ray.training.trial_runner import TrialRunner
from sde_ray.training.worker_group import WorkerGroup
from sde_ray.types import Example

MASA = get_task("masa:d1")
AFTER_ANSWERS = (
    "inconsistent",
    "unreadable",
    "faulty_answer",
    "no_text",
    "too_long",
    "no_reply",
)  # no text is dropped so
TEXTS = st.lists(st.sampled_from(["", "soup", "soup!", "Sure! soup", "tea is here", "a" * 50, "nice"]), max_size=12)


class Base(Preparation):
    """A trial's preparation whose base need not be there."""

    def fit(self, samples: Sequence[Any], steps: int | None = None) -> list[float]:
        assert steps == 0  # nothing is trained before the trial itself
        return []


@dataclass
class Author:
    """A teacher that writes texts of the train split which no trial has drawn, and answers them as `answers` says."""

    examples: dict[str, Example]
    answers: str = "right"
    texts: list[str] = field(default_factory=list)
    random: random.Random = field(default_factory=lambda: random.Random(0))

    def answer(self, prompts: Sequence[Prompt], max_new_tokens: int, temperature: float, seed: int) -> list[str]:
        return [self._answer(prompt[-1].text) for prompt in prompts]

    def _answer(self, end: str) -> str:
        if self.answers == "refuses":
            return "I cannot help with that."
        if not end.endswith(ANSWER):
            return f" {self.texts[0] if self.answers == 'repeats' else self.texts.pop()}\n{ANSWER} {{}}\n\nText: more"
        if self.answers == "dice":
            return str(self.random.random())
        example = self.examples[end.removeprefix("Text: ").partition(f"\n{ANSWER}")[0]]
        return write_example(example, MASA).partition(f"\n{ANSWER} ")[2]


def guided(folder: Path, answers: str = "right", **settings: Any) -> tuple[dict[str, Any], list[Example]]:
    config = TrialConfig("masa:d1", make_design(augment="self_guide"), "tiny", 1, 20, 2, train=Train())
    config = replace(config, curation=Curation(augment=Augment(**{"texts": 20, "outputs": 4, "rounds": 2, **settings})))
    train = MASA.load("train")
    drawn = draw(train, 20, 1)
    known = {one.text for one in drawn}
    rest = {one.text: one for one in train if one.text not in known}
    preparation = Base(config, folder, None, drawn, methods_of(config))  # type: ignore[arg-type]
    author = Author(rest, answers, list(rest))
    return self_guide(drawn, config.curation.augment, preparation, author), drawn


def check_accounts(audit: dict[str, Any]) -> None:
    for one in audit["rounds"]:
        assert one["texts"] == one["kept"] + sum(one["dropped"].values())
    assert len(audit["written"]) + audit["cut"] == sum(one["kept"] for one in audit["rounds"])


def test_a_right_author_gives_new_right_balanced_examples(tmp_path: Path) -> None:
    audit, drawn = guided(tmp_path)
    check_accounts(audit)
    assert audit["ended"] == "rounds" and len(audit["written"]) > 5
    gold = {one.text: one for one in MASA.load("train")}
    for row in audit["written"]:
        assert {slot: tuple(values) for slot, values in row["answer"].items()} == gold[row["text"]].answer
    texts = [row["text"] for row in audit["written"]]
    assert len(set(texts)) == len(texts) and not {one.text for one in drawn} & set(texts)
    classes = Counter(row["class"] for row in audit["written"])
    for slot in MASA.slots:
        assert len({size for name, size in classes.items() if name.startswith(f"{slot}=")}) <= 1
    assert audit == guided(tmp_path)[0] == guided(tmp_path / "again")[0]


@pytest.mark.parametrize(
    ("answers", "reason", "each"),
    [("refuses", "noise", 0), ("repeats", "duplicate", 1), ("dice", "inconsistent", 0)],
)
def test_a_useless_teacher_is_counted(answers: str, reason: str, each: int, tmp_path: Path) -> None:
    audit, _ = guided(tmp_path, answers)
    check_accounts(audit)
    assert len(audit["written"]) <= each
    dropped: Counter[str] = sum((Counter(one["dropped"]) for one in audit["rounds"]), Counter())
    assert sum(dropped.values()) >= 40 - each and (dropped[reason] or dropped["length"]) > 0
    assert set(dropped) <= {reason, "length"}


def test_a_round_that_the_budget_does_not_cover_is_not_begun(tmp_path: Path) -> None:
    endpoint = {"teacher": "http://127.0.0.1:9/v1", "teacher_model": "m"}
    audit, _ = guided(tmp_path, max_requests=150, **endpoint)
    check_accounts(audit)
    assert audit["ended"] == "budget" and len(audit["rounds"]) == 1 and audit["rounds"][0]["requests"] <= 100


def test_slots_and_labels_are_drawn_uniformly() -> None:
    choose = random.Random(0)
    asked = Counter((one.slot, one.label) for one in (ask_for(MASA, choose) for _ in range(4800)))
    assert len(asked) == sum(len(MASA.labels_of(slot)) + 1 for slot in MASA.slots)
    assert max(asked.values()) < 1.5 * min(asked.values())
    assert ask_for(get_task("nested_ner"), choose).slot == ""


@pytest.mark.slow
def test_a_trial_whose_base_is_its_own_teacher_counts_every_text_and_answer(tiny_llama: Path, tmp_path: Path) -> None:
    """Real generation: a random base writes texts of about the right length, and answers that no reader can read."""
    plain = TrialConfig("masa:d1", make_design(), str(tiny_llama), 1, 8, 2, train=Train(train_batch_size=4))
    plain = replace(plain, generation=Generation(max_new_tokens=4))
    settings = Augment(texts=12, outputs=3, rounds=2, max_new_tokens=70)
    config = replace(plain, design=make_design(augment="self_guide"), curation=Curation(augment=settings))
    runner = TrialRunner(WorkerGroup(RunnerResources(), in_process=True))
    done, result = (run_trial(runner, one, tmp_path / one.key) for one in (plain, config))
    runner.close()
    assert done.status == result.status == "finished", done.error + result.error
    audit = read_json((tmp_path / config.key / "curation" / "augment.json").read_text())
    counted = {name.partition("/")[2]: int(number) for name, number in result.curation.items()}
    dropped: Counter[str] = Counter()
    for one in audit["rounds"]:
        assert one["texts"] == one["kept"] + sum(one["dropped"].values()) == 12
        answered = one["kept"] + sum(one["dropped"].get(reason, 0) for reason in AFTER_ANSWERS)
        assert one["requests"] == 12 + 3 * answered
        dropped += Counter(one["dropped"])
    assert {name.removeprefix("dropped_"): n for name, n in counted.items() if name.startswith("dropped_")} == dropped
    assert sum(dropped[reason] for reason in AFTER_ANSWERS) > 0  # so texts have passed, and answers were read
    assert counted["kept"] == audit["written"] + audit["cut"] == 0 and counted["rounds"] == 2
    assert counted["requests"] == sum(one["requests"] for one in audit["rounds"])
    assert 24 < counted["teacher_tokens"] <= 70 * counted["requests"]
    assert result.losses == done.losses and result.scores == done.scores  # nothing was left, so it is the plain trial


# ---- filters ---------------------------------------------------------------------------------------------------------


@given(TEXTS)
def test_filters_are_idempotent_and_keep_the_order(texts: list[str]) -> None:
    demonstrations = ["nice", "tea is cold"]
    kept = [text for text, reason in zip(texts, text_faults(texts, demonstrations), strict=True) if not reason]
    assert text_faults(kept, demonstrations) == [""] * len(kept)
    assert kept == list(dict.fromkeys(text for text in texts if text in kept))


def test_filters_say_why() -> None:
    demonstrations = ["x" * 10, "x" * 20]  # 15 +- 10
    texts = ["", "a" * 4, "a" * 5, "a" * 25, "a" * 26, "Sure! a soup", "a" * 5, "x" * 10, "b" * 9]
    reasons = ["no_reply", "length", "", "", "length", "noise", "duplicate", "duplicate", "duplicate"]
    assert text_faults(texts, demonstrations, ["b" * 9]) == reasons


@pytest.mark.parametrize(
    ("samples", "answer"),
    [
        (["a"] * 5, "a"),  # a greedy teacher keeps all
        (["a", "a", "a", *"bcdefgh"], "a"),  # 0.3
        (["a", "a", *"bcdefghi"], None),
        (["long", "long", "it", "it"], "it"),
        ([], None),
    ],
)
def test_self_consistency(samples: list[str], answer: str | None) -> None:
    assert self_consistent(samples) == answer


@given(st.lists(st.sampled_from(["food=good", "food=bad", "tea=good", ""]), max_size=20))
def test_classes_of_a_slot_have_the_same_size(classes: list[str]) -> None:
    rows = [{"class": name, "place": place} for place, name in enumerate(classes)]
    kept = balanced(rows)
    counts = Counter(row["class"] for row in kept)
    assert counts["food=good"] == counts["food=bad"] or not (counts["food=good"] and counts["food=bad"])
    assert counts["tea=good"] == classes.count("tea=good") and counts[""] == classes.count("")
    assert balanced(kept) == kept == sorted(kept, key=lambda row: row["place"])


@given(st.text())
def test_reading_replies_is_total(reply: str) -> None:
    assert isinstance(first_text(reply), str) and isinstance(first_answer(reply), str)
