"""Two spaces that share text, joined by captions alone into a space that any command takes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import torch

from encoders import hardware, registry
from encoders.align import bridge as bridges
from encoders.align import heads as head_files
from encoders.align import space_folder
from encoders.align.bridge import How, Side
from encoders.align.heads import Head
from encoders.spaces import Sections, anchored, load_space, without_heads
from encoders.spec import Modality, Space
from flows.settings import BridgeSettings, SettingsError
from retrieval import ranking
from storage import batches
from storage import table as tables
from storage.replace import scan
from tasks.captions import EncodedCaptions, encode_captions, read_captions
from tasks.pairs import PairsError
from tasks.plan import RefusedError

HELD, MOST_HELD = 0.1, 1_000  # share of the captions that only judge the bridge, and most of them


@dataclass(frozen=True)
class _Ends:
    """The two spaces, and what the new one takes from each."""

    a: Space
    b: Space
    sections_a: Sections
    sections_b: Sections

    @property
    def from_b(self) -> tuple[Modality, ...]:
        """What B alone can encode: text, and all that A encodes too, stays A's."""
        return tuple(modality for modality in self.b.encoders if modality not in self.a.encoders)


def join(settings: BridgeSettings, told: Callable[[int, int], None] = lambda *_: None) -> dict[str, Any]:
    """Encode the captions by both spaces, learn the map, write the new space; returns the account, which is the space's card, too.

    Parameters
    ----------
    told : hears how many captions are done, of how many.

    Raises
    ------
    SettingsError, EncoderError : spaces that share no text, or of which B has nothing that A lacks.
    PairsError : captions that cannot be read, or too few.
    RefusedError : the folder holds a space already, or a memory is of another space.
    """
    began = monotonic()
    ends = _ends(settings)
    folder = Path(settings.out).expanduser() / settings.name
    if (folder / space_folder.SPACE).exists() and not settings.replace:
        raise RefusedError(f"{folder} holds a space already, and tables may have been made with it; choose another --name, or --replace it")
    path = Path(settings.captions).expanduser()
    captions = read_captions(path, settings.column)
    memory_a = _memory(settings, settings.memory_a, ends.a, tuple(m for m in ends.a.encoders if m != "text"))
    memory_b = _memory(settings, settings.memory_b, ends.b, ends.from_b)
    encoded = _encode(settings, ends, captions.texts, told)
    one, other = encoded.vectors["A"], encoded.vectors["B"]
    held = min(int(HELD * len(one)), MOST_HELD)
    _refuse_few(len(one) - held, settings)
    head = bridges.build(Side(one[held:], memory_a), Side(other[held:], memory_b), _how(settings))
    found: dict[str, Any] = {
        "name": settings.name,
        "made_by": "bridge",
        "a": {"name": ends.a.name, "generation": ends.a.generation},
        "b": {"name": ends.b.name, "generation": ends.b.generation},
        "from_a": list(ends.a.encoders),
        "from_b": list(ends.from_b),
        "captions": {
            "rows": captions.rows,
            "blank": captions.blank,
            "duplicates": captions.duplicates,
            "left_out": dict(encoded.left_out),
            "held_out": held,
            "used": len(one) - held,
            "digest": hashlib.sha256(path.read_bytes()).hexdigest(),
        },
        "memory": {"a": 0 if memory_a is None else len(memory_a), "b": 0 if memory_b is None else len(memory_b)},
        "method": settings.method,
        "settings": settings.model_dump(include={"ridge", "temperature", "noise", "intra", "steps", "seed", "most"}),
        "held_out": _judged(head, one[:held], other[:held]) if held else {},
    }
    space = space_folder.write(folder, settings.name, _sections(ends), _heads(ends, head), found)
    place = str((folder / space_folder.SPACE).resolve())
    return {**found, "space": place, "generation": space.generation, "seconds": round(monotonic() - began, 3)}


def _ends(settings: BridgeSettings) -> _Ends:
    ends = _Ends(load_space(settings.a), load_space(settings.b), anchored(settings.a), anchored(settings.b))
    for which, space in (("a", ends.a), ("b", ends.b)):
        if "text" not in space.encoders:
            raise SettingsError(f"space {which} = {getattr(settings, which)!r} has no encoder of text, by which alone spaces are joined")
    if not ends.from_b:
        raise SettingsError(
            f"space b = {settings.b!r} encodes {', '.join(ends.b.encoders)}, all of which space a = {settings.a!r} encodes itself; "
            "there is nothing to bring over"
        )
    return ends


def _memory(settings: BridgeSettings, database: str, space: Space, modalities: tuple[Modality, ...]) -> np.ndarray | None:
    """Vectors of a published table that are no texts, at most as many as are asked for: float32 (m, dimension)."""
    if not database:
        return None
    table = tables.published(tables.connect(database, must_exist=True), settings.table)
    if tables.generation(table) != space.generation:
        raise RefusedError(
            f"table {settings.table!r} of {database} holds generation {tables.generation(table)}, and space {space.name!r} is "
            f"{space.generation}; a memory must be embedded with that very space"
        )
    wanted = ", ".join(tables.literal(modality) for modality in modalities)
    parts = [batches.vectors(batch) for batch in scan(table.to_lance(), ["vector"], f"modality IN ({wanted})").to_batches()]
    rows = np.concatenate(parts) if parts else np.zeros((0, space.dimension), np.float16)
    if not len(rows):
        raise RefusedError(f"table {settings.table!r} of {database} has no rows of {' or '.join(modalities)} to serve as a memory")
    drawn = np.sort(np.random.default_rng(settings.seed).permutation(len(rows))[: settings.most])
    chosen: np.ndarray = rows[drawn].astype(np.float32)
    return chosen


def _encode(settings: BridgeSettings, ends: _Ends, texts: tuple[str, ...], told: Callable[[int, int], None]) -> EncodedCaptions:
    device = hardware.chosen(settings.device)[0]
    shuffled = [texts[row] for row in np.random.default_rng(settings.seed).permutation(len(texts))]  # the first of them are held out
    encoders = {name: registry.build(space.encoders["text"], device) for name, space in (("A", ends.a), ("B", ends.b))}
    return encode_captions(encoders, shuffled, settings.batch, told)


def _refuse_few(used: int, settings: BridgeSettings) -> None:
    if used < 2:
        raise PairsError(f"{settings.captions} leaves {max(used, 0)} captions that both spaces can read; give some thousands")


def _how(settings: BridgeSettings) -> How:
    return How(
        settings.method, settings.ridge, settings.temperature, settings.noise, settings.intra, steps=settings.steps, seed=settings.seed
    )


def _judged(head: Head, a: np.ndarray, b: np.ndarray) -> dict[str, float]:
    """How well B's mapped captions find A's vector of the same caption."""
    with torch.inference_mode():
        mapped = head(torch.from_numpy(b)).numpy()
    rows = np.arange(len(a))
    found = ranking.by_query(ranking.positions(mapped, a, np.stack([rows, rows], 1)))
    return {name: round(float(values.mean()), 6) for name, values in found.items()}


def _sections(ends: _Ends) -> Sections:
    sections: Sections = {modality: ends.sections_a[modality] for modality in ends.a.encoders}
    sections |= {modality: ends.sections_b[modality] for modality in ends.from_b}
    return without_heads(sections)


def _heads(ends: _Ends, head: Head) -> Mapping[Modality, Head]:
    """Those that A's encoders have, as they are; the bridge for B's, behind those that they have."""
    heads = {modality: found for modality in ends.a.encoders if (found := head_files.of(ends.a.encoders[modality])) is not None}
    for modality in ends.from_b:
        own = head_files.of(ends.b.encoders[modality])
        heads[modality] = head if own is None else bridges.behind(own, head)
    return heads
