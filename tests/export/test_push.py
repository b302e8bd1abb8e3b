"""What goes to the hub: the adapter's files and a page that tells design, evidence and limits, and no more."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from sde_ray.analysis import strategy as strategies
from sde_ray.analysis import verdict as verdicts
from sde_ray.analysis.comparison import Comparison
from sde_ray.analysis.effects import Effect
from sde_ray.analysis.paired import PairedDifference
from sde_ray.analysis.strategy import Strategy
from sde_ray.cli.app import app
from sde_ray.config.trial import TrialConfig
from sde_ray.design.designs import NAMED, parse_design
from sde_ray.design.render import parse_completion
from sde_ray.errors import UserError
from sde_ray.export.model_card import made_up_example, prompt_parts
from sde_ray.export.push import make_package, push
from sde_ray.models.predictor import AdapterCard, read_card, write_card
from sde_ray.tasks import get_task
from sde_ray.testing.tasks import ALL

DESIGN = NAMED["es-sde"]


class Hub:
    """An `HfApi` that remembers what it was asked; `error`: what the upload raises."""

    def __init__(self, error: Exception | None = None) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.error = error

    def whoami(self) -> dict[str, str]:
        return {"name": "me"}

    def create_repo(self, **options: Any) -> str:
        self.calls.append(("create", options))
        return f"https://huggingface.co/{options['repo_id']}"

    def upload_folder(self, **options: Any) -> None:
        if self.error:
            raise self.error
        options["files"] = sorted(path.name for path in Path(options["folder_path"]).iterdir())
        self.calls.append(("upload", options))


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    """A validated run's adapter, with files beside it that concern nobody."""
    import numpy
    from safetensors.numpy import save_file

    folder = tmp_path / "runs" / "reviews" / "adapter"
    folder.mkdir(parents=True)
    name = "base_model.model.model.layers.0.self_attn.q_proj.lora_{}.weight"
    zeros = {name.format("A"): numpy.ones((2, 8), "float32"), name.format("B"): numpy.ones((8, 2), "float32")}
    save_file(zeros, str(folder / "adapter_model.safetensors"))
    lora = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "base_model_name_or_path": "/home/me/base"}
    (folder / "adapter_config.json").write_text(json.dumps(lora))
    (folder / "predictions.jsonl").write_text("secret data")
    write_card(folder, TrialConfig("masa:d1", DESIGN, "org/base@v1", 0, 1, 1), 24)
    run = folder.parent
    (run / "sweep.yaml").write_text(yaml.safe_dump({"task": "masa:d1", "model": "org/base@v1"}))
    effects = (Effect("format", "lines", "natural", 0.12, 0.05, 0.2, 9),)
    strategy = Strategy("masa:d1", "org/base@v1", DESIGN, "reviews", "weighted_kappa", 0.9, effects, {"format": "good"})
    strategies.save(strategy, run / "strategy.yaml")
    paired = PairedDifference(0.3, 0.1, 0.5, seeds=3)
    row = Comparison("baseline", NAMED["baseline"], "test", None, 0.9, 0.6, paired, 3, 50, "better")
    verdicts.save(verdicts.Verdict(DESIGN, "weighted_kappa", (row,), "It wins.", "assembled"), run / "validation.json")
    return folder


def test_a_package_has_the_adapter_and_its_page_only(adapter: Path, tmp_path: Path) -> None:
    package = make_package(adapter, "me/reviews", tmp_path / "package")
    assert sorted(package.files) == ["README.md", "adapter_config.json", "adapter_model.safetensors", "sde.json"]
    assert read_card(package.folder).model == "org/base@v1"
    assert json.loads((package.folder / "adapter_config.json").read_text())["base_model_name_or_path"] == "org/base"
    texts = [path.read_text() for path in package.folder.iterdir() if path.suffix != ".safetensors"]
    assert not any("/home/" in text or str(tmp_path) in text or "secret data" in text for text in texts)
    page = (package.folder / "README.md").read_text()
    head = yaml.safe_load(page.split("---")[1])
    assert (head["base_model"], head["library_name"], head["language"]) == ("org/base", "peft", ["en"])
    for words in (
        "Inst-first, No-MI, Lines, PU, TxtLabel, No-CoT", "It wins.", "| baseline | 0.900 to 0.600 | +0.300 |",
        "[+0.100, +0.500]", "+0.120 [+0.050, +0.200]", "`format` | `lines` | Lines | good", "hf download me/reviews",
        "not stated here",
    ):  # fmt: skip
        assert words in page, words


def test_the_code_of_the_page_writes_the_trained_prompt(adapter: Path, tmp_path: Path) -> None:
    from sde_ray.design.render import prompt_of

    page = (make_package(adapter, "me/reviews", tmp_path / "package").folder / "README.md").read_text()
    code = page.split("```python\n")[1].split("```")[0]
    names: dict[str, Any] = {}
    exec("\n".join(line for line in code.splitlines() if line.startswith(("BEFORE", "AFTER"))), names)
    expected = "".join(segment.text for segment in prompt_of("x", get_task("masa:d1"), DESIGN))
    assert names["BEFORE"] + "x" + names["AFTER"] == expected


@pytest.mark.parametrize("task", [task for task, _ in ALL], ids=[task.name for task, _ in ALL])
def test_the_made_up_example_is_an_answer_of_the_task(task: Any) -> None:
    from sde_ray.design.render import completion_of

    example = made_up_example(task)
    card = AdapterCard(task.name, {}, "m", 99, 9, chat_frame=("<u>", "<a>"))
    for design in (*NAMED.values(), parse_design("format=json_object,reasoning=cot")):
        parsed = parse_completion(completion_of(example, task, design), task, design, example.text)
        assert (dict(parsed.answer), parsed.faults) == (dict(example.answer), ())
        ((before, after),) = prompt_parts(card, task, design)
        assert before.startswith("<u>") and after.endswith("<a>")


def test_it_is_uploaded_as_told(adapter: Path, tmp_path: Path) -> None:
    from huggingface_hub.errors import LocalTokenNotFoundError

    package = make_package(adapter, "me/reviews", tmp_path / "package")
    hub = Hub()
    assert push(package, "me/reviews", api=hub) == "https://huggingface.co/me/reviews"
    assert hub.calls[0] == ("create", {"repo_id": "me/reviews", "private": True, "exist_ok": True})
    assert hub.calls[1][1]["files"] == sorted(package.files)
    with pytest.raises(UserError, match="hf auth login"):
        push(package, "me/reviews", api=Hub(LocalTokenNotFoundError("no token")))
    with pytest.raises(UserError, match="did not take me/reviews: no way"):
        push(package, "me/reviews", api=Hub(OSError("no way")))


def test_of_a_merged_model_the_check_stays_here(adapter: Path, tmp_path: Path) -> None:
    """Its items are data."""
    card = json.loads((adapter / "sde.json").read_text())
    (adapter / "sde.json").write_text(json.dumps({**card, "merged": True}))
    (adapter / "config.json").write_text(json.dumps({"_name_or_path": "/home/me/base"}))
    for name in ("model.safetensors", "tokenizer.json", "check.json", "notes.txt"):
        (adapter / name).write_text("{}")
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        (adapter / name).unlink()
    package = make_package(adapter, "me/reviews", tmp_path / "package")
    assert sorted(package.files) == ["README.md", "config.json", "model.safetensors", "sde.json", "tokenizer.json"]
    page = (package.folder / "README.md").read_text()
    assert "base_model_relation: merge" in page and 'AutoModelForCausalLM.from_pretrained("me/reviews")' in page
    assert not any("/home/" in (package.folder / name).read_text() for name in package.files)


@pytest.mark.parametrize(
    ("changes", "repo", "base", "message"),
    [
        ({}, "reviews", "", "no repository"),
        ({"model": "/models/mine"}, "me/r", "", "--base-model org/name"),
        (
            {"demonstrations": [{"id": "1", "text": "x", "answer": {}}], "design": {"demonstrations": "1"}},
            "me/r",
            "",
            "--with-demonstrations",
        ),
        ({"definition": {"name": "t", "note": "/home/me/x.jsonl"}}, "me/r", "", "a path of this machine"),
    ],
)
def test_what_may_not_go_out_is_refused(
    adapter: Path, tmp_path: Path, changes: dict[str, Any], repo: str, base: str, message: str
) -> None:
    card = json.loads((adapter / "sde.json").read_text())
    (adapter / "sde.json").write_text(json.dumps({**card, **changes}))
    with pytest.raises(UserError, match=message):
        make_package(adapter, repo, tmp_path / "package", base)


def test_nothing_goes_out_unasked(adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    refused = CliRunner().invoke(app, ["push", str(adapter), "me/reviews"])
    assert refused.exit_code == 2 and "--yes" in refused.output and "adapter_model.safetensors" in refused.output
    looked = CliRunner().invoke(app, ["push", str(adapter), "me/reviews", "--dry-run"])
    assert looked.exit_code == 0 and "Nothing was uploaded" in looked.output
    assert (tmp_path / "push-reviews" / "README.md").is_file()
