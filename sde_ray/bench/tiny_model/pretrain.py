"""Pretrain the embedded base model.

    python -m sde_ray.bench.tiny_model.pretrain --out DIR [--tokens 24e6] [--threads 2]

Tokenizer (byte-level BPE, every character encodable), a Llama of a few million parameters, and a curriculum of
(prompt, answer) pairs (`corpus.py`), in which a label weighs more than its form and a prompt next to nothing. Seeded;
resumable: the same command resumes from the last checkpoint in DIR, also with other --threads. At the end DIR holds a
Hugging Face model in bfloat16, its tokenizer and a model card with the recipe and the loss curve.

Hidden matrices are trained by Muon, the rest by AdamW.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from random import Random
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from sde_ray.bench.tiny_model import corpus
from sde_ray.bench.tiny_model.losses import WeightedTokens, pretraining_loss
from sde_ray.bench.tiny_model.muon import Muon
from sde_ray.data import synthetic

PAD, BOS, EOS = "<pad>", "<s>", "</s>"
# Words the corpus holds back but users of the bundled tasks need as whole tokens.
EXTRA_TEXT = (
    "food: positive, drinks: unmentioned, price: negative, hygiene: neutral.\n" * 20
    + '{"aspect": "staff", "sentiment": "positive", "reason": "not mentioned"}\n' * 20
    + "Read the review above and rate these aspects. Ratings: positive, negative, neutral, unmentioned.\n" * 20
    + "Output: 1, -1, 0, -2\n" * 20
    + '["DNA", "x"] RNA: none; protein; cell_type; cell_line\n' * 10
    + "; ".join(["Attack", "Competition", "Motion", "Killing", "Social_event", "Causation", "Process_start"] * 10)
    + "; ".join(["Conquering", "Catastrophe", "Hostile_encounter", "answer: unknown"] * 10)
)


CARD = """# sde_ray tiny

A Llama-architecture causal LM with {parameters:,} parameters, made for the demo and the tests of `sde_ray`: it reads
made-up reviews, laboratory sentences, news and passages, and writes answers in many forms. It knows nothing else. As
ratings or types it has never seen the label words and type names of the bundled tasks, nor any of their texts; those
words occur in copying exercises only, with meanings drawn at random.

Made by `python -m sde_ray.bench.tiny_model.pretrain` from text of the package's own generators; Apache-2.0, as the
package.

Recipe:

```json
{recipe}
```

Wall time {minutes:.0f} minutes. Columns: million tokens seen; training loss, weighted as in the script; held-out loss
by sort, of the labels or copied words where a sort has them.

| million tokens | training | held out |
|--:|--:|---|
{rows}
"""


@dataclass(frozen=True)
class Recipe:
    """`batch_tokens` counts padded tokens a step; `decay` is the last share of the run, with falling step sizes.

    `previous_from`: the progress from which the first layer is taught the previous token, too (see `previous_loss`).
    """

    vocabulary: int = 2048
    tokenizer_pairs: int = 20_000
    width: int = 192
    layers: int = 4
    heads: int = 6
    hidden: int = 512
    context: int = 1024
    tokens: int = 15_000_000
    batch_tokens: int = 2560
    muon_lr: float = 3e-3
    adam_lr: float = 3e-3
    warmup_steps: int = 80
    decay: float = 0.3
    prompt_weight: float = 0.05
    label_weight: float = 4.0
    previous_from: float = 0.39285
    seed: int = 0


def train_tokenizer(recipe: Recipe) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer trained on the corpus and on the words of the bundled tasks."""
    random = Random(f"tokenizer {recipe.seed}")
    pairs = (corpus.pair(random, random.random()) for _ in range(recipe.tokenizer_pairs))
    texts = [pair.prompt + corpus.unmarked(pair.answer)[0] for pair in pairs] + [EXTRA_TEXT] * 20
    tokenizer = Tokenizer(models.BPE())
    digits = pre_tokenizers.Digits(individual_digits=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=recipe.vocabulary, special_tokens=[PAD, BOS, EOS], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    # Every text begins with the begin token, in pretraining and ever after: attention rests on it.
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{BOS} $A", special_tokens=[(BOS, 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PAD, bos_token=BOS, eos_token=EOS, model_max_length=recipe.context
    )


def build_model(recipe: Recipe) -> LlamaForCausalLM:
    """The Llama of a recipe, with seeded weights."""
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


def encode(tokenizer: Any, pair: corpus.Pair, recipe: Recipe) -> WeightedTokens:
    """Prompt and answer are tokenised apart, as samples are; the end token belongs to the answer."""
    prompt = tokenizer.encode(pair.prompt, add_special_tokens=False) if pair.prompt else []
    text, spans = corpus.unmarked(pair.answer)
    encoding = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    other = recipe.prompt_weight if pair.sort == "tagged" else 1.0
    weights = [
        recipe.label_weight if any(start < end and stop > begin for begin, end in spans) else other
        for start, stop in encoding["offset_mapping"]
    ]
    return (
        [1, *prompt, *encoding["input_ids"], 2],
        [0.0, *([recipe.prompt_weight] * len(prompt)), *weights, 1.0],
        pair.sort == "tagged",
    )


# From which progress on: exercises in repeating for each pair of the curriculum.
REPEATS = ((0.0, 0.25), (0.2, 0.08), (0.395, 0.3), (0.6, 0.06))


def repeating(random: Random, vocabulary: int, newline: int) -> WeightedTokens:
    """Tokens at random and then again, whole or in pieces of another order: copying, whatever the tokens are.

    Every token is drawn, those too that the corpus never writes: without that their vectors would stay the same, and
    no adapter could tell them apart.
    """
    tokens = [random.randrange(3, vocabulary) for _ in range(random.randint(8, 48))]
    if random.random() < 0.5:
        again, weights = list(tokens), [1.0] * len(tokens)
    else:
        pieces = [tokens[start : start + 4] for start in range(0, len(tokens), 4)]
        random.shuffle(pieces)
        again = [token for piece in pieces for token in piece]
        weights = [float(position > 0) for piece in pieces for position in range(len(piece))]
    return [1, *tokens, newline, *again], [0.0] * (len(tokens) + 2) + weights, False


@dataclass(frozen=True)
class DataPosition:
    """A run's position in its data: the pool of pairs, the tokens seen before it, the batches of it already used."""

    pool: int = 0
    before: int = 0
    used: int = 0


def batches(
    tokenizer: Any, recipe: Recipe, start: DataPosition
) -> Iterator[tuple[DataPosition, int, list[WeightedTokens]]]:
    """Endless batches of rows of similar length, with at most `batch_tokens` padded tokens each.

    Yields (position after the batch, tokens seen, rows). A run that resumes at a position yields what an uninterrupted
    run yields from there on.
    """
    reserved = synthetic.reserved()
    newline = tokenizer.encode("\n", add_special_tokens=False)[-1]
    pool, before, used = start.pool, start.before, start.used
    while True:
        random = Random(f"corpus {recipe.seed} {pool}")
        progress = before / recipe.tokens
        pairs = [corpus.pair(random, progress) for _ in range(1500)]
        rows = [encode(tokenizer, pair, recipe) for pair in pairs if pair.text not in reserved]
        share = [share for start, share in REPEATS if progress >= start][-1]
        rows += [repeating(random, len(tokenizer), newline) for _ in range(round(share * len(pairs)))]
        rows.sort(key=lambda row: len(row[0]))
        groups: list[list[WeightedTokens]] = [[]]
        for row in rows:
            if (len(groups[-1]) + 1) * len(row[0]) > recipe.batch_tokens:
                groups.append([])
            groups[-1].append(row)
        random.shuffle(groups)
        seen = before
        for number, group in enumerate(groups, 1):
            seen += sum(len(row[0]) for row in group)
            if number > used:
                yield DataPosition(pool, before, number), seen, group
        pool, before, used = pool + 1, seen, 0


def optimizers(model: LlamaForCausalLM, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon for the hidden matrices, AdamW for the rest."""
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    rest = [p for n, p in model.named_parameters() if p.ndim != 2 or "embed" in n]
    muon = Muon(matrices, lr=recipe.muon_lr, weight_decay=0.01)
    return [muon, torch.optim.AdamW(rest, lr=recipe.adam_lr, betas=(0.9, 0.98), weight_decay=0.0)]


def lr_multiplier(recipe: Recipe, step: int, seen: int) -> float:
    """Learning-rate schedule: linear warm-up, constant, linear decay to 2% of the full learning rate."""
    remaining = max(0.0, 1 - seen / recipe.tokens)
    return min(1.0, (step + 1) / recipe.warmup_steps) * min(1.0, max(0.02, remaining / recipe.decay))


@torch.no_grad()
def held_out(model: LlamaForCausalLM, tokenizer: Any, recipe: Recipe, device: str) -> dict[str, float]:
    """Loss by sort on pairs of a seed that training never draws: of the labels, else of the answer."""
    random = Random("held out")
    groups: dict[str, list[WeightedTokens]] = {}
    for _ in range(240):
        pair = corpus.pair(random, 1.0)
        ids, weights, _ = encode(tokenizer, pair, recipe)
        counts = 1.0 if pair.sort == "plain" else recipe.label_weight
        labels = [float(weight == counts) for weight in weights]
        if any(labels):
            groups.setdefault(pair.sort, []).append((ids, labels, False))
    newline = tokenizer.encode("\n", add_special_tokens=False)[-1]
    groups["repeating"] = [repeating(random, len(tokenizer), newline) for _ in range(20)]
    return {sort: round(float(pretraining_loss(model, rows, device)), 4) for sort, rows in sorted(groups.items())}


def save(model: LlamaForCausalLM, tokenizer: Any, out: Path, recipe: Recipe, curve: list[dict[str, Any]]) -> None:
    """The model in bfloat16, its tokenizer and its card."""
    copy = LlamaForCausalLM(model.config)
    copy.load_state_dict(model.state_dict())
    copy.to(torch.bfloat16).save_pretrained(out, safe_serialization=True)
    tokenizer.save_pretrained(out)
    rows = "\n".join(
        f"| {c['seen'] / 1e6:.1f} | {c['train']:.3f} | {c['held_out']} |" for c in curve[:: max(1, len(curve) // 30)]
    )
    parameters = sum(p.numel() for p in model.parameters())
    minutes = sum(c["seconds"] for c in curve) / 60
    card = CARD.format(parameters=parameters, recipe=json.dumps(asdict(recipe), indent=1), minutes=minutes, rows=rows)
    (out / "README.md").write_text(card, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tokens", type=float, default=Recipe.tokens)
    parser.add_argument("--layers", type=int, default=Recipe.layers)
    parser.add_argument("--width", type=int, default=Recipe.width)
    parser.add_argument("--seed", type=int, default=Recipe.seed)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--minutes", type=float, default=1e9, help="stop (resumably) after so many minutes")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    recipe = Recipe(
        tokens=int(options.tokens),
        layers=options.layers,
        width=options.width,
        heads=options.width // 32,
        hidden=options.width * 8 // 3,
        seed=options.seed,
    )
    pretrain(recipe, options.out, options.minutes)


class PretrainingRun:
    """A pretraining run: the model, its optimizers, its position in the data and its curve, in one checkpoint."""

    def __init__(self, recipe: Recipe, out: Path) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self.recipe, self.out = recipe, out
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        if not (out / "tokenizer.json").exists():
            train_tokenizer(recipe).save_pretrained(out)
        self.tokenizer = PreTrainedTokenizerFast.from_pretrained(out)
        self.model = build_model(recipe).to(self.device)
        self.previous = torch.nn.Linear(recipe.width, recipe.width, bias=False, device=self.device)
        torch.nn.init.eye_(self.previous.weight)
        previous_token_optimizer = torch.optim.AdamW(
            self.previous.parameters(), lr=recipe.adam_lr, betas=(0.9, 0.98), weight_decay=0.0
        )
        self.optimizers = [*optimizers(self.model, recipe), previous_token_optimizer]
        self.base_lrs = [group["lr"] for group in self._groups()]
        self.position, self.seen, self.step = DataPosition(), 0, 0
        self.curve: list[dict[str, Any]] = []
        if (out / "checkpoint.pt").exists():
            self._resume(torch.load(out / "checkpoint.pt", weights_only=True))

    def _groups(self) -> list[dict[str, Any]]:
        return [group for optimizer in self.optimizers for group in optimizer.param_groups]

    def _resume(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.previous.load_state_dict(state["previous"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.position = DataPosition(*state["place"])
        self.seen, self.step = state["seen"], state["step"]
        self.curve = state["curve"]

    def learn(self, rows: list[WeightedTokens]) -> float:
        """One optimiser step; the loss."""
        multiplier = lr_multiplier(self.recipe, self.step, self.seen)
        for base_lr, group in zip(self.base_lrs, self._groups(), strict=True):
            group["lr"] = base_lr * multiplier
        helped = self.seen / self.recipe.tokens >= self.recipe.previous_from
        previous = self.previous if helped else None
        loss = pretraining_loss(self.model, rows, self.device, early=True, previous=previous, turn=self.step)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        self.step += 1
        return loss.item()

    def report(self, losses: list[float], seconds: float) -> None:
        """Add a row to the curve, print it, and write the checkpoint in one move."""
        row = {"seen": self.seen, "step": self.step, "train": sum(losses) / len(losses), "seconds": seconds}
        row["held_out"] = held_out(self.model, self.tokenizer, self.recipe, self.device)
        self.curve.append(row)
        print(json.dumps(row), flush=True)
        state = {
            "model": self.model.state_dict(),
            "previous": self.previous.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "place": list(astuple(self.position)),
            "seen": self.seen,
            "step": self.step,
            "curve": self.curve,
        }
        torch.save(state, self.out / "checkpoint.tmp")
        (self.out / "checkpoint.tmp").replace(self.out / "checkpoint.pt")


def pretrain(recipe: Recipe, out: Path, minutes: float = 1e9) -> None:
    """Train until `recipe.tokens` have been seen; resumes from the checkpoint in `out` where there is one."""
    run = PretrainingRun(recipe, out)
    started = last_report = time.time()
    losses: list[float] = []
    for position, seen, rows in batches(run.tokenizer, recipe, run.position):
        losses.append(run.learn(rows))
        run.position, run.seen = position, seen
        done = seen >= recipe.tokens or time.time() - started > minutes * 60
        if done or time.time() - last_report > 60:
            run.report(losses, time.time() - last_report)
            last_report, losses = time.time(), []
        if done:
            break
    save(run.model, run.tokenizer, out, recipe, run.curve)


if __name__ == "__main__":
    main()
