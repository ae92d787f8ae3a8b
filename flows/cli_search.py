"""The command `sensorium search`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.command import Database, Json, TableName, print_json, refusing
from flows.filter_flags import After, Before, Larger, Medium, Metadata, ModalityOf, Prefix, Smaller, Where, kept, objects

if TYPE_CHECKING:
    from encoders.spec import Space
    from retrieval.filters import Filter
    from retrieval.query import Searcher
    from retrieval.search.question import Term
    from retrieval.search.search import Manner

Added = Annotated[list[str] | None, typer.Option(help='Add words, a path, or uri:URI of an object; "at night*0.5" weighs half.')]
Taken = Annotated[list[str] | None, typer.Option(help="Take away, as --plus adds; repeatable.")]
Liked = Annotated[list[str] | None, typer.Option(help="More like this object of the table, by its URI; repeatable.")]


def search(
    database: Database,
    query: Annotated[str | None, typer.Argument(help="Words, or the path of a picture, sound, video or text file.")] = None,
    plus: Added = None,
    minus: Taken = None,
    like: Liked = None,
    vector: Annotated[Path | None, typer.Option(help="Add a vector from a NumPy file.")] = None,
    queries: Annotated[Path | None, typer.Option(help='Many questions: lines of a .txt, or a column "query".')] = None,
    output: Annotated[Path | None, typer.Option(help="With --queries: the .jsonl or .parquet that is written; default JSONL here.")] = None,
    table: TableName = "media",
    medium: Medium = None,
    modality: ModalityOf = None,
    prefix: Prefix = None,
    modified_after: After = None,
    modified_before: Before = None,
    larger: Larger = None,
    smaller: Smaller = None,
    metadata: Metadata = None,
    where: Where = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Most hits.")] = 10,
    per_object: Annotated[bool, typer.Option("--per-object", help="The best segment of each object alone.")] = False,
    must: Annotated[str, typer.Option(help='Words that the text must have, all of them; "quoted ones" as they stand.')] = "",
    hybrid: Annotated[bool, typer.Option("--hybrid", help="Rank by vectors and by full text, fused.")] = False,
    diversity: Annotated[float, typer.Option(min=0, max=1, help="0: the nearest; more: fewer that are alike.")] = 0.0,
    min_score: Annotated[float | None, typer.Option(help="Least score.")] = None,
    fits: Annotated[bool, typer.Option("--fits", help="Only what fits, perhaps nothing; after `sensorium calibrate`.")] = False,
    as_moments: Annotated[bool, typer.Option("--moments", help="Stretches of sounds and videos, neighbouring hits merged.")] = False,
    gap: Annotated[float, typer.Option(min=0, help="Most seconds between two hits of one moment.")] = 1.0,
    near: Annotated[float, typer.Option(min=0, max=1, help="Share of a moment's best score that its other hits must have.")] = 0.8,
    space: Annotated[str | None, typer.Option(help="The table's space, if its weights have moved: a name or TOML file.")] = None,
    as_json: Json = False,
) -> None:
    """Find what is nearest to QUERY, or to a sum of things, among what the conditions leave."""
    asked = 1, 0
    with refusing():
        from flows import display_search, secret_blocks
        from retrieval.errors import QueryError
        from retrieval.query import Searcher
        from retrieval.search import search as searching
        from retrieval.search.question import words_or_path
        from retrieval.search.search import Manner

        secret_blocks.install()
        if metadata is not None and where is None:
            raise QueryError("metadata alone leave everything; give --where with a condition on their columns, too")
        keep = replace(
            kept(medium, modality, prefix),
            modified_after=modified_after,
            modified_before=modified_before,
            larger=larger,
            smaller=smaller,
            uris=objects(metadata, where),
        )
        if output is not None and queries is None:
            raise QueryError("--output takes the answers to a file of questions; name it: --queries FILE")
        if hybrid and (queries or query is None or not isinstance(words_or_path(query), str)):
            raise QueryError("full text ranks by words; --hybrid needs QUERY in words, and no --queries")
        manner = Manner(limit, per_object, must, query or "" if hybrid else "", diversity, min_score, fits)
        searcher = Searcher(database, table, _space(space))
        if queries is not None:
            if query or plus or minus or like or vector or as_moments:
                raise QueryError("a file holds whole questions; leave out QUERY, --plus, --minus, --like, --vector and --moments")
            asked = _answer_file(searcher, queries, output, keep, manner, as_json)
        elif as_moments:
            question = list(_terms(searcher, query, plus, minus, like, vector))
            found = searching.moments(searcher, question, keep, manner, gap, near)
            print_json([asdict(moment) for moment in found]) if as_json else display_search.show_moments(found)
            _tell_of_metadata(searcher, keep, found)
        else:
            hits = searching.search(searcher, list(_terms(searcher, query, plus, minus, like, vector)), keep, manner)
            print_json([asdict(hit) for hit in hits]) if as_json else display_search.show_hits(hits)
            _tell_of_metadata(searcher, keep, hits)
    if asked[1]:
        raise typer.Exit(1)


def _terms(
    searcher: Searcher, query: str | None, plus: list[str] | None, minus: list[str] | None, like: list[str] | None, vector: Path | None
) -> Iterator[Term]:
    from retrieval.search.question import Item, Term, parse, read_vector, words_or_path

    if query is not None:
        yield Term(words_or_path(query))
    yield from (Term(Item(uri)) for uri in like or ())
    if vector is not None:
        yield read_vector(vector, searcher.dimension)
    yield from (parse(text) for text in plus or ())
    yield from (parse(text, sign=-1.0) for text in minus or ())


def _space(name: str | None) -> Space | None:
    if name is None:
        return None
    from encoders.spaces import load_space

    return load_space(name)


def _tell_of_metadata(searcher: Searcher, keep: Filter, found: Sequence[object]) -> None:
    """Where nothing was found among the objects of a condition, that they may be no objects of this table."""
    if found or not keep.uris:
        return
    from retrieval.search.metadata import number_held

    number = number_held(searcher, keep.uris)
    typer.echo(
        f"sensorium: the condition leaves {len(keep.uris):,} objects, of which table {searcher.name!r} holds {number:,}; "
        "their URIs must be those that `search` prints",
        err=True,
    )


def _answer_file(searcher: Searcher, queries: Path, output: Path | None, keep: Filter, manner: Manner, as_json: bool) -> tuple[int, int]:
    """How many questions there were, and how many could not be asked."""
    from flows import display_search
    from retrieval.search import queries_file

    answered = queries_file.answer(searcher, queries_file.read(queries), keep, manner)
    if output is not None:
        counts = queries_file.write(output, answered)
        told = {"questions": counts[0], "problems": counts[1], "output": str(output)}
        print_json(told) if as_json else display_search.show_answered(*counts, output)
        return counts
    number = failed = 0
    for one in answered:
        print_json(queries_file.as_json(one))
        number, failed = number + 1, failed + bool(one.problem)
    return number, failed
