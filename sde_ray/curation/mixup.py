"""Mixup of confident and unconfident samples as a regulariser, SFTMix (2410.05248; `mixup: [0, 0.2]`).

    reference run ─▶ perplexity of each answer at its checkpoints ─▶ halves at the median ─▶ pairs across the halves
    loss = next-token loss of all samples + mu * mean over positions of CE(W z, y)
           z = weight * z_confident + (1 - weight) * z_unconfident, y likewise, weight ~ Beta(alpha, alpha) per pair

z are the last layer's hidden states of the two answers, aligned at the answers' first token, as far as the shorter one
goes. The output layer W is linear, so W z is the same mixture of the two rows' logits: the samples' own forward pass
has them already, and nothing is computed twice. (Models that bend their logits are mixed before that.)

The *reference run* is the plain trial on the same samples. Its confidences are kept for the whole run by everything
that decides them, so trials that differ in mu or alpha share one. Trials of different seeds do not: these draw other
samples, and as replicates of the method they must hold the noise of the reference run, too. Which samples are the
unconfident ones is in the trial's folder, `curation/confidence.jsonl`.

What the paper leaves open is decided here: a weight for each pair; both means are over tokens, those of an optimiser
step together; perplexity is measured at evenly spaced steps, the last one among them; of an odd number of samples the
middle one is in either half by turns, and a sample that is left without a partner has the next-token loss only.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from sde_ray.design.prompt import INPUT_MODELING
from sde_ray.errors import UserError
from sde_ray.safe_json import content_hash
from sde_ray.training.curation import Method
from sde_ray.types import Sample

if TYPE_CHECKING:
    from torch import Tensor

    from sde_ray.models.tokenization import TokenizedSample
    from sde_ray.training.batching import Step
    from sde_ray.training.preparation import Preparation
    from sde_ray.training.trainer import Trainer
    from sde_ray.training.worker import Worker

Pair = tuple["TokenizedSample", "TokenizedSample"]

# What of a trial does not reach its reference run: what is scored, and when.
UNSEEN = ("splits", "eval_size", "out_of_domain", "rungs", "interim_looks")


class Mixup(Method):
    """Pairs of a confident and an unconfident sample, mixed; `value` is mu. `prepared`: samples by confidence."""

    together = 2

    def faults(self) -> Iterable[str]:
        size, workers = self.config.train.train_batch_size, self.config.num_workers
        if size % 2:
            yield f"mixup pairs the samples of a step, and train.train_batch_size is {size}. Set an even number."
        if workers > 1:
            yield f"mixup pairs samples on one worker, and resources.num_workers is {workers}. Set it to 1."
        if self.config.train_size < 2:
            yield "mixup pairs samples, and train_sizes has 1. Set it to 2 or more."
        graded = self.config.design["input_modeling"]
        if graded not in INPUT_MODELING.options:
            yield f"mixup mixes tokens that count alike, and input_modeling is {graded}. Take off or on."

    # ---- where the trial is written ----------------------------------------------------------------------------------

    def samples(self, samples: Sequence[Sample], preparation: Preparation) -> Sequence[Sample]:
        """The same samples; measures how confident the reference run is of each."""
        reference = reference_key(self.config, self.settings, samples)
        confidences = preparation.remember(
            "confidence", lambda: preparation.share(reference, lambda: self._confidences(samples, preparation))
        )
        if not _are_numbers(confidences, len(samples)):
            raise UserError(
                f"The confidences of {len(samples)} samples in {preparation.folder} are damaged. Delete that folder, "
                f"and {preparation.shared}."
            )
        self.prepared = sorted(range(len(samples)), key=lambda index: (-confidences[index], index))
        half = -(-len(samples) // 2)
        rows = [
            {"id": samples[index].id, "confidence": confidences[index], "confident": place < half}
            for place, index in enumerate(self.prepared)
        ]
        preparation.write("confidence.jsonl", "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
        return samples

    def _confidences(self, samples: Sequence[Sample], preparation: Preparation) -> list[float]:
        """Minus the mean perplexity of each sample's completion over the checkpoints of the reference run."""
        model = self.settings.reference or self.config.model
        measured = [
            preparation.apply("perplexities")[0]
            for _ in preparation.fit_in_parts(samples, self.settings.checkpoints, model)
        ]
        preparation.count("reference_runs", 1)
        confidences = [-sum(values) / len(values) for values in zip(*measured, strict=True)]
        if not all(map(math.isfinite, confidences)):
            raise UserError(
                "The reference run of mixup has diverged: the perplexity of a sample is not finite. Lower "
                f"train.learning_rate (now {self.config.train.learning_rate:g})."
            )
        return confidences

    # ---- on the worker -----------------------------------------------------------------------------------------------

    def steps(self, steps: list[Step], samples: Sequence[TokenizedSample]) -> list[Step]:
        """As many steps on as many samples as without, in pairs: confident, unconfident, confident, ..."""
        if len(self.prepared) != len(samples):
            raise UserError(
                f"mixup has measured {len(self.prepared)} samples and the trial trains on {len(samples)}: another axis "
                "changes them afterwards. Sweep the two axes apart."
            )
        total, size = sum(map(len, steps)), self.config.train.train_batch_size
        order = order_in_pairs(self.prepared, total, self.config.seed)
        return [tuple(order[start : start + size]) for start in range(0, total, size)]

    def before_step(self, trainer: Trainer, step: int) -> None:
        pairs = pairs_of([trainer.samples[index] for index in trainer.steps[step]])
        self._weights = iter(draw_weights(len(pairs), self.settings.alpha, self.config.seed, step))
        self._num_mixed = sum(len(shared_positions(pair)) for pair in pairs)

    def loss(self, trainer: Trainer, rows: list[TokenizedSample], total_weight: float) -> Tensor | None:
        from torch.nn.functional import cross_entropy

        pairs = pairs_of(rows)
        if not pairs:
            return None
        logits, straight, targets, positions = logits_of(trainer, rows)
        smoothing = trainer.config.train.label_smoothing_factor
        plain: Tensor = cross_entropy(
            logits.flatten(0, 1).float(), targets.flatten(), reduction="sum", label_smoothing=smoothing
        )
        weights = [next(self._weights) for _ in pairs]
        mixed = mixed_cross_entropy(straight, positions, pairs, weights, soft_cap(trainer), smoothing)
        return plain + self.value * mixed * (total_weight / max(1, self._num_mixed))


# ---- samples: order and pairs ----------------------------------------------------------------------------------------


def reference_key(config: Any, settings: Any, samples: Sequence[Sample]) -> str:
    """The key of a reference run: of all that decides its confidences, so not of mu, alpha, or what is scored."""
    values = {name: value for name, value in config.resolved().items() if name not in (*UNSEEN, "definition")}
    values["design"] = {axis: option for axis, option in values["design"].items() if axis != "mixup"}
    values["curation"] = {name: value for name, value in values.get("curation", {}).items() if name != "mixup"}
    values["model"] = settings.reference or config.model
    texts = [[one.id, [[part.text, part.loss] for part in (*one.prompt, one.completion)]] for one in samples]
    return content_hash({"mixup": settings.checkpoints, "config": values, "samples": texts})


def order_in_pairs(by_confidence: Sequence[int], total: int, seed: int) -> list[int]:
    """Indices of samples, `total` of them: a confident one, an unconfident one, and so on, in random pairs.

    Each pass over the halves is shuffled anew, and sees every sample once. Of an odd number the middle one is in the
    confident half in the first pass, in the other in the second.
    """
    draw = random.Random(f"mixup pairs {seed}")
    confident: list[int] = []
    unconfident: list[int] = []
    epoch = 0
    while min(len(confident), len(unconfident)) < total // 2 or len(confident) + len(unconfident) < total:
        half = (len(by_confidence) + (epoch + 1) % 2) // 2
        for order, part in ((confident, by_confidence[:half]), (unconfident, by_confidence[half:])):
            shuffled = list(part)
            draw.shuffle(shuffled)
            order += shuffled
        epoch += 1
    pairs = total // 2
    mixed = [index for pair in zip(confident[:pairs], unconfident[:pairs], strict=True) for index in pair]
    return mixed + (confident[pairs:] or unconfident[pairs:])[: total % 2]


def pairs_of(rows: Sequence[TokenizedSample]) -> list[Pair]:
    """Neighbours, (confident, unconfident); a last one without a partner is left out."""
    return list(zip(rows[::2], rows[1::2], strict=False))


def draw_weights(count: int, alpha: float, seed: int, step: int) -> list[float]:
    """The confident sample's weight in each pair of a step, from Beta(alpha, alpha)."""
    draw = random.Random(f"mixup weights {seed} {step}")
    return [draw.betavariate(alpha, alpha) for _ in range(count)]


def shared_positions(pair: Pair) -> range:
    """The tokens that both completions have, counted from their first. The first token of a sequence is no target."""
    first = 0 if all(row.prompt for row in pair) else 1
    return range(first, max(first, min(len(row.completion) for row in pair)))


# ---- the loss --------------------------------------------------------------------------------------------------------


def mixed_cross_entropy(
    logits: Tensor,
    positions: Tensor,
    pairs: Sequence[Pair],
    weights: Sequence[float],
    cap: float | None = None,
    smoothing: float = 0.0,
) -> Tensor:
    """The summed cross entropy of mixed predictions against mixed targets, over the shared positions of all pairs.

    Args:
        logits: [rows, positions, vocabulary] as the output layer gives them; rows are the pairs' samples, in order.
        positions: [positions] where in the rows these are, ascending.
        pairs: the rows in pairs.
        weights: of each pair's first sample.
        cap: how the model bends its logits, cap * tanh(logits / cap).
        smoothing: label smoothing.
    """
    import torch
    from torch.nn.functional import cross_entropy

    sides: list[tuple[list[int], list[int], list[int]]] = [([], [], []), ([], [], [])]  # row, position, target
    shares: list[float] = []
    for number, (pair, weight) in enumerate(zip(pairs, weights, strict=True)):
        shared = shared_positions(pair)
        shares += [weight] * len(shared)
        for side, (rows, places, targets) in enumerate(sides):
            rows += [2 * number + side] * len(shared)
            places += [len(pair[side].prompt) - 1 + token for token in shared]
            targets += [pair[side].completion[token] for token in shared]
    if not shares:
        return logits.new_zeros((), dtype=torch.float32)
    index = {"device": logits.device, "dtype": torch.long}
    (rows_a, places_a, targets_a), (rows_b, places_b, targets_b) = (
        [torch.tensor(values, **index) for values in side] for side in sides
    )
    share = torch.tensor(shares, device=logits.device, dtype=torch.float32)
    first = logits[rows_a, torch.searchsorted(positions, places_a)].float()
    second = logits[rows_b, torch.searchsorted(positions, places_b)].float()
    mixed = share[:, None] * first + (1 - share[:, None]) * second
    mixed = mixed if cap is None else cap * torch.tanh(mixed / cap)
    losses = [
        cross_entropy(mixed, targets, reduction="none", label_smoothing=smoothing) for targets in (targets_a, targets_b)
    ]
    total: Tensor = (share * losses[0] + (1 - share) * losses[1]).sum()
    return total


def soft_cap(trainer: Trainer) -> float | None:
    """The bound to which the model bends its logits (Gemma 2); None for one that does not."""
    config: Any = trainer.peft_model.get_base_model().config
    config = config.get_text_config()
    cap = getattr(config, "final_logit_softcapping", None) or getattr(config, "logits_soft_cap", None)
    return float(cap) if cap else None


def logits_of(trainer: Trainer, rows: list[TokenizedSample]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(logits, those before they are bent, targets, positions), each as `Trainer.logits` gives them."""
    if soft_cap(trainer) is None:
        logits, targets, positions = trainer.logits(rows)
        return logits, logits, targets, positions
    outputs: list[Tensor] = []
    layer: Any = trainer.peft_model.get_base_model().get_output_embeddings()
    hook = layer.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    try:
        logits, targets, positions = trainer.logits(rows)
    finally:
        hook.remove()
    straight = outputs[-1]
    return logits, straight if straight.shape[1] == logits.shape[1] else straight[:, positions], targets, positions


# ---- the reference run -----------------------------------------------------------------------------------------------


def perplexities(worker: Worker) -> list[float]:
    """The perplexity of each sample's completion, by the adapter as it is now."""
    import torch
    from torch.nn.functional import cross_entropy

    trainer: Trainer = worker._trainer
    train, values = trainer.config.train, [math.nan] * len(trainer.samples)
    size = max(1, train.train_batch_size // trainer.parts)  # what training has room for
    order = sorted(range(len(values)), key=lambda index: (len(trainer.samples[index].input_ids), index))
    for start in range(0, len(order), size):
        part = order[start : start + size]
        with torch.no_grad():
            logits, targets, positions = trainer.logits([trainer.samples[index] for index in part])
            for row, index in enumerate(part):
                answer = (positions >= len(trainer.samples[index].prompt) - 1) & (targets[row] >= 0)
                loss = cross_entropy(logits[row, answer].float(), targets[row, answer]).item()
                values[index] = math.exp(loss) if loss < 700 else math.inf
    return values


def _are_numbers(values: Any, count: int) -> bool:
    """Whether these are so many finite numbers."""
    numbers = isinstance(values, list) and all(isinstance(value, float | int) for value in values)
    return numbers and len(values) == count and all(map(math.isfinite, values))
