"""One place knows where every file of a run lies."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from sde_ray.config.load import check
from sde_ray.errors import UserError
from sde_ray.safe_json import content_hash
from sde_ray.storage import layout
from sde_ray.storage.ledger import Ledger
from sde_ray.storage.run_directory import RunDirectory
from sde_ray.types import TrialResult

PACKAGE = Path(__file__).parents[2] / "sde_ray"
# What may write a name of the layout as a text: the layout, and rooms that may not import it.
EXEMPT = ("storage/layout.py", "storage/run_directory.py", "plugins.py", "testing/")


def test_a_run_with_one_task_and_model_has_short_names(tmp_path: Path) -> None:
    run_dir = RunDirectory(str(tmp_path), "hotels")
    assert run_dir.path == tmp_path / "hotels" and run_dir == RunDirectory.at(tmp_path / "hotels")
    assert run_dir.uri("report.html") == str(run_dir.report)
    assert run_dir.strategy("masa:d1", "tiny").name == "strategy.yaml"
    assert run_dir.validation("masa:d1", "tiny").name == "validation.json"
    assert run_dir.predictions("k") == tmp_path / "hotels" / "trials" / "k" / "predictions.jsonl"
    assert run_dir.predictions("k", rung=0).name == "predictions.0.jsonl"


def test_several_tasks_models_and_sizes_are_told_apart_by_name(tmp_path: Path) -> None:
    config = check(
        {
            "name": "x",
            "storage_path": str(tmp_path),
            "task": ["masa:d1", "masa:d2"],
            "model": ["tiny", "org/base"],
            "train_sizes": [20, 40],
        }
    )
    run_dir = config.run_dir
    assert run_dir.suffix("masa:d1", "org/base", 20) == "-masa_d1-org_base-20"
    assert run_dir.strategy("masa:d1", "org/base").name == "strategy-masa_d1-org_base.yaml"
    assert run_dir.adapter("masa:d2", "tiny").name == "adapter-masa_d2-tiny"


def test_an_address_has_its_paths_in_the_mirror_of_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SDE_MIRROR", str(tmp_path))
    run_dir = RunDirectory("s3://bucket/runs", "x")
    assert run_dir.uri("ledger.jsonl") == "s3://bucket/runs/x/ledger.jsonl"
    assert run_dir.ledger.path == tmp_path / "s3/bucket/runs/x/ledger.jsonl"


def test_results_are_those_of_the_ledger_and_none_is_said_with_its_remedy(tmp_path: Path) -> None:
    run_dir = RunDirectory(str(tmp_path), "x")
    assert run_dir.results() == {}
    with pytest.raises(UserError, match="no finished trial. Run the sweep first"):
        run_dir.existing_results()
    config = {"task": "masa:d1", "design": {"format": "json"}}
    key = content_hash(config)
    Ledger(run_dir.ledger.path).append(TrialResult(key, config, "finished", {"dev": {"accuracy": 0.5}}))
    assert [result.key for result in run_dir.existing_results()] == [key]


def test_no_other_module_writes_the_name_of_a_file_of_a_run() -> None:
    names = {name for name in vars(layout).values() if isinstance(name, str) and re.fullmatch(r"[a-z.]+\.[a-z]+", name)}
    names -= {layout.CONFIG}  # a model's folder has one of that name, too
    assert len(names) >= 9
    found = []
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            joined = isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) and node.right
            if isinstance(node, ast.Constant) and node.value in names:
                found.append(f"{file.relative_to(PACKAGE)}: {node.value}")
            if isinstance(joined, ast.Constant) and joined.value in {"trials", "adapter"}:
                found.append(f"{file.relative_to(PACKAGE)}: {joined.value}")
    assert [one for one in found if not one.startswith(EXEMPT)] == []
