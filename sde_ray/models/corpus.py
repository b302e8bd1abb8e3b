"""The text that the embedded base model is pretrained on: (prompt, answer) pairs without end, made by the package.

    pair(Random(0), 0.1)  ->  Pair("the soup was cold.\\n---\\nrate food, staff ...\\nresult:\\n", "food: bad\\nstaff: absent", ...)

Four sorts: reviews to be rated by aspect, sentences whose mentions are to be copied out by type, passages with
a question, and plain text. `progress` (0 to 1) is the curriculum: one clause and one or two aspects first, then longer
texts, more aspects and all shapes. Bundled texts (`made.reserved()`) never occur, nor do the bundled label words as
answers, nor the bundled names of entity and event types.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from sde_ray.data.made import entities, events, questions, reviews
from sde_ray.data.made.lexicon import ASPECTS, FURTHER
from sde_ray.models.forms import LABEL_WORDS, Form, Row, draw


@dataclass(frozen=True)
class Pair:
    """`text` is the source text in the prompt (to keep bundled texts out); an empty prompt is plain text."""

    prompt: str
    answer: str
    text: str
    sort: str


_RATE = (
    "rate {slots}. words: {labels}.",
    "judge the aspects {slots} with one of {labels}.",
    "what does the text say about {slots}? choose from {labels}.",
    "give a mark for each of: {slots}. marks: {labels}.",
    "aspects: {slots}. ratings: {labels}.",
    "for every aspect in [{slots}] pick one of [{labels}].",
    "read the review {where} and mark these topics: {slots}. allowed marks: {labels}.",
)
_FIND = (
    "find all {slots}.",
    "copy out the mentions of {slots}.",
    "list what belongs to these types: {slots}.",
    "which {slots} occur in the text {where}?",
    "types: {slots}. copy their mentions.",
)
_ASK = ("answer the question.", "reply with words of the text {where}.", "what is the answer?", "use the passage {where} to reply.")
_FORM_CUES = ("form:\n{form}", "write it like this:\n{form}", "use the form \"{form}\"", "format: {form}", "layout:\n{form}")
_OMIT = ("leave out what is not mentioned.", "skip {slot}s that do not occur.", "only list what is there.")
_PLACE = ("write {absent} where there is nothing.", "use {absent} if it is not mentioned.")
_CUES = ("result:\n", "answer:\n", "output:\n", "result: ", "answer: ", "output: ", "output:", "Output:", "Answer: ", "Output: ", "=>\n")

_ENTITY_WORDS = {
    "DNA": ("gene region", "locus"),
    "RNA": ("transcript", "message"),
    "protein": ("factor", "molecule"),
    "cell_type": ("tissue", "cell kind"),
    "cell_line": ("culture", "strain"),
}
_EVENT_WORDS = {
    "Catastrophe": ("disaster",), "Attack": ("assault",), "Hostile_encounter": ("fight",), "Causation": ("cause",),
    "Process_start": ("start",), "Competition": ("contest",), "Motion": ("move",), "Social_event": ("gathering",),
    "Killing": ("death",), "Conquering": ("takeover",),
}  # fmt: skip


def _prompt(random: Random, text: str, instruction: str, bare: bool = False) -> str:
    """Text and instruction in either order; `bare`: no instruction now and then (the answer must not need it)."""
    cue = random.choice(_CUES)
    rule = random.choice(("\n---\n", "\n---\n", "\n\n", "\n"))
    if bare and random.random() < 0.12:
        return f"{text}\n{cue}"
    if random.random() < 0.5:
        return f"{instruction.replace('{where}', 'below')}{rule}{text}\n{cue}"
    return f"{text}{rule}{instruction.replace('{where}', 'above')}\n{cue}"


def _capitalised(random: Random, words: str) -> str:
    return words[0].upper() + words[1:] if random.random() < 0.5 else words


def _instruct(random: Random, wording: str, form: Form, schematic: Sequence[Row], rules: Sequence[str]) -> str:
    parts = [wording]
    parts.append(random.choice(_FORM_CUES).replace("{form}", form.rows(schematic, more=True)))
    parts[1:1] = list(rules)
    return "\n".join(_capitalised(random, p) for p in parts) if random.random() < 0.4 else " ".join(
        _capitalised(random, p) for p in parts
    )


def _rating(random: Random, progress: float) -> Pair:
    known = {**ASPECTS, **FURTHER}
    most = 1 if progress < 0.04 else 2 if progress < 0.12 else 4
    pool = random.sample(sorted(known), random.randint(2, 4) if progress < 0.12 else random.randint(3, 7))
    others = [known[n] for n in known if n not in pool]
    counts = [c for c in (1, 2, 2, 3, 3, 4) if c <= most]
    made = reviews.review(random, [known[n] for n in pool], others if progress > 0.1 else (), counts)
    easy = progress < 0.08
    words = LABEL_WORDS[random.randrange(4) if easy else random.randrange(len(LABEL_WORDS))]
    word = dict(zip(reviews.POLARITIES, words, strict=False))
    place = random.random() < 0.6
    shapes = (("lines", 1.0), ("natural", 1.0)) if easy else None
    form = Form.draw(random, many=False, plain=easy, **({"shapes": shapes} if shapes else {}))
    order = pool if random.random() < 0.7 else sorted(pool)
    rows: list[Row] = [
        (slot, (word[made.labels[slot]],) if slot in made.labels else (words[3],), made.evidence.get(slot, words[3]))
        for slot in order
        if place or slot in made.labels
    ]
    labels = [*words[:3], words[3]] if place else list(words[:3])
    random.shuffle(labels)
    slot_word, label_word = random.choice(("aspect", "topic", "item")), random.choice(("rating", "mark", "word"))
    schematic: list[Row] = [(f"{slot_word} {i}", (label_word,), "why") for i in (1, 2)]
    rules = [] if place else [random.choice(_OMIT).replace("{slot}", slot_word)]
    wording = random.choice(_RATE).replace("{slots}", ", ".join(order)).replace("{labels}", ", ".join(labels))
    instruction = _instruct(random, wording, form, schematic, rules)
    return Pair(_prompt(random, made.text, instruction, bare=not place), form.rows(rows), made.text, "rating")


def _finding(
    make: Callable[[Random], entities.Marked], names: dict[str, tuple[str, ...]], sort: str
) -> Callable[[Random, float], Pair]:
    def find(random: Random, progress: float) -> Pair:
        made = make(random)
        kinds = sorted(names) if random.random() < 0.5 else random.sample(sorted(names), random.randint(2, len(names)))
        word = {kind: random.choice(names[kind]) for kind in kinds}
        place = random.random() < 0.5
        absent = random.choice(("none", "nothing", "-", "absent"))
        form = Form.draw(random, many=True)
        rows: list[Row] = [
            (word[k], made.mentions.get(k, (absent,)), f"{len(made.mentions.get(k, ()))} found")
            for k in kinds
            if place or k in made.mentions
        ]
        rules = [random.choice(_PLACE if place else _OMIT).replace("{absent}", absent).replace("{slot}", "type")]
        schematic: list[Row] = [(f"type {i}", ("item 1", "item 2"), "why") for i in (1, 2)]
        wording = random.choice(_FIND).replace("{slots}", ", ".join(word.values()))
        instruction = _instruct(random, wording, form, schematic, rules)
        answer = form.rows(rows) if rows else absent
        return Pair(_prompt(random, made.text, instruction), answer, made.text, sort)

    return find


def _asking(random: Random, progress: float) -> Pair:
    made = questions.question(random)
    absent = random.choice(("nothing", "not told", "no answer"))
    form = Form.draw(random, many=False)
    key = random.choice(("reply", "fact", "solution"))
    row: Row = (key, (made.answer or absent,), made.evidence or "it is not told")
    instruction = _instruct(random, random.choice(_ASK), form, [(key, ("words",), "why")], [])
    answer = made.answer or absent if random.random() < 0.4 else form.rows([row])
    return Pair(_prompt(random, made.text, instruction), answer, made.text, "question")


def _plain(random: Random, progress: float) -> Pair:
    known = list({**ASPECTS, **FURTHER}.values())
    make = random.choice(
        (
            lambda: reviews.review(random, known).text,
            lambda: entities.sentence(random).text,
            lambda: events.sentence(random).text,
            lambda: questions.question(random).text,
        )
    )
    text = make()
    return Pair("", text, text, "plain")


_SORTS: tuple[tuple[str, Callable[[Random, float], Pair], float, float], ...] = (
    # name, maker, weight, progress from which it is drawn
    ("rating", _rating, 0.68, 0.0),
    ("entities", _finding(entities.sentence, _ENTITY_WORDS, "entities"), 0.09, 0.1),
    ("events", _finding(events.sentence, _EVENT_WORDS, "events"), 0.09, 0.1),
    ("question", _asking, 0.08, 0.1),
    ("plain", _plain, 0.06, 0.0),
)


def pair(random: Random, progress: float) -> Pair:
    """One (prompt, answer) pair of the curriculum at `progress`."""
    open_now = [(maker, weight) for _, maker, weight, since in _SORTS if progress >= since]
    maker = random.choices([m for m, _ in open_now], [w for _, w in open_now])[0]
    return maker(random, progress)
