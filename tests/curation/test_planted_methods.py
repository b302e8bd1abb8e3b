"""Methods where the truth is planted: each helps where it must, beyond the noise of seeds, and not where it must not.

The world and its base are those of `helpers/planted_words.py`, an interval is the project's own for a paired
comparison, with Holm's correction within a test's family.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.model_server import serving
from helpers.planted_words import TRAIN, TRAIN_LETTERS, World, author, label, texts

from sde_ray.analysis.comparison import BETTER, WORSE, comparison_claim
from sde_ray.config.curation import Augment, Curation, Federated
from sde_ray.config.trial import TrialConfig
from sde_ray.types import Example

SEEDS = range(6)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    one = World(tmp_path_factory.mktemp("letters"))
    yield one
    one.close()


# ---- federated -------------------------------------------------------------------------------------------------------


def clients(world: World, option: str, split: str) -> list[TrialConfig]:
    curation = Curation(federated=Federated(split=split, clients=3, rounds=4))
    return [world.trial(seed, 48, curation=curation, federated=option) for seed in SEEDS]


@pytest.mark.long
def test_clients_that_differ_gain_from_sharing_adapters(world: World) -> None:
    """A client alone has seen the letters of its own field only, and is scored on all."""
    lead = world.lead(clients(world, "federated", "field id"), clients(world, "local", "field id"))
    assert comparison_claim(lead) == BETTER and lead.low is not None and lead.low > 0.05, lead


@pytest.mark.long
def test_alike_clients_are_not_better_than_all_samples_in_one_place(world: World) -> None:
    """In the same rounds and steps: a new optimizer each round is no merit of federation, so the control has it."""
    lead = world.lead(clients(world, "federated", "iid"), clients(world, "pooled", "iid"))
    assert comparison_claim(lead) != BETTER, lead


# ---- teachers --------------------------------------------------------------------------------------------------------


def students(world: World, option: str, url: str = "") -> list[TrialConfig]:
    """Trials on few examples, so that most letters are unknown."""
    settings = Augment(texts=40, outputs=2, rounds=1, equal="steps")
    settings = settings.model_copy(update={"teacher": url, "teacher_model": "author"} if url else {})
    train = TRAIN.model_copy(update={"num_train_epochs": 24.0})
    return [world.trial(seed, 12, train, Curation(augment=settings), augment=option) for seed in SEEDS]


@pytest.mark.long
def test_self_guide_helps_by_a_teacher_that_knows_and_not_by_one_that_is_wrong(world: World) -> None:
    """In as many optimiser steps, so it is the examples that help."""
    plain = students(world, "none")
    leads = {}
    for is_right in (True, False):
        with serving(author(is_right)) as served:
            taught = students(world, "self_guide", served.url)
            leads[is_right] = world.lead(taught, plain)
        counts = [world.result(one).curation for one in taught]
        assert min(one["augment/kept"] - one["augment/cut"] for one in counts) > 0, counts
    assert comparison_claim(leads[True]) == BETTER, leads
    assert comparison_claim(leads[False]) != BETTER, leads


@pytest.mark.long
def test_llm2llm_helps_by_a_teacher_that_knows_and_not_by_one_that_is_wrong(world: World) -> None:
    """As published: each sample is seen as often, so more samples are more steps, the wrong teacher's no less."""
    train = TRAIN.model_copy(update={"num_train_epochs": 10.0})
    plain = [world.trial(seed, 12, train) for seed in SEEDS]
    leads = {}
    for is_right in (True, False):
        with serving(author(is_right)) as served:
            settings = Augment(rounds=5, equal="samples", teacher=served.url, teacher_model="author")
            curation = Curation(augment=settings)
            taught = [world.trial(seed, 12, train, curation, augment="llm2llm") for seed in SEEDS]
            leads[is_right] = world.lead(taught, plain)
        for one in taught:
            rows = (world.folder / "trials" / one.key / "curation" / "augment.jsonl").read_text().splitlines()
            counts = world.result(one).curation
            assert 0 < len(rows) == counts["augment/kept"] == counts["samples"] - 12
    assert comparison_claim(leads[True]) == BETTER, leads
    assert comparison_claim(leads[False]) != BETTER, leads


# ---- balance ---------------------------------------------------------------------------------------------------------


def pool(rare: int) -> list[Example]:
    """All texts whose label is "no", and the first `rare` of those with "yes"."""
    found = {answer: [one for one in texts(TRAIN_LETTERS) if label(one.text[0]) == answer] for answer in ("yes", "no")}
    return [*found["yes"][:rare], *found["no"]]


@pytest.mark.long
@pytest.mark.parametrize("rare", [12, 96])
def test_a_balanced_draw_helps_where_a_label_is_rare_and_not_where_both_are_frequent(rare: int, tmp_path: Path) -> None:
    """In as many samples and steps; 12 of 108 texts are "yes", or 96 of 192, and half of the dev items are."""
    world = World(tmp_path, pool(rare))
    lead = world.lead(*([world.trial(seed, 48, balance=option) for seed in SEEDS] for option in ("equal", "drawn")))
    world.close()
    assert (comparison_claim(lead) == BETTER) == (rare == 12), lead


# ---- repetition ------------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_repetition_costs_nothing_while_each_letter_is_seen_and_much_when_most_are_not(world: World) -> None:
    """In as many steps: 96 samples once, 48 of them twice, or 6 of them sixteen times; there are twelve letters."""
    plain = [world.trial(seed, 96) for seed in SEEDS]
    half, few = ([world.trial(seed, 96, repeat=times) for seed in SEEDS] for times in (2, 16))
    leads = world.lead(half, plain), world.lead(few, plain)
    assert comparison_claim(leads[0]) != WORSE and leads[0].difference > -0.05, leads
    assert comparison_claim(leads[1]) == WORSE, leads
