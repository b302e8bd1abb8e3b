"""Token cache: the ids of a text by one tokenizer, over the trials of a process.

    cache = token_cache(tokenizer)               the same for every encoder of this tokenizer
    cache.ids(["Great food!", "Rate it."])       tokenizes what is not in it, in one call

A text's ids depend on the tokenizer alone, so seeds, rungs, sizes and designs share them: two designs write the same
reviews. Memory is bounded by `capacity`; what was not asked for the longest is forgotten first. Nothing is written to
disk: tokenizing again after a restart takes less than a hundredth of the trial.
"""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

CAPACITY = 4_000_000  # characters and ids: about 20 MB


class TokenCache:
    """Least recently used cache of segments' ids, for one tokenizer."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self.capacity, self.size = capacity, 0
        self._ids: OrderedDict[str, array[int]] = OrderedDict()

    def ids(self, tokenizer: Any, texts: Sequence[str]) -> dict[str, tuple[int, ...]]:
        """The ids of each text, which are not cut and have no special tokens."""
        ids = {text: tuple(self._ids[text]) for text in texts if text in self._ids}
        missing = [text for text in texts if text not in ids]
        if missing:
            # A text that happens to hold "</s>" is text, not the end of a sample.
            encoded = tokenizer(missing, add_special_tokens=False, split_special_tokens=True)["input_ids"]
            ids |= {text: tuple(each) for text, each in zip(missing, encoded, strict=True)}
        for text in texts:
            self._keep(text, ids[text])
        return ids

    def _keep(self, text: str, ids: tuple[int, ...]) -> None:
        """Put a text at the end of those that are forgotten."""
        if text in self._ids:
            self._ids.move_to_end(text)
            return
        self._ids[text] = array("l", ids)
        self.size += len(text) + len(ids)
        while self.size > self.capacity:
            oldest, forgotten = self._ids.popitem(last=False)
            self.size -= len(oldest) + len(forgotten)


_caches: WeakKeyDictionary[Any, tuple[int, TokenCache]] = WeakKeyDictionary()


def token_cache(tokenizer: Any) -> TokenCache:
    """The cache of this tokenizer; a new one when tokens were added to it since."""
    try:
        vocabulary = len(tokenizer)
        known, cache = _caches.get(tokenizer, (-1, TokenCache()))
        if known != vocabulary:
            cache = TokenCache()
            _caches[tokenizer] = vocabulary, cache
        return cache
    except TypeError:  # no tokenizer of Hugging Face, but something that can be called like one
        return TokenCache()
