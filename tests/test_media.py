"""What an object is, by name and by content; and no nasty object does anything but what is written beside it."""

from __future__ import annotations

import pickle
import subprocess
import sys

import nasty_media
import numpy as np
import pytest

from encoders.errors import EmptyError, LimitError, MediumError, UnreadableError
from encoders.media import kinds as media
from encoders.media import pictures, sounds, texts, videos
from encoders.media.containers import medium_of
from encoders.spec import MODALITIES, Modality, Spec

CASES = nasty_media.nasty_media()
SMALL = nasty_media.small_limits()
VIDEO: dict[Modality, Spec] = {
    "image": Spec("pictures", "image", 8, "pixels"),
    "audio": Spec("sounds", "audio", 8, "samples", preprocessing={"sampling_rate": 16000, "window_samples": 8000}),
}


def outcome(name: str, source: media.Source) -> str:
    """The modality that an object is decoded as, or the reason why it is not."""
    try:
        modality = medium_of(name, source)
        if modality == "image":
            picture = pictures.decode(source, SMALL)
            assert picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] == 3
        elif modality == "audio":
            assert [window.samples.shape for window in sounds.windows(source, 16000, 8000, SMALL)]
        elif modality == "video":
            assert list(videos.parts(source, VIDEO, limits=SMALL))
        else:
            assert "".join(texts.blocks(source, name, SMALL)).strip()
    except MediumError as error:
        assert pickle.loads(pickle.dumps(error)).args == error.args
        assert "0x" not in error.message, "a message is the same for the same object"
        return error.reason
    return modality


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_nasty_object_is_embedded_or_refused_for_the_reason_written_beside_it(case, tmp_path):
    assert outcome(case.name, case.data) == case.expected
    path = tmp_path / "object"
    path.write_bytes(case.data)
    assert outcome(case.name, path) == case.expected, "as a path too"


def test_the_nasty_objects_cover_every_format_that_is_read():
    good = {media.type_of(case.name) for case in CASES if case.expected in MODALITIES}
    aliases = {"jpeg", "jpe", "markdown", "htm", "oga", "mpeg", "mts"}
    assert good | aliases | {"md", "gif"} >= set(media._EXTENSIONS)


@pytest.mark.parametrize(
    ("name", "modality"),
    [
        ("a/b.JPG", "image"),
        ("photo.jpe", "image"),
        ("%20 #?.Tif", "image"),
        ("一.AVIF", "image"),
        ("a\nb.opus", "audio"),
        ("x.M4A", "audio"),
        ("README.markdown", "text"),
        ("index.htm", "text"),
        ("film.MP4", "video"),
        ("film.m2ts", "video"),
        ("folder.png/readme", None),
        (".png", None),
        ("png", None),
        ("", None),
    ],
)
def test_the_extension_names_the_modality_in_any_case(name, modality):
    assert media.medium_by_name(name) == modality


@pytest.mark.parametrize(
    ("name", "type_"),
    [("a.MP4", "mp4"), ("a.tar.gz", "gz"), ("a", "(none)"), (".hidden", "(none)"), ("v1.2 final draft", "(none)"), ("a.b/c", "(none)")],
)
def test_skipped_objects_are_counted_by_a_short_type(name, type_):
    assert media.type_of(name) == type_


@pytest.mark.parametrize(
    ("head", "found"),
    [
        (b"", "empty"),
        (b"BMW is a car maker.\n", "text"),
        (b"RIFF, the word, and WAVE", "text"),
        (b"GIF89a is a format", "text"),
        (b"ID3 tags hold titles", "text"),
        (b"MZ", "text"),
        ("七".encode("utf-16"), "text"),
        (b"\x00\x01\x02\x03", "unknown"),
        (b"%PDF-1.4 plain", "pdf"),
        (b"\x1aE\xdf\xa3webm", "video"),
        (b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic", "heif"),
        (b"\x00\x00\x00\x14ftypqt  \x00\x00\x00\x00qt  ", "video"),
        (b"\x00\x00\x00\x14ftypisom\x00\x00\x02\x00isom", "mp4"),
        (b"\x47" + bytes(187) + b"\x47" + bytes(187) + b"\x47", "video"),
        (b"OggS\x00\x02" + bytes(20) + b"\x80theora", "video"),
        (b"FORM\x00\x00\x00\x10AIFFCOMM", "aiff"),
    ],
)
def test_the_first_bytes_tell_formats_from_texts_that_begin_like_them(head, found):
    assert media.sniff(head) == found


def test_content_decides_but_an_unknown_content_is_left_to_the_decoder_of_its_name():
    assert media.settle("song.mp3", bytes(100)) == "audio"
    assert media.settle("song.m4a", b"\x00\x00\x00\x14ftypisom\x00\x00\x02\x00isom") == "audio"
    assert media.settle("film.jpg", b"\x00\x00\x00\x14ftypisom\x00\x00\x02\x00isom") == "video", "its tracks decide in the end"
    with pytest.raises(UnreadableError, match=r"(?s)other content.*named as image \(jpg\).*heif"):
        media.settle("phone.jpg", b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic")
    with pytest.raises(UnreadableError, match="unknown kind"):
        media.settle("data.bin", bytes(100))
    with pytest.raises(EmptyError):
        media.settle("a.png", b"")


@pytest.mark.parametrize(
    "name, head, kind",
    [
        ("manual.pdf", b"%PDF-1.7 " + bytes(4), "pdf"),
        ("setup.exe", b"MZ" + bytes(4), "exe"),
        ("letter.docx", b"PK\x03\x04" + bytes(4), "docx (zip data)"),
        ("the query", b"PK\x03\x04" + bytes(4), "zip data"),
        ("data.bin", bytes(4), "bin (data of an unknown kind)"),
        ("the query", bytes(4), "data of an unknown kind"),
    ],
)
def test_what_neither_its_name_nor_its_content_makes_a_medium_is_refused_as_what_it_is(name, head, kind):
    with pytest.raises(UnreadableError) as refusal:
        media.settle(name, head)
    assert str(refusal.value) == f"other content: {kind} is nothing that is embedded or asked with; give a picture, sound, video or text"


def test_more_bytes_than_allowed_are_refused_unread(tmp_path):
    path = tmp_path / "large.wav"
    with path.open("wb") as file:
        file.truncate(media.Limits().bytes + 1)
    with pytest.raises(LimitError, match=r"too many bytes.*4,294,967,297.*4,294,967,296"):
        media.check_bytes(path, media.Limits())
    for decode in (lambda: pictures.decode(path), lambda: list(sounds.windows(path, 16000, 1)), lambda: list(texts.blocks(path, "x.txt"))):
        with pytest.raises(LimitError, match="too many bytes"):
            decode()


def test_preparing_imports_neither_torch_nor_transformers_nor_librosa():
    heavy = {"torch", "transformers", "librosa", "scipy", "numba", "prefect", "pyarrow"}
    names = ("media.kinds", "media.pictures", "media.sounds", "media.videos", "media.texts", "patches", "spectrogram", "chunks")
    program = f"import sys, {', '.join(f'encoders.{name}' for name in names)}\nprint(*({heavy} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not result.stdout.split()
