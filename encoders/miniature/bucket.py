"""A small bucket to try everything on: generated pictures, sounds, texts and videos, and what goes wrong in real buckets.

Every object is drawn, sounded or written when its turn comes, so that the bucket never stands in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, product
from pathlib import Path, PurePosixPath

import numpy as np

from encoders.miniature import english
from encoders.miniature.captions import LANGUAGES, Language, full_caption, heard_caption, seen_caption
from encoders.miniature.draw import draw_picture, draw_sound
from encoders.miniature.faults import broken, foreign
from encoders.miniature.formats import PICTURES, SOUNDS, TEXTS, VIDEOS, picture_bytes, sound_bytes, text_bytes, video_bytes
from encoders.miniature.scenes import SIZES, Scene, Thing, World, pick, sample

# Questions with good answers among the pictures or sounds of every bucket: (words, modality to look in).
QUESTIONS = (("a dog barking", "audio"), ("a blue train", "image"), ("夜晚，一只白色的猫", "image"))

# The same of moments in videos.
MOMENT = "a white cat"

# (kind, colour, weather) of scenes that stand in every bucket, once small and once big: the answers.
ASKED_PICTURES = (
    *(("train", "blue", weather) for weather in ("none", "rain", "wind", "sea")),
    *(("cat", "white", "night"),) * 4,
    *(("bird", "yellow", "sea"),) * 3,
)
ASKED_SOUNDS = (
    *(("dog", "red", weather) for weather in ("rain", "wind", "sea", "night")),
    *(("bird", "yellow", "sea"),) * 3,
)
ASKED_MOMENTS = (("cat", "white", "rain"), ("cat", "white", "none"))
QUERY = Scene("B", (Thing("bird", "yellow", "big"),), weather="sea")

WIDTHS = (128, 160, 192, 224, 256)


@dataclass(frozen=True)
class Item:
    """An object that is not yet made: its name, what it shows, and how to make its bytes."""

    name: str
    caption: str
    data: Callable[[], bytes]


@dataclass(frozen=True)
class Manifest:
    """What a bucket holds.

    Parameters
    ----------
    folder : where it stands.
    good, broken, foreign : how many objects can be embedded, promise a medium and do not hold it, or are of no medium that is read.
    captions : name of each good object, relative to the folder, to what it shows.
    faults : name of each broken object to what is wrong with it.
    """

    folder: Path
    good: int
    broken: int
    foreign: int
    captions: Mapping[str, str]
    faults: Mapping[str, str]


def make_bucket(folder: Path, seed: int = 7) -> Manifest:
    """Write a bucket of some 350 objects, the same bytes for the same seed.

    Files that stand there already with the right bytes are left untouched, so that making a bucket again changes nothing.

    Raises
    ------
    FileExistsError : the folder holds files that are not of this bucket; nothing is written.
    """
    good, faulty, others = list(good_items(seed)), broken(seed), foreign(seed)
    _refuse_strangers(folder, {*(item.name for item in good), *faulty, *others})
    for item in good:
        _write(folder / item.name, item.data())
    for name, data in chain(((name, data) for name, (_, data) in faulty.items()), others.items()):
        _write(folder / name, data)
    captions, faults = {item.name: item.caption for item in good}, {name: why for name, (why, _) in faulty.items()}
    return Manifest(folder, len(good), len(faulty), len(others), captions, faults)


def query_picture(folder: Path, seed: int = 7) -> Path:
    """Write a picture to ask with, which stands in no bucket but has kin in each: a big yellow bird by the sea."""
    path = folder / "query-big-yellow-bird-by-the-sea.png"
    _write(path, picture_bytes(draw_picture(QUERY, 10_000_019 + seed, 192), ".png"))
    return path


def good_items(seed: int) -> Iterator[Item]:
    """All objects that can be embedded, none made yet."""
    rng = np.random.default_rng(seed)
    for items in (list(_pictures(rng)), list(_sounds(rng)), *(list(_texts(rng, language)) for language in LANGUAGES)):
        yield from items
        yield _copy(pick(rng, items))
    yield from _videos(rng)
    yield Item("pictures/one-pixel.png", "a single grey pixel", partial(picture_bytes, np.full((1, 1, 3), 128, np.uint8), ".png"))


def _pictures(rng: np.random.Generator) -> Iterator[Item]:
    scenes = [*_sampled(rng, "A", 40), *_sampled(rng, "B", 70), *_asked(ASKED_PICTURES)]
    for number, scene in enumerate(_shuffled(scenes, rng)):
        suffix, seed, width = pick(rng, tuple(PICTURES)), _seed(rng), pick(rng, WIDTHS)
        stem = _stem(_seen(scene), seen_caption(scene, "zh", rng), number)
        yield Item(f"pictures/{stem}{suffix}", seen_caption(scene, "en", rng), partial(_picture, scene, seed, width, suffix))


def _sounds(rng: np.random.Generator) -> Iterator[Item]:
    single = [[scene] for scene in _shuffled([*_sampled(rng, "B", 70), *_asked(ASKED_SOUNDS)], rng)]
    longer = [_sampled(rng, "B", int(rng.integers(4, 7))) for _ in range(9)]  # 12 to 18 s
    for number, scenes in enumerate([*single, *longer]):
        suffix, seed = pick(rng, tuple(SOUNDS)), _seed(rng)
        folder = "sounds/long" if len(scenes) > 1 else "sounds"
        stem = _stem(_heard(scenes[0]), heard_caption(scenes[0], "zh", rng), number)
        caption = ", then ".join(heard_caption(scene, "en", rng) for scene in scenes)
        yield Item(f"{folder}/{stem}{suffix}", caption, partial(_sound, scenes, seed, suffix))


def _texts(rng: np.random.Generator, language: Language) -> Iterator[Item]:
    lengths = [1] * 40 + [int(rng.integers(20, 60)) for _ in range(6)]
    for number, length in enumerate(lengths):
        worlds: list[World] = [pick(rng, ("A", "B", "B")) for _ in range(length)]
        sentences = [full_caption(sample(rng, world), language, rng) for world in worlds]
        suffix = pick(rng, TEXTS)
        folder = f"texts/{language}/stories" if length > 1 else f"texts/{language}"
        stem = _stem(sentences[0], sentences[0], number)
        caption = sentences[0] + (f" … ({length} scenes)" if length > 1 else "")
        yield Item(f"{folder}/{stem}{suffix}", caption, partial(_text, sentences, suffix, language))


def _videos(rng: np.random.Generator) -> Iterator[Item]:
    """Two to four scenes each; those that are asked for stand in the middle of three."""
    asked = [[*_sampled(rng, "B", 1), scene, *_sampled(rng, "B", 1)] for scene in _asked(ASKED_MOMENTS)]
    for number, scenes in enumerate([*asked, *(_sampled(rng, "B", int(rng.integers(2, 5))) for _ in range(8))]):
        suffix, seed = pick(rng, tuple(VIDEOS)), _seed(rng)
        caption = ", then ".join(full_caption(scene, "en", rng) for scene in scenes)
        yield Item(
            f"videos/{_stem(_seen(scenes[0]), seen_caption(scenes[0], 'zh', rng), number)}{suffix}",
            caption,
            partial(_video, scenes, seed, suffix),
        )


def _picture(scene: Scene, seed: int, pixels: int, suffix: str) -> bytes:
    return picture_bytes(draw_picture(scene, seed, pixels), suffix)


def _sound(sequence: Sequence[Scene], seed: int, suffix: str) -> bytes:
    return sound_bytes(np.concatenate([draw_sound(scene, seed + i) for i, scene in enumerate(sequence)]), suffix)


def _video(sequence: Sequence[Scene], seed: int, suffix: str) -> bytes:
    seen = [draw_picture(scene, seed + i, 160) for i, scene in enumerate(sequence)]
    return video_bytes(seen, [draw_sound(scene, seed + i) for i, scene in enumerate(sequence)], suffix)


def _text(sentences: Sequence[str], suffix: str, language: Language) -> bytes:
    if len(sentences) == 1:
        return text_bytes(sentences, suffix, language)
    stop = "." if language == "en" else "。"
    return text_bytes([sentences[0], *(sentence[0].upper() + sentence[1:] + stop for sentence in sentences)], suffix, language)


def _copy(item: Item) -> Item:
    path = PurePosixPath(item.name)
    return Item(str(path.with_name(f"copy of {path.name}")), item.caption, item.data)


def _sampled(rng: np.random.Generator, world: World, count: int) -> list[Scene]:
    return [sample(rng, world) for _ in range(count)]


def _asked(scenes: Iterable[tuple[str, str, str]]) -> list[Scene]:
    return [Scene("B", (Thing(kind, color, size),), weather=weather) for (kind, color, weather), size in product(scenes, SIZES)]


def _shuffled(scenes: Sequence[Scene], rng: np.random.Generator) -> list[Scene]:
    return [scenes[i] for i in rng.permutation(len(scenes))]


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(10_000_000))


def _seen(scene: Scene) -> str:
    joint = f" {english.PLACES[scene.relation][1]} " if scene.relation else ""
    return _under_weather(joint.join(f"{t.size} {t.color} {t.kind}" for t in scene.things), scene)


def _heard(scene: Scene) -> str:
    return _under_weather(" and ".join(f"{t.size} {t.kind}" for t in scene.things), scene)


def _under_weather(phrase: str, scene: Scene) -> str:
    return " ".join([phrase, *english.WEATHERS.get(scene.weather, ())[:1]])


def _stem(phrase: str, chinese: str, number: int) -> str:
    """Mostly a-plain-name-014, now and then one of the spellings that break careless URI handling."""
    plain = f"{phrase.replace(' ', '-')}-{number:03d}"
    spellings = {2: f"{phrase} {number:03d}", 5: f"#{number:03d} {phrase}", 8: plain.replace("-", "%20"), 11: f"{chinese} {number:03d}"}
    return spellings.get(number % 12, plain)


def _refuse_strangers(folder: Path, names: set[str]) -> None:
    strangers = sorted({p.relative_to(folder).as_posix() for p in folder.rglob("*") if not p.is_dir()} - names)
    if strangers:
        shown = ", ".join(strangers[:3]) + (" …" if len(strangers) > 3 else "")
        raise FileExistsError(
            f"{folder} holds {len(strangers)} file(s) that are not of this bucket ({shown}); name an empty or a new folder"
        )


def _write(path: Path, data: bytes) -> None:
    if path.is_file() and path.read_bytes() == data:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
