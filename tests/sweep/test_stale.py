"""Changed data, missing folders and a set-back clock are noticed and explained; nothing is thrown away."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from helpers.fake_runner import planted

from sde_ray.config.load import check
from sde_ray.config.schema import SweepConfig
from sde_ray.errors import UserError
from sde_ray.storage.lease import lease, refuse_if_held
from sde_ray.sweep.cluster.preflight import check_from_node
from sde_ray.sweep.plan import plan
from sde_ray.sweep.stale import stale_result_notes
from sde_ray.types import TrialResult


def configure(folder: Path) -> SweepConfig:
    data = {"format": "jsonl", "path": str(folder / "d.jsonl")}
    task = {
        "name": "t",
        "kind": "label",
        "slots": ["food"],
        "labels": ["good", "bad"],
        "placeholder": "none",
        "data": data,
    }
    values: dict[str, Any] = {"name": "x", "task": task, "storage_path": str(folder / "runs"), "train_sizes": 10}
    return check({**values, "designs": ["baseline", "es-sde"], "eval_size": 5})


def write(folder: Path, word: str) -> None:
    rows = [{"text": f"{n} {word}", "answer": {"food": "good" if n % 2 else "bad"}} for n in range(40)]
    (folder / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def ended(config: SweepConfig) -> dict[str, TrialResult]:
    return {
        trial.key: TrialResult(
            trial.key, trial.resolved(), "finished", {"dev": {"weighted_kappa": planted(trial.design)}}
        )
        for trial in plan(config).trials
    }


def test_changed_data_are_told_with_what_follows(tmp_path: Path) -> None:
    write(tmp_path, "soup")
    config = configure(tmp_path)
    results = ended(config)
    for key in results:
        config.run_dir.trial(key).mkdir(parents=True)
    assert stale_result_notes(plan(config), results, config.run_dir) == []
    write(tmp_path, "stew")
    (note,) = stale_result_notes(plan(configure(tmp_path)), results, config.run_dir)
    assert "have changed since 2 of these trials ran: they run again" in note
    write(tmp_path, "soup")
    assert stale_result_notes(plan(configure(tmp_path)), results, config.run_dir) == []


def test_a_missing_trial_folder_is_told_with_what_is_lost(tmp_path: Path) -> None:
    write(tmp_path, "soup")
    config = configure(tmp_path)
    results = ended(config)
    first, second = results
    config.run_dir.trial(first).mkdir(parents=True)
    (note,) = stale_result_notes(plan(config), results, config.run_dir)
    assert f"1 of 2 ended trials have no folder any more ({second})" in note and "ledger.jsonl" in note


def test_a_driver_elsewhere_is_told_before_anything_is_touched(tmp_path: Path) -> None:
    refuse_if_held(tmp_path)
    holder = {"host": "elsewhere", "pid": 1, "started": "1", "expires": time.time() + 30}
    (tmp_path / "lease.json").write_text(json.dumps(holder))
    with pytest.raises(UserError, match=r"process 1 on elsewhere.*its lease ends by itself in (2|3)\d s"):
        refuse_if_held(tmp_path)


def test_another_process_here_is_told_and_this_one_is_not(tmp_path: Path) -> None:
    with lease(tmp_path):
        refuse_if_held(tmp_path)
        code = "import sys; from pathlib import Path; from sde_ray.storage.lease import refuse_if_held; " \
               "refuse_if_held(Path(sys.argv[1]))"  # fmt: skip
        done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 1 and f"on {socket.gethostname()}" in done.stderr


def test_a_clock_that_was_set_back_is_told_with_the_remedy(tmp_path: Path) -> None:
    holder = {"host": "elsewhere", "pid": 1, "started": "1", "expires": time.time() + 90_000}
    (tmp_path / "lease.json").write_text(json.dumps(holder))
    with pytest.raises(UserError, match=r'clocks of the two machines differ.*remove "lease.json"'), lease(tmp_path):
        pass


def test_a_node_that_shares_the_folder_leaves_its_marker(tmp_path: Path) -> None:
    (tmp_path / "driver").write_text("token")
    assert check_from_node(str(tmp_path), "token", "node") == ""
    assert (tmp_path / "node").read_text() == "token"


def test_a_node_says_what_it_does_not_see(tmp_path: Path) -> None:
    assert "does not see what the driver wrote" in check_from_node(str(tmp_path / "gone"), "token", "node")
    (tmp_path / "driver").write_text("another")
    assert check_from_node(str(tmp_path), "token", "node") == "sees another folder of the same name"
    (tmp_path / "driver").write_text("token")
    assert "cannot write there" in check_from_node(str(tmp_path), "token", "no/folder")


def test_all_nodes_that_fail_are_named_together(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from sde_ray.sweep.cluster import preflight

    nodes = [{"NodeID": f"{n}" * 12, "NodeManagerHostname": f"host{n}", "Alive": True} for n in range(3)]
    told = {"0" * 12: "", "1" * 12: "does not see it", "2" * 12: "cannot write there"}
    monkeypatch.setattr(preflight, "_ask_nodes", lambda *given: told)
    monkeypatch.setattr(preflight, "_check_marker", lambda *given: "")
    with pytest.raises(UserError) as raised:
        preflight.check_shared(str(tmp_path / "runs"), nodes)
    text = str(raised.value)
    assert "node host1 (11111111) does not see it" in text and "node host2" in text and "host0" not in text
    assert not (tmp_path / "runs" / preflight.MARKERS).exists()


def test_a_marker_that_never_appears_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from sde_ray.sweep.cluster import preflight

    monkeypatch.setattr(preflight, "VISIBLE_TIMEOUT_S", 0.3)
    assert preflight._check_marker(str(tmp_path), "node", "token") == "wrote there what the driver does not see"
    (tmp_path / "node").write_text("token")
    assert preflight._check_marker(str(tmp_path), "node", "token") == ""
