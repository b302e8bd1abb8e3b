"""Pairs of data and training axes that one trial cannot have: each is refused by the plan, in one sentence."""

from __future__ import annotations

import pytest
from helpers.plans import plan_of

from sde_ray.config.trial import TrialConfig
from sde_ray.curation.pairs import PAIRS, undone
from sde_ray.design.designs import make_design
from sde_ray.errors import UserError
from sde_ray.sweep.curation import check_methods

OPTIONS = {"augment": "self_guide", "mix": "0.5", "repeat": "2", "mixup": "0.2", "federated": "local"}


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: f"{pair.axis}-{pair.other}")
def test_a_pair_is_refused_and_each_of_it_alone_is_not(pair: tuple[str, str, str, str]) -> None:
    axis, option, other, why = pair
    both = {axis: option or OPTIONS[axis], other: OPTIONS[other]}
    config = TrialConfig("masa:d1", make_design(**both), "tiny", 0, 8, 4)
    with pytest.raises(UserError) as error:
        check_methods([config])
    assert f"and {other} do not go together: {why}. Sweep one of them, or" in str(error.value)
    for name, value in both.items():
        assert not list(undone({name: value}))
    if option:
        assert not list(undone({**both, axis: "mixed"}))


def test_whole_designs_that_have_one_each_are_no_pair() -> None:
    curation = {"mix": {"task": "masa:d2"}}
    made = plan_of(
        designs=["baseline", "mix=0.5", "repeat=2", "mix=0.5,repeat=2", "augment=llm2llm"], curation=curation
    )
    assert len(made.trials) == 5
    with pytest.raises(UserError, match="augment and repeat do not go together"):
        plan_of(designs=["baseline", "augment=llm2llm,repeat=2"])
