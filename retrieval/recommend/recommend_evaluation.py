"""How well recommendations foretell what users liked next: held-out likes, against popularity and chance, in one run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from retrieval import ranking
from retrieval.errors import QueryError
from retrieval.ranking import Figure
from retrieval.recommend.catalogue import Catalogue
from retrieval.recommend.interactions import Matched, opinions
from retrieval.recommend.recommend_all import favourites, recommend_all, seen_by
from retrieval.recommend.taste import TasteSettings

SEVERAL, ONE, POPULARITY, RANDOM = "several vectors", "one vector", "popularity", "random"
METHODS = (SEVERAL, ONE, POPULARITY, RANDOM)


@dataclass(frozen=True)
class Division:
    """Interactions divided into what is known and what is to be foretold.

    Parameters
    ----------
    train : user, content, weight, time: all rows of users that are not evaluated, and of the others what comes before.
    held : user and content of what is to be foretold; nothing of it stands in `train`.
    later : rows of evaluated users after what was held out, in neither.
    too_few : users with fewer than two likes, one to learn from and one to foretell; not evaluated.
    by : "time" or "chance".
    """

    train: pl.DataFrame
    held: pl.DataFrame
    later: int
    too_few: int
    by: str

    @property
    def users(self) -> list[str]:
        """Those who are evaluated, sorted."""
        found: list[str] = self.held.get_column("user").unique().sort().to_list()
        return found


@dataclass(frozen=True)
class Method:
    """Figures of one way to recommend.

    Parameters
    ----------
    recall : mean share of a user's held-out contents among the first k.
    ndcg : discounted gain of them over the best that is possible; gains are 0 or 1 (Järvelin & Kekäläinen 2002).
    coverage : share of what is offered that stands in at least one list.
    gain : recall minus that of popularity, for the very same users; `None` for popularity itself.
    """

    recall: Figure
    ndcg: Figure
    coverage: float
    gain: Figure | None


@dataclass(frozen=True)
class Evaluation:
    """All figures of one run.

    Parameters
    ----------
    users, held, offered : how many are evaluated, how many contents of theirs are held out, among how many offered ones they are.
    too_few, later, by : see `Division`.
    several : users whose taste is of more than one vector.
    methods : by name, in the order of `METHODS`.
    """

    k: int
    users: int
    held: int
    offered: int
    too_few: int
    later: int
    by: str
    several: int
    methods: Mapping[str, Method]


def divide(matched: Matched, offered: np.ndarray, *, timed: bool, share: float = 0.2, seed: int = 0) -> Division:
    """Hold out what each user liked last, or by chance where no time is known.

    By time, a user's last is the liked content that was met last for the first time, and all that comes after it is left out, too: the
    past foretells. Other users' interactions stay, of whatever time; the popularity baseline gains by that, tastes do not.
    By chance, `share` of each user's liked contents, at least one, and never all.

    Parameters
    ----------
    offered : contents that can be recommended; only such are held out.

    Raises
    ------
    QueryError : no user has two likes.
    """
    if not 0 < share < 1:
        raise QueryError(f"the share that is held out is {share:g}; it must be between 0 and 1")
    frame = matched.frame.with_row_index("row")
    met = frame.group_by("user", "content").agg(pl.col("time").min(), pl.col("row").min(), pl.col("weight").sum())
    liked = met.filter((pl.col("weight") > 0) & pl.col("content").is_in(pl.Series(offered).implode())).sort("user", "content")
    held = (_last if timed else _by_chance)(liked, share, seed)
    before = frame.join(held.select("user", "content", held_out=True), on=["user", "content"], how="left").filter(
        pl.col("held_out").is_null()
    )
    if timed:
        before = before.join(held.select("user", until="time"), on="user", how="left")
        before = before.filter((pl.col("time") <= pl.col("until")).fill_null(True))
    likes = opinions(before.select("user", "content", "weight", "time")).filter(pl.col("weight") > 0).get_column("user").unique()
    held = held.filter(pl.col("user").is_in(likes.implode())).select("user", "content").sort("user", "content")
    if held.is_empty():
        raise QueryError("no user likes two things that the table holds, one to learn from and one to foretell; give more interactions")
    evaluated = held.get_column("user").unique()
    mine = pl.col("user").is_in(evaluated.implode())
    train = pl.concat([before.filter(mine).select(frame.columns), frame.filter(~mine)]).sort("row").drop("row")
    later = frame.filter(mine).join(held, on=["user", "content"], how="anti").height - before.filter(mine).height
    return Division(train, held, later, len(matched.users) - len(evaluated), "time" if timed else "chance")


def evaluate(
    catalogue: Catalogue,
    division: Division,
    *,
    k: int = 10,
    settings: TasteSettings | None = None,
    half_life: float | None = None,
    diversity: float = 0.0,
    seed: int = 0,
) -> Evaluation:
    """Recommend to each evaluated user from `division.train` alone, in four ways, and see what of the held-out part is among the first k.

    Parameters
    ----------
    settings, half_life, diversity : as in `retrieval.recommend.recommend`.
    seed : of chance, and of the intervals.
    """
    settings = settings or TasteSettings()
    users, thought = division.users, opinions(division.train, half_life)
    several = recommend_all(catalogue, users, thought, limit=k, settings=settings, diversity=diversity)
    one = recommend_all(catalogue, users, thought, limit=k, settings=replace(settings, most=1), diversity=diversity)
    lists = {
        SEVERAL: several.offers,
        ONE: one.offers,
        POPULARITY: popular_lists(catalogue, users, thought, k),
        RANDOM: random_lists(catalogue, users, thought, k, seed),
    }
    return Evaluation(
        k=k,
        users=len(users),
        held=division.held.height,
        offered=len(catalogue.contents),
        too_few=division.too_few,
        later=division.later,
        by=division.by,
        several=int((several.vectors > 1).sum()),
        methods=figures(catalogue, division, lists, seed),
    )


def figures(catalogue: Catalogue, division: Division, lists: Mapping[str, np.ndarray], seed: int = 0) -> dict[str, Method]:
    """Figures of some ways to recommend, `POPULARITY` among them; each (users, k) as `retrieval.recommend.recommend_all.Lists.offers`."""
    right = _right(division, catalogue.contents)
    values = {name: by_user(offers, right) for name, offers in lists.items()}
    columns = {(name, metric): each[:, column] for name, each in values.items() for column, metric in enumerate(("recall", "ndcg"))}
    columns |= {(name, "gain"): each[:, 0] - values[POPULARITY][:, 0] for name, each in values.items()}
    ends = ranking.intervals(np.stack(list(columns.values()), axis=1), seed=seed)
    told = {
        key: Figure(float(each.mean()), float(low), float(high)) for (key, each), (low, high) in zip(columns.items(), ends, strict=True)
    }
    return {
        name: Method(
            recall=told[name, "recall"],
            ndcg=told[name, "ndcg"],
            coverage=len(np.unique(offers[offers >= 0])) / max(1, len(catalogue.contents)),
            gain=told[name, "gain"] if name != POPULARITY else None,
        )
        for name, offers in lists.items()
    }


def by_user(offers: np.ndarray, right: Sequence[np.ndarray]) -> np.ndarray:
    """Recall and nDCG of each user's list: float64 (users, 2).

    Parameters
    ----------
    offers : int64 (users, k), -1 after the last.
    right : what each user's list should hold; not empty.
    """
    discounts = 1 / np.log2(np.arange(2, offers.shape[1] + 2))
    values = np.empty((len(offers), 2))
    for user, wanted in enumerate(right):
        hit = np.isin(offers[user], wanted)
        values[user] = hit.sum() / len(wanted), discounts[hit].sum() / discounts[: len(wanted)].sum()
    return values


def popular_lists(catalogue: Catalogue, users: Sequence[str], thought: pl.DataFrame, k: int) -> np.ndarray:
    """What most like, without what each user has seen: int64 (users, k)."""
    ranked = favourites(catalogue, thought)
    found = np.full((len(users), k), -1)
    for row, seen in enumerate(seen_by(catalogue, users, thought)):
        left = ranked[~np.isin(ranked, seen)][:k]
        found[row, : len(left)] = left
    return found


def random_lists(catalogue: Catalogue, users: Sequence[str], thought: pl.DataFrame, k: int, seed: int = 0) -> np.ndarray:
    """Any k that a user has not seen, drawn without regard to anything: int64 (users, k)."""
    rng = np.random.default_rng(seed)
    found = np.full((len(users), k), -1)
    everything = np.arange(len(catalogue.contents))
    for row, seen in enumerate(seen_by(catalogue, users, thought)):
        left = rng.permutation(np.setdiff1d(everything, seen))[:k]
        found[row, : len(left)] = left
    return found


def _last(liked: pl.DataFrame, share: float, seed: int) -> pl.DataFrame:
    return liked.sort("time", "row", nulls_last=False).group_by("user", maintain_order=True).last().select("user", "content", "time")


def _by_chance(liked: pl.DataFrame, share: float, seed: int) -> pl.DataFrame:
    drawn = liked.with_columns(draw=pl.Series(np.random.default_rng(seed).random(liked.height)))
    number = pl.len().over("user")
    many = (pl.len() * share).round().over("user").clip(1, number - 1)
    return drawn.filter((number > 1) & (pl.col("draw").rank("ordinal").over("user") <= many)).select("user", "content", "time")


def _right(division: Division, contents: np.ndarray) -> list[np.ndarray]:
    """Places of each evaluated user's held-out contents among the offered."""
    places = pl.DataFrame({"content": contents, "place": np.arange(len(contents))})
    by_user = division.held.join(places, on="content").group_by("user").agg("place").sort("user")
    return [np.array(each) for each in by_user.get_column("place")]
