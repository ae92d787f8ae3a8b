"""Clusters, names and near-duplicates of a world whose kinds are known: `python -m benchmarks.cluster`."""

from __future__ import annotations

import argparse
import io
import time
from importlib.util import find_spec

import numpy as np
from PIL import Image

from benchmarks.material import machine
from encoders import registry
from encoders.miniature import captions, draw, english, scenes
from encoders.miniature.scenes import Scene, Thing
from encoders.miniature.training.calibrate import embedded
from encoders.spaces import load_space
from encoders.spec import Encoder
from retrieval.cluster.cluster_names import nearest_words
from retrieval.cluster.clusters import NOISE, Clusters, ClusterSettings, find
from retrieval.cluster.duplicates import duplicates
from retrieval.plane import centred, plane

THRESHOLDS = (0.9, 0.95, 0.97, 0.98, 0.99, 0.995, 0.999)
KINDS = len(scenes.SOUNDERS)
WAYS = (
    (ClusterSettings("kmeans", KINDS), "vectors"),
    (ClusterSettings("kmeans", KINDS), "plane"),
    (ClusterSettings("kmeans"), "vectors"),
    (ClusterSettings("kmeans"), "plane"),
    (ClusterSettings("hdbscan"), "vectors"),
    (ClusterSettings("hdbscan"), "plane"),
)
QUALITIES = (90, 60, 30)
SCALES = (0.75, 0.5, 0.25)


def main() -> None:
    """Print a table of clusters and one of near-duplicates."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--space", default="miniature")
    parser.add_argument("--each", type=int, default=30, help="scenes of one thing, of each kind that can be heard")
    parser.add_argument("--scenes", type=int, default=150, help="pictures that are saved again and resized")
    parser.add_argument(
        "--maps", type=int, nargs="*", default=[300, 1000], help="vectors that are put on a plane, of groups in 256 dimensions"
    )
    asked = parser.parse_args()
    space = load_space(asked.space)
    encoders = {modality: registry.build(spec, dtype="float32") for modality, spec in space.encoders.items()}
    print(machine())
    _clusters(encoders, asked.each)
    _duplicates(encoders["image"], asked.scenes)
    _maps(asked.maps)


def _clusters(encoders: dict, each: int) -> None:
    """Pictures, sounds and captions of scenes of one thing: how well clusters are the twelve kinds."""
    rng = np.random.default_rng(9)
    some = [_scene(rng, kind) for kind in scenes.SOUNDERS for _ in range(each)]
    kinds = np.array([scene.things[0].kind for scene in some])
    vectors = {
        "image": embedded(encoders["image"], (draw.draw_picture(scene, 100 + k) for k, scene in enumerate(some))),
        "audio": embedded(encoders["audio"], (draw.draw_sound(scene, 100 + k) for k, scene in enumerate(some))),
        "text": embedded(encoders["text"], [captions.full_caption(scene, "en", rng) for scene in some]),
    }
    words = list(dict.fromkeys(word for kind in scenes.SOUNDERS for word in english.KINDS.get(kind, (kind,))))
    words += [*scenes.COLORS, *scenes.WEATHERS[1:], *scenes.SIZES, *scenes.SHAPES]
    encoded = embedded(encoders["text"], words)
    print(
        f"\n{len(some)} scenes of {len(scenes.SOUNDERS)} kinds, each as picture, sound and English caption; {len(words)} words to name by"
    )
    print("| what | centred | method | on | clusters | left out | ARI | NMI | names that are the kind |\n" + "|---" * 9 + "|")
    for what in ("image", "audio", "text", "all three"):
        chosen = list(vectors) if what == "all three" else [what]
        held = np.concatenate([vectors[modality] for modality in chosen])
        groups, true = np.repeat(chosen, len(some)), np.tile(kinds, len(chosen))
        for centre in (False, True) if what == "all three" else (True,):
            moved = centred(held, groups) if centre else held
            places = plane(moved)
            for settings, ground in WAYS:
                found = find(moved, settings, places if ground == "plane" else None)
                named = _named_right(held, found, groups, true, words, encoded)
                method = f"{settings.method}, {settings.clusters} given" if settings.clusters else settings.method
                told = (what, "yes" if centre else "no", method, ground, len(found.sizes), f"{(found.labels == NOISE).mean():.0%}")
                print(
                    "| " + " | ".join(map(str, told)) + f" | {_ari(true, found):.3f} | {_nmi(true, found):.3f} | {named:.2f} |", flush=True
                )


def _scene(rng: np.random.Generator, kind: str) -> Scene:
    thing = Thing(kind, scenes.pick(rng, scenes.COLORS), scenes.pick(rng, scenes.SIZES))
    return Scene("B", (thing,), weather=scenes.pick(rng, scenes.WEATHERS))


def _ari(true: np.ndarray, found: Clusters) -> float:
    """Adjusted Rand index (Hubert & Arabie 1985); what is in no cluster counts as a cluster of its own, each."""
    from sklearn.metrics import adjusted_rand_score

    return float(adjusted_rand_score(true, _alone(found)))


def _nmi(true: np.ndarray, found: Clusters) -> float:
    from sklearn.metrics import normalized_mutual_info_score

    return float(normalized_mutual_info_score(true, _alone(found)))


def _alone(found: Clusters) -> np.ndarray:
    return np.where(found.labels == NOISE, len(found.sizes) + np.arange(len(found.labels)), found.labels)


def _named_right(
    vectors: np.ndarray, found: Clusters, groups: np.ndarray, true: np.ndarray, words: list[str], encoded: np.ndarray
) -> float:
    """Share of clusters whose first word means the kind that most of their members are of."""
    names = nearest_words(vectors, found.labels, list(groups), words, encoded, most=1)
    right = 0
    for cluster, name in enumerate(names):
        kinds, counts = np.unique(true[found.labels == cluster], return_counts=True)
        kind = kinds[counts.argmax()]
        right += name.words[0] in english.KINDS.get(kind, (kind,))
    return right / max(len(names), 1)


def _duplicates(encoder: Encoder, count: int) -> None:
    """Pictures saved again and resized, against other pictures of the same scene: precision and recall of pairs at each threshold."""
    rng = np.random.default_rng(5)
    some = [scenes.sample(rng, "B" if number % 2 else "A", None) for number in range(count)]
    drawn = [draw.draw_picture(scene, 300 + number, 192) for number, scene in enumerate(some)]
    kinds = {"original": drawn}
    kinds |= {f"JPEG {quality}": [_saved(picture, quality) for picture in drawn] for quality in QUALITIES}
    kinds |= {f"scale {scale}": [_resized(picture, scale) for picture in drawn] for scale in SCALES}
    kinds |= {"another of the scene": [draw.draw_picture(scene, 900_000 + number, 192) for number, scene in enumerate(some)]}
    vectors = {name: embedded(encoder, pictures) for name, pictures in kinds.items()}
    copies = [name for name in kinds if name not in ("original", "another of the scene")]
    print(f"\n{count} pictures, each saved again {len(copies)} ways and drawn anew once: cosine to the original, then pairs at a threshold")
    print("| changed | median cosine | lowest |\n|---|---|---|")
    for name in kinds:
        cosines = (vectors["original"] * vectors[name]).sum(axis=1)
        print(f"| {name} | {np.median(cosines):.4f} | {cosines.min():.4f} |")
    print(
        "| threshold | precision | recall of pairs | "
        + " | ".join(f"recall {name}" for name in copies)
        + " | other pictures taken for copies |"
    )
    print("|---" * (4 + len(copies)) + "|")
    for threshold in THRESHOLDS:
        _print_threshold(vectors, copies, threshold)


def _print_threshold(vectors: dict[str, np.ndarray], copies: list[str], threshold: float) -> None:
    names = ["original", *copies, "another of the scene"]
    held = np.concatenate([vectors[name] for name in names])
    count = len(vectors["original"])
    picture = np.concatenate([np.tile(np.arange(count), len(names) - 1), np.arange(count, 2 * count)])  # one drawn anew is another picture
    cosines = held @ held.T
    alike, same = np.triu(cosines >= threshold, 1), np.triu(picture[:, None] == picture, 1)
    found = (alike & same).sum()
    each = [(vectors["original"] * vectors[name]).sum(axis=1) >= threshold for name in copies]
    groups = duplicates(held, [str(k) for k in range(len(held))], threshold)
    mixed = sum(len(set(picture[list(group.members)])) - 1 for group in groups)
    shares = " | ".join(f"{share.mean():.3f}" for share in each)
    print(f"| {threshold:g} | {found / max(alike.sum(), 1):.3f} | {found / same.sum():.3f} | {shares} | {mixed} |", flush=True)


def _maps(sizes: list[int]) -> None:
    """The plane beside plain principal components and, where it is installed, UMAP: neighbours kept, and seconds of one thread."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import trustworthiness
    from threadpoolctl import threadpool_limits

    ways = {"plane": plane, "PCA": lambda vectors: PCA(2, random_state=0).fit_transform(vectors)}
    if find_spec("umap"):
        ways["UMAP (the first compiles)"] = _umap
    print("\n| vectors | way | trustworthiness, 15 neighbours | seconds of CPU |\n|---|---|---|---|")
    for size in sizes:
        rng = np.random.default_rng(0)
        vectors = rng.normal(size=(24, 256))[rng.integers(0, 24, size)] + 1.2 * rng.normal(size=(size, 256))
        vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
        for way, place in ways.items():
            start = time.process_time()
            with threadpool_limits(1):
                places = place(vectors)
            seconds = time.process_time() - start
            print(f"| {size} | {way} | {trustworthiness(vectors, places, n_neighbors=15):.3f} | {seconds:.1f} |", flush=True)


def _umap(vectors: np.ndarray) -> np.ndarray:
    from umap import UMAP

    return UMAP(metric="cosine", random_state=0, n_jobs=1).fit_transform(vectors)


def _saved(picture: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def _resized(picture: np.ndarray, scale: float) -> np.ndarray:
    size = [round(side * scale) for side in picture.shape[1::-1]]
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS))


if __name__ == "__main__":
    main()
