"""Word2Vec (Mikolov et al. 2013) by gensim: skip-gram guesses a word's neighbours, CBOW the word from its neighbours."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal

import numpy as np

from encoders.words.word_counts import Counted

METHODS = ("skip-gram", "cbow")


def train_word2vec(
    sentences: Iterable[list[str]],
    counted: Counted,
    method: Literal["skip-gram", "cbow"],
    dimension: int,
    window: int,
    epochs: int,
    seed: int,
    told: Callable[[int, float], None] | None = None,
) -> tuple[np.ndarray, list[float]]:
    """Vectors of a vocabulary, with five negative samples and frequent words thinned out at 1e-3, as gensim and the paper have it.

    One thread: with more, each run would give other vectors.

    Parameters
    ----------
    sentences : read once in every epoch; words outside the vocabulary are left out before windows are laid.
    counted : the vocabulary.
    told : called after each epoch with its number from 1 on, and its loss.

    Returns
    -------
    Vectors float32 (words, dimension) in the vocabulary's order, and the mean loss of a word in each epoch, as gensim counts it.
    """
    from gensim.models import Word2Vec
    from gensim.models.callbacks import CallbackAny2Vec

    losses: list[float] = []

    class Losses(CallbackAny2Vec):  # type: ignore[misc]
        def on_epoch_end(self, model: Any) -> None:
            losses.append(model.get_latest_training_loss() / max(1, kept))
            model.running_training_loss = 0.0  # gensim adds up all epochs in float32, which soon loses the small ones
            if told:
                told(len(losses), losses[-1])

    kept = int(counted.counts.sum())
    model = Word2Vec(vector_size=dimension, window=window, min_count=1, sg=int(method == "skip-gram"), seed=seed, workers=1, epochs=epochs)
    frequencies = dict(zip(counted.words, counted.counts.tolist(), strict=True))
    model.build_vocab_from_freq(frequencies, corpus_count=1)
    model.train(sentences, total_words=counted.tokens, epochs=epochs, compute_loss=True, callbacks=[Losses()])
    rows = [model.wv.key_to_index[word] for word in counted.words]
    vectors: np.ndarray = model.wv.vectors[rows]
    return vectors, losses
