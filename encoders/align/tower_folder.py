"""Trained towers as checkpoint folders of transformers, and checkpoints of random weights to train from scratch."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import Linear, Module

from encoders.align.towers import Tower, seeded
from encoders.audio import HEAD
from encoders.bert import HALVED
from encoders.errors import EncoderError
from encoders.pretrained import quiet, read_model
from encoders.spec import Modality, Spec
from encoders.weights import MODULE_WEIGHTS, digest, locate, module_folders, read_json

# Of a checkpoint's files these say how to prepare media; weights and a model's card are not copied.
_COPIED = frozenset({".json", ".txt", ".model", ".jinja"})


def save(trained: Tower, folder: Path) -> Spec:
    """Write a tower as a checkpoint: weights in float32, and the files beside them as they were.

    Parameters
    ----------
    folder : is made, or replaced as a whole.

    Returns
    -------
    The spec of what was written.
    """
    return save_all({trained.spec.modality: trained}, folder, subfolders=False)[trained.spec.modality]


def save_all(trained: Mapping[Modality, Tower], folder: Path, *, subfolders: bool = True) -> dict[Modality, Spec]:
    """Write towers as checkpoints below a folder, those of one CLIP-like checkpoint into one again: folder/text-image, folder/audio.

    Parameters
    ----------
    subfolders : whether each has a folder of its own; without them there may be one checkpoint only.
    """
    specs: dict[Modality, Spec] = {}
    groups = _by_checkpoint(trained)
    if len(groups) > 1 and not subfolders:
        raise EncoderError(f"these towers come from {len(groups)} checkpoints, which need a folder each")
    for group in groups:
        modalities = [one.spec.modality for one in group]
        place = folder / "-".join(modalities) if subfolders else folder
        _write(group, place)
        found = digest(place)
        for one in group:
            specs[one.spec.modality] = replace(one.spec, weights=str(place.resolve()), revision="", digest=found)
    return specs


def fresh(source: Path, folder: Path, seed: int = 0, dimension: int = 0) -> Path:
    """Write a checkpoint of random weights, as the architecture initialises them, for training from scratch.

    Parameters
    ----------
    source : a folder with config.json and the files for preparing (preprocessor_config.json, tokenizer.json …); any weights in it are
        not read.
    folder : is made, or replaced as a whole.
    dimension : of an AST's linear head; by default (0) that of the source, or none.

    Returns
    -------
    The folder, for `registry.describe` and `tower`.
    """
    kind = read_json(source, "config.json").get("model_type")
    if kind is None:
        raise EncoderError(f"{source} has no config.json with a model_type; write one with transformers' `config.save_pretrained`")
    if dimension and kind != "audio-spectrogram-transformer":
        raise EncoderError(f"only an AST has a linear head of its own; the dimension of {kind} stands in its config.json")
    with _appearing(folder) as whole, seeded(seed):
        model = _initialised(source)
        with quiet():
            model.save_pretrained(whole)
        _copy_files(source, whole)
        _fresh_head(source, whole, dimension, model.config.hidden_size if hasattr(model.config, "hidden_size") else 0)
        for path in module_folders(source):
            if (source / path / MODULE_WEIGHTS).is_file():
                save_file(_fresh_linear(load_file(source / path / MODULE_WEIGHTS)), whole / path / MODULE_WEIGHTS, {"format": "pt"})
    return folder


def fresh_all(specs: Mapping[Modality, Spec], folder: Path, seed: int = 0) -> dict[Modality, Spec]:
    """`fresh` checkpoints of these encoders below a folder, those of one checkpoint from one again; their specs."""
    found: dict[Modality, Spec] = {}
    for number, (weights, revision) in enumerate(dict.fromkeys((spec.weights, spec.revision) for spec in specs.values())):
        place = fresh(locate(weights, revision), folder / str(number), seed)
        mine = {m: spec for m, spec in specs.items() if (spec.weights, spec.revision) == (weights, revision)}
        written = digest(place)
        found |= {m: replace(spec, weights=str(place.resolve()), revision="", digest=written) for m, spec in mine.items()}
    return found


def _by_checkpoint(trained: Mapping[Modality, Tower]) -> list[list[Tower]]:
    """The two halves of a CLIP-like checkpoint together, all others alone."""
    groups: dict[tuple[str, ...], list[Tower]] = {}
    for modality, one in trained.items():
        if one.spec.modality != modality:
            raise EncoderError(f"the tower given as {modality} embeds {one.spec.modality}")
        halved = one.spec.encoder in {"clip-text", "clip-image"}
        groups.setdefault((one.spec.weights, one.spec.revision) if halved else (modality,), []).append(one)
    return list(groups.values())


def _write(group: Sequence[Tower], folder: Path) -> None:
    """One checkpoint of the towers that came from one."""
    source = locate(group[0].spec.weights, group[0].spec.revision)
    with _appearing(folder) as whole:
        with seeded(0):
            model = _whole_model(source)
        _copy_files(source, whole)
        for one in group:
            state = {name: tensor.detach().float().cpu().contiguous() for name, tensor in one.model.state_dict().items()}
            _refuse_infinite(state, one.spec)
            _WRITE[one.spec.encoder](state, model, source, whole)
        config = (whole / "config.json").read_bytes()  # transformers would name other architectures, by which poolings are chosen
        with quiet():
            model.save_pretrained(whole)
        (whole / "config.json").write_bytes(config)


def _refuse_infinite(state: Mapping[str, Tensor], spec: Spec) -> None:
    wrong = [name for name, tensor in state.items() if not bool(torch.isfinite(tensor).all())]
    if wrong:
        raise EncoderError(f"the trained {spec.encoder} has numbers in {wrong[0]} that are not finite; train with a smaller learning rate")


def _whole_model(source: Path) -> Any:
    return read_model(source, unused=("pooler.",), kind=_kind(source))


def _put(state: Mapping[str, Tensor], model: Module) -> None:
    """Trained weights into the whole model, which may have a half more."""
    unknown = model.load_state_dict(state, strict=False).unexpected_keys
    if unknown:
        raise EncoderError(f"{type(model).__name__} has no {', '.join(unknown[:3])}, which were trained; transformers has changed")


def _write_plain(state: Mapping[str, Tensor], model: Module, _source: Path, _folder: Path) -> None:
    _put(state, model)


def _write_bert(state: Mapping[str, Tensor], model: Module, source: Path, folder: Path) -> None:
    """The model is the first of a list, the dense layers behind it are the second: layer 2 i of those stands in the i-th folder."""
    _put({name.removeprefix("0."): tensor for name, tensor in state.items() if name.startswith("0.")}, model)
    paths = [path for path in module_folders(source) if (source / path / MODULE_WEIGHTS).is_file()]
    for number, path in enumerate(paths):
        layer = f"1.{2 * number}."
        tensors = {f"linear.{name.removeprefix(layer)}": tensor for name, tensor in state.items() if name.startswith(layer)}
        save_file(tensors, folder / path / MODULE_WEIGHTS, {"format": "pt"})


def _write_ast(state: Mapping[str, Tensor], model: Any, _source: Path, folder: Path) -> None:
    """The inverse of `Ast.load`: patches are cut by the model again, and the head stands in a file of its own."""
    head = {name.removeprefix("head."): tensor for name, tensor in state.items() if name.startswith("head.")}
    if head:
        save_file(head, folder / HEAD, {"format": "pt"})
    kernel = model.embeddings.patch_embeddings.projection.weight  # (width, 1, p, p)
    own, theirs = "embeddings.patch_embeddings.", "embeddings.patch_embeddings.projection."
    renamed = {name.replace(own, theirs): tensor for name, tensor in state.items() if not name.startswith("head.")}
    _put({**renamed, f"{theirs}weight": renamed[f"{theirs}weight"].reshape(kernel.shape)}, model)


_WRITE: Mapping[str, Callable[[Mapping[str, Tensor], Module, Path, Path], None]] = {
    "clip-text": _write_plain,
    "clip-image": _write_plain,
    "vit": _write_plain,
    "bert": _write_bert,
    "ast": _write_ast,
}


def _kind(source: Path) -> str:
    """The class of transformers that loads a checkpoint."""
    return "AutoModelForTextEncoding" if read_json(source, "config.json").get("model_type") in HALVED else "AutoModel"


def _initialised(source: Path) -> Any:
    import transformers

    try:
        config = transformers.AutoConfig.from_pretrained(source, local_files_only=True, trust_remote_code=False)
        return getattr(transformers, _kind(source)).from_config(config, dtype=torch.float32)
    except (OSError, ValueError, KeyError) as problem:
        raise EncoderError(f"transformers makes no model of {source / 'config.json'}: {problem}") from problem


def _fresh_head(source: Path, folder: Path, dimension: int, width: int) -> None:
    before = load_file(source / HEAD) if (source / HEAD).is_file() else {}
    out = dimension or (len(before["weight"]) if before else 0)
    if out:
        head = Linear(width, out, bias="bias" in before)
        save_file({name: tensor.detach() for name, tensor in head.named_parameters()}, folder / HEAD, {"format": "pt"})


def _fresh_linear(before: Mapping[str, Tensor]) -> dict[str, Tensor]:
    out, width = before["linear.weight"].shape
    layer = Linear(width, out, bias="linear.bias" in before)
    return {f"linear.{name}": tensor.detach() for name, tensor in layer.named_parameters()}


def _copy_files(source: Path, folder: Path) -> None:
    """Configuration, preparing and tokenizer, of the checkpoint and of the modules of sentence-transformers in it."""
    for place in ("", *module_folders(source)):
        (folder / place).mkdir(exist_ok=True)
        for path in sorted((source / place).iterdir()):
            if path.is_file() and path.suffix in _COPIED and not path.name.endswith(".index.json"):
                shutil.copyfile(path, folder / place / path.name)


@contextmanager
def _appearing(folder: Path) -> Iterator[Path]:
    """A folder beside the one that is wanted, which takes its name when it is whole."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        yield beside
        beside.chmod(0o755)
        if folder.exists():
            shutil.rmtree(folder)
        beside.replace(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
