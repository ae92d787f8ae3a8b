"""Write down what transformers alone makes of fixed weights and media: `PYTHONPATH=tests:. python tests/golden/make.py`.

Run it for a family that is added (`… make.py NAME`), and for no other reason. When vectors change with a new version of a library, find out
why first: a table's vectors would no longer be comparable with those of its queries.
"""

from __future__ import annotations

import json
import sys
import tempfile
from importlib.metadata import distributions, version
from pathlib import Path

import torch
from fixed_weights import fix_weights, media
from golden_references import REFERENCES
from tiny_registry import TINY

from encoders import registry

LIBRARIES = {"transformers", "torch", "tokenizers", "pillow", "numpy", "timm", "torchvision"}  # the last two for PE-AV alone


def write(name: str) -> None:
    """The vectors of one encoder, with the versions that made them."""
    with tempfile.TemporaryDirectory() as place:
        how = TINY[name](Path(place))
        fix_weights(Path(place))
        spec = registry.describe(name, **how)  # for the sizes of the media alone
        with torch.inference_mode():
            vectors = torch.nn.functional.normalize(REFERENCES[name](Path(how["weights"]), media(spec)).float(), dim=-1)
    rounded = [[round(number, 6) for number in vector] for vector in vectors.tolist()]
    installed = sorted(LIBRARIES & {distribution.name for distribution in distributions()})
    made = {"made_with": {library: version(library) for library in installed}, "vectors": rounded}
    Path(__file__).with_name(f"{name}.json").write_text(json.dumps(made) + "\n")


if __name__ == "__main__":
    for chosen in sys.argv[1:] or REFERENCES:
        write(chosen)
