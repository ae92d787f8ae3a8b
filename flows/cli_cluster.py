"""The command `sensorium cluster`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.command import Database, Json, TableName, print_json, refusing
from flows.filter_flags import Medium, ModalityOf, Prefix, kept


def cluster(
    database: Database,
    table: TableName = "media",
    method: Annotated[str, typer.Option(help="kmeans parts everything; hdbscan leaves out what lies apart.")] = "kmeans",
    clusters: Annotated[int | None, typer.Option(min=1, help="How many, of kmeans; default the best silhouette's.")] = None,
    smallest: Annotated[int | None, typer.Option(min=2, help="Fewest members, of hdbscan; default √n/2, at least 5.")] = None,
    on: Annotated[str, typer.Option(help="plane: clusters of the map; or vectors.")] = "plane",
    centre: Annotated[bool, typer.Option("--centre/--no-centre", help="Take each from the mean of its modality first.")] = True,
    names: Annotated[
        str | None, typer.Option(help="words (nearest in the space), texts (of the members), none; default what is there.")
    ] = None,
    words: Annotated[Path | None, typer.Option(help="Words to name by, one a line; default those of the table's texts.")] = None,
    segments: Annotated[bool, typer.Option("--segments", help="Part segments instead of objects.")] = False,
    medium: Medium = None,
    modality: ModalityOf = None,
    prefix: Prefix = None,
    exemplars: Annotated[int, typer.Option(min=0, help="Shown of each cluster.")] = 3,
    outliers: Annotated[int, typer.Option(min=0, help="Shown of what lies most apart.")] = 5,
    output: Annotated[Path | None, typer.Option(help="Parquet, CSV or JSONL file for the cluster of every object.")] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="The same seed and table give the same clusters.")] = 0,
    space: Annotated[str | None, typer.Option(help="The table's space, if its weights have moved: a name or TOML file.")] = None,
    as_json: Json = False,
) -> None:
    """Part the table into clusters, name them, show what is typical of each and what lies apart."""
    with refusing():
        from encoders.spaces import load_space
        from flows import secret_blocks
        from flows.display_cluster import show_clusters
        from retrieval.cluster import cluster_names, clustering
        from retrieval.cluster.clusters import ClusterSettings
        from retrieval.query import Searcher
        from storage import row_files

        secret_blocks.install()
        write = row_files.writer(output, "clusters") if output else None
        asked = clustering.ClusteringSettings(
            parted=ClusterSettings(method, clusters, smallest, seed),
            keep=kept(medium, modality, prefix),
            segments=segments,
            centre=centre,
            on=on,
            names=names or ("words" if words else None),
            words=tuple(cluster_names.given(words.expanduser().read_text(encoding="utf-8"))) if words else (),
            exemplars=exemplars,
            outliers=outliers,
        )
        found = clustering.cluster(Searcher(database, table, load_space(space) if space else None), asked)
        if write:
            write(found.rows().drop("content_hash"))
        report = {"table": table, "method": method, "on": on, **found.report(), "output": str(output) if output else None}
        print_json(report) if as_json else show_clusters(report)
