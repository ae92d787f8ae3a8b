"""Classes by their names or descriptions: one unit vector each, from one prompt or from many."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from retrieval.errors import QueryError

ALIKE = 1 - 1e-5  # cosine above which two classes are one and the same, to float32's rounding
SLOT = "{}"


@dataclass(frozen=True)
class Classes:
    """What objects may be.

    Parameters
    ----------
    names : two or more, each once.
    prompts : of each class, in any language: "dog", or "a dog", "a barking dog", "狗".
    """

    names: tuple[str, ...]
    prompts: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        if len(set(self.names)) < len(self.names):
            twice = next(name for name in self.names if self.names.count(name) > 1)
            raise QueryError(f"class {twice!r} is given twice; give each class once, with several prompts in a TOML file")
        if len(self.names) < 2:
            raise QueryError(f"classes are {', '.join(self.names) or 'none'}; give two or more, such as dog,cat or dog,other animal")
        for name, prompts in zip(self.names, self.prompts, strict=True):
            if not name.strip() or not prompts or not all(prompt.strip() for prompt in prompts):
                raise QueryError(f'class {name!r} has an empty name or prompt, or none; write {name or "dog"} = ["a dog", "狗"]')


def parse(asked: str, templates: Sequence[str] = ()) -> Classes:
    """Classes as a person gives them.

    Parameters
    ----------
    asked : names with commas between them, each its own prompt; or the path of a TOML file in which each name has a prompt or a list.
    templates : sentences around each prompt, such as "a photo of a {}"; each prompt is put into every one of them.

    Raises
    ------
    QueryError : there is no such file, it is not as told above, or there are fewer than two classes.
    """
    read = _read(Path(asked).expanduser()) if asked.endswith(".toml") else _listed(asked)
    return Classes(tuple(read), tuple(tuple(_filled(prompts, templates)) for prompts in read.values()))


def named(names: Sequence[str], templates: Sequence[str] = ()) -> Classes:
    """Classes whose names are their prompts."""
    return Classes(tuple(names), tuple(tuple(_filled([name], templates)) for name in names))


def embed(classes: Classes, texts: Callable[[Sequence[str]], np.ndarray]) -> np.ndarray:
    """One unit vector a class, float32 (classes, dimension): the mean of its prompts' unit vectors.

    Prompts are ensembled over the embedding space, as in CLIP (Radford et al. 2021, "Learning Transferable Visual Models From Natural
    Language Supervision", section 3.1.4), not over probabilities: classifying then costs the same with one prompt as with eighty.

    Parameters
    ----------
    texts : gives one unit vector for each text, such as `Searcher.embed_texts`.

    Raises
    ------
    QueryError : two classes have the same vector, so that nothing can tell them apart; and what `texts` raises.
    """
    flat = [prompt for prompts in classes.prompts for prompt in prompts]
    owner = np.repeat(np.arange(len(classes.names)), [len(prompts) for prompts in classes.prompts])
    vectors = texts(flat).astype(np.float64)  # (prompts, d)
    sums = np.add.reduceat(vectors, np.searchsorted(owner, np.arange(len(classes.names))), axis=0)
    means: np.ndarray = (sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)).astype(np.float32)
    cosines = np.triu(means @ means.T, 1)
    if cosines.max() > ALIKE:
        one, other = np.unravel_index(cosines.argmax(), cosines.shape)
        raise QueryError(
            f"classes {classes.names[one]!r} and {classes.names[other]!r} have the same vector, so nothing can tell them apart; "
            "describe them in words that the text encoder knows"
        )
    return means


def _listed(asked: str) -> Mapping[str, list[str]]:
    names = [name.strip() for name in re.split("[,，、]", asked)]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise QueryError(f"class {twice!r} stands twice in {asked!r}; give each class once")
    return {name: [name] for name in names}


def _read(path: Path) -> Mapping[str, list[str]]:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise QueryError(f"there is no file {str(path)!r}; give the path of a TOML file, or names with commas between them") from None
    except (OSError, ValueError) as problem:
        raise QueryError(f'{path} cannot be read as TOML ({problem}); write lines such as dog = ["a dog", "狗"]') from problem
    return {name: _prompts(path, name, value) for name, value in values.items()}


def _prompts(path: Path, name: str, value: Any) -> list[str]:
    prompts = [value] if isinstance(value, str) else value
    if not isinstance(prompts, list) or not all(isinstance(prompt, str) for prompt in prompts):
        raise QueryError(f'{path}: class {name!r} is {value!r}; write a prompt or a list of them: {name} = ["a dog", "狗"]')
    return prompts


def _filled(prompts: Iterable[str], templates: Sequence[str]) -> Iterable[str]:
    for template in templates:
        if SLOT not in template:
            raise QueryError(f"template {template!r} has no place for a class; write {SLOT} where it goes, as in 'a photo of a {SLOT}'")
    return [template.replace(SLOT, prompt) for prompt in prompts for template in templates or (SLOT,)]
