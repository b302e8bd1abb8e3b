"""Joint decoding: the completions of several adapters on one base, in common batches.

    answers = generate_together(joint, [JointRequest(decoder_a, adapter_a, prompts, 40), JointRequest(decoder_b, ...)])

A step of decoding costs a GPU about the same for many rows as for few. So trials that answer at the same time answer
together, each row through its own adapter beside the base's layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sde_ray.design.answer_end import AnswerEnd
from sde_ray.models import generation
from sde_ray.models.decoder import LoraDecoder
from sde_ray.models.joint_model import JointModel
from sde_ray.models.lora_group import Adapter
from sde_ray.models.tokenization import Prompt, completion_text, pad_token_id


@dataclass(frozen=True)
class JointRequest:
    """What one of several adapters is to answer: (id, segments) pairs, at most so many new tokens each, and when an
    answer is settled (see `LoraDecoder.generate`).
    """

    decoder: LoraDecoder
    adapter: Adapter
    prompts: Sequence[tuple[str, Prompt]]
    max_new_tokens: int
    ends: Sequence[AnswerEnd | None] = ()


def _ends(request: JointRequest) -> Sequence[AnswerEnd | None]:
    return request.ends or [None] * len(request.prompts)


def generate_together(
    joint: JointModel, requests: Sequence[JointRequest], batch_size: int | None = None
) -> list[tuple[list[str], int]]:
    """The completions of several adapters in common batches, each beside the base's layers; greedily.

    Texts are those that each would have alone, but for near ties: sums are taken in another order. Prompts that begin
    alike are read one by one, since each adapter sees another beginning.

    Returns:
        By request its texts and how many tokens they have in all, as of `LoraDecoder.generate`.
    """
    first = requests[0].decoder
    rows = [(owner, n) for owner, request in enumerate(requests) for n in range(len(request.prompts))]
    ids = [
        one for request in requests for one in request.decoder.encoder.prompts(request.prompts, request.max_new_tokens)
    ]

    def is_complete(row: int, tokens: Sequence[int]) -> bool:
        owner, n = rows[row]
        request = requests[owner]
        ended = len(tokens) >= request.max_new_tokens
        return ended or (any(request.ends) and request.decoder.is_settled(request.ends, n, tokens))

    with joint.decoding([request.adapter for request in requests], [owner for owner, _ in rows]) as on_rows:
        generated = generation.generate(
            joint.model,
            ids,
            eos_token_ids=first.loaded.eos_token_ids,
            pad_token_id=pad_token_id(first.loaded.tokenizer),
            max_new_tokens=max(request.max_new_tokens for request in requests),
            batch_size=batch_size,
            is_complete=is_complete,
            on_rows=on_rows,
            constraint=first.constraint([end for request in requests for end in _ends(request)]),
        )
    left = iter(generated)
    own = [[next(left) for _ in request.prompts] for request in requests]
    return [([completion_text(first.loaded.tokenizer, one) for one in some], sum(map(len, some))) for some in own]
