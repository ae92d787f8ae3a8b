"""Pages of docs/, done: `python -m benchmarks.pages docs/answers.md …` types their commands and writes what they print into them.

In the folder of `demo/`, which `make demo` makes. Of a page's blocks in its order: one that begins with a dollar is run, command by
command, and gets what they print now; one called "python run" is run; any other with a name beside its language is written to a file of
that name. Answers, recommendations and classes have such pages; docs/search.md, lancedb.md and cluster.md have commands of their own.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from benchmarks.alignment_guide import run

ROOT = Path(__file__).parent.parent
COMMAND = re.compile(r"^[$] (?:.*\\\n)*.*\n", re.MULTILINE)
BLOCK = re.compile(r"^```(\w*)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def main() -> None:
    """Run the pages that the command names, one after the other."""
    if not sys.argv[1:]:
        sys.exit("name pages, such as docs/answers.md docs/recommend.md docs/classify.md")
    for page in map(Path, sys.argv[1:]):
        page.write_text(BLOCK.sub(done, page.read_text(encoding="utf-8")), encoding="utf-8")


def done(block: re.Match[str]) -> str:
    """A block with what its commands print now."""
    language, name, content = block.groups()
    if content.startswith("$ "):
        return f"```{language}\n{''.join(map(typed, COMMAND.findall(content)))}```"
    if (language, name) == ("python", "run"):
        exec(compile(content, "page", "exec"), {})
    elif name:
        (ROOT / name).write_text(content, encoding="utf-8")
    return block.group()


def typed(command: str) -> str:
    """A command as it stands in the page, and what it prints."""
    printed = run(re.sub(r"\s*\\\n\s*", " ", command[2:].strip()), ROOT)
    printed = printed.replace(f"file://{ROOT}/", "file:///…/").replace(f"{ROOT}/", "/home/me/sensorium/")
    return command + re.sub(r" +$", "", printed, flags=re.MULTILINE)


if __name__ == "__main__":
    main()
