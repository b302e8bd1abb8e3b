"""The built-in backend: batched generation on the model that is trained, with the adapter in its weights meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from peft import PeftModel

from sde_ray.models import generation
from sde_ray.models.backends.request import BackendSettings, Request
from sde_ray.models.base import LoadedModel
from sde_ray.models.decoding_step import Ids
from sde_ray.models.merged_lora import merged_lora
from sde_ray.models.tokenization import pad_token_id


class Builtin:
    """Decodes with `generation.generate`."""

    def __init__(self, loaded: LoadedModel, settings: BackendSettings) -> None:
        self.loaded, self.settings = loaded, settings

    def generate(self, peft_model: PeftModel | None, prompts: Sequence[Ids], request: Request) -> list[list[int]]:
        """See `Backend`."""
        settings = {name: value for name, value in vars(request).items() if name != "stop"}
        with self._model(peft_model) as model:
            return generation.generate(model, prompts, pad_token_id=pad_token_id(self.loaded.tokenizer), **settings)

    def _model(self, peft_model: PeftModel | None) -> AbstractContextManager[torch.nn.Module]:
        """The base model, with the adapter in its weights or beside them if there is one."""
        return (
            nullcontext(self.loaded.model)
            if peft_model is None
            else merged_lora(peft_model, self.settings.merge_adapter)
        )
