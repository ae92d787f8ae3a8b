"""What can go wrong at a source or a table: a small tree, picklable, that knows what it stops and whether a retry can help.

StorageError
├── SourceError    the whole source cannot be listed or read: the run ends
├── ObjectError    one object cannot be fetched: its neighbours can
└── TableError     a table cannot be opened, changed or trusted: the run ends
"""

from __future__ import annotations


class StorageError(Exception):
    """Root of the tree.

    Parameters
    ----------
    reason : a short fixed word or two that people group by ("missing bucket", "vanished", …).
    message : what came, what was allowed, what to do instead; never a secret.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(reason, message)
        self.reason = reason
        self.message = message

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"


class SourceError(StorageError):
    """The source as a whole cannot be listed or read; nothing may be deleted on its account."""


class ObjectError(StorageError):
    """One object cannot be fetched.

    Parameters
    ----------
    retryable : whether the same request may succeed later in the same run.
    """

    def __init__(self, reason: str, message: str, retryable: bool = False) -> None:
        super().__init__(reason, message)
        self.args = (reason, message, retryable)
        self.retryable = retryable


class TableError(StorageError):
    """A table cannot be opened, changed or trusted."""
