"""A bucket of nothing but trouble: every object ends where it should, with its reason, and the account balances."""

from __future__ import annotations

import os
import subprocess
from dataclasses import asdict
from pathlib import Path

import pytest
from buckets import embed, picture, rows
from nasty_media import nasty_media, small_limits

from flows.bucket_run import REFUSALS
from storage import table
from storage.quarantine import load


@pytest.fixture(scope="module")
def nasty(tmp_path_factory):
    home = tmp_path_factory.mktemp("nasty")
    (home / "bucket").mkdir()
    for case in nasty_media():
        (home / "bucket" / case.name).write_bytes(case.data)
    limits = small_limits()
    account = embed(home / "bucket", home / "lance", limits=asdict(limits), floor=0.0)
    return home, account


def test_every_nasty_object_is_in_the_table_or_in_quarantine(nasty):
    _, account = nasty
    assert account.balanced
    assert account.listed == len(nasty_media())


@pytest.mark.parametrize("case", nasty_media(), ids=lambda case: case.name)
def test_a_nasty_object_ends_where_it_should(nasty, case):
    home, _ = nasty
    uri = f"file://{home}/bucket/{case.name}"
    held = {row["uri"]: row["medium"] for row in rows(home / "lance")}
    db = table.connect(str(home / "lance"))
    reasons = dict(load(db, "media").select("uri", "reason").iter_rows())
    assert held.get(uri, reasons.get(uri)) == case.expected


@pytest.fixture
def tiny_disk(tmp_path):
    place = tmp_path / "tiny"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(place)]
    if os.name != "posix" or os.geteuid() != 0 or subprocess.run(mount, check=False).returncode:
        pytest.skip("needs the right to mount a small file system")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.fixture
def many(tmp_path):
    folder = tmp_path / "bucket"
    folder.mkdir()
    for number in range(1200):
        (folder / f"{number}.txt").write_text(f"a red dog {number}")
    for number in range(260):
        (folder / f"{number}.png").write_bytes(picture(number))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("full", ["scratch", "database"])
def test_no_space_is_one_clear_refusal_and_the_next_run_succeeds(many, tiny_disk, tmp_path, full):
    places = {"database": str(tmp_path / "lance"), "scratch": str(tmp_path / "scratch")} | {full: str(tiny_disk / "x")}
    with pytest.raises(REFUSALS, match=r"(?i)no space"):
        embed(many, **places)
    subprocess.run(["mount", "-o", "remount,size=200M", str(tiny_disk)], check=True)
    account = embed(many, **places)
    assert (account.listed, account.quarantined, account.balanced) == (1460, 0, True)
    assert len(rows(places["database"])) == 1460
    assert Path(places["database"]).exists()
