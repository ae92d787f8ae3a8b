"""The objective: all pairs of modalities, rows that lack one, equal items, hard negatives, the learned scale."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from encoders.align.losses import Negatives, info_nce, multi_positive_info_nce, sigmoid
from encoders.align.objective import Objective
from encoders.errors import EncoderError

N, D = 6, 4


def vectors(*modalities):
    made = torch.Generator().manual_seed(0)
    return {modality: torch.randn(N, D, dtype=torch.float64, generator=made, requires_grad=True) for modality in modalities}


def ids(*modalities):
    return {modality: torch.arange(N) for modality in modalities}


def unit(given):
    return {modality: functional.normalize(one, dim=1) for modality, one in given.items()}


def test_three_modalities_train_all_their_pairs_in_one_step():
    given, objective = vectors("audio", "image", "text"), Objective(weights={"audio-image": 0.5})
    loss, parts = objective(given, ids(*given))
    v, scale = unit(given), torch.tensor(1 / 0.07)
    expected = {f"{a}-{b}": info_nce(v[a], v[b], scale) for a, b in (("text", "image"), ("text", "audio"), ("image", "audio"))}
    assert [*parts] == [*expected]
    for name, value in expected.items():
        torch.testing.assert_close(parts[name], value, rtol=1e-6, atol=0)
    whole = (expected["text-image"] + expected["text-audio"] + 0.5 * expected["image-audio"]) / 2.5
    torch.testing.assert_close(loss, whole, rtol=1e-6, atol=0)
    loss.backward()
    assert all(one.grad.abs().sum() > 0 for one in given.values())
    assert objective.log_scale.grad != 0


def test_a_row_that_lacks_a_modality_trains_the_others_alone():
    given, which = vectors("text", "image", "audio"), ids("text", "image", "audio")
    which["audio"][[1, 4]] = -1
    loss, parts = Objective()(given, which)
    v, both = unit(given), [0, 2, 3, 5]
    torch.testing.assert_close(parts["text-audio"], info_nce(v["text"][both], v["audio"][both], torch.tensor(1 / 0.07)), rtol=1e-6, atol=0)
    torch.testing.assert_close(parts["text-image"], info_nce(v["text"], v["image"], torch.tensor(1 / 0.07)), rtol=1e-6, atol=0)
    loss.backward()
    assert given["audio"].grad[[1, 4]].abs().sum() == 0


def test_a_pair_of_modalities_without_rows_is_left_out():
    given, which = vectors("text", "image", "audio"), ids("text", "image", "audio")
    which["image"][:3], which["audio"][3:] = -1, -1
    _, parts = Objective()(given, which)
    assert [*parts] == ["text-image", "text-audio"]


def test_a_batch_without_any_pair_is_refused():
    which = ids("text", "image")
    which["text"][:3], which["image"][3:] = -1, -1
    with pytest.raises(EncoderError, match="no row of this batch has two of text, image"):
        Objective()(vectors("text", "image"), which)


def test_equal_items_of_one_modality_are_left_out_or_positives():
    given, which = vectors("text", "image"), ids("text", "image")
    which["text"][5] = which["text"][2]
    same = torch.eye(N, dtype=torch.bool)
    same[2, 5] = same[5, 2] = True
    v, scale = unit(given), torch.tensor(10.0)
    for name, expected in (
        ("info-nce", info_nce(v["text"], v["image"], scale, same)),
        ("multi-positive", multi_positive_info_nce(v["text"], v["image"], scale, same)),
        ("sigmoid", sigmoid(v["text"], v["image"], scale, torch.tensor(-10.0), same)),
    ):
        loss, _ = Objective(name, scale=10)(given, which)
        torch.testing.assert_close(loss, expected, rtol=1e-6, atol=0)


def test_hard_negatives_are_candidates_of_the_other_modalities_but_never_where_they_are_right():
    given, which = vectors("text", "image"), ids("text", "image")
    more = torch.randn(3, D, dtype=torch.float64)
    loss, _ = Objective()(given, which, {"image": (more, torch.tensor([4, 77, 78]))})  # the first is row 4's own picture
    right = torch.zeros(N, 3, dtype=torch.bool)
    right[4, 0] = True
    v = unit(given)
    expected = info_nce(v["text"], v["image"], torch.tensor(1 / 0.07), None, Negatives(functional.normalize(more, dim=1), right))
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=0)
    assert loss > Objective()(given, which)[0]


def test_the_scale_is_learned_and_clamped_from_above():
    objective = Objective(scale=99.0)
    objective.log_scale.data += 1
    objective.clamp()
    assert objective.scale.item() == pytest.approx(100.0)
    objective.log_scale.data -= 1
    objective.clamp()
    assert objective.scale.item() == pytest.approx(100 / math.e), "it may fall again"


def test_a_fixed_scale_has_no_gradient():
    assert not [one for one in Objective("sigmoid", learned=False).parameters() if one.requires_grad]


def test_the_sigmoid_begins_as_siglip_does():
    objective = Objective("sigmoid")
    assert (objective.scale.item(), objective.bias.item()) == (pytest.approx(10), -10)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"loss": "triplet"}, "'triplet' is unknown; use info-nce"),
        ({"scale": 0.0}, "scale = 0.0"),
        ({"scale": 101.0}, "at most 100"),
        ({"weights": {"text-smell": 1.0}}, "'text-smell' is no pair"),
        ({"weights": {"text": 1.0}}, "'text' is no pair"),
    ],
)
def test_what_it_cannot_do_is_refused_by_name(given, told):
    with pytest.raises(EncoderError, match=told):
        Objective(**given)
