"""docs/answers.md, done: `python -m benchmarks.answer_page` types its commands and writes what they print.

It asks the demo's table too, which `make demo` makes.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.alignment_guide import commands, run, with_outputs

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "answers.md"


def main() -> None:
    """Run the page's commands, and write into it what they print."""
    printed = {command: run(command, ROOT).replace(f"{ROOT}/", "/home/me/sensorium/") for command in commands(PAGE)}
    PAGE.write_text(with_outputs(PAGE.read_text(encoding="utf-8"), printed.__getitem__), encoding="utf-8")


if __name__ == "__main__":
    main()
