"""Words of a bucket's texts, and their vectors, trained into a folder that a space's TOML file can name as its weights."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np

from encoders.errors import EncoderError
from encoders.media.kinds import Limits
from encoders.weights import digest
from encoders.words import segmentation
from encoders.words.cooccurrences import Cooccurrences
from encoders.words.glove import Glove, GloveParameters, train_glove
from encoders.words.vocabulary import Vocabulary, joined, write_arrays, write_config, write_vocabulary
from encoders.words.word2vec import train_word2vec
from encoders.words.word_counts import Counted
from encoders.words.word_files import write_vectors
from encoders.words.word_vectors import COMPONENT, common_direction, weights_of
from flows.settings import SettingsError, TrainWordsSettings
from storage.objects import list_source, open_source
from storage.text_tables import Columns, RowLimits
from tasks.corpus import Corpus, Reading, gather
from tasks.scratch import scratch_folder

EPOCHS = {"skip-gram": 5, "cbow": 5, "glove": 25}
SAMPLED = 10_000  # sentences from which the common direction is taken
AT_ONCE = 2**17  # words whose neighbours are counted at once

Told = Callable[[str, int, int, str], None]
"""Hears of progress: what is done, how far, of how many, and a remark."""


def train_words(settings: TrainWordsSettings, told: Told = lambda *_: None) -> dict[str, Any]:
    """Read all texts of a source, train, write the folder; returns the account.

    The account has source, method, output, listed = read + failed + skipped {type: n}, failures [{uri, stage, reason, error}], rows {read,
    failed} (of table files, each of which is one object in read), tokens (words of all texts), words (in the vocabulary), kept (tokens
    that are in it), dimension, losses (by epoch), digest, and seconds {reading, training, total}.

    Raises
    ------
    SettingsError : the output is not an empty folder, or the texts have too few words.
    SourceError, EncoderError : the source cannot be read; training failed.
    """
    output = Path(settings.output).expanduser()
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise SettingsError(f"output = {settings.output!r} is there already; name a new folder, for tables may depend on the old one")
    began = monotonic()
    source = open_source(settings.source)
    source.check()
    uris = list_source(source).get_column("uri").sort().to_list()
    reading = _reading(settings)
    with scratch_folder(settings.scratch) as scratch, _appearing(output) as folder:
        corpus = gather(source, uris, reading, scratch, lambda done, texts: told("reading", done, texts, ""))
        counted = corpus.counts.counted(settings.min_count, settings.most_words)
        _refuse_few(settings, corpus, counted)
        read = monotonic()
        losses = _train(settings, corpus, counted, scratch, folder, told)
        found = digest(folder)
    return {
        "source": source.root,
        "method": settings.method,
        "output": str(output.resolve()),
        "listed": len(uris),
        "read": corpus.read,
        "failed": corpus.failed,
        "skipped": dict(corpus.skipped),
        "failures": corpus.failures,
        "rows": {"read": corpus.rows, "failed": corpus.bad_rows},
        "tokens": counted.tokens,
        "words": len(counted.words),
        "kept": int(counted.counts.sum()),
        "dimension": settings.dimension if losses else None,
        "losses": losses,
        "digest": found,
        "seconds": {"reading": round(read - began, 3), "training": round(monotonic() - read, 3), "total": round(monotonic() - began, 3)},
    }


def _reading(settings: TrainWordsSettings) -> Reading:
    limits = settings.limits
    columns = Columns(**settings.tables.model_dump()) if settings.tables.text else None
    rows = RowLimits(limits.rows, limits.row_characters, limits.bytes)
    return Reading(Limits(bytes=limits.bytes, characters=limits.characters), columns, rows)


def _refuse_few(settings: TrainWordsSettings, corpus: Corpus, counted: Counted) -> None:
    if len(counted.words) < 2:
        failed = "".join(f"; {one['uri']}: {one['reason']}" for one in corpus.failures[:3])
        raise SettingsError(
            f"{corpus.read} texts with {counted.tokens:,} words have {len(counted.words)} words that occur {settings.min_count} times; "
            f"give more texts, or a lower --min-count ({corpus.failed} texts could not be read{failed})"
        )


def _train(settings: TrainWordsSettings, corpus: Corpus, counted: Counted, scratch: Path, folder: Path, told: Told) -> list[float]:
    write_vocabulary(folder, *joined(counted.words), counted.counts, counted.documents)
    about = {"words": len(counted.words), "tokens": counted.tokens, "documents": counted.total, "segmentation": segmentation.description()}
    if settings.method == "vocabulary":
        write_config(folder, method=settings.method, **about)
        return []
    index = {word: row for row, word in enumerate(counted.words)}
    epochs = settings.epochs or EPOCHS[settings.method]

    def told_epoch(epoch: int, loss: float) -> None:
        told("training", epoch, epochs, f"loss {loss:.4f}")

    if settings.method == "glove":
        vectors, losses = _glove(settings, corpus, index, epochs, scratch, told_epoch)
    else:
        vectors, losses = train_word2vec(
            corpus, counted, settings.method, settings.dimension, settings.window, epochs, settings.seed, told_epoch
        )
    if not np.isfinite(vectors).all():
        raise EncoderError(f"{settings.method} did not converge: its vectors are not finite; train with other settings")
    write_vectors(folder, vectors)
    _write_component(folder, corpus, index, vectors, about)
    how = {name: getattr(settings, name) for name in ("dimension", "window", "min_count", "seed", "x_max")}
    write_config(folder, method=settings.method, epochs=epochs, **how, **about)
    return losses


def _glove(
    settings: TrainWordsSettings,
    corpus: Corpus,
    index: dict[str, int],
    epochs: int,
    scratch: Path,
    told_epoch: Callable[[int, float], None],
) -> tuple[np.ndarray, list[float]]:
    rng = np.random.default_rng(settings.seed)
    pairs = Cooccurrences(scratch, len(index), settings.window)
    for some in _grouped(_numbered(corpus, index)):
        pairs.add(some)
    model = Glove(len(index), settings.dimension, rng, GloveParameters(most=settings.x_max))
    losses = train_glove(model, pairs.blocks(rng), epochs, rng, told_epoch)
    return model.vectors, losses


def _numbered(corpus: Corpus, index: dict[str, int]) -> Iterator[np.ndarray]:
    """Rows of the words of each sentence, without those that are not in the vocabulary."""
    for sentence in corpus:
        yield np.array([index[word] for word in sentence if word in index], np.int64)


def _grouped(sentences: Iterator[np.ndarray]) -> Iterator[list[np.ndarray]]:
    held: list[np.ndarray] = []
    size = 0
    for sentence in sentences:
        held.append(sentence)
        size += len(sentence)
        if size >= AT_ONCE:
            yield held
            held, size = [], 0
    if size:
        yield held


def _write_component(folder: Path, corpus: Corpus, index: dict[str, int], vectors: np.ndarray, about: dict[str, Any]) -> None:
    """The direction that is common to the first ten thousand sentences, or to one in every so many where there are more."""
    lines = sum(1 for _ in corpus)
    sampled = islice(_numbered(corpus, index), 0, None, -(-lines // SAMPLED))
    weights = weights_of(Vocabulary(folder), about, "sif", 1e-3)
    write_arrays(folder / COMPONENT, {"component": common_direction(sampled, vectors, weights)})


@contextmanager
def _appearing(output: Path) -> Iterator[Path]:
    """A folder beside the output, which takes its name when it is whole."""
    output.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{output.name}-", dir=output.parent))
    try:
        yield folder
        folder.chmod(0o755)
        folder.replace(output)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def good_enough(settings: TrainWordsSettings, account: dict[str, Any]) -> bool:
    """Whether the share of the texts that could be read reaches the floor."""
    texts = account["read"] + account["failed"]
    return bool(account["read"] >= settings.floor * texts)
