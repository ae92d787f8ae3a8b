"""The command `sensorium classify`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.command import Database, Json, TableName, print_json, refusing
from flows.filter_flags import Medium, ModalityOf, Prefix, kept

if TYPE_CHECKING:
    import polars as pl


def classify(
    database: Database,
    table: TableName = "media",
    classes: Annotated[str | None, typer.Option(help="Names such as dog,cat,bird; or a TOML file, name = [prompts].")] = None,
    template: Annotated[list[str] | None, typer.Option(help='Around each prompt, such as "a photo of a {}"; repeatable.')] = None,
    examples: Annotated[Path | None, typer.Option(help="Parquet, CSV or JSONL with columns uri and label.")] = None,
    method: Annotated[str, typer.Option(help="auto, zero-shot, neighbours, centroids, logistic.")] = "auto",
    evaluate: Annotated[str | None, typer.Option(help="A list as --examples, or the share of it to judge by; default 0.2.")] = None,
    source: Annotated[str | None, typer.Option(help="Where relative URIs begin; default the folder of the list.")] = None,
    threshold: Annotated[float, typer.Option(min=0, max=1, help="Give no label below this probability.")] = 0.0,
    column: Annotated[str | None, typer.Option(help="Write labels into this column of the table, and NAME_probability.")] = None,
    medium: Medium = None,
    modality: ModalityOf = None,
    prefix: Prefix = None,
    output: Annotated[Path | None, typer.Option(help="Parquet, CSV or JSONL file for the labels of all objects.")] = None,
    seed: Annotated[int, typer.Option(help="Of what is kept apart, of the folds and of the intervals.")] = 1,
    space: Annotated[str | None, typer.Option(help="The table's space, if its weights have moved: a name or TOML file.")] = None,
    as_json: Json = False,
) -> None:
    """Sort objects into classes: by names alone, or by examples."""
    with refusing():
        from encoders.spaces import load_space
        from flows import label_file, secret_blocks
        from flows.display_classify import show_classified
        from retrieval.classify import classes as described
        from retrieval.classify import label_column
        from retrieval.classify.classify import Asked
        from retrieval.classify.classify import classify as sort
        from retrieval.query import Searcher
        from storage import row_files

        secret_blocks.install()
        write = row_files.writer(output, "labels") if output else None
        searcher = Searcher(database, table, load_space(space) if space else None)
        if column:
            label_column.refuse(searcher.table, column)
        templates = tuple(template or ())
        asked = Asked(
            classes=described.parse(classes, templates) if classes else None,
            examples=label_file.read(examples, source) if examples else None,
            method=method,
            least=threshold,
            keep=kept(medium, modality, prefix),
            templates=templates,
            seed=seed,
            **_evaluation(evaluate, source),
        )
        found = sort(searcher, asked)
        found.report["column"] = label_column.write(database, table, found.labels, column) if column else None
        if write and output:
            write(found.labels.drop("content_hash"))
        found.report["output"] = str(output) if output else None
        if as_json:
            rows = None if output else found.labels.drop("content_hash").to_dicts()
            print_json({**found.report, "rows": rows})
        else:
            show_classified(found)


def _evaluation(evaluate: str | None, source: str | None) -> dict[str, Any]:
    """A share is a number; all else is the path of a list."""
    from flows import label_file

    if evaluate is None:
        return {}
    try:
        return {"share": float(evaluate)}
    except ValueError:
        judges: pl.DataFrame = label_file.read(Path(evaluate), source)
        return {"evaluation": judges}
