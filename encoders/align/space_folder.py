"""An aligned space as a folder: a TOML file that any command takes, the heads beside it, and a card that says what trained them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from encoders.align import heads as head_files
from encoders.align.card import CARD
from encoders.align.head_file import base_of
from encoders.align.heads import Head
from encoders.errors import EncoderError
from encoders.registry import describe
from encoders.spaces import Sections, load_space
from encoders.spec import MODALITIES, Modality, Space, Spec

SPACE = "space.toml"


def write(folder: Path, name: str, sections: Sections, heads: Mapping[Modality, Head], card: Mapping[str, Any]) -> Space:
    """Write an aligned space; what a folder held of an earlier one is replaced, and all else in it stays.

    ::

        folder/space.toml            sections with head = "text.safetensors" …; written last, so that a folder with one is whole
        folder/text.safetensors      one head a modality
        folder/card.json             what trained it

    Parameters
    ----------
    folder : is made; weights that lie in it are named relative to it, so that it can move as a whole.
    name : of the space.
    sections : encoder, weights and options by modality, as `encoders.spaces.anchored` reads them.
    heads : by modality; a modality of `sections` without one keeps its encoder's vectors.
    card : JSON values: counts, seeds, figures.

    Returns
    -------
    The space, as it is read from the folder.

    Raises
    ------
    EncoderError : a head has no section or does not fit its encoder, a section has a head already, or the dimensions differ.
    """
    if not name.strip():
        raise EncoderError("an aligned space needs a name")
    _refuse_misfits(sections, heads)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SPACE).unlink(missing_ok=True)  # until all is there, or a reader might mix new heads with old ones
    for modality, head in heads.items():
        head_files.save(head, _head(folder, modality), base_of(_described(sections[modality])))
    for modality in set(MODALITIES) - set(heads):
        _head(folder, modality).unlink(missing_ok=True)
    _write(folder / CARD, json.dumps(_finite(card), indent=2, ensure_ascii=False) + "\n")
    draft = folder / f".{SPACE}"
    _write(draft, text_of(folder, name, sections, tuple(heads)))
    try:
        load_space(str(draft))
    except EncoderError:
        draft.unlink()
        raise
    draft.replace(folder / SPACE)
    return load_space(str(folder / SPACE))


def text_of(folder: Path, name: str, sections: Sections, headed: tuple[Modality, ...]) -> str:
    """The TOML file of such a space."""
    lines = [f"# Encoders in one space through the heads beside this file; {CARD} says what trained them.", f"name = {_toml(name)}"]
    for modality, section in sections.items():
        values = {key: _relative(folder, value) if key in {"weights", "tokenizer"} else value for key, value in section.items()}
        values |= {"head": _head(folder, modality).name} if modality in headed else {}
        lines += ["", f"[{modality}]", *(f"{_toml_key(key)} = {_toml(value)}" for key, value in values.items())]
    return "\n".join(lines) + "\n"


def _refuse_misfits(sections: Sections, heads: Mapping[Modality, Head]) -> None:
    for modality, head in heads.items():
        if modality not in sections:
            raise EncoderError(f"there is a head for {modality}, and no encoder of it; the encoders are of {', '.join(sections)}")
        if "head" in sections[modality]:
            raise EncoderError(f"[{modality}] has a head already ({sections[modality]['head']}); align the encoder beneath it")
        base = _described(sections[modality])
        if head.form.base_dimension != base.dimension:
            raise EncoderError(f"the head of {modality} takes {head.form.base_dimension} numbers, {base.encoder} gives {base.dimension}")


def _described(section: Mapping[str, Any]) -> Spec:
    return describe(section["encoder"], **{key: value for key, value in section.items() if key not in {"encoder", "head"}})


def _head(folder: Path, modality: Modality) -> Path:
    return folder / f"{modality}.safetensors"


def _relative(folder: Path, place: Any) -> Any:
    inside = isinstance(place, str) and place and Path(place).is_absolute() and Path(place).is_relative_to(folder.resolve())
    return Path(place).relative_to(folder.resolve()).as_posix() if inside else place


def _finite(value: Any) -> Any:
    """JSON values with null for what JSON has no number for, such as a loss that is not a number."""
    if isinstance(value, Mapping):
        return {str(key): _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _write(path: Path, text: str) -> None:
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)


def _toml_key(key: str) -> str:
    return key if key.isascii() and key.replace("_", "").replace("-", "").isalnum() else _toml(key)


def _toml(value: Any) -> str:
    """A value of a section: texts, numbers, truths, and lists and tables of them."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # JSON's escapes are TOML's but for DEL
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{_toml_key(key)} = {_toml(inner)}' for key, inner in value.items())} }}"
    raise EncoderError(
        f"{value!r} ({type(value).__name__}) cannot stand in a space's TOML file; use texts, numbers, truths, lists or tables"
    )
