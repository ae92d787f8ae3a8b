"""What LanceDB and its engine raise, told as one `TableError` with a word that people group by and what to do instead."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from storage.errors import StorageError, TableError

# The engine raises OSError, RuntimeError and ValueError for the same fault, depending on the call: only the text tells them apart.
_FAULTS = {
    "no space": r"no space left|os error 28\b|disk quota|storage full",
    "missing credentials": r"credentialsnotloaded|no providers in chain|failed to get \w+ credentials",
    "missing bucket": r"nosuchbucket|container.?not.?found|bucket does not exist",
    "not allowed": r"permission denied|accessdenied|access denied|forbidden|\b403\b|read-only file system",
    "unreachable": r"connect error|connection refused|error sending request|timed out|dns error",
    "not a folder": r"file exists|not a directory|no such file or directory",
}
_ADVICE = {
    "no space": "free some space there, or name another database; the table is as it was",
    "missing credentials": "set the store's credentials in the environment",
    "missing bucket": "create the bucket or correct its name",
    "not allowed": "ask for the right to read and write there",
    "unreachable": "check the endpoint and the network, then run again",
    "not a folder": "name a folder that exists or can be created",
}


@contextmanager
def told(doing: str) -> Iterator[None]:
    """Raise what the engine raises inside as `TableError`; `doing` is what was tried, e.g. "opening table 'media'"."""
    try:
        yield
    except StorageError:
        raise
    except (OSError, RuntimeError, ValueError) as error:
        raise explain(error, doing) from error


def explain(error: Exception, doing: str) -> TableError:
    """The `TableError` that says what `error` means."""
    text = str(error)
    for reason, pattern in _FAULTS.items():
        if re.search(pattern, text, re.IGNORECASE):
            return TableError(reason, f"{doing} failed ({_first_words(text)}); {_ADVICE[reason]}")
    return TableError("not usable", f"{doing} failed ({_first_words(text)})")


def _first_words(text: str) -> str:
    """One readable line: without places in Rust sources, requests' addresses and what follows them."""
    line = re.sub(r",? ?/\S+\.rs:\d+:\d+", "", text.replace("\n", " "))
    line = re.sub(r"uri: Some\([^)]*\)|https?://\S+", "…", line)
    return line if len(line) <= 200 else line[:199] + "…"
