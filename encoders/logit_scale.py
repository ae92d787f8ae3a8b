"""What a space's own training multiplied cosines by: the one number that makes a softmax of its cosines mean something."""

from __future__ import annotations

import math

from encoders import weights
from encoders.errors import EncoderError
from encoders.headed import only_calibrates
from encoders.spec import Space

NAME = "logit_scale"  # its logarithm, beside the weights of CLIP's family


def learned_scale(space: Space) -> float | None:
    """The scale (inverse temperature) that the text encoder's checkpoint was trained with.

    `None` where there is none that fits a softmax: no text encoder, a checkpoint without one, one trained with a sigmoid (SigLIP), an
    encoder with a head that was trained, with a scale of its own, or weights that are not here. The scale is right for the batches of that
    training (Radford et al. 2021, section 2.3), so only roughly for a handful of classes.
    """
    text = space.encoders.get("text")
    if text is None or not text.weights or any(spec.head and not only_calibrates(spec) for spec in space):
        return None
    try:
        folder = weights.locate(text.weights, text.revision) if weights.is_here(text.weights, text.revision) else None
        if folder is None or str(weights.read_json(folder, "config.json").get("model_type", "")).startswith("siglip"):
            return None
    except EncoderError:
        return None
    from safetensors import safe_open

    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as file:  # numpy knows no bfloat16
            if NAME in file.keys():  # noqa: SIM118 - it is no mapping
                return math.exp(float(file.get_tensor(NAME)))
    return None
