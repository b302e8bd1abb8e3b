"""docs/serving.md, command by command in an empty folder, as a user walks it: from a file to an endpoint.

Only the training is shorter than the page's: fewer samples, one seed of the final comparison, one control.
"""

from __future__ import annotations

import json
import random
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "serving.md").read_text(encoding="utf-8")
COMMAND = [sys.executable, "-m", "sde_ray"]
SHORTER = ["--set", "train_sizes=[24]", "--set", "validation.seeds=[101]", "--set", "validation.controls=[baseline]"]
SHORTER += ["--set", "validation.test_size=8", "--set", "eval_size=8", "--set", "train.num_train_epochs=1"]

NO_CURL = pytest.mark.skipif(shutil.which("curl") is None, reason="the page asks with curl")
pytestmark = [pytest.mark.slow, pytest.mark.cluster, NO_CURL]


def commands(program: str) -> list[list[str]]:
    lines = [line for block in re.findall(r"^```sh\n(.*?)^```", PAGE, re.M | re.S) for line in block.splitlines()]
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith(program + " ")]


def write_tickets(path: Path) -> None:
    """240 records like the one on the page."""
    draw = random.Random(0)
    words = {"urgent": ["is down again", "lost all my data", "does not start"], "calm": ["works", "is fine", "is slow"]}
    rows = []
    for n in range(240):
        thing, urgent = draw.choice(["router", "phone", "app", "invoice"]), draw.random() < 0.5
        text = f"Hello, my {thing} {draw.choice(words['urgent' if urgent else 'calm'])}. (case {n})"
        answer = {"product": "billing" if thing == "invoice" else thing, "urgency": "high" if urgent else "low"}
        messages = [{"role": "user", "content": text}, {"role": "assistant", "content": json.dumps(answer)}]
        rows.append({"messages": messages})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """The folder after all commands but those of the server, and what each kind printed last."""
    folder = tmp_path_factory.mktemp("mine")
    write_tickets(folder / "tickets.jsonl")
    (folder / "new.jsonl").write_text(next(b for b in re.findall(r"```json\n(.*?)```", PAGE, re.S) if '"id": 3' in b))
    printed: dict[str, str] = {}
    for words in commands("sde-ray"):
        if words[0] in ("serve", "bench"):
            continue
        shorter = SHORTER if words[0] == "run" else []
        done = subprocess.run([*COMMAND, *words, *shorter], cwd=folder, capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, (words, done.stdout[-2000:], done.stderr[-2000:])
        printed[words[0]] = done.stdout + done.stderr
    return folder, printed


@pytest.fixture(scope="module")
def server(walked: tuple[Path, dict[str, str]]) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The page's server, at a port that is free, and its address."""
    (words,) = commands("sde-ray serve")
    words[words.index("--port") + 1] = "0"
    process = subprocess.Popen(
        [*COMMAND, "serve", *words[1:]], cwd=walked[0], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    assert process.stderr is not None
    line = process.stderr.readline()
    address = re.search(r"http://\S+", line)
    assert address, line + process.stderr.read()
    yield process, address[0]
    process.kill()


def test_the_file_becomes_a_sweep_and_a_winner(walked: tuple[Path, dict[str, str]]) -> None:
    folder, printed = walked
    assert "read as OpenAI messages" in printed["init"] and (folder / "runs/tickets/adapter/sde.json").is_file()
    page = (folder / "runs/tickets/report.html").read_text(encoding="utf-8")
    assert ">general</th>" in page and "bits per byte of plain texts" in page


def test_the_rows_of_a_file_are_answered(walked: tuple[Path, dict[str, str]]) -> None:
    folder, printed = walked
    rows = [json.loads(line) for line in (folder / "answers.jsonl").read_text().splitlines()]
    assert [row["id"] for row in rows] == [1, 2, 3] and rows[1]["input_answer"] == {"product": "app"}
    assert [set(row) >= {"answer", "completion", "faults"} for row in rows] == [True, True, False]
    assert rows[2]["error"] == "The text is empty." and "3 rows, 1 of them with an error" in printed["predict"]


def test_the_server_answers_what_the_page_asks_and_ends_in_order(
    walked: tuple[Path, dict[str, str]], server: tuple[subprocess.Popen[str], str]
) -> None:
    process, address = server
    replies: list[dict[str, Any]] = []
    for words in commands("curl"):
        at = [word.replace("localhost:8123", address.removeprefix("http://")) for word in words]
        done = subprocess.run(["curl", "-sS", *at], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        replies.append(json.loads(done.stdout))
    predicted, chat = replies
    (first, *_) = [json.loads(line) for line in (walked[0] / "answers.jsonl").read_text().splitlines()]
    assert predicted == {name: first[name] for name in ("answer", "completion", "faults")}, "as in the file"
    assert chat["choices"][0]["message"]["role"] == "assistant" and chat["sde_ray"]["ignored"] == ["temperature"]
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    assert process.stderr is not None
    lines = process.stderr.read().splitlines()
    assert lines[-1] == "Every request was answered." and sum("POST" in line for line in lines) == 2
