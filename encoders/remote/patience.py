"""When to ask a server again: after what it says, else after a growing time with jitter, and never for ever."""

from __future__ import annotations

import random
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from time import monotonic

from encoders.errors import EncoderError

FIRST_WAIT = 0.5
LONGEST_WAIT = 60.0


class PassingError(Exception):
    """A request failed in a way that may pass.

    Parameters
    ----------
    told : what happened, in words.
    after : seconds that the server asks to wait; None where it does not say.
    silent : nobody answered at all, so that the address may be wrong.
    limited : the server turned the request down for its rate, whatever stands in it.
    """

    def __init__(self, told: str, after: float | None = None, *, silent: bool = False, limited: bool = False) -> None:
        super().__init__(told)
        self.after = after
        self.silent = silent
        self.limited = limited


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait by the headers "retry-after-ms" and "retry-after" (seconds or a date, RFC 9110, section 10.2.3); None without one.

    A date is compared with the server's own clock, its header "date", where there is one.
    """
    for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            return max(0.0, float(headers[name]) * scale)
        except (KeyError, ValueError):
            continue
    until = _date(headers.get("retry-after", ""))
    if until is None:
        return None
    return max(0.0, (until - (_date(headers.get("date", "")) or datetime.now(UTC))).total_seconds())


def _date(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


class Pause:
    """What all lanes to one server share: a rate limit holds all of them back, and an error that is final ends all their waiting."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._until = 0.0
        self._ended = 0
        self._error: EncoderError | None = None

    @property
    def ended(self) -> int:
        """How many final errors there have been."""
        return self._ended

    def hold(self, seconds: float) -> None:
        """Let nobody ask for so long."""
        with self._changed:
            self._until = max(self._until, monotonic() + seconds)

    def end(self, error: EncoderError) -> EncoderError:
        """Wake whoever waits, to raise this error."""
        with self._changed:
            self._error, self._ended = error, self._ended + 1
            self._changed.notify_all()
        return error

    def wait(self, seconds: float, since: int) -> float:
        """Wait so long and as long as all are held back; returns how long that was.

        Raises the final error if there was one since the count `since` of `ended`.
        """
        began = monotonic()
        with self._changed:
            while self._ended == since and (left := max(began + seconds, self._until) - monotonic()) > 0:
                self._changed.wait(left)
            if self._ended != since and self._error is not None:
                raise EncoderError(*self._error.args)
        return monotonic() - began


class Patience:
    """The patience for one request: how often it was tried, and how long it may go on waiting.

    Parameters
    ----------
    seconds : most seconds of waiting in all.
    advice : what to do when they are over.
    """

    def __init__(self, seconds: float, advice: str = "What was committed stays: run again later") -> None:
        self.seconds = seconds
        self.advice = advice
        self.tries = 0
        self.waited = 0.0

    def next_wait(self, problem: PassingError) -> float:
        """Seconds to wait before the next try.

        What the server asks for, else 0.5 s, doubled with each try up to a minute, of which a random half is taken off so that many clients
        do not come back at once.

        Raises
        ------
        EncoderError : that would exceed the patience.
        """
        growing = min(LONGEST_WAIT, FIRST_WAIT * 2**self.tries) * random.uniform(0.5, 1.0)  # noqa: S311 - no secret hangs on it
        wait = growing if problem.after is None else problem.after + random.uniform(0, 0.1) * min(problem.after, 1.0)  # noqa: S311
        self.tries += 1
        if self.waited + wait > self.seconds:
            asked = f"; the server asks to wait {problem.after:,.0f} s" if problem.after else ""
            raise EncoderError(
                f"{problem}, {self.tries} time{'s' if self.tries > 1 else ''} within {self.waited:.0f} s of waiting{asked}; at most "
                f"{self.seconds:.0f} s are waited (option patience). {self.advice}"
            )
        return wait
