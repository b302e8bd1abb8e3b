"""A predictor without a model: its answer follows from the text alone, and it remembers how it was asked."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import SimpleNamespace

from sde_ray.models.predictor import Answered
from sde_ray.types import Fault, Parsed


class FakePredictor:
    """Answers with the text's first word; a text with "?" gets a fault, one with "!" takes the model down."""

    model_name = "hotels"
    card = SimpleNamespace(model="tiny", design={"format": "lines"}, max_new_tokens=20)

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.batches: list[list[str]] = []

    def answer(self, texts: Sequence[str], batch_size: int | None = 32) -> list[Answered]:
        texts = list(texts)
        self.batches.append(texts)
        time.sleep(self.seconds)
        if any("!" in text for text in texts):
            raise RuntimeError("secret detail of the model")
        return [
            Answered(
                Parsed({"room": (text.split()[0],)}, (Fault("syntax", text),) if "?" in text else ()),
                f"room: {text.split()[0]}",
                {},
            )
            for text in texts
        ]

    def num_truncated(self, texts: Sequence[str]) -> list[int]:
        return [max(0, len(text) - 1000) for text in texts]

    @property
    def asked(self) -> list[str]:
        """Every text, in the order in which it was asked."""
        return [text for batch in self.batches for text in batch]
