"""The demo: a small bucket of a generated world, embedded and asked, in under a minute."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from shlex import quote
from typing import Any

from encoders.miniature.bucket import QUESTIONS, make_bucket, query_picture
from flows import display
from flows.settings import EmbedSettings
from retrieval.query import Hit, Searcher

SHOWN = 4


def run_demo(folder: Path, *, direct: bool) -> None:
    """Make a bucket in `folder`, embed it as a Prefect flow run (or directly), and ask it: in English, in Chinese, and with a picture."""
    server = None if direct else _start_server()  # comes up while the bucket is made
    bucket, database = folder / "bucket", folder / "lance"
    display.out.print(f"[bold]1. A bucket[/bold]: pictures, sounds and texts of a small generated world, in {bucket}")
    manifest = make_bucket(bucket)
    display.out.print(f"   {manifest.good} good objects, {manifest.broken} broken, {manifest.foreign} of no medium that Sensorium reads\n")
    display.out.print("[bold]2. Embed it[/bold]: every object becomes vectors in a table, or is accounted for")
    _embed(bucket, database, direct, server)
    display.out.print("\n[bold]3. Ask it[/bold]")
    searcher = Searcher(str(database))
    for words, modality in QUESTIONS:
        _show(f"{words}  (among {modality})", searcher.search(words, modality=modality, limit=SHOWN), manifest)
    picture = query_picture(folder)
    _show(f"the picture {picture}  (among image)", searcher.search(picture, modality="image", limit=SHOWN), manifest)
    _say_what_next(bucket, database, picture, direct)


def _start_server() -> Any:
    from flows.local_server import LocalServer, api_is_configured

    return None if api_is_configured() else LocalServer()


def _embed(bucket: Path, database: Path, direct: bool, server: Any) -> None:
    from flows.bucket_run import open_run
    from flows.direct import embed_direct
    from flows.prefect_run import run_flow

    settings = EmbedSettings(source=str(bucket), database=str(database))
    if direct:
        with display.progress("embedding"):
            account = embed_direct(open_run(settings))
    else:
        account = run_flow(settings, server)
    display.show_account(account, open_run(settings).verdict(account))


def _show(question: str, hits: list[Hit], manifest: Any) -> None:
    display.out.print(f"\n[bold]{question}[/bold]")
    for hit in hits:
        key = hit.uri.split("/bucket/", 1)[1]
        caption = manifest.captions.get(key, "")
        display.out.print(f"   {hit.score:.3f}  {key}" + (f"   [dim]({caption})[/dim]" if caption else ""), markup=True)


def _say_what_next(bucket: Path, database: Path, picture: Path, direct: bool) -> None:
    sensorium, table = _program("sensorium"), quote(str(database))
    lines = [
        f"{sensorium} search {table} '一只红色的狗' --modality image",
        f"{sensorium} search {table} {quote(str(picture))} --modality audio",
        f"{sensorium} status {table}",
        f"{sensorium} quarantine list {table}",
        f"{sensorium} embed {quote(str(bucket))} {table}      # again: nothing to do",
    ]
    display.out.print("\n[bold]Next[/bold], type")
    for line in lines:
        display.out.print(f"   {line}", markup=False)
    if not direct:
        display.out.print(f"To see the run in Prefect's UI: {_program('prefect')} server start, then open http://127.0.0.1:4200/runs")


def _program(name: str) -> str:
    """How to type a program of this environment: by its name if the shell would find this one, else by its path."""
    here = Path(sys.executable).parent / name
    found = shutil.which(name)
    if found is not None and Path(found).resolve() == here.resolve():
        return name
    return quote(os.path.relpath(here))
