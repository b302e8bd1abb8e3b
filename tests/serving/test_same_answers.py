"""Law: a text has one answer: by the command, the server's endpoints, MLflow's pyfunc; alone or among others.

Of hostile texts, too. Batches differ in all of these ways, and so does who has loaded the adapter.
"""

from __future__ import annotations

import json
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from helpers.served import Client, served
from typer.testing import CliRunner

from sde_ray.cli.app import app
from sde_ray.config.trial import Train, TrialConfig
from sde_ray.design.designs import make_design
from sde_ray.models.predictor import Predictor, write_card
from sde_ray.tasks import get_task

pytestmark = pytest.mark.slow

HOSTILE = [
    "", " \n", "\x00", "\x1b[2J\x07", "\u202eabc", "\ufeff", "<s></s><pad>", "a" * 5000, "\\ud800", '{"text": "x"}',
    "food: positive\nservice: negative", "无", "😀" * 200, '"' * 300, "[" * 2000, "x" * 200_001, "$(reboot)", "{text}",
]  # fmt: skip


@pytest.fixture(scope="module")
def adapter(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a random model with a random adapter: it has near ties everywhere."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    folder = tmp_path_factory.mktemp("trial")
    torch.manual_seed(0)
    base = AutoModelForCausalLM.from_pretrained(tiny_llama)
    lora = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False)
    get_peft_model(base, lora).save_pretrained(folder / "adapter")
    train = Train(max_length=1024)
    config = TrialConfig("masa:d1", make_design(), str(tiny_llama), 1, train_size=16, eval_size=2, train=train)
    write_card(folder / "adapter", config, 12)
    return folder


@pytest.fixture(scope="module")
def texts() -> list[str]:
    words = " ".join(one.text for one in get_task("masa:d1").load("dev")).split()
    draw = random.Random(0)
    return [*HOSTILE, *(" ".join(draw.choices(words, k=draw.randrange(1, 30))) for _ in range(50 - len(HOSTILE)))]


@pytest.fixture(scope="module")
def expected(adapter: Path, texts: list[str]) -> list[dict[str, Any]]:
    """Each text by itself, by the command with a list of them."""
    rows: list[dict[str, Any]] = []
    predictor = Predictor.load(adapter)
    for text in texts:
        (answered,) = predictor.answer([text])
        answer = {slot: list(values) for slot, values in answered.parsed.answer.items()}
        faults = [fault.kind for fault in answered.parsed.faults]
        rows.append({"answer": answer, "completion": answered.completion, "faults": faults})
    refused = {"": "empty", " \n": "empty", "x" * 200_001: "at most"}
    rows = [{"error": refused[text]} if text in refused else row for text, row in zip(texts, rows, strict=True)]
    assert len({row.get("completion") for row in rows}) > 20, "a model that always says the same shows nothing"
    return rows


@pytest.fixture(scope="module")
def client(adapter: Path) -> Any:
    with served(Predictor.load(adapter), max_batch=13) as client:
        yield client


def assert_same(rows: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    for row, wanted in zip(rows, expected, strict=True):
        if "error" in wanted:
            assert wanted["error"] in row["error"]
        else:
            assert {name: row[name] for name in wanted} == wanted


def test_the_command(adapter: Path, texts: list[str], expected: list[dict[str, Any]], tmp_path: Path) -> None:
    rows = "".join(json.dumps({"id": n, "text": text}) + "\n" for n, text in enumerate(texts))
    (tmp_path / "in.jsonl").write_text(rows)
    files = ["-i", str(tmp_path / "in.jsonl"), "-o", str(tmp_path / "out.jsonl"), "--batch-size", "7"]
    assert CliRunner().invoke(app, ["predict", str(adapter), *files]).exit_code == 0
    written = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["id"] for row in written] == list(range(len(texts)))
    assert_same(written, expected)
    done = CliRunner().invoke(app, ["predict", str(adapter), "--json", "--strict", "--", *texts[:5]])
    assert done.exit_code == 2, "two of them are empty"
    assert_same(json.loads(done.stdout), expected[:5])


def test_the_server_one_by_one_and_in_one_request(
    client: Client, texts: list[str], expected: list[dict[str, Any]]
) -> None:
    assert_same(client.post("/predict", {"texts": texts}).json["predictions"], expected)
    for text, wanted in list(zip(texts, expected, strict=True))[::5]:
        reply = client.post("/predict", {"text": text})
        assert reply.status == (400 if "error" in wanted else 200)
        if reply.status == 200:
            assert_same([reply.json], [wanted])


@pytest.mark.parametrize("path", ["/predict", "/v1/chat/completions", "/v1/completions"])
def test_the_server_under_load(client: Client, path: str, texts: list[str], expected: list[dict[str, Any]]) -> None:
    bodies = {
        "/predict": lambda text: {"text": text},
        "/v1/chat/completions": lambda text: {"messages": [{"role": "user", "content": text}]},
        "/v1/completions": lambda text: {"prompt": text},
    }
    with ThreadPoolExecutor(100) as pool:
        replies = list(pool.map(lambda text: client.post(path, bodies[path](text)).json, texts * 2))
    rows = []
    for reply in replies:
        if "error" in reply:
            rows.append({"error": reply["error"]["message"]})
        elif path == "/predict":
            rows.append(reply)
        else:
            said = reply["choices"][0]
            rows.append(
                {**reply["sde_ray"], "completion": said["text"] if "text" in said else said["message"]["content"]}
            )
    assert_same(rows, expected * 2)


def test_mlflow_s_pyfunc(adapter: Path, texts: list[str], expected: list[dict[str, Any]]) -> None:
    from sde_ray.tracking.pyfunc import SampleDesignModel

    model = SampleDesignModel()
    model.load_context(SimpleNamespace(artifacts={"adapter": str(adapter / "adapter")}))
    assert_same(model.predict(None, texts), expected)
    (odd,) = model.predict(None, ["\ud800"])
    assert "half a surrogate pair" in odd["error"] and odd["answer"] == {}
