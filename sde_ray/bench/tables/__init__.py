"""Recorded tables: the scores of a task's designs, all or chosen ones, with each seed that a design was trained with.

    load("masa_d1").scores()                               -> {Design: {0: 0.9616, 1: 0.9760, 2: 0.9738}, ...}
    python -m sde_ray.bench.tables runs/masa_216 masa_d1   merges what a sweep has finished so far into a table

<name>.csv    columns: the axes, seed, the objective by its own name, that of the out-of-domain task where there is one
              (<objective>_ood), format_adherence, output_tokens, seconds. Empty: not measured, or not applicable
table.py      RecordedTable and the rows of `TABLES`; the one reader and the one writer of the CSV files
by_design.py  the designs of a table: mean, and difference to the baseline with its interval
merge.py      rows of a sweep's ledger, merged into a table
__main__.py   the command
"""

from sde_ray.bench.tables.table import TABLES, RecordedTable, load, save

__all__ = ["TABLES", "RecordedTable", "load", "save"]
