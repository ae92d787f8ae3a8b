"""The command `sensorium export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.command import Database, Json, TableName, print_json, refusing
from flows.filter_flags import Medium, ModalityOf, Prefix, kept


def export(
    database: Database,
    file: Annotated[Path, typer.Argument(help="Parquet file that is written, such as table.parquet.")],
    table: TableName = "media",
    with_map: Annotated[bool, typer.Option("--map", help="Places on a plane: columns x, y, and neighbors of each row.")] = False,
    cluster: Annotated[str | None, typer.Option(help="Clusters by kmeans or hdbscan: columns cluster, cluster_name.")] = None,
    labels: Annotated[Path | None, typer.Option(help="With --map and --cluster: a Parquet file of where their names go.")] = None,
    vectors: Annotated[bool, typer.Option("--vectors/--no-vectors", help="Column vector.")] = True,
    centre: Annotated[bool, typer.Option("--centre/--no-centre", help="Map and clusters: take each from the mean of its modality.")] = True,
    segments: Annotated[bool, typer.Option("--segments", help="Rows are segments instead of objects.")] = False,
    medium: Medium = None,
    modality: ModalityOf = None,
    prefix: Prefix = None,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of map and clusters.")] = 0,
    space: Annotated[str | None, typer.Option(help="The table's space, if its weights have moved: a name or TOML file.")] = None,
    as_json: Json = False,
) -> None:
    """Write the table into FILE for other programs, such as the map of embedding-atlas."""
    with refusing():
        from encoders.spaces import load_space
        from flows import secret_blocks
        from flows.display_cluster import show_exported
        from retrieval.cluster import export as exported
        from retrieval.query import Searcher

        secret_blocks.install()
        asked = exported.ExportSettings(
            keep=kept(medium, modality, prefix),
            segments=segments,
            vectors=vectors,
            map=with_map,
            cluster=cluster,
            labels=labels.expanduser() if labels else None,
            centre=centre,
            seed=seed,
        )
        report = exported.export(Searcher(database, table, load_space(space) if space else None), file.expanduser(), asked)
        print_json(report) if as_json else show_exported(report)
