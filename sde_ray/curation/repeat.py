"""Repetition: a part of the samples, seen several times, at the same number of samples and steps (`repeat: [1, 4]`).

    repeat=4 of 200 samples and one epoch     the first 50 of the draw, four times: 200 samples seen, as without

To Repeat or Not To Repeat (2305.13230) fixes the token budget T and trains on T/E tokens in E epochs; what it asks of
data is asked here of a task: would a quarter of the labels do? The parts are nested: those of repeat=8 are among those
of repeat=4. `curation.repeat.dropout_from` switches the adapter's dropout on late. That is dropout on LoRA's input, not
on the residual stream as in the paper: another factor.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from sde_ray.training.curation import Method
from sde_ray.types import Example

if TYPE_CHECKING:
    from sde_ray.models.tokenization import TokenizedSample
    from sde_ray.training.batching import Step
    from sde_ray.training.preparation import Preparation
    from sde_ray.training.trainer import Trainer


class Repeat(Method):
    """1/k of the samples, k times; `value` is k."""

    def faults(self) -> Iterable[str]:
        if self.value > self.config.train_size:
            yield (
                f"repeat={self.value} of {self.config.train_size} samples leaves less than one. "
                f"Set repeat to {self.config.train_size} at most, or train_sizes higher."
            )

    def examples(self, examples: Sequence[Example], preparation: Preparation) -> Sequence[Example]:
        return examples[: len(examples) // self.value]

    def steps(self, steps: list[Step], samples: Sequence[TokenizedSample]) -> list[Step]:
        """As many samples seen as without, so the last pass is a part of one where k does not divide them."""
        from sde_ray.training.batching import batch_indices

        total = max(1, round(self.config.train_size * self.config.train.num_train_epochs))
        return batch_indices(len(samples), self.config.train, self.config.seed, total)

    def before_step(self, trainer: Trainer, step: int) -> None:
        if not self.settings.dropout_from:
            return
        late = step >= round(self.settings.dropout_from * len(trainer.steps))
        for module in _dropouts(trainer.peft_model):
            module.p = self.config.lora.lora_dropout if late else 0.0


def _dropouts(peft_model: Any) -> Iterable[Any]:
    """The dropout modules of the adapter's layers; none where it has no dropout."""
    for layer in peft_model.modules():
        for module in dict(getattr(layer, "lora_dropout", {})).values():
            if hasattr(module, "p"):
                yield module
