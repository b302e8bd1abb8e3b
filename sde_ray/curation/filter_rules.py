"""Rules of the filter: which texts are dropped, and why. Each rule sees what the ones before it have left.

    apply_rules(examples, Filter(rules=("language", "exact_duplicates")), "en")
    -> ([Example, ...], [Dropped(Example, "language", "12% of its characters are letters of en"), ...])

    language             too few of its characters are letters of the task's language
    length               shorter or longer than the bounds, in characters
    repeated_lines       too many of its lines stand in it before
    control_characters   control, unassigned and replacement characters
    exact_duplicates     the text of an earlier example, blanks and Unicode forms apart
    near_duplicates      like an earlier one: MinHash (datasketch) finds candidates, their Jaccard similarity decides

Of duplicates the first stays. Whether two texts are near duplicates depends on these two only, so a second pass over
what is left drops nothing.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from typing import Literal, NamedTuple

from sde_ray.config.curation import Filter
from sde_ray.errors import UserError
from sde_ray.types import Example

Language = Literal["en", "zh"]
Reasons = dict[int, str]  # by the place of an example, why it is dropped

SCRIPTS: Mapping[Language, str] = {"en": "LATIN", "zh": "CJK UNIFIED"}  # how the names of their letters begin
RUN_LENGTHS: Mapping[Language, int] = {"en": 5, "zh": 3}  # characters of a run; a Chinese one says more
NUM_PERM, SEED = 128, 1
MAX_LIMIT = 0.9  # of the index: above it, bands are too few
WEIGHTS = (0.1, 0.9)  # of false candidates, which the similarity sorts out, and of missed ones, which nobody does
NOT_INSTALLED = (
    'The rule near_duplicates needs a package that is not installed here: pip install "sde_ray[filter]". Or leave it '
    "out of curation.filter.rules; exact_duplicates needs none."
)


class Dropped(NamedTuple):
    """An example that a rule has dropped, with its reason in words."""

    example: Example
    rule: str
    why: str


@dataclass(frozen=True)
class Rule:
    """A rule: reasons by place for the examples that it drops. `needs`: a package of the extra `filter`."""

    drop: Callable[[Sequence[Example], Filter, Language], Reasons]
    needs: str = ""


def apply_rules(
    examples: Sequence[Example], settings: Filter, language: Language
) -> tuple[list[Example], list[Dropped]]:
    """The examples that all rules of the settings leave, in their order, and those that they drop.

    Raises UserError: when the package that a rule needs is not installed.
    """
    left, dropped = list(examples), []
    for name, rule in RULES.items():
        if name in settings.rules:
            if rule.needs and find_spec(rule.needs) is None:
                raise UserError(NOT_INSTALLED)
            reasons = rule.drop(left, settings, language)
            dropped += [Dropped(left[i], name, why) for i, why in sorted(reasons.items())]
            left = [one for i, one in enumerate(left) if i not in reasons]
    return left, dropped


# ---- rules of one text -----------------------------------------------------------------------------------------------


def language_share(text: str, language: Language) -> float:
    """Share of a text's characters, blanks apart, that are letters of the language; 0 of a text without any."""
    characters = Counter("".join(text.split()))
    letters = sum(count for one, count in characters.items() if _script(one, language))
    return letters / characters.total() if characters else 0.0


@lru_cache(maxsize=65536)
def _script(character: str, language: Language) -> bool:
    return unicodedata.name(character, "").startswith(SCRIPTS[language])


def repeated_lines(text: str) -> float:
    """Share of a text's lines, empty ones apart, that stand in it before."""
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    return 1 - len(set(lines)) / len(lines) if lines else 0.0


def control_characters(text: str) -> int:
    """How many control, unassigned, private and replacement characters; tabs and line ends are none."""
    odd = ("Cc", "Cs", "Co", "Cn")
    return sum(
        count
        for one, count in Counter(text).items()
        if (unicodedata.category(one) in odd and one not in "\t\n\r") or one == "\ufffd"
    )


def _each(why: Callable[[str, Filter, Language], str]) -> Rule:
    """A rule that looks at each text alone; `why` is empty for a text that stays."""

    def drop(examples: Sequence[Example], settings: Filter, language: Language) -> Reasons:
        reasons = {i: why(one.text, settings, language) for i, one in enumerate(examples)}
        return {i: reason for i, reason in reasons.items() if reason}

    return Rule(drop)


def _foreign(text: str, settings: Filter, language: Language) -> str:
    share = language_share(text, language)
    return f"{share:.0%} of its characters are letters of {language}" if share < settings.min_language_share else ""


def _ill_sized(text: str, settings: Filter, language: Language) -> str:
    fits = settings.min_characters <= len(text) <= settings.max_characters
    return "" if fits else f"{len(text)} characters"


def _repeating(text: str, settings: Filter, language: Language) -> str:
    share = repeated_lines(text)
    return f"{share:.0%} of its lines stand in it before" if share > settings.max_repeated_lines else ""


def _broken(text: str, settings: Filter, language: Language) -> str:
    count = control_characters(text)
    return f"{count} control characters" if count > settings.max_control_characters else ""


# ---- duplicates ------------------------------------------------------------------------------------------------------


def _exact_duplicates(examples: Sequence[Example], settings: Filter, language: Language) -> Reasons:
    first: dict[str, Example] = {}
    reasons: Reasons = {}
    for i, one in enumerate(examples):
        other = first.setdefault(" ".join(unicodedata.normalize("NFC", one.text).split()), one)
        if other is not one:
            differs = ", with another answer" if other.answer != one.answer else ""
            reasons[i] = f"the text of {other.id}{differs}"
    return reasons


def runs_of(text: str, language: Language) -> frozenset[str]:
    """The runs of characters that a text consists of, case and blanks apart; a shorter text is one run."""
    plain, length = " ".join(text.casefold().split()), RUN_LENGTHS[language]
    return frozenset(plain[i : i + length] for i in range(max(1, len(plain) - length + 1)))


def similarity(one: frozenset[str], other: frozenset[str]) -> float:
    """Jaccard similarity of two sets, neither of them empty."""
    return len(one & other) / len(one | other)


def _near_duplicates(examples: Sequence[Example], settings: Filter, language: Language) -> Reasons:
    """Those that are near duplicates of an earlier one that stays (no chains: like a dropped one is not enough)."""
    from datasketch import MinHash, MinHashLSH

    limit = min(settings.near_duplicate_similarity, MAX_LIMIT)
    index = MinHashLSH(threshold=limit, num_perm=NUM_PERM, weights=WEIGHTS)
    runs: dict[int, frozenset[str]] = {}
    reasons: Reasons = {}
    for i, one in enumerate(examples):
        parts = runs_of(one.text, language)
        signature = MinHash(num_perm=NUM_PERM, seed=SEED)
        signature.update_batch([part.encode("utf-8", "surrogatepass") for part in sorted(parts)])
        near = {j: similarity(parts, runs[j]) for j in index.query(signature)}
        j = max(near, key=lambda j: (near[j], -j), default=-1)
        if near and near[j] >= settings.near_duplicate_similarity:
            reasons[i] = f"{near[j]:.0%} like {examples[j].id}"
        else:
            runs[i] = parts
            index.insert(i, signature)
    return reasons


RULES: Mapping[str, Rule] = {
    "language": _each(_foreign),
    "length": _each(_ill_sized),
    "repeated_lines": _each(_repeating),
    "control_characters": _each(_broken),
    "exact_duplicates": Rule(_exact_duplicates),
    "near_duplicates": Rule(_near_duplicates, needs="datasketch"),
}


# ---- labels ----------------------------------------------------------------------------------------------------------


def label_counts(examples: Sequence[Example], is_label: bool) -> Counter[str]:
    """How many examples have each `slot: label`; of spans and free values each slot."""
    pairs = (
        {f"{slot}: {value}" if is_label else slot for slot, values in one.answer.items() for value in values}
        for one in examples
    )
    return Counter(pair for each in pairs for pair in each)
