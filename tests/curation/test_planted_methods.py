"""Methods where the truth is planted: each helps where it must, beyond the noise of seeds, and not where it must not.

The world and its base are those of `helpers/planted_words.py`, an interval is the project's own for a paired
comparison, with Holm's correction within a test's family.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from helpers.model_server import serving
from helpers.planted_words import TRAIN, World, author

from sde_ray.analysis.comparison import BETTER, comparison_claim
from sde_ray.config.curation import Augment, Curation, Federated
from sde_ray.config.trial import TrialConfig

SEEDS = range(6)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    one = World(tmp_path_factory.mktemp("letters"))
    yield one
    one.close()


# ---- federated -------------------------------------------------------------------------------------------------------


def clients(world: World, option: str, split: str, **settings: Any) -> list[TrialConfig]:
    curation = Curation(federated=Federated(split=split, clients=3, rounds=4, **settings))
    return [world.trial(seed, 48, curation=curation, federated=option) for seed in SEEDS]


@pytest.mark.long
@pytest.mark.parametrize("split", ["field id", "dirichlet 0.1"])
def test_clients_that_differ_gain_from_sharing_adapters(world: World, split: str) -> None:
    """A client alone has seen the letters of its own field only, or hardly one label, and is scored on all."""
    shared, alone = clients(world, "federated", split), clients(world, "local", split)
    lead = world.lead(shared, alone)
    assert comparison_claim(lead) == BETTER and lead.low is not None and lead.low > 0.05, lead


@pytest.mark.long
@pytest.mark.parametrize("optimizer_state", ["fresh", "carried"])
def test_alike_clients_are_not_better_than_all_samples_in_one_place(world: World, optimizer_state: Any) -> None:
    """In the same rounds and steps: a new optimizer each round is no merit of federation, so the control has it."""
    settings = {"split": "iid", "optimizer_state": optimizer_state}
    lead = world.lead(clients(world, "federated", **settings), clients(world, "pooled", **settings))
    assert comparison_claim(lead) != BETTER, lead


# ---- teachers --------------------------------------------------------------------------------------------------------

# Few examples, so that most letters are unknown; LLM2LLM asks about what is wrong, so its students train little.
STUDENTS = {
    "self_guide": (12, 24.0, Augment(texts=40, outputs=2, rounds=1, equal="steps")),
    "llm2llm": (16, 8.0, Augment(rounds=2, equal="samples")),
}


def students(world: World, option: str, scheme: str, url: str = "") -> list[TrialConfig]:
    size, epochs, settings = STUDENTS[scheme]
    train = TRAIN.model_copy(update={"num_train_epochs": epochs})
    augment = settings.model_copy(update={"teacher": url, "teacher_model": "author"} if url else {})
    curation = Curation(augment=augment)
    return [world.trial(seed, size, train, curation, augment=option) for seed in SEEDS]


@pytest.mark.long
@pytest.mark.parametrize("scheme", STUDENTS)
def test_a_teacher_that_knows_helps_and_one_that_is_wrong_does_not(world: World, scheme: str) -> None:
    plain = students(world, "none", scheme)
    leads = {}
    for is_right in (True, False):
        with serving(author(is_right)) as served:
            taught = students(world, scheme, scheme, served.url)
            leads[is_right] = world.lead(taught, plain)
        counts = [world.result(one).curation for one in taught]
        assert min(one["augment/kept"] for one in counts) > 0, counts
    assert comparison_claim(leads[True]) == BETTER, leads
    assert comparison_claim(leads[False]) != BETTER, leads


# ---- mixup -----------------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_mixup_is_not_better_where_all_labels_are_right(world: World) -> None:
    """No planted case was found in which it is (`docs/studies.md`); here there is nothing that it could put right."""
    plain, mixed = ([world.trial(seed, 48, mixup=mu) for seed in SEEDS] for mu in (0, 0.2))
    assert comparison_claim(world.lead(mixed, plain)) != BETTER
