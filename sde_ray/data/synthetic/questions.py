"""Short passages on made-up people and firms, each with a question: the bundled set `qa`.

    question(random) -> Asked("Mara Veld was born in Tarsin. ... Question: where was Mara Veld born?", "Tarsin", ...)

Distractors share the relation (another person's birthplace) or the person (her other facts); about one question in
seven asks for a fact that the passage does not give, and has no answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

_ONSETS = "T M V S K L D R B N P H G F J Tr St Br Gr".split()
_NUCLEI = "a e i o u ei au".split()
_CODAS = ["n", "l", "r", "s", "k", "m", "nd", "rt", "lin", "ra", "to"]
_FIRST = "Mara Jonas Elin Pavel Rosa Tarik Nina Oskar Lena Hugo Ines Felix Dora Milo Vera Anton".split()

# (statement, question, sort of answer); {p} is the person or firm, {a} the answer
_FACTS: tuple[tuple[str, str, str], ...] = (
    ("{p} was born in {a}", "where was {p} born?", "place"),
    ("{p} died in {a}", "where did {p} die?", "place"),
    ("{p} studied in {a}", "where did {p} study?", "place"),
    ("{p} lives in {a}", "where does {p} live?", "place"),
    ("{p} works as a {a}", "what is the job of {p}?", "job"),
    ("{p} is married to {a}", "who is {p} married to?", "person"),
    ("{p} wrote a book called {a}", "which book did {p} write?", "title"),
    ("{p} plays the {a}", "which instrument does {p} play?", "instrument"),
)
_JOBS = "baker judge pilot farmer nurse painter clerk miner teacher singer".split()
_INSTRUMENTS = "violin piano drum flute harp trumpet cello organ".split()
_TITLES = ("The Last Ferry", "Salt and Stone", "Nine Winters", "A House of Reeds", "The Glass Road", "Low Tide")


@dataclass(frozen=True)
class Asked:
    """`answer` is empty where the passage does not tell; `evidence` is the sentence that does."""

    text: str
    answer: str
    evidence: str
    aliases: tuple[str, ...]


def name(random: Random) -> str:
    """A made-up proper name of two syllables."""
    parts = [random.choice(_ONSETS) + random.choice(_NUCLEI) for _ in range(2)]
    return "".join([parts[0], parts[1].lower()]) + random.choice(_CODAS)


def _person(random: Random) -> str:
    return f"{random.choice(_FIRST)} {name(random)}"


def _answer(random: Random, sort: str) -> str:
    if sort == "place":
        return name(random)
    if sort == "person":
        return _person(random)
    return random.choice({"job": _JOBS, "instrument": _INSTRUMENTS, "title": list(_TITLES)}[sort])


def question(random: Random) -> Asked:
    """A passage of three or four sentences and a question on one of its people."""
    people = [_person(random) for _ in range(2)]
    facts = random.sample(_FACTS, 3)
    known = [(people[0], facts[0]), (people[0], facts[1]), (people[1], facts[0])]
    if random.random() < 0.5:
        known.append((people[1], facts[2]))
    stated = [(p, f, _answer(random, f[2])) for p, f in known]
    random.shuffle(stated)
    passage = ". ".join(f[0].format(p=p, a=a) for p, f, a in stated)
    if random.random() < 0.15:
        absent = facts[2]
        return Asked(f"{passage}. Question: {absent[1].format(p=people[0])}", "", "", ())
    person, fact, answer = random.choice([s for s in stated if s[0] == people[0]])
    aliases = (answer.split()[-1],) if fact[2] == "person" else ()
    return Asked(
        f"{passage}. Question: {fact[1].format(p=person)}", answer, fact[0].format(p=person, a=answer), aliases
    )
