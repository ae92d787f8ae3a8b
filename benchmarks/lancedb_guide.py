"""docs/lancedb.md, done: `python -m benchmarks.lancedb_guide`, in the folder of `demo/`, runs its Python and writes what it prints."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "lancedb.md"
_BLOCK = re.compile(r"^```python\n(?P<code>.*?)^```\n\n```text\n.*?^```", re.MULTILINE | re.DOTALL)


def main() -> None:
    """Run the page, and write into it what it prints."""
    text = PAGE.read_text(encoding="utf-8")
    printed = outputs(text)
    PAGE.write_text(_BLOCK.sub(lambda block: f"```python\n{block['code']}```\n\n```text\n{next(printed)}```", text), encoding="utf-8")


def outputs(text: str) -> Iterator[str]:
    """What each block of Python of a page prints; each sees the names of those before it."""
    names: dict[str, object] = {}
    for block in _BLOCK.finditer(text):
        printed = io.StringIO()
        with redirect_stdout(printed):
            exec(compile(block["code"], str(PAGE), "exec"), names)
        yield printed.getvalue().replace(f"{ROOT}/", "").strip("\n") + "\n"


if __name__ == "__main__":
    main()
