"""The generated world: scenes, their captions, pictures and sounds."""

from __future__ import annotations

import colorsys
import re
from itertools import product

import librosa
import numpy as np
import pytest
from miniature_weights import Miniature

from encoders.miniature.captions import full_caption, heard_caption, seen_caption, varied_caption
from encoders.miniature.draw import draw, draw_picture, draw_sound
from encoders.miniature.scenes import (
    COLORS,
    HELD_PAIRS,
    HELD_SHAPES,
    HELD_WEATHERS,
    SHAPES,
    SOUNDERS,
    WEATHERS,
    Scene,
    Thing,
    audible_key,
    is_held,
    sample,
    twin,
    visible_key,
)
from encoders.miniature.voices import PITCHES

# What people call things, written down apart from the vocabulary under test; patterns as English words and as Chinese characters.
ENGLISH = {
    "circle": "circle|disc",
    "cross": "cross|plus sign",
    "moon": "moon|crescent",
    "dog": "dog|puppy",
    "cat": "cat|kitten",
    "frog": "frog|toad",
    "car": "car|automobile",
    "train": "train|locomotive",
    "phone": "phone|telephone",
    "purple": "purple|violet",
    "small": "small|little|tiny",
    "big": "big|large|huge",
    "rain": "rain|rains|rainy",
    "wind": "wind|windy",
    "thunder": "thunder|thunderstorm",
    "sea": "sea|seaside|beach|waves",
    "night": "night",
}
CHINESE = {
    **dict(zip(COLORS, "红橙黄绿蓝紫黑白", strict=True)),
    **{
        "circle": "圆形|圆圈",
        "square": "正方形|方块",
        "triangle": "三角",
        "star": "星",
        "heart": "心",
        "cross": "十字",
        "ring": "环",
        "moon": "月",
    },
    **{"dog": "狗", "cat": "猫", "bird": "鸟", "frog": "蛙", "bell": "(?<!响)铃", "drum": "鼓", "guitar": "吉他", "car": "汽车|轿车"},
    **{"ambulance": "救护车", "train": "火车", "clock": "钟", "phone": "电话", "small": "小", "big": "大(?!风天)"},
    **{"rain": "(?<!雷)雨", "wind": "风", "thunder": "雷", "sea": "海", "night": "夜|晚"},
}
WORDS = (*SHAPES, *SOUNDERS, *COLORS, "small", "big", *WEATHERS[1:])


def named(caption: str, language: str) -> set[str]:
    """The words of the world that a caption contains."""
    if language == "en":
        return {word for word in WORDS if re.search(rf"\b({ENGLISH.get(word, word)})\b", caption)}
    return {word for word in WORDS if re.search(CHINESE[word], caption)}


def held(scene: Scene) -> set[str]:
    """The words that tell a scene."""
    things = {word for thing in scene.things for word in (thing.kind, thing.color, thing.size)}
    return things | ({scene.weather} - {"none"})


def scenes(count: int, seed: int = 0, world: str = "B", **options: object) -> list[Scene]:
    rng = np.random.default_rng(seed)
    return [sample(rng, world, **options) for _ in range(count)]


def alone(kind: str, size: str = "big", color: str = "red", weather: str = "none") -> Scene:
    return Scene("A" if kind in SHAPES else "B", (Thing(kind, color, size),), weather=weather)


# ---- scenes


def test_the_held_out_combinations_are_those_that_the_weights_never_saw():
    shapes = "red square, orange heart, yellow moon, green triangle, blue cross, purple circle, black star, white ring"
    assert {f"{color} {kind}" for color, kind in HELD_SHAPES} == set(shapes.split(", "))
    numbered = {frozenset((SOUNDERS[a], SOUNDERS[b])) for a, b in product(range(12), repeat=2) if a != b and (a + b) in (6, 12, 18)}
    assert numbered == HELD_PAIRS
    assert len(HELD_PAIRS) == 10
    assert len(HELD_WEATHERS) == 10
    assert ("dog", "none") in HELD_WEATHERS
    assert ("cat", "thunder") in HELD_WEATHERS


@pytest.mark.parametrize("world", ["A", "B"])
def test_sampling_without_held_out_combinations_never_gives_one_and_sampling_them_always_does(world):
    for scene in scenes(2000, world=world, held=False):
        kinds = frozenset(thing.kind for thing in scene.things)
        assert not HELD_SHAPES & {(thing.color, thing.kind) for thing in scene.things}
        assert kinds not in HELD_PAIRS
        assert not HELD_WEATHERS & {(kind, scene.weather) for kind in kinds}
    assert all(is_held(scene) for scene in scenes(300, world=world, held=True))
    either = [is_held(scene) for scene in scenes(500, world=world, held=None)]
    assert 0 < sum(either) < 500


def test_sampling_reaches_every_word_and_repeats_by_seed():
    assert set().union(*map(held, scenes(400, world="A") + scenes(400))) == set(WORDS)
    assert scenes(50, seed=3) == scenes(50, seed=3)
    assert scenes(50, seed=3) != scenes(50, seed=4)


@pytest.mark.parametrize("world", ["A", "B"])
def test_a_twin_differs_by_one_change_that_can_be_seen_and_stays_within_training(world):
    rng = np.random.default_rng(1)
    for scene in scenes(600, world=world):
        other = twin(scene, rng)
        assert visible_key(other) != visible_key(scene)
        assert not is_held(other)
        assert len(other.things) == len(scene.things)
        pairs = [
            (getattr(a, name), getattr(b, name))
            for a, b in zip(scene.things, other.things, strict=True)
            for name in ("kind", "color", "size")
        ]
        changed = [pair for pair in (*pairs, (scene.relation, other.relation), (scene.weather, other.weather)) if pair[0] != pair[1]]
        swapped = len(changed) == 2 and changed[0] == changed[1][::-1]
        assert len(changed) == 1 or swapped


def test_a_twin_exists_even_where_both_things_are_held_out():
    scene = Scene("A", (Thing("square", "red", "big"), Thing("heart", "orange", "small")), "left")
    assert visible_key(twin(scene, np.random.default_rng(0))) != visible_key(scene)


def test_two_ways_to_say_one_scene_look_alike_and_what_cannot_be_heard_sounds_alike():
    dog, cat, pale = Thing("dog", "red", "big"), Thing("cat", "blue", "small"), Thing("dog", "white", "big")
    for relation, inverse in (("left", "right"), ("right", "left"), ("above", "below"), ("below", "above")):
        assert visible_key(Scene("B", (dog, cat), relation)) == visible_key(Scene("B", (cat, dog), inverse))
    assert len({visible_key(Scene("B", (dog, cat), relation)) for relation in ("left", "right", "above", "below")}) == 4
    assert visible_key(Scene("B", (dog, cat), "above"))[1:4] == (dog, "v", cat)
    assert audible_key(Scene("B", (dog, cat), "left", "sea")) == audible_key(Scene("B", (cat, pale), "below", "sea"))
    assert audible_key(Scene("B", (dog, cat), "left", "sea")) != audible_key(Scene("B", (dog, cat), "left", "rain"))
    assert audible_key(alone("circle")) is None


@pytest.mark.parametrize(
    ("make", "came"),
    [
        (lambda: Thing("dog", "pink", "big"), "'pink'"),
        (lambda: Thing("dog", "red", "huge"), "'huge'"),
        (lambda: Scene("A", (Thing("dog", "red", "big"),)), "'dog'"),
        (lambda: Scene("A", (Thing("ring", "red", "big"),), weather="rain"), "'rain'"),
        (lambda: Scene("B", (Thing("dog", "red", "big"),), relation="left"), "'left'"),
        (lambda: Scene("B", (Thing("dog", "red", "big"), Thing("cat", "red", "big"))), "None"),
        (lambda: Scene("B", ()), "0"),
        (lambda: sample(np.random.default_rng(0), "C"), "'C'"),
    ],
)
def test_a_scene_outside_the_world_is_refused_with_what_came_and_what_is_allowed(make, came):
    with pytest.raises(ValueError, match=rf"is {came}; it must be one of"):
        make()


# ---- captions


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_full_caption_names_all_that_the_scene_holds_and_nothing_else(language):
    rng = np.random.default_rng(2)
    for scene in scenes(400, world="A", held=None) + scenes(400, held=None):
        caption = full_caption(scene, language, rng)
        assert named(caption, language) == held(scene), caption


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_varied_caption_names_something_that_the_scene_holds_and_nothing_else(language):
    rng = np.random.default_rng(3)
    drawn = scenes(500, world="A", held=None) + scenes(500, held=None)
    captions = [varied_caption(scene, language, rng) for scene in drawn]
    for scene, caption in zip(drawn, captions, strict=True):
        assert named(caption, language), caption
        assert named(caption, language) <= held(scene), caption
    for phrase in {"en": ("the sound of", "a picture of", "there is"), "zh": ("的声音", "图中", "这是")}[language]:
        assert any(phrase in caption for caption in captions)
    assert any(caption in ("rain", "the sea", "night", "雨", "海", "晚上") for caption in captions)
    assert len({varied_caption(drawn[0], language, rng) for _ in range(50)}) > 10


@pytest.mark.parametrize("language", ["en", "zh"])
def test_captions_of_one_sense_tell_what_it_perceives(language):
    rng = np.random.default_rng(4)
    for scene in scenes(200):
        assert named(heard_caption(scene, language, rng), language) == held(scene) - set(COLORS)
        assert named(seen_caption(scene, language, rng), language) == held(scene)
    with pytest.raises(ValueError, match="make no sound"):
        heard_caption(alone("ring"), language, rng)


PLACES = {"left": "left|左", "right": "right|右", "above": "above|on top of|上", "below": "below|under|beneath|下"}


@pytest.mark.parametrize("relation", PLACES)
def test_a_full_caption_says_where_the_first_thing_stands_to_the_second(relation):
    scene, rng = Scene("A", (Thing("star", "red", "big"), Thing("ring", "blue", "small")), relation), np.random.default_rng(5)
    for _ in range(20):
        assert re.match(rf"a \w+ red star .*({PLACES[relation]}).* a \w+ blue ring$", full_caption(scene, "en", rng))
        assert re.match(rf"一[颗个].*红.*星.*在.*蓝.*环的({PLACES[relation]})[边侧面方]$", full_caption(scene, "zh", rng))


@pytest.mark.parametrize("relation", PLACES)
@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_varied_caption_tells_the_same_place_in_whatever_order(relation, language):
    inverse = {"left": "right", "right": "left", "above": "below", "below": "above"}[relation]
    scene, rng = Scene("A", (Thing("star", "red", "big"), Thing("ring", "blue", "small")), relation), np.random.default_rng(6)
    orders = set()
    for caption in (varied_caption(scene, language, rng) for _ in range(120)):
        if {"star", "ring"} <= named(caption, language):
            star_first = re.search("star|星", caption).start() < re.search("ring|环", caption).start()
            subject_first = not re.search("[左右上下].[是有]", caption)  # 环的左边是星: the star is the subject
            told = {place for place, words in PLACES.items() if re.search(words, caption)}
            if not told:  # only a query of bare names leaves the place out
                assert not {"big", "small"} & named(caption, language), caption
                continue
            assert told == {relation if star_first == subject_first else inverse}, caption
            orders.add((star_first, subject_first))
    assert len(orders) == {"en": 2, "zh": 4}[language]


# ---- pictures


def hue_name(red: float, green: float, blue: float) -> str:
    """The colour's name by hue, saturation and brightness."""
    hue, saturation, value = colorsys.rgb_to_hsv(red / 255, green / 255, blue / 255)
    if value < 0.3:
        return "black"
    if saturation < 0.25:
        return "white" if value > 0.7 else "grey"
    bounds = ((12, "red"), (42, "orange"), (70, "yellow"), (160, "green"), (250, "blue"), (310, "purple"), (360, "red"))
    return next(name for bound, name in bounds if 360 * hue <= bound)


def repainted(scene: Scene, which: int, color: str) -> Scene:
    things = [Thing(t.kind, color, t.size) if i == which else t for i, t in enumerate(scene.things)]
    return Scene(scene.world, tuple(things), scene.relation, scene.weather)


def where(scene: Scene, which: int, seed: int) -> np.ndarray:
    """Where one thing is drawn, (height, width) bool: the pixels that change when only its colour does."""
    black, white = (draw_picture(repainted(scene, which, color), seed, 96).astype(int) for color in ("black", "white"))
    return np.abs(black - white).max(axis=2) > 100


def test_the_same_scene_and_seed_give_the_same_picture_and_sound_and_another_seed_another():
    scene = scenes(1)[0]
    picture, sound = draw(scene, 5, 80)
    assert picture.shape == (80, 80, 3)
    assert picture.dtype == np.uint8
    assert np.array_equal(picture, draw_picture(scene, 5, 80))
    assert np.array_equal(sound, draw_sound(scene, 5))
    assert not np.array_equal(picture, draw_picture(scene, 6, 80))
    assert not np.array_equal(sound, draw_sound(scene, 6))
    assert draw(alone("ring"), 5)[1] is None
    with pytest.raises(ValueError, match="make no sound"):
        draw_sound(alone("ring"), 5)


@pytest.mark.parametrize("kind", [*SHAPES, *SOUNDERS])
def test_the_colour_asked_for_dominates_where_the_thing_is_drawn(kind):
    for seed, color in enumerate(COLORS):
        scene = alone(kind, ("small", "big")[seed % 2], color)
        median = np.median(draw_picture(scene, seed, 96)[where(scene, 0, seed)], axis=0)
        assert hue_name(*median) == color, (kind, color, median)


def test_things_stand_as_the_relation_says_and_a_big_thing_is_larger():
    for seed, scene in enumerate(s for s in scenes(120, held=None) + scenes(120, world="A", held=None) if s.relation):
        (y1, x1), (y2, x2) = (np.argwhere(where(scene, i, seed)).mean(axis=0) for i in (0, 1))
        ahead = {"left": x2 - x1, "right": x1 - x2, "above": y2 - y1, "below": y1 - y2}[scene.relation]
        assert ahead > abs(x1 - x2) - 1 if scene.relation in ("left", "right") else ahead > abs(y1 - y2) - 1
        assert ahead > 20  # of 96 pixels
    for kind in (*SHAPES, *SOUNDERS):
        small, big = (where(alone(kind, size), 0, 1).sum() for size in ("small", "big"))
        assert big > 2 * small


def test_a_scene_looks_alike_at_every_size():
    def blocks(scene: Scene, seed: int, pixels: int) -> np.ndarray:
        return draw_picture(scene, seed, pixels).reshape(16, pixels // 16, 16, pixels // 16, 3).mean(axis=(1, 3))

    for seed, scene in enumerate(scenes(40, held=None)):
        assert np.abs(blocks(scene, seed, 64) - blocks(scene, seed, 256)).mean() < 2.2  # the grain alone is up to 1.2


def test_night_is_dark_and_the_sea_lies_below_the_sky():
    night, day = (draw_picture(alone("drum", "small", weather=w), 1).mean() for w in ("night", "none"))
    assert night < 80 < day
    sea = draw_picture(alone("drum", "small", weather="sea"), 1).astype(int)
    assert hue_name(*np.median(sea[-6:], axis=(0, 1))) == "blue"


# ---- sounds


def strongest(sound: np.ndarray) -> float:
    """Frequency of the strongest line, Hz."""
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    return float(np.fft.rfftfreq(len(sound), 1 / 16_000)[spectrum.argmax()])


def share(sound: np.ndarray, low: float, high: float) -> float:
    """Share of the energy between two frequencies."""
    power, frequency = np.abs(np.fft.rfft(sound)) ** 2, np.fft.rfftfreq(len(sound), 1 / 16_000)
    return float(power[(frequency >= low) & (frequency <= high)].sum() / power.sum())


def test_a_sound_is_three_seconds_of_mono_within_full_scale():
    for seed, scene in enumerate(scenes(40, held=None)):
        sound = draw_sound(scene, seed)
        assert sound.shape == (int(3.072 * 16_000),)
        assert sound.dtype == np.float32
        assert np.isfinite(sound).all()
        assert 0.29 < np.abs(sound).max() < 0.96


@pytest.mark.parametrize(("kind", "low", "high"), [("bell", 1, 1.2), ("phone", 1, 1.25), ("ambulance", 0.87, 1.53), ("train", 1, 1.5)])
@pytest.mark.parametrize("size", ["small", "big"])
def test_the_strongest_tone_is_in_the_range_of_the_size(kind, low, high, size):
    """`low` and `high` are how far a glide or the next partial leads away from the pitch."""
    least, most = PITCHES[kind][size]
    for seed in range(10):
        assert 0.99 * low * least <= strongest(draw_sound(alone(kind, size), seed)) <= 1.01 * high * most


@pytest.mark.parametrize(("kind", "low", "high"), [("dog", 0.94, 1.6), ("cat", 0.76, 1.6), ("guitar", 1.0, 2.0)])
@pytest.mark.parametrize("size", ["small", "big"])
def test_the_pitch_that_yin_hears_is_in_the_range_of_the_size(kind, low, high, size):
    least, most = PITCHES[kind][size]
    pitches = []
    for seed in range(6):
        sound = draw_sound(alone(kind, size), seed)
        pitch = librosa.yin(sound, fmin=60, fmax=1600, sr=16_000, frame_length=1024, hop_length=256)
        loud = librosa.feature.rms(y=sound, frame_length=1024, hop_length=256)[0]
        pitches.append(np.median(pitch[loud > 0.5 * loud.max()]))
    assert low * least * 0.97 <= np.median(pitches) <= high * most * 1.03


@pytest.mark.parametrize("kind", [kind for kind in SOUNDERS if kind != "train"])  # its steam outshines its whistle
def test_of_every_kind_the_big_one_sounds_lower(kind):
    def brightness(size: str) -> float:
        sounds = [draw_sound(alone(kind, size), seed) for seed in range(8)]
        return float(np.mean([librosa.feature.spectral_centroid(y=sound, sr=16_000).mean() for sound in sounds]))

    assert brightness("big") < brightness("small")


def test_a_big_clock_ticks_slower():
    def ticks(size: str, seed: int) -> int:
        return len(librosa.onset.onset_detect(y=draw_sound(alone("clock", size), seed), sr=16_000, hop_length=160))

    for seed in range(6):
        assert 3 <= ticks("big", seed) <= 7 < ticks("small", seed) <= 15


def test_the_weather_can_be_heard_where_it_belongs():
    quiet, night, thunder = (draw_sound(alone("bell", "small", weather=w), 1) for w in ("none", "night", "thunder"))
    assert share(night, 3800, 4800) > 10 * share(quiet, 3800, 4800)
    assert share(thunder, 20, 300) > 10 * share(quiet, 20, 300)


# ---- what the weights make of it


def test_the_shipped_weights_find_freshly_drawn_scenes_by_their_captions():
    drawn = list({audible_key(scene): scene for scene in scenes(200, seed=77, held=False)}.values())[:60]
    miniature, rng = Miniature(), np.random.default_rng(78)
    pictures = miniature.pictures([draw_picture(scene, seed, 128) for seed, scene in enumerate(drawn)])
    sounds = miniature.sounds([draw_sound(scene, seed) for seed, scene in enumerate(drawn)])
    for language in ("en", "zh"):
        captions = miniature.texts([full_caption(scene, language, rng) for scene in drawn])
        assert np.mean((captions @ pictures.T).argmax(axis=1) == np.arange(60)) > 0.8
        assert np.mean((captions @ sounds.T).argmax(axis=1) == np.arange(60)) > 0.7
