"""The command `sensorium`: parse, call, print, exit code.

Exit code 0: done as asked; 1: done, but below the floor or out of balance; 2: refused, with one clear message.
"""

from __future__ import annotations

import atexit
import gc
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer

from flows import (
    cli_align,
    cli_analogy,
    cli_answer,
    cli_bridge,
    cli_calibrate,
    cli_classify,
    cli_cluster,
    cli_duplicates,
    cli_export,
    cli_maintain,
    cli_quarantine,
    cli_recommend,
    cli_score,
    cli_search,
    cli_train_miniature,
    cli_view,
)
from flows.command import Database, Json, TableName, print_json, refusing

app = typer.Typer(
    help="Every picture, sound, video and text of a bucket as a vector in one shared space, in a table.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(cli_quarantine.app, name="quarantine")
app.command("align")(cli_align.align)
app.command("analogy")(cli_analogy.analogy)
app.command("answer")(cli_answer.answer)
app.command("bridge")(cli_bridge.bridge)
app.command("calibrate")(cli_calibrate.calibrate)
app.command("classify")(cli_classify.classify)
app.command("cluster")(cli_cluster.cluster)
app.command("duplicates")(cli_duplicates.duplicates)
app.command("export")(cli_export.export)
app.command("maintain")(cli_maintain.maintain)
app.command("recommend")(cli_recommend.recommend)
app.command("score")(cli_score.score)
app.command("search")(cli_search.search)
app.command("train-miniature")(cli_train_miniature.train_miniature)
app.command("view")(cli_view.view)


def main() -> None:
    """Entry point of the command."""
    _collect_seldom()
    app()


def _collect_seldom() -> None:
    """Look for garbage less often, and not at all at the end.

    Loading torch and transformers makes a million objects, none of them garbage: looking for it took 2.5 of 8 s of a short run, another
    second of which was the last look before exit.
    """
    gc.set_threshold(50_000, 20, 100)
    atexit.register(gc.freeze)


@app.command()
def embed(
    source: Annotated[str, typer.Argument(help="A folder, or s3://bucket/prefix, gs://…, az://…, https://…")] = "",
    database: Annotated[str, typer.Argument(help="LanceDB database: a folder or an object-store URL.")] = "",
    table: Annotated[str | None, typer.Option(help="Table in the database; default media.")] = None,
    space: Annotated[str | None, typer.Option(help="A space's name or TOML file; default miniature.")] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file with any of these settings; flags win.")] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Print what would be done and what it costs; write nothing.")] = False,
    direct: Annotated[bool, typer.Option("--direct", help="Run without Prefect.")] = False,
    floor: Annotated[float | None, typer.Option(help="Fail below this share of good objects; default 0.6.")] = None,
    allow_deletions: Annotated[bool | None, typer.Option("--allow-deletions", help="Delete although much has vanished.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that decode; default one per core.")] = None,
    batch: Annotated[int | None, typer.Option(help="Segments in one forward pass; default 64.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:N.")] = None,
    dtype: Annotated[str | None, typer.Option(help="auto, float32, bfloat16, float16.")] = None,
    scratch: Annotated[str | None, typer.Option(help="Folder for files between tasks.")] = None,
    seconds: Annotated[float | None, typer.Option(help="Most seconds without progress on one object; default 30.")] = None,
    frames_every: Annotated[float | None, typer.Option(help="Seconds between frames of a video; default 2.")] = None,
    frames_rate: Annotated[float | None, typer.Option(help="Frames of a video a second, instead.")] = None,
    frames_scene: Annotated[float | None, typer.Option(help="Frames of a video by change, instead: 0.1 finds cuts.")] = None,
    frames_most: Annotated[int | None, typer.Option(help="Most frames of one video; default 2000.")] = None,
    text_column: Annotated[str | None, typer.Option(help="Embed this column of JSONL, CSV, TSV and Parquet files, row by row.")] = None,
    id_column: Annotated[str | None, typer.Option(help="Column that names a row; default its number.")] = None,
    caption_column: Annotated[str | None, typer.Option(help="Column put in front of each row's text; default none.")] = None,
    as_json: Json = False,
) -> None:
    """Embed what SOURCE holds and the table in DATABASE does not yet."""
    with refusing():
        from flows import display, settings_given
        from flows.drive import drive
        from flows.embed_opening import open_run

        asked = settings_given.embed_settings(
            config,
            source=source or None,
            database=database or None,
            table=table,
            space=space,
            floor=floor,
            allow_deletions=allow_deletions,
            workers=workers,
            batch=batch,
            device=device,
            dtype=dtype,
            scratch=scratch,
            limits={"seconds": seconds},
            frames={"every": frames_every, "rate": frames_rate, "scene": frames_scene, "most": frames_most},
            tables={"text": text_column, "id": id_column, "caption": caption_column},
        )
        if plan:
            _print_plan(open_run(asked, only_plan=True), as_json)
            return
        account, verdict, good = drive(asked, direct=direct)
        print_json(account.to_dict()) if as_json else display.show_account(account, verdict)
    if not good:
        raise typer.Exit(1)


def _print_plan(bucket_run: Any, as_json: bool) -> None:
    from flows import display
    from flows.prices import expected

    planned = bucket_run.plan(bucket_run.discover())
    seconds, cost = bucket_run.estimate(planned), expected(bucket_run.space, planned)
    if not as_json:
        display.show_plan(planned, seconds, cost)
        return
    print_json(
        {
            "listed": planned.listed,
            "to_embed": planned.todo.height,
            "unchanged": planned.unchanged,
            "quarantined": planned.waiting.height,
            "skipped": planned.skipped,
            "to_delete": len(planned.vanished),
            "bytes": int(planned.todo.get_column("size").sum()),
            "seconds": seconds,
            "tokens": cost and cost.tokens,
            "price": cost and cost.price,
        }
    )


@app.command()
def status(database: Database, table: TableName = "media", as_json: Json = False) -> None:
    """Rows, generation, index, last runs, last score, quarantine by reason."""
    with refusing():
        from flows import display
        from retrieval.status import status as table_status

        told = table_status(database, table)
        if as_json:
            print_json(told)
            return
        display.show_mapping(
            f"table {table} of {database}", {k: v for k, v in told.items() if k not in {"runs", "table", "score", "maintenance"}}
        )
        if score := told["score"]:
            display.show_mapping(
                f"scored {score['finished']:%Y-%m-%d %H:%M} at version {score['version']}", {score["pairs"]: score["verdict"]}
            )
        if done := told["maintenance"]:
            display.show_mapping(f"maintained {done['finished']:%Y-%m-%d %H:%M} at version {done['version']}", {"index": done["verdict"]})
        display.show_rows(told["runs"], ["run", "state", "started", "listed", "embedded", "quarantined", "deleted"])


@app.command()
def show(
    file: Annotated[Path, typer.Argument(help="A picture, sound, text or video on this machine.")],
    space: Annotated[str, typer.Option(help="A space's name or TOML file.")] = "miniature",
    output: Annotated[Path | None, typer.Option(help="Folder for the pictures; default FILE's name with -shown, here.")] = None,
    most: Annotated[int, typer.Option(min=0, max=1000, help="Most segments of each modality that are drawn.")] = 8,
    as_json: Json = False,
) -> None:
    """Print where FILE's segments lie, and draw what the encoders see: patches, spectrograms, tokens."""
    with refusing():
        from encoders.spaces import load_space
        from flows import display
        from flows.show import show_file

        told = show_file(file, load_space(space), output or Path(f"{file.stem}-shown"), most)
        print_json(told) if as_json else display.show_segments(told)


@app.command()
def encoders(as_json: Json = False) -> None:
    """Every space, encoder and well-known checkpoint: what it reads, dimension, licence, and whether its weights are here."""
    with refusing():
        from encoders.catalogue import catalogue
        from flows import display

        entries = catalogue()
        print_json([asdict(entry) for entry in entries]) if as_json else display.show_catalogue(entries)


@app.command("train-words")
def train_words_of(
    source: Annotated[str, typer.Argument(help="A folder, or s3://bucket/prefix, gs://…, az://…, https://…")],
    method: Annotated[str | None, typer.Option(help="skip-gram, cbow, glove, or vocabulary, which only counts; default skip-gram.")] = None,
    output: Annotated[str | None, typer.Option(help="Folder that is made; default words.")] = None,
    dimension: Annotated[int | None, typer.Option(help="Length of a vector; default 100.")] = None,
    window: Annotated[int | None, typer.Option(help="Neighbours on each side; default 5.")] = None,
    min_count: Annotated[int | None, typer.Option(help="Leave out words that occur more rarely; default 5.")] = None,
    most_words: Annotated[int | None, typer.Option(help="Keep at most so many words; default 400,000.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the texts; default 5, for glove 25.")] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed and texts give the same vectors; default 1.")] = None,
    x_max: Annotated[float | None, typer.Option(help="Of glove: from this count on all pairs weigh the same; default 100.")] = None,
    floor: Annotated[float | None, typer.Option(help="Fail if a smaller share of the texts can be read; default 0.6.")] = None,
    text_column: Annotated[str | None, typer.Option(help="Read this column of JSONL, CSV, TSV and Parquet files, too.")] = None,
    caption_column: Annotated[str | None, typer.Option(help="Column put in front of each row's text; default none.")] = None,
    scratch: Annotated[str | None, typer.Option(help="Folder for files on the way.")] = None,
    as_json: Json = False,
) -> None:
    """Train vectors of words on the texts of SOURCE, as weights for the encoders word-vectors and one-hot."""
    with refusing():
        from flows import display, settings_given
        from flows.train_words import good_enough, train_words

        asked = settings_given.train_words_settings(
            source=source,
            method=method,
            output=output,
            dimension=dimension,
            window=window,
            min_count=min_count,
            most_words=most_words,
            epochs=epochs,
            seed=seed,
            x_max=x_max,
            floor=floor,
            tables={"text": text_column or "", "caption": caption_column or ""},
            scratch=scratch,
        )
        with display.steps() as told:
            account = train_words(asked, told)
        print_json(account) if as_json else display.show_training(account)
    if not good_enough(asked, account):
        raise typer.Exit(1)


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(help="Where the demo's bucket and database go.")] = Path("demo"),
    direct: Annotated[bool, typer.Option("--direct", help="Run without Prefect.")] = False,
    as_json: Json = False,
) -> None:
    """Make a small bucket, embed it, ask it some questions."""
    with refusing():
        from flows import demo as shown

        if as_json:
            print_json(shown.answers(folder, direct=direct))
        else:
            shown.show_demo(folder, direct=direct)


@app.command("version")
def print_version(as_json: Json = False) -> None:
    """The version of Sensorium."""
    number = version("sensorium")
    print_json({"version": number}) if as_json else typer.echo(number)


if __name__ == "__main__":
    main()
