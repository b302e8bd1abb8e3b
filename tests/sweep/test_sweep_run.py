"""SweepRun: the results of a run, as its ledger has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers.many_trials import sweep_of, write_ledger

from sde_ray.storage import ledger as storage
from sde_ray.sweep.sweep_run import SweepRun


def test_a_driver_reads_each_line_of_the_ledger_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 10,000 trials a second pass would cost a second. A torn line is set aside in the same pass."""
    config, read = sweep_of(tmp_path, 216), []
    keys = write_ledger(config)
    with config.run_dir.ledger.path.open("a") as file:
        file.write('{"schema": 2, "key": "torn')
    from_json = storage.from_json

    def counted(plain: Any) -> Any:
        read.append(plain["key"])
        return from_json(plain)

    monkeypatch.setattr(storage, "from_json", counted)
    sweep_run = SweepRun(config)
    with pytest.warns(UserWarning, match="1 torn line"):
        results = sweep_run.reload(config.run_dir.ledger)
    assert read == keys and list(results) == keys and sweep_run.results is results
