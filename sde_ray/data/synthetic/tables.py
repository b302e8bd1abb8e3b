"""Rows of made-up tables with what is asked of them: the bundled sets of `matching`, `imputation`, `errors`, `schema`.

    match(random, "m-1")   -> TableItem(A: {"name": "Sparin Grill", "phone": "404 5512"}, B: {...}, answer "yes")

A restaurant has a name, an address, a city, a phone and a cuisine; its phone begins with the code of its city. Two
records of one restaurant differ in spelling, abbreviations, punctuation and missing values; two restaurants may share a
name (a branch in another city), a city and a cuisine, or nearly a phone. One pair in four matches, one cell in four is
wrong, one pair of columns in three means the same. The answers are free of noise by construction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random

from sde_ray.data.synthetic.questions import name as made_name
from sde_ray.data.table_text import Fields, TableItem

CITIES: Mapping[str, str] = {
    "Tarsin": "204", "Welby": "315", "Ostrand": "406", "Keldon": "517", "Marrow Bay": "628", "Pinfield": "739",
    "Saltley": "840", "Grenholm": "951",
}  # fmt: skip
"""Cities with the codes that their phones begin with."""
KINDS = ("Grill", "Cafe", "Kitchen", "Tavern", "Diner", "Bistro", "Garden", "House")
CUISINES: Mapping[str, str] = {
    "italian": "italian food", "french": "french (classic)", "thai": "thai food", "indian": "indian curries",
    "seafood": "fish and seafood", "steakhouse": "steaks", "vegetarian": "vegetarian dishes", "mexican": "mexican food",
}  # fmt: skip
"""Cuisines, and what another list calls them."""
STREETS: Mapping[str, str] = {"Street": "St.", "Avenue": "Ave.", "Boulevard": "Blvd.", "Road": "Rd."}
ATTRIBUTES = ("name", "address", "city", "phone", "cuisine")
Restaurant = dict[str, str]


def restaurant(random: Random) -> Restaurant:
    """A restaurant in its full spelling."""
    city = random.choice(list(CITIES))
    return {
        "name": f"{made_name(random)} {random.choice(KINDS)}",
        "address": f"{random.randint(1, 990)} {made_name(random)} {random.choice(list(STREETS))}",
        "city": city,
        "phone": f"{CITIES[city]}-{random.randint(100, 999)}-{random.randint(1000, 9999)}",
        "cuisine": random.choice(list(CUISINES)),
    }


# ---- entity matching -------------------------------------------------------------------------------------------------


def match(random: Random, name: str) -> TableItem:
    """Two records of one restaurant, or of two that may be alike."""
    one = restaurant(random)
    same = random.random() < 0.25
    other, difference = (one, "") if same else _another(random, one)
    pair = tuple(
        (title, _as_listed(random, row)) for title, row in zip("AB", _in_any_order(random, one, other), strict=True)
    )
    why = "the same place, spelt in two ways" if same else f"not the same {difference}"
    return TableItem(name, pair, "yes" if same else "no", rationale=why)


def _in_any_order(random: Random, one: Restaurant, other: Restaurant) -> tuple[Restaurant, Restaurant]:
    return (one, other) if random.random() < 0.5 else (other, one)


def _another(random: Random, one: Restaurant) -> tuple[Restaurant, str]:
    """Another restaurant, and what tells the two apart: a branch elsewhere, a neighbour, or anything."""
    other = restaurant(random)
    sort = random.choice(("branch", "neighbour", "other"))
    if sort == "branch":
        while other["city"] == one["city"]:
            other = restaurant(random)
        return {**other, "name": one["name"], "cuisine": one["cuisine"]}, "address, city and phone"
    while other["name"] == one["name"] or other["phone"][4:] == one["phone"][4:]:
        other = restaurant(random)
    if sort == "neighbour":
        shared = {key: one[key] for key in ("city", "cuisine")}
        return {**other, **shared, "phone": CITIES[one["city"]] + other["phone"][3:]}, "name, address and phone"
    return other, "name, address and phone"


def _as_listed(random: Random, row: Restaurant) -> Fields:
    """The record as one of many lists writes it."""
    listed = dict(row)
    if random.random() < 0.4:
        for full, short in STREETS.items():
            listed["address"] = listed["address"].replace(full, short)
    if random.random() < 0.3:
        listed["name"] = listed["name"].lower()
    elif random.random() < 0.2:
        listed["name"] = f"The {listed['name']}"
    if random.random() < 0.3:
        listed["phone"] = listed["phone"].replace("-", "/", 1).replace("-", " ")
    if random.random() < 0.3:
        listed["cuisine"] = CUISINES[listed["cuisine"]]
    if random.random() < 0.25:
        listed[random.choice(("city", "cuisine"))] = ""  # never both name and phone: those tell the places apart
    return listed


# ---- imputation ------------------------------------------------------------------------------------------------------


TARGET = "city"


def impute(random: Random, name: str) -> TableItem:
    """A restaurant without its city, which follows from the code of its phone."""
    row = restaurant(random)
    rest = {key: value for key, value in row.items() if key != TARGET}
    why = f"the phone begins with {CITIES[row['city']]}"
    return TableItem(name, (("", rest),), row[TARGET], missing=TARGET, rationale=why)


# ---- error detection -------------------------------------------------------------------------------------------------


def cell(random: Random, name: str) -> TableItem:
    """A restaurant with one cell to be judged: it is right, misspelt, or of another column, city or length."""
    row = restaurant(random)
    asked = random.choice(("city", "phone", "cuisine"))
    if random.random() >= 0.25:
        return TableItem(name, (("", row),), "no", cell={asked: row[asked]}, rationale=f"a {asked} as it should be")
    wrong, why = _spoil(random, row, asked)
    row = {**row, asked: wrong}
    return TableItem(name, (("", row),), "yes", cell={asked: wrong}, rationale=why)


def _spoil(random: Random, row: Restaurant, asked: str) -> tuple[str, str]:
    value, sort = row[asked], random.choice(("letter", "column", "contradiction"))
    if sort == "column":
        return row[random.choice([key for key in ATTRIBUTES if key != asked])], f"this is no {asked}"
    if sort == "contradiction" and asked == "city":
        return random.choice([city for city in CITIES if city != value]), "the phone is of another city"
    if asked == "phone":
        return value[:-2], "digits are missing"
    at = random.randrange(1, len(value))
    return value[:at] + "x" + value[at + 1 :] if value[at] != "x" else value[:at] + value[at + 1 :], "it is misspelt"


# ---- schema matching -------------------------------------------------------------------------------------------------

CONCEPTS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "date of birth": (("birth_date", "dob", "born_on"), ("the day a person was born", "date of birth")),
    "date of death": (("death_date", "died_on", "dod"), ("the day a person died", "date of death if any")),
    "family name": (("last_name", "surname", "family"), ("family name of the person", "surname")),
    "given name": (("first_name", "given", "forename"), ("given name of the person", "first name")),
    "city": (("city", "town", "municipality"), ("city of the address", "town where the person lives")),
    "postal code": (("zip", "postcode", "postal_code"), ("postal code of the address", "zip code")),
    "country": (("country", "nation", "country_name"), ("country of the address", "state the address lies in")),
    "price": (("price", "unit_cost", "amount_each"), ("price of one piece", "cost for each unit")),
    "total": (("total", "sum_due", "amount_total"), ("sum of all positions", "total amount to be paid")),
    "quantity": (("quantity", "qty", "pieces"), ("number of pieces", "how many were ordered")),
    "start of a stay": (("admitted", "start_time", "arrival"), ("when the stay began", "time of arrival")),
    "end of a stay": (("discharged", "stop_time", "departure"), ("when the stay ended", "time of departure")),
    "diagnosis": (("diagnosis", "condition", "finding"), ("what the person suffers from", "the condition found")),
    "medication": (("drug", "medication", "substance"), ("the drug that was given", "name of the medication")),
    "phone": (("phone", "tel", "contact_number"), ("telephone number", "number to call")),
    "email": (("email", "mail", "e_address"), ("address for electronic mail", "e-mail of the person")),
}
"""Concepts: names and descriptions of columns that hold them."""
TABLES = ("people", "patients", "visits", "orders", "clients", "staff", "guests", "members", "items", "records")


def columns(random: Random, name: str) -> TableItem:
    """Two columns of two tables that hold the same concept, or not."""
    one = random.choice(list(CONCEPTS))
    same = random.random() < 1 / 3
    other = one if same else random.choice([concept for concept in CONCEPTS if concept != one])
    first, second = random.sample(TABLES, 2)
    pair = tuple(
        (title, _column(random, table, concept)) for title, table, concept in (("A", first, one), ("B", second, other))
    )
    why = f"both mean {one}" if same else f"A means {one} and B {other}"
    return TableItem(name, pair, "yes" if same else "no", rationale=why)


def _column(random: Random, table: str, concept: str) -> Fields:
    names, descriptions = CONCEPTS[concept]
    return {"table": table, "column": random.choice(names), "description": random.choice(descriptions)}


MAKERS: Mapping[str, Callable[[Random, str], TableItem]] = {
    "matching": match,
    "imputation": impute,
    "errors": cell,
    "schema": columns,
}
