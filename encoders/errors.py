"""What can go wrong between an object's bytes and its vector: a small tree, picklable, that knows whether a retry can help."""

from __future__ import annotations


class MediumError(Exception):
    """One object cannot be embedded; its neighbours can.

    Parameters
    ----------
    reason : a short fixed word that people group by ("truncated", "too many pixels", …).
    message : what came, what was allowed, what to do instead.
    """

    retryable = False

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(reason, message)
        self.reason = reason
        self.message = message

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"


class UnreadableError(MediumError):
    """The bytes are not a whole picture, sound or text of the kind they claim to be."""


class LimitError(MediumError):
    """The object is larger than the settings allow; found before decoding."""


class EmptyError(MediumError):
    """The object is readable and holds nothing to embed."""


class EncoderError(Exception):
    """An encoder cannot be built or does not do what its spec says: stops the run, for every object would fail alike."""
