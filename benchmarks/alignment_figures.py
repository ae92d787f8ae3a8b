"""The figures of docs/alignment.md, from numbers: arrays in, a PNG out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from PIL import Image
from sklearn.decomposition import PCA

Vectors = Mapping[str, np.ndarray]

TEXT, IMAGE, GREY = "#0072b2", "#d55e00", "#999999"  # Okabe & Ito's
mpl.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "figure.dpi": 130})
_DOT = 72 / 130  # points of a pixel


def similarities(panels: Mapping[str, np.ndarray], texts: Sequence[str], pictures: Sequence[Path], path: Path) -> None:
    """Cosines of texts (rows) and pictures (columns), a panel each; both in the same order, so that pairs lie on the diagonal."""
    figure = Figure(figsize=(3.6 * len(panels) + 2, 4.0), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    high = max(float(cosines.max()) for cosines in panels.values())
    for place, (ax, (title, cosines)) in enumerate(zip(axes, panels.items(), strict=True)):
        drawn = ax.imshow(cosines, cmap="viridis", vmin=min(0.0, float(cosines.min())), vmax=high)
        ax.set_title(title, pad=26)
        ax.set_yticks(range(len(texts)), texts if place == 0 else [])
        ax.set_xticks([])
        ax.tick_params(length=0)
        for column, picture in enumerate(pictures):
            _thumbnail(ax, picture, 22, (column, -0.5), (0, 9))
    figure.colorbar(drawn, ax=axes, shrink=0.7, label="cosine")
    _save(figure, path)


def maps(panels: Mapping[str, Vectors], path: Path) -> None:
    """Texts and pictures in the plane in which they spread most (PCA over both), a panel each; a line joins each pair."""
    figure = Figure(figsize=(3.1 * len(panels), 3.3), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for ax, (title, both) in zip(axes, panels.items(), strict=True):
        flat = PCA(2, svd_solver="full").fit_transform(np.concatenate([both["text"], both["image"]]))
        texts, pictures = np.split(flat, 2)
        ax.plot(*np.stack([texts, pictures]).transpose(2, 0, 1), color=GREY, lw=0.4, alpha=0.5, zorder=0)
        for name, points, colour in (("texts", texts, TEXT), ("pictures", pictures, IMAGE)):
            ax.scatter(*points.T, s=9, color=colour, label=name, linewidths=0)
        ax.set_title(title)
        ax.set_xticks([])
        ax.set_yticks([])
        ax.set_aspect("equal", "datalim")
        ax.spines[:].set_visible(False)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False, markerscale=2)
    _save(figure, path)


def training(losses: Sequence[float], recalls: Mapping[str, Sequence[tuple[float, float]]], best: int, path: Path) -> None:
    """The loss of each step, and recall on several sides of the pairs while they were learned."""
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(range(1, len(losses) + 1), losses, color="black", lw=1)
    left.set(title="loss of each batch", xlabel="step", ylim=(0, None))
    for (name, points), colour in zip(recalls.items(), ("black", IMAGE), strict=False):
        right.plot(*zip(*points, strict=True), color=colour, lw=1.5, label=name)
    right.set(title="recall@10, text to picture and back", xlabel="step", ylim=(0, 1.02))
    for ax in (left, right):
        ax.axvline(best, color=GREY, ls=":", lw=1)
        ax.set_xlim(0, None)
    right.annotate(f"kept: step {best}", (best, 0.03), xytext=(5, 0), textcoords="offset points", color="#666666")
    right.legend(frameon=False, loc="center right")
    _save(figure, path)


def sizes(found: Mapping[str, Mapping[int, Sequence[float]]], chance: float, path: Path) -> None:
    """Recall by the number of pairs that were learned from; points are seeds, lines their means."""
    figure = Figure(figsize=(6, 3.6), layout="constrained")
    ax = figure.subplots()
    for (name, series), colour in zip(found.items(), ("black", IMAGE, TEXT), strict=False):
        counts = sorted(series)
        ax.plot(counts, [np.mean(series[count]) for count in counts], color=colour, lw=1.5, label=name)
        for count in counts:
            ax.plot([count] * len(series[count]), series[count], "o", ms=3, color=colour, alpha=0.6)
    ax.axhline(chance, color=GREY, ls=":", lw=1)
    ax.annotate(
        "chance, @10", (min(min(series) for series in found.values()), chance), xytext=(0, 3), textcoords="offset points", color="#666666"
    )
    ax.set(xscale="log", xlabel="pairs learned from", ylabel="recall", ylim=(0, 1.02))
    counts = sorted({count for series in found.values() for count in series})
    ax.set_xticks(counts, [f"{count:,}" for count in counts])
    ax.minorticks_off()
    ax.legend(frameon=False, loc="upper left")
    _save(figure, path)


def answers(rows: Sequence[tuple[str, Sequence[tuple[Path, bool]]]], path: Path) -> None:
    """For each words the pictures that were found, the best first; a frame around the one that belongs to them."""
    most = max(len(found) for _, found in rows)
    figure = Figure(figsize=(2.2 + 0.62 * most, 0.62 * len(rows)), layout="constrained")
    ax = figure.subplots()
    ax.set(xlim=(-0.6, most - 0.4), ylim=(len(rows) - 0.5, -0.5), xticks=[])
    ax.set_yticks(range(len(rows)), [words for words, _ in rows], fontsize=10)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    for row, (_, found) in enumerate(rows):
        for column, (picture, right) in enumerate(found):
            _thumbnail(ax, picture, 64, (column, row), (0, 0), "#009e73" if right else "none")
    _save(figure, path)


def _thumbnail(ax: Axes, picture: Path, pixels: int, at: tuple[float, float], shift: tuple[float, float], frame: str = "none") -> None:
    with Image.open(picture) as opened:
        edge = opened.width // 9 if opened.width == opened.height else 0  # emoji have a margin
        cropped = opened.convert("RGB").crop((edge, edge, opened.width - edge, opened.height - edge))
    box = AnnotationBbox(
        OffsetImage(np.asarray(cropped.resize((pixels, pixels), Image.Resampling.LANCZOS)), zoom=_DOT),
        at,
        xybox=shift,
        boxcoords="offset points",
        pad=0.1,
        bboxprops={"edgecolor": frame, "facecolor": "none", "linewidth": 2.0},
        annotation_clip=False,
    )
    ax.add_artist(box)


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, pil_kwargs={"optimize": True})
