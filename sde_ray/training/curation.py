"""Curation methods: what an option of a data or training axis does to a trial. `Method` is the interface.

    examples ─examples()─▶ examples ─write─▶ samples ─samples()─▶ samples ─steps(), before_step(), loss()─▶ adapter

A method sees the train split only. `examples` and `samples` run where the trial is written, before it trains; there a
method may also train and ask the trial's own workers (`preparation.py`). `steps`, `before_step`, `loss` and `trainer`
run on every worker, in another object of the same class, which gets what the first one has left in `prepared`.

A trial without such an axis, or with its neutral option, has no method: it runs as if there were none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sde_ray.config.trial import TrialConfig
from sde_ray.design.axes import find_axis, find_option
from sde_ray.errors import UserError
from sde_ray.plugins import load_object
from sde_ray.types import Example, Sample

if TYPE_CHECKING:
    from sde_ray.models.tokenization import TokenizedSample
    from sde_ray.training.batching import Step
    from sde_ray.training.preparation import Preparation
    from sde_ray.training.trainer import Trainer


class Method:
    """Base class of curation methods: this one leaves the trial as it is. A method overrides what it changes.

    Args:
        axis: the name of its axis.
        value: the option's value, such as the number of an open axis.
        settings: its section of `curation` in the YAML; None where the axis has none.
        config: the trial.

    `prepared` holds plain JSON values that go to the workers' objects. `together`: how many neighbours of a step
    `loss` must get in one call.
    """

    together = 1

    def __init__(self, axis: str, value: Any, settings: Any, config: TrialConfig) -> None:
        self.axis, self.value, self.settings, self.config = axis, value, settings, config
        self.prepared: Any = None

    def faults(self) -> Iterable[str]:
        """Why this trial cannot run, in sentences: what is set, what is possible, what to do. Asked by the plan."""
        return ()

    def check_reachable(self) -> None:
        """Raises UserError: where what the trial needs beside its model cannot be reached, such as an endpoint.

        Asked by the plan and before the first trial runs, once for all trials with these settings.
        """

    def cost(self) -> float:
        """The time of a trial by these settings, in plain ones; the option's own `cost` counts besides."""
        return 1.0

    def notes(self) -> Iterable[str]:
        """What a person should know of this trial before it runs, in lines; the plan shows each once."""
        return ()

    def examples(self, examples: Sequence[Example], preparation: Preparation) -> Sequence[Example]:
        """The examples that the trial trains on, given those that a plain trial would."""
        return examples

    def samples(self, samples: Sequence[Sample], preparation: Preparation) -> Sequence[Sample]:
        """The samples that the trial trains on, given its examples as they are written in its design."""
        return samples

    def steps(self, steps: list[Step], samples: Sequence[TokenizedSample]) -> list[Step]:
        """Which samples train in which optimiser step, given the plain order; the same on every worker."""
        return steps

    def before_step(self, trainer: Trainer, step: int) -> None:
        """Called before each optimiser step, numbered from 0; after a resume with the next one."""

    def loss(self, trainer: Trainer, rows: list[TokenizedSample], total_weight: float) -> Any:
        """The summed loss of `rows` [scalar tensor], in place of the trainer's; None: the trainer's own.

        The trainer divides it by `total_weight`, the tokens that count in the whole step, each with its weight.
        """
        return None

    def trainer(self, *arguments: Any, **options: Any) -> Trainer | None:
        """A trainer of the method's own, made with the arguments of `Trainer`; None: the plain one."""
        return None


def methods_of(config: TrialConfig, prepared: Mapping[str, Any] | None = None) -> tuple[Method, ...]:
    """The methods of a trial, in the order of their axes; none for a plain trial.

    Args:
        config: the trial.
        prepared: by axis, what the methods have left for the workers.
    """
    methods = []
    for axis, option in config.curated.items():
        row = find_axis(axis)
        if not row.carrier:
            continue  # a setting, which the plan has put into the trial
        carrier = load_object(row.carrier, type, f"the method of the axis {axis}")
        if not issubclass(carrier, Method):
            raise UserError(f'"{row.carrier}" is no method: it must be a subclass of sde_ray.training.curation.Method.')
        value = getattr(find_option(axis, option), "value", None)
        method: Method = carrier(axis, value, config.curation_settings.get(row.section), config)
        method.prepared = (prepared or {}).get(axis)
        methods.append(method)
    return tuple(methods)
