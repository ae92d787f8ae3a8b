"""How a text falls into words, in English, Chinese and what lies between."""

from __future__ import annotations

import pytest
import rjieba

from encoders.errors import EncoderError
from encoders.words import segmentation
from encoders.words.segmentation import words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The cat sat.", ["The", "cat", "sat"]),
        ("Don't! state-of-the-art (x)", ["Don", "t", "state", "of", "the", "art", "x"]),
        ("naïve café Größe", ["naïve", "café", "Größe"]),
        ("cafe\u0301", ["café"]),
        ("हिन्दी भाषा", ["हिन्दी", "भाषा"]),
        ("ＡＢＣ１２３ ﬁne", ["ABC123", "fine"]),
        ("3.14 and 1,000", ["3", "14", "and", "1", "000"]),
        ("🎉 … —", []),
        ("", []),
        ("snake_case", ["snake", "case"]),
    ],
)
def test_words_are_runs_of_letters_marks_and_digits(text, expected):
    assert words(text) == expected


def test_chinese_is_cut_into_words_by_jieba():
    assert words("我们在雨中唱歌。红色的小鸟") == ["我们", "在", "雨", "中", "唱歌", "红色", "的", "小鸟"]
    text = "人工智能是计算机科学的一个分支"
    assert words(text) == list(rjieba.cut(text))


def test_chinese_beside_latin_and_kana_is_cut_where_scripts_change():
    assert words("iPhone手机很好") == ["iPhone", *rjieba.cut("手机很好")]
    assert words("日本語のテキスト") == [*rjieba.cut("日本語"), "の", "テキスト"]


def test_a_long_run_of_chinese_is_cut_whole():
    text = "红色的小鸟在唱歌" * 5000
    found = words(text)
    assert "".join(found) == text
    assert found.count("小鸟") > 4990


def test_what_is_too_long_for_a_word_is_left_out():
    assert words(f"short {'x' * 101} {'y' * 100}") == ["short", "y" * 100]


def test_a_spec_that_was_segmented_by_another_version_is_refused():
    segmentation.check(segmentation.description())
    with pytest.raises(EncoderError, match=r"chinese 'rjieba 0\.0\.1' \(here: 'rjieba"):
        segmentation.check({**segmentation.description(), "chinese": "rjieba 0.0.1"})
