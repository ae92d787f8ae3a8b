"""The command `sensorium recommend`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.command import Database, Json, TableName, print_json, refusing
from flows.filter_flags import Medium, ModalityOf, Prefix, kept

if TYPE_CHECKING:
    from retrieval.filters import Filter
    from retrieval.recommend.interactions import Interactions, Matched
    from retrieval.recommend.taste import TasteSettings


def recommend(
    database: Database,
    like: Annotated[list[str] | None, typer.Option(help="URI, or path here, of what is liked; repeatable.")] = None,
    dislike: Annotated[list[str] | None, typer.Option(help="What is disliked; repeatable.")] = None,
    interactions: Annotated[Path | None, typer.Option(help="Parquet, CSV or JSONL: user, item, and perhaps weight and time.")] = None,
    user: Annotated[str | None, typer.Option(help="Recommend to this user of the interactions.")] = None,
    everyone: Annotated[bool, typer.Option("--all", help="Recommend to all users of the interactions.")] = False,
    output: Annotated[Path | None, typer.Option(help="With --all: the .parquet, .csv or .jsonl that is written.")] = None,
    measure: Annotated[bool, typer.Option("--evaluate", help="How well held-out likes are foretold, against popularity.")] = False,
    table: TableName = "media",
    medium: Medium = None,
    modality: ModalityOf = None,
    prefix: Prefix = None,
    limit: Annotated[int, typer.Option("--limit", "--k", min=1, max=1_000, help="Most offers to one user.")] = 10,
    tastes: Annotated[int, typer.Option(min=1, max=20, help="Most vectors of one taste; 1 is the mean of all likes.")] = 3,
    apart: Annotated[float, typer.Option(help="Least silhouette at which likes are parted into several vectors.")] = 0.25,
    beta: Annotated[float, typer.Option(min=0, help="How far dislikes push the taste away.")] = 0.2,
    half_life: Annotated[float | None, typer.Option(help="Days after which an interaction weighs half; default: none fades.")] = None,
    neutral: Annotated[float, typer.Option(help="Weight that is neither like nor dislike: 3 for one to five stars.")] = 0.0,
    diversity: Annotated[float, typer.Option(min=0, max=1, help="0: the nearest; more: fewer that are alike.")] = 0.0,
    source: Annotated[str, typer.Option(help="Where relative items begin; default the interactions' folder.")] = "",
    share: Annotated[float, typer.Option(help="With --evaluate and no times: share of likes held out.")] = 0.2,
    seed: Annotated[int, typer.Option(help="Of chance and of the intervals.")] = 1,
    as_json: Json = False,
) -> None:
    """Offer what somebody may like next, by what was liked and disliked; never what was seen."""
    with refusing():
        from retrieval.recommend.interactions import require_half_life
        from retrieval.recommend.taste import TasteSettings

        require_half_life(half_life)
        asked = Asked(
            database=database,
            table=table,
            like=tuple(like or ()),
            dislike=tuple(dislike or ()),
            interactions=interactions,
            user=user,
            output=output,
            keep=kept(medium, modality, prefix),
            limit=limit,
            settings=TasteSettings(tastes, apart, beta),
            half_life=half_life,
            neutral=neutral,
            diversity=diversity,
            source=source,
            share=share,
            seed=seed,
        )
        print_told = _way(asked, everyone, measure)(asked)
        print_told(as_json)


@dataclass(frozen=True)
class Asked:
    """What the flags say."""

    database: str
    table: str
    like: tuple[str, ...]
    dislike: tuple[str, ...]
    interactions: Path | None
    user: str | None
    output: Path | None
    keep: Filter
    limit: int
    settings: TasteSettings
    half_life: float | None
    neutral: float
    diversity: float
    source: str
    share: float
    seed: int

    def open_interactions(self) -> Interactions:
        """The table of interactions."""
        from flows.interactions_file import open_interactions

        return open_interactions(Path(self.interactions or ""), self.source, self.neutral)


Print = Callable[[bool], None]


def _way(asked: Asked, everyone: bool, measure: bool) -> Callable[[Asked], Print]:
    """The one of the four ways that is asked for."""
    from retrieval.errors import QueryError

    ways = {
        "--like or --dislike": (bool(asked.like or asked.dislike), _to_likes),
        "--interactions with --user": (asked.user is not None, _to_user),
        "--interactions with --all": (everyone, _to_all),
        "--interactions with --evaluate": (measure, _evaluate),
    }
    chosen = [(name, way) for name, (wanted, way) in ways.items() if wanted]
    if len(chosen) != 1:
        came = " and ".join(name for name, _ in chosen) or "none of them"
        raise QueryError(f"give one of {', '.join(ways)}; came {came}")
    [(name, way)] = chosen
    if (way is not _to_likes) != (asked.interactions is not None):
        raise QueryError(f"{name} {'cannot stand with' if asked.interactions else 'needs'} --interactions FILE")
    if (way is _to_all) != (asked.output is not None):
        raise QueryError("--all and --output FILE go together: all lists are written to a file, one list is printed")
    return way


def _to_likes(asked: Asked) -> Print:
    from retrieval.errors import QueryError
    from retrieval.query import Searcher
    from retrieval.recommend.recommend import recommend as recommended
    from storage.objects import open_source
    from tasks.pairs import resolver

    resolve = resolver(open_source(asked.source or ".").root)
    likes, dislikes = (dict.fromkeys(map(resolve, names), weight) for names, weight in ((asked.like, 1.0), (asked.dislike, -1.0)))
    if both := likes.keys() & dislikes.keys():
        raise QueryError(f"{min(both)!r} is both liked and disliked; give it once")
    weights = likes | dislikes
    searcher = Searcher(asked.database, asked.table)
    found = recommended(searcher, weights, keep=asked.keep, limit=asked.limit, settings=asked.settings, diversity=asked.diversity)
    return _printing(asked, found, {})


def _to_user(asked: Asked) -> Print:
    from retrieval.query import Searcher
    from retrieval.recommend.recommend import recommend_to

    interactions = asked.open_interactions()
    found = recommend_to(
        Searcher(asked.database, asked.table),
        interactions,
        asked.user or "",
        keep=asked.keep,
        limit=asked.limit,
        settings=asked.settings,
        half_life=asked.half_life,
        diversity=asked.diversity,
    )
    return _printing(asked, found, {"user": asked.user, "interactions": _account(interactions)})


def _printing(asked: Asked, found: Any, more: dict[str, Any]) -> Print:
    from flows.display_recommend import show_recommended
    from retrieval.filters import EVERYTHING

    told = more | {
        "offers": [offer.to_dict() for offer in found.offers],
        "tastes": list(found.shares),
        "popular": found.popular,
        "liked": found.liked,
        "disliked": found.disliked,
        "neutral": found.neutral,
        "copies": found.copies,
        "unknown": list(found.unknown),
    }
    return lambda as_json: print_json(told) if as_json else show_recommended(told, filtered=asked.keep != EVERYTHING)


def _to_all(asked: Asked) -> Print:
    from flows.display_recommend import show_all
    from retrieval.recommend import catalogue as catalogues
    from retrieval.recommend.interactions import match, opinions
    from retrieval.recommend.recommend_all import recommend_all
    from storage import row_files
    from storage import table as tables

    output = Path(asked.output or "")
    write = row_files.writer(output, "recommendations")
    interactions = asked.open_interactions()
    catalogue = catalogues.read(tables.published(tables.connect(asked.database, must_exist=True), asked.table), asked.keep)
    matched = match(interactions, catalogue.items)
    lists = recommend_all(
        catalogue,
        matched.users,
        opinions(matched.frame, asked.half_life),
        limit=asked.limit,
        settings=asked.settings,
        diversity=asked.diversity,
    )
    frame = lists.frame(catalogue)
    write(frame)
    told = {
        "output": str(output),
        "users": len(matched.users),
        "one": int((lists.vectors == 1).sum()),
        "several": int((lists.vectors > 1).sum()),
        "popular": int((lists.vectors == 0).sum()),
        "offers": frame.height,
        "short": int((lists.offers < 0).any(axis=1).sum()),
        "interactions": _account(interactions, matched),
    }
    return lambda as_json: print_json(told) if as_json else show_all(told)


def _evaluate(asked: Asked) -> Print:
    from flows.display_recommend import show_evaluation
    from retrieval.recommend import catalogue as catalogues
    from retrieval.recommend.interactions import match
    from retrieval.recommend.recommend_evaluation import divide, evaluate
    from storage import table as tables

    interactions = asked.open_interactions()
    catalogue = catalogues.read(tables.published(tables.connect(asked.database, must_exist=True), asked.table), asked.keep)
    matched = match(interactions, catalogue.items)
    division = divide(matched, catalogue.contents, timed=interactions.timed, share=asked.share, seed=asked.seed)
    found = evaluate(
        catalogue,
        division,
        k=asked.limit,
        settings=asked.settings,
        half_life=asked.half_life,
        diversity=asked.diversity,
        seed=asked.seed,
    )
    told = asdict(found) | {"interactions": _account(interactions, matched)}
    return lambda as_json: print_json(told) if as_json else show_evaluation(told)


def _account(interactions: Interactions, matched: Matched | None = None) -> dict[str, Any]:
    """What came of the rows: rows = used + empty + unknown."""
    told: dict[str, Any] = {
        "rows": interactions.rows,
        "empty": interactions.empty,
        "untimed": interactions.untimed,
        "users": len(interactions.users),
        "ignored": list(interactions.ignored),
    }
    if matched is not None:
        told |= {
            "used": matched.frame.height,
            "unknown": matched.unknown_rows,
            "unknown_items": matched.unknown_items,
            "examples": list(matched.examples),
        }
    return told
