"""`python -m sde_ray.bench.tables RUN_FOLDER NAME`: merges a sweep's finished trials into a recorded table.

It may run while the sweep still runs, and again later. Exit code 1: a design and seed that the table has scored
differently in the run; the table keeps its own score.
"""

from __future__ import annotations

import sys
from pathlib import Path

from sde_ray.bench.tables.merge import Merged, check_one_configuration, ledger_rows, merge
from sde_ray.bench.tables.table import TABLES, RecordedTable, read, save, table_path
from sde_ray.errors import UserError
from sde_ray.storage.layout import LEDGER
from sde_ray.storage.ledger import Ledger
from sde_ray.tasks import get_task


def merge_run(folder: Path, name: str, path: Path) -> Merged:
    """Merge the finished trials of a run into the table of that name, and write it to the path.

    Raises UserError: where the folder holds no finished trial of the table's task, or trials of several configurations.
    """
    if not (folder / LEDGER).is_file():
        raise UserError(f"{folder} holds no {LEDGER}. Give the folder of a run, such as runs/masa_216.")
    results = [result for result in Ledger(folder / LEDGER).results().values() if result.status == "finished"]
    task = TABLES[name].task
    check_one_configuration(results, task)
    objective = get_task(task).objective
    table = read(path) if path.is_file() else RecordedTable(objective, ())
    merged = merge(table, ledger_rows(results, objective))
    save(merged.table, path)
    return merged


def main(arguments: list[str]) -> int:
    """The command; returns its exit code."""
    if len(arguments) != 2:
        print(f"{__doc__}\nTables: {', '.join(TABLES)}", file=sys.stderr)
        return 2
    try:
        path = table_path(arguments[1])
        merged = merge_run(Path(arguments[0]), arguments[1], path)
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    for difference in merged.differences:
        print(difference)
    print(
        f"{path}: {len(merged.table.rows)} rows, {merged.added} added, {merged.compared} compared, "
        f"{len(merged.differences)} differences"
    )
    return 1 if merged.differences else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
