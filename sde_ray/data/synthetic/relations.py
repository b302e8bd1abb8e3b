"""Sentences that tell relations between people, places, firms and works: the bundled set `relations`.

    facts(random, D1) -> ("Ada Kern wrote The Old Mill in 1912, and Ivo Brandt works for Halden Glass.",
                          [Fact("Ada Kern", "wrote", "The Old Mill", 1912, ...), ...])

The tail may stand before the head, a year is told of some, and clauses that tell nothing of this kind are distractors.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

D1 = ("born in", "works for", "wrote")
D2 = ("lives in", "founded", "painted", "married to")

# By relation: clauses with {head} and {tail}; {year} where one is told, or is not.
_CLAUSES: dict[str, tuple[str, ...]] = {
    "born in": (
        "{head} was born in {tail}", "{tail} is the birthplace of {head}", "{head}, a native of {tail}, spoke first",
        "{head} was born in {tail} in {year}", "in {year} {head} came into the world in {tail}",
    ),
    "works for": (
        "{head} works for {tail}", "{tail} hired {head}", "{head} is an engineer at {tail}",
        "{tail} hired {head} in {year}", "since {year} {head} has worked for {tail}",
    ),
    "wrote": (
        "{head} wrote {tail}", "{tail} is by {head}", "the author of {tail} is {head}",
        "{head} wrote {tail} in {year}", "in {year} {tail} by {head} was printed",
    ),
    "lives in": (
        "{head} lives in {tail}", "{head} has a house in {tail}", "{tail} is the home of {head}",
        "{head} has lived in {tail} since {year}",
    ),
    "founded": (
        "{head} founded {tail}", "{tail} was set up by {head}", "{head} is the founder of {tail}",
        "{head} founded {tail} in {year}", "in {year} {tail} was set up by {head}",
    ),
    "painted": (
        "{head} painted {tail}", "{tail} is a picture by {head}", "the painter of {tail} is {head}",
        "{head} painted {tail} in {year}",
    ),
    "married to": (
        "{head} is married to {tail}", "{head} married {tail}", "{tail} is the spouse of {head}",
        "{head} married {tail} in {year}",
    ),
}  # fmt: skip
_TAILS = {
    "born in": "place", "works for": "firm", "wrote": "work", "lives in": "place", "founded": "firm", "painted": "work",
    "married to": "person",
}  # fmt: skip
_FIRST = ("Ada", "Ivo", "Mira", "Tom", "Lena", "Oskar", "Nora", "Emil", "Ruth", "Paul", "Vera", "Jonas")
_LAST = ("Kern", "Brandt", "Holm", "Lindt", "Marsh", "Novak", "Osten", "Pryce", "Quist", "Rowe", "Sandor", "Tamm")
_PLACES = ("Tarsin", "Port Anek", "Dorra", "Vestin", "Selby", "Lower Hale", "Marun", "Old Brack")
_FIRMS = ("Halden Glass", "the Corvo bank", "Linnet Press", "Northway Rail", "the Amber mill", "Stark and Sons")
_WORKS = (
    "The Old Mill", "A Winter at Sea", "Seven Bridges", "The Salt Road", "Letters from Dorra", "Blue Hour",
    "The Last Harvest", "Night Trains",
)  # fmt: skip
_NOTHING = (
    "{person} saw {place} only once", "{person} was late", "the train to {place} did not run", "nobody had read {work}",
    "{firm} was closed on Monday", "{person} met {other} at the station", "{work} lay on the table",
    "{person} left {place} without a word",
)  # fmt: skip


@dataclass(frozen=True)
class Fact:
    """A relation as a clause tells it: who, what, whom or where, and the year where one is told."""

    head: str
    relation: str
    tail: str
    year: int | None
    clause: str


def _fact(random: Random, relation: str, people: list[str]) -> Fact:
    head, other = random.sample(people, 2)
    names = {"place": _PLACES, "firm": _FIRMS, "work": _WORKS, "person": (other,)}[_TAILS[relation]]
    tail, words = random.choice(names), random.choice(_CLAUSES[relation])
    year = random.randrange(1850, 2010) if "{year}" in words else None
    return Fact(head, relation, tail, year, words.format(head=head, tail=tail, year=year))


def _distractor(random: Random, people: list[str]) -> str:
    person, other = random.sample(people, 2)
    place, firm, work = random.choice(_PLACES), random.choice(_FIRMS), random.choice(_WORKS)
    return random.choice(_NOTHING).format(person=person, other=other, place=place, firm=firm, work=work)


def facts(random: Random, relations: tuple[str, ...]) -> tuple[str, list[Fact]]:
    """A sentence of one to three clauses, and the relations that it tells; roughly one in eight tells none."""
    people = [f"{first} {last}" for first, last in zip(random.sample(_FIRST, 4), random.sample(_LAST, 4), strict=True)]
    told = [_fact(random, random.choice(relations), people) for _ in range(random.choice((0, 1, 1, 1, 2, 2, 2, 3)))]
    parts = [fact.clause for fact in told]
    if not parts or random.random() < 0.3:
        parts.insert(random.randrange(len(parts) + 1), _distractor(random, people))
    text = parts[0]
    for words in parts[1:]:
        text += random.choice((", and ", "; ", ", while ")) + words
    return text + ".", told
