"""Contrastive losses: values, gradients, and what they never set against each other."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional
from transformers import CLIPConfig, CLIPModel, SiglipConfig, SiglipModel

from encoders.align.losses import Negatives, equal, info_nce, multi_positive_info_nce, sigmoid

N, D, M = 7, 5, 4
IDS_A = [0, 1, 1, 2, 3, 4, 5]  # rows 1 and 2 share a picture
IDS_B = [0, 1, 2, 3, 3, 4, 5]  # rows 3 and 4 share a caption


def unit(*shape, seed=0):
    vectors = torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return functional.normalize(vectors, dim=-1)


def leaves():
    """a, b, scale, bias, negatives of a, negatives of b; all of which have gradients."""
    numbers = [unit(N, D, seed=1), unit(N, D, seed=2), torch.tensor(9.0), torch.tensor(-3.0), unit(M, D, seed=3), unit(M - 1, D, seed=4)]
    return [tensor.double().clone().requires_grad_() for tensor in numbers]


def masks():
    same = equal(torch.tensor(IDS_A), torch.tensor(IDS_B))
    right_a = torch.zeros(N, M, dtype=torch.bool)
    right_a[0, 1] = right_a[6, 3] = True
    right_b = torch.zeros(N, M - 1, dtype=torch.bool)
    right_b[2, 0] = True
    return same, right_a, right_b


def ours(loss, numbers, boolean=(None, None, None), extra=True):
    (a, b, scale, bias, more_a, more_b), (same, right_a, right_b) = numbers, boolean
    given = {"negatives": Negatives(more_a, right_a), "negatives_of_b": Negatives(more_b, right_b)} if extra else {}
    if loss is sigmoid:
        return loss(a, b, scale, bias, same, **given)
    return loss(a, b, scale, same, **given)


def naive_direction(a, b, scale, more, positives, left_out, right):
    """One row at a time, one candidate at a time, in the numbers of `math` or of torch, whichever they are."""
    exp, log = (torch.exp, torch.log) if isinstance(a, torch.Tensor) else (math.exp, math.log)
    total = 0.0
    for i in range(len(a)):
        below = 0.0
        for j in range(len(b)):
            if not left_out[i][j]:
                below = below + exp(scale * sum(x * y for x, y in zip(a[i], b[j], strict=True)))
        for k in range(len(more)):
            if not right[i][k]:
                below = below + exp(scale * sum(x * y for x, y in zip(a[i], more[k], strict=True)))
        mine = [j for j in range(len(b)) if positives[i][j]]
        for j in mine:
            above = exp(scale * sum(x * y for x, y in zip(a[i], b[j], strict=True)))
            total = total - log(above / below) / len(mine)
    return total / len(a)


def naive(loss, numbers, boolean):
    (a, b, scale, _, more_a, more_b), (same, right_a, right_b) = numbers, boolean
    identity = [[i == j for j in range(N)] for i in range(N)]
    none = [[False] * N for _ in range(N)]
    same_back = [[same[j][i] for j in range(N)] for i in range(N)]
    if loss is sigmoid:
        return naive_sigmoid(numbers, boolean)
    if loss is info_nce:
        forth = [[same[i][j] and i != j for j in range(N)] for i in range(N)]
        back = [[same_back[i][j] and i != j for j in range(N)] for i in range(N)]
        return (
            naive_direction(a, b, scale, more_a, identity, forth, right_a) + naive_direction(b, a, scale, more_b, identity, back, right_b)
        ) / 2
    return (naive_direction(a, b, scale, more_a, same, none, right_a) + naive_direction(b, a, scale, more_b, same_back, none, right_b)) / 2


def naive_sigmoid(numbers, boolean):
    (a, b, scale, bias, more_a, more_b), (same, right_a, right_b) = numbers, boolean
    exp, log = (torch.exp, torch.log) if isinstance(a, torch.Tensor) else (math.exp, math.log)

    def term(x, y, sign):
        return log(1 + exp(-sign * (scale * sum(p * q for p, q in zip(x, y, strict=True)) + bias)))

    total = 0.0
    for i in range(N):
        for j in range(N):
            total = total + term(a[i], b[j], 1 if same[i][j] else -1)
        for k in range(len(more_a)):
            total = total + (0 if right_a[i][k] else term(a[i], more_a[k], -1))
        for k in range(len(more_b)):
            total = total + (0 if right_b[i][k] else term(b[i], more_b[k], -1))
    return total / N


LOSSES = pytest.mark.parametrize("loss", [info_nce, multi_positive_info_nce, sigmoid])


@LOSSES
def test_values_are_those_of_a_double_loop(loss):
    tensors, boolean = leaves(), masks()
    expected = naive(loss, [tensor.detach().numpy().tolist() for tensor in tensors], [mask.tolist() for mask in boolean])
    assert float(ours(loss, tensors, boolean).detach()) == pytest.approx(expected, rel=1e-12)


@LOSSES
def test_gradients_are_those_of_a_double_loop(loss):
    tensors, boolean = leaves(), masks()
    one = torch.autograd.grad(ours(loss, tensors, boolean), tensors, allow_unused=True)
    other = torch.autograd.grad(naive(loss, tensors, [mask.tolist() for mask in boolean]), tensors, allow_unused=True)
    for mine, theirs in zip(one, other, strict=True):
        assert (mine is None) == (theirs is None)
        if mine is not None:
            torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-12)


@LOSSES
@pytest.mark.parametrize("extra", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_gradients_are_those_of_finite_differences(loss, extra, masked):
    boolean = masks() if masked else (None, None, None)
    assert torch.autograd.gradcheck(lambda *tensors: ours(loss, tensors, boolean, extra), leaves())


def test_info_nce_is_the_loss_of_transformers_clip():
    torch.manual_seed(0)
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = CLIPConfig(
        text_config={**small, "vocab_size": 99}, vision_config={**small, "image_size": 8, "patch_size": 4}, projection_dim=8
    )
    out = CLIPModel(config).eval()
    with torch.no_grad():
        result = out(input_ids=torch.randint(2, 98, (6, 5)), pixel_values=torch.randn(6, 3, 8, 8), return_loss=True)
        mine = info_nce(result.text_embeds, result.image_embeds, out.logit_scale.exp())
    torch.testing.assert_close(mine, result.loss)


def test_sigmoid_is_the_loss_of_transformers_siglip():
    torch.manual_seed(0)
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = SiglipModel(
        SiglipConfig(text_config={**small, "vocab_size": 99}, vision_config={**small, "image_size": 8, "patch_size": 4})
    ).eval()
    with torch.no_grad():
        model.logit_scale.fill_(math.log(7.0))
        model.logit_bias.fill_(-4.0)
        result = model(input_ids=torch.randint(2, 98, (6, 5)), pixel_values=torch.randn(6, 3, 8, 8), return_loss=True)
        mine = sigmoid(result.text_embeds, result.image_embeds, model.logit_scale.exp(), model.logit_bias)
    torch.testing.assert_close(mine, result.loss)


@pytest.mark.parametrize("loss", [info_nce, multi_positive_info_nce])
def test_without_repeats_all_info_nces_are_one(loss):
    a, b, scale, *_ = leaves()
    eye = torch.eye(N, dtype=torch.bool)
    torch.testing.assert_close(loss(a, b, scale, eye), info_nce(a, b, scale), rtol=1e-14, atol=0)


def test_losses_of_far_too_certain_vectors_stay_finite():
    a = unit(N, D).float()
    for loss in (info_nce(a, -a, torch.tensor(1e4)), sigmoid(a, -a, torch.tensor(1e4), torch.tensor(-10.0))):
        assert torch.isfinite(loss)


def test_one_pair_alone_has_nothing_to_tell_apart():
    a, b = unit(1, D, seed=1), unit(1, D, seed=2)
    assert float(info_nce(a, b, torch.tensor(20.0))) == 0


@pytest.mark.parametrize(
    ("ids_a", "ids_b"),
    [([1, 1, 2], [1, 2, 3]), ([1, 2, 3], [1, 1, 2]), ([1, 1, 2], [1, 1, 2])],
    ids=["one picture, two captions", "one caption, two pictures", "one pair twice"],
)
def test_equal_items_never_push_each_other_away(ids_a, ids_b):
    """Rows 0 and 1 hold equal items: no loss gets smaller when their vectors get less alike."""
    same = equal(torch.tensor(ids_a), torch.tensor(ids_b))
    cosines = unit(3, D, seed=5) @ unit(3, D, seed=6).T
    assert same[0, 1] and same[1, 0]
    pushed = _pushes(info_nce, cosines, same)
    assert pushed[0, 1] == 0 and pushed[1, 0] == 0, "left out, both ways"
    assert _pushes(multi_positive_info_nce, cosines, same)[0, 1] != 0, "a positive takes part"
    assert (_pushes(sigmoid, cosines, same)[same] < 0).all(), "more likeness of equal items lowers the loss"


def _pushes(loss, cosines, same):
    """Derivatives of a loss by each cosine: rows of a are unit axes, so b's components are the cosines themselves."""
    n = len(cosines)
    b = cosines.T.clone().requires_grad_()  # (n, n)
    a, scale = torch.eye(n, dtype=cosines.dtype), torch.tensor(10.0)
    out = sigmoid(a, b, scale, torch.tensor(-3.0), same) if loss is sigmoid else loss(a, b, scale, same)
    return torch.autograd.grad(out, b)[0].T


def test_a_candidate_that_a_third_row_pairs_is_right():
    """A picture with two captions, one of which also belongs to another picture, in either direction."""
    same = equal(torch.tensor([1, 1, 2]), torch.tensor([1, 2, 1]))  # rows: picture 1 with captions 1 and 2, picture 2 with caption 1
    assert same.tolist() == [[True, True, True], [True, True, True], [True, False, True]]


def test_equal_is_what_its_definition_says_of_many_random_ids():
    rng = np.random.default_rng(0)
    for _ in range(50):
        ids_a, ids_b, others = rng.integers(0, 6, 9), rng.integers(0, 6, 9), rng.integers(0, 8, 5)
        pairs = set(zip(ids_a.tolist(), ids_b.tolist(), strict=True))
        given = [torch.from_numpy(ids) for ids in (ids_a, ids_b, others)]
        assert equal(*given[:2]).tolist() == [[(a, b) in pairs for b in ids_b.tolist()] for a in ids_a.tolist()]
        assert equal(*given).tolist() == [[(a, b) in pairs for b in others.tolist()] for a in ids_a.tolist()]
