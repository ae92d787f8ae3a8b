"""docs/alignment.md, done: `python -m benchmarks.alignment_guide` types its commands, draws its figures, and writes what both say."""

from __future__ import annotations

import argparse
import json
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from encoders.align import card as cards
from encoders.align import heads as head_files
from encoders.align.frozen import FrozenVectors
from encoders.align.heads import Head
from encoders.align.objective import Objective
from encoders.align.training import History, Options
from encoders.spec import Modality
from flows.align_opening import open_alignment
from flows.settings import AlignSettings
from retrieval import ranking
from retrieval.score import directions, geometry
from tasks.split import Side
from tasks.train import headed, make_heads, train_heads

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "alignment.md"
IMAGES = ROOT / "docs" / "images"
BOTH: tuple[Modality, Modality] = ("text", "image")
_SIZES = (50, 100, 200, 400, 800)
_SEEDS = 3


@dataclass(frozen=True)
class Aligned:
    """What `sensorium align` left: vectors of each side before and after the heads, and what each row is."""

    settings: AlignSettings
    sides: Mapping[Side, FrozenVectors]
    texts: Mapping[Side, Sequence[str]]
    pictures: Mapping[Side, Sequence[Path]]
    heads: Mapping[Modality, Head]

    def rows(self, side: Side, heads: Mapping[Modality, Head]) -> dict[Modality, np.ndarray]:
        """Vectors (n, d) after some heads, row i of both from pair i."""
        found = self.sides[side]
        return {m: vectors[found.ids[m]] for m, vectors in headed(heads, found.vectors).items()}


def main() -> None:
    """Run the page's commands, draw its figures, and write into it what both say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--figures", action="store_true", help="only the figures, from what the commands left before")
    only_figures = parser.parse_args().figures
    printed = {} if only_figures else {command: run(command, ROOT).replace(f"{ROOT}/", "") for command in commands(PAGE)}
    pairs, space = next(spaces(PAGE))
    numbers = draw(load(ROOT / pairs, ROOT / space), IMAGES)
    print(json.dumps(numbers, indent=2))
    text = PAGE.read_text(encoding="utf-8")
    text = with_outputs(text, printed.__getitem__) if printed else text
    PAGE.write_text(with_numbers(text, numbers["stages"]), encoding="utf-8")


def with_outputs(text: str, printed: Callable[[str], str]) -> str:
    """A page in which each block called text has what the block called console before it prints."""

    def filled(match: re.Match[str]) -> str:
        outputs = [f"$ {command}\n{printed(command).strip(chr(10))}" for command in _typed(match[2])]
        return f"{match[1]}```text\n{chr(10).join(outputs)}\n```"

    return re.sub(r"(^```console\n(.*?)^```\n(?:(?!```).)*?)^```text\n.*?^```", filled, text, flags=re.MULTILINE | re.DOTALL)


def with_numbers(text: str, stages: Mapping[str, Mapping[str, Any]]) -> str:
    """A page with the table of these figures between its two marks."""
    names = [*stages]
    lines = [f"| | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    for direction, metric in ((d, m) for d in ("text>image", "image>text") for m in ("recall@1", "recall@10", "mrr")):
        lines.append(f"| {direction} {metric} | {' | '.join(stages[name][direction][metric] for name in names)} |")
    lines += [f"| {key} | {' | '.join(str(stages[name][key]) for name in names)} |" for key in ("mixed recall@10", "gap")]
    return re.sub(r"(<!-- numbers -->\n).*?(<!-- end -->)", lambda m: f"{m[1]}{chr(10).join(lines)}\n{m[2]}", text, flags=re.DOTALL)


def commands(page: Path) -> Iterator[str]:
    """What a reader of a page types, in its order: the lines that begin with a dollar in its blocks called console."""
    for block in re.findall(r"^```console\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        yield from _typed(block)


def _typed(block: str) -> Iterator[str]:
    return (re.sub(r" +", " ", line[2:]) for line in block.replace("\\\n", " ").splitlines() if line.startswith("$ "))


def spaces(page: Path) -> Iterator[tuple[Path, Path]]:
    """The pairs and the folders of the spaces that a page's commands make."""
    for command in commands(page):
        words = shlex.split(command)
        if words[:2] == ["sensorium", "align"]:
            yield Path(words[2]), Path(words[words.index("--out") + 1]) / words[words.index("--name") + 1]


def run(command: str, folder: Path, more: Sequence[str] = ()) -> str:
    """What a command of the page prints; `sensorium` and `python` are those of this environment. A failure is an error."""
    word, *rest = shlex.split(command)
    own = {"sensorium": [sys.executable, "-m", "flows.cli"], "python": [sys.executable]}
    began = time.monotonic()
    done = subprocess.run([*own.get(word, [word]), *rest, *more], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{command}\n{done.stdout}\n{done.stderr}")
    print(f"{done.stdout}({time.monotonic() - began:.1f} s)", flush=True)
    return done.stdout


def load(pairs: Path, folder: Path) -> Aligned:
    """What stands in the folder of an aligned space, and in the pairs that it was made from."""
    asked = {name: value for name, value in cards.read(folder)["asked"].items() if name not in {"pairs", "encoders"}}
    settings = AlignSettings(**asked, pairs=str(pairs), name=folder.name, out=str(folder.parent), replace=True)
    found = open_alignment(settings)
    parts = found.divide()
    names, texts, pictures = ("train", "validation", "test"), {}, {}
    sides = {cast("Side", side): found.stored.side(parts, cast("Side", side)) for side in names}
    for side in sides:
        frame = parts.side(side)
        texts[side] = dict(frame.select("text_content", "text").iter_rows())
        pictures[side] = {content: Path(uri.removeprefix("file://")) for content, uri in frame.select("image_content", "image").iter_rows()}
    ordered = {side: {m: sorted(each[side]) for m, each in (("text", texts), ("image", pictures))} for side in sides}
    return Aligned(
        settings,
        sides,
        {side: [texts[side][ordered[side]["text"][number]] for number in sides[side].ids["text"]] for side in sides},
        {side: [pictures[side][ordered[side]["image"][number]] for number in sides[side].ids["image"]] for side in sides},
        {m: head_files.load(folder / f"{m}.safetensors") for m in BOTH},
    )


def draw(space: Aligned, images: Path) -> dict[str, Any]:
    """All figures into a folder; the numbers that the page states."""
    from benchmarks import alignment_figures as figures  # matplotlib, which only figures need

    untrained = make_heads(_bases(space), space.settings.dimension, space.settings.head, space.settings.hidden, (), space.settings.seed)
    bare = {m: head.calibrated(None) for m, head in space.heads.items()}
    stages = {"untrained heads": untrained, "trained": bare, "trained and calibrated": space.heads}
    few = np.random.default_rng(5).permutation(len(space.texts["test"]))[:16]
    vectors = {name: space.rows("test", heads) for name, heads in stages.items()}
    shown = [name for name in stages if name != "trained"]
    figures.similarities(
        {name: (vectors[name]["text"][few] @ vectors[name]["image"][few].T) for name in shown},
        [space.texts["test"][row] for row in few],
        [space.pictures["test"][row] for row in few],
        images / "alignment-similarities.png",
    )
    figures.maps(vectors, images / "alignment-map.png")
    history = watched(space)
    figures.training(
        history.losses,
        {f"{side} pairs": [(each["step"], each[side]) for each in history.evaluations] for side in ("train", "validation")},
        history.best_step,
        images / "alignment-training.png",
    )
    by_size = sized(space)
    figures.sizes(by_size, 10 / len(space.texts["test"]), images / "alignment-sizes.png")
    figures.answers(found(space), images / "alignment-answers.png")
    return {
        "stages": {name: told(each) for name, each in vectors.items()},
        "train": told(space.rows("train", space.heads)),
        "best step": history.best_step,
        "sizes": by_size,
    }


def told(vectors: Mapping[Modality, np.ndarray]) -> dict[str, Any]:
    """Recall in both directions, and the shape of the space."""
    positions = directions.positions(vectors, {m: np.arange(len(vectors[m])) for m in BOTH})
    recalls = {
        direction: {name: f"{figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})" for name, figure in ranking.figures(each).items()}
        for direction, each in positions.items()
    }
    gap = geometry.modality_gap(vectors["text"], vectors["image"])
    return {**recalls, "gap": round(gap, 3), "mixed recall@10": round(mixed(vectors), 3)}


def mixed(vectors: Mapping[Modality, np.ndarray], k: int = 10) -> float:
    """Share of texts and pictures whose partner is among the first k of one list of all texts and all pictures but the query itself."""
    n = len(vectors["text"])
    both = np.concatenate([vectors["text"], vectors["image"]])
    cosines = both @ both.T
    np.fill_diagonal(cosines, -np.inf)
    partner = cosines[np.arange(2 * n), (np.arange(2 * n) + n) % (2 * n)]
    return float(((cosines > partner[:, None]).sum(1) < k).mean())


def watched(space: Aligned) -> History:
    """The same training once more, with a look at what was learned by heart beside what holds for others."""
    heads = make_heads(_bases(space), space.settings.dimension, space.settings.head, space.settings.hidden, (), space.settings.seed)
    return learn(space, heads, space.sides["train"], space.settings.seed, every=5, also=("train",))


def sized(space: Aligned) -> dict[str, dict[int, list[float]]]:
    """Recall@10 and @1 on the test side by pairs learned from, and recall@10 on those pairs themselves."""
    whole = space.sides["train"]
    named: dict[str, dict[int, list[float]]] = {"their own pairs, @10": {}, "test pairs, @10": {}, "test pairs, @1": {}}
    for size in (*(size for size in _SIZES if size < len(whole)), len(whole)):
        for seed in range(_SEEDS):
            rows = np.random.default_rng(seed).permutation(len(whole))[:size]
            part = FrozenVectors(whole.vectors, {m: ids[rows] for m, ids in whole.ids.items()})
            heads = make_heads(_bases(space), space.settings.dimension, space.settings.head, space.settings.hidden, (), seed)
            learn(space, heads, part, seed)
            own, test = (recalls(heads, side) for side in (part, space.sides["test"]))
            for name, value in zip(named, (own["recall@10"], test["recall@10"], test["recall@1"]), strict=True):
                named[name].setdefault(size, []).append(round(value, 4))
    return named


def learn(
    space: Aligned, heads: Mapping[Modality, Head], side: FrozenVectors, seed: int, every: int = 10, also: Sequence[Side] = ()
) -> History:
    """Train heads on a side as the settings say, and stop as they say; `also` names further sides to look at."""
    asked = space.settings

    def validate() -> dict[str, float]:
        validation = recalls(heads, space.sides["validation"])
        others = {name: recalls(heads, space.sides[name])["recall@10"] for name in also}
        return {**validation, "validation": validation["recall@10"], **others}

    options = Options(
        batch=min(asked.batch, len(side)),
        steps=asked.steps or 1000,
        learning_rate=asked.learning_rate or 1e-3,
        weight_decay=asked.weight_decay,
        warm_up=asked.warm_up,
        seed=seed,
        evaluate_every=every,
        metric=asked.metric,
        patience=max(1, asked.patience * asked.evaluate_every // every),
    )
    with tempfile.TemporaryDirectory() as scratch:
        return train_heads(heads, side, Objective(asked.loss), options, folder=Path(scratch), validate=validate, note=lambda _: None)


def recalls(heads: Mapping[Modality, Head], side: FrozenVectors) -> dict[str, float]:
    """Means over both directions."""
    return directions.means(directions.positions(headed(heads, side.vectors), side.ids))


def found(space: Aligned, queries: int = 9, most: int = 8) -> list[tuple[str, list[tuple[Path, bool]]]]:
    """For the first captions of the test side, by content and not by choice, the nearest of its pictures."""
    vectors = space.rows("test", space.heads)
    rows = []
    for query in range(queries):
        best = np.argsort(-(vectors["image"] @ vectors["text"][query]))[:most]
        rows.append((space.texts["test"][query], [(space.pictures["test"][place], bool(place == query)) for place in best]))
    return rows


def _bases(space: Aligned) -> dict[Modality, int]:
    return {m: vectors.shape[1] for m, vectors in space.sides["test"].vectors.items()}


if __name__ == "__main__":
    main()
