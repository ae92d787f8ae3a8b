"""A folder as a source: every name that the file system allows, and nothing opened that is not a plain file.

A name is listed byte for byte as it is. Bytes that are not UTF-8, which Arrow cannot hold, are each written as U+FFFD followed by two
hex digits (`b"caf\\xe9.txt"` becomes `caf\\ufffdE9.txt`); a U+FFFD that a name really holds in front of two such digits is written by its
own three bytes, so that every key still stands for exactly one name.

Links to files are followed wherever they point, for subsets are often made of links. Links to folders are not (they loop, or lead to
a whole disk): such a link is listed with a "/" at its end, like a directory marker of an object store. Pipes, sockets, devices and
broken links are listed too, with size 0, and refused by `fetch` without being opened.
"""

from __future__ import annotations

import errno
import os
import posixpath
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa

from storage.errors import ObjectError, SourceError
from storage.looks import PIECE, Look
from storage.schema import LISTING

BATCH = 10_000
_UNWRITABLE = re.compile("[\udc80-\udcff]|\ufffd(?=[0-9A-F]{2})")
_WRITTEN = re.compile("\ufffd([0-9A-F]{2})".encode())
_Row = tuple[str, int, str, int]


def name_to_key(name: str) -> str:
    """A file name (as `os.fsdecode` gives it) as valid Unicode; the identity for all but names that are not UTF-8."""
    if name.isascii():
        return name
    return _UNWRITABLE.sub(lambda m: "".join(f"\ufffd{byte:02X}" for byte in m[0].encode("utf-8", "surrogateescape")), name)


def below(root: str, name: str) -> str:
    """The URI of a name that is relative to the root of a source.

    In a folder "../" leads out of it, as in a shell. An object store has no folders to leave.
    """
    kind, _, place = root.partition("://")
    if kind == "file":
        return f"file://{posixpath.normpath(posixpath.join(place, name_to_key(name)))}"
    return f"{root}/{posixpath.normpath(name_to_key(name))}"


def key_to_name(key: str) -> str:
    """The inverse of `name_to_key`."""
    if "\ufffd" not in key:
        return key
    return _WRITTEN.sub(lambda m: bytes.fromhex(m[1].decode()), key.encode()).decode("utf-8", "surrogateescape")


class FolderSource:
    """All files below one folder.

    Parameters
    ----------
    path : the folder, absolute or relative; links in it are resolved.
    """

    def __init__(self, path: str) -> None:
        self._folder = os.path.realpath(path)
        self._base = self._folder.rstrip("/") + "/"
        self.root = "file://" + name_to_key(self._folder.rstrip("/"))

    def __reduce__(self) -> tuple[Callable[[str], FolderSource], tuple[str]]:
        return FolderSource, (self._folder,)

    def check(self) -> None:
        """Raise SourceError unless the folder is there and can be listed."""
        try:
            with os.scandir(self._folder) as entries:
                next(entries, None)
        except OSError as error:
            raise self._explain(error, self._folder) from error

    def listing(self) -> Iterator[pa.RecordBatch]:
        """Batches of `storage.schema.LISTING`, in no particular order."""
        identity = self._identity()
        rows: list[_Row] = []
        for row in self._walk():
            rows.append(row)
            if len(rows) == BATCH:
                yield _batch(rows)
                rows = []
        if self._identity() != identity:
            raise SourceError("unavailable", f"{self.root} was replaced by another folder while it was listed; run again")
        if rows:
            yield _batch(rows)

    def fetch(self, uri: str, folder: Path, limit: int) -> Path:
        """The file itself, once it is seen to be a plain one that may be read, of at most `limit` bytes; `folder` stays unused."""
        size = self.look(uri).size
        if size > limit:
            raise ObjectError("too many bytes", f"{uri} has {size:,} bytes, allowed are {limit:,}; raise the limit to read it")
        return Path(self._path(uri))

    def look(self, uri: str) -> Look:
        """Size and etag, once it is seen to be a plain file that may be read."""
        path = self._path(uri)
        try:
            found = Path(path).stat()
            if not stat.S_ISREG(found.st_mode):
                raise ObjectError("not a file", f"{uri} is {_kind(found.st_mode)}; only plain files are read")
            os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
        except OSError as error:
            raise _explain_object(error, uri, os.path.lexists(path)) from error
        return Look(found.st_size, _etag(found))

    def part(self, uri: str, start: int, stop: int) -> Iterator[bytes]:
        """Some of a file's bytes, piece by piece."""
        self.look(uri)
        with Path(self._path(uri)).open("rb") as file:
            file.seek(start)
            while start < stop and (piece := file.read(min(PIECE, stop - start))):
                yield piece
                start += len(piece)

    def _walk(self) -> Iterator[_Row]:
        pending = [self._folder]
        while pending:
            folder = pending.pop()
            try:
                with os.scandir(folder) as entries:
                    for entry in entries:
                        if entry.is_dir(follow_symlinks=False):
                            pending.append(entry.path)
                        elif row := self._row(entry):
                            yield row
            except OSError as error:
                gone = isinstance(error, FileNotFoundError | NotADirectoryError) and folder != self._folder
                if not gone:
                    raise self._explain(error, folder) from error

    def _row(self, entry: os.DirEntry[str]) -> _Row | None:
        """One entry's row; None where it left between the listing and this look."""
        try:
            found = entry.stat(follow_symlinks=False)
            if stat.S_ISLNK(found.st_mode):
                found = _behind(entry, found)
        except FileNotFoundError:
            return None
        end = "/" if stat.S_ISDIR(found.st_mode) else ""
        size = found.st_size if stat.S_ISREG(found.st_mode) else 0
        uri = f"{self.root}/{name_to_key(entry.path[len(self._base) :])}{end}"
        return uri, size, _etag(found), found.st_mtime_ns // 1000

    def _path(self, uri: str) -> str:
        if not uri.startswith(self.root + "/"):
            raise ValueError(f"{uri!r} does not lie in {self.root}; fetch it from the source that listed it")
        name = key_to_name(uri[len(self.root) + 1 :])
        if ".." in name.split("/") or "\0" in name:
            raise ValueError(f"{uri!r} is no name that a listing gives; give the URI as it was listed")
        return self._base + name

    def _identity(self) -> tuple[int, int]:
        try:
            found = Path(self._folder).stat()
        except OSError as error:
            raise self._explain(error, self._folder) from error
        return found.st_dev, found.st_ino

    def _explain(self, error: OSError, folder: str) -> SourceError:
        shown = "file://" + name_to_key(folder)
        if isinstance(error, FileNotFoundError):
            return SourceError("missing folder", f"{shown} does not exist; give an existing folder, spelled as it is (no %20)")
        if isinstance(error, NotADirectoryError):
            return SourceError("not a folder", f"{shown} is no folder; give the folder that holds it")
        if isinstance(error, PermissionError):
            return SourceError("denied", f"{shown} may not be listed by this user; grant the right, or give a folder without it")
        return SourceError("unavailable", f"{shown} cannot be listed ({error.strerror}); mend the disk or mount, then run again")


def _etag(found: os.stat_result) -> str:
    """Of a file: another one in its place, a change, or another size give another etag."""
    size = found.st_size if stat.S_ISREG(found.st_mode) else 0
    return f"{found.st_ino:x}-{found.st_mtime_ns:x}-{size:x}"


def _behind(entry: os.DirEntry[str], link: os.stat_result) -> os.stat_result:
    """What a link points to, or the link itself where that is nothing or a loop."""
    try:
        return entry.stat()
    except OSError:
        return link


def _kind(mode: int) -> str:
    kinds = {
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    return kinds.get(stat.S_IFMT(mode), "something else")


def _explain_object(error: OSError, uri: str, there: bool) -> ObjectError:
    if there and (isinstance(error, FileNotFoundError) or error.errno == errno.ELOOP):
        return ObjectError("broken link", f"{uri} is a link that leads nowhere; mend or remove it")
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return ObjectError("vanished", f"{uri} was listed and is gone; the next run will count it as deleted")
    if isinstance(error, PermissionError):
        return ObjectError("denied", f"{uri} may not be read by this user; grant the right to read it")
    return ObjectError("unavailable", f"{uri} cannot be read ({error.strerror})", retryable=True)


def _batch(rows: list[_Row]) -> pa.RecordBatch:
    uris, sizes, etags, modified = zip(*rows, strict=True)
    return pa.record_batch(
        [pa.array(uris), pa.array(sizes, pa.int64()), pa.array(etags), pa.array(modified, LISTING.field("modified").type)], schema=LISTING
    )
