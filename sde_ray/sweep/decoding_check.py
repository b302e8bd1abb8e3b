"""Whether the designs of a plan can be decoded as they say, told before anything is trained."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.util import find_spec

from sde_ray.config.schema import SweepConfig
from sde_ray.design.answer_grammar import why_no_grammar
from sde_ray.design.decoding import CONSTRAINED, DECODING
from sde_ray.design.render import option_of
from sde_ray.errors import UserError
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
