"""Marks of what a mirror has not sent: whose they are is known by process, not by the name of a host."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from sde_ray.storage import dirty_marks
from sde_ray.storage.dirty_marks import UNSENT, DirtyMarks


def change(folder: Path, **values: Any) -> None:
    """Make the only mark one of another process."""
    (path,) = (folder / UNSENT).iterdir()
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_a_mark_is_set_and_removed_by_the_path_in_the_mirror(tmp_path: Path) -> None:
    marks = DirtyMarks(tmp_path)
    assert marks.all() == {}
    marks.set("trials/5f0c/größe 1")
    marks.set("ledger.jsonl", at_work=True)
    assert DirtyMarks(tmp_path).all() == {"trials/5f0c/größe 1": False, "ledger.jsonl": True}
    marks.set("ledger.jsonl")
    marks.remove("trials/5f0c/größe 1")
    marks.remove("never set")
    assert marks.all() == {"ledger.jsonl": False}


def test_nobody_is_at_work_on_what_a_dead_process_has_left(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    DirtyMarks(tmp_path).set("x", at_work=True)
    change(tmp_path, pid=gone.pid)
    assert DirtyMarks(tmp_path).all() == {"x": False}
    change(tmp_path, pid=os.getpid(), started="1")
    assert DirtyMarks(tmp_path).all() == {"x": False}, "another process had this id before"


@pytest.mark.parametrize("part", ["machine", "namespace"])
def test_a_process_of_another_container_with_this_host_s_name_may_be_at_work_for_a_day(
    part: str, tmp_path: Path
) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    DirtyMarks(tmp_path).set("x", at_work=True)
    change(tmp_path, pid=gone.pid, **{part: "another"})
    assert DirtyMarks(tmp_path).all() == {"x": True}
    old = time.time() - dirty_marks.STALE_SECONDS - 1
    os.utime(next((tmp_path / UNSENT).iterdir()), (old, old))
    assert DirtyMarks(tmp_path).all() == {"x": False}, "the machine was started anew, or the container is gone"


def test_a_mark_is_written_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that dies while it marks leaves the old mark, and what it wrote is no mark."""
    marks = DirtyMarks(tmp_path)
    marks.set("x", at_work=True)

    def die(*arguments: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", die)
    with pytest.raises(KeyboardInterrupt):
        marks.set("x")
    assert marks.all() == {"x": True} and len(list((tmp_path / UNSENT).iterdir())) == 2
    (torn,) = (tmp_path / UNSENT).glob("*.new")
    os.utime(torn, (0, 0))
    assert marks.all() == {"x": True} and not torn.exists()
    (tmp_path / UNSENT / "y").write_text("")
    assert marks.all() == {"x": True, "y": False}, "one of a version that did not"
