"""Five hundred short questions with their answers, to try labelling and training on the shipped experts.

    python -m evals.bench examples --out queries.jsonl
    switchyard label --queries queries.jsonl --reward contains --out labelled.jsonl

Half are sums, in digits and in words; the others ask for capitals, opposites, plurals and the language of a word. All are made from
the tables here, so that they are the same everywhere and nobody's copyright. Not a benchmark: a 135M model knows few of them.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import TypedDict

CAPITALS = {
    "France": "Paris",
    "Germany": "Berlin",
    "Italy": "Rome",
    "Spain": "Madrid",
    "Portugal": "Lisbon",
    "Austria": "Vienna",
    "Greece": "Athens",
    "Poland": "Warsaw",
    "Norway": "Oslo",
    "Sweden": "Stockholm",
    "Finland": "Helsinki",
    "Denmark": "Copenhagen",
    "Ireland": "Dublin",
    "Hungary": "Budapest",
    "Russia": "Moscow",
    "Turkey": "Ankara",
    "Egypt": "Cairo",
    "Kenya": "Nairobi",
    "India": "New Delhi",
    "China": "Beijing",
    "Japan": "Tokyo",
    "South Korea": "Seoul",
    "Thailand": "Bangkok",
    "Vietnam": "Hanoi",
    "Australia": "Canberra",
    "Canada": "Ottawa",
    "Mexico": "Mexico City",
    "Cuba": "Havana",
    "Peru": "Lima",
    "Chile": "Santiago",
}
OPPOSITES = {
    "hot": "cold",
    "big": "small",
    "fast": "slow",
    "early": "late",
    "light": "dark",
    "hard": "soft",
    "open": "closed",
    "full": "empty",
    "rich": "poor",
    "strong": "weak",
    "happy": "sad",
    "young": "old",
    "wet": "dry",
    "high": "low",
    "near": "far",
    "loud": "quiet",
    "clean": "dirty",
    "first": "last",
    "true": "false",
    "up": "down",
}
PLURALS = {
    "cat": "cats",
    "box": "boxes",
    "child": "children",
    "mouse": "mice",
    "leaf": "leaves",
    "city": "cities",
    "foot": "feet",
    "man": "men",
    "tooth": "teeth",
    "wolf": "wolves",
    "bus": "buses",
    "hero": "heroes",
    "knife": "knives",
    "goose": "geese",
    "party": "parties",
}
LANGUAGES = {
    "bonjour": "French",
    "danke": "German",
    "gracias": "Spanish",
    "arigato": "Japanese",
    "spasibo": "Russian",
    "obrigado": "Portuguese",
    "grazie": "Italian",
    "tack": "Swedish",
    "kiitos": "Finnish",
    "namaste": "Hindi",
}
ASKED = {
    "capitals": (
        CAPITALS,
        ("What is the capital of {}?", "Name the capital city of {}.", "{}: which city is its capital?"),
    ),
    "opposites": (
        OPPOSITES,
        ("What is the opposite of {}?", "Which word means the contrary of '{}'?", "Antonym of {}?"),
    ),
    "plurals": (
        PLURALS,
        ("What is the plural of {}?", "One {}, two ... how do you say it?", "Write '{}' in the plural."),
    ),
    "languages": (LANGUAGES, ("Which language is the word '{}' from?", "People say {} in what language?")),
}
SUMS = (
    "What is {a} {sign} {b}?",
    "{a} {sign} {b} =",
    "How much is {a} {word} {b}?",
    "Please calculate {a} {word} {b}.",
)
SIGNS = {"+": "plus", "-": "minus", "*": "times"}


class Question(TypedDict):
    """A line of what `switchyard label` reads."""

    id: str
    query: str
    target: str
    group: str


def questions(count: int = 500, seed: int = 0) -> Iterator[Question]:
    """Half sums, half words, in mixed order."""
    dice = random.Random(seed)
    words = [
        (group, form.format(asked), answer)
        for group, (table, forms) in ASKED.items()
        for asked, answer in table.items()
        for form in forms
    ]
    dice.shuffle(words)
    asked = [("sums", *_sum(dice)) for _ in range(count - min(count // 2, len(words)))] + words[: count // 2]
    dice.shuffle(asked)
    for i, (group, query, target) in enumerate(asked):
        yield Question(id=f"example-{i}", query=query, target=target, group=group)


def _sum(dice: random.Random) -> tuple[str, str]:
    sign = dice.choice(list(SIGNS))
    a, b = sorted((dice.randint(3, 99), dice.randint(3, 99)), reverse=True)
    results = {"+": a + b, "-": a - b, "*": a * b}
    form = dice.choice(SUMS)
    return form.format(a=a, b=b, sign=sign, word=SIGNS[sign]), str(results[sign])
