"""English: the words that the miniature knows, and how they make a caption. A word listed twice is said twice as often."""

from __future__ import annotations

import numpy as np

from encoders.miniature.scenes import pick
from encoders.miniature.wording import Mention, Wording

SIZES = {"small": ("small", "small", "little", "tiny"), "big": ("big", "big", "large", "huge")}
COLORS = {"purple": ("purple", "purple", "violet")}
KINDS = {
    "circle": ("circle", "circle", "disc"),
    "cross": ("cross", "cross", "plus sign"),
    "moon": ("moon", "moon", "crescent"),
    "dog": ("dog", "dog", "puppy"),
    "cat": ("cat", "cat", "kitten"),
    "frog": ("frog", "frog", "toad"),
    "car": ("car", "car", "automobile"),
    "train": ("train", "train", "locomotive"),
    "clock": ("clock", "clock", "alarm clock"),
    "phone": ("phone", "phone", "telephone"),
}
ACTIONS = {
    "dog": ("barking",),
    "cat": ("meowing",),
    "bird": ("singing", "chirping"),
    "frog": ("croaking",),
    "bell": ("ringing",),
    "drum": ("beating", "being played"),
    "guitar": ("playing", "being played"),
    "car": ("driving",),
    "ambulance": ("with its siren on", "with a siren"),
    "train": ("whistling",),
    "clock": ("ticking",),
    "phone": ("ringing",),
}
PLACES = {
    "left": ("to the left of", "left of", "on the left side of"),
    "right": ("to the right of", "right of", "on the right side of"),
    "above": ("above", "above", "on top of"),
    "below": ("below", "under", "beneath"),
}
WEATHERS = {
    "rain": ("in the rain", "while it rains", "on a rainy day"),
    "wind": ("in the wind", "on a windy day"),
    "thunder": ("in a thunderstorm", "with thunder and lightning"),
    "sea": ("by the sea", "at the beach with waves", "at the seaside"),
    "night": ("at night", "at night with crickets", "in the dark night"),
}
WEATHERS_ALONE = {
    "rain": ("rain", "heavy rain", "the sound of rain"),
    "wind": ("wind", "a windy day", "the sound of wind"),
    "thunder": ("thunder", "a thunderstorm", "the sound of thunder"),
    "sea": ("the sea", "waves", "a beach", "the sound of the sea", "the sound of waves"),
    "night": ("night", "crickets at night", "the sound of crickets at night"),
}
FRAMES = {
    "bare": ("{}",),
    "sound": ("the sound of {}",),
    "picture": ("a picture of {}",),
    "one shape": ("{}", "{}", "{}", "a picture of {}", "there is {}", "this is {}"),
    "two shapes": ("{}", "{}", "{}", "a picture of {}", "there is {}", "{}, nothing else"),
}


def realise(wording: Wording, rng: np.random.Generator) -> str:
    """The wording in English, with random synonyms: "a big red dog barking in the rain"."""
    if not wording.mentions:
        return pick(rng, WEATHERS_ALONE[wording.weather])
    joint = f" {pick(rng, PLACES[wording.relation])} " if wording.relation else " and "
    text = pick(rng, FRAMES[wording.frame]).format(joint.join(_phrase(mention, rng) for mention in wording.mentions))
    if wording.weather == "none":
        return text
    weather = pick(rng, WEATHERS[wording.weather])
    return f"{weather}, {text}" if not wording.plain and rng.random() < 0.1 else f"{text} {weather}"


def _phrase(mention: Mention, rng: np.random.Generator) -> str:
    thing = mention.thing
    words = [pick(rng, KINDS.get(thing.kind, (thing.kind,)))]
    if mention.color:
        words.insert(0, pick(rng, COLORS.get(thing.color, (thing.color,))))
    if mention.size:
        words.insert(0, pick(rng, SIZES[thing.size]))
    if mention.article:
        words.insert(0, "an" if words[0][0] in "aeiou" else "a")
    if mention.action:
        words.append(pick(rng, ACTIONS[thing.kind]))
    return " ".join(words)
