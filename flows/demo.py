"""The demo: a small bucket of a generated world, embedded and asked, in under a minute."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from shlex import quote
from typing import Any

from rich.markup import escape

from encoders.media.kinds import medium_by_name
from encoders.miniature.bucket import MOMENT, QUESTIONS, Manifest, make_bucket, query_picture
from flows import display
from flows.drive import drive
from flows.local_server import LocalServer, api_is_configured
from flows.settings import EmbedSettings
from retrieval.filters import Filter
from retrieval.query import Hit, Searcher
from retrieval.search import moments
from retrieval.search.moments import Moment

SHOWN = 4


def show_demo(folder: Path, *, direct: bool) -> None:
    """Make a bucket in `folder`, embed it as a Prefect flow run (or directly), ask it, and say what to type next."""
    bucket, database = folder / "bucket", folder / "lance"
    server = _start_server(direct)
    display.out.print(f"[bold]1. A bucket[/bold]: pictures, sounds, texts and videos of a small generated world, in {bucket}")
    manifest = make_bucket(bucket)
    pairs = write_pairs(folder, manifest)
    display.out.print(f"   {manifest.good} good objects, {manifest.broken} broken, {manifest.foreign} of no medium that Sensorium reads\n")
    display.out.print("[bold]2. Embed it[/bold]: every object becomes vectors in a table, or is accounted for")
    account, verdict, _ = drive(_settings(bucket, database), direct=direct, server=server)
    display.show_account(account, verdict)
    display.out.print("\n[bold]3. Ask it[/bold]")
    for question, hits in _ask(folder, database):
        display.out.print(f"\n[bold]{escape(question)}[/bold]")
        for hit in hits:
            key = hit.uri.rpartition("/bucket/")[2]
            when = f"  {hit.start:.1f} to {hit.end:.1f} s" if isinstance(hit, Moment) else ""
            display.out.print(f"   {hit.score:.3f}  {escape(key)}{when}   [dim]({escape(manifest.captions.get(key, ''))})[/dim]")
    _say_what_next(bucket, database, query_picture(folder), pairs, direct)


def answers(folder: Path, *, direct: bool) -> dict[str, Any]:
    """The same for machines: the account, and each question with its hits."""
    server = _start_server(direct)
    write_pairs(folder, make_bucket(folder / "bucket"))
    account, _, _ = drive(_settings(folder / "bucket", folder / "lance"), direct=direct, server=server)
    asked = [{"question": question, "hits": [asdict(hit) for hit in hits]} for question, hits in _ask(folder, folder / "lance")]
    return {"account": account.to_dict(), "answers": asked}


def _start_server(direct: bool) -> LocalServer | None:
    """A local server, where one is needed; it comes up while the bucket is made."""
    return None if direct or api_is_configured() else LocalServer()


def _settings(bucket: Path, database: Path) -> EmbedSettings:
    return EmbedSettings(source=str(bucket), database=str(database))


def _ask(folder: Path, database: Path) -> Iterator[tuple[str, Sequence[Hit | Moment]]]:
    """Words in English and Chinese among everything, words for moments of videos, and a picture that is not in the bucket."""
    searcher = Searcher(str(database))
    for words, _ in QUESTIONS:
        yield f"{words}  (among everything)", searcher.search(words, per_object=True, limit=SHOWN)
    yield f"{MOMENT}  (moments of videos)", moments.find(searcher, MOMENT, keep=Filter(media=("video",)), limit=SHOWN)
    picture = query_picture(folder)
    for modality in ("image", "audio"):
        yield f"the picture {picture}  (among {modality})", searcher.search(picture, keep=Filter(modality=modality), limit=SHOWN)


def write_pairs(folder: Path, manifest: Manifest) -> Path:
    """What each picture, sound and video shows, as pairs to score the table by."""
    path = folder / "pairs.jsonl"
    media = {name: medium_by_name(name) for name in sorted(manifest.captions)}
    lines = [{"text": manifest.captions[name], medium: f"bucket/{name}"} for name, medium in media.items() if medium and medium != "text"]
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
    return path


def _say_what_next(bucket: Path, database: Path, picture: Path, pairs: Path, direct: bool) -> None:
    sensorium, table = _program("sensorium"), quote(str(database))
    lines = [
        f"{sensorium} search {table} '一列蓝色的火车' --modality image",
        f"{sensorium} search {table} {quote(str(picture))} --modality audio",
        f"{sensorium} search {table} 'a dog barking' --moments",
        f"{sensorium} score {table} --pairs {quote(str(pairs))}",
        f"{sensorium} status {table}",
        f"{sensorium} quarantine list {table}",
        f"{sensorium} embed {quote(str(bucket))} {table}      # again: nothing to do",
    ]
    display.out.print("\n[bold]Next[/bold], type")
    for line in lines:
        display.out.print(f"   {line}", markup=False)
    if direct:
        return
    if api_is_configured():
        display.out.print("The run stands in the UI of the Prefect API that you have configured, under Runs")
    else:
        display.out.print(f"To see the run in Prefect's UI: {_program('prefect')} server start, then open http://127.0.0.1:4200/runs")


def _program(name: str) -> str:
    """How to type a program of this environment: by its name if the shell would find this one, else by its path."""
    here = Path(sys.executable).parent / name
    found = shutil.which(name)
    if found is not None and Path(found).resolve() == here.resolve():
        return name
    return quote(os.path.relpath(here))
