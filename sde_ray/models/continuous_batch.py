"""Continuous batch: a row that is finished makes way for the next prompt, while the others go on.

    cache   ....PPPPPPPPggg          rows are aligned at their newest token; what stands before a row's prompt is masked
            PPPPPPPPPPPPggg
            .........PPPPPg          joined two steps ago, after its prompt was read by itself

Prompts are read longest first, some thousand tokens at a time, so that reading takes little memory. The cache has room
for the longest row; what no row needs any more is dropped at its front. A row sees the same tokens at the same
positions as alone. A prefix that prompts share is read once, and so are equal prompts, if the caller wants it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import torch

from sde_ray.models.decoding_step import Choose, Ids, IsComplete, NextLogits, OnRows, pad_left, positions_of
from sde_ray.models.kv_cache import empty_like, make_kv_cache
from sde_ray.models.memory import free_memory

READ_TOKENS = 4096  # of prompts that are read together: enough to keep any device busy
REFILL_FROM = 8  # one row of so many that is idle is worth reading a prompt for
COMPACT_BELOW = 0.75  # dropping rows copies the cache, so it waits until no more than this share is unfinished
MAX_SPARE = 0.25  # of the tokens that are needed, may stand unused at the cache's front until they are dropped
MIN_SHARED_PREFIX = 32  # tokens; a shorter common prefix is not worth a forward pass of its own
MEMORY_SHARE = {"cuda": 0.8, "cpu": 0.5}  # of what is free, that a batch may take; a host has other workers


class ContinuousBatch:
    """Prompts being continued, `batch_size` at a time at most, or as many as there is memory for.

    By slot: `ids` [slots, 1] are the next input, `mask` [slots, room], `positions` [slots, 1]; `rows[slot]` is the
    prompt that it continues, `starts[slot]` where that begins in the cache. One that is not `live` is finished.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        prompts: Sequence[Ids],
        *,
        eos_token_ids: set[int],
        pad_token_id: int,
        max_new_tokens: int,
        batch_size: int,
        choose: Choose,
        is_complete: IsComplete,
        share_prefix: bool,
        on_rows: OnRows | None = None,
    ) -> None:
        self.model, self.next_logits = model, NextLogits(model)
        self.prompts = [tuple(prompt) for prompt in prompts]
        self.eos_token_ids, self.pad_token_id = eos_token_ids, pad_token_id
        self.max_new_tokens, self.batch_size = max_new_tokens, batch_size
        self.choose, self.is_complete, self.share_prefix = choose, is_complete, share_prefix
        self.on_rows: OnRows = on_rows or (lambda rows: None)
        self.device = next(model.parameters()).device
        self.read_tokens = READ_TOKENS
        self.generated: list[list[int]] = [[] for _ in prompts]
        self.queue = deque(self._longest_first(range(len(prompts))))
        self._forget()

    def run(self) -> list[list[int]]:
        """The new token ids of each prompt. Where memory is short, half as many rows are continued from their start."""
        while self.queue or self.live:
            try:
                self._advance()
                continue
            except torch.OutOfMemoryError:
                if self.batch_size == 1:
                    raise
            self._restart_smaller()  # not in the handler: the exception holds what the step had allocated
        return self.generated

    def _longest_first(self, rows: Any) -> list[int]:
        return sorted(rows, key=lambda row: -len(self.prompts[row]))

    def _forget(self) -> None:
        self.cache: Any = None
        self.prefix: tuple[Ids, Any] = ((), None)
        self.rows: list[int] = []
        self.starts: list[int] = []
        self.live: set[int] = set()

    def _restart_smaller(self) -> None:
        unfinished = [self.rows[slot] for slot in self.live]
        for row in unfinished:
            self.generated[row] = []
        self.queue = deque(self._longest_first([*unfinished, *self.queue]))
        self.batch_size = max(1, min(self.batch_size, len(self.rows) or self.batch_size) // 2)
        self.read_tokens //= 2
        self._forget()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _advance(self) -> None:
        """Read prompts if slots are idle, then a token for every row."""
        slots = len(self.rows) or self.batch_size
        if self.queue and (slots - len(self.live)) * REFILL_FROM >= slots:
            self._refill()
        if not self.queue and self.live and len(self.live) <= COMPACT_BELOW * len(self.rows):
            self._drop_idle()
        if self.live:
            self._next_tokens()

    def _refill(self) -> None:
        """Read prompts for the idle slots."""
        while self.queue and (self.cache is None or len(self.live) < len(self.rows)):
            idle = [slot for slot in range(len(self.rows)) if slot not in self.live]
            self._read_and_join(idle)

    def _read_and_join(self, idle: list[int]) -> None:
        """Read what is next in the queue; a function of its own, so that its cache is gone before more is read."""
        rows = self._first_in_queue(len(idle) or self.batch_size)
        cache, mask, logits = self._read(rows)
        if self.cache is None:
            self._allocate(cache, len(rows), mask.shape[1])
            idle = list(range(len(self.rows)))
        self._join(rows, idle[: len(rows)], cache, mask, logits)

    def _first_in_queue(self, most: int) -> list[int]:
        """The rows that are read next: so many at most, and not more tokens than are read together."""
        longest = len(self.prompts[self.queue[0]])
        return [self.queue[n] for n in range(min(most, len(self.queue), max(1, self.read_tokens // longest)))]

    def _read(self, rows: Sequence[int]) -> tuple[Any, torch.Tensor, torch.Tensor]:
        """Cache, mask [rows, longest] and logits [rows, vocabulary] of these prompts."""
        prompts = [self.prompts[row] for row in rows]
        distinct = list(dict.fromkeys(prompts)) if self.share_prefix else prompts
        prefix, read = self._shared_prefix(distinct)
        rest = [prompt[len(prefix) :] for prompt in distinct]
        cache = make_kv_cache(self.model, max(map(len, rest)) if prefix else 0)
        for layer, shared in zip(cache.layers, read.layers if prefix else (), strict=False):
            layer.update(*(state.expand(len(rest), -1, -1, -1) for state in (shared.keys, shared.values)))
        ids, real = pad_left(rest, self.pad_token_id, self.device)
        mask = torch.cat([real.new_ones(len(rest), len(prefix)), real], dim=1)
        self.on_rows(rows)
        logits, cache = self.next_logits(ids, mask, positions_of(mask)[:, len(prefix) :], cache)
        if len(distinct) < len(prompts):
            number = {prompt: n for n, prompt in enumerate(distinct)}
            copies = torch.tensor([number[prompt] for prompt in prompts], device=self.device)
            cache.batch_select_indices(copies)
            mask, logits = mask[copies], logits[copies]
        return cache, mask, logits

    def _shared_prefix(self, prompts: Sequence[Ids]) -> tuple[Ids, Any]:
        """The prompts' common prefix with its cache, which is kept for prompts that begin so as well."""
        length = common_prefix(prompts) if self.share_prefix else 0
        prefix = tuple(prompts[0][:length])
        known = self.prefix[0]
        if known and len(known) <= length < len(known) + MIN_SHARED_PREFIX and prefix[: len(known)] == known:
            return self.prefix
        if length:
            ids = torch.tensor([prefix], device=self.device)
            mask = torch.ones_like(ids)
            self.prefix = prefix, self.next_logits(ids, mask, positions_of(mask), make_kv_cache(self.model, 0))[1]
        return self.prefix if length else ((), None)

    def _allocate(self, cache: Any, least: int, longest: int) -> None:
        """The cache of all slots: as many as there are prompts, at most `batch_size`, and as memory allows."""
        spare = max(16, self.max_new_tokens // 2)  # steps after which the unused front is dropped at the latest
        self.room = longest + self.max_new_tokens + spare
        row = self.room * sum(layer.bytes_per_token() for layer in cache.layers)
        vocabulary = self.model.config.get_text_config().vocab_size  # type: ignore[union-attr]
        row += 4 * 4 * vocabulary  # logits, and what drawing tokens makes of them, in float32
        free = free_memory(self.device)
        fit = int(free * MEMORY_SHARE.get(self.device.type, 0.5)) // row if free else self.batch_size
        slots = max(least, min(self.batch_size, len(self.queue), fit))
        self.cache, self.length = empty_like(cache, slots, self.room, longest), longest
        self.mask = torch.zeros(slots, self.room, dtype=torch.long, device=self.device)
        self.ids = torch.full((slots, 1), self.pad_token_id, device=self.device)
        self.positions = torch.zeros_like(self.ids)
        self.rows, self.starts = [self.queue[0]] * slots, [0] * slots

    def _join(
        self, rows: Sequence[int], slots: Sequence[int], cache: Any, mask: torch.Tensor, logits: torch.Tensor
    ) -> None:
        tokens = self.choose(logits, rows, [0] * len(rows))
        indices = torch.tensor(slots, device=self.device)
        for layer, other in zip(self.cache.layers, cache.layers, strict=True):
            layer.join(indices, other)
        start = self.length - mask.shape[1]
        self.mask[indices] = 0
        self.mask[indices, start : self.length] = mask
        self.ids[indices, 0], self.positions[indices] = tokens, mask.sum(1, keepdim=True)
        for slot, row in zip(slots, rows, strict=True):
            self.rows[slot], self.starts[slot] = row, start
            self.queue.popleft()
        self.live |= set(slots)
        self._append(slots, tokens.tolist())

    def _next_tokens(self) -> None:
        self._make_room()
        self.mask[:, self.length] = 1
        self.length += 1
        self.on_rows(self.rows)
        logits, self.cache = self.next_logits(self.ids, self.mask[:, : self.length], self.positions, self.cache)
        counts = [min(len(self.generated[row]), self.max_new_tokens - 1) for row in self.rows]
        tokens = self.choose(logits, self.rows, counts)
        self.ids = tokens[:, None]
        slots = sorted(self.live)
        chosen = tokens.tolist()
        self._append(slots, [chosen[slot] for slot in slots])
        self.positions += 1
        if len(self.live) < len(self.rows):  # an idle slot stays where every model has a position
            self.positions[[slot for slot in range(len(self.rows)) if slot not in self.live]] = 0

    def _append(self, slots: Sequence[int], tokens: Sequence[int]) -> None:
        """Give each row its token; a row that ends leaves its slot."""
        for slot, token in zip(slots, tokens, strict=True):
            row = self.rows[slot]
            if token in self.eos_token_ids:
                self.live.remove(slot)
                continue
            self.generated[row].append(token)
            if len(self.generated[row]) == self.max_new_tokens or self.is_complete(row, self.generated[row]):
                self.live.remove(slot)

    def _make_room(self) -> None:
        """Drop the front of the cache that neither a row nor a prompt in the queue will need."""
        needed = self.length - min(self.starts[slot] for slot in self.live)
        needed = max(needed, len(self.prompts[self.queue[0]]) if self.queue else 0)
        spare = self.length - needed
        if self.length < self.room and spare <= MAX_SPARE * needed:
            return
        for layer in self.cache.layers:
            layer.drop_first(spare)
        self.mask[:, :needed] = self.mask[:, spare : self.length].clone()
        self.mask[:, needed:] = 0
        self.starts = [start - spare for start in self.starts]
        self.length = needed

    def _drop_idle(self) -> None:
        slots = sorted(self.live)
        indices = torch.tensor(slots, device=self.device)
        self.cache.batch_select_indices(indices)
        self.mask, self.ids, self.positions = self.mask[indices], self.ids[indices], self.positions[indices]
        self.rows, self.starts = [self.rows[slot] for slot in slots], [self.starts[slot] for slot in slots]
        self.live = set(range(len(slots)))


def common_prefix(prompts: Sequence[Ids]) -> int:
    """Length of the prompts' common prefix, at least one token of each left over; 0 if it is not worth sharing."""
    least, most = min(map(tuple, prompts)), max(map(tuple, prompts))  # what these two share, all between them do
    length = next((n for n, (a, b) in enumerate(zip(least, most, strict=False)) if a != b), min(map(len, prompts)))
    length = min(length, min(map(len, prompts)) - 1)
    return length if len(prompts) > 1 and length >= MIN_SHARED_PREFIX else 0
