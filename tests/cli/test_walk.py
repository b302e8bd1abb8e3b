"""As users walk: the shipped files copied into an empty folder, default settings, the commands of README and docs.

The last gate of `make test`. Nothing here passes an absolute path or a setting that a reader of README would not. The
commands that use a finished run are read from the pages, with this run in place of the quickstart's.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.pages import ROOT, pages, words_of

COMMAND = Path(sys.executable).with_name("sde-ray")
RUN = "runs/bring_your_own"
CHEAP = {
    "effects",
    "compare",
    "assemble",
    "predict",
    "score",
    "report",
}  # on a finished run; others only say what they would cost

pytestmark = pytest.mark.walk


def run_command(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The command as a process of its own; it must succeed."""
    command = [str(COMMAND)] if COMMAND.exists() else [sys.executable, "-m", "sde_ray"]
    done = subprocess.run([*command, *words], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done


def sde_ray(folder: Path, *words: str) -> str:
    """What the command prints on its standard output."""
    return run_command(folder, *words).stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's own folder: the two files that README says to copy, and what a run of them leaves."""
    folder = tmp_path_factory.mktemp("mine")
    for name in ("bring_your_own.yaml", "bring_your_own.jsonl"):
        shutil.copy(ROOT / "sweeps" / name, folder)
    assert "hotels" in sde_ray(folder, "show", "bring_your_own.yaml", "-n", "1")
    assert "7 trials" in sde_ray(folder, "plan", "bring_your_own.yaml")
    (folder / "stderr.txt").write_text(run_command(folder, "run", "bring_your_own.yaml").stderr)
    return folder


OWN_LINES = re.compile(r"Starting|note: |\[\d+/\d+\] \S")


def test_a_run_shows_its_own_lines_and_none_of_a_library(folder: Path) -> None:
    lines = (folder / "stderr.txt").read_text().splitlines()
    assert [line for line in lines if not OWN_LINES.match(line)] == []
    assert lines[0] == "Starting: the plan first, then Ray."
    assert sum(line.startswith("Starting Ray") for line in lines) == 2, "for the sweep, and for the final comparison"
    assert sum(bool(re.match(r"\[\d+/7\]", line)) for line in lines) == 7


def test_every_trial_has_finished_and_the_page_is_there(folder: Path) -> None:
    rows = [json.loads(line) for line in (folder / RUN / "ledger.jsonl").read_text().splitlines()]
    assert {row["status"] for row in rows} == {"finished"}
    assert (folder / RUN / "report.html").is_file()


def test_the_winner_answers_in_its_own_design(folder: Path) -> None:
    (answer,) = json.loads(sde_ray(folder, "predict", RUN, "Lovely room, cold breakfast.", "--json"))
    assert set(answer["answer"]) <= {"room", "breakfast", "wifi"}


def on_this_run(command: str) -> list[str]:
    words = words_of(command)
    return [w.replace("quickstart", "bring_your_own").replace("sweeps/", "") for w in words]


ON_A_RUN = sorted(
    {
        tuple(on_this_run(command))
        for page in pages()
        for command, whole in page.commands()
        if whole and "quickstart" in command and (words_of(command)[0] in CHEAP or "--dry-run" in command)
        if not any(word.endswith(".jsonl") for word in words_of(command))  # which another tool has written
    }
)


def test_the_pages_have_such_commands() -> None:
    assert {words[0] for words in ON_A_RUN} >= CHEAP | {"robustness", "analyze"}


@pytest.mark.parametrize("words", ON_A_RUN, ids=" ".join)
def test_a_command_of_the_pages_on_a_finished_run(words: tuple[str, ...], folder: Path) -> None:
    ledger = folder / RUN / "ledger.jsonl"
    before = ledger.read_bytes()
    done = run_command(folder, *words)
    assert (done.stdout + done.stderr).strip(), "a dry run says its cost on the standard error"
    assert "--json" not in words or json.loads(done.stdout)
    assert ledger.read_bytes() == before, "it trains nothing"
