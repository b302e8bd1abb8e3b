"""As users walk: the shipped files copied into an empty folder, default settings, the commands of the README.

The last gate of `make test`. Nothing here passes an absolute path or a setting that a reader of the README would not.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMMAND = Path(sys.executable).with_name("sde-ray")

pytestmark = pytest.mark.walk


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's own folder: the two files that the README says to copy."""
    folder = tmp_path_factory.mktemp("mine")
    for name in ("bring_your_own.yaml", "bring_your_own.jsonl"):
        shutil.copy(ROOT / "sweeps" / name, folder)
    return folder


def sde_ray(folder: Path, *words: str) -> str:
    """What the command prints; it must succeed."""
    command = [str(COMMAND)] if COMMAND.exists() else [sys.executable, "-m", "sde_ray"]
    done = subprocess.run([*command, *words], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def test_a_users_own_task_from_show_to_predict(folder: Path) -> None:
    assert "hotels" in sde_ray(folder, "show", "bring_your_own.yaml", "-n", "1")
    assert "6 trials" in sde_ray(folder, "plan", "bring_your_own.yaml")
    told = sde_ray(folder, "run", "bring_your_own.yaml")
    assert "All trials failed" not in told
    rows = [json.loads(line) for line in (folder / "runs/bring_your_own/ledger.jsonl").read_text().splitlines()]
    assert {row["status"] for row in rows} == {"finished"}
    run = "runs/bring_your_own"
    assert (folder / run / "report.html").is_file()
    assert json.loads(sde_ray(folder, "effects", run, "--json"))
    answers = json.loads(sde_ray(folder, "predict", run, "Lovely room, cold breakfast.", "--json"))
    assert len(answers) == 1
