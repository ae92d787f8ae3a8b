"""A model of transformers behind an encoder: loaded at the first use, once, in the best dtype that keeps its vectors."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from encoders import hardware, weights
from encoders.errors import EncoderError
from encoders.pooling import normalise
from encoders.spec import Spec
from encoders.stacking import alone

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

TOLERANCE = 0.999  # lowest cosine to float32 on the CPU that another dtype or device may have

_LOADING = threading.Lock()  # transformers builds models under process-wide state (default dtype, patched initialisers)


class Pretrained(ABC):
    """An encoder whose weights are loaded at the first `encode`; making one costs nothing and imports no torch.

    A family says how to load its model and how to get vectors from it. Before a model runs on another device or in another dtype than
    float32 on the CPU, both encode the same few media: a dtype whose vectors fall below a cosine of 0.999 is passed over.

    Parameters
    ----------
    spec : what to compute.
    device : a torch device, such as "cpu" or "cuda:0".
    dtype : "auto" for the best of `hardware.dtypes`, or one of its names.
    """

    def __init__(self, spec: Spec, device: str = "cpu", dtype: str = "auto") -> None:
        self.spec = spec
        self.device = device
        self.dtype = dtype  # what was asked for until the weights are loaded, then what they run in
        self.judged: Callable[[np.ndarray], np.ndarray] = lambda vectors: vectors  # a head that comes after: dtypes are compared behind it
        self._model: Module | None = None
        self._lock = threading.Lock()

    @abstractmethod
    def prepare(self, medium: Any) -> dict[str, np.ndarray]:
        """Model inputs of one segment."""

    @abstractmethod
    def load(self, folder: Path) -> Module:
        """The model in float32 on the CPU."""

    @abstractmethod
    def vectors(self, model: Module, inputs: dict[str, Tensor]) -> Tensor:
        """Vectors (n, dimension) of any length, from inputs on the model's device."""

    @abstractmethod
    def probe(self) -> Sequence[Any]:
        """A few media on which another dtype or device is compared."""

    def encode(self, inputs: dict[str, np.ndarray]) -> np.ndarray:
        """Vectors of a batch, float32 (n, dimension), each of length one; several threads may call this at once."""
        return self.checked(self._forward(self._loaded(), inputs))

    def checked(self, vectors: np.ndarray) -> np.ndarray:
        """The vectors (n, dimension), or EncoderError where they are not as long as the spec says."""
        if vectors.shape[1] != self.spec.dimension:
            raise EncoderError(f"{self.spec.weights} gives vectors of {vectors.shape[1]} numbers, its spec says {self.spec.dimension}")
        return vectors

    def warm(self) -> None:
        """Load the weights now, so that the first `encode` finds them; a pipeline does so while it prepares its first objects."""
        self._loaded()

    def _loaded(self) -> Module:
        if self._model is None:
            with self._lock:
                if self._model is None:
                    self._model = self._load()
        return self._model

    def _load(self) -> Module:
        folder = weights.locate(self.spec.weights, self.spec.revision)
        weights.verify(folder, self.spec.digest)
        choices = hardware.dtypes(self.device, self.dtype)
        with _LOADING:
            if (self.device, choices) == ("cpu", ("float32",)):
                self.dtype = "float32"
                return self.load(folder)
            return self._load_checked(folder, choices)

    def _load_checked(self, folder: Path, choices: Sequence[str]) -> Module:
        import torch

        model = self.load(folder)
        media = [self.prepare(medium) for medium in self.probe()]
        reference = self._probed(model, media)
        for number, dtype in enumerate(choices):
            model = (self.load(folder) if number else model).to(self.device, getattr(torch, dtype))
            cosine = float((self._probed(model, media) * reference).sum(1).min())
            if cosine >= TOLERANCE:
                self.dtype = dtype
                return model
        raise EncoderError(
            f"{self.spec.weights} in {' and '.join(choices)} on {self.device} gives other vectors than in float32 on the CPU "
            f"(lowest cosine {cosine:.4f}, allowed {TOLERANCE}); use dtype auto or float32, or the device cpu"
        )

    def _probed(self, model: Module, media: Sequence[dict[str, np.ndarray]]) -> np.ndarray:
        return self.judged(np.concatenate([self._forward(model, alone(inputs)) for inputs in media]))

    def _forward(self, model: Module, inputs: dict[str, np.ndarray]) -> np.ndarray:
        import torch

        device = next(model.parameters()).device
        with torch.inference_mode():
            # torch warns about memory that it could not write to, such as a mapped file's
            tensors = {name: torch.from_numpy(np.require(a, requirements=["C", "W"])).to(device) for name, a in inputs.items()}
            vectors: np.ndarray = normalise(self.vectors(model, tensors)).cpu().numpy()
        return vectors


def read_model(folder: Path, unused: Sequence[str] = (), kind: str = "AutoModel") -> Any:
    """A checkpoint's model in float32 on the CPU, ready to run.

    Parameters
    ----------
    unused : beginnings of the names of parameters that play no part in the vectors, and may be missing.
    kind : the class of transformers that loads it.

    Raises
    ------
    EncoderError : transformers cannot load the checkpoint, or lacks weights for a part that is used and would make them up at random.
    """
    import torch
    import transformers

    try:
        with quiet():
            model, report = getattr(transformers, kind).from_pretrained(
                folder, local_files_only=True, use_safetensors=True, trust_remote_code=False, dtype=torch.float32, output_loading_info=True
            )
    except (OSError, ValueError, RuntimeError, KeyError) as problem:
        raise EncoderError(f"transformers cannot load {folder}: {problem}") from problem
    wrong = [name for name in sorted(report["missing_keys"]) if not name.startswith(tuple(unused))] + sorted(
        map(str, report["mismatched_keys"])
    )
    if wrong:
        raise EncoderError(
            f"{folder} has no fitting weights for {', '.join(wrong[:5])}: this is another kind of checkpoint, or a part of one"
        )
    return model.eval().requires_grad_(False)


def setting(folder: Path, *path: str) -> Any:
    """A value of config.json by its keys, such as ("vision_config", "patch_size").

    A value that the file leaves out is the model's default, for which transformers is asked (and imported).
    """
    value: Any = weights.read_json(folder, "config.json")
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return _default(folder, *path) if value is None else value


def _default(folder: Path, *path: str) -> Any:
    from transformers import AutoConfig

    try:
        value: Any = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        for key in path:
            value = getattr(value, key)
    except (OSError, ValueError, KeyError, AttributeError) as problem:
        raise EncoderError(f"{folder / 'config.json'} does not say {'.'.join(path)}, which this encoder needs") from problem
    return value


@contextmanager
def quiet() -> Iterator[None]:
    """Without progress bars and without the table of weights that a model's base leaves unused."""
    from logging import ERROR

    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(ERROR)
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]
