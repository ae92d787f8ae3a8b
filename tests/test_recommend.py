"""Recommendations: nothing seen comes back, nor a copy of it; lists, popularity and every figure against plain loops over the rows."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from encoders.spaces import load_space
from flows.cli import app
from flows.interactions_file import open_interactions
from retrieval import known_objects
from retrieval.errors import QueryError
from retrieval.filters import Filter
from retrieval.query import Searcher
from retrieval.recommend import catalogue as catalogues
from retrieval.recommend.interactions import match, opinions, read
from retrieval.recommend.recommend import NoTasteError, explained, recommend, recommend_to
from retrieval.recommend.recommend_all import recommend_all
from retrieval.recommend.recommend_evaluation import METHODS, divide, evaluate
from retrieval.recommend.taste import Taste, TasteSettings
from storage import batches, schema, table

THEMES = ("red", "dog", "night")
MEDIA = {"image": "png", "audio": "wav", "video": "mp4"}
NOW = datetime(2026, 1, 2, tzinfo=UTC)
ONE = TasteSettings(most=1)
TIE = 3e-3  # the engine rounds the query to the table's float16


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A table of pictures, sounds and videos of three segments, each near one of three axes, and two copies of each tenth; interactions."""
    home = tmp_path_factory.mktemp("recommend")
    space = load_space("miniature")
    rng = np.random.default_rng(5)
    segments, vectors = [], []
    for theme, medium, k in ((theme, medium, k) for theme in range(3) for medium in MEDIA for k in range(20)):
        count = 3 if medium == "video" else 1
        own = np.eye(space.dimension)[theme] + 0.08 * rng.standard_normal((count, space.dimension))
        own = (own / np.linalg.norm(own, axis=1, keepdims=True)).astype(np.float16)
        for copy in ("", " copy", " copy 2") if k % 10 == 0 else ("",):
            name = f"file:///bucket/{THEMES[theme]}/{medium} {k:02}{copy}.{MEDIA[medium]}"
            segments += [
                (name, s, f"{theme} {medium} {k}", medium, "audio" if (medium, s) == ("video", 2) else SEEN[medium]) for s in range(count)
            ]
            vectors.append(own)
    order = rng.permutation(len(segments))
    names = [segments[k] for k in order]
    columns = {name: [row[at] for row in names] for at, name in enumerate(("uri", "segment", "content_hash", "medium", "modality"))}
    columns |= {"source": "file:///bucket", "size": 1, "modified": NOW, "embedded_at": NOW, "run": "r1"}
    held = table.create(table.connect(str(home / "lance")), "media", space.to_json(), space.generation, space.dimension)
    held.add(batches.rows(schema.rows(space.dimension), columns, np.concatenate(vectors)[order].astype(np.float32)))
    table.publish(held, held.version)
    interactions(sorted({row[0] for row in segments})).write_csv(home / "likes.csv")
    return home


SEEN = {"image": "image", "audio": "audio", "video": "image"}


def interactions(names, seed=2):
    """Forty users with one or two themes, some noise, dislikes and repetitions; one who likes only what is gone, one who dislikes hits."""
    rng = np.random.default_rng(seed)
    rows = [("lost", "file:///bucket/gone.png", 1.0, 1.0), ("lost", "file:///bucket/gone too.png", 1.0, 2.0)]
    for user in range(40):
        themes = rng.choice(THEMES, int(rng.integers(1, 3)), replace=False)
        for time in range(int(rng.integers(2, 14))):
            pool = [name for name in names if f"/{rng.choice(themes)}/" in name] if rng.random() < 0.85 else names
            rows.append((f"user {user:02}", str(rng.choice(pool or names)), -1.0 if rng.random() < 0.15 else 1.0, 86_400.0 * time))
    hits = Counter(item for _, item, weight, _ in rows if weight > 0).most_common(3)
    rows += [("sour", item, -1.0, 3.0) for item, _ in hits]
    return pl.DataFrame([rows[k] for k in rng.permutation(len(rows))], schema=["user", "item", "weight", "time"], orient="row")


@pytest.fixture(scope="module")
def searcher(home):
    return Searcher(str(home / "lance"))


@pytest.fixture(scope="module")
def slow(home):
    return Slow(home)


class Slow:
    """The table as plain dicts, and recommendations by loops over them."""

    def __init__(self, home):
        self.objects = {}
        for row in (
            table.published(table.connect(str(home / "lance")), "media")
            .to_arrow()
            .sort_by([("uri", "ascending"), ("segment", "ascending")])
            .to_pylist()
        ):
            kept = self.objects.setdefault(row["uri"], {"content": row["content_hash"], "medium": row["medium"], "rows": []})
            kept["rows"].append((row["modality"], np.array(row["vector"], np.float64)))
        self.vectors = {uri: unit(np.mean([vector for _, vector in each["rows"]], axis=0)) for uri, each in self.objects.items()}

    def content(self, uri):
        return self.objects[uri]["content"]

    def opinions(self, rows, half_life=None):
        """What one user thinks, by content; rows are (uri, weight, time)."""
        latest = max((time for *_, time in rows), default=0)
        found = {}
        for uri, weight, time in rows:
            found[self.content(uri)] = found.get(self.content(uri), 0) + weight * (
                0.5 ** ((latest - time) / 86_400 / half_life) if half_life else 1
            )
        return found

    def one_vector(self, thought, beta=0.2):
        by_content = {self.content(uri): self.vectors[uri] for uri in self.objects}
        likes = [(w, by_content[c]) for c, w in thought.items() if w > 0]
        dislikes = [(-w, by_content[c]) for c, w in thought.items() if w < 0]
        query = sum(w * v for w, v in likes) / sum(w for w, _ in likes)
        return unit(query - (beta * sum(w * v for w, v in dislikes) / sum(w for w, _ in dislikes) if dislikes else 0))

    def ranked(self, query, seen, modality=None, medium=None):
        """Contents not seen and their best score, best first."""
        best = {}
        for each in self.objects.values():
            scores = [float(vector @ query) for m, vector in each["rows"] if modality in (None, m)]
            if scores and each["content"] not in seen and medium in (None, each["medium"]):
                best[each["content"]] = max(scores)
        return sorted(best.items(), key=lambda item: -item[1])


def unit(vector):
    return vector / np.sqrt((vector**2).sum())


def rows_of(home, user):
    rows = pl.read_csv(home / "likes.csv").filter(pl.col("user") == user)
    return list(rows.select("item", "weight", "time").iter_rows())


def named(theme, medium, *numbers):
    return [f"file:///bucket/{theme}/{medium} {k:02}.{MEDIA[medium]}" for k in numbers]


def theme_of(uri):
    return uri.split("/")[4]


def uris(found):
    return [offer.hit.uri for offer in found.offers]


def test_one_vector_gives_the_nearest_contents_by_their_best_segment(searcher, slow):
    likes, dislikes = [*named("red", "video", 1, 2), *named("red", "image", 3)], named("dog", "video", 4)
    found = recommend(searcher, dict.fromkeys(likes, 1.0) | dict.fromkeys(dislikes, -1.0), settings=ONE, limit=25)
    thought = slow.opinions([(uri, 1, 0) for uri in likes] + [(uri, -1, 0) for uri in dislikes])
    expected = slow.ranked(slow.one_vector(thought), thought)[:25]
    np.testing.assert_allclose([offer.hit.score for offer in found.offers], [score for _, score in expected], atol=TIE)
    scores = dict(slow.ranked(slow.one_vector(thought), thought))
    np.testing.assert_allclose([scores[slow.content(uri)] for uri in uris(found)], [score for _, score in expected], atol=TIE)
    assert (found.liked, found.disliked, found.shares, found.popular) == (3, 1, (1.0,), False)


def test_nothing_seen_comes_back_nor_a_copy_of_it_and_nothing_comes_twice(searcher, slow):
    likes = named("red", "image", 0, 10) + named("red", "audio", 0)
    weights = dict.fromkeys(likes, 1.0) | dict.fromkeys(named("red", "video", 0), -1.0) | dict.fromkeys(named("red", "image", 5), 0.0)
    found = recommend(searcher, weights, limit=1000)
    contents = [slow.content(uri) for uri in uris(found)]
    assert len(set(contents)) == len(contents) == len({each["content"] for each in slow.objects.values()}) - 5
    assert not {slow.content(uri) for uri in weights} & set(contents)
    assert (found.copies, found.neutral) == (8, 1)  # two of each tenth


def test_two_interests_share_the_list_and_each_offer_says_what_it_is_like(searcher, slow):
    likes = named("red", "image", 1, 2, 3, 4, 6, 7) + named("night", "image", 1, 2, 3)
    found = recommend(searcher, dict.fromkeys(likes, 1.0), limit=9)
    assert found.shares == pytest.approx((2 / 3, 1 / 3))
    themes = [theme_of(uri) for uri in uris(found)]
    assert themes.count("red") == 6 and themes.count("night") == 3
    for offer in found.offers:
        theme = ("red", "night")[offer.taste - 1]
        own = [uri for uri in likes if f"/{theme}/" in uri]
        assert offer.because == max(own, key=lambda uri: slow.vectors[uri] @ slow.vectors[offer.hit.uri])
    one = recommend(searcher, dict.fromkeys(likes, 1.0), limit=9, settings=ONE)
    assert {theme_of(uri) for uri in uris(one)} == {"red"}  # the mean forgets the smaller interest


def test_an_offer_is_explained_by_a_like_that_went_into_its_own_taste(searcher, slow):
    likes = sorted(named("red", "image", 1) + named("dog", "image", 1))
    liked = known_objects.read(searcher.table, likes)
    made = Taste(liked.vectors, np.array([0.5, 0.5]), np.array([0, 1]))
    [hit] = searcher.nearest(liked.vectors[1:], limit=1)
    for number in (0, 1):  # as near to the second as can be
        assert explained(searcher, [(number, hit)], liked, made)[0].because == likes[number]


def test_a_copy_that_is_liked_twice_is_one_like(searcher):
    liked = named("red", "image", 10, 3)
    once = recommend(searcher, {liked[0]: 2.0, liked[1]: 1.0}, settings=ONE)
    twice = recommend(searcher, {liked[0]: 1.0, liked[0].replace(".png", " copy.png"): 1.0, liked[1]: 1.0}, settings=ONE)
    assert uris(once) == uris(twice) and len(twice.offers) == 10


def test_weights_decide_and_a_dislike_pushes_its_theme_down(searcher):
    weights = {named("red", "image", 1)[0]: 1.0, named("dog", "image", 1)[0]: 1.01}
    assert "/dog/" in uris(recommend(searcher, weights, settings=ONE))[0]
    weights[named("dog", "image", 2)[0]] = -1.0
    assert {theme_of(uri) for uri in uris(recommend(searcher, weights, settings=ONE))} == {"red"}


@pytest.mark.parametrize(
    "keep", [{"media": ("audio",)}, {"modality": "audio"}, {"prefix": "file:///bucket/dog/"}], ids=lambda keep: next(iter(keep))
)
def test_only_what_the_filter_leaves_is_offered_however_many_are_asked_for(home, searcher, slow, keep):
    keep, likes = Filter(**keep), named("red", "image", 1, 2)
    alone = recommend(searcher, dict.fromkeys(likes, 1.0), keep=keep, limit=1000)
    assert {slow.content(uri) for uri in uris(alone)} == {
        each["content"]
        for uri, each in slow.objects.items()
        if (not keep.media or each["medium"] in keep.media)
        and (not keep.modality or keep.modality in {m for m, _ in each["rows"]})
        and uri.startswith(keep.prefix or "")
    }
    catalogue = catalogues.read(searcher.table, keep)
    interactions = read(pl.DataFrame({"user": ["a", "a"], "item": likes}))
    lists = recommend_all(catalogue, ["a"], opinions(match(interactions, catalogue.items).frame), limit=1000)
    frame = lists.frame(catalogue)
    assert {slow.content(uri) for uri in frame.get_column("uri")} == {slow.content(uri) for uri in uris(alone)}
    np.testing.assert_allclose(frame.get_column("score"), [offer.hit.score for offer in alone.offers], atol=TIE)


def test_diversity_offers_fewer_that_are_alike_and_the_same_first(searcher, slow):
    likes = dict.fromkeys(named("red", "image", 1, 2, 3) + named("dog", "image", 1), 1.0)
    plain, spread = (recommend(searcher, likes, settings=ONE, limit=8, diversity=d) for d in (0.0, 0.8))

    def alikeness(found):
        vectors = np.stack([slow.vectors[uri] for uri in uris(found)])
        return (vectors @ vectors.T).mean()

    assert uris(plain)[0] == uris(spread)[0] and alikeness(spread) < alikeness(plain) - 0.02


def test_what_is_unknown_is_told_and_alone_refused(searcher):
    found = recommend(searcher, {"file:///bucket/gone.png": 1.0, named("red", "image", 1)[0]: 1.0, "s3://x/y": -1.0})
    assert found.unknown == ("file:///bucket/gone.png", "s3://x/y") and len(found.offers) == 10
    with pytest.raises(NoTasteError, match=r"nothing that is liked; it does not hold 'file:///bucket/gone.png' and 0 more"):
        recommend(searcher, {"file:///bucket/gone.png": 1.0, named("red", "image", 1)[0]: -1.0})


@pytest.mark.parametrize("diversity", [0.0, 0.4])
def test_one_user_alone_and_all_at_once_get_the_same_lists(home, searcher, slow, diversity):
    asked = open_interactions(home / "likes.csv")
    catalogue = catalogues.read(searcher.table)
    matched = match(asked, catalogue.items)
    lists = recommend_all(catalogue, matched.users, opinions(matched.frame, 5.0), limit=7, diversity=diversity)
    frame = lists.frame(catalogue)
    assert frame.columns == ["user", "rank", "uri", "medium", "score", "taste"] and {0, 1, 2} <= set(lists.vectors)
    shared = []
    for user in [*matched.users[:6], "sour", "lost"]:
        alone = recommend_to(searcher, asked, user, limit=7, half_life=5.0, diversity=diversity)
        mine = frame.filter(pl.col("user") == user).sort("rank")
        contents = [[slow.content(uri) for uri in each] for each in (mine.get_column("uri"), uris(alone))]
        if alone.popular:
            assert contents[0] == contents[1]
        shared.append(len(set(contents[0]) & set(contents[1])) / 7)
        assert mine.get_column("taste").to_list() == [offer.taste for offer in alone.offers]
        assert lists.vectors[matched.users.index(user)] == len(alone.shares)
        if not diversity and not alone.popular:
            np.testing.assert_allclose(mine.get_column("score"), [offer.hit.score for offer in alone.offers], atol=TIE)
    assert np.mean(shared) > 0.9  # but for ties


def test_recency_lets_a_taste_change(searcher):
    days = [(uri, 86_400.0 * day) for day, uri in enumerate(named("red", "image", *range(1, 9)) + named("dog", "image", 1, 2, 3))]
    asked = read(pl.DataFrame({"user": ["a"] * 11, "item": [uri for uri, _ in days], "time": [time for _, time in days]}))
    plain, faded = (uris(recommend_to(searcher, asked, "a", settings=ONE, half_life=half_life)) for half_life in (None, 1.0))
    assert "/red/" in plain[0] and "/dog/" in faded[0]


def test_of_whom_no_like_is_known_gets_what_most_users_like_but_not_what_was_seen(home, searcher, slow):
    asked = open_interactions(home / "likes.csv")
    users = {}
    for user, item, weight, _ in pl.read_csv(home / "likes.csv").iter_rows():
        if item in slow.objects:
            users.setdefault(user, []).append((item, weight, 0))
    counts = {}
    for rows in users.values():
        for content, weight in slow.opinions(rows).items():
            counts[content] = counts.get(content, 0) + (weight > 0)
    for user in ("lost", "sour"):
        found = recommend_to(searcher, asked, user, limit=12)
        seen = set(slow.opinions(users.get(user, [])))
        expected = sorted((likes for content, likes in counts.items() if content not in seen and likes), reverse=True)[:12]
        assert found.popular and [offer.likes for offer in found.offers] == expected
        assert [counts[slow.content(uri)] for uri in uris(found)] == expected
        assert not seen & {slow.content(uri) for uri in uris(found)}
    audio = recommend_to(searcher, asked, "lost", keep=Filter(media=("audio",)), limit=5)
    assert {offer.hit.medium for offer in audio.offers} == {"audio"}
    nobody = read(pl.DataFrame({"user": ["a"], "item": ["file:///gone.png"]}))
    with pytest.raises(QueryError, match="nothing is popular"):
        recommend_to(searcher, nobody, "a")


def test_known_objects_are_read_in_lists_that_the_engine_can_bear(searcher, slow, monkeypatch):
    names = [*sorted(slow.objects)[::3], "file:///bucket/it's gone.png"]
    monkeypatch.setattr(known_objects, "LISTED", 7)
    found = known_objects.read(searcher.table, names)
    assert found.uris == names[:-1] and found.contents == [slow.content(uri) for uri in names[:-1]]
    np.testing.assert_allclose(found.vectors, [slow.vectors[uri] for uri in names[:-1]], atol=1e-3)
    hashes = {slow.content(uri) for uri in names[:-1]}
    assert known_objects.with_contents(searcher.table, hashes) == sorted(uri for uri in slow.objects if slow.content(uri) in hashes)
    assert known_objects.read(searcher.table, []).vectors.shape == (0, 128)


def held_out(slow, frame):
    """By time: of each user the liked content that was met last for the first time, and the rows before it, if they hold a like."""
    by_user = {}
    for user, item, weight, time in frame.iter_rows():
        if item in slow.objects:
            by_user.setdefault(user, []).append((item, weight, time))
    held, train = {}, {}
    for user, rows in by_user.items():
        firsts = {}
        for at, (item, _, time) in enumerate(rows):
            content = slow.content(item)
            if content not in firsts or time < firsts[content][0]:
                firsts[content] = (time, min(at, firsts.get(content, (0, at))[1]))
        liked = [content for content, weight in slow.opinions(rows).items() if weight > 0]
        last = max(liked, key=lambda content: firsts[content], default=None)
        before = [row for row in rows if slow.content(row[0]) != last and (last is None or row[2] <= firsts[last][0])]
        if any(weight > 0 for weight in slow.opinions(before).values()):
            held[user], train[user] = last, before
        else:
            train[user] = rows
    return held, train


def evaluated(home, searcher, interactions, **how):
    catalogue = catalogues.read(searcher.table)
    matched = match(interactions, catalogue.items)
    division = divide(matched, catalogue.contents, timed=interactions.timed, seed=3)
    return catalogue, division, evaluate(catalogue, division, seed=3, **how)


def test_the_evaluation_is_that_of_plain_loops(home, searcher, slow):
    frame = pl.read_csv(home / "likes.csv")
    held, train = held_out(slow, frame)
    _, division, found = evaluated(home, searcher, read(frame), k=10, half_life=4.0)
    assert division.users == sorted(held) and (found.users, found.held, found.by) == (len(held), len(held), "time")
    assert found.too_few == frame.get_column("user").n_unique() - len(held)
    popular = {}
    for rows in train.values():
        for content, weight in slow.opinions(rows, 4.0).items():
            popular[content] = popular.get(content, 0) + (weight > 0)
    names = {content: number for number, content in enumerate(sorted({each["content"] for each in slow.objects.values()}))}
    recalls, gains, covered = (
        {"one vector": [], "popularity": []},
        {"one vector": [], "popularity": []},
        {"one vector": set(), "popularity": set()},
    )
    for user in sorted(held):
        thought = slow.opinions(train[user], 4.0)
        lists = {
            "one vector": [content for content, _ in slow.ranked(slow.one_vector(thought), thought)][:10],
            "popularity": sorted((c for c, n in popular.items() if n and c not in thought), key=lambda c: (-popular[c], names[c]))[:10],
        }
        for method, contents in lists.items():
            recalls[method].append(held[user] in contents)
            gains[method].append(1 / np.log2(contents.index(held[user]) + 2) if held[user] in contents else 0)
            covered[method] |= set(contents)
    for method, values in recalls.items():
        assert found.methods[method].recall.value == pytest.approx(np.mean(values))
        assert found.methods[method].ndcg.value == pytest.approx(np.mean(gains[method]))
        assert found.methods[method].coverage == pytest.approx(len(covered[method]) / len(names))
        assert found.methods[method].recall.low <= np.mean(values) <= found.methods[method].recall.high
    assert found.methods["one vector"].gain.value == pytest.approx(np.mean(recalls["one vector"]) - np.mean(recalls["popularity"]))
    assert list(found.methods) == list(METHODS) and found.methods["random"].recall.value < 0.3


def test_what_is_held_out_never_shows_in_what_is_learned_from(home, searcher, slow):
    frame = pl.read_csv(home / "likes.csv")
    catalogue, division, _ = evaluated(home, searcher, read(frame))
    both = division.train.join(division.held, on=["user", "content"])
    assert both.is_empty() and division.held.height
    times = division.train.join(first_met(frame, catalogue, division), on="user")
    assert times.height and (times.get_column("time") <= times.get_column("until")).all()
    used = division.train.height + division.later
    out = match(read(frame), catalogue.items).frame.join(division.held, on=["user", "content"]).height
    assert used + out == match(read(frame), catalogue.items).frame.height


def test_what_was_met_in_the_same_second_as_the_held_out_like_is_learned_from_and_what_came_later_is_not():
    """Of the likes of one second the one in the last row is held out."""
    frame = pl.DataFrame(
        {"user": ["a"] * 5, "item": ["later", "first", "beside", "disliked", "last"], "weight": [-1, 1, 1, -1, 1], "time": [6, 3, 5, 5, 5]}
    )
    items = pl.DataFrame({"item": ["first", "beside", "disliked", "last", "later"], "content": range(5)})
    division = divide(match(read(frame), items), np.arange(5), timed=True)
    assert division.held.rows() == [("a", 3)]
    assert (division.train.get_column("content").to_list(), division.later) == ([0, 1, 2], 1)


def first_met(frame, catalogue, division):
    rows = match(read(frame), catalogue.items).frame.join(division.held, on=["user", "content"])
    return rows.group_by("user").agg(until=pl.col("time").min())


def test_other_likes_held_out_change_no_list(home, searcher, slow):
    """Were lists made from what is held out, another thing held out would move them."""
    frame = pl.read_csv(home / "likes.csv")
    catalogue = catalogues.read(searcher.table)
    matched = match(read(frame), catalogue.items)
    division = divide(matched, catalogue.contents, timed=True)
    other = frame.join(catalogue.items, on="item", how="left").join(
        division.held.with_columns(out=True), on=["user", "content"], how="left"
    )
    strange = named("night", "video", 19)[0]
    other = other.with_columns(item=pl.when("out").then(pl.lit(strange)).otherwise("item")).select(frame.columns)
    again = divide(match(read(other), catalogue.items), catalogue.contents, timed=True)
    shared = [user for user in division.users if user in again.users and strange not in [item for item, *_ in rows_of(home, user)]]
    assert len(shared) > 25
    target = catalogue.items.filter(pl.col("item") == strange).item(0, "content")
    assert set(again.held.filter(pl.col("user").is_in(shared)).get_column("content")) == {target}
    one, two = (recommend_all(catalogue, shared, opinions(each.train)) for each in (division, again))
    np.testing.assert_array_equal(one.offers, two.offers)


def test_without_times_a_share_of_each_users_likes_is_held_out_by_the_seed(home, searcher):
    frame = pl.read_csv(home / "likes.csv").drop("time")
    catalogue = catalogues.read(searcher.table)
    matched = match(read(frame), catalogue.items)
    one, same, other = (divide(matched, catalogue.contents, timed=False, share=0.4, seed=seed) for seed in (1, 1, 2))
    assert one.held.equals(same.held) and not one.held.equals(other.held) and one.by == "chance"
    assert one.train.join(one.held, on=["user", "content"]).is_empty() and one.later == 0
    likes = opinions(matched.frame).filter(pl.col("weight") > 0)
    for user, held in one.held.group_by("user").len().iter_rows():
        number = likes.filter(pl.col("user") == user).height
        assert held == min(max(1, round(0.4 * number)), number - 1)
    _, _, found = evaluated(home, searcher, read(frame))
    assert (found.by, found.users, found.later) == ("chance", len(one.users), 0)


def test_only_what_can_be_offered_is_held_out(home, searcher):
    frame = pl.read_csv(home / "likes.csv")
    catalogue = catalogues.read(searcher.table, Filter(media=("audio",)))
    division = divide(match(read(frame), catalogue.items), catalogue.contents, timed=True)
    assert set(division.held.get_column("content")) <= set(catalogue.contents.tolist())
    with pytest.raises(QueryError, match="two things"):
        divide(match(read(frame.filter(pl.col("user") == "sour")), catalogue.items), catalogue.contents, timed=True)


def sensorium(*arguments):
    return CliRunner().invoke(app, ["recommend", *map(str, arguments)])


def test_the_command_offers_by_likes_in_words_and_as_json(home):
    likes = [argument for uri in named("red", "image", 1, 10) for argument in ("--like", uri)]
    done = sensorium(home / "lance", *likes, "--dislike", "file:///bucket/gone.png", "--limit", 4)
    assert done.exit_code == 0, done.stderr
    assert "by 2 liked and 0 disliked, one vector; 2 copies are left out, too" in done.stdout
    assert "named, and not in the table: 1\n  file:///bucket/gone.png" in done.stdout and done.stdout.count("as file:///bucket/red/") == 4
    told = json.loads(sensorium(home / "lance", *likes, "--limit", 4, "--medium", "audio", "--json").stdout)
    assert [offer["medium"] for offer in told["offers"]] == ["audio"] * 4 and told["tastes"] == [1.0] and told["unknown"] == []


def test_where_nothing_is_left_wider_filters_are_advised_only_if_there_are_any(home, searcher):
    red = named("red", "image", 1)[0]
    everything = [argument for uri in searcher.table.to_arrow()["uri"].unique().to_pylist() for argument in ("--like", uri)]
    for flags, told in (([], "seen\n"), (["--medium", "text"], "seen; offer more: without --medium, --modality or --prefix\n")):
        done = sensorium(home / "lance", *(["--like", red] if flags else everything), *flags)
        assert done.exit_code == 0 and f"nothing is left that was not {told}" in done.stdout, done.output


def test_the_command_offers_to_a_user_and_says_when_it_is_what_is_popular(home):
    asked = (home / "lance", "--interactions", home / "likes.csv", "--source", "file:///bucket")
    done = sensorium(*asked, "--user", "user 03", "--half-life", 3)
    assert done.exit_code == 0 and done.stdout.startswith("to user 03, by "), done.stderr
    done = sensorium(*asked, "--user", "lost", "--limit", 2)
    assert "what most users like" in done.stdout and "likes  file:///" in done.stdout and "not in the table: 2" in done.stdout
    told = json.loads(sensorium(*asked, "--user", "lost", "--json").stdout)
    assert told["popular"] and told["offers"][0]["score"] is None and told["offers"][0]["likes"] > 1


def test_the_command_writes_lists_for_all_users_and_accounts_for_every_row(home, tmp_path):
    frame = pl.concat([pl.read_csv(home / "likes.csv"), pl.DataFrame({"user": [None], "item": ["x"], "weight": [1.0], "time": [1.0]})])
    frame.write_csv(tmp_path / "likes.csv")
    asked = (home / "lance", "--interactions", tmp_path / "likes.csv", "--all", "--output", tmp_path / "offers.parquet", "--limit", 6)
    done = sensorium(*asked, "--json")
    assert done.exit_code == 0, done.stderr
    told, offers = json.loads(done.stdout), pl.read_parquet(tmp_path / "offers.parquet")
    assert told["users"] == told["one"] + told["several"] + told["popular"] == 42 and told["popular"] >= 2
    assert offers.height == told["offers"] == 42 * 6 and told["short"] == 0
    account = told["interactions"]
    assert account["rows"] == account["used"] + account["unknown"] + account["empty"] == frame.height
    assert (account["empty"], account["unknown"], account["unknown_items"]) == (1, 2, 2)
    seen = frame.select("user", uri="item")
    assert offers.join(seen, on=["user", "uri"]).is_empty()
    words = sensorium(*asked).stdout
    assert "252 offers to 42 users" in words and "unknown items 2 + no user or item 1" in words


def test_the_command_measures_against_popularity_and_chance_in_one_run(home):
    asked = (home / "lance", "--interactions", home / "likes.csv", "--evaluate", "--k", 5)
    told = json.loads(sensorium(*asked, "--json").stdout)
    assert list(told["methods"]) == list(METHODS) and told["k"] == 5
    assert told["methods"]["several vectors"]["gain"]["value"] > 0 and told["methods"]["popularity"]["gain"] is None
    words = sensorium(*asked)
    assert words.exit_code == 0 and "recall@5" in words.stdout and "users held out" in words.stdout and "over popularity" in words.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "give one of"),
        (["--like", "x", "--evaluate"], "--like or --dislike and --interactions with --evaluate"),
        (["--like", "x", "--interactions", "{home}/likes.csv"], "cannot stand with"),
        (["--user", "a"], "needs --interactions"),
        (["--all", "--interactions", "{home}/likes.csv"], "--output"),
        (["--all", "--interactions", "{home}/likes.csv", "--output", "{home}/o.xlsx"], "ending in .parquet, .csv, .jsonl"),
        (["--user", "nobody", "--interactions", "{home}/likes.csv"], "no row is of user 'nobody'"),
        (["--user", "a", "--interactions", "{home}/none.csv"], "there is no file"),
        (["--evaluate", "--interactions", "{home}/likes.csv", "--share", "1"], "share"),
        (["--like", "file:///bucket/gone.png"], "nothing that is liked"),
        (["--like", "a/../x", "--dislike", "x"], "is both liked and disliked"),
        (["--like", "x", "--medium", "film"], "no medium 'film'"),
        (["--like", "x", "--half-life", "0"], "half-life is 0"),
        (["--like", "x", "--half-life", "nan"], "half-life is nan"),
        (["--user", "user 03", "--interactions", "{home}/likes.csv", "--neutral", "nan"], "neutral is nan"),
        (["--like", "x", "--beta", "inf"], "beta is inf; it must be a number from 0 to 1,000"),
        (["--like", "x", "--apart", "2"], "apart is 2"),
        (["--like", "x", "--table", "other"], "other"),
    ],
)
def test_a_refusal_is_one_line_and_exit_code_2(home, arguments, words):
    done = sensorium(home / "lance", *(argument.format(home=home) for argument in arguments))
    assert (done.exit_code, done.stdout) == (2, "")
    assert words in done.stderr and len(done.stderr.splitlines()) == 1 and done.stderr.startswith("sensorium: ")
