"""`sde-ray bench search calibration`: do intervals hold the truth, and are claims right, where the truth is known?"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from sde_ray.cli.console import emit, out, table
from sde_ray.cli.options import Json

TITLES = {
    "coverage": "Share of nominal 95% intervals that hold the truth (wanted: 0.93 to 0.97)",
    "nothing": "All designs equal: share of sweeps with a false claim (wanted: at most 0.05 for the first two)",
    "verdict": "Sweep, assembly and final comparison: share of wrong verdicts (wanted: at most 0.05)",
    "forced": "Final comparison of equal designs under different names (wanted: at most 0.05)",
}


def calibration(
    sweeps: Annotated[int, typer.Option(min=1, help="Simulated sweeps for each row.")] = 150,
    jobs: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
    seed: Annotated[int, typer.Option(min=0, help="Another seed, other worlds.")] = 0,
    as_json: Json = False,
) -> None:
    """Check intervals and claims on simulated sweeps whose truth is known; no model, minutes on two cores."""
    from sde_ray.bench.calibration import measure

    measured = measure(sweeps, jobs, seed)
    if as_json:
        return emit(measured)
    for name, rows in measured.items():
        out().print(_table(TITLES[name], rows))
    return None


def _table(title: str, rows: list[dict[str, Any]]) -> Any:
    from sde_ray.bench.calibration import HALF_WIDTH_SUFFIX

    columns = list(dict.fromkeys(key for row in rows for key in row if not key.endswith(HALF_WIDTH_SUFFIX)))
    rates = table(f"\n{title}", *columns, right=tuple(columns))
    for row in rows:
        rates.add_row(*(_cell(row.get(column), row.get(column + HALF_WIDTH_SUFFIX)) for column in columns))
    return rates


def _cell(value: Any, error: float | None) -> str:
    """A number with half its 95% interval, where it has one."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "–"
    return f"{value:.3f} ±{error:.3f}" if error is not None else str(value)


def register(app: typer.Typer) -> None:
    app.command("calibration")(calibration)
