"""One condition of a robustness study: the assembled design against each control, with paired intervals.

    judged = judge("sampled decoding", cells)
    judged.words      "Better than baseline (+0.120 [+0.081, +0.160]). No difference shown against es-sde (...)."
    judged.holds      True: no control is better; False: one is; None: nothing can be said

`Cells` are the scores of all contenders on the same training seeds (rows) and the same variants of the condition
(columns: decoding seeds, or one), and the same under draws of the items. "Better" is said as in the final comparison:
of an interval above zero, where Holm's correction over the controls agrees.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sde_ray.analysis.paired import Paired, compare
from sde_ray.analysis.verdict import ASSEMBLED, claim_of
from sde_ray.evaluation.per_item import ItemCounts, bootstrap_weights
from sde_ray.types import Design

Array = npt.NDArray[np.float64]
ITEM_DRAWS = 1000
ZERO = "zero"
Key = tuple[str, int, Any]  # contender, training seed, variant


@dataclass(frozen=True)
class Cells:
    """Scores (seeds, variants) by contender; `drawn` the same under draws of the items, where these are known."""

    scores: Mapping[str, Array]
    drawn: Mapping[str, Array] | None
    designs: Mapping[str, Design]
    seeds: tuple[int, ...]
    variants: tuple[Any, ...]


@dataclass(frozen=True)
class Row:
    """A contender on a condition: its mean score with a 95% interval, and the assembled design's lead over it."""

    name: str
    score: float
    low: float | None
    high: float | None
    paired: Paired | None
    claim: str


@dataclass(frozen=True)
class Judged:
    """A condition with its rows, the assembled design's first."""

    condition: str
    rows: tuple[Row, ...]
    words: str
    holds: bool | None

    def to_dict(self) -> list[dict[str, Any]]:
        """Flat rows."""
        found = []
        for row in self.rows:
            lead = row.paired
            found.append(
                {
                    "condition": self.condition,
                    "design": row.name,
                    "score": row.score,
                    "low": row.low,
                    "high": row.high,
                    "lead": lead and lead.difference,
                    "lead_low": lead and lead.low,
                    "lead_high": lead and lead.high,
                    "claim": row.claim,
                }
            )
        return found


def gather(values: Mapping[Key, float], items: Mapping[Key, ItemCounts], designs: Mapping[str, Design]) -> Cells:
    """The complete cells: contenders that have a value for every variant, on the seeds that all of these share.

    A contender without any complete seed (all its trials failed) is left out. Draws of the items are only there where
    all cells were scored on the same ones.
    """
    variants = tuple(dict.fromkeys(variant for _, _, variant in values))
    complete = {name: _complete(values, name, variants) for name in designs}
    names = [name for name in designs if complete[name]]
    seeds = tuple(sorted(set.intersection(*(complete[name] for name in names)))) if names else ()
    if not seeds:
        return Cells({}, None, {}, (), variants)
    scores = {name: np.array([[values[name, s, v] for v in variants] for s in seeds]) for name in names}
    chosen = {name: designs[name] for name in names}
    return Cells(scores, _drawn(items, names, seeds, variants), chosen, seeds, variants)


def _complete(values: Mapping[Key, float], name: str, variants: Sequence[Any]) -> set[int]:
    seeds = {seed for other, seed, _ in values if other == name}
    return {seed for seed in seeds if all((name, seed, variant) in values for variant in variants)}


def _drawn(
    items: Mapping[Key, ItemCounts], names: Sequence[str], seeds: Sequence[int], variants: Sequence[Any]
) -> dict[str, Array] | None:
    """(draws, seeds, variants) by contender, the same draws of the items for all."""
    wanted = [(name, seed, variant) for name in names for seed in seeds for variant in variants]
    known = [items[key] for key in wanted if key in items]
    if len(known) < len(wanted) or any(one.ids != known[0].ids for one in known):
        return None
    weights = bootstrap_weights(known[0].ids, ITEM_DRAWS, np.random.default_rng(0))
    return {
        name: np.stack([np.stack([items[name, s, v].scores(weights) for v in variants], -1) for s in seeds], 1)
        for name in names
    }


def judge(condition: str, cells: Cells) -> Judged:
    """The rows and the verdict; without the assembled design nothing can be said."""
    if ASSEMBLED not in cells.scores:
        return Judged(condition, (), "Nothing can be said: the assembled design has no score here.", None)
    distinct = _distinct(cells.designs)
    found = compare(_of(cells.scores, distinct), cells.drawn and _of(cells.drawn, distinct), ASSEMBLED)
    names = {design: name for name, design in cells.designs.items() if name in distinct}
    levels = {cells.designs[name]: level for name, level in _levels(cells, distinct).items()}
    rows = [_row(ASSEMBLED, levels[cells.designs[ASSEMBLED]], None, "")]
    for name in (name for name in cells.scores if name != ASSEMBLED):
        same = cells.designs[name] == cells.designs[ASSEMBLED]
        paired = None if same else found[names[cells.designs[name]]]
        level = levels[cells.designs[name]]
        rows.append(_row(name, level, paired, "same design" if same else claim_of(paired)))
    return Judged(condition, tuple(rows), _words(rows), _holds(rows))


def _distinct(designs: Mapping[str, Design]) -> list[str]:
    """One name a design, the assembled one's own first: a design is compared once, whatever its names."""
    first = {design: name for name, design in reversed(list(designs.items()))}
    first[designs[ASSEMBLED]] = ASSEMBLED
    return [name for name in designs if first[designs[name]] == name]


def _of(values: Mapping[str, Array], names: Sequence[str]) -> dict[str, Array]:
    return {name: values[name] for name in names}


def _levels(cells: Cells, names: Sequence[str]) -> dict[str, Paired]:
    """Each contender's score as its lead over nothing, all in one family: a few seeds tell the noise only together."""
    nothing = np.zeros_like(cells.scores[ASSEMBLED])
    scores = {ZERO: nothing, **_of(cells.scores, names)}
    drawn = cells.drawn and {ZERO: np.zeros_like(cells.drawn[ASSEMBLED]), **_of(cells.drawn, names)}
    return compare(scores, drawn, ZERO)


def _row(name: str, level: Paired, paired: Paired | None, claim: str) -> Row:
    """`level` is nothing's lead over the contender."""
    low, high = (None if bound is None else -bound for bound in (level.high, level.low))
    return Row(name, -level.difference, low, high, paired, claim)


def _holds(rows: Sequence[Row]) -> bool | None:
    claims = {row.claim for row in rows[1:]} - {"same design"}
    if not claims or claims == {"no interval"}:
        return None
    return "worse" not in claims


OPENINGS = {
    "better": "Better than",
    "worse": "Worse than",
    "no difference shown": "No difference shown against",
    "no interval": "Without an interval against",
    "same design": "The same design as",
}


def _words(rows: Sequence[Row]) -> str:
    parts = []
    for claim, opening in OPENINGS.items():
        chosen = [row for row in rows[1:] if row.claim == claim]
        if chosen:
            parts.append(f"{opening} {', '.join(map(_against, chosen))}.")
    return " ".join(parts) or "No control has a score here."


def _against(row: Row) -> str:
    if row.paired is None:
        return row.name
    if row.paired.low is None or row.paired.high is None:
        return f"{row.name} ({row.paired.difference:+.3f})"
    return f"{row.name} ({row.paired.difference:+.3f} [{row.paired.low:+.3f}, {row.paired.high:+.3f}])"


def summary(judged: Sequence[Judged]) -> str:
    """All conditions in one sentence or two."""
    lost = [one.condition for one in judged if one.holds is False]
    kept = [one.condition for one in judged if one.holds]
    silent = [one.condition for one in judged if one.holds is None]
    won = [one.condition for one in judged if any(row.claim == "better" for row in one.rows) and one.holds]
    parts = []
    if lost:
        parts.append(f"The assembled design is not robust: a control beats it on {', '.join(lost)}.")
    elif kept:
        parts.append(f"No control beats the assembled design on any of {len(kept)} conditions.")
    if kept or lost:
        parts.append(f"It is shown to be better than at least one control on {len(won)} of {len(kept) + len(lost)}.")
    if silent:
        parts.append(f"Nothing can be said of {', '.join(silent)}.")
    return " ".join(parts)
