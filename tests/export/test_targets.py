"""The laws of exports: a file read as its tool reads it has the trial's ids, its loss mask and the gold answer."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from sde_ray.cli.app import app
from sde_ray.config.trial import Lora, Train, TrialConfig
from sde_ray.design.designs import NAMED, make_design
from sde_ray.design.render import parse_completion, render_sample
from sde_ray.errors import UserError
from sde_ray.export.files import Export
from sde_ray.export.framing import Framing, framing_notes
from sde_ray.export.source import ExportSource, open_source, prompt_text
from sde_ray.export.targets import TARGETS, axolotl, llama_factory, trl
from sde_ray.models.base import load_tokenizer
from sde_ray.models.tokenization import IGNORE_INDEX, Encoder
from sde_ray.testing.tasks import ALL
from sde_ray.types import Design, Task

CHAT = (  # as ChatML, with the embedded model's own marks
    "{% for m in messages %}{{ bos_token }}{{ m.role }}\n{{ m.content }}{{ eos_token }}\n{% endfor %}"
    "{% if add_generation_prompt %}{{ bos_token }}assistant\n{% endif %}"
)
DESIGNS = [*NAMED.values(), make_design(input_modeling="on", format="json_object", reasoning="cot", labels="number")]


def source_of(task: Task, examples: Any, design: Design, **settings: Any) -> ExportSource:
    """An export of these examples, as train and dev split."""
    values = {"task": task.name, "design": design, "model": "tiny", "seed": 3, "train_size": 4, "eval_size": 4}
    samples = [render_sample(one, task, design) for one in examples]
    trial = TrialConfig(**{**values, **settings})
    splits = {"train": samples, "dev": samples}
    return ExportSource(trial, task, splits, {name: list(examples) for name in splits}, "a design")


def rows_of(export: Export, name: str = "train.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in export.files[name].split("\n") if line]


@pytest.fixture(scope="module", params=["plain", "chat"])
def framing(request: pytest.FixtureRequest) -> Framing:
    """The embedded model's tokenizer, without and with a chat template."""
    tokenizer = load_tokenizer("tiny")
    tokenizer.chat_template = CHAT if request.param == "chat" else None
    encoder = Encoder(tokenizer, 4000)
    before, after = encoder.frame or ("<s>", "")
    return Framing(before, after, "</s>", "<s>", encoder.frame is not None, encoder, 64, 4000, "tiny")


def texts_of(target: str, row: dict[str, Any]) -> tuple[str, str]:
    """The prompt and the completion of a row, as a tool reads the form."""
    if target == "openai":
        user, assistant = row["messages"]
        assert (user["role"], assistant["role"]) == ("user", "assistant")
        return user["content"], assistant["content"]
    if target == "sharegpt":
        human, gpt = row["conversations"]
        assert (human["from"], gpt["from"]) == ("human", "gpt")
        return human["value"], gpt["value"]
    assert row["input"] == ""
    return row["instruction"], row["output"]


@pytest.mark.parametrize("design", DESIGNS, ids=lambda design: design.slug[-40:])
@pytest.mark.parametrize(("task", "examples"), ALL, ids=[task.name for task, _ in ALL])
def test_forms_give_prompt_and_gold_answer(task: Task, examples: Any, design: Design) -> None:
    source = source_of(task, examples, design)
    for target in ("openai", "sharegpt", "alpaca"):
        if target == "openai" and not source.masked:
            with pytest.raises(UserError, match="input_modeling=off"):
                TARGETS[target](source)
            continue
        export = TARGETS[target](source)
        pairs = [texts_of(target, row) for row in rows_of(export)]
        assert [prompt for prompt, _ in pairs] == [prompt_text(sample) for sample in source.samples["train"]]
        answers = [
            parse_completion(completion, task, design, example.text)
            for (_, completion), example in zip(pairs, examples, strict=True)
        ]
        assert [(one.answer, one.faults) for one in answers] == [(example.answer, ()) for example in examples]
        asked = rows_of(export, "prompts.jsonl")
        assert [row["prompt"] for row in asked] == [prompt for prompt, _ in pairs]


@pytest.mark.parametrize("design", DESIGNS, ids=lambda design: design.slug[-40:])
def test_framed_rows_have_the_trials_ids_and_loss_mask(framing: Framing, design: Design) -> None:
    for task, examples in ALL:
        source = source_of(task, examples, design)
        samples = source.samples["train"]
        encoded = framing.encoded(samples)
        end = len(framing.ids(framing.end))
        for sample, row, ours in zip(samples, trl.rows(framing, samples), encoded, strict=True):
            assert (row["input_ids"], row["labels"]) == (list(ours.input_ids), list(ours.labels))
            ids = axolotl.tokens(sample, framing)
            assert ids == ours.input_ids
            segments = axolotl.row(sample, framing)["segments"]
            counted = [token for one in segments for token in framing.ids(one["text"]) if one["label"]]
            assert counted == [label for label in ours.labels if label != IGNORE_INDEX]
            pair = llama_factory.row(sample, framing)
            assert framing.ids(pair["output"]) == ours.completion
            assert parse_completion(pair["output"].removesuffix(framing.end), task, design).faults == ()
            asked = framing.encoder.tokenizer.decode(ours.prompt)
            assert pair["instruction"] == asked == framing.before + prompt_text(sample) + framing.after
        assert end == 1


@pytest.mark.parametrize("framing", ["chat"], indirect=True)
def test_a_chat_tools_own_template_makes_the_trials_prompt(framing: Framing) -> None:
    """Where the tool applies the model's template to `openai`'s messages: the ids of the trial's prompt."""
    task, examples = ALL[0]
    source = source_of(task, examples, NAMED["es-sde"])
    for row, ours in zip(rows_of(TARGETS["openai"](source)), framing.encoded(source.samples["train"]), strict=True):
        ids = framing.encoder.tokenizer.apply_chat_template(
            row["messages"][:1], add_generation_prompt=True, return_dict=False
        )
        assert tuple(ids) == ours.prompt


def test_a_loss_on_a_prompt_in_a_chat_template_is_told(framing: Framing) -> None:
    """LLaMA-Factory's mask of the prompt is all or nothing, the template included."""
    assert ("which the trial leaves out" in llama_factory.prompt_note(framing)) == framing.chat


def test_ids_that_a_tool_makes_otherwise_are_counted(framing: Framing) -> None:
    task, examples = ALL[0]
    source = source_of(task, examples[:2], NAMED["baseline"])
    same = framing_notes(source, framing, lambda sample: axolotl.tokens(sample, framing))
    assert same == ["Of 4 samples 4 have the very token ids of the trial."]
    (other,) = framing_notes(source, framing, lambda sample: ())
    assert other.startswith("Of 4 samples 0 have the very token ids") and "in 4 the tokenizer joins" in other


TRAIN = Train(
    num_train_epochs=2, train_batch_size=8, gradient_accumulation_steps=2, learning_rate=3e-4, warmup_steps=0.5,
    lr_scheduler_type="cosine", weight_decay=0.1, max_length=256, adam_beta2=0.95, dtype="bfloat16",
)  # fmt: skip
LORA = Lora(r=4, lora_alpha=12, lora_dropout=0.05, target_modules=("q_proj", "v_proj"), use_dora=True)
SAME = {"learning_rate": 3e-4, "weight_decay": 0.1, "max_grad_norm": 1.0, "seed": 3, "gradient_accumulation_steps": 2}


@pytest.mark.parametrize(
    ("target", "file", "expected"),
    [
        (
            "trl",
            "trl.yaml",
            {
                **SAME, "lora_r": 4, "lora_alpha": 12, "lora_dropout": 0.05,
                "lora_target_modules": ["q_proj", "v_proj"],
                "use_dora": True, "per_device_train_batch_size": 4, "num_train_epochs": 2, "max_length": 256,
                "adam_beta2": 0.95, "bf16": True, "lr_scheduler_type": "cosine", "packing": False,
            },
        ),
        (
            "llama-factory",
            "train.yaml",
            {
                **SAME, "lora_rank": 4, "lora_alpha": 12, "lora_dropout": 0.05, "lora_target": "q_proj,v_proj",
                "use_dora": True, "per_device_train_batch_size": 4, "num_train_epochs": 2, "cutoff_len": 256,
                "template": "empty", "train_on_prompt": False, "adam_beta2": 0.95, "bf16": True,
                "lr_scheduler_type": "cosine",
            },
        ),
        (
            "axolotl",
            "axolotl.yaml",
            {
                **SAME, "lora_r": 4, "lora_alpha": 12, "lora_dropout": 0.05,
                "lora_target_modules": ["q_proj", "v_proj"],
                "peft_use_dora": True, "micro_batch_size": 4, "num_epochs": 2, "sequence_len": 256,
                "train_on_inputs": False, "sample_packing": False, "adam_beta2": 0.95, "bf16": True,
                "lr_scheduler": "cosine",
            },
        ),
    ],
)  # fmt: skip
def test_a_configuration_says_what_the_trial_does(target: str, file: str, expected: dict[str, Any]) -> None:
    task, examples = ALL[0]
    source = source_of(task, examples * 4, NAMED["es-sde"], lora=LORA, train=TRAIN)
    values = yaml.safe_load(TARGETS[target](source).files[file])
    assert {key: values.get(key) for key in expected} == expected
    assert values["warmup_steps"] == round(0.5 * -(-len(source.samples["train"]) * 2 // 8))


def test_what_a_tool_cannot_be_told_is_said() -> None:
    task, examples = ALL[0]
    lora = Lora(exclude_modules=("lm_head",), rank_pattern={"q_proj": 16})
    source = source_of(task, examples, NAMED["es-sde"], lora=lora, deepspeed={"zero_optimization": {"stage": 2}})
    export = TARGETS["llama-factory"](source)
    for words in ("lora.exclude_modules", "lora.rank_pattern = {'q_proj': 16}", "section deepspeed"):
        assert any(words in note for note in export.notes)
        assert words in export.files["train.yaml"]
    assert yaml.safe_load(export.files["predict.yaml"])["do_sample"] is False
    constrained = TARGETS["sharegpt"](source_of(task, examples, make_design(decoding="constrained")))
    assert any("decoding=constrained" in note for note in constrained.notes)
    on = source_of(task, examples, make_design(input_modeling="on"))
    export = TARGETS["llama-factory"](on)
    assert yaml.safe_load(export.files["train.yaml"])["train_on_prompt"] is True
    assert "The loss counts the prompt (`train_on_prompt`)." in export.notes


# ---- the command -----------------------------------------------------------------------------------------------------


def invoke(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments))


def test_the_samples_are_those_of_the_trial(tmp_path: Path) -> None:
    """As the trial draws and renders them; a smaller export is the start of a larger one; never test, unless named."""
    from sde_ray import data
    from sde_ray.tasks import get_task

    task = get_task("masa:d1")
    source = open_source("quickstart", design="es-sde", train_size=12)
    drawn = data.draw(task.load("train"), 12, source.trial.seed)
    assert [sample.id for sample in source.samples["train"]] == [example.id for example in drawn]
    assert source.samples["train"][0] == render_sample(drawn[0], task, NAMED["es-sde"])
    assert set(source.samples) == {"train", "dev"} and source.trial.seed == 101
    assert len(open_source("quickstart", design="es-sde", train_size="all").samples["train"]) == len(task.load("train"))
    many = open_source("quickstart", design="wordings=many", train_size=12)
    assert len({prompt_text(sample).rpartition("---")[2] for sample in many.samples["train"]}) > 1
    assert len({prompt_text(sample).rpartition("---")[2] for sample in many.samples["dev"]}) == 1
    named = open_source("quickstart", design="es-sde", splits=["test"])
    assert set(named.samples) == {"train", "test"} and len(named.samples["test"]) == 150


def test_exported_completions_are_scored(tmp_path: Path) -> None:
    place = tmp_path / "out"
    options = ("--strategy", "quickstart", "--design", "es-sde")
    done = invoke("export", *options, "--to", "openai", "--out", str(place), "--json")
    assert done.exit_code == 0, done.output
    dev = [json.loads(line) for line in (place / "dev.jsonl").read_text().splitlines()]
    ids = [json.loads(line)["id"] for line in (place / "prompts.jsonl").read_text().splitlines()]
    gold = [row["messages"][1]["content"] for row in dev]
    by_id = [{"id": id, "prediction": text} for id, text in zip(ids, gold, strict=True)]
    factory = [{"prompt": "x", "predict": text, "label": text} for text in gold]
    for rows in (by_id, factory):
        (place / "completions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        scored = invoke("score", str(place / "completions.jsonl"), *options, "--json")
        assert scored.exit_code == 0, scored.output
        scores = json.loads(scored.stdout)
        assert (scores["weighted_kappa"], scores["items"], scores["faults"]) == (1.0, 120, {})
    named = invoke("score", str(place / "completions.jsonl"), "--task", "masa:d1", "--design", "es-sde", "--json")
    assert json.loads(named.stdout)["weighted_kappa"] == 1.0


def test_several_prompts_an_item_and_demonstrations_are_exported_and_scored(tmp_path: Path) -> None:
    """As the trial asks: after its demonstrations, each group of slots by itself, with the numbers of the parts."""
    from sde_ray.evaluation.rescore import score_completions

    slug = "slots_per_sample=2,demonstrations=1,negatives=0.5"
    source = open_source("quickstart", design=slug, train_size=6)
    dev, shown = source.samples["dev"], source.examples["train"][0].text
    assert [sample.id for sample in dev[:3]] == [f"{source.examples['dev'][0].id}#{n}" for n in (1, 2, 3)]
    assert all(shown in prompt_text(sample) for sample in (*dev[:3], source.samples["train"][-1]))
    assert 6 <= len(source.samples["train"]) < 18
    rows = [{"id": sample.id, "prediction": sample.completion.text} for sample in dev]
    path = tmp_path / "c.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    scores = score_completions(path, source.task, source.design)
    assert (scores.scores["weighted_kappa"], scores.items, scores.faults) == (1.0, 120, {})
    path.write_text(json.dumps({"id": "masa-d1-dev-1", "prediction": "x"}))
    with pytest.raises(UserError, match="is no part of an item: the design asks each in 3"):
        score_completions(path, source.task, source.design)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ('{"id": "nobody", "prediction": "x"}', 'line 1: the dev split of masa:d1 has no item "nobody"'),
        ('{"id": "masa-d1-dev-1", "prediction": ""}\n' * 2, 'line 2: the item "masa-d1-dev-1" stands twice'),
        ('{"id": 1, "prediction": "x"}', "no text under target"),
        ('{"id": "masa-d1-dev-1"}', "no text under prediction"),
    ],
)
def test_lines_of_no_item_are_refused(tmp_path: Path, lines: str, message: str) -> None:
    (tmp_path / "c.jsonl").write_text(lines)
    done = invoke("score", str(tmp_path / "c.jsonl"), "--task", "masa:d1")
    assert done.exit_code == 2 and message in " ".join(done.output.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--to", "mlx"), 'Unknown tool "mlx"'),
        (("--to", "openai"), "has no strategy.yaml yet"),
        (("--to", "openai", "--design", "es-sde", "--train-size", "0"), "no number of samples"),
        (("--to", "openai", "--design", "es-sde", "--train-size", "99999"), "are there. Lower --train-size"),
        (("--to", "openai", "--design", "es-sde", "--split", "dve"), 'Unknown split "dve"'),
        (("--to", "trl", "--design", "input_modeling=0.1"), "a weight in the loss, which none of these tools has"),
        (("--to", "openai", "--design", "repeat=2"), "repeat=2 changes the training itself"),
        (("--to", "openai", "--design", "es-sde", "--out", "full"), "is not empty"),
    ],
)
def test_a_refusal_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("x")
    done = invoke("export", "--strategy", "quickstart", *arguments)
    assert done.exit_code == 2 and message in " ".join(done.output.split()), done.output


def test_a_form_is_exported_without_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from sde_ray.cli.app import app\n"
        f"try: app('export --strategy quickstart --design es-sde --to sharegpt --out'.split() + [{str(tmp_path)!r}])\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "assert not {'torch', 'transformers', 'ray', 'mlflow'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_strategys_own_design_is_exported_or_what_is_recommended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the folder or its strategy.yaml; where the final comparison recommends a control, that control's design."""
    from sde_ray.analysis import strategy as strategies
    from sde_ray.analysis import verdict as verdicts
    from sde_ray.analysis.comparison import Comparison
    from sde_ray.analysis.strategy import Strategy
    from sde_ray.config.load import load_config

    config = load_config("quickstart", [f"storage_path={tmp_path}"])
    folder = config.run_dir.path
    folder.mkdir(parents=True)
    (folder / "sweep.yaml").write_text(yaml.safe_dump({"task": "masa:d1", "model": "tiny", "train_sizes": [9]}))
    assembled = make_design(labels="number")
    strategies.save(
        Strategy("masa:d1", "tiny", assembled, "quickstart", "weighted_kappa", 0.9), folder / "strategy.yaml"
    )
    for place in (folder, folder / "strategy.yaml"):
        source = open_source(str(place))
        assert (source.design, len(source.samples["train"])) == (assembled, 9)
        assert open_source(str(place), design="es-sde").design == NAMED["es-sde"]
    row = Comparison("es-sde", NAMED["es-sde"], "test", None, 0.8, 0.9, None, 3, 50, "worse")
    verdicts.save(verdicts.Verdict(assembled, "weighted_kappa", (row,), "no", "es-sde"), folder / "validation.json")
    source = open_source(str(folder))
    assert source.design == NAMED["es-sde"] and "es-sde, which the final comparison" in source.origin
