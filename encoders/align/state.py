"""A training's state as one file that is whole at every instant."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module

from encoders.errors import EncoderError

NAME = "training.pt"
_FORMAT = 1


def write(folder: Path, state: Mapping[str, Any]) -> None:
    """Tensors, numbers and texts, written beside the last state and renamed over it once they are on the disk."""
    folder.mkdir(parents=True, exist_ok=True)
    beside = folder / f"{NAME}.partial"
    with beside.open("wb") as file:
        torch.save({**state, "format": _FORMAT}, file)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(folder / NAME)


def read(folder: Path, fingerprint: Mapping[str, Any]) -> dict[str, Any] | None:
    """The state in a folder, its tensors on the CPU; None if there is none.

    Parameters
    ----------
    fingerprint : what training this is, as it was given to `write` under "fingerprint".

    Raises
    ------
    EncoderError : the file is no training's state, or another training's.
    """
    path = folder / NAME
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        known = state["fingerprint"] if state["format"] == _FORMAT else None
    except (RuntimeError, pickle.UnpicklingError, EOFError, KeyError, TypeError, ValueError) as problem:
        raise EncoderError(f"{path} is no state of a training ({problem}); delete it to begin anew") from problem
    if known != fingerprint:
        raise EncoderError(
            f"{path} is of another training: {_difference(known, fingerprint)}; give another folder, or delete it to begin anew"
        )
    return state


def weights(module: Module) -> dict[str, Tensor]:
    """Copies on the CPU of what training changes: parameters that require a gradient, and buffers."""
    frozen = _frozen(module)
    return {name: tensor.detach().cpu().clone() for name, tensor in module.state_dict().items() if name not in frozen}


def load_weights(module: Module, saved: Mapping[str, Tensor]) -> None:
    """The inverse of `weights`: what is frozen stays as it is."""
    missing, unknown = module.load_state_dict(saved, strict=False)
    if unknown or not set(missing) <= _frozen(module):
        raise EncoderError(f"the stored weights do not fit: missing {sorted(set(missing) - _frozen(module))}, unknown {unknown}")


def _frozen(module: Module) -> set[str]:
    return {name for name, parameter in module.named_parameters(remove_duplicate=False) if not parameter.requires_grad}


def _difference(known: Any, wanted: Mapping[str, Any]) -> str:
    if not isinstance(known, dict):
        return "an older format"
    keys = [key for key in {**known, **wanted} if known.get(key) != wanted.get(key)]
    return ", ".join(f"{key} {known.get(key)!r}, now {wanted.get(key)!r}" for key in keys[:5])
