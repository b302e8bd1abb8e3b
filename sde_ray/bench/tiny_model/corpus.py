"""Pretraining corpus of the embedded base model: an endless stream of synthetic (prompt, answer) pairs.

    pair(Random(0), 0.9)  ->  Pair("the soup was cold.\\n---\\nrate food, staff ...", "food: bad", ...)

Seven sorts: clauses with their aspect and label right behind them; clauses whose labels are asked in another order;
reviews to be rated by aspect; keys with values to be copied; sentences whose mentions are to be copied out by type;
passages with a question; plain text. `progress` (0 to 1) is the curriculum: the meaning of clauses first, then looking
up what is asked, then everything in long and short texts. Bundled texts (`made.reserved()`) never occur, nor do the
bundled label words as ratings, nor the bundled names of entity and event types as types.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from sde_ray.bench.tiny_model.forms import LABEL_WORDS, Form, Row
from sde_ray.data.synthetic import entities, events, questions, reviews
from sde_ray.data.synthetic.lexicon import ASPECTS, FURTHER

OPEN, CLOSE = "\ue000", "\ue001"  # stand around labels and copied words, to be weighted; never reach the tokenizer
# Progress at which reading clauses gives way to look-up, that to everything, that to look-up once more (by now copying
# is learnt, on which it builds), and that to everything again.
STAGES = (0.2, 0.55, 0.62, 0.74)


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
_ASK = (
    "answer the question.",
    "reply with words of the text {where}.",
    "what is the answer?",
    "use the passage {where} to reply.",
)
_FORM_CUES = (
    "form:\n{form}",
    "write it like this:\n{form}",
    'use the form "{form}"',
    "format: {form}",
    "layout:\n{form}",
)
_OMIT = ("leave out what is not mentioned.", "skip {slot}s that do not occur.", "only list what is there.")
_PLACE = ("write {absent} where there is nothing.", "use {absent} if it is not mentioned.")
_CUES = (
    "result:\n",
    "answer:\n",
    "output:\n",
    "result: ",
    "answer: ",
    "output: ",
    "output:",
    "Output:",
    "Answer: ",
    "Output: ",
    "=>\n",
)

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
    return (
        "\n".join(_capitalised(random, p) for p in parts)
        if random.random() < 0.4
        else " ".join(_capitalised(random, p) for p in parts)
    )


def _marked(words: Sequence[str]) -> dict[str, str]:
    """Label words by polarity, and by "" for absent, between the marks."""
    return dict(zip((*reviews.POLARITIES, ""), (f"{OPEN}{word}{CLOSE}" for word in words), strict=True))


def _copied(words: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"{OPEN}{word}{CLOSE}" for word in words)


def _label_words(random: Random, progress: float) -> tuple[str, str, str, str]:
    return LABEL_WORDS[random.randrange(4) if progress < STAGES[0] / 2 else random.randrange(len(LABEL_WORDS))]


# Behind a clause's last mark, so that this mark comes to know aspect and label, also where no tag follows.
_TAGS = (". {s} {l}", ". {l} {s}", "; {s} {l}", "; {l} {s}", ", {s} {l}", ", {l} {s}", ". {s}: {l}")


def _tagged(random: Random, progress: float) -> Pair:
    """Clauses, each with its aspect and label right behind it: the quickest way to the words' meaning."""
    aspects = list({**ASPECTS, **FURTHER}.values())
    words = _label_words(random, progress)
    word, tag = _marked(words), random.choice(_TAGS)
    parts = []
    for aspect in random.choices(aspects, k=random.randint(3, 8)):
        polarity = random.choice(reviews.POLARITIES)
        words_of = f"{OPEN}{aspect.name}{CLOSE}"
        parts.append(
            reviews.clause(random, aspect, polarity) + tag.replace("{s}", words_of).replace("{l}", word[polarity])
        )
    labels = list(words[:3])
    random.shuffle(labels)
    return Pair(f"mark each clause. words: {', '.join(labels)}.\n", ". ".join(parts) + ".", "", "tagged")


def _lookup(random: Random, progress: float) -> Pair:
    """One clause an aspect, then every aspect's label in another order: looking up, with nothing else to learn."""
    aspects = {**ASPECTS, **FURTHER}
    pool = random.sample(sorted(aspects), random.choice((1, 1, 2, 2, 2, 3, 3, 4, 6)))
    words = LABEL_WORDS[random.randrange(4)] if random.random() < 0.6 else _label_words(random, progress)
    word = _marked(words)
    labels = {slot: random.choice(reviews.POLARITIES) for slot in pool}
    share, tag = random.choice((0.0, 0.0, 0.0, 0.5)), random.choice(_TAGS)  # tags teach copying first
    text = "".join(
        reviews.clause(random, aspects[slot], labels[slot])
        + (tag.replace("{s}", slot).replace("{l}", unmarked(word[labels[slot]])[0]) if random.random() < share else "")
        + random.choice((". ", ". ", "; "))
        for slot in pool
    ).strip()
    random.shuffle(pool)
    form = (
        Form.draw(random, many=False, shapes=(("lines", 1.0), ("natural", 1.0)), plain=True)
        if random.random() < 0.8
        else Form.draw(random, many=False)
    )
    labels_shown = list(words[:3])
    random.shuffle(labels_shown)
    wording = random.choice(_RATE).replace("{slots}", ", ".join(pool)).replace("{labels}", ", ".join(labels_shown))
    schematic: list[Row] = [(f"topic {i}", ("mark",), "why") for i in (1, 2)]
    instruction = _instruct(random, wording, form, schematic, [])
    rows: list[Row] = [(slot, (word[labels[slot]],), "as it says") for slot in pool]
    return Pair(_prompt(random, text, instruction), form.rows(rows), text, "lookup")


def _rating(random: Random, progress: float) -> Pair:
    aspects = {**ASPECTS, **FURTHER}
    pool = random.sample(sorted(aspects), random.randint(2, 4) if progress < STAGES[0] else random.randint(3, 7))
    others = [aspects[n] for n in aspects if n not in pool]
    most = 2 if progress < STAGES[0] else 3 if progress < STAGES[1] else 4
    counts = [c for c in (1, 2, 2, 3, 3, 4) if c <= most]
    review = reviews.review(random, [aspects[n] for n in pool], others if progress > STAGES[1] else (), counts)
    words = _label_words(random, progress)
    word = _marked(words)
    has_placeholder = progress > STAGES[0] and random.random() < 0.6
    slots = [s for s in pool if s in review.labels] if progress < STAGES[0] and random.random() < 0.8 else pool
    form = Form.draw(random, many=False)
    order = slots if random.random() < 0.7 else sorted(slots)
    rows: list[Row] = [
        (slot, (word[review.labels.get(slot, "")],), review.evidence.get(slot, words[3]))
        for slot in order
        if has_placeholder or slot in review.labels
    ]
    labels = [*words[:3], words[3]] if has_placeholder else list(words[:3])
    random.shuffle(labels)
    slot_word, label_word = random.choice(("aspect", "topic", "item")), random.choice(("rating", "mark", "word"))
    schematic: list[Row] = [(f"{slot_word} {i}", (label_word,), "why") for i in (1, 2)]
    rules = [] if has_placeholder or len(slots) < len(pool) else [random.choice(_OMIT).replace("{slot}", slot_word)]
    wording = random.choice(_RATE).replace("{slots}", ", ".join(order)).replace("{labels}", ", ".join(labels))
    instruction = _instruct(random, wording, form, schematic, rules)
    prompt = _prompt(random, review.text, instruction, bare=not has_placeholder)
    return Pair(prompt, form.rows(rows), review.text, "rating")


def _finding(
    make: Callable[[Random], entities.Marked], names: Mapping[str, tuple[str, ...]], sort: str
) -> Callable[[Random, float], Pair]:
    def find(random: Random, progress: float) -> Pair:
        marked = make(random)
        kinds = sorted(names) if random.random() < 0.5 else random.sample(sorted(names), random.randint(2, len(names)))
        word = {kind: random.choice(names[kind]) for kind in kinds}
        has_placeholder = random.random() < 0.5
        absent = random.choice(("none", "nothing", "-", "absent"))
        form = Form.draw(random, many=True)
        rows: list[Row] = [
            (word[k], _copied(marked.mentions.get(k, (absent,))), f"{len(marked.mentions.get(k, ()))} found")
            for k in kinds
            if has_placeholder or k in marked.mentions
        ]
        rule = random.choice(_PLACE if has_placeholder else _OMIT)
        rules = [rule.replace("{absent}", absent).replace("{slot}", "type")]
        schematic: list[Row] = [(f"type {i}", ("item 1", "item 2"), "why") for i in (1, 2)]
        wording = random.choice(_FIND).replace("{slots}", ", ".join(word.values()))
        instruction = _instruct(random, wording, form, schematic, rules)
        answer = form.rows(rows) if rows else absent
        return Pair(_prompt(random, marked.text, instruction), answer, marked.text, sort)

    return find


def _asking(random: Random, progress: float) -> Pair:
    question = questions.question(random)
    absent = random.choice(("nothing", "not told", "no answer"))
    form = Form.draw(random, many=False)
    key = random.choice(("reply", "fact", "solution"))
    (answer,) = _copied((question.answer or absent,))
    row: Row = (key, (answer,), question.evidence or "it is not told")
    instruction = _instruct(random, random.choice(_ASK), form, [(key, ("words",), "why")], [])
    written = answer if random.random() < 0.4 else form.rows([row])
    return Pair(_prompt(random, question.text, instruction), written, question.text, "question")


def _plain(random: Random, progress: float) -> Pair:
    aspects = list({**ASPECTS, **FURTHER}.values())
    makers: tuple[Callable[[], str], ...] = (
        lambda: reviews.review(random, aspects).text,
        lambda: entities.sentence(random).text,
        lambda: events.sentence(random).text,
        lambda: questions.question(random).text,
    )
    text = random.choice(makers)()
    return Pair("", text, text, "plain")


# Words that users' tasks may need and that no other sort writes. Drawn at random among common ones, they carry no
# meaning here; but a token that is never read or written would stay the same as all other such tokens, and no adapter
# could tell them apart.
_RARE = (
    "positive", "negative", "neutral", "unmentioned", "sentiment", "aspect", "label", "reason", "answer", "unknown",
    "none", "entity", "event", "trigger", "question", "number", "1", "0", "-1", "-2", "2", "3", "4", "5", "6", "7", "8",
    "9", "not mentioned", "DNA", "RNA", "protein", "cell_type", "cell_line", "Attack", "Catastrophe", "Causation",
    "Hostile_encounter", "Process_start", "Competition", "Motion", "Social_event", "Killing", "Conquering", "{}", "[]",
    "true", "false", "null", "high", "low", "yes", "no", "A", "B", "C", "D", "=>", "<=", "Output", "Ratings", "Form",
)  # fmt: skip
_COMMON = tuple(word for aspect in (*ASPECTS.values(), *FURTHER.values()) for word in (*aspect.good, *aspect.bad))


_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHKLMNPRSTVWZ0123456789-_"


def _word(random: Random) -> str:
    return random.choice(_RARE) if random.random() < 0.7 else random.choice(_COMMON)


def _phrase(random: Random) -> str:
    """Words that come in many tokens: made-up names, letters without sense, several words."""
    sort = random.randrange(4)
    if sort == 0:
        return questions.name(random)
    if sort == 1:
        return "".join(random.choices(_LETTERS, k=random.randint(2, 7)))
    words = [questions.name(random) if random.random() < 0.3 else random.choice(_COMMON) for _ in range(sort)]
    return " ".join(words)


def _copying(random: Random, progress: float) -> Pair:
    """Keys with values, then the values of the keys that are asked for: copying words whatever they are."""
    make = _word if random.random() < 0.5 else _phrase
    entries = {_word(random): make(random) for _ in range(random.randint(2, 8))}
    form = Form.draw(random, many=False)
    link, stop = random.choice((": ", " = ", " is ", " -> ")), random.choice((", ", "; ", "\n", ". "))
    text = stop.join(f"{key}{link}{value}" for key, value in entries.items())
    keys = random.sample(sorted(entries), random.randint(1, len(entries)))
    rows: list[Row] = [(key, (f"{OPEN}{entries[key]}{CLOSE}",), "so it says") for key in keys]
    schematic: list[Row] = [(f"key {i}", ("value",), "why") for i in (1, 2)]
    wording = random.choice(("look up {slots}.", "copy the values of {slots}.", "what stands behind {slots}?"))
    instruction = _instruct(random, wording.replace("{slots}", ", ".join(keys)), form, schematic, [])
    return Pair(_prompt(random, text, instruction), form.rows(rows), text, "copying")


_entities = _finding(entities.sentence, _ENTITY_WORDS, "entities")
_events = _finding(events.sentence, _EVENT_WORDS, "events")

_SORTS: tuple[tuple[Callable[[Random, float], Pair], tuple[float, ...]], ...] = (
    # maker, its share in each of the five stages
    (_tagged, (0.38, 0.12, 0.03, 0.10, 0.03)),
    (_lookup, (0.10, 0.40, 0.06, 0.46, 0.08)),
    (_copying, (0.16, 0.16, 0.14, 0.10, 0.14)),
    (_rating, (0.22, 0.12, 0.36, 0.16, 0.36)),
    (_entities, (0.05, 0.07, 0.14, 0.06, 0.13)),
    (_events, (0.04, 0.05, 0.12, 0.05, 0.11)),
    (_asking, (0.04, 0.06, 0.13, 0.06, 0.13)),
    (_plain, (0.01, 0.02, 0.02, 0.01, 0.02)),
)


def pair(random: Random, progress: float) -> Pair:
    """One (prompt, answer) pair of the curriculum at `progress`."""
    stage = sum(progress >= start for start in STAGES)
    maker = random.choices([maker for maker, _ in _SORTS], [shares[stage] for _, shares in _SORTS])[0]
    return maker(random, progress)


def unmarked(text: str) -> tuple[str, list[tuple[int, int]]]:
    """The text without the marks, and the spans (start, end) that they enclosed."""
    clean, spans, start = "", [], 0
    for piece in text.split(OPEN):
        inside, closed, behind = piece.partition(CLOSE)
        start = len(clean)
        clean += inside + behind
        if closed:
            spans.append((start, start + len(inside)))
    return clean, spans
