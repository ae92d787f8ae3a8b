"""What was made once and may be asked for again, up to a bound."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class Kept(Generic[Key, Value]):
    """A mapping that forgets what was not asked for the longest; for many threads.

    Parameters
    ----------
    most : sum of the weights of what is kept.
    weight : of one value; 1 by default, so that `most` counts values.
    """

    def __init__(self, most: int, weight: Callable[[Value], int] = lambda _: 1) -> None:
        self._most, self._weight, self._sum = most, weight, 0
        self._values: OrderedDict[Key, Value] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Key) -> Value | None:
        """The value of a key, None if it is not kept."""
        with self._lock:
            if key not in self._values:
                return None
            self._values.move_to_end(key)
            return self._values[key]

    def put(self, key: Key, value: Value) -> None:
        """Keep a value, and forget others where it gets too much."""
        with self._lock:
            self._drop(key)
            self._values[key] = value
            self._sum += self._weight(value)
            while self._sum > self._most and len(self._values) > 1:
                self._drop(next(iter(self._values)))

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._values.clear()
            self._sum = 0

    def _drop(self, key: Key) -> None:
        if key in self._values:
            self._sum -= self._weight(self._values.pop(key))
