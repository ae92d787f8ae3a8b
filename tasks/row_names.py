"""What rows of table files are called: the file's URI, "#", and the row's id (percent-encoded) or number.

An id keeps its letters, digits, "_", "~" and "-"; everything else is percent-encoded, "." and "/" too, so that a row never has the
extension of a picture or a text: `stock.csv#A-17%2F4`. An object of the source that happens to be called so has no type that is read.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath

_KINDS = {"jsonl": "jsonl", "ndjson": "jsonl", "csv": "csv", "tsv": "tsv", "parquet": "parquet"}
_PACKED = frozenset({"gz", "bz2", "xz", "zst", "zip"})
TABLE = rf"(?i)\.(?:{'|'.join(_KINDS)})(?:\.(?:{'|'.join(sorted(_PACKED))}))?$"
ROW = rf"(?i)\.(?:{'|'.join(_KINDS)})#[^./#]+$"
"""Regular expressions (Python's and Polars'): the names of table files match the first, the URIs of rows the second; those of objects that
are read otherwise match neither."""
TO_FILE = (r"(?s)#[^#]*$", "")
"""What to replace in a row's URI, and by what, so that the URI of its file is left."""

_ROW = re.compile(ROW)


def kind_of(uri: str) -> str | None:
    """How an object named as a table is read: "jsonl", "csv", "tsv", "parquet"; "compressed" for such a one with .gz behind; else None."""
    name = PurePosixPath(uri)
    extension = name.suffix[1:].lower()
    if extension in _PACKED:
        return "compressed" if PurePosixPath(name.stem).suffix[1:].lower() in _KINDS else None
    return _KINDS.get(extension)


def row_uri(file: str, key: str) -> str:
    """The URI of a row of a table file."""
    return f"{file}#{key}"


def is_row(uri: str) -> bool:
    """Whether a URI is a row's, if it is the URI of something that is read at all."""
    return _ROW.search(uri) is not None
