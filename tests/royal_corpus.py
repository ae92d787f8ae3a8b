"""A small language with sexes and ranks, in which king is to man what queen is to woman."""

from __future__ import annotations

import random

PEOPLE = {"man": "male common", "woman": "female common", "king": "male royal", "queen": "female royal"}
PEOPLE |= {"boy": "male common", "girl": "female common", "prince": "male royal", "princess": "female royal"}
NEAR = {
    "male": ["he", "his", "beard", "brother", "father"],
    "female": ["she", "her", "dress", "sister", "mother"],
    "common": ["village", "market", "field", "plough", "cottage"],
    "royal": ["crown", "palace", "throne", "sceptre", "jewel"],
}


def royal_sentences(count: int, seed: int = 0) -> list[list[str]]:
    """Sentences of five words: a person among words of its sex and its rank."""
    rng = random.Random(seed)
    made = []
    for _ in range(count):
        person = rng.choice([*PEOPLE])
        sex, rank = PEOPLE[person].split()
        sentence = [person, *rng.sample(NEAR[sex], 2), *rng.sample(NEAR[rank], 2)]
        rng.shuffle(sentence)
        made.append(sentence)
    return made
