"""How the miniature's weights are made: its material, what captions tell, and a run that can be stopped and repeated."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from encoders import hardware, headed, registry
from encoders.align import head_file
from encoders.errors import EncoderError
from encoders.miniature.captions import LANGUAGES
from encoders.miniature.draw import draw_picture, draw_sound
from encoders.miniature.phrasing import phrase
from encoders.miniature.scenes import Scene, Thing, audible_key, is_held, sample, visible_key
from encoders.miniature.training import calibrate, evaluation, material, towers
from encoders.miniature.training.meanings import facts_of_scene, facts_of_wording, fits, fits_by_ear
from encoders.miniature.training.recipe import Recipe
from encoders.miniature.training.towers import Miniature
from encoders.miniature.training.train import TrainingError, factor, train_miniature
from encoders.miniature.training.world import World, draw_world
from encoders.miniature.wording import Mention, Wording, full
from encoders.spaces import load_space
from encoders.spec import Space
from flows.train_miniature import make

TINY = Recipe(
    pairs=40, pairs_per_chunk=20, wordings=2, voices=2, skies=2, batch=16, steps=20, warm_up=4, cooling=6, checkpoint_every=5, help_steps=20
)
RED_DOG = Thing("dog", "red", "big")
SMALL_CAT = Thing("cat", "white", "small")


def facts(*scenes: Scene) -> np.ndarray:
    return np.array([facts_of_scene(scene) for scene in scenes], np.int8)


def told(*mentions: Mention, relation: str | None = None, weather: str = "none", whole: bool = False) -> np.ndarray:
    return np.array([facts_of_wording(Wording(mentions, relation, weather), whole)], np.int8)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("trained")
    train_miniature(folder, TINY)
    return folder


def weights(folder: Path) -> dict[str, torch.Tensor]:
    files = sorted((folder / "weights").rglob("*.safetensors"))
    return {f"{file.name} {name}": tensor for file in files for name, tensor in load_file(file).items()}


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


# ---- what captions tell


def test_a_caption_fits_what_it_tells_and_leaves_the_rest_open():
    alone, rainy = Scene("B", (RED_DOG,)), Scene("B", (RED_DOG,), weather="rain")
    both = Scene("B", (SMALL_CAT, RED_DOG), "left", "rain")
    scenes = facts(alone, rainy, both)
    assert fits(told(Mention(RED_DOG, size=False)), scenes).tolist() == [[True, True, True]]
    assert fits(told(Mention(RED_DOG, size=False), weather="rain"), scenes).tolist() == [[False, True, True]]
    assert fits(told(weather="rain"), scenes).tolist() == [[False, True, True]]
    assert fits(told(Mention(RED_DOG), whole=True), scenes).tolist() == [[True, False, False]]
    assert fits(told(Mention(replace(RED_DOG, color="blue"))), scenes).tolist() == [[False] * 3]
    assert fits(told(Mention(RED_DOG), Mention(SMALL_CAT), whole=True, weather="rain"), scenes).tolist() == [[False, False, True]]


def test_a_caption_with_places_fits_only_things_that_stand_so_and_from_either_side():
    scene, turned = Scene("B", (RED_DOG, SMALL_CAT), "left"), Scene("B", (RED_DOG, SMALL_CAT), "right")
    above = Scene("B", (RED_DOG, SMALL_CAT), "above")
    scenes = facts(scene, turned, above)
    assert fits(told(Mention(RED_DOG), Mention(SMALL_CAT), relation="left"), scenes).tolist() == [[True, False, False]]
    assert fits(told(Mention(SMALL_CAT), Mention(RED_DOG), relation="right"), scenes).tolist() == [[True, False, False]]
    assert fits(told(Mention(SMALL_CAT), Mention(RED_DOG)), scenes).tolist() == [[True, True, True]]


def test_colours_and_places_are_not_heard_but_kinds_sizes_and_weather_are():
    scene = Scene("B", (RED_DOG, SMALL_CAT), "left", "rain")
    painted = Scene("B", (replace(SMALL_CAT, color="black"), replace(RED_DOG, color="blue")), "above", "rain")
    larger, drier = replace(scene, things=(RED_DOG, replace(SMALL_CAT, size="big"))), replace(scene, weather="none")
    assert fits_by_ear(facts(scene), facts(scene, painted, larger, drier)).tolist() == [[True, True, False, False]]


def test_what_is_heard_alike_is_what_has_one_audible_key_and_what_is_seen_alike_one_visible_key():
    rng = np.random.default_rng(4)
    scenes = [sample(rng, "B") for _ in range(400)]
    numbers = facts(*scenes)
    by_ear = [[audible_key(a) == audible_key(b) for b in scenes] for a in scenes]
    by_eye = [[visible_key(a) == visible_key(b) for b in scenes] for a in scenes]
    assert fits_by_ear(numbers, numbers).tolist() == by_ear
    assert fits(numbers, numbers).tolist() == by_eye


@pytest.mark.parametrize("world", ["A", "B"])
def test_whatever_training_says_of_a_scene_fits_it(world: str):
    rng = np.random.default_rng(5)
    for scene in (sample(rng, world) for _ in range(500)):
        wording, whole = phrase(scene, rng)
        assert fits(np.array([facts_of_wording(wording, whole)], np.int8), facts(scene)).all()
        assert fits(np.array([facts_of_wording(full(scene), True)], np.int8), facts(scene)).all()


# ---- material


def test_no_scene_of_the_material_holds_a_held_out_combination_and_half_are_twins():
    drawn = material.draw_scenes(1, 150, 0.4, 1)
    rng = np.random.default_rng([1, 0])
    known = set()
    for world in ("A", "B"):
        held = (sample(rng, world, held=True) for _ in range(3000))
        known |= {tuple(facts_of_scene(scene)) for scene in held}
    assert not known & {tuple(row) for row in drawn.facts.tolist()}
    assert ((drawn.facts[::2] != drawn.facts[1::2]).sum(1) > 0).all()


def test_every_scene_that_training_draws_is_asked_whether_it_is_held_out(monkeypatch: pytest.MonkeyPatch):
    drawn: list[Scene] = []
    real = material.drawn_with_places
    monkeypatch.setattr(material, "drawn_with_places", lambda scene, seed: drawn.append(scene) or real(scene, seed))
    material.draw_scenes(3, 200, 0.42, 1)
    assert len(drawn) == 400
    assert not any(is_held(scene) for scene in drawn)


def test_the_map_of_a_picture_tells_which_thing_each_patch_shows():
    scene = Scene("A", (Thing("square", "red", "big"), Thing("circle", "blue", "small")), "right")
    picture, places = material.drawn_with_places(scene, 3)
    assert np.array_equal(picture, draw_picture(scene, 3))
    columns = places.reshape(8, 8)
    first, second = np.nonzero(columns == 1)[1].mean(), np.nonzero(columns == 2)[1].mean()
    assert first < second  # the left one is the circle
    assert (columns == 2).sum() > (columns == 1).sum() > 0
    patches = picture.reshape(8, 8, 8, 8, 3).transpose(0, 2, 1, 3, 4)
    assert patches[columns == 2].reshape(-1, 3).mean(0).argmax() == 0  # red
    assert patches[columns == 1].reshape(-1, 3).mean(0).argmax() == 2  # blue


def test_mixed_spectrograms_are_like_those_of_sounds_that_were_really_mixed(tmp_path: Path):
    recipe = replace(TINY, pairs=20, voices=12, skies=12)
    draw_world(tmp_path, recipe)
    world, rng = World(tmp_path, recipe), np.random.default_rng(0)
    scenes = [Scene("B", (Thing("bird", "red", "big"), Thing("car", "red", "small")), "left", "rain")] * 40
    mixed = world.mix(facts(*scenes), rng).mean((0, 1))
    real = np.stack([material.log_mel(draw_sound(scene, seed)) for seed, scene in enumerate(scenes)]).mean((0, 1))
    assert np.corrcoef(mixed, real)[0, 1] > 0.99
    assert np.abs(mixed - real).mean() < 0.5  # of natural logarithms that spread over ten


def test_batches_are_told_by_the_seed_alone_and_workers_share_no_pair_within_an_epoch(trained: Path):
    world, again = World(trained / "world", TINY), World(trained / "world", TINY)
    for step in (0, 3, 11):
        a, b = world.batch(step, 1), again.batch(step, 1)
        assert all(np.array_equal(getattr(a, name), getattr(b, name)) for name in ("pictures", "facts", "told", "captions", "sounds"))
        assert a.captions.shape == (2, 16, 40)
        assert (a.facts[-a.sounding :, 0] >= 8).all() and (a.facts[: -a.sounding, 0] < 8).all()
    first = [pair for step in range(2) for worker in range(2) for pair in world._pairs(1, step, worker).tolist()]
    assert len(set(first)) == len(first) == 4 * world.counts[1]


# ---- towers


@pytest.mark.parametrize(("silicon", "nearest"), [(True, 0.999), (False, 0.999999)])
def test_the_fast_way_through_the_towers_is_the_librarys(trained: Path, monkeypatch: pytest.MonkeyPatch, silicon: bool, nearest: float):
    from transformers import PreTrainedTokenizerFast

    monkeypatch.setattr(hardware, "bfloat16_in_silicon", lambda: silicon)
    monkeypatch.setattr(towers, "dtype", towers.dtype.__wrapped__)  # without its memory
    assert towers.dtype() == (torch.bfloat16 if silicon else torch.float32)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(trained / "world" / "tokenizer")
    torch.manual_seed(0)
    model = Miniature(TINY, tokenizer)
    pixels, mel = torch.randn(3, 3, 64, 64), torch.randn(3, 304, 64)
    tokens = tokenizer(["a red dog", "rain", "一只红色的狗在雨中叫"], padding=True, return_tensors="pt")
    with torch.no_grad():
        library = (
            model.clip.get_image_features(pixel_values=pixels).pooler_output,
            model.clip.get_text_features(**tokens).pooler_output,
            model.head(model.ast(input_values=mel).pooler_output),
        )
        fast = (model.pictures(pixels).vectors, model.texts(tokens["input_ids"])[0], model.sounds(mel).vectors)
    for ours, theirs in zip(fast, library, strict=True):
        assert torch.cosine_similarity(ours, theirs).min() > nearest


def test_the_rate_rises_stays_and_falls_and_only_the_fall_depends_on_the_steps():
    recipe = Recipe(steps=100, warm_up=10, cooling=20)
    rates = [factor(step, recipe) for step in range(100)]
    assert rates[0] == 0.1
    assert rates[9:81] == [1.0] * 72
    assert rates[90] == 0.5
    assert 0 < rates[-1] < 0.06
    assert rates[:80] == [factor(step, replace(recipe, steps=500)) for step in range(80)]


# ---- runs


@pytest.mark.slow
def test_the_same_recipe_gives_the_same_weights_bit_by_bit(trained: Path, tmp_path: Path):
    train_miniature(tmp_path, TINY)
    assert equal(weights(tmp_path), weights(trained))


@pytest.mark.slow
def test_a_run_that_is_killed_and_started_again_ends_with_the_same_weights(trained: Path, tmp_path: Path):
    program = (
        "import sys; from pathlib import Path; from test_miniature_training import TINY, train_miniature; "
        "train_miniature(Path(sys.argv[1]), TINY)"
    )
    root = Path(__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), str(root / "tests")])}
    run = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], env=environment, start_new_session=True)
    deadline = time.monotonic() + 120
    while not (tmp_path / "checkpoint.pt").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    assert 0 < torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] < TINY.steps
    train_miniature(tmp_path, TINY)
    assert equal(weights(tmp_path), weights(trained))


def test_a_run_can_be_made_longer_before_its_rate_falls_and_no_other_recipe_goes_on_in_its_folder(trained: Path, tmp_path: Path):
    with pytest.raises(TrainingError, match="another recipe"):
        train_miniature(trained, replace(TINY, steps=30))
    with pytest.raises(TrainingError, match="another recipe"):
        train_miniature(trained, replace(TINY, rate=1.0))
    for name in ("steps", "batch"):
        with pytest.raises(EncoderError, match=f"{name} is 0"):
            replace(TINY, **{name: 0})


def test_the_weights_are_a_space_that_the_registry_loads(trained: Path, tmp_path: Path):
    weights = Path(shutil.copytree(trained / "weights", tmp_path / "weights"))
    calibrate.calibrate(weights, 1, count=60)
    embed = evaluation.shipped_way(weights)
    rng = np.random.default_rng(0)
    scenes = [sample(rng, "B") for _ in range(3)]
    vectors = [
        embed("text", ["a dog barking", "狗在叫"]),
        embed("image", [draw_picture(scene, i) for i, scene in enumerate(scenes)]),
        embed("audio", [draw_sound(scene, i) for i, scene in enumerate(scenes)]),
    ]
    assert [v.shape for v in vectors] == [(2, 128), (3, 128), (3, 128)]
    assert registry.describe("ast", str(trained / "weights" / "audio")).pooling == "projection"


def test_the_heads_that_ship_are_made_by_the_recipe_and_take_each_modalitys_mean_away():
    home = Path(evaluation.__file__).parents[1]
    seed = json.loads((home / "card.json").read_text())["recipe"]["seed"]
    space = Space("miniature", calibrate.bases(home))
    drawn = calibrate.vectors_of(space, calibrate.scenes_of(seed, 60, held=False), seed, varied=True)
    for modality, vectors in drawn.vectors.items():
        center = load_file(calibrate.place_of(home, modality))["center"].numpy()
        # A mean of n unit vectors moves by less than 1 / sqrt(n) of one of many; a text stands for a scene in four wordings.
        assert np.linalg.norm(center - vectors.mean(axis=0)) < 2 / np.sqrt(len(vectors) / 4 if modality == "text" else len(vectors))
        assert np.linalg.norm(center) > 0.25
        assert head_file.read(calibrate.place_of(home, modality)).digest == load_space("miniature").encoders[modality].head["digest"]


@pytest.mark.slow
def test_what_the_command_leaves_is_a_space_with_a_card(trained: Path, tmp_path: Path):
    folder = Path(shutil.copytree(trained, tmp_path / "work"))
    told = make(folder, TINY, evaluated=False, quiet=True)
    space = load_space(told["space"])
    assert [spec.base.fingerprint for spec in space] == [spec.fingerprint for spec in calibrate.bases(folder / "weights").values()]
    for modality, spec in space.encoders.items():
        assert spec.head["digest"] == head_file.read(calibrate.place_of(folder / "weights", modality)).digest
    assert all(headed.only_calibrates(spec) for spec in space)
    card = json.loads((folder / "weights/card.json").read_text())
    assert card == {name: value for name, value in told.items() if name == "recipe"}


# ---- evaluation


def test_ranks_count_a_tie_against_the_model():
    vectors = np.eye(3, dtype=np.float32)
    assert evaluation.ranks(vectors, vectors).tolist() == [0, 0, 0]
    assert evaluation.ranks(np.ones((3, 3), np.float32), vectors).tolist() == [2, 2, 2]
    assert evaluation.ranks(vectors, vectors[[0, 2, 1]]).tolist() == [0, 2, 2]


def test_the_pools_hold_different_scenes_and_the_unseen_ones_are_held_out():
    for name in evaluation.POOLS:
        pool = evaluation.draw_pool(name, 5, 60)
        keys = {audible_key(scene) if name == "B" else visible_key(scene) for scene in pool.scenes}
        assert len(keys) == 60
        assert pool.unseen.tolist() == [is_held(scene) for scene in pool.scenes]
        assert pool.unseen.mean() == {"A unseen": 1, "A seen": 0, "B": 0.5}[name]


def test_there_are_a_hundred_short_queries_that_can_be_answered_and_an_oracle_answers_all():
    pools = {name: evaluation.draw_pool(name, 6, 400) for name in ("A unseen", "B")}
    queries = evaluation.short_queries(pools, 6)
    assert len(queries) == len({(q.pool, q.modality, q.wording) for q in queries}) == 100
    assert all(evaluation.fitting(query, pools[query.pool]).any() for query in queries)
    assert sum(query.modality == "audio" for query in queries) == 34


@pytest.mark.slow
def test_an_oracle_reaches_the_recalls_and_one_that_guesses_misses_every_target():
    rng = np.random.default_rng(0)

    def drawn(rows: int, source: np.random.Generator) -> np.ndarray:
        vectors = source.normal(size=(rows, 16)).astype(np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    guessed = evaluation.evaluate(lambda modality, media: drawn(len(media), rng), seed=7, count=300)
    assert len(evaluation.missed(guessed)) == len(evaluation.TARGETS) == 9
    assert guessed["B unseen"]["en>image"][0] < 0.05
    assert set(guessed) == {"A unseen", "A seen", "B unseen", "B seen", "mixed lists", "short queries"}
    known = evaluation.evaluate(lambda modality, media: drawn(len(media), np.random.default_rng(len(media))), seed=7, count=300)
    assert all(set(shares) == {1} for sort, found in known.items() if sort != "short queries" for shares in found.values())
    assert [line.split(":")[0] for line in evaluation.missed(known)] == [f"short queries {language}" for language in LANGUAGES]


@pytest.mark.slow
def test_the_shipped_weights_reach_on_new_scenes_what_their_card_says():
    home = Path(evaluation.__file__).parents[1]
    card = json.loads((home / "card.json").read_text())["evaluation"]["figures"]
    figures = evaluation.evaluate(evaluation.shipped_way(home), seed=99, count=600)
    for (sort, direction), _ in evaluation.TARGETS.items():
        assert figures[sort][direction][0] > card[sort][direction][0] - 0.06, (sort, direction)
