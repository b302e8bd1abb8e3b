"""The id by which a sweep's run in MLflow is found: written whole, and never empty."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from sde_ray.config.load import check
from sde_ray.errors import UserError
from sde_ray.pipeline.run import tracked
from sde_ray.sweep.sweep_run import SweepRun
from sde_ray.tracking.sweep_id import SWEEP_ID_FILE, ensure_sweep_id, read_sweep_id


def test_a_sweep_has_one_id_for_good(tmp_path: Path) -> None:
    sweep_id = ensure_sweep_id(tmp_path / "x")
    assert len(sweep_id) == 32 and ensure_sweep_id(tmp_path / "x") == read_sweep_id(tmp_path / "x") == sweep_id
    assert ensure_sweep_id(tmp_path / "y") != sweep_id


@pytest.mark.parametrize("content", ["", "\n", "0123", "0123456789abcdef0123456789abcde' or 1=1"])
def test_an_empty_or_damaged_id_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / SWEEP_ID_FILE).write_text(content)
    with pytest.raises(UserError, match=r"holds no id of a sweep.*Restore it, or delete it"):
        ensure_sweep_id(tmp_path / "x")
    config = check({"name": "x", "task": "masa:d1", "storage_path": str(tmp_path)})
    with pytest.raises(UserError, match="holds no id of a sweep"), tracked(SweepRun(config)):
        pytest.fail("the sweep has begun")


def test_an_id_that_a_full_disk_cut_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        ensure_sweep_id(tmp_path)
    assert not (tmp_path / SWEEP_ID_FILE).exists()
