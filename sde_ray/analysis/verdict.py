"""What the final comparison shows, as values, in words, and as a file.

    verdict = verdict_of(strategy, rows)
    verdict.words         "The assembled design wins against all controls. Better than baseline (+0.121 [...]), ..."
    verdict.recommended   the contender to use: "assembled", or the control that beats it

"Better" is said only where the 95% interval of the paired difference lies above 0 and Holm's correction over the
controls agrees; an interval that holds 0 is "no difference shown". A verdict without a winner is a result, too.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from sde_ray.analysis.paired import Paired
from sde_ray.analysis.strategy import Strategy
from sde_ray.design.designs import make_design, paper_label
from sde_ray.errors import UserError
from sde_ray.safe_json import one_line, read_json
from sde_ray.storage.files import write_atomic
from sde_ray.types import Design

ASSEMBLED, BEST_SEEN = "assembled", "best seen"
LEVEL = 0.05


@dataclass(frozen=True)
class Comparison:
    """The assembled design against a control, on one split; `train_size` None: the mean over all sizes."""

    control: str
    design: Design
    split: str
    train_size: int | None
    assembled: float | None
    score: float | None
    paired: Paired | None
    seeds: int
    items: int
    claim: str


@dataclass(frozen=True)
class Verdict:
    """What the final comparison shows. `recommended` names the contender to use."""

    strategy_design: Design
    objective: str
    rows: tuple[Comparison, ...]
    words: str
    recommended: str

    def overall(self, split: str = "test") -> list[Comparison]:
        """The rows that the verdict speaks of: all sizes together."""
        return [row for row in self.rows if row.split == split and row.train_size is None]


_VERDICT = TypeAdapter(Verdict)


def claim_of(paired: Paired | None) -> str:
    """What a comparison lets one say of the assembled design."""
    if paired is None:
        return "no score"
    if paired.low is None or paired.high is None:
        return "no interval"
    holds = (paired.adjusted or 0.0) < LEVEL
    if holds and paired.low > 0:
        return "better"
    return "worse" if holds and paired.high < 0 else "no difference shown"


# ---- the verdict in words ------------------------------------------------------------------------------------------


def verdict_of(strategy: Strategy, rows: Sequence[Comparison]) -> Verdict:
    """The verdict that the comparisons give."""
    home = [row for row in rows if row.split == "test" and row.train_size is None]
    away = [row for row in rows if row.split == "test_ood" and row.train_size is None]
    lost = [row for row in home if row.claim == "worse"]
    recommended = max(lost, key=lambda row: row.score or 0.0).control if lost else ASSEMBLED
    parts = [_headline(home, recommended), *_sentences(home)]
    if away:
        parts += ["Out-of-domain:", *_sentences(away)]
    elif strategy.design["instruction"] == "none" and any(row.score is not None for row in home):
        parts.append("Out-of-domain: not applicable without an instruction.")
    if any(row.seeds == 1 for row in home):
        parts.append("One seed only: the intervals hold the noise of the items, not that of training.")
    return Verdict(strategy.design, strategy.objective, tuple(rows), " ".join(parts), recommended)


def _headline(rows: Sequence[Comparison], recommended: str) -> str:
    claims = {row.claim for row in rows if row.claim != "same design"}
    if recommended != ASSEMBLED:
        return f"The assembled design does not win: use {recommended}."
    if not claims:
        return "Every control that has a score is the assembled design itself."
    if claims == {"better"}:
        return "The assembled design wins against all controls."
    if claims == {"no interval"}:
        return "Nothing can be said: one seed and no kept completions give no interval."
    if "better" in claims:
        return "The assembled design wins against some controls, not against all."
    return "The assembled design is not shown to be better than any control."


def _sentences(rows: Sequence[Comparison]) -> list[str]:
    """One sentence for each kind of claim, with the differences."""
    openings = {
        "better": "Better than",
        "worse": "Worse than",
        "no difference shown": "No difference shown against",
        "no interval": "Without an interval against",
        "same design": "The same design as",
        "no score": "No score of",
    }
    found = []
    for claim, opening in openings.items():
        chosen = [row for row in rows if row.claim == claim]
        if chosen:
            found.append(f"{opening} {_joined(_against(row) for row in chosen)}.")
    return found


def _against(row: Comparison) -> str:
    if row.paired is None or row.claim in ("same design", "no score"):
        return row.control
    if row.paired.low is None:
        return f"{row.control} ({row.paired.difference:+.3f})"
    return f"{row.control} ({row.paired.difference:+.3f} [{row.paired.low:+.3f}, {row.paired.high:+.3f}])"


def _joined(names: Iterable[str]) -> str:
    *rest, last = names
    return f"{', '.join(rest)} and {last}" if rest else last


# ---- validation.json -----------------------------------------------------------------------------------------------


def table(verdict: Verdict) -> list[dict[str, Any]]:
    """One flat row a comparison, for CLI, MLflow and report."""
    rows = []
    for row in verdict.rows:
        paired = asdict(row.paired) if row.paired else dict.fromkeys(("difference", "low", "high", "p", "adjusted"))
        plain = {key: value for key, value in asdict(row).items() if key not in ("paired", "design")}
        rows.append({**plain, **paired, "design": row.design.slug, "label": paper_label(row.design)})
    return rows


def save(verdict: Verdict, path: Path) -> None:
    """Write validation.json, whole or not at all."""
    plain = asdict(verdict) | {"strategy_design": dict(verdict.strategy_design.options)}
    plain["rows"] = [asdict(row) | {"design": dict(row.design.options)} for row in verdict.rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, json.dumps(plain, ensure_ascii=False, indent=1) + "\n")


def load(path: Path) -> Verdict:
    """The inverse of `save`; `UserError` for any other file."""
    try:
        plain = read_json(path.read_bytes())
        rows = [{**row, "design": make_design(**row["design"])} for row in plain["rows"]]
        return _VERDICT.validate_python(
            {**plain, "strategy_design": make_design(**plain["strategy_design"]), "rows": rows}
        )
    except OSError as error:
        raise UserError(f'Cannot read "{path}": {error.strerror}. `sde-ray validate` writes it.') from None
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(
            f'"{path}" is no validation of sde_ray ({one_line(error)}). `sde-ray validate` writes it again.'
        ) from None
