"""The file of a head: safetensors, with the head's kind and sizes in its metadata. Read without torch, for a spec needs no more."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from encoders.errors import EncoderError
from encoders.spec import Spec

Kind = Literal["linear", "mlp", "residual", "identity"]
KINDS: tuple[Kind, ...] = get_args(Kind)

# One key with all in it: safetensors writes several in an order that differs from process to process, and with it the digest.
KEY = "sensorium head"
_LENGTH = 8  # bytes of the header's length, little-endian, at the beginning of every safetensors file


@dataclass(frozen=True)
class Form:
    """What kind of head stands in a file, and its sizes.

    Parameters
    ----------
    kind : one of `KINDS`.
    base_dimension : numbers of a vector that goes in.
    dimension : numbers of a vector that comes out.
    hidden : width of the hidden layer of "mlp" and "residual"; 0 for the others.
    """

    kind: Kind
    base_dimension: int
    dimension: int
    hidden: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise EncoderError(f"there is no head of kind {self.kind!r}; use one of {', '.join(KINDS)}")
        sizes = {"base_dimension": self.base_dimension, "dimension": self.dimension}
        if self.kind in {"mlp", "residual"}:
            sizes["hidden"] = self.hidden
        for name, size in sizes.items():
            if type(size) is not int or size < 1:
                raise EncoderError(f"a head of kind {self.kind!r} needs a whole number above 0 as {name}, got {size!r}")
        if self.kind == "identity" and self.base_dimension != self.dimension:
            raise EncoderError(f"a head of kind 'identity' cannot make {self.dimension} numbers of {self.base_dimension}; use 'linear'")


@dataclass(frozen=True)
class HeadFile:
    """A head's file as it was read, once: what `digest` tells is what `content` holds.

    Parameters
    ----------
    content : the whole file.
    base : of which encoder's vectors it is the head, as `base_of` puts it; "" where that was not noted.
    digest : hex SHA-256 of the content.
    """

    path: Path
    content: bytes
    form: Form
    base: str
    digest: str


def base_of(spec: Spec) -> str:
    """What must stay as it was for a head to fit an encoder: family, weights and pooling, in words."""
    return " ".join(filter(None, (spec.encoder, spec.digest[:16], spec.pooling)))


def read(path: Path, digest: str = "") -> HeadFile:
    """A head's file with what its metadata says.

    Parameters
    ----------
    digest : hex SHA-256 that the file must have; "" takes it as it is.

    Raises
    ------
    EncoderError : there is no such file, it was cut off or changed, or it holds no head.
    """
    if path.suffix != ".safetensors":
        raise EncoderError(f"a head is a *.safetensors file, as `heads.save` writes it, and {path} is none; other formats can run code")
    try:
        content = path.read_bytes()
    except OSError as problem:
        raise EncoderError(
            f"the head {path} cannot be read ({problem.strerror or problem}); bring the file back, or align anew"
        ) from problem
    found = hashlib.sha256(content).hexdigest()
    if digest and found != digest:
        raise EncoderError(
            f"the head {path} is not that of the spec (digest {found[:16]}, wanted {digest[:16]}): it was changed; "
            "bring back the old file, or embed into a new table"
        )
    notes = _header(path, content).get("__metadata__")
    about = notes.get(KEY) if isinstance(notes, dict) else None
    if about is None:
        raise EncoderError(f"{path} holds weights, but no head: its metadata lacks {KEY!r}; give a file that `heads.save` wrote")
    form, base = _form(path, about)
    return HeadFile(path, content, form, base, found)


def metadata(form: Form, base: str) -> dict[str, str]:
    """What `read` finds again."""
    return {KEY: json.dumps({**asdict(form), "base": base}, sort_keys=True)}


def _header(path: Path, content: bytes) -> dict[str, Any]:
    """The JSON at the beginning of a safetensors file, and a check that all bytes are there that it speaks of."""
    length = int.from_bytes(content[:_LENGTH], "little")
    if len(content) < _LENGTH or len(content) < _LENGTH + length:
        raise EncoderError(_cut(path, len(content)))
    try:
        header: dict[str, Any] = json.loads(content[_LENGTH : _LENGTH + length])
        ends = [int(entry["data_offsets"][1]) for name, entry in header.items() if name != "__metadata__"]
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as problem:
        raise EncoderError(f"{path} is no safetensors file ({problem}); give a file that `heads.save` wrote") from problem
    if len(content) < _LENGTH + length + max(ends, default=0):
        raise EncoderError(_cut(path, len(content)))
    return header


def _form(path: Path, about: str) -> tuple[Form, str]:
    try:
        values = json.loads(about)
        base = str(values.pop("base"))
        return Form(**values), base
    except (ValueError, TypeError, KeyError, AttributeError) as problem:
        raise EncoderError(f"{path}: its metadata describes no head that is known here ({problem}); align anew") from problem
    except EncoderError as problem:
        raise EncoderError(f"{path}: {problem}") from problem


def _cut(path: Path, size: int) -> str:
    return f"the head {path} was cut off ({size:,} bytes are there), or is no safetensors file; bring back the whole file, or align anew"
