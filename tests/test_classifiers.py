"""Every way to a class against scikit-learn's own and against loops; methods are compared on what they did not learn from."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, precision_recall_fscore_support
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid

from encoders import headed, miniature
from encoders.align import heads
from encoders.align.heads import Head
from encoders.logit_scale import learned_scale
from encoders.spaces import load_space
from retrieval.classify import classes, cross_validation
from retrieval.classify import classification_report as figures
from retrieval.classify.classes import Classes
from retrieval.classify.classifiers import LEARNING, NEIGHBOURS, SHARPNESS, SPARE, centroids, logistic, neighbours, zero_shot
from retrieval.classify.probabilities import softmax
from retrieval.errors import QueryError


def blobs(n: int, number: int, seed: int = 0, noise: float = 0.9, d: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors around one direction a class, with overlap."""
    centres = np.random.default_rng(99).normal(size=(number, d))
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % number
    vectors = centres[labels] + noise * rng.normal(size=(n, d)) * 1.2
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), labels


@pytest.mark.parametrize("number", [2, 3, 7])
def test_centroids_answer_as_scikit_learns_nearest_centroid(number):
    (vectors, labels), (asked, _) = blobs(90, number), blobs(200, number, seed=1)
    scores = centroids(vectors, labels, number)(asked)
    assert (scores.argmax(axis=1) == NearestCentroid().fit(vectors, labels).predict(asked)).all()
    means = [np.mean([v for v, k in zip(vectors, labels, strict=True) if k == c], axis=0) for c in range(number)]
    naive = [[-sum((x - m) ** 2) / 2 for m in means] for x in asked[:20]]
    np.testing.assert_allclose(scores[:20], naive, atol=1e-5)


@pytest.mark.parametrize(("n", "number"), [(90, 3), (4, 2), (300, 7)])
def test_neighbours_vote_by_the_exponential_of_their_cosine(n, number):
    (vectors, labels), (asked, _) = blobs(n, number), blobs(40, number, seed=1)
    scores = neighbours(vectors, labels, number)(asked)
    for row, x in zip(scores, asked, strict=True):
        cosines = [float(x @ v) for v in vectors]
        nearest = sorted(range(n), key=lambda i: -cosines[i])[:NEIGHBOURS]
        votes = [sum(math.exp(cosines[i] / SHARPNESS) for i in nearest if labels[i] == k) for k in range(number)]
        shares = [(vote / sum(votes) + SPARE / number) / (1 + SPARE) for vote in votes]
        np.testing.assert_allclose(row, np.log(shares), atol=1e-3)
        assert sum(np.exp(row)) == pytest.approx(1)


def test_with_one_example_a_class_neighbours_and_centroids_are_the_nearest_example():
    (vectors, labels), (asked, _) = blobs(5, 5), blobs(100, 5, seed=2)
    nearest = KNeighborsClassifier(1).fit(vectors, labels).predict(asked)
    for fit in (neighbours, centroids):
        assert (fit(vectors, labels, 5)(asked).argmax(axis=1) == nearest).all()


@pytest.mark.parametrize("number", [2, 3, 7])
def test_logistic_scores_are_the_logits_of_scikit_learns_probabilities(number):
    (vectors, labels), (asked, _) = blobs(90, number), blobs(50, number, seed=1)
    scores = logistic(10.0)(vectors, labels, number)(asked)
    assert scores.shape == (50, number)
    expected = LogisticRegression(C=10, max_iter=5_000, tol=1e-8).fit(vectors, labels).predict_proba(asked)
    np.testing.assert_allclose(softmax(scores), expected, atol=1e-2)


def test_zero_shot_is_the_cosine_with_each_class_and_learns_from_nothing():
    described, _ = blobs(4, 4)
    asked, _ = blobs(30, 4, seed=1)
    scores = zero_shot(described)(np.empty((0, 12)), np.empty(0, int), 4)(asked)
    np.testing.assert_allclose(scores, [[sum(a * b for a, b in zip(x, c, strict=True)) for c in described] for x in asked], atol=1e-6)


def test_prompts_are_ensembled_as_the_mean_of_unit_vectors():
    told = {"a dog": [1, 0, 0], "狗": [0, 1, 0], "a cat": [0, 0, 1]}
    given = Classes(("dog", "cat"), (("a dog", "狗"), ("a cat",)))
    found = classes.embed(given, lambda texts: np.array([told[text] for text in texts], np.float32))
    np.testing.assert_allclose(found, [[math.sqrt(0.5), math.sqrt(0.5), 0], [0, 0, 1]], atol=1e-6)


def test_classes_that_have_the_same_vector_are_refused():
    with pytest.raises(QueryError, match="'dog' and 'hound' have the same vector"):
        classes.embed(classes.named(["cat", "dog", "hound"]), lambda texts: np.array([[1, 0], [0, 1], [0, 1]], np.float32))


def test_classes_are_names_with_commas_or_a_file_of_prompts_around_which_templates_go(tmp_path):
    assert classes.parse("dog, cat，鸟") == Classes(("dog", "cat", "鸟"), (("dog",), ("cat",), ("鸟",)))
    file = tmp_path / "classes.toml"
    file.write_text('"a dog, any" = ["dog", "狗"]\ncat = "cat"\n', encoding="utf-8")
    given = classes.parse(str(file), ["a {}", "{} here"])
    assert given == Classes(("a dog, any", "cat"), (("a dog", "dog here", "a 狗", "狗 here"), ("a cat", "cat here")))


@pytest.mark.parametrize(
    ("asked", "text", "told"),
    [
        ("dog", "", "two or more"),
        ("dog,dog", "", "'dog' stands twice"),
        ("dog,,cat", "", "'' has an empty name"),
        ("none.toml", None, "there is no file"),
        ("c.toml", "dog = [", "cannot be read as TOML"),
        ("c.toml", "dog = 3\ncat = 'x'", "class 'dog' is 3"),
        ("c.toml", "dog = []\ncat = 'x'", "class 'dog' has an empty"),
        ("c.toml", "dog = ['a', ' ']\ncat = 'x'", "class 'dog' has an empty"),
        ("c.toml", "dog = 'a dog'", "two or more"),
    ],
)
def test_classes_that_cannot_be_told_apart_or_read_are_refused_with_what_to_write(tmp_path, monkeypatch, asked, text, told):
    monkeypatch.chdir(tmp_path)
    if text:
        Path(asked).write_text(text)
    with pytest.raises(QueryError, match=told):
        classes.parse(asked)


def test_a_template_without_a_place_is_refused():
    with pytest.raises(QueryError, match="has no place"):
        classes.parse("dog,cat", ["a photo"])


def test_no_example_is_judged_by_what_learned_from_it():
    vectors, labels = blobs(60, 3)
    seen = []

    def spy(learned, learned_labels, number):
        rows = {row.tobytes() for row in learned}
        assert set(learned_labels.tolist()) == {0, 1, 2}
        seen.append(len(learned))

        def scores(asked):
            assert not rows & {row.tobytes() for row in asked}
            return asked[:, :number]

        return scores

    tried = cross_validation.compare({"spy": {"spy": spy}}, vectors, labels, 3)
    assert seen == [48] * 5 and [one.examples for one in tried] == [60]
    assert tried[0].accuracy == accuracy_score(labels, vectors[:, :3].argmax(axis=1))
    assert tried[0].macro_f1 == pytest.approx(f1_score(labels, vectors[:, :3].argmax(axis=1), average="macro"))


def test_the_best_of_all_settings_comes_first_and_two_examples_a_class_are_enough():
    vectors, labels = blobs(40, 2, noise=0.7)
    described = np.stack([vectors[labels == k].mean(axis=0) for k in (1, 0)])  # every name is wrong
    tried = cross_validation.compare({"zero-shot": {"zero-shot": zero_shot(described)}, **LEARNING}, vectors, labels, 2)
    assert [one.setting for one in tried][-1] == "zero-shot"
    assert [(-one.accuracy, one.log_loss) for one in tried] == sorted((-one.accuracy, one.log_loss) for one in tried)
    assert len(cross_validation.compare(LEARNING, vectors[:4], labels[:4], 2)) == 6


def test_of_very_many_examples_a_part_is_taken_with_two_of_each_class(monkeypatch):
    monkeypatch.setattr(cross_validation, "MOST", 100)
    vectors, labels = blobs(1_000, 2)
    labels[:3] = 2
    judged = cross_validation.compare({"centroids": {"centroids": centroids}}, vectors, labels, 3)[0]
    assert 98 <= judged.examples <= 102


@pytest.mark.parametrize("seed", range(4))
def test_accuracy_macro_f1_and_figures_of_classes_are_scikit_learns(seed):
    rng = np.random.default_rng(seed)
    truth, predicted = rng.integers(0, 4, 60), rng.integers(0, 4 + seed % 2, 60)  # a class may never occur, or only be given
    names = ["a", "b", "c", "d", "e"]
    told = figures.report(truth, predicted, names)
    assert told["confusion"] == confusion_matrix(truth, predicted, labels=range(5)).tolist()
    assert told["accuracy"]["value"] == accuracy_score(truth, predicted)
    assert told["macro_f1"]["value"] == pytest.approx(f1_score(truth, predicted, average="macro"))
    expected = precision_recall_fscore_support(truth, predicted, labels=range(5), zero_division=0)
    for k, name in enumerate(names):
        found = [told["classes"][name][figure] or 0 for figure in ("precision", "recall", "f1", "objects")]
        assert found == pytest.approx([column[k] for column in expected])


def test_mistakes_are_named_most_frequent_first():
    told = figures.report(np.array([0, 0, 0, 1, 1]), np.array([1, 1, 0, 0, 1]), ["cat", "dog"])
    assert told["mistakes"] == [{"is": "cat", "taken_for": "dog", "objects": 2}, {"is": "dog", "taken_for": "cat", "objects": 1}]


def test_the_interval_of_macro_f1_is_that_of_drawing_objects_and_of_accuracy_wilsons():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 120)
    predicted = np.where(rng.random(120) < 0.7, truth, rng.integers(0, 3, 120))
    told = figures.report(truth, predicted, ["a", "b", "c"])
    drawn = []
    for _ in range(1_000):
        some = rng.integers(0, 120, 120)
        drawn.append(f1_score(truth[some], predicted[some], average="macro"))
    ends = np.quantile(drawn, (0.025, 0.975))
    assert [told["macro_f1"][end] for end in ("low", "high")] == pytest.approx(ends.tolist(), abs=0.015)
    p, z, n = told["accuracy"]["value"], 1.959964, 120
    half = z * math.sqrt(p * (1 - p) / n + z * z / 4 / n / n) / (1 + z * z / n)
    middle = (p + z * z / 2 / n) / (1 + z * z / n)
    assert [told["accuracy"][end] for end in ("low", "high")] == pytest.approx([middle - half, middle + half])


def test_where_all_was_right_accuracy_has_a_lower_end_and_macro_f1_none():
    told = figures.report(np.arange(8) % 2, np.arange(8) % 2, ["a", "b"])
    assert told["accuracy"]["low"] == pytest.approx(8 / (8 + 1.959964**2)) and told["accuracy"]["high"] == 1
    assert told["macro_f1"] == {"value": 1.0, "low": None, "high": None}


def test_the_scale_that_a_space_was_trained_with_is_read_from_its_text_encoders_weights():
    held = load_file(Path(miniature.__file__).parent / "clip" / "model.safetensors")["logit_scale"]
    assert learned_scale(load_space("miniature")) == pytest.approx(math.exp(float(held)))


def test_a_space_with_trained_heads_or_without_texts_has_no_scale(tmp_path):
    space = load_space("miniature")
    audio = space.encoders["audio"].base
    heads.save(Head("linear", 128, 128), tmp_path / "head.safetensors")
    trained = headed.spec_of(audio, str(tmp_path / "head.safetensors"))
    assert learned_scale(replace(space, encoders={**space.encoders, "audio": trained})) is None
    assert learned_scale(replace(space, encoders={"image": space.encoders["image"]})) is None
    assert learned_scale(replace(space, encoders={"text": replace(space.encoders["text"], weights="/nowhere")})) is None
