"""A data axis from outside the package, whose method uses all that a preparation offers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sde_ray.design import Axis, DataOption
from sde_ray.training.curation import Method
from sde_ray.types import Example, Sample

MADE: list[str] = []  # what was made, and not taken from the trial's folder


class Busy(Method):
    """`plain` changes nothing but calls every hook; `busy` trains and asks before; `half` keeps a half."""

    def examples(self, examples: Sequence[Example], preparation: Any) -> Sequence[Example]:
        if self.value == "none":
            return ()
        if self.value == "busy":
            drawn = preparation.render(examples)
            assert len(preparation.fit(drawn, steps=1)) == 1
            self.prepared = preparation.remember("answers", lambda: self._make(examples, preparation))
            assert preparation.draw(preparation.pool(), 3) == list(examples[:3])
            assert all(count > 10 for count in preparation.count_tokens(drawn[:2]))
        preparation.count("dropped", len(examples) // 2 if self.value == "half" else 0)
        return examples[: len(examples) // 2] if self.value == "half" else examples

    def samples(self, samples: Sequence[Sample], preparation: Any) -> Sequence[Sample]:
        assert [one.id for one in preparation.render(preparation.drawn)][: len(samples)] == [one.id for one in samples]
        return samples

    def loss(self, trainer: Any, rows: list[Any], num_loss_tokens: int) -> Any:
        assert num_loss_tokens >= sum(row.num_loss_tokens for row in rows)
        assert self.prepared == ({"answers": 2, "trained": [True]} if self.value == "busy" else None)
        return trainer.cross_entropy(rows) * 1.0

    def _make(self, examples: Sequence[Example], preparation: Any) -> dict[str, Any]:
        MADE.append(self.config.key)
        preparation.count("answered", 2)
        return {"answers": len(preparation.answer(examples[:2])), "trained": preparation.apply("is_trained", 1)}


def is_trained(worker: Any, steps: int) -> bool:
    """Whether the adapter that was fitted has taken so many steps."""
    return len(worker._trainer.losses) == steps


def _axis(name: str, **settings: Any) -> Axis:
    options = {value: DataOption(value.capitalize(), value) for value in ("off", "plain", "busy", "half", "none")}
    return Axis(name, default="off", options=options, carrier="helpers.extra_methods:Busy", **settings)


BUSY = _axis("busy")
ROUNDS = _axis("rounds", one_rung=True)
NOT_A_METHOD = Axis("wrong", "off", {"off": DataOption("Off"), "on": DataOption("On")}, carrier="builtins:dict")
