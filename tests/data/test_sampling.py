"""Which examples are evaluated: the same in every part of the package."""

from __future__ import annotations

from sde_ray import data
from sde_ray.tasks import get_task


def test_the_evaluated_items_do_not_depend_on_their_order_or_number() -> None:
    dev = get_task("masa:d1").load("dev")
    ids = [example.id for example in data.eval_items(dev, 20)]
    assert ids != [example.id for example in dev[:20]], "they are drawn"
    assert [example.id for example in data.eval_items(dev[::-1], 5)] == ids[:5]
    assert len(data.eval_items(dev, 10**6)) == len(dev)
