"""The script that a user writes today for one design: transformers' Trainer, peft, `generate`. It stands for itself.

    python plain_script.py job.json result.json

The job has the samples as text, each piece with its loss flag, in the order of training; the prompts to answer; and
every setting (`work.py` writes it). Of this package nothing is imported. What speeds such a script up is in it: no
evaluation or checkpoint in between, the adapter merged before decoding, prompts sorted by length and decoded in batches
of the best measured size.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

IGNORE_INDEX = -100


def main(job_path: str, result_path: str) -> None:
    hide_deepspeed()
    job = json.loads(Path(job_path).read_text(encoding="utf-8"))
    Path(result_path).write_text(json.dumps(run_job(job)), encoding="utf-8")


def hide_deepspeed() -> None:
    """Make DeepSpeed look as if it were not installed: accelerate would import it for nothing, a second a process."""
    sys.modules["deepspeed"] = None  # type: ignore[assignment]


def run_job(job: dict[str, Any]) -> dict[str, Any]:
    """Train and decode. Returns completions by id, losses, the number of new tokens, and seconds by phase."""
    laps, last = {}, time.perf_counter()

    def lap(phase: str) -> None:
        nonlocal last
        laps[phase], last = time.perf_counter() - last, time.perf_counter()

    import torch

    torch.set_num_threads(job["threads"])
    from peft import get_peft_model  # noqa: F401
    from transformers import Trainer, logging  # noqa: F401

    logging.set_verbosity_error()
    lap("import")
    model, tokenizer = load(job)
    lap("load")
    rows = tokenize(job["train"], tokenizer)
    prompts = [[*begin(tokenizer), *ids] for ids in (encode(item["prompt"], tokenizer) for item in job["items"])]
    lap("tokenize")
    model, losses = train(model, tokenizer, rows, job)
    lap("train")
    generated = generate(model.merge_and_unload(), tokenizer, prompts, job["max_new_tokens"], job["decode_batch_size"])
    texts = [tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False) for ids in generated]
    lap("decode")
    return {
        "completions": {item["id"]: text for item, text in zip(job["items"], texts, strict=True)},
        "losses": losses,
        "new_tokens": sum(map(len, generated)),
        "seconds": laps,
    }


def load(job: dict[str, Any]) -> tuple[Any, Any]:
    """The base model on its device, and the tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(**job["model"])
    model = AutoModelForCausalLM.from_pretrained(**job["model"], dtype=getattr(torch, job["dtype"]))
    return model.to("cuda" if torch.cuda.is_available() else "cpu"), tokenizer


def begin(tokenizer: Any) -> list[int]:
    """The begin token, where the tokenizer puts one before a text."""
    first = tokenizer("a")["input_ids"][0]
    return [first] if first == tokenizer.bos_token_id else []


def encode(pieces: list[list[Any]], tokenizer: Any) -> list[int]:
    """The ids of pieces of text, each by itself, so that a loss flag ends where its piece ends."""
    texts = [text for text, _ in pieces]
    ids = tokenizer(texts, add_special_tokens=False, split_special_tokens=True)["input_ids"] if texts else []
    return [one for piece in ids for one in piece]


def tokenize(samples: list[dict[str, Any]], tokenizer: Any) -> list[dict[str, list[int]]]:
    """Samples as ids and labels."""
    rows = []
    for sample in samples:
        ids, labels = list(begin(tokenizer)), [IGNORE_INDEX] * len(begin(tokenizer))
        for piece in [*sample["prompt"], [sample["completion"], True]]:
            part = encode([piece], tokenizer)
            ids += part
            labels += part if piece[1] else [IGNORE_INDEX] * len(part)
        end = tokenizer.eos_token_id
        rows.append({"input_ids": [*ids, end], "labels": [*labels, end]})
    return rows


def train(model: Any, tokenizer: Any, rows: list[dict[str, list[int]]], job: dict[str, Any]) -> tuple[Any, list[float]]:
    """Train a fresh adapter. Returns the model with it, and the logged losses."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import PrinterCallback, Trainer, TrainingArguments, set_seed

    def collate(batch: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
        longest = max(len(row["input_ids"]) for row in batch)
        fill = {"input_ids": tokenizer.pad_token_id or tokenizer.eos_token_id, "labels": IGNORE_INDEX}
        padded = {
            name: torch.tensor([row[name] + [value] * (longest - len(row[name])) for row in batch])
            for name, value in fill.items()
        }
        real = [[1] * len(row["input_ids"]) + [0] * (longest - len(row["input_ids"])) for row in batch]
        return {**padded, "attention_mask": torch.tensor(real)}

    set_seed(job["seed"])
    peft_model = get_peft_model(model, LoraConfig(**job["lora"], task_type="CAUSAL_LM"))
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            seed=job["seed"],
            use_cpu=not torch.cuda.is_available(),
            dataloader_pin_memory=torch.cuda.is_available(),
            train_sampling_strategy="sequential",  # the rows stand in the order of training
            num_train_epochs=1,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            logging_steps=job["logging_steps"],
            **job["training_arguments"],
        )
        trainer = Trainer(peft_model, arguments, train_dataset=rows, data_collator=collate)
        trainer.remove_callback(PrinterCallback)  # it would print every logged loss
        trainer.train()
    return peft_model.eval(), [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def end_tokens(model: Any, tokenizer: Any) -> set[int]:
    """The ids that end an answer: the tokenizer's, and those of the model's own configuration."""
    more = model.generation_config.eos_token_id
    return {tokenizer.eos_token_id, *([] if more is None else [more] if isinstance(more, int) else more)}


def generate(
    model: Any, tokenizer: Any, prompts: list[list[int]], max_new_tokens: int, batch_size: int
) -> list[list[int]]:
    """The new tokens of each prompt, greedily, without the end token; batches of prompts of like length."""
    import torch

    ends = end_tokens(model, tokenizer)
    pad = tokenizer.pad_token_id or tokenizer.eos_token_id
    by_length = sorted(range(len(prompts)), key=lambda number: -len(prompts[number]))
    generated: list[list[int]] = [[] for _ in prompts]
    for start in range(0, len(prompts), batch_size):
        numbers = by_length[start : start + batch_size]
        longest = len(prompts[numbers[0]])
        ids = torch.tensor([[pad] * (longest - len(prompts[n])) + list(prompts[n]) for n in numbers])
        mask = torch.tensor([[0] * (longest - len(prompts[n])) + [1] * len(prompts[n]) for n in numbers])
        with torch.inference_mode():
            out = model.generate(
                input_ids=ids.to(model.device),
                attention_mask=mask.to(model.device),
                do_sample=False,
                max_new_tokens=max_new_tokens,
                eos_token_id=sorted(ends),
                pad_token_id=pad,
            )
        for number, row in zip(numbers, out[:, longest:].tolist(), strict=True):
            length = next((place for place, token in enumerate(row) if token in ends), len(row))
            generated[number] = row[:length]
    return generated


if __name__ == "__main__":
    main(*sys.argv[1:])
