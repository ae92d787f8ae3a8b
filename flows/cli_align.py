"""The command `sensorium align`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.command import Json, print_json, refusing

Shares = Annotated[str | None, typer.Option(help="Shares of train, validation and test; default 0.8,0.1,0.1.")]


def align(
    pairs: Annotated[str, typer.Argument(help="Parquet, CSV or JSONL with columns text, image, audio, video: a file or a URL.")] = "",
    space: Annotated[str | None, typer.Option(help="The encoders: a space's name or TOML file; default miniature.")] = None,
    name: Annotated[str | None, typer.Option(help="Of the new space, and of its folder.")] = None,
    out: Annotated[str | None, typer.Option(help="Folder in which that folder is made; default here.")] = None,
    source: Annotated[str | None, typer.Option(help="Where relative URIs begin: a folder or a URL; default the pairs' folder.")] = None,
    columns: Annotated[str | None, typer.Option(help="Columns of the pairs that are used, such as text,image; default all.")] = None,
    head: Annotated[str | None, typer.Option(help="linear, mlp or residual; default residual.")] = None,
    dimension: Annotated[int | None, typer.Option(help="Of the new space; default the largest of the encoders'.")] = None,
    keep: Annotated[str | None, typer.Option(help="Modalities whose vectors stay as they are, such as text,image.")] = None,
    train: Annotated[
        str | None, typer.Option(help="heads, last:N (blocks of the encoders), all, scratch, or none: calibrate alone; default heads.")
    ] = None,
    loss: Annotated[str | None, typer.Option(help="info-nce, multi-positive or sigmoid; default info-nce.")] = None,
    batch: Annotated[int | None, typer.Option(help="Pairs of one step; default 1024.")] = None,
    chunk: Annotated[int | None, typer.Option(help="Pairs that go through an encoder at once (GradCache).")] = None,
    steps: Annotated[int | None, typer.Option(help="How long to train; default 1000.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the pairs, instead of steps.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Default 0.001 for heads, 0.00002 for encoders, 0.0005 from scratch.")] = None,
    hard_negatives: Annotated[int | None, typer.Option(help="Near but wrong neighbours of each pair; default 0.")] = None,
    metric: Annotated[
        str | None, typer.Option(help='Decides which weights are kept: mrr, recall@1, "text>image mrr"; default mrr.')
    ] = None,
    patience: Annotated[int | None, typer.Option(help="Validations without a better one after which it stops; default 5.")] = None,
    shares: Shares = None,
    seed: Annotated[int | None, typer.Option(help="The same seed and pairs give the same weights; default 1.")] = None,
    calibrate: Annotated[bool | None, typer.Option("--calibrate/--no-calibrate", help="Close the gap between modalities.")] = None,
    replace: Annotated[bool | None, typer.Option("--replace", help="Replace a space of this name that was made otherwise.")] = None,
    allow_deletions: Annotated[bool | None, typer.Option("--allow-deletions", help="Delete vectors although much has vanished.")] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file with any of these settings; flags win.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:N.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that decode; default one per core.")] = None,
    scratch: Annotated[str | None, typer.Option(help="Folder for files between tasks.")] = None,
    direct: Annotated[bool, typer.Option("--direct", help="Run without Prefect.")] = False,
    as_json: Json = False,
) -> None:
    """Learn from PAIRS how encoders come into one space, and write that space."""
    with refusing():
        from flows import settings_given
        from flows.display_align import show_alignment
        from flows.drive import drive_align

        asked = settings_given.align_settings(
            config,
            pairs=pairs or None,
            space=space,
            name=name,
            out=out,
            source=source,
            head=head,
            dimension=dimension,
            columns=_names(columns),
            keep=_names(keep),
            train=train,
            loss=loss,
            batch=batch,
            chunk=chunk,
            steps=steps,
            epochs=epochs,
            learning_rate=learning_rate,
            hard_negatives=hard_negatives,
            metric=metric,
            patience=patience,
            shares=_shares(shares),
            seed=seed,
            calibrate=calibrate,
            replace=replace,
            allow_deletions=allow_deletions,
            device=device,
            workers=workers,
            scratch=scratch,
        )
        account = drive_align(asked, direct=direct)
        print_json(account) if as_json else show_alignment(account)


def _names(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(name.strip() for name in text.split(",") if name.strip())


def _shares(text: str | None) -> dict[str, float] | None:
    from flows.settings import SettingsError

    if text is None:
        return None
    try:
        train, validation, test = map(float, text.split(","))
    except ValueError:
        raise SettingsError(f"shares = {text!r}: give three numbers that add up to 1, such as 0.8,0.1,0.1") from None
    return {"train": train, "validation": validation, "test": test}
