"""Rule 10, through a whole run: an object that hangs, crashes, bloats or chokes ends in quarantine, its neighbours in the table."""

from __future__ import annotations

import io
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from buckets import embed, rows
from PIL import Image

from encoders.errors import EncoderError

TRAPS = Path(__file__).parent / "traps"
SECONDS = 4.0
LIMITS = {"seconds": SECONDS, "memory": 1 << 30}


@pytest.fixture
def trap_space(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(TRAPS))
    space = tmp_path / "traps.toml"
    space.write_text('name = "traps"\n[image]\nencoder = "trap"\n')
    yield space
    sys.modules.pop("traps", None)


def bucket(folder, trap, neighbours=20):
    """`neighbours` harmless pictures and one whose first pixel is a trap, in the middle."""
    folder.mkdir()
    for number in range(neighbours):
        write(folder / f"{number:03d}.png", 100 + number)
    write(folder / "010-trap.png", trap)
    return folder


def write(path, red):
    pixels = np.random.default_rng(red).integers(0, 256, (8, 8, 3), np.uint8)
    pixels[0, 0, 0] = red
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    path.write_bytes(buffer.getvalue())


@pytest.mark.parametrize(
    ("trap", "stage", "reason"),
    [
        (1, "decode", "timed out"),
        (2, "decode", "crashed"),
        pytest.param(3, "decode", "out of memory", marks=pytest.mark.skipif(sys.platform != "linux", reason="limits on memory need Linux")),
        (4, "decode", "unreadable"),
        (5, "check", "bad vector"),
        (6, "encode", "out of memory"),
        (7, "check", "bad vector"),
    ],
    ids=["hangs", "crashes", "bloats", "raises", "zero vector", "chokes the model", "not a number"],
)
def test_one_bad_object_harms_only_itself(trap_space, tmp_path, trap, stage, reason):
    began = time.monotonic()
    account = embed(bucket(tmp_path / "bucket", trap), tmp_path / "lance", space=str(trap_space), limits=LIMITS, workers=1)
    assert [(f["uri"].rpartition("/")[2], f["stage"], f["reason"]) for f in account.failures] == [("010-trap.png", stage, reason)]
    assert (account.embedded, account.quarantined, account.balanced) == (20, 1, True)
    assert len(rows(tmp_path / "lance")) == 20
    assert time.monotonic() - began < SECONDS + 20


def test_an_encoder_that_gives_everything_the_same_vector_ends_the_run_and_writes_nothing(trap_space, tmp_path):
    trap_space.write_text('name = "traps"\n[image]\nencoder = "trap"\nconstant = true\n')
    with pytest.raises(EncoderError, match="same vector"):
        embed(bucket(tmp_path / "bucket", 99), tmp_path / "lance", space=str(trap_space))


def test_identical_pictures_may_share_a_vector(trap_space, tmp_path):
    (tmp_path / "bucket").mkdir()
    for number in range(12):
        # Different files, same pixels: a comment keeps them from being taken for copies.
        picture = Image.new("RGB", (8, 8), (200, 10, 10))
        picture.save(tmp_path / "bucket" / f"{number}.gif", comment=f"number {number}")
    account = embed(tmp_path / "bucket", tmp_path / "lance", space=str(trap_space))
    assert (account.embedded, account.encoded) == (12, 12)


def test_an_encoder_that_can_encode_nothing_ends_the_run(trap_space, tmp_path):
    folder = tmp_path / "bucket"
    folder.mkdir()
    for number in range(4):
        write(folder / f"{number}.png", 6)
        (folder / f"{number}.png").write_bytes((folder / f"{number}.png").read_bytes() + bytes([number]))
    with pytest.raises(EncoderError, match="no object of shard"):
        embed(folder, tmp_path / "lance", space=str(trap_space))
