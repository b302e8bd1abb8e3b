"""What decoding is asked for, and the interface of a backend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from sde_ray.models.decoding_step import Ids, IsComplete

if TYPE_CHECKING:
    from peft import PeftModel

    from sde_ray.models.constrained import Constraint
    from sde_ray.models.generation import Sampling


@dataclass(frozen=True)
class BackendSettings:
    """Settings of a backend. `max_length`: tokens of prompt and completion together; `merge_adapter`: `merged_lora`."""

    max_length: int
    merge_adapter: bool = True
    trust_remote_code: bool = False


@dataclass(frozen=True)
class Request:
    """How prompts are continued; the fields but the last are the arguments of `generation.generate`.

    `stop`, a text that a completion ends with, is for backends that are not asked `is_complete`. `batch_size`,
    `share_prefix` and `is_complete` save time and memory, and a backend may do without; `near_tie` and
    `constraint` are for the built-in one.
    """

    eos_token_ids: tuple[int, ...]
    max_new_tokens: int
    batch_size: int | None = None
    sampling: Sampling | None = None
    share_prefix: bool = True
    is_complete: IsComplete | None = None
    near_tie: float = 0.0
    constraint: Constraint | None = None
    stop: str = ""


class Backend(Protocol):
    """Continues prompts."""

    def generate(self, peft_model: PeftModel | None, prompts: Sequence[Ids], request: Request) -> list[list[int]]:
        """The new token ids of each prompt, in the order given, without the end token.

        Args:
            peft_model: the adapter on the base model of the backend; None: the base model alone.
            prompts: token ids, of any lengths.
            request: how they are continued.
        """
