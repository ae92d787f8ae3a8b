"""The demo's bucket: what it holds, how much of it is good, broken or foreign, and that it answers the demo's questions."""

from __future__ import annotations

import hashlib
import io
import re
import struct
import zlib
from collections import Counter
from pathlib import Path, PurePosixPath

import av
import numpy as np
import pytest
import soundfile
from miniature_weights import Miniature
from PIL import Image, UnidentifiedImageError

from encoders.miniature.bucket import QUESTIONS, Manifest, good_items, make_bucket, query_picture
from encoders.miniature.formats import sound_bytes, video_bytes
from encoders.miniature.synthesis import RATE
from flows.demo import write_pairs
from tasks.pairs import read_pairs

PICTURES, SOUNDS, TEXTS, VIDEOS = {".png", ".jpg", ".webp"}, {".wav", ".flac", ".ogg"}, {".txt", ".md", ".html"}, {".mp4", ".webm"}


@pytest.fixture(scope="module")
def bucket(tmp_path_factory) -> Manifest:
    return make_bucket(tmp_path_factory.mktemp("demo") / "bucket")


def on_disk(folder: Path) -> dict[str, Path]:
    return {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}


def of(names, suffixes: set[str]) -> list[str]:
    return [name for name in names if PurePosixPath(name).suffix in suffixes]


def fingerprint(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def modified(path: Path) -> int:
    return path.stat().st_mtime_ns


def test_the_manifest_counts_what_stands_on_disk(bucket):
    files = on_disk(bucket.folder)
    assert len(files) == bucket.good + bucket.broken + bucket.foreign
    assert len(bucket.captions) == bucket.good >= 300
    assert len(bucket.faults) == bucket.broken >= 8
    others = files.keys() - bucket.captions.keys() - bucket.faults.keys()
    assert len(others) == bucket.foreign >= 6
    assert not of(others, PICTURES | SOUNDS | TEXTS | VIDEOS)


def test_every_good_file_opens_with_the_ordinary_libraries(bucket):
    seconds = []
    for name in bucket.captions:
        path = bucket.folder / name
        if path.suffix in PICTURES:
            with Image.open(path) as picture:
                picture.load()
                assert picture.width == picture.height == 1 if "one-pixel" in name else 128 <= picture.width <= 256
        elif path.suffix in SOUNDS:
            sound, rate = soundfile.read(path)
            seconds.append(len(sound) / rate)
            assert rate == 16_000
            assert 0.2 < np.abs(sound).max() <= 1
        elif path.suffix in VIDEOS:
            with av.open(str(path)) as video:
                assert len(list(video.decode(video=0))) / 5 == pytest.approx(video.duration / 1e6, abs=0.3)
                assert 6 <= video.duration / 1e6 <= 13
        else:
            assert path.read_text(encoding="utf-8").strip()
    assert set(np.round(seconds, 3)) >= {3.072}
    assert sum(10 <= s <= 20 for s in seconds) >= 6
    assert all(abs(s - 3.072) < 0.001 or 10 <= s <= 20 for s in seconds)


def opens(path: Path) -> bool:
    """Whether the ordinary library reads something from the file."""
    try:
        if path.suffix in PICTURES:
            with Image.open(path) as picture:
                picture.load()
        elif path.suffix in SOUNDS:
            return len(soundfile.read(path)[0]) > 0
        else:
            return path.read_text(encoding="utf-8").strip() != ""
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, soundfile.LibsndfileError):
        return False
    return True


def test_no_broken_file_opens_and_each_says_what_is_wrong(bucket):
    assert [name for name in bucket.faults if opens(bucket.folder / name)] == []
    assert all(bucket.faults.values())
    assert {PurePosixPath(name).parts[0] for name in bucket.faults} == {"pictures", "sounds", "texts"}


def test_media_formats_languages_and_lengths_are_mixed(bucket):
    suffixes = Counter(PurePosixPath(name).suffix for name in bucket.captions)
    assert suffixes.keys() == PICTURES | SOUNDS | TEXTS | VIDEOS
    assert min(count for suffix, count in suffixes.items() if suffix not in VIDEOS) >= 15
    assert min(suffixes[suffix] for suffix in VIDEOS) >= 3
    for language in ("en", "zh"):
        texts = [bucket.folder / name for name in bucket.captions if name.startswith(f"texts/{language}/")]
        contents = [path.read_text(encoding="utf-8") for path in texts]
        assert len(texts) >= 40
        assert sum(len(content) > 400 for content in contents) >= 5
        assert all(any("\u4e00" <= c <= "\u9fff" for c in content) == (language == "zh") for content in contents)


def test_some_names_are_hard(bucket):
    names = list(bucket.captions)
    for hard in (" ", "#", "%20"):
        assert sum(hard in name for name in names) >= 10
    assert sum(not name.isascii() for name in names if not name.startswith("texts/zh")) >= 5
    assert sum(name.isascii() and not set(name) & set(" #%") for name in names) >= 150


def test_a_few_objects_stand_there_twice_under_other_names(bucket):
    files = on_disk(bucket.folder)
    content = Counter(fingerprint(path) for path in files.values() if path.stat().st_size)
    copies = [name for name in files if "copy of" in name]
    assert sum(count - 1 for count in content.values()) == len(copies) + 1  # the PDF is also there as a .jpg
    assert 2 <= len(copies) <= 4
    assert all(content[fingerprint(files[name])] == 2 for name in copies)


def test_making_it_again_restores_what_was_changed_or_lost_and_touches_nothing_else(bucket):
    files = on_disk(bucket.folder)
    bytes_before, times_before = ({name: read(path) for name, path in files.items()} for read in (fingerprint, modified))
    changed, lost = list(bucket.captions)[:2]
    files[changed].write_bytes(b"other")
    files[lost].unlink()
    assert make_bucket(bucket.folder) == bucket
    assert {name: fingerprint(path) for name, path in on_disk(bucket.folder).items()} == bytes_before
    assert {name for name, path in files.items() if modified(path) != times_before[name]} == {changed, lost}


def test_another_seed_makes_another_bucket():
    assert {item.name for item in good_items(7)} == {item.name for item in good_items(7)}
    assert len({item.name for item in good_items(7)} & {item.name for item in good_items(8)}) < 50


def test_a_folder_with_other_files_is_refused_and_left_as_it_is(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"1 file.*thesis\.txt.*empty or a new folder"):
        make_bucket(tmp_path)
    assert list(on_disk(tmp_path)) == ["thesis.txt"]


def test_an_ogg_stream_keeps_its_sound_and_gets_checksums_that_the_decoder_accepts():
    wave = np.sin(np.arange(40_000) / 20).astype(np.float32) / 2
    ogg = sound_bytes(wave, ".ogg")
    decoded, _ = soundfile.read(io.BytesIO(ogg), dtype="float32")
    assert len(decoded) == len(wave)
    assert np.abs(decoded - wave).max() < 0.05
    start = 0
    while start < len(ogg):
        lacing = ogg[start + 27 : start + 27 + ogg[start + 26]]
        page = bytearray(ogg[start : start + 27 + len(lacing) + sum(lacing)])
        (claimed,), page[22:26] = struct.unpack("<I", page[22:26]), bytes(4)
        assert claimed == slow_ogg_checksum(page)
        assert claimed != zlib.crc32(page)
        start += len(page)


def slow_ogg_checksum(page: bytes) -> int:
    """RFC 3533, section 6: polynomial 0x04c11db7, highest bit first, initial value and final XOR zero; bit by bit."""
    register = 0
    for byte in page:
        register ^= byte << 24
        for _ in range(8):
            register = (register << 1) ^ (0x104C11DB7 if register & 0x80000000 else 0)
    return register


def test_a_videos_pictures_are_seen_while_their_sounds_are_heard():
    seen = [np.full((64, 64, 3), grey, np.uint8) for grey in (40, 200)]
    heard = [np.zeros(RATE, np.float32), np.sin(np.arange(RATE) / 5).astype(np.float32) / 2]
    for suffix in VIDEOS:
        with av.open(io.BytesIO(video_bytes(seen, heard, suffix))) as video:
            greys = [(frame.time, frame.to_ndarray(format="gray").mean()) for frame in video.decode(video=0)]
            video.seek(0)
            loud = [(frame.time, np.abs(frame.to_ndarray()).max()) for frame in video.decode(audio=0)]
        assert all((grey > 120) == (time >= 1) for time, grey in greys)
        assert all((peak > 0.1) == (time > 1) for time, peak in loud if abs(time - 1) > 0.1)
        assert greys[-1][0] > 1.5
        assert loud[-1][0] > 1.5


def test_the_picture_to_ask_with_is_not_in_the_bucket(bucket, tmp_path):
    path = query_picture(tmp_path / "questions")
    assert fingerprint(path) not in {fingerprint(p) for p in on_disk(bucket.folder).values()}
    assert path == query_picture(tmp_path / "questions")


def test_the_demos_questions_are_answered_by_the_shipped_weights(bucket, tmp_path):
    def answers(vector: np.ndarray, modality: str) -> list[str]:
        names, vectors = searched[modality]
        return [bucket.captions[names[i]] for i in np.argsort(-vectors @ vector)[:5]]

    miniature = Miniature()
    pictures = [name for name in of(bucket.captions, PICTURES) if "one-pixel" not in name]
    sounds = [name for name in of(bucket.captions, SOUNDS) if "/long/" not in name]
    opened = [np.asarray(Image.open(bucket.folder / name).convert("RGB")) for name in pictures]
    searched = {
        "image": (pictures, miniature.pictures(opened)),
        "audio": (sounds, miniature.sounds([soundfile.read(bucket.folder / name, dtype="float32")[0] for name in sounds])),
    }
    fitting = {
        "a dog barking": "(dog|puppy)",
        "a blue train": "blue (train|locomotive)",
        "夜晚，一只白色的猫": "white (cat|kitten).*night",
        "狗在叫": "(dog|puppy)",
    }
    for words, modality in (*QUESTIONS, ("狗在叫", "audio")):
        for caption in answers(miniature.texts([words])[0], modality):
            assert re.search(fitting[words], caption), (words, caption)
    asked = miniature.pictures([np.asarray(Image.open(query_picture(tmp_path)))])[0]
    assert all("yellow bird" in caption for caption in answers(asked, "image")[:3])
    assert all("bird" in caption for caption in answers(asked, "audio")[:3])


def test_the_pairs_to_score_by_name_every_good_picture_sound_and_video_of_the_bucket(bucket):
    pairs = read_pairs(write_pairs(bucket.folder.parent, bucket))
    named = [uri.removeprefix(f"file://{bucket.folder}/") for medium in ("image", "audio", "video") for uri in pairs.uris(medium)]
    assert sorted(named) == sorted(of(bucket.captions, PICTURES | SOUNDS | VIDEOS))
    assert (pairs.too_few, pairs.ignored) == (0, ())
