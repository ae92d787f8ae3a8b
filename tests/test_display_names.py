"""File names that hold a terminal's codes and line breaks reach no terminal as they are, whichever command prints them."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from themed_table import make, things
from typer.testing import CliRunner

from encoders.spaces import load_space
from flows.cli import app

NASTY = "file:///b/\x1b[31m\n[bold]"
SHOWN = "file:///b/�[31m�[bold]"


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """Every name begins with what a terminal would obey, and ends as before."""
    rows = [replace(row, uri=row.uri.replace("file:///b/", NASTY)) for row in things(load_space("miniature").dimension)]
    return make(tmp_path_factory.mktemp("names") / "lance", rows)


@pytest.fixture
def examples(tmp_path):
    """A list of labelled objects, the labels as nasty as the names, and one object that is not there."""
    lines = [f'"{NASTY}{theme}/{k:02}.png","{theme}\x1b[31m\n"' for theme in range(3) for k in range(1, 12)]
    (tmp_path / "labels.csv").write_text("\n".join(["uri,label", *lines, f'"{NASTY}gone.png","0"']))
    return str(tmp_path / "labels.csv")


@pytest.mark.parametrize(
    "arguments",
    [
        ["classify", "{database}", "--examples", "{examples}"],
        ["cluster", "{database}", "--names", "texts", "--clusters", "3"],
        ["duplicates", "{database}", "--threshold", "0.99"],
        ["recommend", "{database}", "--like", NASTY + "0/01.png", "--dislike", NASTY + "gone.png"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_name_is_printed_on_one_line_without_codes(database, examples, arguments):
    places = {"{database}": database, "{examples}": examples}
    done = CliRunner().invoke(app, [places.get(argument, argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    assert SHOWN in done.stdout and not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", done.stdout)
    assert not any(line.startswith("[bold]") for line in done.stdout.splitlines())
