"""Pretrain the embedded base model: `python -m sde_ray.models.pretrain --out DIR [--tokens 24e6] [--threads 2]`.

Tokenizer (byte-level BPE, every character encodable), a Llama of a few million parameters, and a curriculum of
(prompt, answer) pairs with the loss on the answers only (`corpus.py`). Seeded; resumable: the same command goes on from
the last checkpoint in DIR, also with other --threads. At the end DIR holds a Hugging Face model in bfloat16, its
tokenizer and a model card with the recipe and the loss curve.

On the CPU hidden matrices are trained by Muon, the rest by AdamW; logits are computed at answer tokens only.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from sde_ray.data import made
from sde_ray.models import corpus
from sde_ray.models.muon import Muon

PAD, BOS, EOS = "<pad>", "<s>", "</s>"
# Words the corpus holds back but users of the bundled tasks need as whole tokens.
EXTRA_TEXT = (
    "food: positive, drinks: unmentioned, price: negative, hygiene: neutral.\n" * 20
    + '{"aspect": "staff", "sentiment": "positive", "reason": "not mentioned"}\n' * 20
    + "Read the review above and rate these aspects. Ratings: positive, negative, neutral, unmentioned.\nOutput: 1, -1, 0, -2\n" * 20
    + '["DNA", "x"] RNA: none; protein; cell_type; cell_line\n' * 10
    + "; ".join(["Attack", "Competition", "Motion", "Killing", "Social_event", "Causation", "Process_start"] * 10)
    + "; ".join(["Conquering", "Catastrophe", "Hostile_encounter", "answer: unknown"] * 10)
)


@dataclass(frozen=True)
class Recipe:
    """`batch_tokens` counts padded tokens a step; `decay` is the last share of the run, with falling step sizes."""

    vocabulary: int = 2048
    width: int = 192
    layers: int = 4
    heads: int = 6
    hidden: int = 512
    context: int = 1024
    tokens: int = 16_000_000
    batch_tokens: int = 4096
    muon_lr: float = 4e-3
    adam_lr: float = 3e-3
    warmup_steps: int = 80
    decay: float = 0.3
    seed: int = 0


def train_tokenizer(recipe: Recipe) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer trained on the corpus and on the words of the bundled tasks."""
    random = Random(f"tokenizer {recipe.seed}")
    pairs = (corpus.pair(random, random.random()) for _ in range(20_000))
    texts = [pair.prompt + pair.answer for pair in pairs] + [EXTRA_TEXT] * 20
    tokenizer = Tokenizer(models.BPE())
    digits = pre_tokenizers.Digits(individual_digits=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=recipe.vocabulary, special_tokens=[PAD, BOS, EOS], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PAD, bos_token=BOS, eos_token=EOS, model_max_length=recipe.context
    )


def build_model(recipe: Recipe) -> LlamaForCausalLM:
    torch.manual_seed(recipe.seed)
    config = LlamaConfig(
        vocab_size=recipe.vocabulary,
        hidden_size=recipe.width,
        intermediate_size=recipe.hidden,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.heads,
        max_position_embeddings=recipe.context,
        tie_word_embeddings=True,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    return LlamaForCausalLM(config)


Row = tuple[list[int], int]  # ids, number of leading ids without loss


def encode(tokenizer: Any, pair: corpus.Pair) -> Row:
    """Prompt and answer are tokenised apart, as samples are; the end token belongs to the answer."""
    prompt = tokenizer.encode(pair.prompt, add_special_tokens=False) if pair.prompt else []
    answer = tokenizer.encode(pair.answer, add_special_tokens=False)
    return [1, *prompt, *answer, 2], len(prompt) + 1


def batches(tokenizer: Any, recipe: Recipe, start: int) -> Iterator[tuple[int, list[Row]]]:
    """(tokens seen so far, rows of similar length with at most `batch_tokens` padded tokens), without end."""
    reserved = made.reserved()
    seen, pool_number = start, 0
    while True:
        random = Random(f"corpus {recipe.seed} {start} {pool_number}")
        pool_number += 1
        pairs = (corpus.pair(random, seen / recipe.tokens) for _ in range(1500))
        rows = sorted((encode(tokenizer, p) for p in pairs if p.text not in reserved), key=lambda r: len(r[0]))
        groups: list[list[Row]] = [[]]
        for row in rows:
            if (len(groups[-1]) + 1) * len(row[0]) > recipe.batch_tokens:
                groups.append([])
            groups[-1].append(row)
        random.shuffle(groups)
        for group in groups:
            seen += sum(len(row[0]) for row in group)
            yield seen, group


def loss_of(model: LlamaForCausalLM, rows: list[Row], device: str) -> torch.Tensor:
    """Mean negative log-likelihood of the answer tokens; logits are computed at those positions only."""
    longest = max(len(ids) for ids, _ in rows)
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    target = torch.full((len(rows), longest), -100)
    for i, (row, free) in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
        target[i, free - 1 : len(row) - 1] = torch.tensor(row[free:])
    ids, target = ids.to(device), target.to(device)
    hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state  # right padding: causal, no mask needed
    kept = target != -100
    return torch.nn.functional.cross_entropy(model.lm_head(hidden[kept]).float(), target[kept])


def optimizers(model: LlamaForCausalLM, recipe: Recipe) -> list[torch.optim.Optimizer]:
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    rest = [p for n, p in model.named_parameters() if p.ndim != 2 or "embed" in n]
    muon = Muon(matrices, lr=recipe.muon_lr, weight_decay=0.01)
    return [muon, torch.optim.AdamW(rest, lr=recipe.adam_lr, betas=(0.9, 0.98), weight_decay=0.0)]


def scale(recipe: Recipe, step: int, seen: int) -> float:
    """The share of the full step size at this point: linear warm-up, constant, linear decay to 2%."""
    left = max(0.0, 1 - seen / recipe.tokens)
    return min(1.0, (step + 1) / recipe.warmup_steps) * min(1.0, max(0.02, left / recipe.decay))


@torch.no_grad()
def held_out(model: LlamaForCausalLM, tokenizer: Any, recipe: Recipe, device: str) -> dict[str, float]:
    """Loss by sort on pairs of a seed that training never draws."""
    random = Random("held out")
    groups: dict[str, list[Row]] = {}
    for _ in range(240):
        pair = corpus.pair(random, 1.0)
        groups.setdefault(pair.sort, []).append(encode(tokenizer, pair))
    return {sort: round(float(loss_of(model, rows, device)), 4) for sort, rows in sorted(groups.items())}


def save(model: LlamaForCausalLM, tokenizer: Any, out: Path, recipe: Recipe, curve: list[dict[str, Any]]) -> None:
    """The model in bfloat16, its tokenizer and its card."""
    copy = LlamaForCausalLM(model.config)
    copy.load_state_dict(model.state_dict())
    copy.to(torch.bfloat16).save_pretrained(out, safe_serialization=True)
    tokenizer.save_pretrained(out)
    rows = "\n".join(f"| {c['seen'] / 1e6:.1f} | {c['train']:.3f} | {c['held_out']} |" for c in curve[:: max(1, len(curve) // 30)])
    parameters = sum(p.numel() for p in model.parameters())
    minutes = sum(c["seconds"] for c in curve) / 60
    (out / "README.md").write_text(
        f"# sde_ray tiny\n\nA Llama-architecture causal LM with {parameters:,} parameters, made for the demo and the tests of"
        " `sde_ray`: it reads made-up reviews, laboratory sentences, news and passages, and writes answers in many forms."
        " It knows nothing else, and it has never seen the label words, the type names or the texts of the bundled tasks.\n\n"
        "Made by `python -m sde_ray.models.pretrain` from text of the package's own generators (Apache-2.0).\n\n"
        f"Recipe:\n\n```json\n{json.dumps(asdict(recipe), indent=1)}\n```\n\nWall time {minutes:.0f} minutes."
        f"\n\n| million tokens | answer loss | held-out loss by sort |\n|--:|--:|---|\n{rows}\n",
        encoding="utf-8",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tokens", type=float, default=Recipe.tokens)
    parser.add_argument("--layers", type=int, default=Recipe.layers)
    parser.add_argument("--width", type=int, default=Recipe.width)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--minutes", type=float, default=1e9, help="stop (resumably) after so many minutes")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    recipe = Recipe(
        tokens=int(given.tokens), layers=given.layers, width=given.width, heads=given.width // 32, hidden=given.width * 8 // 3
    )
    pretrain(recipe, given.out, given.minutes)


def pretrain(recipe: Recipe, out: Path, minutes: float = 1e9) -> None:
    """Train until `recipe.tokens` have been seen, going on from the checkpoint in `out` where there is one."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    out.mkdir(parents=True, exist_ok=True)
    checkpoint = out / "checkpoint.pt"
    tokenizer_file = out / "tokenizer.json"
    if not tokenizer_file.exists():
        train_tokenizer(recipe).save_pretrained(out)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(out)
    model = build_model(recipe).to(device)
    steppers = optimizers(model, recipe)
    seen, step, curve = 0, 0, []
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        for stepper, saved in zip(steppers, state["optimizers"], strict=True):
            stepper.load_state_dict(saved)
        seen, step, curve = state["seen"], state["step"], state["curve"]
    began, mark, losses = time.time(), time.time(), []
    bases = [group["lr"] for s in optimizers(model, recipe) for group in s.param_groups]
    for seen_now, rows in batches(tokenizer, recipe, seen):
        share = scale(recipe, step, seen_now)
        for base, group in zip(bases, (g for s in steppers for g in s.param_groups), strict=True):
            group["lr"] = base * share
        loss = loss_of(model, rows, device)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for stepper in steppers:
            stepper.step()
            stepper.zero_grad()
        seen, step = seen_now, step + 1
        losses.append(loss.item())
        done = seen >= recipe.tokens or time.time() - began > minutes * 60
        if done or time.time() - mark > 60:
            row = {"seen": seen, "step": step, "train": sum(losses) / len(losses), "seconds": time.time() - mark}
            row["held_out"] = held_out(model, tokenizer, recipe, device)
            curve.append(row)
            print(json.dumps(row), flush=True)
            mark, losses = time.time(), []
            whole = {"model": model.state_dict(), "optimizers": [s.state_dict() for s in steppers]}
            torch.save({**whole, "seen": seen, "step": step, "curve": curve}, out / "checkpoint.tmp")
            (out / "checkpoint.tmp").replace(checkpoint)
        if done:
            break
    save(model, tokenizer, out, recipe, curve)


if __name__ == "__main__":
    main()
