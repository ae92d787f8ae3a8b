"""The command `sensorium answer`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.command import Database, Json, TableName, print_json, refusing
from flows.filter_flags import After, Before, Larger, Medium, Metadata, ModalityOf, Prefix, Smaller, Where, kept, objects

if TYPE_CHECKING:
    from retrieval.answers.captions import Captions
    from retrieval.answers.faq import KnownQuestions
    from retrieval.answers.generation import Writer
    from retrieval.query import Searcher


def answer(
    database: Database,
    question: Annotated[str, typer.Argument(help="A question, in words.")],
    table: TableName = "media",
    budget: Annotated[int, typer.Option(min=1, help="Most tokens of all passages together.")] = 2_000,
    faq: Annotated[Path | None, typer.Option(help="CSV, JSONL or Parquet with columns question and answer, which come first.")] = None,
    like: Annotated[float | None, typer.Option(help="Cosine from which a known question is the one asked; default 0.7.")] = None,
    server: Annotated[str | None, typer.Option(help="Base URL of a server of OpenAI's protocol that writes the answer.")] = None,
    model: Annotated[str, typer.Option(help="Its model.")] = "",
    key_from: Annotated[str, typer.Option(help="NAME of the environment variable with its key, or secret:NAME.")] = "",
    timeout: Annotated[float, typer.Option(help="Most seconds for one answer of the server.")] = 60.0,
    patience: Annotated[float, typer.Option(help="Most seconds for all tries together.")] = 60.0,
    insecure: Annotated[bool, typer.Option("--insecure", help="Allow http to another machine.")] = False,
    medium: Medium = None,
    modality: ModalityOf = None,
    prefix: Prefix = None,
    modified_after: After = None,
    modified_before: Before = None,
    larger: Larger = None,
    smaller: Smaller = None,
    metadata: Metadata = None,
    where: Where = None,
    caption: Annotated[str | None, typer.Option(help="Column of the metadata with words for pictures, sounds and videos.")] = None,
    hits: Annotated[int, typer.Option(min=1, max=1_000, help="Chunks of texts that are looked at.")] = 20,
    hybrid: Annotated[bool, typer.Option("--hybrid", help="Find chunks by vectors and by full text, fused.")] = False,
    others: Annotated[int, typer.Option(min=0, max=100, help="Most pictures, sounds and moments of videos, of each.")] = 3,
    part: Annotated[
        int | None, typer.Option(min=0, help="Tokens of the parts that are chosen from; default an eighth of the budget, 48 to 128.")
    ] = None,
    space: Annotated[str | None, typer.Option(help="The table's space, if its weights have moved: a name or TOML file.")] = None,
    as_json: Json = False,
) -> None:
    """Answer QUESTION from what the table holds: passages with their places, and, with a server, an answer that cites them."""
    with refusing():
        from encoders.spaces import load_space
        from flows import secret_blocks
        from flows.display_answer import as_plain, show_answer
        from retrieval.answers import answer as answering
        from retrieval.answers.faq import LIKE
        from retrieval.errors import QueryError
        from retrieval.query import Searcher

        secret_blocks.install()
        if metadata is not None and where is None and caption is None:
            raise QueryError("metadata alone leave everything; give --where with a condition on their columns, or --caption with one")
        settings = answering.AnswerSettings(budget, hits, others, part, LIKE if like is None else like, hybrid)
        writer = _writer(server, model, key_from, timeout, patience, insecure)
        keep = replace(
            kept(medium, modality, prefix),
            modified_after=modified_after,
            modified_before=modified_before,
            larger=larger,
            smaller=smaller,
            uris=objects(metadata, where),
        )
        captions = _captions(metadata, caption)
        searcher = Searcher(database, table, load_space(space) if space else None)
        found = answering.answer(
            searcher, question, keep=keep, settings=settings, known=_known(faq, searcher), writer=writer, captions=captions
        )
        print_json(as_plain(found)) if as_json else show_answer(found)
    if not found.good:
        raise typer.Exit(1)


def _writer(server: str | None, model: str, key: str, timeout: float, patience: float, insecure: bool) -> Writer | None:
    from retrieval.answers.generation import ChatServer, Writer
    from retrieval.errors import QueryError

    if server is None:
        if model or key:
            raise QueryError("--model and --key-from belong to a server; name it: --server https://…/v1")
        return None
    return Writer(ChatServer(server, model, key, timeout, patience, insecure))


def _captions(metadata: Path | None, column: str | None) -> Captions:
    from retrieval.answers.captions import captions, none
    from retrieval.errors import QueryError

    if column is None:
        return none
    if metadata is None:
        raise QueryError("--caption is a column of the metadata; name their file: --metadata FILE")
    return captions(metadata, column)


def _known(faq: Path | None, searcher: Searcher) -> KnownQuestions | None:
    from retrieval.answers.faq import KnownQuestions, read_faq

    return KnownQuestions.of(read_faq(faq), searcher.queries.encoder("text", "questions")) if faq else None
