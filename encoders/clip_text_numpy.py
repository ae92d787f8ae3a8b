"""CLIP's text half for one text at a time, in NumPy: a search by words then starts without torch and transformers.

Importing those two took two thirds of such a search's CPU time, and the text's own forward pass a millisecond. The method is that of
Radford et al. 2021, "Learning Transferable Visual Models From Natural Language Supervision", section 2.4, as transformers'
`CLIPTextModel` computes it: blocks with the norm in front, causal attention, the state at the end-of-text token, projected.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from encoders.weights import read_json

Arrays = Mapping[str, np.ndarray]

# What a config.json leaves out where it is CLIP's default (transformers' CLIPTextConfig).
_DEFAULTS = {"num_attention_heads": 8, "layer_norm_eps": 1e-5, "hidden_act": "quick_gelu", "eos_token_id": 49407}
_HIGHEST = 2  # the end-of-text token of configurations from before 2023, which name a wrong one: there it is the highest of a text's


@dataclass(frozen=True)
class TextTower:
    """The weights of a text half, and what else its forward pass needs.

    Parameters
    ----------
    weights : float32 arrays by their names in the checkpoint.
    layers : number of blocks.
    heads : of each block's attention.
    epsilon : of the layer norms.
    activation : between the two layers of a block's MLP.
    end : id of the end-of-text token.
    """

    weights: Arrays
    layers: int
    heads: int
    epsilon: float
    activation: Callable[[np.ndarray], np.ndarray]
    end: int

    def encode(self, ids: np.ndarray) -> np.ndarray:
        """The vector of one text, float32 (dimension,) of length one, from its token ids (tokens,), special ones included."""
        w = self.weights
        states = w["text_model.embeddings.token_embedding.weight"][ids]  # (tokens, width)
        states = states + w["text_model.embeddings.position_embedding.weight"][: len(ids)]
        for layer in range(self.layers):
            block = f"text_model.encoder.layers.{layer}."
            states = states + self._attention(f"{block}self_attn.", self._norm(f"{block}layer_norm1", states))
            states = states + self._mlp(f"{block}mlp.", self._norm(f"{block}layer_norm2", states))
        place = int(ids.argmax() if self.end == _HIGHEST else (ids == self.end).argmax())
        vector: np.ndarray = w["text_projection.weight"] @ self._norm("text_model.final_layer_norm", states[place])  # (dimension,)
        return vector / max(float(np.linalg.norm(vector)), 1e-12)

    def _attention(self, name: str, states: np.ndarray) -> np.ndarray:
        """Each token attends to itself and to those before it."""
        tokens, width = states.shape
        query, key, value = (
            self._linear(name + part, states).reshape(tokens, self.heads, -1).swapaxes(0, 1) for part in ("q_proj", "k_proj", "v_proj")
        )  # (heads, tokens, width / heads) each
        scores = query @ key.swapaxes(1, 2) / np.float32(np.sqrt(width // self.heads))  # (heads, tokens, tokens)
        scores[:, np.triu(np.ones((tokens, tokens), bool), 1)] = -np.inf
        shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
        shares /= shares.sum(axis=-1, keepdims=True)
        return self._linear(f"{name}out_proj", (shares @ value).swapaxes(0, 1).reshape(tokens, width))

    def _mlp(self, name: str, states: np.ndarray) -> np.ndarray:
        return self._linear(f"{name}fc2", self.activation(self._linear(f"{name}fc1", states)))

    def _norm(self, name: str, states: np.ndarray) -> np.ndarray:
        centred = states - states.mean(axis=-1, keepdims=True)
        spread = np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + np.float32(self.epsilon))
        scaled: np.ndarray = centred / spread * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]
        return scaled

    def _linear(self, name: str, states: np.ndarray) -> np.ndarray:
        mapped: np.ndarray = states @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]
        return mapped


def read(folder: Path) -> TextTower | None:
    """The text half of a checkpoint of CLIP, or None for any other, and for one whose numbers NumPy does not read (bfloat16)."""
    config = read_json(folder, "config.json")
    text = _DEFAULTS | config.get("text_config", {})
    activation = _ACTIVATIONS.get(text["hidden_act"])
    if (
        config.get("model_type") != "clip"
        or config.get("text_config_dict")
        or activation is None
        or not isinstance(text["eos_token_id"], int)
    ):
        return None
    weights = _read_weights(folder)
    layers = {name.split(".")[3] for name in weights if name.startswith("text_model.encoder.layers.")}
    if weights.keys() != _names(len(layers)):
        return None
    return TextTower(weights, len(layers), text["num_attention_heads"], text["layer_norm_eps"], activation, text["eos_token_id"])


def _read_weights(folder: Path) -> Arrays:
    """Arrays of the text half in float32; none where there are other numbers than floats of 16, 32 or 64 bits."""
    from safetensors import safe_open

    weights: dict[str, np.ndarray] = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="numpy") as file:
            for name in file.keys():  # noqa: SIM118 -- no mapping
                if name.startswith(("text_model.", "text_projection.")) and not name.endswith("position_ids"):
                    if file.get_slice(name).get_dtype() not in ("F16", "F32", "F64"):
                        return {}
                    weights[name] = file.get_tensor(name).astype(np.float32)
    return weights


def _names(layers: int) -> set[str]:
    norms = [f"text_model.encoder.layers.{layer}.layer_norm{which}" for layer in range(layers) for which in (1, 2)]
    linears = [
        f"text_model.encoder.layers.{layer}.{part}"
        for layer in range(layers)
        for part in ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj", "mlp.fc1", "mlp.fc2")
    ]
    both = [*norms, *linears, "text_model.final_layer_norm"]
    alone = ["text_model.embeddings.token_embedding", "text_model.embeddings.position_embedding", "text_projection"]
    return {f"{name}.weight" for name in [*both, *alone]} | {f"{name}.bias" for name in both}


def _quick_gelu(x: np.ndarray) -> np.ndarray:
    """x times the logistic function of 1.702 x (Hendrycks & Gimpel 2016, section 2)."""
    return x / (np.float32(1) + np.exp(np.float32(-1.702) * x))


def _gelu(x: np.ndarray) -> np.ndarray:
    """x times the normal distribution function of x (Hendrycks & Gimpel 2016, section 2)."""
    scaled: np.ndarray = np.float32(0.5) * x * (np.float32(1) + np.asarray(_erf(x * np.float32(math.sqrt(0.5))), np.float32))
    return scaled


_erf = np.frompyfunc(math.erf, 1, 1)  # 0.1 µs a number; SciPy's is faster, but takes as long to import as a million of these


_ACTIVATIONS: Mapping[Any, Callable[[np.ndarray], np.ndarray]] = {"quick_gelu": _quick_gelu, "gelu": _gelu}
