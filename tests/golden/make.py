"""Write down the vectors that transformers' own processors and models give for fixed weights and media: `python tests/golden/make.py [NAME ...]`.

Run it only when a family is added. When vectors change with a new version of a library, find out why first: a table's vectors
would no longer be those of its queries.
"""

from __future__ import annotations

import json
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

import torch
from fixed_weights import fix_weights, media
from golden_references import REFERENCES
from tiny_registry import TINY

from encoders import registry

LIBRARIES = ("transformers", "torch", "tokenizers", "pillow", "numpy")


def write(name: str) -> None:
    """The vectors of one encoder, with the versions that made them."""
    with tempfile.TemporaryDirectory() as place:
        how = TINY[name](Path(place))
        fix_weights(Path(place))
        spec = registry.describe(name, **how)  # for the sizes of the media alone
        with torch.inference_mode():
            vectors = torch.nn.functional.normalize(REFERENCES[name](Path(how["weights"]), media(spec)).float(), dim=-1)
    made = {
        "made_with": {library: version(library) for library in LIBRARIES},
        "vectors": [[round(x, 6) for x in v] for v in vectors.tolist()],
    }
    Path(__file__).with_name(f"{name}.json").write_text(json.dumps(made) + "\n")


if __name__ == "__main__":
    for chosen in sys.argv[1:] or REFERENCES:
        write(chosen)
