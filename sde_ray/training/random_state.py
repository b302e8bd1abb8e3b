"""Random state of a process: taken away and put back, so that several trials in one process each have their own."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch


@dataclass(frozen=True)
class RandomState:
    """The states of the generators that training may draw from."""

    python: Any
    numpy: Any
    torch: torch.Tensor
    cuda: torch.Tensor | None

    @classmethod
    def current(cls) -> RandomState:
        cuda = torch.cuda.get_rng_state() if torch.cuda.is_available() else None
        return cls(random.getstate(), np.random.get_state(), torch.get_rng_state(), cuda)

    def put_back(self) -> None:
        random.setstate(self.python)
        np.random.set_state(self.numpy)
        torch.set_rng_state(self.torch)
        if self.cuda is not None:
            torch.cuda.set_rng_state(self.cuda)


class RandomStreams:
    """The generators of one trial among several: `with streams: ...` makes the process' generators its own."""

    def __init__(self) -> None:
        self._state = RandomState.current()

    @contextmanager
    def active(self) -> Iterator[None]:
        """Inside, the process' generators continue where this trial's have stopped."""
        outside = RandomState.current()
        self._state.put_back()
        try:
            yield
        finally:
            self._state = RandomState.current()
            outside.put_back()
