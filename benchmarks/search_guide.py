"""docs/search.md, done: `python -m benchmarks.search_guide`, in the folder of `demo/`, runs its commands and writes what they print.

Writes demo/prices.csv, demo/known.txt and demo/questions.txt, which the page's commands read, and calibrates demo/lance.
"""

from __future__ import annotations

import json
import re
import shlex
import zlib
from collections.abc import Iterator
from pathlib import Path

import polars as pl
from typer.testing import CliRunner

from flows.cli import app
from retrieval.query import Searcher

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "search.md"
DEMO = Path("demo")
QUESTIONS = ("a dog barking", "夜晚，一只白色的猫", "quarterly tax report", "a blue train", "uri:nowhere")
_BLOCK = re.compile(r"^```bash\n(?P<command>sensorium .*?)\n```\n\n```text\n.*?^```", re.MULTILINE | re.DOTALL)


def main() -> None:
    """Make the files, run the page, and write into it what its commands print."""
    uris = Searcher(str(DEMO / "lance")).table.search().select(["uri"]).limit(None).to_polars().get_column("uri").unique().sort()
    prices = [5 + zlib.crc32(uri.rpartition("/demo/")[2].encode()) % 50 for uri in uris]
    pl.DataFrame({"uri": uris, "price": prices}).write_csv(DEMO / "prices.csv")
    (DEMO / "questions.txt").write_text("\n".join(QUESTIONS) + "\n", encoding="utf-8")
    pairs = [json.loads(line) for line in (DEMO / "pairs.jsonl").read_text(encoding="utf-8").splitlines()]
    known = dict.fromkeys(pair["text"] for pair in pairs if "text" in pair)
    (DEMO / "known.txt").write_text("\n".join(known) + "\n", encoding="utf-8")
    text = PAGE.read_text(encoding="utf-8")
    printed = outputs(text, home=uris[0].partition("/demo/")[0].removeprefix("file://"))
    PAGE.write_text(_BLOCK.sub(lambda block: f"```bash\n{block['command']}\n```\n\n```text\n{next(printed)}\n```", text), encoding="utf-8")


def outputs(text: str, home: str) -> Iterator[str]:
    """What each command of a page prints; $PWD in it is the folder in which the demo was made."""
    for block in _BLOCK.finditer(text):
        run = CliRunner().invoke(app, shlex.split(block["command"].replace("$PWD", home))[1:])
        if run.exit_code == 2:
            raise SystemExit(f"{block['command']} was refused: {run.output}")
        yield run.output.replace(f"file://{home}/", "").strip("\n")


if __name__ == "__main__":
    main()
