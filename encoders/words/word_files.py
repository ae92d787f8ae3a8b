"""Word vectors in the files that Word2Vec and GloVe write: parsed with bounds, converted once into a folder that can be memory-mapped."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from array import array
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np

from encoders.errors import EncoderError
from encoders.words.vocabulary import VECTORS, write_config, write_vocabulary

SUFFIXES = (".txt", ".vec", ".bin")

LONGEST_WORD = 2**12  # bytes; the longest in the files that are about are a few hundred
MOST_DIMENSIONS = 2**13
_LONGEST_LINE = LONGEST_WORD + 32 * MOST_DIMENSIONS
_HEADER = re.compile(rb"(\d{1,10}) (\d{1,5})[ \t\r]*\n")
_ROWS = 2**12  # in memory at a time
_BLOCK = 2**20
_VERSION = 1  # of the converted folder


@dataclass(frozen=True)
class Block:
    """A few thousand words of a file with their vectors, float32 (n, dimension)."""

    words: list[bytes]
    vectors: np.ndarray


def is_word_file(path: Path) -> bool:
    """Whether a path names a file of word vectors, by its ending: GloVe's or Word2Vec's .txt or .vec, Word2Vec's .bin."""
    return path.is_file() and path.suffix in SUFFIXES


def converted(path: Path, digest: str) -> Path:
    """The folder (see `encoders.words.vocabulary`) made from a file of word vectors: in the user's cache, made at first use.

    Parameters
    ----------
    digest : hex SHA-256 of the file, under which the folder is kept.

    Raises
    ------
    EncoderError : the file is damaged or none of these, or the cache cannot be written.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sensorium" / "words"
    folder = cache / f"{digest}-{_VERSION}"
    if folder.is_dir():
        return folder
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with _appearing(folder) as unfinished:
            convert(path, unfinished)
    except OSError as problem:
        raise EncoderError(
            f"{path} is converted once, to {folder}, which cannot be written ({problem.strerror}); free space, or set XDG_CACHE_HOME to "
            "a folder that has it"
        ) from problem
    return folder


def convert(path: Path, folder: Path) -> None:
    """Write what a file of word vectors holds into an empty folder, a few thousand words in memory at a time."""
    text, starts = bytearray(), array("q", [0])
    with path.open("rb") as file, (folder / VECTORS).open("wb") as out:
        announced, dimension = _shape(path, file)
        out.write(_vectors_header(0, dimension))
        blocks = _binary_blocks(path, file, announced, dimension) if path.suffix == ".bin" else _text_blocks(path, file, dimension)
        for block in blocks:
            if not np.isfinite(block.vectors).all():
                raise _unreadable(path, f"a vector near word {len(starts):,} is not finite")
            for word in block.words:
                text += word
                starts.append(len(text))
            out.write(np.ascontiguousarray(block.vectors, "<f4").tobytes())
        n = len(starts) - 1
        if n == 0 or announced not in (0, n):
            raise _unreadable(path, f"it announces {announced:,} words and holds {n:,}")
        out.seek(0)
        out.write(_vectors_header(n, dimension))
    write_vocabulary(folder, bytes(text), np.frombuffer(starts, np.int64))
    write_config(folder, method="file", dimension=dimension, words=n)


def write_vectors(folder: Path, vectors: np.ndarray) -> None:
    """Write vectors (n, dimension) into a folder of words."""
    with (folder / VECTORS).open("wb") as out:
        out.write(_vectors_header(*vectors.shape))
        for start in range(0, len(vectors), _ROWS):
            out.write(np.ascontiguousarray(vectors[start : start + _ROWS], "<f4").tobytes())


def _shape(path: Path, file: BinaryIO) -> tuple[int, int]:
    """Words (0 where only the end of the file tells) and dimension; then the file stands at the first word."""
    line = file.readline(_LONGEST_LINE)
    if header := _HEADER.fullmatch(line):
        n, dimension = int(header[1]), int(header[2])
    elif path.suffix == ".bin":
        raise _unreadable(path, "it does not begin with the number of words and their dimension")
    else:
        n, dimension = 0, len(line.rstrip().split(b" ")) - 1
        file.seek(0)
    room = path.stat().st_size - file.tell()
    least = n * (4 * dimension + 2) if path.suffix == ".bin" else n * 2 * (dimension + 1)
    if not 0 < dimension <= MOST_DIMENSIONS or least > room + 1 or (header and not n):
        raise _unreadable(path, f"its first line speaks of {n:,} vectors of {dimension:,} numbers, for which it has not the size")
    return n, dimension


def _text_blocks(path: Path, file: BinaryIO, dimension: int) -> Iterator[Block]:
    lines = iter(lambda: file.readline(_LONGEST_LINE), b"")
    read = 0
    while some := list(islice(lines, _ROWS)):
        # A few words of GloVe's files hold spaces: what stands before the last `dimension` fields is the word.
        fields = [line.rstrip(b" \t\r\n").rsplit(b" ", dimension) for line in some]
        try:
            vectors = np.array([list(map(float, parts[1:])) for parts in fields], np.float32)
            if vectors.shape != (len(some), dimension):
                raise ValueError("too few numbers")
        except ValueError:
            raise _unreadable(path, f"line {read + _first_bad(fields, dimension):,} is no word and {dimension} numbers") from None
        read += len(some)
        yield Block([_checked(path, parts[0]) for parts in fields], vectors)


def _first_bad(fields: list[list[bytes]], dimension: int) -> int:
    for number, parts in enumerate(fields, start=1):
        try:
            list(map(float, parts[1:]))
        except ValueError:
            return number
        if len(parts) != dimension + 1:
            return number
    return 0


def _binary_blocks(path: Path, file: BinaryIO, n: int, dimension: int) -> Iterator[Block]:
    """Each word is bytes up to a space, then its numbers; some writers put a line end before the next word."""
    size = 4 * dimension
    held, place, left = b"", 0, n
    while left:
        words: list[bytes] = []
        numbers = bytearray()
        for _ in range(min(left, _ROWS)):
            if len(held) - place < LONGEST_WORD + 2 + size:
                held, place = held[place:] + file.read(_BLOCK + size), 0
            space = held.find(b" ", place, place + LONGEST_WORD + 2)
            if space < 0 or len(held) < space + 1 + size:
                raise _unreadable(path, f"it breaks off, or word {n - left + len(words) + 1:,} has no end")
            words.append(_checked(path, held[place:space].lstrip(b"\n")))
            numbers += held[space + 1 : space + 1 + size]
            place = space + 1 + size
        left -= len(words)
        yield Block(words, np.frombuffer(numbers, "<f4").reshape(len(words), dimension))
    if (held[place:] + file.read(16)).strip():
        raise _unreadable(path, f"more follows after the {n:,} words that it announces")


def _checked(path: Path, word: bytes) -> bytes:
    if len(word) > LONGEST_WORD:
        raise _unreadable(path, f"a word has {len(word):,} bytes, allowed are {LONGEST_WORD:,}")
    return word


def _vectors_header(n: int, dimension: int) -> bytes:
    """Head of a safetensors file with one array, always of one length, so that it can be written again when n is known."""
    about = {"dtype": "F32", "shape": [n, dimension], "data_offsets": [0, 4 * n * dimension]}
    text = json.dumps({"vectors": about}).encode().ljust(192)
    return len(text).to_bytes(8, "little") + text


@contextmanager
def _appearing(folder: Path) -> Iterator[Path]:
    """A folder to be filled, which takes its name when it is whole; whoever is first wins."""
    unfinished = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=folder.parent))
    try:
        yield unfinished
        with suppress(OSError):  # another process made it meanwhile
            unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    if not folder.is_dir():
        raise OSError(None, "it could not be renamed", str(folder))


def _unreadable(path: Path, why: str) -> EncoderError:
    return EncoderError(
        f"{path} is no whole file of word vectors: {why}; allowed are GloVe's .txt, and .txt, .vec and .bin as word2vec writes them, "
        "unpacked if they were compressed"
    )
