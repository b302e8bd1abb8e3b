"""Constrained decoding: of the tokens that a grammar allows, the likeliest. By llguidance, on any fast tokenizer.

    constraint = make_constraint(tokenizer, eos_token_ids, [grammar, "", grammar])     "" leaves a prompt free
    generate(model, prompts, constraint=constraint, ...)

Each prompt has a matcher of its own, which knows where in the grammar its completion is; it is a copy of one that is
compiled once. Greedily the likeliest token is taken where the grammar allows it, which takes a microsecond, and only
where it does not are the others masked before the likeliest is taken: a completion that is in the grammar anyway comes
out the same and costs nothing. Tokens that are drawn are drawn of those that are allowed. The end token is allowed
where the text may end. llguidance: https://github.com/guidance-ai/llguidance (`pip install "sde_ray[constrained]"`).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from sde_ray.errors import UserError
from sde_ray.models.decoding_step import Choose


def make_constraint(tokenizer: Any, eos_token_ids: Collection[int], grammars: Sequence[str]) -> Constraint | None:
    """The constraint of these prompts, by the grammar of each; None where all are free.

    Raises UserError where llguidance is not installed, or cannot use the tokenizer or a grammar.
    """
    return Constraint(tokenizer, tuple(sorted(eos_token_ids)), grammars) if any(grammars) else None


class Constraint:
    """Where each prompt is in its grammar. One for each decoding: it remembers what was chosen."""

    def __init__(self, tokenizer: Any, eos_token_ids: tuple[int, ...], grammars: Sequence[str]) -> None:
        _import_llguidance()
        self.tokenizer, self.eos_token_ids, self.grammars = tokenizer, eos_token_ids, list(grammars)
        self._matchers: dict[int, Any] = {}
        self._lengths: dict[int, int] = {}
        self._compiled: dict[str, Any] = {}

    def only(self, row: int) -> Constraint:
        """The constraint of one of the prompts."""
        return Constraint(self.tokenizer, self.eos_token_ids, [self.grammars[row]])

    def __call__(self, choose: Choose, greedy: bool) -> Choose:
        """`choose` among the tokens that are allowed. `greedy`: it takes the likeliest."""

        def choose_allowed(logits: torch.Tensor, rows: Sequence[int], counts: Sequence[int]) -> torch.Tensor:
            followed = self._followed(rows, counts, logits.shape[-1])
            if greedy:
                tokens = choose(logits, rows, counts)
                chosen = tokens.tolist()
                refused = [n for n in followed if not self._accept(rows[n], chosen[n])]
            else:
                tokens, refused = logits.new_zeros(len(rows), dtype=torch.long), list(followed)
                free = [n for n in range(len(rows)) if n not in set(followed)]
                if free:
                    tokens[free] = choose(logits[free], [rows[n] for n in free], [counts[n] for n in free])
            if refused:
                names, numbers = [rows[n] for n in refused], [counts[n] for n in refused]
                again = choose(self._masked(logits[refused], names), names, numbers)
                tokens[refused] = again
                for row, token in zip(names, again.tolist(), strict=True):
                    self._accept(row, token)
            return tokens

        return choose_allowed

    def allowed(self, logits: torch.Tensor, row: int, tokens: Sequence[int]) -> torch.Tensor:
        """Logits [1, vocabulary] of a prompt that goes on after these tokens, -inf where one is not allowed."""
        if not self._followed([row], [0], logits.shape[-1]):
            return logits
        return self._masked(logits, [row]) if all(self._accept(row, token) for token in tokens) else logits

    def _followed(self, rows: Sequence[int], counts: Sequence[int], vocabulary: int) -> list[int]:
        """The places of the rows that go on in their grammar: not those that are free, finished, or named again.

        A batch names the prompt of an idle slot, too, which has more tokens than it says, or stands there once more.
        """
        followed: dict[int, int] = {}
        for place, (row, count) in enumerate(zip(rows, counts, strict=True)):
            if row in followed or not self.grammars[row]:
                continue
            if count == 0:
                self._matchers[row], self._lengths[row] = self._compile(self.grammars[row], vocabulary).deep_copy(), 0
            if row in self._matchers and self._lengths[row] == count:
                followed[row] = place
        return list(followed.values())

    def _accept(self, row: int, token: int) -> bool:
        """Whether the token may follow; if so it does."""
        matcher = self._matchers[row]
        if token in self.eos_token_ids:
            accepted = bool(matcher.is_accepting())
            if accepted:
                del self._matchers[row]  # finished
            return accepted
        accepted = not matcher.is_stopped() and matcher.try_consume_tokens([token]) == 1
        self._lengths[row] += accepted
        if matcher.is_error():
            raise UserError(f"decoding=constrained: llguidance gives up: {matcher.get_error().splitlines()[0]}.")
        return accepted

    def _masked(self, logits: torch.Tensor, rows: Sequence[int]) -> torch.Tensor:
        """Logits [rows, vocabulary], -inf where a token is not allowed."""
        bits = np.stack([np.frombuffer(self._matchers[row].compute_bitmask(), dtype=np.uint8) for row in rows])
        allowed = torch.from_numpy(np.unpackbits(bits, axis=1, bitorder="little")[:, : logits.shape[-1]]).bool()
        return logits.masked_fill(~allowed.to(logits.device), -torch.inf)

    def _compile(self, grammar: str, vocabulary: int) -> Any:
        if grammar not in self._compiled:
            self._compiled[grammar] = _matcher(self.tokenizer, self.eos_token_ids, vocabulary, grammar)
        return self._compiled[grammar]


@lru_cache(maxsize=64)
def _matcher(tokenizer: Any, eos_token_ids: tuple[int, ...], vocabulary: int, grammar: str) -> Any:
    """The matcher of a grammar at its beginning, to be copied."""
    matcher = _import_llguidance().LLMatcher(_vocabulary(tokenizer, eos_token_ids, vocabulary), grammar, log_level=0)
    if matcher.is_error():
        raise UserError(
            "decoding=constrained: llguidance cannot use the grammar of the design: "
            f"{matcher.get_error().splitlines()[0]}. Use decoding=greedy, or fewer slots and labels."
        )
    return matcher


@lru_cache(maxsize=4)
def _vocabulary(tokenizer: Any, eos_token_ids: tuple[int, ...], vocabulary: int) -> Any:
    """The tokens as bytes, as llguidance wants them."""
    from llguidance.hf import from_tokenizer

    try:
        return from_tokenizer(tokenizer, max(vocabulary, len(tokenizer)), list(eos_token_ids))
    except Exception as error:  # the library's own, of any kind
        raise UserError(
            f"decoding=constrained: llguidance cannot use the tokenizer of {tokenizer.name_or_path}: {error}. "
            "Use decoding=greedy."
        ) from error


def _import_llguidance() -> Any:
    try:
        import llguidance
    except ImportError as error:
        raise UserError(
            f"decoding=constrained needs llguidance, which cannot be imported: {error}. "
            'pip install "sde_ray[constrained]", or use decoding=greedy.'
        ) from error
    return llguidance
