"""Texts are cut to an encoder's context, also for an encoder that has no tokenizer of its own."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest
from buckets import embed, rows

from encoders.context import fitted, words
from encoders.spec import Spec

OUTSIDE = Path(__file__).parent / "outside"


class Bare:
    """An encoder without tokenizer."""

    def __init__(self, **preprocessing):
        self.spec = Spec("bare", "text", 2, "text", preprocessing=preprocessing)


@pytest.mark.parametrize(
    ("text", "n"), [("a red dog", 3), ("狗在叫", 3), ("a 狗 barks, 在叫!", 6), ("", 0), ("  \n ", 0), ("x" * 500, 1), ("café naïve", 2)]
)
def test_words_and_ideographs_count_one_each(text, n):
    assert len(words().encode(text).ids) == n


def test_an_encoder_without_tokenizer_is_cut_by_words():
    text = " ".join(f"word{i}" for i in range(25))
    parts = list(fitted(Bare(chunk={"size": 10, "overlap": 0}), [text]))
    assert [len(part.text.split()) for part in parts] == [10, 10, 5]
    assert all(text[part.start : part.end] == part.text for part in parts)


def test_an_encoder_that_names_no_size_gets_a_page():
    parts = list(fitted(Bare(), [" ".join(["word"] * 1000)]))
    assert max(len(part.text.split()) for part in parts) == 256


def test_a_bucket_is_embedded_with_an_outsiders_encoder(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(OUTSIDE))
    (tmp_path / "letters.toml").write_text('name = "letters"\n[text]\nencoder = "letters"\n')
    (tmp_path / "bucket").mkdir()
    (tmp_path / "bucket/a.txt").write_text("abba")
    (tmp_path / "bucket/long.txt").write_text("\n".join(f"line {i}." for i in range(400)))
    account = embed(tmp_path / "bucket", tmp_path / "lance", space=str(tmp_path / "letters.toml"))
    sys.modules.pop("letters", None)
    assert (account.embedded, account.balanced, account.space) == (2, True, "letters")
    held = rows(tmp_path / "lance")
    short = next(row for row in held if row["uri"].endswith("a.txt"))
    assert short["vector"][:3] == pytest.approx([0.5**0.5, 0.5**0.5, 0], abs=1e-3)
    assert len(held) > 2
    assert re.match("line 0", next(row["text"] for row in held if row["uri"].endswith("long.txt") and row["segment"] == 0))
    assert os.fspath(OUTSIDE) in sys.path
