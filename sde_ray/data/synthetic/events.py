"""News-like sentences with event triggers of ten types: the bundled set `events`.

    sentence(random) -> Marked("rebels raided the harbour and the fleet sailed north.",
                               {"Attack": ("raided",), "Motion": ("sailed",)})

Some words trigger one type with one partner and another with the next ("struck" a town, a flood "struck"; "won" a cup,
"won" a province), and nouns such as "battle" in the name of a street are distractors.
"""

from __future__ import annotations

from random import Random

from sde_ray.data.synthetic.entities import Marked

TYPES = (
    "Catastrophe", "Attack", "Hostile_encounter", "Causation", "Process_start",
    "Competition", "Motion", "Social_event", "Killing", "Conquering",
)  # fmt: skip

# (type, triggers, clauses); {t} is the trigger
_CLAUSES: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("Catastrophe", ("struck", "hit", "ravaged", "devastated"), ("a flood {t} {place}", "an earthquake {t} the coast", "the storm {t} {place}")),
    ("Catastrophe", ("flood", "fire", "landslide", "eruption"), ("a {t} cut off {place}", "the {t} lasted three days")),
    ("Attack", ("raided", "bombed", "shelled", "struck", "ambushed"), ("{army} {t} {place}", "at dawn {army} {t} the convoy")),
    ("Hostile_encounter", ("fought", "clashed", "battled", "skirmished"), ("{army} {t} with {army2}", "{army} and {army2} {t} near {place}")),
    ("Causation", ("caused", "led to", "triggered", "resulted in"), ("the shortage {t} higher prices", "the decision {t} new doubts", "bad planning {t} the delay")),
    ("Process_start", ("began", "started", "launched", "opened"), ("construction {t} in {place}", "the talks {t} in {place}", "the campaign {t} in may")),
    ("Competition", ("won", "lost", "played", "raced", "competed"), ("the team from {place} {t} the final", "she {t} for the cup", "both clubs {t} in the league")),
    ("Motion", ("sailed", "marched", "flew", "moved", "travelled"), ("the fleet {t} north", "{army} {t} towards {place}", "the crew {t} to {place}")),
    ("Social_event", ("festival", "wedding", "concert", "ceremony", "parade"), ("the {t} drew large crowds", "{place} held a {t}", "guests came to the {t}")),
    ("Killing", ("killed", "murdered", "executed", "assassinated"), ("{army} {t} two guards", "the mayor was {t}", "a sniper {t} the officer")),
    ("Conquering", ("captured", "seized", "occupied", "won", "took"), ("{army} {t} the province", "{army} {t} {place} from {army2}")),
)  # fmt: skip
_PLACES = ("the harbour", "the old town", "Marun", "Selby", "the valley", "Port Anek", "the capital", "Dorra", "Vestin")
_ARMIES = ("the rebels", "the northern army", "the militia", "the guards", "imperial troops", "the third brigade")
_NOTHING = (
    "{place} lies on battle street", "the museum shows old uniforms", "nobody expected a quiet week", "the weather was mild",
    "the report names no dates", "{place} has a large market", "prices stayed the same", "there was no festival this year",
)  # fmt: skip


def _fill(random: Random, words: str, trigger: str = "") -> str:
    first, second = random.sample(_ARMIES, 2)
    return words.format(t=trigger, place=random.choice(_PLACES), army=first, army2=second)


def _clause(random: Random) -> tuple[str, str, str]:
    kind, triggers, clauses = random.choice(_CLAUSES)
    trigger = random.choice(triggers)
    return kind, trigger, _fill(random, random.choice(clauses), trigger)


def sentence(random: Random) -> Marked:
    """A sentence of one to three clauses; roughly one in eight holds no event."""
    events = [_clause(random) for _ in range(random.choice((0, 1, 1, 1, 2, 2, 2, 3)))]
    # "no festival this year" is a distractor only where no event of that word stands beside it
    parts = [words for _, _, words in events]
    if not parts or random.random() < 0.3:
        used = {trigger for _, trigger, _ in events}
        quiet = [n for n in _NOTHING if not any(t in n for t in used)]
        place = random.randrange(len(parts) + 1)
        parts.insert(place, _fill(random, random.choice(quiet)))
    text = parts[0]
    for words in parts[1:]:
        text += random.choice((", and ", "; ", " while ", ", then ")) + words
    mentions: dict[str, tuple[str, ...]] = {}
    for kind, trigger, _ in events:
        mentions[kind] = (*mentions.get(kind, ()), trigger)
    return Marked(text + ".", {kind: mentions[kind] for kind in TYPES if kind in mentions})
