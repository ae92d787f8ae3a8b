"""How well the miniature's drawn world is sorted: by names, by few examples, by many; how far its probabilities can be believed.

    python -m benchmarks.classify [--learned 64] [--tested 50] [--json]

Pictures and sounds of one thing each under any weather, drawn anew (none was trained on): 12 kinds seen, 12 kinds heard, 8 colours seen. Of
each class --learned are learned from at most and --tested are judged by.

names : zero-shot with one prompt a class and with several, in English, Chinese, and both.
curve : accuracy by examples a class, the mean of three draws of examples. Logistic regression takes its C by cross-validation.
calibration : expected calibration error and log loss of zero-shot and of logistic regression: as they are (cosines, logits), by the scale
    that the space was trained with, and by a temperature fitted on 8 examples a class that were not learned from.
segments : objects of several segments, classified by the mean of their vectors and by the mean of their segments' probabilities. "sounds":
    three windows of one thing, each under another weather; "films": three pictures and three windows of one thing; "mixed": five
    pictures, two of them of the thing and each other of another one. Learned from are 8 a class, and 8 fit the temperature.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.material import machine
from encoders import registry
from encoders.logit_scale import learned_scale
from encoders.miniature.draw import draw_picture, draw_sound
from encoders.miniature.scenes import COLORS, SIZES, SOUNDERS, WEATHERS, Scene, Thing
from encoders.spaces import load_space
from encoders.spec import Encoder
from encoders.stacking import together
from retrieval.classify import classes, cross_validation
from retrieval.classify.class_model import UNCOMPARED, ZERO_SHOT
from retrieval.classify.classes import Classes
from retrieval.classify.classifiers import LEARNING, Fit, zero_shot
from retrieval.classify.probabilities import expected_calibration_error, fit_scale, log_loss, softmax
from retrieval.means import means
from retrieval.query_texts import embed_texts

SHOTS = (1, 2, 4, 8, 16, 64)
DRAWS = 3
CALIBRATING = 8
BATCH = 64

COLOURS_ZH = dict(zip(COLORS, ("红色", "橙色", "黄色", "绿色", "蓝色", "紫色", "黑色", "白色"), strict=True))
KINDS_ZH = dict(zip(SOUNDERS, ("狗", "猫", "鸟", "青蛙", "铃铛", "鼓", "吉他", "汽车", "救护车", "火车", "时钟", "电话"), strict=True))

Draw = Callable[[Scene, int], np.ndarray]
Task = tuple[np.ndarray, np.ndarray, Sequence[str], Mapping[str, str]]
"""Vectors (n, d), labels (n,), classes, and their Chinese."""


def main() -> None:
    """Measure and print tables, or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--learned", type=int, choices=SHOTS[3:], default=SHOTS[-1])
    parser.add_argument("--tested", type=int, default=50)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    began = time.process_time()
    told = measure(asked.learned, asked.tested)
    told |= {"cpu_seconds": round(time.process_time() - began), "machine": machine()}
    print(json.dumps(told, ensure_ascii=False) if asked.json else table(told))


def measure(learned: int, tested: int) -> dict[str, Any]:
    """Every figure."""
    space = load_space("miniature")
    encoders = {modality: registry.build(spec, "cpu", "float32") for modality, spec in space.encoders.items()}
    number = learned + tested
    pictures, sounds = (
        encoded(encoders[m], draw, scenes)
        for m, draw, scenes in (
            ("image", draw_picture, things(SOUNDERS, number, 1)),
            ("audio", draw_sound, things(SOUNDERS, number, 2)),
        )
    )
    colours = encoded(encoders["image"], draw_picture, coloured(number, 3))
    kinds = np.repeat(np.arange(len(SOUNDERS)), number)
    tasks: dict[str, Task] = {
        "kinds seen": (pictures, kinds, SOUNDERS, KINDS_ZH),
        "kinds heard": (sounds, kinds, SOUNDERS, KINDS_ZH),
        "colours seen": (colours, np.repeat(np.arange(len(COLORS)), number), COLORS, COLOURS_ZH),
    }
    return {
        "objects": {name: {"judged": len(set(task[1])) * tested, "classes": len(task[2])} for name, task in tasks.items()},
        "names": {name: by_names(encoders["text"], task, learned) for name, task in tasks.items()},
        "curve": {name: curve(task, learned) for name, task in tasks.items()},
        "calibration": {name: calibrated(encoders["text"], task, learned, learned_scale(space)) for name, task in tasks.items()},
        "segments": segments(encoders, tested),
    }


def things(kinds: Sequence[str], number: int, seed: int) -> list[Scene]:
    """`number` scenes of one thing of each kind, of any colour and size, under any weather."""
    rng = np.random.default_rng(seed)
    one = [Thing(kind, str(rng.choice(COLORS)), str(rng.choice(SIZES))) for kind in kinds for _ in range(number)]
    return [Scene("B", (thing,), weather=str(rng.choice(WEATHERS))) for thing in one]


def coloured(number: int, seed: int) -> list[Scene]:
    """The same, ordered by colour, of any kind."""
    rng = np.random.default_rng(seed)
    one = [Thing(str(rng.choice(SOUNDERS)), colour, str(rng.choice(SIZES))) for colour in COLORS for _ in range(number)]
    return [Scene("B", (thing,), weather=str(rng.choice(WEATHERS))) for thing in one]


def encoded(encoder: Encoder, draw: Draw, scenes: Sequence[Scene], seed: int = 0) -> np.ndarray:
    """Unit vectors (n, d) of scenes, drawn from seeds of their own."""
    parts = []
    for low in range(0, len(scenes), BATCH):
        drawn = [draw(scene, 50_000_000 + seed * 1_000_000 + low + k) for k, scene in enumerate(scenes[low : low + BATCH])]
        parts.append(encoder.encode(together([encoder.prepare(one) for one in drawn])))
    return np.concatenate(parts)


def prompts(names: Sequence[str], chinese: Mapping[str, str]) -> dict[str, Classes]:
    """One and several prompts a class, in each language."""
    english_ones, chinese_ones = ["{}", "a {}", "a small {}", "a big {}"], ["{}", "一个{}", "小{}", "大{}"]
    thing = ["{}", "a {} thing", "a small {} thing", "a big {} thing"] if names is COLORS else english_ones
    one = {"en": {name: [name] for name in names}, "zh": {name: [chinese[name]] for name in names}}
    several = {
        "en": {name: [each.replace("{}", name) for each in thing] for name in names},
        "zh": {name: [each.replace("{}", chinese[name]) for each in chinese_ones] for name in names},
    }
    both = {name: several["en"][name] + several["zh"][name] for name in names}
    told = {"1 en": one["en"], "4 en": several["en"], "1 zh": one["zh"], "4 zh": several["zh"], "4 en and 4 zh": both}
    return {about: Classes(tuple(given), tuple(map(tuple, given.values()))) for about, given in told.items()}


def described(encoder: Encoder, given: Classes) -> np.ndarray:
    """One unit vector a class."""
    return classes.embed(given, lambda texts: means((found := embed_texts(encoder, texts)).vectors, found.owner))


def by_names(encoder: Encoder, task: Task, learned: int) -> dict[str, float]:
    """Accuracy of zero-shot by prompts."""
    vectors, labels, names, chinese = task
    test = judged_by(labels, learned)
    return {about: accurate(vectors[test] @ described(encoder, given).T, labels[test]) for about, given in prompts(names, chinese).items()}


def curve(task: Task, learned: int) -> dict[str, dict[str, float]]:
    """Accuracy of each method by examples a class."""
    vectors, labels, names, _ = task
    test, told = judged_by(labels, learned), {}
    for shots in (n for n in SHOTS if n <= learned):
        reached: dict[str, list[float]] = {name: [] for name in LEARNING}
        for draw in range(DRAWS if shots < learned else 1):
            chosen = examples(labels, learned, shots, draw)
            for name, settings in LEARNING.items():
                fit = best(settings, vectors[chosen], labels[chosen], len(names), UNCOMPARED[name])
                reached[name].append(accurate(fit(vectors[chosen], labels[chosen], len(names))(vectors[test]), labels[test]))
        told[str(shots)] = {name: float(np.mean(values)) for name, values in reached.items()}
    return told


def calibrated(encoder: Encoder, task: Task, learned: int, trained: float | None) -> dict[str, dict[str, float]]:
    """Calibration error and log loss, before and after."""
    vectors, labels, names, chinese = task
    test, fitting = judged_by(labels, learned), examples(labels, learned, CALIBRATING, 0)
    words = zero_shot(described(encoder, prompts(names, chinese)["1 en"]))(vectors, labels, len(names))
    told = {}
    scales = {
        "cosines": 1.0,
        "the space's scale": trained,
        f"temperature on {CALIBRATING} a class": fit_scale(words(vectors[fitting]), labels[fitting]),
    }
    for about, scale in scales.items():
        if scale is not None:
            told[f"zero-shot, {about}"] = believed(words(vectors[test]), labels[test], scale)
    learning = examples(labels, learned, min(16, learned), 1)
    tried = cross_validation.compare({"logistic": LEARNING["logistic"]}, vectors[learning], labels[learning], len(names))[0]
    logits = LEARNING["logistic"][tried.setting](vectors[learning], labels[learning], len(names))(vectors[test])
    told[f"{tried.setting}, logits"] = believed(logits, labels[test], 1.0)
    return told | {f"{tried.setting}, temperature by cross-validation": believed(logits, labels[test], tried.scale)}


def segments(encoders: Mapping[Any, Encoder], tested: int) -> dict[str, dict[str, dict[str, float]]]:
    """Accuracy and log loss of objects of several segments, in two ways."""
    number = CALIBRATING * 2 + tested
    kinds = np.repeat(np.arange(len(SOUNDERS)), number)
    heard = [encoded(encoders["audio"], draw_sound, things(SOUNDERS, number, 20 + k), 20 + k) for k in range(3)]
    seen = [encoded(encoders["image"], draw_picture, things(SOUNDERS, number, 30 + k), 30 + k) for k in range(3)]
    others = [np.roll(seen[which], shift * number, axis=0) for which, shift in ((2, 1), (2, 4), (1, 6))]  # by whole classes
    words = {ZERO_SHOT: zero_shot(described(encoders["text"], classes.named(SOUNDERS)))}
    ways: dict[str, Fit] = words | {
        "centroids": LEARNING["centroids"]["centroids"],
        "logistic, C = 100": LEARNING["logistic"]["logistic, C = 100"],
    }
    return {
        about: {name: two_ways(fit, np.stack(parts, axis=1), kinds, number) for name, fit in ways.items()}
        for about, parts in (("sounds", heard), ("films", seen + heard), ("mixed", seen[:2] + others))
    }


def two_ways(fit: Fit, parts: np.ndarray, labels: np.ndarray, number: int) -> dict[str, float]:
    """An object's class by the mean of its vectors, and by the mean of its segments' probabilities; (n, segments, d)."""
    place = np.arange(len(labels)) % number
    learn, tune, test = place < CALIBRATING, (place >= CALIBRATING) & (place < 2 * CALIBRATING), place >= 2 * CALIBRATING
    _, each, d = parts.shape
    pooled = parts.mean(axis=1)
    pooled /= np.linalg.norm(pooled, axis=1, keepdims=True)
    whole = fit(pooled[learn], labels[learn], len(SOUNDERS))
    single = fit(parts[learn].reshape(-1, d), np.repeat(labels[learn], each), len(SOUNDERS))
    scale = fit_scale(whole(pooled[tune]), labels[tune])
    single_scale = fit_scale(single(parts[tune].reshape(-1, d)), np.repeat(labels[tune], each))
    probabilities = softmax(single_scale * single(parts[test].reshape(-1, d))).reshape(-1, each, len(SOUNDERS)).mean(axis=1)
    scores = whole(pooled[test])
    return {
        "vectors": accurate(scores, labels[test]),
        "probabilities": accurate(probabilities, labels[test]),
        "log loss, vectors": log_loss(scores, labels[test], scale),
        "log loss, probabilities": float(-np.log(probabilities[np.arange(test.sum()), labels[test]]).mean()),
    }


def best(settings: Mapping[str, Fit], vectors: np.ndarray, labels: np.ndarray, number: int, uncompared: str) -> Fit:
    """The setting that cross-validation takes, where there is a choice and there are examples enough."""
    if len(settings) == 1 or np.bincount(labels).min() < 2:
        return settings[uncompared]
    return settings[cross_validation.compare({"": settings}, vectors, labels, number)[0].setting]


def judged_by(labels: np.ndarray, learned: int) -> np.ndarray:
    """Those that nothing is ever learned from: of each class all after the first `learned`."""
    return np.arange(len(labels)) % np.count_nonzero(labels == 0) >= learned


def examples(labels: np.ndarray, learned: int, shots: int, draw: int) -> np.ndarray:
    """Places of `shots` of each class's first `learned`."""
    rng = np.random.default_rng(draw)
    firsts = range(0, len(labels), np.count_nonzero(labels == 0))
    return np.concatenate([first + rng.permutation(learned)[:shots] for first in firsts])


def accurate(scores: np.ndarray, labels: np.ndarray) -> float:
    """Share of right answers."""
    return float((scores.argmax(axis=1) == labels).mean())


def believed(scores: np.ndarray, labels: np.ndarray, scale: float) -> dict[str, float]:
    """How far probabilities by a scale can be believed."""
    probabilities = softmax(scale * scores)
    return {"scale": scale, "error": expected_calibration_error(probabilities, labels), "log_loss": log_loss(scores, labels, scale)}


def table(told: Mapping[str, Any]) -> str:
    """For people."""
    judged = ", ".join(f"{about}: {each['judged']:,} judged, {each['classes']} classes" for about, each in told["objects"].items())
    lines = [f"{judged}; {told['cpu_seconds']} s of {told['machine']}", "", "accuracy of zero-shot by prompts"]
    lines += _grid(told["names"], lambda value: f"{value:.3f}")
    for about, shots in told["curve"].items():
        lines += ["", f"accuracy by examples a class, {about}", *_grid(shots, lambda value: f"{value:.3f}")]
    for about, rows in told["calibration"].items():
        lines += ["", f"calibration, {about}", *_grid(rows, lambda value: f"{value:.3f}")]
    for about, rows in told["segments"].items():
        lines += [
            "",
            f"objects of several segments, {about}: by the mean of vectors, of probabilities",
            *_grid(rows, lambda value: f"{value:.3f}"),
        ]
    return "\n".join(lines)


def _grid(rows: Mapping[str, Mapping[str, float]], shown: Callable[[float], str]) -> list[str]:
    columns = list(next(iter(rows.values())))
    wide = max(map(len, rows))
    lines = [" " * wide + "".join(f"  {column:>12}" for column in columns)]
    return lines + [
        f"{name:<{wide}}" + "".join(f"  {shown(row[column]):>{max(12, len(column))}}" for column in columns) for name, row in rows.items()
    ]


if __name__ == "__main__":
    main()
