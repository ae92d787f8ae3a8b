"""The modality gap: constructed gaps are found and closed, and a remedy is chosen only where measurement says that it helps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from batch import vectors as encoded

from encoders import registry
from encoders.align import calibration, space_folder
from encoders.align.calibration import Calibration, choose, measure
from encoders.align.frozen import FrozenVectors
from encoders.align.heads import Head
from encoders.errors import EncoderError
from encoders.miniature import captions, draw, scenes
from encoders.spaces import anchored, load_encoders, without_heads
from encoders.spec import Space

D, SHARED = 32, 6  # numbers of a vector, of which so many are told by every modality


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def world(seed: int, n: int = 300, gap: float = 0.0, private: float = 0.0, noise: float = 0.15) -> FrozenVectors:
    """Three modalities of n things: what they share stands in the first numbers, what each tells alone in some of the others.

    `gap` is the length of each modality's own offset, `private` the size of what it tells alone; offsets are the same for every seed.
    """
    rng, fixed = np.random.default_rng(seed), np.random.default_rng(99)
    things, made = rng.normal(size=(n, SHARED)), {}
    for number, modality in enumerate(("text", "image", "audio")):
        vectors = np.zeros((n, D))
        vectors[:, :SHARED] = things
        vectors[:, SHARED + 8 * number : SHARED + 8 * number + 8] = private * rng.normal(size=(n, 8))
        offset = fixed.normal(size=D)
        made[modality] = unit(vectors + noise * rng.normal(size=(n, D)) + gap * offset / np.linalg.norm(offset))
    return FrozenVectors(made, {modality: np.arange(n) for modality in made})


def recall(figures, name: str) -> float:
    return figures[name]["mixed recall@10"]


def test_without_a_gap_nothing_is_done():
    choice = choose(world(1, noise=0.02), world(2, noise=0.02))
    assert choice.calibration.name == "none"
    assert choice.calibration.alone() == {}
    assert set(choice.figures) == {
        "none",
        "half",
        "shift",
        "center",
        "standard",
        *(name for name in choice.figures if name.startswith("shared ")),
    }


def test_a_constructed_gap_is_closed_as_far_as_if_it_had_never_been():
    apart, together = world(1, gap=3.0), world(1)
    choice = choose(apart, world(2, gap=3.0))
    before, never = measure(apart.vectors, apart.ids), measure(together.vectors, together.ids)
    assert (before["mixed recall@10"] < 0.2, never["mixed recall@10"] > 0.9) == (True, True)
    assert before["top ten"]["text"]["text"] > 0.9, "its own modality comes first"
    assert choice.calibration.name != "none"
    after = measure(choice.calibration.apply(apart.vectors), apart.ids)
    assert after["mixed recall@10"] > never["mixed recall@10"] - 0.05
    assert after["gap"] < 0.1 < before["gap"]
    assert max(after["top ten"]["text"].values()) < 0.6
    assert after["top ten"] == choice.figures[choice.calibration.name]["top ten"]


def test_the_center_is_the_mean_of_the_training_side_and_not_of_the_validation_side():
    training = world(2, gap=2.0)
    center = next(remedy for remedy in calibration.candidates(training) if remedy.name == "center")
    for modality, vectors in training.vectors.items():
        np.testing.assert_allclose(center.centers[modality], vectors.mean(axis=0), atol=1e-6)


def test_what_one_modality_tells_alone_is_projected_away():
    """Then means agree, so that centring cannot help; the shared directions are the first numbers by construction."""
    mine = world(1, private=1.5)
    choice = choose(mine, world(2, n=2000, private=1.5))
    assert recall(choice.figures, "center") < recall(choice.figures, "none") + 0.05
    assert choice.calibration.name.startswith("shared ")
    assert recall(choice.figures, choice.calibration.name) > recall(choice.figures, "none") + 0.2
    narrow = next(remedy for remedy in calibration.candidates(world(2, n=2000, private=1.5)) if remedy.name == "shared 4")
    projection = narrow.projections["text"]
    np.testing.assert_allclose(projection @ projection, projection, atol=1e-5)
    assert np.trace(projection[:SHARED, :SHARED]) > 3.9, "all four directions lie where the modalities agree"


def measured(monkeypatch, **figures: tuple[float, float]) -> None:
    """Let each remedy have a recall in mixed lists and one in lists of one modality; all others find nothing."""
    names = iter([remedy.name for remedy in calibration.candidates(world(2))])

    def told(*_):
        mixed, alone = figures.get(next(names), (0.0, 0.0))
        return {"mixed recall@1": mixed, "mixed recall@10": mixed, "alone recall@1": alone}

    monkeypatch.setattr(calibration, "measure", told)


@pytest.mark.parametrize(("tolerance", "chosen"), [(1.0, "shift"), (0.31, "shift"), (0.29, "half"), (0.02, "half"), (0.009, "none")])
def test_a_remedy_that_costs_lists_of_one_modality_too_much_is_not_taken(monkeypatch, tolerance: float, chosen: str):
    measured(monkeypatch, none=(0.5, 0.9), half=(0.7, 0.89), shift=(0.9, 0.6))
    assert choose(world(1), world(2), tolerance=tolerance).calibration.name == chosen


def test_of_measured_remedies_the_one_that_does_too_little_for_lists_of_one_modality_is_not_taken():
    """A tolerance below 0 asks for a gain: what falls just short of it is refused, what just reaches it is taken."""
    mine, other = world(1, gap=3.0), world(2, gap=3.0)
    free = choose(mine, other, tolerance=1.0)
    assert recall(free.figures, free.calibration.name) >= max(recall(free.figures, name) for name in free.figures) - 0.01
    gain = free.figures[free.calibration.name]["alone recall@1"] - free.figures["none"]["alone recall@1"]
    assert gain > 0.1
    assert choose(mine, other, tolerance=0.001 - gain).calibration.name == free.calibration.name
    assert choose(mine, other, tolerance=-0.001 - gain).calibration.name != free.calibration.name
    assert choose(mine, other, tolerance=-1.0).calibration.name == "none"


@pytest.mark.parametrize(("half", "chosen"), [(0.904, "none"), (0.906, "half")])
def test_of_remedies_that_do_as_well_but_for_half_a_percent_the_simplest_is_taken(monkeypatch, half: float, chosen: str):
    measured(monkeypatch, none=(0.9, 0.9), half=(half, 0.9), shift=(half, 0.9))
    assert choose(world(1), world(2)).calibration.name == chosen


@pytest.mark.parametrize("seed", range(4))
def test_recall_and_shares_of_mixed_lists_are_those_of_a_naive_count(seed: int):
    rng = np.random.default_rng(seed)
    made = {"text": unit(rng.normal(size=(17, 5))), "image": unit(rng.normal(size=(9, 5))), "audio": unit(rng.normal(size=(6, 5)))}
    ids = {"text": np.arange(17), "image": np.repeat(np.arange(9), 2)[:17], "audio": np.array([0, 0, 1, 1, 2, -1, -1, 3, 4, *[-1] * 7, 5])}
    found = measure(made, ids)
    belongs = [{(m, int(ids[m][row])) for m in ids if ids[m][row] >= 0} for row in range(17)]
    items = [(m, number) for m in made for number in range(len(made[m]))]
    recalls, first, shares = {1: {}, 10: {}}, {}, {}
    for query in items:
        right = {item for row in belongs if query in row for item in row if item[0] != query[0]}
        akin = {item for row in belongs if row & right for item in row if item[0] == query[0]}
        if not right:
            continue
        score = {item: float(made[query[0]][query[1]] @ made[item[0]][item[1]]) for item in items}
        ranked = sorted((item for item in items if item not in akin | {query}), key=lambda item: -score[item])
        for k, by_modality in recalls.items():
            by_modality.setdefault(query[0], []).append(len(right & set(ranked[:k])) / min(k, len(right)))
        shares.setdefault(query[0], []).extend(item[0] for item in ranked[:10])
        for other in made:
            wanted = right if other != query[0] else akin - {query}
            if any(item[0] == other for item in wanted):
                best = max((item for item in items if item[0] == other and item != query), key=lambda item: score[item])
                first.setdefault((query[0], other), []).append(best in wanted)
    for k, by_modality in recalls.items():
        assert found[f"mixed recall@{k}"] == pytest.approx(np.mean([np.mean(values) for values in by_modality.values()]))
    assert found["alone recall@1"] == pytest.approx(np.mean([np.mean(values) for values in first.values()]))
    assert ("text", "text") in first
    for modality, listed in shares.items():
        assert found["top ten"][modality] == pytest.approx({other: listed.count(other) / len(listed) for other in made})


def test_vectors_that_are_all_alike_earn_nothing():
    n = 40
    same = {modality: unit(np.ones((n, 4))) for modality in ("text", "image")}
    figures = measure(same, {modality: np.arange(n) for modality in same})
    assert (figures["mixed recall@10"], figures["alone recall@1"]) == (0, 0)


def test_modalities_whose_vectors_are_kept_are_not_moved():
    mine, other = world(1, gap=3.0), world(2, gap=3.0)
    choice = choose(mine, other, fixed=("image",))
    assert choice.calibration.name == "shift"
    assert set(choice.calibration.centers) == {"text", "audio"}
    after = choice.calibration.apply(mine.vectors)
    np.testing.assert_array_equal(after["image"], mine.vectors["image"])
    assert recall(choice.figures, "shift") > recall(choice.figures, "none") + 0.3


def test_heads_give_what_was_measured():
    mine = world(1, gap=3.0, private=1.5)
    for remedy in calibration.candidates(mine)[1:]:
        expected = remedy.apply(mine.vectors)
        heads = remedy.alone()
        assert {head.form.kind for head in heads.values()} == {"identity"}
        for modality, head in remedy.on({"text": Head("linear", D, D)} | heads).items():
            with torch.no_grad():
                np.testing.assert_allclose(head(torch.from_numpy(mine.vectors[modality])).numpy(), expected[modality], atol=2e-6)
    put_off = Calibration().on(heads)
    assert all(head.center is None and head.projection is None for head in put_off.values())


@pytest.mark.parametrize("n", [0, 1, 2])
def test_very_few_examples_are_no_fault(n: int):
    assert choose(world(1, n=n), world(2, n=n)).calibration.name in {"none", "half", "shift", "center", "standard", "shared 4"}


@pytest.mark.parametrize("alike", [False, True], ids=["one picture", "pictures all alike"])
def test_around_the_mean_of_one_picture_there_is_nothing_to_scale(alike: bool):
    side = world(1, gap=3.0)
    first = side.vectors["image"][:1]
    pictures = np.repeat(first, len(side), axis=0) if alike else first
    ids = {**side.ids, "image": np.where(np.arange(len(side)) < len(pictures), np.arange(len(side)), -1)}
    odd = FrozenVectors({**side.vectors, "image": pictures}, ids)
    for remedy in calibration.candidates(odd):
        for vectors in remedy.apply(odd.vectors).values():
            np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-3, err_msg=remedy.name)
    assert np.isfinite(choose(world(2, gap=3.0), odd).figures["none"]["gap"])


def test_a_modality_without_a_single_example_takes_no_part():
    mine = world(1, gap=3.0)
    ids = {**mine.ids, "audio": np.full(len(mine), -1)}
    choice = choose(FrozenVectors({**mine.vectors, "audio": np.zeros((0, D), np.float32)}, ids))
    assert set(choice.calibration.centers) == {"text", "image"}
    assert set(choice.figures["none"]["top ten"]) == {"text", "image"}


def test_what_cannot_be_calibrated_is_told():
    with pytest.raises(EncoderError, match="of one length, of at least two modalities; got text: 4"):
        choose(FrozenVectors({"text": np.ones((2, 4))}, {"text": np.arange(2)}))
    with pytest.raises(EncoderError, match="got text: 4, image: 5"):
        choose(FrozenVectors({"text": np.ones((2, 4)), "image": np.ones((2, 5))}, {"text": np.arange(2), "image": np.arange(2)}))


@pytest.fixture(scope="module")
def miniature() -> tuple[FrozenVectors, FrozenVectors]:
    """Scenes of the shipped space, captions in two languages: for validation, and for what is taken from them."""
    return _scenes(11, 60), _scenes(12, 120)


def _scenes(seed: int, n: int) -> FrozenVectors:
    rng, space = np.random.default_rng(seed), Space("miniature", load_encoders("miniature"))
    some = [scenes.sample(rng, "B", None) for _ in range(n)]
    media = {
        "text": [captions.full_caption(scene, language, rng) for language in captions.LANGUAGES for scene in some],
        "image": [draw.draw_picture(scene, seed * 1000 + number) for number, scene in enumerate(some)],
        "audio": [draw.draw_sound(scene, seed * 1000 + number) for number, scene in enumerate(some)],
    }
    found = {modality: encoded(registry.build(space.encoders[modality], dtype="float32"), each) for modality, each in media.items()}
    return FrozenVectors(found, {"text": np.arange(2 * n), "image": np.tile(np.arange(n), 2), "audio": np.tile(np.arange(n), 2)})


def test_mixed_lists_of_the_miniature_gain_and_a_space_with_the_remedy_is_written(miniature, tmp_path):
    validation, training = miniature
    choice = choose(validation, training)
    figures = choice.figures
    chosen, none = figures[choice.calibration.name], figures["none"]
    assert chosen["mixed recall@1"] > none["mixed recall@1"] + 0.2
    assert chosen["mixed recall@10"] > none["mixed recall@10"]
    assert figures[choice.calibration.name]["alone recall@1"] > figures["none"]["alone recall@1"] - calibration.TOLERANCE - 1e-9
    sections = without_heads(anchored("miniature"))
    space = space_folder.write(tmp_path, "calibrated", sections, choice.calibration.alone(), {"calibration": figures})
    caption = "a big red dog barking in the rain"
    text = space.encoders["text"]
    plain, after = (encoded(registry.build(spec, dtype="float32"), [caption]) for spec in (text.base, text))
    np.testing.assert_allclose(after, choice.calibration.apply({"text": plain})["text"], atol=2e-6)
