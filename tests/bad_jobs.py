"""Jobs for worker processes that misbehave in the ways decoders do."""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class Misbehave:
    """Does what an item says; any other item is answered with its double."""

    factor: int = 2

    def open(self) -> None:
        """Nothing to build."""

    def close(self) -> None:
        """Nothing to end."""

    def __call__(self, item: object, alive: Callable[[], None]) -> object:
        match item:
            case "hang":
                time.sleep(600)
            case "hang holding the interpreter":
                ctypes.PyDLL(None).sleep(600)
            case "crash":
                ctypes.string_at(0)
            case "exit":
                os._exit(7)
            case "eat memory":
                try:
                    return len(bytearray(8 << 30))
                except MemoryError:
                    return "no memory"
            case "slow but alive":
                for _ in range(8):
                    time.sleep(0.25)
                    alive()
            case "raise":
                raise ValueError("told to")
            case "who":
                return os.getpid()
            case int():
                return item * self.factor
        return item


@dataclass
class CannotOpen(Misbehave):
    """Fails before its first item."""

    def open(self) -> None:
        raise RuntimeError("no such encoder")
