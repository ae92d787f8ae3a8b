"""Contrastive losses: pure functions of unit vectors.

In all of them a and b are (n, d), row i of b is right for row i of a, and `scale` is what cosines are multiplied by (the inverse of
the temperature). `same` is bool (n, n), true where b[j] is as right for a[i] as b[i] is, its diagonal included: see `equal`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional


class Negatives(NamedTuple):
    """Further candidates, wrong for every row but those that `same` names.

    Parameters
    ----------
    vectors : (m, d).
    same : bool (n, m), true where one is right all the same and is left out; None where none is.
    """

    vectors: Tensor
    same: Tensor | None = None


def info_nce(
    a: Tensor,
    b: Tensor,
    scale: Tensor,
    same: Tensor | None = None,
    negatives: Negatives | None = None,
    negatives_of_b: Negatives | None = None,
) -> Tensor:
    """Symmetric InfoNCE of CLIP (Radford et al. 2021, figure 3): the mean of two cross-entropies, of b among a's candidates and back.

    Parameters
    ----------
    same : off its diagonal, pairs that are neither positive nor negative.
    negatives : further candidates for the rows of a, which the rows of b never see.
    negatives_of_b : further candidates for the rows of b.
    """
    cosines = (scale * a) @ b.T  # (n, n)
    if same is not None:
        cosines = cosines.masked_fill(same.clone().fill_diagonal_(False), -torch.inf)
    right = torch.arange(len(a), device=a.device)
    forth = functional.cross_entropy(_beside(cosines, a, scale, negatives), right)
    back = functional.cross_entropy(_beside(cosines.T, b, scale, negatives_of_b), right)
    return (forth + back) / 2


def multi_positive_info_nce(
    a: Tensor,
    b: Tensor,
    scale: Tensor,
    same: Tensor | None = None,
    negatives: Negatives | None = None,
    negatives_of_b: Negatives | None = None,
) -> Tensor:
    """InfoNCE in which every pair of `same` is a positive: the mean over a row's positives of -log softmax, outside the logarithm.

    That is L_out of supervised contrastive learning (Khosla et al. 2020, equation 2) between two modalities: all captions of a picture
    are to be found, not only the easiest. Without `same` it is `info_nce`.
    """
    if same is None:
        return info_nce(a, b, scale, None, negatives, negatives_of_b)
    cosines = (scale * a) @ b.T  # (n, n)
    forth = _to_all(_beside(cosines, a, scale, negatives), same)
    back = _to_all(_beside(cosines.T, b, scale, negatives_of_b), same.T)
    return (forth + back) / 2


def sigmoid(
    a: Tensor,
    b: Tensor,
    scale: Tensor,
    bias: Tensor,
    same: Tensor | None = None,
    negatives: Negatives | None = None,
    negatives_of_b: Negatives | None = None,
) -> Tensor:
    """The sigmoid loss of SigLIP (Zhai et al. 2023, equation 1): every pair by itself is right or wrong; the sum over pairs, over n.

    Parameters
    ----------
    bias : added to the scaled cosines; SigLIP begins with -10 at a scale of 10, since most pairs are wrong.
    same : pairs that are positive.
    """
    logits = (scale * a) @ b.T + bias  # (n, n)
    right = torch.eye(len(a), dtype=torch.bool, device=a.device) if same is None else same
    total = -functional.logsigmoid(torch.where(right, logits, -logits)).sum()
    for rows, more in ((a, negatives), (b, negatives_of_b)):
        if more is not None:
            wrong = -functional.logsigmoid(-((scale * rows) @ more.vectors.T + bias))  # (n, m)
            total = total + (wrong if more.same is None else wrong.masked_fill(more.same, 0)).sum()
    return total / len(a)


def equal(ids_a: Tensor, ids_b: Tensor, candidates: Tensor | None = None) -> Tensor:
    """Which candidates are right for which rows, by the pairs of a batch.

    Row i pairs item ids_a[i] with item ids_b[i]. A candidate is right for row i if any row pairs it with an item equal to ids_a[i]: where
    a's items are equal, where b's are, and where a third row joins them (a picture with two captions, one of which fits another picture).

    Parameters
    ----------
    ids_a, ids_b : int64 (n,), contents: equal where the items are.
    candidates : int64 (m,), b's own by default.

    Returns
    -------
    bool (n, m).
    """
    items_a, rows = torch.unique(ids_a, return_inverse=True)
    items_b, columns = torch.unique(ids_b if candidates is None else torch.cat([ids_b, candidates]), return_inverse=True)
    paired = torch.zeros(len(items_a), len(items_b), dtype=torch.bool, device=ids_a.device)
    paired[rows, columns[: len(ids_b)]] = True
    return paired[rows][:, columns if candidates is None else columns[len(ids_b) :]]


def _beside(cosines: Tensor, rows: Tensor, scale: Tensor, more: Negatives | None) -> Tensor:
    """Logits (n, n + m) of a batch's own candidates and of further ones."""
    if more is None:
        return cosines
    logits = (scale * rows) @ more.vectors.T
    return torch.cat([cosines, logits if more.same is None else logits.masked_fill(more.same, -torch.inf)], 1)


def _to_all(logits: Tensor, right: Tensor) -> Tensor:
    shares = right / right.sum(1, keepdim=True)
    return -(logits.log_softmax(1)[:, : right.shape[1]] * shares).sum(1).mean()
