"""What the trials of a sweep show: `effects`, `assemble`, `validate`, `report`.

Only `validate` trains: the final comparison. All others read what a sweep has kept.
"""

from __future__ import annotations

import typer


def add_to(app: typer.Typer) -> None:
    """No command yet."""
