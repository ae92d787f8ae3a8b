"""`sensorium classify`: objects, not rows, by words or examples, judged by what was kept apart; a table with labels stays embeddable."""

from __future__ import annotations

import json
import math
import shutil

import numpy as np
import polars as pl
import pytest
from buckets import embed, rows
from polars.testing import assert_frame_equal
from sklearn.metrics import f1_score
from sklearn.neighbors import NearestCentroid
from typer.testing import CliRunner

from encoders.logit_scale import learned_scale
from encoders.spaces import load_space
from flows.cli import app
from flows.cli_classify import classify as command
from retrieval.candidates import read
from retrieval.classify import classify as classifying
from retrieval.classify.classes import named
from retrieval.classify.classify import Asked, classify
from retrieval.classify.labelled import held_out
from retrieval.errors import QueryError
from retrieval.filters import Filter
from retrieval.query import Searcher
from storage import table
from storage.lock import sole_writer

KINDS = ("dog", "cat", "train", "bell")
EACH = 12
COLOURS = ("red", "blue", "green", "white", "black", "yellow")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Texts of four kinds, a copy, a long text of several segments, one of no kind; and their labels, good and useless ones."""
    home = tmp_path_factory.mktemp("classify")
    bucket = home / "bucket"
    bucket.mkdir()
    for kind in KINDS:
        for k in range(EACH):
            (bucket / f"{kind} {k}.txt").write_text(f"a {('small', 'big')[k % 2]} {COLOURS[k // 2]} {kind}")
    shutil.copy(bucket / "dog 0.txt", bucket / "a copy.txt")
    (bucket / "long.txt").write_text(" ".join(f"a {colour} bell rings in the night." for colour in COLOURS * 6))
    (bucket / "rain.txt").write_text("rain")
    embed(bucket, home / "lance", workers=1)
    lines = [(f"bucket/{kind} {k}.txt", kind) for kind in KINDS for k in range(EACH)]
    lines += [("bucket/a copy.txt", "dog"), ("bucket/none.txt", "dog"), ("bucket/rain.txt", "")]
    write_list(home / "labels.csv", lines)
    write_list(home / "few.csv", [line for line in lines if line[0].endswith((" 1.txt", " 4.txt", " 7.txt"))])
    return home


def write_list(path, lines):
    pl.DataFrame(lines, schema=["uri", "label"], orient="row").write_csv(path)


@pytest.fixture
def own(home, tmp_path):
    """A bucket and a table to change."""
    shutil.copytree(home / "bucket", tmp_path / "bucket")
    shutil.copytree(home / "lance", tmp_path / "lance")
    return tmp_path


def run(home, *arguments, database=None):
    return CliRunner().invoke(app, ["classify", str(database or home / "lance"), *map(str, arguments)])


def answer(home, *arguments, database=None):
    done = run(home, *arguments, "--json", database=database)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def refusal(home, *arguments):
    done = run(home, *arguments)
    assert done.exit_code == 2 and done.stderr.startswith("sensorium: ") and done.stderr.count("\n") == 1, done.output
    return done.stderr


def name(uri):
    return uri.rpartition("/")[2]


def kinds(own):
    """The column `kind` of what lies in a bucket of one's own, by file name."""
    return {name(row["uri"]): row["kind"] for row in rows(own / "lance") if row["uri"].startswith(f"file://{own.resolve()}/bucket/")}


@pytest.fixture(scope="module")
def searcher(home):
    return Searcher(str(home / "lance"))


@pytest.fixture(scope="module")
def learned(home):
    return answer(home, "--examples", home / "labels.csv", "--evaluate", 0.25)


# by words


@pytest.mark.parametrize("classes", ["dog,cat,train,bell", "狗,猫,火车,铃铛"])
def test_names_in_any_language_classify_without_examples(home, classes):
    found = answer(home, "--classes", classes)
    words = classes.split(",")
    right = [
        row["label"] == words[KINDS.index(name(row["uri"]).split()[0])]
        for row in found["rows"]
        if name(row["uri"])[0] in "dctb" and "0" <= name(row["uri"])[-5] <= "9"
    ]
    assert len(right) == len(KINDS) * EACH and np.mean(right) > 0.9
    assert found["method"] == "zero-shot" and found["examples"] is None and found["evaluation"] is None
    assert found["objects"] == len(found["rows"]) == sum(found["labels"].values()) == len(KINDS) * EACH + 3


def test_without_examples_probabilities_are_a_softmax_by_the_spaces_own_scale_and_the_answer_says_so(home, searcher):
    found = answer(home, "--classes", "dog,cat,train,bell")
    scale = learned_scale(searcher.space)
    assert found["calibration"] == "space" and found["scale"] == scale
    described = searcher.embed_texts(KINDS)
    for row in found["rows"][:5]:
        vector = searcher.vectors_of(row["uri"]).mean(axis=0)
        cosines = [float(vector / np.linalg.norm(vector) @ c) for c in described]
        total = sum(math.exp(scale * cosine) for cosine in cosines)
        assert row["probability"] == pytest.approx(math.exp(scale * max(cosines)) / total, abs=1e-3)
        assert row["score"] == pytest.approx(max(cosines), abs=1e-3)
    assert "not calibrated on examples" in run(home, "--classes", "dog,cat,train,bell").stdout


def test_a_space_without_a_scale_gives_scores_and_no_probabilities(home, monkeypatch):
    monkeypatch.setattr(classifying, "learned_scale", lambda space: None)
    found = answer(home, "--classes", "dog,cat")
    assert (found["calibration"], found["scale"]) == ("none", None)
    assert {row["probability"] for row in found["rows"]} == {None}
    assert "uncalibrated scores" in run(home, "--classes", "dog,cat").stdout
    assert "needs probabilities" in refusal(home, "--classes", "dog,cat", "--threshold", 0.5)


def test_prompts_and_templates_are_the_mean_of_their_vectors(home, searcher):
    (home / "classes.toml").write_text('dog = ["dog", "狗"]\nnot = "train"\n', encoding="utf-8")
    found = answer(home, "--classes", home / "classes.toml", "--template", "a big {}", "--template", "{}")
    prompts = searcher.embed_texts(["a big dog", "dog", "a big 狗", "狗"]).sum(axis=0)
    row = next(row for row in found["rows"] if name(row["uri"]) == "dog 3.txt")
    assert row["score"] == pytest.approx(float(searcher.vectors_of(row["uri"])[0] @ prompts / np.linalg.norm(prompts)), abs=1e-3)


def test_examples_calibrate_what_learns_from_none(home):
    found = answer(home, "--classes", "dog,cat,train,bell", "--examples", home / "labels.csv", "--method", "zero-shot")
    assert (found["calibration"], [one["setting"] for one in found["tried"]]) == ("examples", ["zero-shot"])
    assert found["scale"] == found["tried"][0]["scale"] and found["evaluation"]["calibration_error"] < 0.2


# by examples


def test_every_method_is_tried_and_the_best_is_taken(learned):
    settings = [one["setting"] for one in learned["tried"]]
    assert sorted({one["method"] for one in learned["tried"]}) == ["centroids", "logistic", "neighbours", "zero-shot"]
    assert learned["setting"] == settings[0] and learned["tried"][0]["accuracy"] == max(one["accuracy"] for one in learned["tried"])
    assert {one["examples"] for one in learned["tried"]} == {len(KINDS) * 9}


def test_rows_of_the_list_are_counted(learned):
    counts = learned["examples"]
    assert counts == {
        **{"rows": 51, "used": 48, "unlabelled": 1, "unknown": 1, "outside": 0, "repeated": 1, "contradicting": 0, "learned": 0},
        "by_class": dict.fromkeys(sorted(KINDS), EACH),
        "unknown_uris": counts["unknown_uris"],
    }
    assert counts["unknown_uris"][0].endswith("/bucket/none.txt")


def test_the_judgement_is_that_of_scikit_learn_on_the_very_same_objects(home, searcher):
    found = answer(home, "--examples", home / "labels.csv", "--method", "centroids", "--evaluate", 0.25)
    held = {name(row["uri"]): row for row in rows(home / "lance") if row["segment"] == 0}
    kinds = [(f"{kind} {k}.txt", kind) for kind in KINDS for k in range(EACH)]
    vectors = np.array([held[file]["vector"] for file, _ in kinds], np.float32)
    labels, contents = np.array([KINDS.index(kind) for _, kind in kinds]), [held[file]["content_hash"] for file, _ in kinds]
    out = held_out(contents, labels, 0.25, seed=1)
    predicted = NearestCentroid().fit(vectors[~out], labels[~out]).predict(vectors[out])
    told = found["evaluation"]
    assert told["objects"] == out.sum() == 12
    assert told["accuracy"]["value"] == pytest.approx(np.mean(predicted == labels[out]))
    assert told["macro_f1"]["value"] == pytest.approx(f1_score(labels[out], predicted, average="macro"))
    assert np.trace(told["confusion"]) == (predicted == labels[out]).sum()


def test_labels_come_from_all_examples_once_what_was_kept_apart_has_judged(home):
    rows_of = [answer(home, "--examples", home / "labels.csv", "--method", "centroids", "--evaluate", share)["rows"] for share in (0, 0.5)]
    assert [row["label"] for row in rows_of[0]] == [row["label"] for row in rows_of[1]]
    assert [row["score"] for row in rows_of[0]] == pytest.approx([row["score"] for row in rows_of[1]])


def test_a_list_of_its_own_judges_without_what_was_learned_from(home):
    found = answer(home, "--examples", home / "few.csv", "--evaluate", home / "labels.csv", "--method", "centroids")
    told = found["evaluation"]
    assert (found["examples"]["used"], told["objects"], told["list"]["learned"]) == (12, 36, 12)
    assert (told["from"], told["list"]["unknown"]) == ("file", 1)


def test_a_copy_has_its_twins_label_and_is_never_judged_by_it(learned):
    by_name = {name(row["uri"]): row for row in learned["rows"]}
    assert (by_name["a copy.txt"]["label"], by_name["a copy.txt"]["score"]) == (
        by_name["dog 0.txt"]["label"],
        by_name["dog 0.txt"]["score"],
    )


def test_an_object_of_several_segments_is_classified_by_their_mean(home, searcher):
    vectors = searcher.vectors_of(next(row["uri"] for row in rows(home / "lance") if name(row["uri"]) == "long.txt"))
    assert len(vectors) > 1
    found = answer(home, "--classes", "bell,dog")
    [row] = [row for row in found["rows"] if name(row["uri"]) == "long.txt"]
    mean = vectors.mean(axis=0)
    assert row["score"] == pytest.approx(float((searcher.embed_texts(["bell", "dog"]) @ mean).max() / np.linalg.norm(mean)), abs=1e-3)


def test_blocks_of_objects_make_no_difference(searcher, monkeypatch):
    whole = classify(searcher, Asked(named(KINDS))).labels
    monkeypatch.setattr(classifying, "BLOCK", 7)
    assert_frame_equal(classify(searcher, Asked(named(KINDS))).labels, whole, abs_tol=1e-5)
    assert whole.get_column("uri").to_list() == read(searcher.table).objects.get_column("uri").to_list()


def test_with_one_example_a_class_a_named_method_still_answers_and_says_that_it_is_not_calibrated(home, tmp_path):
    write_list(tmp_path / "one.csv", [(f"{home}/bucket/{kind} 1.txt", kind) for kind in KINDS])
    for method in ("centroids", "neighbours", "logistic"):
        found = answer(home, "--examples", tmp_path / "one.csv", "--method", method)
        assert (found["calibration"], found["tried"], found["evaluation"]) == ("none", [], None)
        assert next(row["label"] for row in found["rows"] if name(row["uri"]) == "cat 1.txt") == "cat"
    assert "not judged" in run(home, "--examples", tmp_path / "one.csv", "--method", "centroids").stdout


def test_below_the_threshold_there_is_no_label_and_that_is_counted(home):
    found = answer(home, "--examples", home / "labels.csv", "--threshold", 0.6, "--evaluate", 0.25, "--method", "centroids")
    for row in found["rows"]:
        assert (row["label"] is None) is (row["probability"] < 0.6)
    none = sum(row["label"] is None for row in found["rows"])
    assert found["none"] == none and sum(found["labels"].values()) == found["objects"] - none
    above = found["evaluation"]["above_threshold"]
    assert 0 < above["objects"] <= 12 and 0 <= above["accuracy"] <= 1


def test_filters_leave_out_what_is_classified_and_which_examples_are_used(home, searcher):
    root = rows(home / "lance")[0]["source"]
    found = answer(
        home, "--classes", "dog,cat,train,bell", "--examples", home / "labels.csv", "--method", "zero-shot", "--prefix", f"{root}/dog"
    )
    assert {name(row["uri"]).split()[0] for row in found["rows"]} == {"dog"}
    assert (found["objects"], found["examples"]["used"], found["examples"]["outside"]) == (EACH, EACH, 37)
    uris = frozenset(row["uri"] for row in found["rows"][:3])
    assert classify(searcher, Asked(named(KINDS), keep=Filter(uris=uris))).labels.get_column("uri").to_list() == sorted(uris)


def test_labels_that_are_no_words_leave_zero_shot_untried_and_say_why(home, monkeypatch):
    def failing(self, texts):
        raise QueryError("text 1 has no vector")

    monkeypatch.setattr(Searcher, "embed_texts", failing)
    found = answer(home, "--examples", home / "labels.csv")
    assert found["untried"] == {"zero-shot": "text 1 has no vector"} and "zero-shot" not in {one["method"] for one in found["tried"]}


# refusals


def test_what_makes_no_sense_is_refused_in_one_line_that_says_what_to_do(home, tmp_path):
    labels = home / "labels.csv"
    write_list(tmp_path / "one class.csv", [(f"{home}/bucket/dog {k}.txt", "dog") for k in range(4)])
    write_list(
        tmp_path / "one of one.csv", [(f"{home}/bucket/dog {k}.txt", "dog") for k in range(4)] + [(f"{home}/bucket/cat 1.txt", "cat")]
    )
    write_list(tmp_path / "strangers.csv", [("s3://b/x", "dog")])
    (tmp_path / "empty.csv").write_text("uri,label\n")
    for arguments, told in (
        ((), "nothing says what the classes are"),
        (("--classes", "dog"), "two or more"),
        (("--examples", tmp_path / "one class.csv"), "all examples have the label 'dog'"),
        (("--examples", tmp_path / "one of one.csv"), "class 'cat' has a single example"),
        (("--examples", tmp_path / "strangers.csv"), "1 unknown, such as 's3://b/x'"),
        (("--examples", tmp_path / "empty.csv"), "the list is empty"),
        (("--examples", labels, "--classes", "dog,cat,train"), "label 'bell' of 12 example(s) is not among the classes"),
        (("--examples", labels, "--classes", "dog,cat,train,bell,frog"), "class 'frog' has no example"),
        (("--examples", labels, "--evaluate", labels), "every object of the evaluation is among the examples"),
        (("--examples", labels, "--evaluate", 1.5), "share 1.5"),
        (("--classes", "dog,cat", "--method", "logistic"), "learns from examples"),
        (("--classes", "dog,cat", "--method", "knn"), "there is no method 'knn'"),
        (("--classes", "dog,cat", "--evaluate", labels), "give them as --examples"),
        (("--classes", "dog,cat", "--medium", "video"), "no object that passes"),
        (("--classes", "dog,cat", "--medium", "films"), "there is no medium"),
        (("--classes", "dog,cat", "--column", "vector"), "column of the pipeline"),
        (("--classes", "dog,cat", "--output", tmp_path / "x.pdf"), "cannot be written"),
    ):
        assert told in refusal(home, *arguments), arguments


# written down


def test_all_labels_go_into_a_file_of_any_format(home, tmp_path):
    for file, reading in (("l.csv", pl.read_csv), ("l.parquet", pl.read_parquet), ("l.jsonl", pl.read_ndjson)):
        found = answer(home, "--classes", "dog,cat,train,bell", "--output", tmp_path / file)
        assert found["rows"] is None and found["output"] == str(tmp_path / file)
        frame = reading(tmp_path / file)
        assert frame.columns == ["uri", "medium", "label", "probability", "score"] and frame.height == found["objects"]


def test_labels_in_the_table_are_searched_with_and_updated_not_doubled(own):
    database = own / "lance"
    before = table.published(table.connect(str(database)), "media").version
    first = answer(own, "--classes", "dog,cat", "--column", "kind")["column"]
    assert first == {"name": "kind", "version": before + 1, "published": True, "objects": len(KINDS) * EACH + 3, "changed": 0}
    second = answer(own, "--classes", "dog,cat,train,bell", "--column", "kind")
    assert second["column"]["version"] == before + 2
    held = {row["uri"]: (row["kind"], row["kind_probability"]) for row in rows(database)}
    assert {uri: label for uri, (label, _) in held.items()} == {row["uri"]: row["label"] for row in second["rows"]}
    assert [p for _, p in held.values()] == pytest.approx([row["probability"] for row in second["rows"]], abs=1e-6)
    assert [*rows(database)[0]].count("kind") == 1
    searcher = Searcher(str(database))
    assert searcher.search("a dog", limit=1)[0].uri in {uri for uri, (label, _) in held.items() if label == "dog"}


def test_a_table_with_labels_is_embedded_again_as_before(own):
    bucket, database = own / "bucket", own / "lance"
    embed(bucket, database, workers=1)  # the bucket of the table's first rows stands elsewhere
    answer(own, "--classes", "dog,cat,train,bell", "--column", "kind")
    labels = kinds(own)
    (bucket / "new.txt").write_text("a yellow drum")
    (bucket / "cat 1.txt").write_text("a big white frog at night")
    shutil.copy(bucket / "train 2.txt", bucket / "another name.txt")
    (bucket / "bell 3.txt").rename(bucket / "renamed.txt")
    (bucket / "dog 5.txt").unlink()
    account = embed(bucket, database, workers=1)
    assert (account.embedded, account.reused, account.deleted) == (4, 2, 2)
    after = kinds(own)
    expected = {k: v for k, v in labels.items() if k not in ("dog 5.txt", "bell 3.txt")} | {"new.txt": None, "cat 1.txt": None}
    assert after == expected | {"another name.txt": labels["train 2.txt"], "renamed.txt": labels["bell 3.txt"]}
    found = answer(own, "--classes", "dog,cat,frog,drum", "--column", "kind")
    assert found["column"]["objects"] == len(after) + len(KINDS) * EACH + 3
    assert None not in {row["kind"] for row in rows(database)}


def test_a_column_is_not_written_while_another_run_writes(own):
    with sole_writer(str(own / "lance"), "media"):
        assert "busy" in refusal(own, "--classes", "dog,cat", "--column", "kind")
    assert "kind" not in rows(own / "lance")[0]


def test_a_person_is_told_what_was_tried_judged_and_written(home, own):
    told = run(home, "--examples", home / "labels.csv", "--column", "kind", "--threshold", 0.3, database=own / "lance").stdout
    for words in ("51 objects in 4 classes", "by cross-validation", "judged by", "macro F1", "is, taken for:", "unknown", "readers see it"):
        assert words in told
    assert command.__doc__ and load_space("miniature").name in told
