"""The table `masa_216.csv`: every design on the bundled `masa:d1`, made from a sweep's ledger and read for the CLI.

python -m sde_ray.bench.designs runs/masa_216        writes the table from what the sweep has finished so far
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from pathlib import Path

from sde_ray.design.axes import AXES
from sde_ray.errors import UserError
from sde_ray.storage.layout import LEDGER
from sde_ray.types import TrialResult

PATH = Path(__file__).with_name("masa_216.csv")
MEASURED = ("weighted_kappa", "weighted_kappa_ood", "accuracy", "format_adherence", "output_tokens", "seconds")
COLUMNS = (*AXES, "seed", *MEASURED)
Row = dict[str, str]


def read(path: Path = PATH) -> list[Row]:
    """The rows, best weighted kappa first."""
    if not path.is_file():
        raise UserError(
            f"{path} is not there yet. Run sweeps/masa_216.yaml; the first lines of this file say the rest."
        )
    with path.open(newline="", encoding="utf-8") as file:
        return sorted(csv.DictReader(file), key=lambda row: -float(row["weighted_kappa"]))


def rows(results: Sequence[TrialResult]) -> list[Row]:
    """One row a finished trial, in the order of the axes' tables; an empty cell is "not applicable"."""
    order = {axis.name: list(axis.options) for axis in AXES.values()}
    finished = [result for result in results if result.status == "finished"]

    def position(result: TrialResult) -> tuple[list[int], int]:
        return [order[axis].index(result.config["design"][axis]) for axis in AXES], result.config["seed"]

    return [_row(result) for result in sorted(finished, key=position)]


def _row(result: TrialResult) -> Row:
    home, away = result.scores["dev"], result.scores.get("dev_ood", {})
    measured: dict[str, float | None] = {
        "weighted_kappa": home["weighted_kappa"],
        "weighted_kappa_ood": away.get("weighted_kappa"),
        "accuracy": home["accuracy"],
        "format_adherence": home["format_adherence"],
        "output_tokens": result.tokens.get("output"),
        "seconds": result.seconds.get("total"),
    }
    cells = {name: "" if value is None else f"{value:.4f}" for name, value in measured.items()}
    return {**{axis: result.config["design"][axis] for axis in AXES}, "seed": str(result.config["seed"]), **cells}


def write(rows: Sequence[Row], path: Path = PATH) -> None:
    """Write the table, whole or not at all."""
    part = path.with_suffix(".part")
    with part.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    part.replace(path)


if __name__ == "__main__":
    from sde_ray.storage.ledger import Ledger

    recorded = rows(list(Ledger(Path(sys.argv[1]) / LEDGER).results().values()))
    write(recorded)
    print(f"{len(recorded)} rows in {PATH}")
