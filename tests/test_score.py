"""A table scored by pairs: every figure against double loops over the table's own rows, what is left out counted, verdicts to act on."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import polars as pl
import pytest
import soundfile
import torch
from buckets import captions, embed, picture, rows, small_bucket, sound
from lancedb.index import IvfFlat
from scipy.spatial.distance import pdist
from typer.testing import CliRunner

from encoders.align import space_folder
from encoders.align.heads import Head
from encoders.errors import LimitError
from encoders.spaces import sections_of, without_heads
from flows.cli import app
from flows.score_run import open_score, score_table
from flows.settings import ScoreSettings, SettingsError
from flows.settings_given import score_settings
from retrieval import candidates
from retrieval.filters import Filter
from retrieval.query import QueryError, Searcher
from retrieval.query_texts import embed_texts
from retrieval.score.thresholds import parse
from retrieval.status import status
from storage import index, runs, table
from tasks.pairs import PairsError, read_pairs
from tasks.score_report import markdown
from tasks.split import Shares, split

ROOT = Path(__file__).parent.parent
METRICS = ("recall@1", "recall@5", "recall@10", "mrr", "ndcg@10")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Pictures, sounds and their captions; a copy, a sound of several windows, what is broken or in no pair; and pairs of all of that."""
    home = tmp_path_factory.mktemp("score")
    bucket = small_bucket(home / "bucket")
    for k in range(12):
        (bucket / f"pictures/unpaired {k}.png").write_bytes(picture(k))
        (bucket / f"sounds/unpaired {k}.wav").write_bytes(sound(k))
    shutil.copy(bucket / "pictures/picture_1.png", bucket / "pictures/a copy.png")
    (bucket / "pictures/broken.png").write_bytes(picture(99)[:200])
    joined = np.concatenate([soundfile.read(bucket / f"sounds/sound_{k}.wav", dtype="float32")[0] for k in (1, 2, 3)])
    soundfile.write(bucket / "sounds/long.wav", joined, 16_000)
    embed(bucket, home / "lance", workers=1)
    lines = [{"text": words, medium(name): place(name)} for name, told in captions().items() for words in (told["en"], told["zh"])]
    lines += [{"image": f"pictures/picture_{k}.png", "audio": f"sounds/sound_{k}.wav"} for k in range(1, 5)]
    lines += [
        {"text": captions()["sound_2.wav"]["en"], "audio": "sounds/long.wav"},
        {"text": "a picture", "image": "pictures/picture_1.png"},
        {"text": "a picture", "image": "pictures/picture_2.png"},
        {"text": "a picture", "image": "pictures/a copy.png"},
        {"text": "lost", "image": "pictures/none.png"},
        {"text": "cut", "image": "pictures/broken.png"},
        {"text": "heard", "image": "sounds/sound_1.wav"},
    ]
    (home / "pairs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return home


@pytest.fixture(scope="module")
def report(home):
    return scored(home)


def medium(name):
    return "image" if name.endswith("png") else "audio"


def place(name):
    return f"{'pictures' if name.endswith('png') else 'sounds'}/{name}"


def scored(home, **settings):
    asked = {"database": str(home / "lance"), "pairs": str(home / "pairs.jsonl"), "source": str(home / "bucket")} | settings
    return score_table(open_score(ScoreSettings(**asked)))


class Slow:
    """The same questions asked one by one of the rows as they stand in the table."""

    def __init__(self, home, only=None):
        self.searcher = Searcher(str(home / "lance"))
        self.objects = {}
        for row in rows(home / "lance"):
            if only is None or row["uri"] in only:
                kept = self.objects.setdefault(row["uri"], {"medium": row["medium"], "content": row["content_hash"], "vectors": []})
                kept["vectors"].append(np.array(row["vector"], np.float64))
        lines = [json.loads(line) for line in (home / "pairs.jsonl").read_text(encoding="utf-8").splitlines()]
        self.pairs = [
            {m: value if m == "text" else self.content(f"file://{home}/bucket/{value}", m) for m, value in line.items()} for line in lines
        ]
        self.pairs = [line for line in self.pairs if None not in line.values()]

    def content(self, uri, medium):
        held = self.objects.get(uri)
        return held["content"] if held and held["medium"] == medium else None

    def things(self, m):
        """Name, content and vectors of what may be asked with, or found."""
        if m == "text":
            texts = dict.fromkeys(line["text"] for line in self.pairs if "text" in line)
            return [(text, text, list(self.searcher.embed(text).astype(np.float64))) for text in texts]
        return [(uri, o["content"], o["vectors"]) for uri, o in self.objects.items() if o["medium"] == m]

    def positions(self, a, found):
        """Positions of the right answers for each thing of modality `a` that has one, among `found`."""
        told, asked = [], set()
        for _, content, vectors in self.things(a):
            right = {other for line in self.pairs if line.get(a) == content for m, other in line.items() if m != a}
            if content in asked or not any(c in right for _, c, _ in found):
                continue
            asked.add(content)
            scores = [(max(float(v @ w) for v in vectors for w in others), c in right) for _, c, others in found]
            good = sorted((s for s, is_right in scores if is_right), reverse=True)
            told.append([k + 1 + sum(s > best - 1e-6 for s, is_right in scores if not is_right) for k, best in enumerate(good)])
        return told


def means(positions):
    ideal = [sum(1 / math.log2(k + 2) for k in range(min(len(p), 10))) for p in positions]
    gained = [sum(1 / math.log2(k + 1) for k in p if k <= 10) for p in positions]
    return {
        **{f"recall@{k}": np.mean([p[0] <= k for p in positions]) for k in (1, 5, 10)},
        "mrr": np.mean([1 / p[0] for p in positions]),
        "ndcg@10": np.mean([g / i for g, i in zip(gained, ideal, strict=True)]),
    }


def values(direction):
    return {metric: figure["value"] for metric, figure in direction["figures"].items()}


def test_every_direction_of_every_two_modalities_is_scored(report):
    assert [*report["directions"]] == ["text>image", "text>audio", "image>text", "image>audio", "audio>text", "audio>image"]


@pytest.mark.parametrize("direction", [f"{a}>{b}" for a, b in itertools.permutations(("text", "image", "audio"), 2)])
@pytest.mark.parametrize("among", ["table", "pairs"])
def test_figures_are_those_of_a_double_loop_over_the_tables_rows(home, report, direction, among):
    found = report if among == "table" else scored(home, among="pairs")
    a, b = direction.split(">")
    slow = Slow(home)
    named = {content for line in slow.pairs for content in line.values()}
    things = [thing for thing in slow.things(b) if among == "table" or thing[1] in named]
    expected = slow.positions(a, things)
    told = found["directions"][direction]
    assert (told["queries"], told["candidates"]) == (len(expected), len(things))
    assert told["answers"] == pytest.approx(np.mean([len(p) for p in expected]))
    assert values(told) == pytest.approx(means(expected))
    for figure in told["figures"].values():
        assert figure["low"] <= figure["value"] <= figure["high"]


def test_a_copy_under_another_name_is_a_right_answer_too_and_asks_no_second_time(report):
    assert report["directions"]["text>image"]["candidates"] == 6 + 12 + 1
    assert report["directions"]["text>audio"]["candidates"] == 6 + 12 + 1
    assert report["directions"]["image>text"]["queries"] == 6


def test_a_sound_of_several_windows_counts_by_its_best(home):
    held = candidates.read(Searcher(str(home / "lance")).table)
    assert held.objects.filter(pl.col("uri").str.ends_with("long.wav")).get_column("rows").to_list() != [1]


def test_pairs_that_take_no_part_are_counted_by_reason(report):
    assert report["pairs"] == {
        "rows": 35,
        "scored": 31,
        "too_few": 3,
        "duplicates": 1,
        "other_sides": 0,
        "missing": {"image": {"in quarantine: truncated": 1, "is audio": 1, "not in the table": 1}},
    }


def test_mixed_lists_tell_the_share_of_each_medium(home, report):
    slow = Slow(home)
    texts = {hashlib.sha256(text.encode()).hexdigest() for text, _, _ in slow.things("text")}
    found = [(u, o["content"], o["vectors"]) for u, o in slow.objects.items() if not (o["medium"] == "text" and o["content"] in texts)]
    mixed, expected = report["mixed"], slow.positions("text", found)
    assert (mixed["queries"], mixed["candidates"]) == (len(expected), len(found))
    assert values(mixed) == pytest.approx(means(expected))
    tops, due, heard = [], [], []
    for text, _, [vector] in slow.things("text"):
        right = {other for line in slow.pairs if line.get("text") == text for m, other in line.items() if m != "text"}
        best = sorted(found, key=lambda thing: -max(float(vector @ w) for w in thing[2]))[:10]
        tops += [slow.objects[uri]["medium"] for uri, _, _ in best]
        answers = [slow.objects[uri]["medium"] for uri, content, _ in found if content in right]
        due.append(answers.count("audio") / len(answers))
        if "audio" in answers:
            heard.append(any(content in right and slow.objects[uri]["medium"] == "audio" for uri, content, _ in best))
    assert mixed["top_ten"] == pytest.approx({kind: tops.count(kind) / len(tops) for kind in mixed["top_ten"]})
    assert sum(mixed["top_ten"].values()) == pytest.approx(1) and set(mixed["top_ten"]) == {"audio", "image"}
    assert mixed["due"]["audio"] == pytest.approx(np.mean(due))
    assert mixed["recall"]["audio"] == pytest.approx(np.mean(heard))


def test_the_shape_is_told_from_the_pairs_alone(home, report):
    slow = Slow(home)
    named = {content for line in slow.pairs for content in line.values()}
    held = {m: [v for _, content, vectors in slow.things(m) if content in named for v in vectors] for m in ("text", "image", "audio")}
    gap = np.linalg.norm(np.mean(held["text"], axis=0) - np.mean(held["audio"], axis=0))
    assert report["shape"]["gap"]["text-audio"] == pytest.approx(gap, abs=1e-6)
    assert report["shape"]["uniformity"]["image"] == pytest.approx(
        math.log(np.exp(-2 * pdist(np.array(held["image"]), "sqeuclidean")).mean()), abs=1e-6
    )
    best = []
    for (_, a, one), (_, b, two) in itertools.product(slow.things("text"), slow.things("audio")):
        if any(line.get("text") == a and line.get("audio") == b for line in slow.pairs):
            best.append(min(float(((v - w) ** 2).sum()) for v in one for w in two))
    assert report["shape"]["alignment"]["text-audio"] == pytest.approx(np.mean(best), abs=1e-5)


def test_without_a_vector_index_nothing_is_said_of_one(report):
    assert all(direction["index"] is None for direction in report["directions"].values())


def test_with_an_index_its_loss_is_told(home, tmp_path):
    shutil.copytree(home / "lance", tmp_path / "lance")
    held = table.open_table(table.connect(str(tmp_path / "lance")), "media")
    held.create_index("vector", config=IvfFlat(distance_type="cosine", num_partitions=1))
    table.publish(held, held.version)
    whole = scored(home, database=str(tmp_path / "lance"))["directions"]
    for name in ("text>image", "text>audio", "image>audio", "audio>image"):
        told = whole[name]["index"]
        assert told["found"] == pytest.approx(1)
        assert told["lost"]["value"] == 0
        assert told["figures"]["recall@10"]["value"] == whole[name]["figures"]["recall@10"]["value"]
    assert whole["image>text"]["index"] is None
    held.create_index("vector", config=IvfFlat(distance_type="cosine", num_partitions=40), replace=True)
    index.keep(held, index.SearchSettings(nprobes=2), rows=held.count_rows(), recall={})
    table.publish(held, held.version)
    searcher = Searcher(str(tmp_path / "lance"))
    slow = Slow(home)
    shares, hits = [], []
    for text, _, [vector] in slow.things("text"):
        right = {line["image"] for line in slow.pairs if line.get("text") == text and "image" in line}
        if right:
            exact = sorted(slow.things("image"), key=lambda thing: -max(float(vector @ w) for w in thing[2]))[:10]
            asked = [hit.uri for hit in searcher.search(text, keep=Filter(media=("image",)), limit=10)]
            shares.append(len({uri for uri, _, _ in exact} & set(asked)) / 10)
            hits.append(any(slow.objects[uri]["content"] in right for uri in asked))
    told = scored(home, database=str(tmp_path / "lance"))["directions"]["text>image"]["index"]
    assert told["found"] == pytest.approx(np.mean(shares)) and told["found"] < 1
    assert told["figures"]["recall@10"]["value"] == pytest.approx(np.mean(hits))
    assert told["lost"]["value"] == pytest.approx(1 - np.mean(hits))


@pytest.fixture(scope="module")
def other(home):
    """The same bucket in a space whose pictures are turned at random, without one of the pictures, and with one that has changed."""
    head = Head("linear", 128, 128)
    torch.nn.init.normal_(head.straight.weight, generator=torch.Generator().manual_seed(1))
    space_folder.write(home / "turned", "turned", without_heads(sections_of("miniature")), {"image": head}, {})
    bucket = home / "other/bucket"
    shutil.copytree(home / "bucket", bucket)
    (bucket / "pictures/unpaired 3.png").unlink()
    embed(bucket, home / "other/lance", workers=1, space=str(home / "turned/space.toml"))
    db = table.connect(str(home / "other/lance"))
    held = table.open_table(db, "media")
    held.update(values_sql={"uri": f"replace(uri, '{bucket}', '{home}/bucket')"})
    held.update(where="uri LIKE '%sound_4.wav'", values={"content_hash": "another"})
    table.publish(held, held.version)
    return home / "other/lance"


def test_another_table_is_asked_the_very_same_questions(home, report, other):
    found = scored(home, against=str(other))
    for name, direction in found["directions"].items():
        beside = found["against"]["directions"][name]
        assert (direction["queries"], direction["candidates"]) == (beside["queries"], beside["candidates"])
        for metric in METRICS:
            gained = found["differences"][name][metric]
            assert gained["value"] == pytest.approx(values(direction)[metric] - values(beside)[metric])
            assert gained["low"] <= gained["value"] <= gained["high"]
    assert found["directions"]["text>image"]["candidates"] == report["directions"]["text>image"]["candidates"] - 1
    assert found["directions"]["text>audio"]["queries"] == report["directions"]["text>audio"]["queries"] - 2
    assert found["against"]["space"] == "turned"
    assert found["differences"]["text>image"]["mrr"]["low"] > 0.1
    assert [*found["differences"]["text>audio"]["mrr"].values()] == pytest.approx([0, 0, 0], abs=0.02)
    assert set(found["differences"]) == {*found["directions"], "text>all"}


def test_a_table_against_itself_gains_exactly_nothing(home, report):
    found = scored(home, against=str(home / "lance"))
    assert {json.dumps(figure) for figures in found["differences"].values() for figure in figures.values()} == {
        json.dumps({"value": 0.0, "low": 0.0, "high": 0.0})
    }
    assert values(found["directions"]["image>audio"]) == values(report["directions"]["image>audio"])


def test_what_only_one_space_embeds_is_scored_for_it_alone(home, report, tmp_path):
    space = tmp_path / "pictures.toml"
    space.write_text('name = "pictures"\n[image]\nencoder = "clip-image"\nweights = "package:miniature/clip"\n')
    embed(home / "bucket", tmp_path / "lance", workers=1, space=str(space))
    with pytest.raises(PairsError, match=r"text: \d+ the space reads no text"):
        scored(home, database=str(tmp_path / "lance"))
    found = scored(home, against=str(tmp_path / "lance"))
    assert set(found["directions"]) > {"text>audio", "text>image"}
    assert not found["against"]["directions"] and found["differences"] == {}
    assert found["mixed"] == report["mixed"]
    assert set(found["against"]["shape"]["uniformity"]) == {"image"}


def test_only_the_side_that_was_asked_for_takes_part(home, report):
    shares = {"train": 0.5, "validation": 0.0, "test": 0.5}
    train, test = (scored(home, split=side, shares=shares, seed=5) for side in ("train", "test"))
    for side, other in ((train, test), (test, train)):
        assert 0 < side["pairs"]["scored"] == other["pairs"]["other_sides"] < report["pairs"]["scored"]
    assert train["pairs"]["scored"] + test["pairs"]["scored"] == report["pairs"]["scored"]
    # Media stand on one side, and so does what asks with them; the table is searched whole, and texts are the side's own.
    for medium in ("image", "audio"):
        asked = [each["directions"][f"{medium}>text"]["queries"] for each in (train, test, report)]
        assert asked[0] + asked[1] == asked[2]
        assert test["directions"][f"text>{medium}"]["candidates"] == report["directions"][f"text>{medium}"]["candidates"]
    assert test["directions"]["image>text"]["candidates"] < report["directions"]["image>text"]["candidates"]


def test_the_sides_are_those_that_align_trains_and_tests_on(home):
    pairs = read_pairs(home / "pairs.jsonl", f"file://{home}/bucket")
    contents = {row["uri"]: row["content_hash"] for row in rows(home / "lance") if row["medium"] in ("image", "audio")}
    shares = {"train": 0.5, "validation": 0.0, "test": 0.5}
    aligned = split(pairs, contents, Shares(**shares), 5).side("test")
    wrong = aligned.filter(pl.col("text") == "heard").height  # a sound among pictures is none here
    assert scored(home, split="test", shares=shares, seed=5)["pairs"]["scored"] == aligned.height - wrong


def test_a_side_without_pairs_is_refused(home):
    with pytest.raises(PairsError, match="none of 31 is on the side validation"):
        scored(home, split="validation", shares={"train": 1.0, "validation": 0.0, "test": 0.0})


def test_the_same_seed_gives_the_same_report(home, report):
    again, another = scored(home), scored(home, seed=2)
    assert again["directions"] == report["directions"] and again["mixed"] == report["mixed"] and again["shape"] == report["shape"]
    assert values(another["directions"]["text>image"]) == values(report["directions"]["text>image"])


def test_thresholds_are_judged_and_one_that_is_missed_is_named(home):
    kept = scored(home, at_least=("text>image mrr=0.3", "text>all recall@10 = 0.2"))
    assert kept["met"] and kept["verdict"].endswith("2 of 2 thresholds met")
    found = scored(home, at_least=("text>image mrr=0.3", "audio>image recall@1=1.0"))
    assert [each["met"] for each in found["thresholds"]] == [True, False]
    assert not found["met"]
    value = found["directions"]["audio>image"]["figures"]["recall@1"]["value"]
    assert found["verdict"] == f"1 of 2 thresholds missed: audio>image recall@1 is {value:.3f} and not 1"
    with pytest.raises(QueryError, match="text>video, which these pairs do not tell of"):
        scored(home, at_least=("text>video mrr=0.3",))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("text>image", "is no threshold"),
        ("text>image recall@2=0.5", "recall@1"),
        ("text>smell mrr=0.5", "no direction"),
        ("text>text mrr=0.5", "no direction"),
        ("text>image mrr=50", "between 0 and 1"),
        ("text>image mrr=0.5.5", "no number"),
    ],
)
def test_a_threshold_that_says_nothing_is_refused_before_any_work(home, text, told):
    with pytest.raises(QueryError, match=told):
        parse(text)
    with pytest.raises(QueryError):
        open_score(ScoreSettings(database=str(home / "lance"), pairs=str(home / "pairs.jsonl"), at_least=(text,)))


def test_settings_may_stand_in_a_file(tmp_path):
    (tmp_path / "score.toml").write_text('database = "a"\npairs = "p.csv"\nat_least = ["text>image mrr=0.5"]\n[shares]\ntrain = 0.5\n')
    asked = score_settings(tmp_path / "score.toml", database="b", pairs=None)
    assert (asked.database, asked.pairs, asked.at_least, asked.shares.train) == ("b", "p.csv", ("text>image mrr=0.5",), 0.5)
    (tmp_path / "score.toml").write_text('at_last = ["text>image mrr=0.5"]\n')
    with pytest.raises(SettingsError, match="at_least"):
        score_settings(tmp_path / "score.toml")


def test_a_score_stands_in_the_table_of_runs_and_in_the_status(home):
    found = scored(home, at_least=("image>audio mrr=0.9999",))
    db = table.connect(str(home / "lance"))
    run = runs.latest(db, "media", 1, kind="score").row(0, named=True)
    assert (run["run"], run["source"], run["state"], run["generation"], run["version"]) == (
        found["run"],
        str(home / "pairs.jsonl"),
        "finished",
        found["generation"],
        found["version"],
    )
    assert json.loads(run["account"]) == json.loads(json.dumps(found))
    told = status(str(home / "lance"))
    assert {run["kind"] for run in told["runs"]} == {"embed"} and len(told["runs"]) == 1
    assert (told["score"]["met"], told["score"]["verdict"]) == (False, found["verdict"])
    assert told["score"]["figures"]["text>image"] == values(found["directions"]["text>image"])


def test_what_is_scored_is_the_published_version(home, tmp_path, report):
    shutil.copytree(home / "lance", tmp_path / "lance")
    held = table.open_table(table.connect(str(tmp_path / "lance")), "media")
    held.delete("medium = 'image'")
    assert values(scored(home, database=str(tmp_path / "lance"))["directions"]["text>image"]) == values(report["directions"]["text>image"])


def test_objects_come_sorted_with_their_rows_together_however_the_table_holds_them(home, tmp_path):
    shutil.copytree(home / "lance", tmp_path / "lance")
    db = table.connect(str(tmp_path / "lance"))
    held = table.open_table(db, "media")
    everything = held.to_arrow()
    held.delete("true")
    order = np.random.default_rng(1).permutation(len(everything))
    for part in np.array_split(order, 5):
        held.add(everything.take(part))
    table.publish(held, held.version)
    found = candidates.read(table.published(db, "media"))
    expected = sorted(everything.to_pylist(), key=lambda row: (row["medium"], row["uri"], row["segment"]))
    assert [uri for uri, n in found.objects.select("uri", "rows").iter_rows() for _ in range(n)] == [row["uri"] for row in expected]
    np.testing.assert_array_equal(found.vectors, np.array([row["vector"] for row in expected], np.float16))
    some = np.array([1, 3, 4, found.objects.height - 1])
    vectors, owner = found.of(some)
    np.testing.assert_array_equal(vectors, np.concatenate([found.rows_of(int(k)) for k in some]))
    assert owner.tolist() == [k for k, n in enumerate(found.objects[some].get_column("rows")) for _ in range(n)]


def test_texts_in_batches_have_the_vectors_of_a_search(home):
    searcher = Searcher(str(home / "lance"))
    texts = [told[language] for told in captions().values() for language in ("en", "zh")] + ["a dog barking in the rain " * 60]
    found = embed_texts(searcher.encoder("text", "words"), texts, batch=5)
    one_by_one = [searcher.embed(text) for text in texts]
    np.testing.assert_allclose(found.vectors, np.concatenate(one_by_one), atol=1e-5)
    assert found.owner.tolist() == [k for k, vectors in enumerate(one_by_one) for _ in vectors]
    assert len(one_by_one[-1]) > 1


def test_a_text_that_an_encoder_refuses_is_named_and_its_neighbours_are_encoded(home):
    class Choosy:
        """Refuses one text as it prepares it and one as it encodes it."""

        def __init__(self, encoder):
            self.spec, self.tokenizer, self.encoder = encoder.spec, encoder.tokenizer, encoder

        def prepare(self, text):
            if text == "too long":
                raise LimitError("too many tokens", "cut it")
            return {**self.encoder.prepare(text), "bad": np.full((1, 1), text == "refused", np.int32)}

        def encode(self, inputs):
            if inputs.pop("bad").any():
                raise LimitError("refused by the server", "write it otherwise")
            return self.encoder.encode(inputs)

    encoder = Searcher(str(home / "lance")).encoder("text", "words")
    found = embed_texts(Choosy(encoder), ["a dog", "too long", "a cat", "refused", "a bird"])
    assert found.failed == {1: "too many tokens", 3: "refused by the server"}
    assert (found.kept.tolist(), found.owner.tolist()) == ([0, 2, 4], [0, 1, 2])
    np.testing.assert_allclose(found.vectors, embed_texts(encoder, ["a dog", "a cat", "a bird"]).vectors, atol=1e-5)


def test_the_report_as_markdown_has_every_figure_and_pictures(home, other):
    told = markdown(scored(home, against=str(other), at_least=("image>audio mrr=0.9999",)))
    for words in ("| text>image |", "| text>all |", "**missed**", "Gained", "share of the ten nearest", "| gap | text-image |"):
        assert words in told
    assert told.count("](data:image/png;base64,") == 1


def sensorium(*arguments, **environment):
    command = [sys.executable, "-m", "flows.cli", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False, env=os.environ | environment)


@pytest.mark.slow
def test_the_command_prints_a_table_or_json_and_its_exit_code_is_the_verdict(home):
    asked = ["score", home / "lance", "--pairs", home / "pairs.jsonl", "--source", home / "bucket", "--direct"]
    done = sensorium(*asked, "--at-least", "text>image mrr=0.3", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["met"] is True
    done = sensorium(*asked, "--at-least", "text>image mrr=0.3", "--at-least", "image>audio recall@1=1")
    assert done.returncode == 1, done.stderr
    assert "1 of 2 thresholds missed: image>audio recall@1" in done.stdout
    assert "image>audio" in done.stdout and "in quarantine: truncated" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--pairs", "{home}/nowhere.csv"], "nowhere.csv"),
        (["--pairs", "{home}/pairs.jsonl"], "is --source"),
        (["--pairs", "{home}/pairs.jsonl", "--at-least", "text>image"], "no threshold"),
        (["--pairs", "{home}/pairs.jsonl", "--split", "tests"], "split"),
        (["--pairs", "{home}/pairs.jsonl", "--table", "other"], "other"),
        (["--pairs", "{home}/pairs.jsonl", "--against", "{home}/none"], "none"),
        ([], "pairs is missing"),
    ],
)
def test_a_refusal_is_one_line_and_exit_code_2(home, arguments, words):
    done = CliRunner().invoke(app, ["score", str(home / "lance"), *(a.format(home=home) for a in arguments), "--direct"])
    assert (done.exit_code, done.stdout) == (2, "")
    assert words.lower() in done.stderr.lower()
    assert len(done.stderr.splitlines()) == 1 and done.stderr.startswith("sensorium: ")


@pytest.mark.slow
def test_as_a_flow_the_report_is_an_artifact_and_a_missed_threshold_a_failed_run(home, prefect_server):
    asked = ["score", home / "lance", "--pairs", home / "pairs.jsonl", "--source", home / "bucket", "--json"]
    done = sensorium(*asked, "--at-least", "image>audio recall@1=1", PREFECT_API_URL=prefect_server)
    assert done.returncode == 1, done.stderr
    found = json.loads(done.stdout)
    answer = httpx.post(f"{prefect_server}/flow_runs/filter", json={"flows": {"name": {"any_": ["score"]}}}, timeout=30).json()
    [run] = answer
    assert (run["name"], run["state"]["type"], run["state"]["message"]) == (f"score media of {home}/lance", "FAILED", found["verdict"])
    [artifact] = httpx.post(
        f"{prefect_server}/artifacts/filter", json={"artifacts": {"flow_run_id": {"any_": [run["id"]]}}}, timeout=30
    ).json()
    assert artifact["key"] == "score-report" and "| image>audio |" in artifact["data"] and "data:image/png;base64," in artifact["data"]
    tasks = httpx.post(f"{prefect_server}/task_runs/filter", json={"flow_runs": {"id": {"any_": [run["id"]]}}}, timeout=30).json()
    assert {each["name"] for each in tasks} == {"read", "divide", "encode", "measure", "report"}
