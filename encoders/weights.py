"""Where weights are and what they are: package, folder or hub; safetensors only; a digest over all that changes what they compute."""

from __future__ import annotations

import hashlib
import json
import re
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any, TypedDict

from encoders.errors import EncoderError

PACKAGE = "package:"
PATTERNS = ["*.safetensors", "*.json", "*.txt"]

# The files that are read. Model cards, training logs and exports to other formats change nothing and stay out of the digest.
_CONFIGURING = (
    "config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "video_preprocessor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "modules.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
    "1_Pooling/config.json",
)
MODULE_WEIGHTS = "model.safetensors"
_INSIDE = re.compile(r"(\w[\w.-]*)?")
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_COMMIT = re.compile(r"[0-9a-f]{40}")


class Origin(TypedDict):
    """The part of a spec that says where its weights are from, and which they are."""

    weights: str
    revision: str
    digest: str
    licence: str


def origin(path: Path, weights: str, revision: str, licence: str) -> Origin:
    """That part, for weights that were located at `path`."""
    return Origin(weights=weights, revision=revision, digest=digest(path), licence=licence)


def locate(weights: str, revision: str = "") -> Path:
    """The folder that holds some weights; weights of a hub that are not here are fetched.

    Parameters
    ----------
    weights : "package:miniature/clip" for a folder that ships with this project, the path of a folder, or a hub id such as "org/name".
    revision : the commit of a hub id, 40 hex digits; must be "" for the other two.

    Raises
    ------
    EncoderError : there is no such folder, the revision is missing or no commit, the hub cannot be reached, or the folder holds no
        checkpoint that is safe to load (see `check`).
    """
    folder = _locate(weights, revision)
    check(folder)
    return folder


def is_here(weights: str, revision: str = "") -> bool:
    """Whether these weights can be loaded without a network."""
    try:
        check(_snapshot(weights, revision, offline=True) if revision else _locate(weights, revision))
    except (EncoderError, OSError):
        return False
    return True


def revisions_here(weights: str) -> tuple[str, ...]:
    """Commits of a hub id that lie whole in this machine's cache of the hub, sorted."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    snapshots = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=weights, repo_type="model") / "snapshots"
    folders = sorted(snapshots.iterdir()) if snapshots.is_dir() else []
    return tuple(folder.name for folder in folders if _COMMIT.fullmatch(folder.name) and _is_whole(folder))


def check(folder: Path) -> None:
    """Refuse a folder that is no checkpoint, holds pickled weights only, or brings code of its own."""
    if not (folder / "config.json").is_file():
        raise EncoderError(f"{folder} has no config.json, so it is no checkpoint; give the folder that `save_pretrained` wrote")
    if not any(folder.glob("*.safetensors")):
        pickled = ", ".join(sorted(p.name for p in folder.iterdir() if p.suffix in {".bin", ".pt", ".pth", ".ckpt"}))
        held = f"only {pickled}, and pickled weights can run any code when they are opened" if pickled else "no *.safetensors"
        raise EncoderError(f"{folder} holds {held}; load the model where you trust it and `save_pretrained` it as model.safetensors")
    for name in ("config.json", "tokenizer_config.json", "preprocessor_config.json", "processor_config.json"):
        if "auto_map" in read_json(folder, name):
            raise EncoderError(
                f"{folder / name} has an auto_map: the checkpoint wants its own code to be run, which is never done; "
                "take a checkpoint of a model that transformers itself knows, or write an encoder (encoders/registry.py tells how)"
            )


def read_json(folder: Path, name: str) -> Any:
    """What a configuration file of a checkpoint holds, mostly a dict; an empty one where there is no such file."""
    path = folder / name
    if not path.is_file():
        return {}
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as problem:
        raise EncoderError(f"{path} is no JSON ({problem}); fetch or save the checkpoint anew") from problem


def digest(folder: Path) -> str:
    """Hex SHA-256 over the names and contents of all weights and of the files that configure them; of a single file, over its contents.

    A file is read once in a process (at 1 to 2 GB/s) and again only when its size or time changes. The folder's place does not matter.
    """
    if folder.is_file():
        stat = folder.stat()
        return _file_digest(folder, stat.st_size, stat.st_mtime_ns)
    configuring = [*_CONFIGURING, *(f"{path}/{name}" for path in module_folders(folder) for name in ("config.json", MODULE_WEIGHTS))]
    names = sorted({p.name for p in folder.glob("*.safetensors")} | {name for name in configuring if (folder / name).is_file()})
    whole = hashlib.sha256()
    for name in names:
        stat = (folder / name).stat()
        whole.update(f"{name}\0{_file_digest(folder / name, stat.st_size, stat.st_mtime_ns)}\n".encode())
    return whole.hexdigest()


def module_folders(folder: Path) -> tuple[str, ...]:
    """Folders in a checkpoint of sentence-transformers, as its modules.json names them: of the pooling and of what comes after it."""
    paths = [str(module.get("path") or "") for module in read_json(folder, "modules.json") or ()]
    for path in paths:
        if not _INSIDE.fullmatch(path):
            raise EncoderError(f"{folder / 'modules.json'} names the folder {path!r}; only one inside the checkpoint is read")
    return tuple(path for path in paths if path)


def verify(folder: Path, expected: str) -> None:
    """EncoderError unless the folder still holds what a spec was made from."""
    found = digest(folder)
    if found != expected:
        raise EncoderError(
            f"the weights in {folder} are not those of the spec (digest {found[:16]}, wanted {expected[:16]}): they were changed; "
            "bring back the old files, or embed into a new table"
        )


@lru_cache(maxsize=1024)
def _file_digest(path: Path, _size: int, _modified: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def place(weights: str) -> Path:
    """Where a file or folder is, as spaces name it: "package:…" among those that ship with this project, or a path."""
    if weights.startswith(PACKAGE):
        return Path(str(files("encoders").joinpath(weights.removeprefix(PACKAGE))))
    return Path(weights).expanduser()


def _locate(weights: str, revision: str) -> Path:
    if revision:
        return _fetch(weights, revision)
    if not weights:
        raise EncoderError("no weights were named; give a folder, a hub id with its revision, or package:miniature/clip")
    folder = place(weights)
    if folder.is_dir():
        return folder
    hint = f"; if {weights} is a hub id, name its revision too (the commit, 40 hex digits)" if _HUB_ID.fullmatch(weights) else ""
    raise EncoderError(f"there is no folder {folder}{hint}")


def _fetch(weights: str, revision: str) -> Path:
    if not _HUB_ID.fullmatch(weights):
        raise EncoderError(f"a revision belongs to a hub id such as org/name, and {weights!r} is none; leave the revision out for a folder")
    if not _COMMIT.fullmatch(revision):
        raise EncoderError(
            f"revision {revision!r} of {weights} is no commit: give all 40 hex digits, for a branch or tag may hold other weights tomorrow"
        )
    try:
        return _snapshot(weights, revision, offline=True)
    except OSError:
        return _download(weights, revision)


def _download(weights: str, revision: str) -> Path:
    try:
        return _snapshot(weights, revision, offline=False)
    except Exception as problem:  # the client raises errors of three libraries; all mean the same to whoever has to act
        patterns = " ".join(f"--include '{pattern}'" for pattern in PATTERNS)
        raise EncoderError(
            f"{weights} at {revision} is not on this machine and could not be fetched ({type(problem).__name__}: {problem}); "
            f"where there is a network, run: hf download {weights} --revision {revision} {patterns}"
        ) from problem


def _snapshot(weights: str, revision: str, *, offline: bool) -> Path:
    from huggingface_hub import snapshot_download

    folder = Path(snapshot_download(weights, revision=revision, allow_patterns=PATTERNS, local_files_only=offline))
    if offline and not _is_whole(folder):
        raise FileNotFoundError(f"{folder} holds a part of the checkpoint only")
    return folder


def _is_whole(folder: Path) -> bool:
    """Whether an interrupted download left all weights; it fetches small files and large ones in no fixed order."""
    needed = set(read_json(folder, "model.safetensors.index.json").get("weight_map", {}).values())
    modules = {str(module["path"]): str(module["type"]) for module in read_json(folder, "modules.json") or ()}
    needed |= {f"{path}/config.json" for path, kind in modules.items() if kind.endswith((".Pooling", ".Dense"))}
    needed |= {f"{path}/{MODULE_WEIGHTS}" for path, kind in modules.items() if kind.endswith(".Dense")}
    return (folder / "config.json").is_file() and any(folder.glob("*.safetensors")) and all((folder / name).is_file() for name in needed)
