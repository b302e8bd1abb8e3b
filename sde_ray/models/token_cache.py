"""Token cache: the ids of a text by one tokenizer, over the trials of a process.

    cache = token_cache(tokenizer)               the same for every encoder of this tokenizer
    cache.ids(["Great food!", "Rate it."])       tokenizes what is not in it, in one call

A text's ids depend on the tokenizer alone, so seeds, rungs, sizes and designs share them: two designs write the same
reviews. They are those of a text that stands behind another one: a tokenizer that puts a space before each text it is
given (SentencePiece: Llama 2, Mistral 7B, Phi-3) puts none there. Memory is bounded by `capacity`; what was not asked
for the longest is forgotten first. Nothing is written to disk: tokenizing again after a restart takes less than a
hundredth of the trial.
"""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

CAPACITY = 4_000_000  # characters and ids: about 20 MB
BEFORE = ("\n", "|", "1")  # texts to put before one, in tokens of their own, so that it gets no space


class TokenCache:
    """Least recently used cache of segments' ids, for one tokenizer."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self.capacity, self.size = capacity, 0
        self._ids: OrderedDict[str, array[int]] = OrderedDict()
        self._before: str | None = None

    def ids(self, tokenizer: Any, texts: Sequence[str]) -> dict[str, tuple[int, ...]]:
        """The ids of each text, which are not cut and have no special tokens."""
        ids = {text: tuple(self._ids[text]) for text in texts if text in self._ids}
        missing = [text for text in texts if text not in ids]
        if missing:
            ids |= dict(zip(missing, self._behind(tokenizer, missing), strict=True))
        for text in texts:
            self._keep(text, ids[text])
        return ids

    def adds_space(self, tokenizer: Any) -> bool:
        """Whether the tokenizer puts a space before a text, which it has not behind another one."""
        if self._before is None:
            found = ((text, _behind(tokenizer, text, ["a"])) for text in BEFORE)
            before, ids = next(((text, ids) for text, ids in found if ids is not None), ("", None))
            self._before = "" if ids == plain_ids(tokenizer, ["a"]) else before
        return bool(self._before)

    def _behind(self, tokenizer: Any, texts: Sequence[str]) -> list[tuple[int, ...]]:
        """The ids of texts that stand behind another one."""
        if not self.adds_space(tokenizer):
            return plain_ids(tokenizer, texts)
        return _behind(tokenizer, str(self._before), texts) or plain_ids(tokenizer, texts)

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


def plain_ids(tokenizer: Any, texts: Sequence[str]) -> list[tuple[int, ...]]:
    """The ids of each text as the tokenizer gives them, in one call, without special tokens."""
    # A text that happens to hold "</s>" is text, not the end of a sample.
    encoded = tokenizer(list(texts), add_special_tokens=False, split_special_tokens=True)["input_ids"]
    return [tuple(ids) for ids in encoded]


def _behind(tokenizer: Any, before: str, texts: Sequence[str]) -> list[tuple[int, ...]] | None:
    """The ids of each text behind another one; None where the two share a token."""
    own, *both = plain_ids(tokenizer, [before, *(before + text for text in texts)])
    return [ids[len(own) :] for ids in both] if all(ids[: len(own)] == own for ids in both) else None


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
