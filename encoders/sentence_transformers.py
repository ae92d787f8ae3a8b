"""What a checkpoint of sentence-transformers holds beside its model: how it pools, and the dense layers after the pooling."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from encoders.errors import EncoderError
from encoders.weights import MODULE_WEIGHTS, module_folders, read_json

if TYPE_CHECKING:
    from torch.nn import Module, Sequential

# Their names of poolings, old ("pooling_mode_cls_token": true) and new ("pooling_mode": "cls"), and ours.
_POOLINGS = {"cls_token": "cls", "mean_tokens": "mean", "lasttoken": "last", "cls": "cls", "mean": "mean"}
_ACTIVATIONS = ("Identity", "Tanh", "ReLU", "GELU", "SiLU", "Sigmoid")


def check_modules(folder: Path) -> None:
    """EncoderError unless modules.json is missing, or lists a model, its pooling, dense layers if any, and a normalisation at the end."""
    module_folders(folder)
    kinds = [_kind(module) for module in read_json(folder, "modules.json") or ()]
    others = sorted(set(kinds) - {"Transformer", "Pooling", "Dense", "Normalize"})
    if others:
        raise EncoderError(f"{folder} has more after its pooling ({', '.join(others)} in modules.json), which is not supported")
    dense = kinds.count("Dense")
    if kinds and kinds not in (["Transformer", "Pooling"] + ["Dense"] * dense + ["Normalize"] * n for n in (0, 1)):
        raise EncoderError(
            f"{folder / 'modules.json'} lists {', '.join(kinds)}; known is the order Transformer, Pooling, any Dense, Normalize or nothing"
        )
    output = read_json(folder, "sentence_bert_config.json").get("module_output_name", "token_embeddings")
    if output != "token_embeddings":
        raise EncoderError(f"{folder} takes {output} from its model (sentence_bert_config.json); only token_embeddings are pooled here")


def stored_pooling(folder: Path) -> str:
    """How the checkpoint pools, by our names; "" where it says nothing."""
    place = next((path for path in _paths(folder, "Pooling")), "1_Pooling")
    stored = read_json(folder, f"{place}/config.json")
    if not stored:
        return ""
    if stored.get("include_prompt") is False:
        raise EncoderError(
            f"{folder} pools without the words of its prompt (include_prompt in {place}/config.json), which is not supported"
        )
    modes = stored.get("pooling_mode") or [
        key.removeprefix("pooling_mode_") for key, on in stored.items() if key.startswith("pooling_mode_") and on is True
    ]
    chosen = [modes] if isinstance(modes, str) else list(modes)
    if len(chosen) != 1 or chosen[0] not in _POOLINGS:
        raise EncoderError(f"{folder} pools by {' and '.join(chosen) or 'nothing known'}; known are cls_token, mean_tokens, lasttoken")
    return _POOLINGS[chosen[0]]


def width(folder: Path, hidden: int) -> int:
    """Numbers in a vector after the last dense layer.

    Parameters
    ----------
    hidden : numbers in a state of the model.
    """
    for path in _paths(folder, "Dense"):
        settings = _dense(folder, path)
        if settings["in_features"] != hidden:
            raise EncoderError(f"{folder / path} takes {settings['in_features']} numbers, but what comes before it gives {hidden}")
        hidden = settings["out_features"]
    return int(hidden)


def read_dense(folder: Path) -> Sequential:
    """The dense layers with their activations, in float32 and in order: pooled states (n, hidden) go in, (n, width) come out."""
    from torch.nn import Sequential

    return Sequential(*(layer for path in _paths(folder, "Dense") for layer in _layers(folder, path)))


def _layers(folder: Path, path: str) -> tuple[Module, Module]:
    from safetensors.torch import load_file
    from torch import nn

    settings = _dense(folder, path)
    linear = nn.Linear(settings["in_features"], settings["out_features"], settings["bias"])
    try:
        linear.load_state_dict({name.removeprefix("linear."): tensor for name, tensor in load_file(folder / path / MODULE_WEIGHTS).items()})
    except RuntimeError as problem:
        raise EncoderError(f"{folder / path / MODULE_WEIGHTS} does not fit the config.json beside it: {problem}") from problem
    return linear.float().eval().requires_grad_(False), getattr(nn, settings["activation"])()


def _dense(folder: Path, path: str) -> dict[str, Any]:
    """Settings of a dense layer, by default as sentence-transformers has them."""
    given = {"bias": True, "activation_function": "torch.nn.modules.activation.Tanh", **read_json(folder, f"{path}/config.json")}
    activation = str(given["activation_function"]).rpartition(".")[2]
    if activation not in _ACTIVATIONS or not str(given["activation_function"]).startswith("torch.nn."):
        raise EncoderError(f"{folder / path} activates by {given['activation_function']}; known are torch.nn's {', '.join(_ACTIVATIONS)}")
    if given.get("use_residual") or {given.get(f"module_{end}put_name") for end in ("in", "out")} - {None, "sentence_embedding"}:
        raise EncoderError(f"{folder / path} is no plain dense layer from vector to vector (see its config.json), which is not supported")
    if not (folder / path / MODULE_WEIGHTS).is_file():
        raise EncoderError(
            f"{folder / path} has no {MODULE_WEIGHTS}; load the checkpoint where you trust it with sentence-transformers and save it anew"
        )
    return {"in_features": given["in_features"], "out_features": given["out_features"], "bias": given["bias"], "activation": activation}


def _paths(folder: Path, kind: str) -> list[str]:
    return [module["path"] for module in read_json(folder, "modules.json") or () if _kind(module) == kind]


def _kind(module: dict[str, Any]) -> str:
    """sentence_transformers.models.Pooling and sentence_transformers.…modules.pooling.Pooling are one."""
    return str(module["type"]).rpartition(".")[2]
