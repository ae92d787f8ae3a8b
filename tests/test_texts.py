"""Texts are decoded whatever their encoding, block by block, and of HTML comes what a reader sees."""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

from encoders.errors import EmptyError, LimitError, UnreadableError
from encoders.media.charset import charset_of
from encoders.media.kinds import Limits
from encoders.media.texts import BLOCK, blocks, text_format

GERMAN = "Der Bär läuft über die Brücke, „so schön“ – 5 €.\r\nZweite Zeile.\n"
CHINESE = "今天天气很好，我们去公园散步。\n你喜欢春天吗？我喜欢！"


def whole(data: bytes, name: str = "a.txt") -> str:
    return "".join(blocks(data, name))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("text", [GERMAN, "plain\n", GERMAN + CHINESE])
def test_unicode_is_read_with_and_without_a_mark_and_keeps_its_line_ends(encoding, text):
    assert whole(text.encode(encoding)) == text


@pytest.mark.parametrize("mark", [b"\xff\xfe", b"\xfe\xff"])
def test_utf_16_of_chinese_needs_its_mark_and_is_read_with_it(mark):
    order = "le" if mark == b"\xff\xfe" else "be"
    assert whole(mark + CHINESE.encode(f"utf-16-{order}")) == CHINESE


@pytest.mark.parametrize(
    ("text", "encoding"), [(GERMAN, "cp1252"), ("déjà vu, naïve façade", "latin-1"), (CHINESE, "gb18030"), (CHINESE, "gbk")]
)
def test_legacy_encodings_are_told_apart_when_it_is_not_utf_8(text, encoding):
    assert whole(text.encode(encoding)) == text


def test_the_encoding_is_that_of_the_whole_text_not_of_its_first_block():
    head = "a" * (2 * BLOCK)
    assert whole((head + "é").encode("latin-1")) == head + "é"
    assert whole((head + "é").encode()) == head + "é"


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "gb18030"])
def test_characters_that_lie_across_blocks_are_whole(size, encoding, monkeypatch):
    text = CHINESE * 40 + "🐕" + "x" * 5
    expected_charset = charset_of([text.encode(encoding)])[0]
    monkeypatch.setattr("encoders.media.texts.charset_of", lambda _: (expected_charset, "strict"))
    monkeypatch.setattr("encoders.media.texts.BLOCK", size)
    assert whole(text.encode(encoding)) == text


def test_a_text_cut_or_damaged_in_a_character_is_still_utf_8():
    data = (CHINESE * 3).encode()
    assert whole(data[:-1]) == (CHINESE * 3)[:-1] + "\ufffd"
    assert whole(data[:30] + b"\xff" + data[30:]).count("\ufffd") == 1
    assert whole("a\ufffdb é".encode()) == "a\ufffdb é", "a replacement character of its own is no damage"


def test_blocks_are_small_and_join_to_the_text():
    text = "".join(random.Random(0).choices("abc déf 中\n", k=300_000))
    parts = list(blocks(text.encode(), "a.md"))
    assert "".join(parts) == text and max(map(len, parts)) <= BLOCK and all(parts)


def test_a_path_gives_what_bytes_give_in_memory_of_a_block(tmp_path):
    path = tmp_path / "large.txt"
    with path.open("w") as file:
        for k in range(20_000):
            file.write(f"Zeile {k}: ein Bär läuft über die Brücke, noch einer auch, und dann keiner mehr.\n" * 6)
    tracemalloc.start()
    length = sum(map(len, blocks(path, "large.txt")))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert length == len(path.read_text()) and length > 9_000_000
    assert peak < 4_000_000


@pytest.mark.parametrize("data", [bytes(10), b"abc\x00def", np.random.default_rng(0).bytes(100_000), b"\x01\x02" * 50 + b"a" * 500])
def test_binary_content_is_not_text(data):
    with pytest.raises(UnreadableError, match="not text"):
        whole(data)


def test_binary_content_behind_a_readable_head_is_not_text():
    with pytest.raises(UnreadableError, match=r"not text.*near character"):
        whole(b"readable " * 10_000 + np.random.default_rng(0).bytes(200_000))


def test_coloured_logs_and_form_feeds_are_text():
    text = "\x1b[31mred\x1b[0m\t\f\b\r\n" * 5
    assert whole(text.encode()) == text


@pytest.mark.parametrize("data", [b" ", b"\n\t\r\n" * 50_000, "\u3000\u00a0".encode(), b"\xef\xbb\xbf"])
def test_white_space_is_empty(data):
    with pytest.raises(EmptyError, match="white space"):
        whole(data)


def test_characters_are_limited_before_and_while_decoding():
    limits = Limits(characters=1000)
    assert whole(b"a" * 1000) and "".join(blocks(b"a" * 1000, "a.txt", limits))
    for data in (b"a" * 1001, b"a" * 5000, "中".encode() * 1001, b"<p>" * 400):
        with pytest.raises(LimitError, match=r"too many characters.*1,000 characters"):
            list(blocks(data, "a.html", limits))
    assert "".join(blocks("中".encode() * 1000, "a.txt", limits))
    with pytest.raises(LimitError, match=r"at least 1,250"):
        list(blocks(bytes(5000), "unread.txt", limits))


@pytest.mark.parametrize(("name", "kind"), [("a.HTML", "html"), ("a.htm", "html"), ("a.md", "plain"), ("a", "plain"), ("html", "plain")])
def test_the_name_tells_the_format(name, kind):
    assert text_format(name) == kind


def test_markdown_and_plain_text_keep_their_tags():
    for name in ("a.md", "a.txt"):
        assert whole(b"# Title\n<b>bold</b> &amp; `code`\n", name) == "# Title\n<b>bold</b> &amp; `code`\n"


def test_a_page_under_another_name_is_still_html():
    assert whole(b"<!DOCTYPE html><p>Not found</p>", "picture.png") == "Not found"


PAGES = {
    "<title>A &amp; B</title><p>one <b>two</b>three\n  four": "A & B\none twothree four",
    "a<script>var x = '<p>no</p>' && 1 < 2;</script>b<style>p {}</style>c": "abc",
    "<h1>Head</h1>text<br>line<hr/>end": "Head\ntext\nline\nend",
    "&eacute;&#20013;&#x6587;&nbsp;&lt;tag&gt; &unknown; &": "é中文 <tag> &unknown; &",
    "a<!-- <p>gone</p> -->b<!doctype x>c<?php echo 1 ?>d": "abcd",
    "<![if !IE]>shown<![endif]><![CDATA[x]]><![weird[y]]>end": "shownend",
    "<table><tr><td>1</td><td>2</td></tr><tr><td>3</td></tr></table>": "1 2\n3",
    "<pre>  def f():\n    pass</pre>after": "  def f():\n    pass\nafter",
    "<p>  spaces \n\t everywhere  </p>\n\n<p>and lines</p>": "spaces everywhere\nand lines",
    "<ul><li>one<li>two</ul>": "one\ntwo",
    "<p title='a > b'>attribute</p>": "attribute",
    "1 < 2 and 3 > 2": "1 < 2 and 3 > 2",
    "end in a <a href='": "end in a",
    "end in a <script>var x": "end in a",
    "<body>今天<b>天气</b>很好。</body>": "今天天气很好。",
}


@pytest.mark.parametrize("page", PAGES)
def test_of_html_comes_what_a_reader_sees(page):
    assert whole(page.encode(), "a.html").strip() == PAGES[page].strip()


@pytest.mark.parametrize("size", [1, 5, 17])
def test_html_is_the_same_however_it_is_cut_into_blocks(size, monkeypatch):
    page = "\n".join(page for page in PAGES if not page.startswith("end in")) * 3
    expected = whole(page.encode(), "a.html")
    monkeypatch.setattr("encoders.media.texts.BLOCK", size)
    assert whole(page.encode(), "a.html") == expected


def test_a_declared_legacy_encoding_of_html_is_taken():
    page = "<html><head><meta charset='windows-1251'></head><body>Привет</body>"
    assert whole(page.encode("cp1251"), "a.html") == "Привет"
    page = '<meta http-equiv="Content-Type" content="text/html; charset=GB2312"><p>中文</p> and mostly English text'
    assert whole(page.encode("gb2312"), "a.html") == "中文\nand mostly English text"
    assert "é" in whole(b"<meta charset=rot13>caf\xe9", "a.html"), "but no codec that is not an encoding"


def test_any_tag_soup_gives_text_or_a_medium_error():
    rng = random.Random(0)
    parts = [
        "<",
        "</",
        "<!",
        "<!--",
        "-->",
        "<![",
        "]]>",
        "script",
        "style",
        ">",
        "a",
        "&amp",
        "&#x",
        "'",
        '"',
        "=",
        " ",
        "<?",
        "<p",
        "CDATA[",
        "/",
    ]
    read = []
    for _ in range(3000):
        with contextlib.suppress(EmptyError, UnreadableError):
            read.append(whole("".join(rng.choices(parts, k=rng.randint(1, 40))).encode(), "a.html"))
    assert 100 < len(read) < 2900, "both outcomes are tried"
    assert all(text.strip() for text in read)


@pytest.mark.parametrize(
    "part",
    [b"<a ", b"</", b"<!", b"<!--", b"<?", b"<", b"&", b"<script>", b"<a x='", b"<![", b"<textarea>"],
    ids=lambda part: part.decode(),
)
def test_endless_markup_takes_no_time_that_grows_with_the_square_of_its_length(part):
    program = (
        "import sys\nfrom encoders.media.texts import blocks\nfrom encoders.errors import MediumError\n"
        "try:\n    sum(map(len, blocks(eval(sys.argv[1]) * (600_000 // len(eval(sys.argv[1]))), 'a.html')))\nexcept MediumError:\n    pass"
    )
    assert subprocess.run([sys.executable, "-c", program, repr(part)], check=False, timeout=8).returncode == 0


def test_a_tag_longer_than_any_real_one_is_corrupt():
    with pytest.raises(UnreadableError, match=r"corrupt.*8,388,608"):
        whole(b"<script>" + b"a" * 20_000_000, "a.html")
    assert whole(b"<img src='data:" + b"a" * 3_000_000 + b"'>seen", "a.html") == "seen"
