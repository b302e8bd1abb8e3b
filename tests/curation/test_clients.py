"""Clients: every sample has one, every client has some, and the split is a function of the samples and the seed."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from helpers.plans import plan_of
from pydantic import ValidationError

from sde_ray.config.curation import Federated
from sde_ray.curation.clients import assign, check_field
from sde_ray.data import draw
from sde_ray.errors import UserError
from sde_ray.tasks import get_task
from sde_ray.types import Example

TASK = replace(get_task("masa:d1"), slots=("topic",), labels=("a", "b", "c"))
LABELS = "aaaaaabbbbbbcccccc"
EXAMPLES = [Example(f"{'xyz'[n % 3]}.{n}", f"text {n}", {"topic": (label,)}) for n, label in enumerate(LABELS)]


def labels_of(client: tuple[int, ...]) -> Counter[str]:
    return Counter(EXAMPLES[index].answer["topic"][0] for index in client)


@pytest.mark.parametrize(
    "split", ["iid", "field topic", "field id", "dirichlet 0.5", "dirichlet 0.01", "dirichlet 9 id"]
)
@pytest.mark.parametrize("clients", [1, 2, 3])
def test_every_sample_has_one_client_and_every_client_some(split: str, clients: int) -> None:
    for seed in range(20):
        parts = assign(EXAMPLES, TASK, clients=clients, split=split, seed=seed)
        assert len(parts) == clients and all(parts)
        assert sorted(index for part in parts for index in part) == list(range(len(EXAMPLES)))
        assert all(list(part) == sorted(part) for part in parts)
        assert parts == assign(EXAMPLES, TASK, clients=clients, split=split, seed=seed)
    assert clients > 1 or parts == [tuple(range(len(EXAMPLES)))]


def test_iid_clients_have_like_sizes() -> None:
    sizes = [len(part) for part in assign(EXAMPLES, TASK, clients=4, split="iid", seed=0)]
    assert max(sizes) - min(sizes) <= 1


def test_a_field_gives_each_client_values_of_its_own() -> None:
    parts = assign(EXAMPLES, TASK, clients=3, split="field topic", seed=0)
    assert sorted("".join(sorted(labels_of(part))) for part in parts) == ["a", "b", "c"]
    by_id = assign(EXAMPLES, TASK, clients=3, split="field id", seed=0)
    assert all(len({EXAMPLES[index].id[0] for index in part}) == 1 for part in by_id)
    two = [labels_of(part) for part in assign(EXAMPLES, TASK, clients=2, split="field topic", seed=0)]
    assert not set(two[0]) & set(two[1]) and sorted(map(len, two)) == [1, 2]


def test_a_low_alpha_makes_labels_uneven_and_a_high_one_even() -> None:
    def largest_shares(alpha: float) -> float:
        parts = [assign(EXAMPLES, TASK, clients=3, split=f"dirichlet {alpha}", seed=seed) for seed in range(30)]
        counts = [labels_of(client) for clients in parts for client in clients]
        return sum(max(count.values()) / count.total() for count in counts) / len(counts)

    low, middle, high = map(largest_shares, (0.01, 0.5, 1000))
    assert low > 0.85 > middle > high and high == pytest.approx(1 / 3, abs=0.08)


def test_another_seed_draws_other_clients() -> None:
    drawn = {tuple(assign(EXAMPLES, TASK, clients=3, split="dirichlet 0.5", seed=seed)) for seed in range(10)}
    assert len(drawn) == 10


def test_without_a_name_a_task_of_several_slots_is_split_by_the_first_slot_that_is_named() -> None:
    task = get_task("masa:d1")
    examples = draw(task.load("train"), 120, 0)
    parts = assign(examples, task, clients=3, split="dirichlet 0.01", seed=1)
    first = [Counter(next((s for s in task.slots if s in examples[n].answer), "") for n in part) for part in parts]
    shared = sum(max(count[slot] for count in first) for slot in {slot for count in first for slot in count})
    assert shared > 0.8 * len(examples)  # a slot is nearly whole with one client


# ---- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("clients", "split", "message"),
    [
        (19, "iid", "19 clients share 18 samples, and each needs one"),
        (19, "dirichlet 0.5", "19 clients share 18 samples"),
        (4, "field topic", "has 3 values in these samples (a, b, c), so that of 4 clients 1 would have none"),
        (18, "dirichlet 0.0001", "a client was without samples, of 18 clients and 18 samples. Raise alpha"),
    ],
)
def test_a_client_without_samples_is_refused(clients: int, split: str, message: str) -> None:
    with pytest.raises(UserError) as error:
        assign(EXAMPLES, TASK, clients=clients, split=split, seed=0)
    assert message in str(error.value)


@pytest.mark.parametrize(
    "split",
    ["", "field", "dirichlet", "dirichlet x", "dirichlet 0", "dirichlet nan", "dirichlet -1", "iid 3", "field a b"],
)
def test_what_is_no_split_is_refused_with_what_is(split: str) -> None:
    with pytest.raises(ValidationError, match="Expected iid, field NAME, dirichlet ALPHA"):
        Federated(split=split)


def test_one_split_has_one_spelling() -> None:
    assert {Federated(split=text).split for text in ("dirichlet 0.5", " dirichlet  0.50", "dirichlet 5e-1")} == {
        "dirichlet 0.5"
    }
    assert Federated(split="dirichlet 1.0 food").split == "dirichlet 1 food"


def test_an_unknown_field_is_answered_with_the_nearest() -> None:
    assert '"topic"' in check_field(TASK, "field topik") and not check_field(TASK, "dirichlet 0.5 id")


@pytest.mark.parametrize(
    ("option", "settings", "message"),
    [
        ("federated", {"clients": 50}, "50 clients share 40 samples"),
        ("federated", {"split": "field foot"}, '"food"'),
        ("federated", {"split": "field food", "clients": 9}, "would have none"),
        ("federated", {"rounds": 30}, "30 rounds need 30 optimiser steps at least, and a trial of 40 samples has 10"),
        ("local", {"rounds": 4, "local_steps": 3}, "4 rounds of 3 steps need 12 optimiser steps at least"),
        (3, {}, "federated=3 is no client: curation.federated.clients is 3, so they are 0 to 2"),
    ],
)
def test_a_plan_refuses_what_clients_cannot_do(option: Any, settings: dict[str, Any], message: str) -> None:
    axes = {"instruction": ["last"], "input_modeling": ["off"], "format": ["natural", "lines"], "unmentioned": ["omit"],
            "labels": ["text"], "reasoning": ["none"], "federated": ["central", option]}  # fmt: skip
    with pytest.raises(UserError) as error:
        plan_of(axes=axes, curation={"federated": settings}, train={"train_batch_size": 4})
    assert message in str(error.value)
    assert str(error.value).count(message) == 1
