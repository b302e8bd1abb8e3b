"""Whether the designs of a plan can be asked and decoded as they say, told before anything is trained."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.util import find_spec

from sde_ray.config.schema import SweepConfig
from sde_ray.config.trial import TrialConfig
from sde_ray.design.answer_grammar import why_no_grammar
from sde_ray.design.axes import find_axis
from sde_ray.design.decoding import CONSTRAINED, DECODING
from sde_ray.design.demonstrations import num_demonstrations
from sde_ray.design.groups import SLOTS_PER_SAMPLE
from sde_ray.design.render import option_of
from sde_ray.errors import FaultList, UserError
from sde_ray.types import Design, Task


def check_decoding(config: SweepConfig, designs: Mapping[str, Iterable[Design]], tasks: Mapping[str, Task]) -> None:
    """Raises UserError for designs, by task, whose answers are to be constrained and cannot be."""
    constrained = [
        (tasks[name], design)
        for name, several in designs.items()
        for design in several
        if option_of(design, DECODING) == CONSTRAINED
    ]
    if not constrained:
        return
    if config.generation.backend != "builtin":
        raise UserError(
            "decoding=constrained needs generation.backend: builtin; "
            f"{config.generation.backend} is not told the grammar."
        )
    if find_spec("llguidance") is None and not config.resources.address:  # on a cluster a worker says it
        raise UserError(
            "decoding=constrained needs llguidance, which is not installed: pip install "
            '"sde_ray[constrained]". Or leave out axes.decoding.'
        )
    reasons = dict.fromkeys(filter(None, (why_no_grammar(task, design) for task, design in constrained)))
    if reasons:
        raise UserError(
            f"decoding=constrained needs a grammar of the answers, and {'; '.join(reasons)}. Leave out axes.decoding, "
            "or what has no grammar."
        )


def check_asking(trials: Iterable[TrialConfig]) -> None:
    """Raises UserError for trials that cannot have the samples which their designs ask for."""
    faults = FaultList("Designs")
    for trial in {(trial.design, trial.task, trial.train_size): trial for trial in trials}.values():
        count = num_demonstrations(trial.design)
        if count >= trial.train_size:
            faults.add(
                f"demonstrations={count} needs {count + 1} training samples, as no example is its own demonstration, "
                f"and train_sizes has {trial.train_size}. Take more samples, or fewer demonstrations."
            )
        methods = [axis for axis in trial.curated if find_axis(axis).carrier]
        if methods and option_of(trial.design, SLOTS_PER_SAMPLE) != SLOTS_PER_SAMPLE.default:
            faults.add(f"slots_per_sample does not go with {', '.join(methods)}, which count on one sample an example.")
    faults.raise_if_any()
