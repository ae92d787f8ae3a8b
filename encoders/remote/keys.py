"""Keys of remote services, by name: of an environment variable, or of a secret that a keeper outside holds. Never a value."""

from __future__ import annotations

import os
import re
from collections.abc import Callable

from encoders.errors import EncoderError

Keeper = Callable[[str], str]

_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]{0,99}")
_SECRET = re.compile(r"([a-z]+):([a-z0-9-]{1,100})")
_VALUE = re.compile(r"(sk|pk|rk)-")

_keepers: dict[str, Keeper] = {}


def keep(scheme: str, keeper: Keeper) -> None:
    """Let keys named "scheme:NAME" be read by `keeper(NAME)`, which returns the value or raises EncoderError."""
    _keepers[scheme] = keeper


def check_name(name: str) -> None:
    """EncoderError unless this is the name of a key, or "" for none. What looks like a value is refused without being shown."""
    secret = _SECRET.fullmatch(name)
    bare = secret[2] if secret else name
    if name and (_VALUE.match(bare) or not (secret or _VARIABLE.fullmatch(name))):
        raise EncoderError(
            f"key takes the name of an environment variable in capitals, such as OPENAI_API_KEY, or secret:NAME, never the key itself; "
            f"got {len(name)} characters that are no such name and are not shown"
        )


def check_held(name: str) -> None:
    """EncoderError if a key is certainly not to be had; a keeper is not asked yet."""
    secret = _SECRET.fullmatch(name)
    if secret:
        _keeper(secret[1], name)
    elif name:
        value(name)


def value(name: str) -> str:
    """The key behind a name, "" for no name.

    Raises
    ------
    EncoderError : the variable is not set or empty, or nobody here keeps such secrets.
    """
    check_name(name)
    if not name:
        return ""
    if secret := _SECRET.fullmatch(name):
        return _keeper(secret[1], name)(secret[2]).strip()
    found = os.environ.get(name, "").strip()
    if not found:
        raise EncoderError(f"the environment variable {name}, which holds the key, is not set; export {name}=… and run again")
    return found


def _keeper(scheme: str, name: str) -> Keeper:
    if scheme not in _keepers:
        known = ", ".join(f"{scheme}:NAME" for scheme in _keepers) or "none"
        raise EncoderError(f"nobody here keeps the key {name!r} (known: {known}); name an environment variable instead")
    return _keepers[scheme]
