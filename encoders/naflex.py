"""SigLIP 2 NaFlex: pictures of any shape, cut into as many patches as fit, which the model takes as they are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from encoders.clip import check_clip_like, dimension, read_half
from encoders.errors import EncoderError
from encoders.image import PictureEncoder, probes
from encoders.patches import patchify, resize_to_patches
from encoders.pooling import unwrap
from encoders.pretrained import setting
from encoders.processor import naflex_preprocessing
from encoders.spec import Spec
from encoders.weights import locate, origin

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module


class Naflex(PictureEncoder):
    """The picture half of a SigLIP 2 NaFlex checkpoint: projected into the space it shares with texts (the encoder clip-text)."""

    @classmethod
    def describe(cls, weights: str = "", revision: str = "", licence: str = "", max_patches: int = 0) -> Spec:
        """The spec of a checkpoint, from its configuration files.

        Parameters
        ----------
        max_patches : most patches of a picture: more show finer detail and cost more; 0 is what its processor says, mostly 256.
        """
        folder = locate(weights, revision)
        check_clip_like(folder)
        if setting(folder, "model_type") != "siglip2":
            raise EncoderError(
                f"{folder} holds {setting(folder, 'model_type')}, which takes squares of one size; use the encoder clip-image"
            )
        how = naflex_preprocessing(folder)
        patch = setting(folder, "vision_config", "patch_size")
        if how["patch"] != patch:
            raise EncoderError(f"{folder} cuts patches of {how['patch']} pixels for a model of {patch}; correct preprocessor_config.json")
        if max_patches < 0:
            raise EncoderError(f"max_patches {max_patches} is no number of patches; give 1 or more, or 0 for the checkpoint's own")
        return Spec(
            encoder="siglip2-naflex",
            modality=cls.modality,
            dimension=dimension(folder),
            inputs="patches",
            preprocessing=how | ({"max_patches": max_patches} if max_patches else {}),
            pooling="projection",
            **origin(folder, weights, revision, licence),
        )

    def prepare(self, medium: np.ndarray) -> dict[str, np.ndarray]:
        """Resize a picture to as many whole patches as fit, and cut it.

        Parameters
        ----------
        medium : uint8 (height, width, 3), RGB.

        Returns
        -------
        {"patches": uint8 (max_patches, p * p * 3), of which the first rows * columns are the picture's, row by row, the others zeros;
        "grid": int32 (2,), rows and columns}
        """
        how = self.spec.preprocessing
        resized = resize_to_patches(medium, how["patch"], how["max_patches"], how["resample"])
        own = patchify(resized, how["patch"])
        padded = np.zeros((how["max_patches"], own.shape[1]), np.uint8)
        padded[: len(own)] = own
        return {"patches": padded, "grid": np.array(resized.shape[:2], np.int32) // how["patch"]}

    def load(self, folder: Path) -> Module:
        """The model without its text half."""
        half: Module = read_half(folder, "vision")
        return half

    def vectors(self, model: Any, inputs: dict[str, Tensor]) -> Tensor:
        """Projected features; what no picture of the batch fills is cut off, the rest is masked."""
        import torch

        grid = inputs["grid"].long()  # (n, 2)
        counts = grid.prod(1)
        longest = int(counts.max())
        mask = torch.arange(longest, device=grid.device) < counts.unsqueeze(1)  # (n, longest)
        patches = self.normalised(inputs["patches"][:, :longest], model)
        return unwrap(model.get_image_features(pixel_values=patches, pixel_attention_mask=mask.long(), spatial_shapes=grid))

    def normalised(self, patches: Tensor, model: Module) -> Tensor:
        """(pixel / 255 - mean) / std of patches (n, count, p * p * 3), whose colours stand together, in the model's dtype."""
        how = self.spec.preprocessing
        whole = patches.float()
        std, mean = (whole.new_tensor(how[name]).repeat(how["patch"] ** 2) for name in ("std", "mean"))  # (p * p * 3,)
        return whole.mul_(1 / (255 * std)).sub_(mean / std).to(next(model.parameters()).dtype)

    def probe(self) -> list[np.ndarray]:
        """A tall gradient, a wide chequerboard and square noise."""
        edge = self.spec.preprocessing["patch"] * 4
        shapes = [(3 * edge, edge), (edge, 2 * edge), (edge, edge)]
        return [picture[:height, :width] for (height, width), picture in zip(shapes, probes(3 * edge), strict=True)]
