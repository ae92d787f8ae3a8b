"""Near-duplicates: groups against all pairs compared one by one, whatever the blocks; copies told from what is only alike."""

from __future__ import annotations

import io
import json

import numpy as np
import polars as pl
import pytest
from buckets import SAMPLES
from PIL import Image
from themed_table import make, things, unit
from typer.testing import CliRunner

from encoders import registry
from encoders.spaces import load_space
from encoders.stacking import encoded
from flows.cli import app
from retrieval.cluster import duplicates as near
from retrieval.cluster.duplicates import duplicates
from retrieval.errors import QueryError


def naive(vectors, contents, threshold, within, owners):
    """Groups by looking at every pair."""
    group = list(range(len(vectors)))
    for i in range(len(vectors)):
        for j in range(i):
            alike = vectors[i] @ vectors[j] >= threshold and within[i] == within[j] and owners[i] != owners[j]
            if alike or contents[i] == contents[j]:
                group = [group[j] if g == group[i] else g for g in group]
    found = {}
    for row, g in enumerate(group):
        found.setdefault(g, []).append(row)
    return sorted((tuple(rows) for rows in found.values() if len(rows) > 1), key=lambda rows: (-len(rows), rows))


@pytest.fixture(scope="module")
def world():
    """Vectors of which some are chains of small steps, contents of which some repeat, media and owners."""
    rng = np.random.default_rng(2)
    seeds = rng.standard_normal((25, 6))
    vectors = unit(
        np.concatenate([seeds, seeds[:12] + 0.15 * rng.standard_normal((12, 6)), seeds[:12] + 0.3 * rng.standard_normal((12, 6))])
    )
    contents = [f"c{k}" for k in rng.integers(0, 200, 49)]
    return vectors.astype(np.float32), contents, [f"m{k}" for k in rng.integers(0, 2, 49)], [f"o{k}" for k in rng.integers(0, 30, 49)]


@pytest.mark.parametrize("block", [1, 7, 48, 49, 1000])
@pytest.mark.parametrize("held", [3, 1 << 20])
def test_groups_are_those_of_all_pairs_whatever_the_blocks(world, block, held, monkeypatch):
    vectors, contents, within, owners = world
    monkeypatch.setattr(near, "HELD", held)
    sizes = set()
    for threshold in (0.6, 0.9, 0.99):
        expected = naive(vectors, contents, threshold, within, owners)
        found = duplicates(vectors, contents, threshold, within=within, owners=owners, block=block)
        assert [group.members for group in found] == expected
        sizes.add(len(expected))
    assert len(sizes) == 3
    plain = duplicates(vectors, contents, 0.9, block=block)
    assert [group.members for group in plain] == naive(vectors, contents, 0.9, [0] * 49, range(49))


def test_copies_are_told_from_what_is_only_alike():
    vectors = unit(np.array([[1, 0.0], [0, 1], [1, 0.05], [1, 0], [0, 1]])).astype(np.float32)
    found = duplicates(vectors, ["a", "b", "c", "a", "b"], 0.99)
    assert [(group.members, group.contents, group.exact) for group in found] == [((0, 2, 3), (0, 1, 0), False), ((1, 4), (0, 0), True)]
    assert found[0].cosines == pytest.approx((1, 1 / np.hypot(1, 0.05), 1))


@pytest.mark.parametrize("block", [64, 2048])
def test_equal_vectors_of_different_contents_are_found_at_a_cosine_of_1(block):
    """Rounded to float32, the cosine of many a unit vector with itself lies just below 1."""
    once = unit(np.random.default_rng(3).standard_normal((400, 128))).astype(np.float32)
    found = duplicates(np.concatenate([once, once]), [str(k) for k in range(800)], 1, block=block)
    assert [group.members for group in found] == [(k, k + 400) for k in range(400)]
    assert not any(group.exact for group in found)


def test_a_cosine_clearly_below_the_threshold_is_not_rounded_up_to_it():
    turned = np.array([[1, 0], [np.cos(0.002), np.sin(0.002)]], np.float32)  # of cosine 1 - 2e-6
    assert duplicates(turned, ["a", "b"], 1) == []


def test_nothing_alike_and_nothing_at_all_make_no_groups():
    assert duplicates(np.eye(4, dtype=np.float32), list("abcd"), 0.5) == []
    assert duplicates(np.empty((0, 4), np.float32), [], 0.5) == []


@pytest.mark.parametrize("threshold", [0, -1, 1.5, float("nan")])
def test_what_is_no_cosine_is_refused(threshold):
    with pytest.raises(QueryError, match="above 0"):
        duplicates(np.eye(2), ["a", "b"], threshold)


def test_a_table_tells_its_copies_and_near_duplicates(tmp_path):
    database = make(tmp_path / "lance")
    run = CliRunner().invoke(app, ["duplicates", database, "--threshold", "0.99", "--json", "--output", str(tmp_path / "found.csv")])
    assert run.exit_code == 0, run.output
    told, rows = json.loads(run.output), pl.read_csv(tmp_path / "found.csv")
    assert {key: told[key] for key in ("units", "groups", "members", "copies", "near")} == {
        "units": 84, "groups": 3, "members": 9, "copies": 3, "near": 3
    }  # fmt: skip
    assert rows["uri"][:3].to_list() == ["file:///b/0/00 copy.png", "file:///b/0/00 small.jpg", "file:///b/0/00.png"]
    assert rows["copy"][:3].to_list() == [False, False, True]
    shown = CliRunner().invoke(app, ["duplicates", database, "--threshold", "0.99", "--limit", "2"])
    assert "3 exact copies, 3 near-duplicates" in shown.output and "1 more groups" in shown.output


def test_a_picture_saved_again_or_resized_is_found():
    pictures = [Image.open(SAMPLES / f"picture_{k}.png").convert("RGB") for k in range(1, 7)]
    changed = [change(picture) for change in (lambda picture: picture, saved_again, halved) for picture in pictures]
    encoder = registry.build(load_space("miniature").encoders["image"], "cpu", "float32")
    vectors = encoded(encoder, [encoder.prepare(np.asarray(picture)) for picture in changed])
    groups = duplicates(vectors, [str(k) for k in range(18)], 0.95)
    for k in range(6):
        assert any({k, k + 6, k + 12} <= set(group.members) for group in groups)
    assert len(groups) > 1


def saved_again(picture: Image.Image) -> Image.Image:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=60)
    return Image.open(file)


def halved(picture: Image.Image) -> Image.Image:
    return picture.resize((picture.width // 2, picture.height // 2))


def test_segments_are_compared_across_objects_alone(tmp_path):
    rows = [row for row in things(load_space("miniature").dimension) if row.medium == "video"]
    for row in rows:
        row.vector = rows[0].vector if row.uri.endswith("0/0.mp4") or (row.uri.endswith("1/1.mp4") and row.segment < 2) else row.vector
    run = CliRunner().invoke(app, ["duplicates", make(tmp_path / "lance", rows), "--segments", "--threshold", "0.999", "--json"])
    assert run.exit_code == 0, run.output
    found = [(row["uri"][10:], row["segment"]) for row in json.loads(run.output)["rows"]]
    assert found == [("0/0.mp4", 0), ("0/0.mp4", 1), ("1/1.mp4", 0), ("1/1.mp4", 1)]
