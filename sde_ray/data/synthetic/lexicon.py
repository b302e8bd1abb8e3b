"""The words reviews are made of: per aspect its subjects, its judgements and its idioms, each with a polarity.

A word may be good of one aspect and bad of another (a cold beer, a cold soup; a loud bar, a loud waiter), so that a
reader needs the subject, not the adjective alone. `ASPECTS` holds the eleven aspects of `masa`; `FURTHER` holds
aspects that only the base model's pretraining text uses.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Aspect:
    """`subjects` start with "+" where the verb is plural; `idioms` are whole clauses that name no subject."""

    name: str
    subjects: tuple[str, ...]
    good: tuple[str, ...]
    bad: tuple[str, ...]
    fair: tuple[str, ...]
    good_idioms: tuple[str, ...]
    bad_idioms: tuple[str, ...]
    weight: float
    polarity: tuple[float, float, float]  # shares of positive, negative, neutral


def _words(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(","))


GENERAL_GOOD = _words("great, excellent, lovely, superb, wonderful, perfect, impressive, a real pleasure")
GENERAL_BAD = _words("awful, terrible, dreadful, poor, horrible, a disgrace, a big letdown, below par")
GENERAL_FAIR = _words("okay, average, acceptable, ordinary, so so, unremarkable, nothing special, middling")

ASPECTS: dict[str, Aspect] = {
    aspect.name: aspect
    for aspect in (
        Aspect(
            "food",
            _words(
                "the soup, the pasta, the steak, the fish, the salad, the curry, the bread, +the dumplings, +the noodles, the dessert, the lamb, +the fries, the dish, the cooking"
            ),
            _words("delicious, tasty, fresh, tender, crisp, full of flavour, well seasoned, juicy"),
            _words("bland, cold, stale, greasy, burnt, overcooked, salty, tough"),
            _words("edible, plain, filling, rather simple"),
            _words("we cleaned our plates, i would come back for a second helping, every bite was a joy"),
            _words("we left half of it on the plate, my stomach hurt afterwards, the plate went back to the kitchen"),
            0.75,
            (0.56, 0.3, 0.14),
        ),
        Aspect(
            "drinks",
            _words(
                "the beer, the wine, the coffee, the tea, the lemonade, +the cocktails, the juice, the cider, the house red"
            ),
            _words("cold, refreshing, smooth, rich, aromatic, well mixed, cool"),
            _words("warm, watery, flat, sour, bitter, too sweet, weak"),
            _words("drinkable, standard, mild"),
            _words("we ordered another round, the barman knows his craft"),
            _words("my glass stayed full, it tasted like dishwater"),
            0.4,
            (0.55, 0.3, 0.15),
        ),
        Aspect(
            "price",
            _words("the bill, the price, +the prices, the lunch deal, the set menu price, the total"),
            _words("fair, reasonable, low, modest, a bargain, cheap"),
            _words("high, steep, a rip off, outrageous, inflated, too much"),
            _words("in the middle, as expected, typical for the area"),
            _words("we paid very little, good value for money, my wallet was happy"),
            _words("we paid a fortune, it cost an arm and a leg, not worth the money"),
            0.45,
            (0.4, 0.46, 0.14),
        ),
        Aspect(
            "hygiene",
            _words(
                "the table, the floor, the bathroom, +the plates, +the glasses, the washroom, +the toilets, the cutlery"
            ),
            _words("clean, spotless, shining, tidy, well kept"),
            _words("dirty, sticky, filthy, stained, dusty, greasy"),
            _words("clean enough, a little worn"),
            _words("you could eat off the floor, everything was wiped down twice"),
            _words("a fly swam in my glass, there was a hair on my fork"),
            0.25,
            (0.42, 0.48, 0.1),
        ),
        Aspect(
            "staff",
            _words(
                "the waiter, the waitress, the host, the manager, +the servers, the owner, the team, the young man who served us"
            ),
            _words("friendly, kind, polite, attentive, warm, helpful, patient, cheerful"),
            _words("rude, cold, careless, grumpy, loud, arrogant, unhelpful, short with us"),
            _words("correct, neutral, businesslike"),
            _words("they remembered our names, we felt like guests of honour, someone always had a smile for us"),
            _words("nobody looked at us, they rolled their eyes at my question, we were treated like a nuisance"),
            0.5,
            (0.52, 0.36, 0.12),
        ),
        Aspect(
            "parking",
            _words("the parking, the car park, the lot behind the house, the parking garage"),
            _words("easy, free, spacious, close by, safe"),
            _words("cramped, full, expensive, far away, a nightmare"),
            _words("limited, a short walk off"),
            _words("we found a space at once, there is room for every car"),
            _words("we circled the block for a space, i got a ticket on the street"),
            0.2,
            (0.33, 0.53, 0.14),
        ),
        Aspect(
            "transport",
            _words("the metro station, the bus stop, the way there, the tram, the train connection, the location"),
            _words("convenient, close, handy, well connected, easy to reach"),
            _words("remote, hard to reach, out of the way, unreliable, far away"),
            _words("a short ride off, a ten minute walk"),
            _words("the metro stops at the door, you step off the bus and you are there"),
            _words("we changed buses three times, no taxi wanted to go there"),
            0.35,
            (0.5, 0.36, 0.14),
        ),
        Aspect(
            "queueing",
            _words("the queue, the line, the wait for a table, the waiting list, the wait at the door"),
            _words("short, quick, well organised, painless"),
            _words("long, endless, slow, chaotic, exhausting"),
            _words("bearable, moderate"),
            _words("we were seated at once, we walked straight in, no need to book"),
            _words("we stood outside for an hour, they called our number after ages"),
            0.45,
            (0.36, 0.5, 0.14),
        ),
        Aspect(
            "serving speed",
            _words("the service, the kitchen, the ordering, the delivery to the table, the pace of the meal"),
            _words("fast, quick, prompt, swift, on the dot"),
            _words("slow, sluggish, delayed, late, endless"),
            _words("steady, neither here nor there"),
            _words("our plates came within minutes, the order arrived before we could talk"),
            _words("we waited forever for the main course, the starter came after the main"),
            0.55,
            (0.44, 0.44, 0.12),
        ),
        Aspect(
            "decoration",
            _words(
                "the decor, the interior, the room, the lighting, +the walls, the furniture, the design, +the paintings"
            ),
            _words("stylish, cosy, elegant, charming, bright, warm, tasteful"),
            _words("ugly, shabby, gloomy, dated, cold, tacky, dark"),
            _words("plain, sober, simple"),
            _words("the place looks like a postcard, i took pictures of every corner"),
            _words("the paint peels off everywhere, it looks like a waiting room"),
            0.5,
            (0.6, 0.28, 0.12),
        ),
        Aspect(
            "noise",
            _words("the music, the noise level, the sound, the crowd, the neighbouring table, the room at night"),
            _words("quiet, calm, soft, pleasant, low"),
            _words("loud, deafening, shrill, noisy, unbearable"),
            _words("noticeable, lively"),
            _words("we could talk in a whisper, you hear a pin drop"),
            _words("we had to shout, my ears rang afterwards"),
            0.35,
            (0.36, 0.5, 0.14),
        ),
    )
}

FURTHER: dict[str, Aspect] = {
    aspect.name: aspect
    for aspect in (
        Aspect(
            "portions",
            _words("the portion, +the portions, the serving, +the helpings"),
            _words("generous, large, huge, ample, big"),
            _words("tiny, small, meagre, stingy, skimpy"),
            _words("medium, regular"),
            _words("we took half of it home, nobody leaves hungry"),
            _words("we went home hungry, one bite and it was gone"),
            0.4,
            (0.5, 0.36, 0.14),
        ),
        Aspect(
            "menu",
            _words("the menu, the choice, the selection, +the options, the wine list"),
            _words("varied, wide, inventive, rich, clear"),
            _words("limited, short, boring, confusing, dull"),
            _words("classic, standard, small"),
            _words("there is something for everyone, i could not decide"),
            _words("half of it was sold out, vegetarians go hungry"),
            0.4,
            (0.5, 0.36, 0.14),
        ),
        Aspect(
            "terrace",
            _words("the terrace, the garden, the balcony, the yard, the view"),
            _words("sunny, green, beautiful, shady, breathtaking"),
            _words("windy, cramped, ugly, smoky, bare"),
            _words("small, simple"),
            _words("we sat under the trees until late, you look over the whole town"),
            _words("cars drive past your chair, we looked at a brick wall"),
            0.35,
            (0.6, 0.28, 0.12),
        ),
        Aspect(
            "booking",
            _words("the booking, the reservation, the website, the phone line"),
            _words("simple, smooth, quick, confirmed at once"),
            _words("lost, complicated, broken, ignored, wrong"),
            _words("as usual, by phone only"),
            _words("a table was ready for us, two clicks and it was done"),
            _words("they had never heard of us, nobody picked up"),
            0.3,
            (0.44, 0.44, 0.12),
        ),
    )
}
