"""Settings as they are given: by a TOML file, and by flags that come before it."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from flows.settings import (
    AlignSettings,
    BridgeSettings,
    EmbedSettings,
    FrameSettings,
    LimitSettings,
    MaintainSettings,
    ScoreSettings,
    SettingsError,
    ShareSettings,
    TableSettings,
    TrainWordsSettings,
)

_PARTS: dict[str, type[BaseModel]] = {
    "limits": LimitSettings,
    "tables": TableSettings,
    "frames": FrameSettings,
    "shares": ShareSettings,
}
S = TypeVar("S", bound=BaseModel)


def train_words_settings(**flags: Any) -> TrainWordsSettings:
    """Settings of training from the flags that were given (not None); SettingsError as `embed_settings` says."""
    return _loaded(TrainWordsSettings, (), None, flags)


def bridge_settings(**flags: Any) -> BridgeSettings:
    """Settings of a bridge from the flags that were given (not None); SettingsError as `embed_settings` says."""
    return _loaded(BridgeSettings, (), None, flags)


def embed_settings(config: Path | None, **flags: Any) -> EmbedSettings:
    """Settings from an optional TOML file, overridden by the flags that were given (not None).

    Raises SettingsError naming the key, what came and what is allowed.
    """
    return _loaded(EmbedSettings, ("source", "database"), config, flags)


def align_settings(config: Path | None, **flags: Any) -> AlignSettings:
    """Settings of `align`, as `embed_settings` does."""
    return _loaded(AlignSettings, ("pairs", "name"), config, flags)


def score_settings(config: Path | None, **flags: Any) -> ScoreSettings:
    """Settings of `score`, as `embed_settings` does."""
    return _loaded(ScoreSettings, ("database", "pairs"), config, flags)


def maintain_settings(config: Path | None, **flags: Any) -> MaintainSettings:
    """Settings of `maintain`, as `embed_settings` does."""
    return _loaded(MaintainSettings, ("database",), config, flags)


def _loaded(kind: type[S], needed: tuple[str, ...], config: Path | None, flags: dict[str, Any]) -> S:
    values: dict[str, Any] = _read(config) if config else {}
    for part in _PARTS:
        given = {k: v for k, v in (flags.pop(part, None) or {}).items() if v is not None}
        if given and isinstance(values.get(part, {}), dict):
            values[part] = {**values.get(part, {}), **given}
    values |= {k: v for k, v in flags.items() if v is not None}
    try:
        settings = kind(**values)
    except ValidationError as problem:
        raise SettingsError("; ".join(_told(error, kind) for error in problem.errors())) from None
    for name in needed:
        if not getattr(settings, name):
            raise SettingsError(f"{name} is missing; give it as an argument or in the file named by --config")
    return settings


def _read(config: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(config.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(f"there is no file {config}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as problem:
        raise SettingsError(f"{config} cannot be read as TOML: {problem}") from None


def _told(error: Any, kind: type[BaseModel]) -> str:
    name = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        whole = _PARTS.get(error["loc"][0] if len(error["loc"]) > 1 else "", kind)
        return f"there is no setting {name!r}; allowed are {', '.join(whole.model_fields)}"
    msg = error["msg"].removeprefix("Value error, ")
    return f"{name} = {error['input']!r}: {msg}" if name else msg  # what is wrong between several settings has no name
