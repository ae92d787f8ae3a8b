"""`sensorium show` tells of a file what a run would embed, and draws what the encoders see at its true place."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tiny_pictures
import tiny_sounds
from films import Film
from PIL import Image
from tokenizers import Tokenizer

from encoders import registry, spaces
from encoders.media.kinds import Limits
from encoders.patches import patchify
from encoders.spectrogram import band_centres
from flows.show import show_file
from tasks import draw
from tasks.show import show
from tasks.stft import stft
from tasks.token_page import page, tokens

ROOT = Path(__file__).parent.parent
SAMPLES = ROOT / "tests" / "data" / "miniature_samples"
LEFT, TOP = draw._LEFT, draw._TOP
TEXT = "A red bird sings. 一只红色的小鸟。 Größe & <b>bold</b> 🙂 smile!\n\nThe bank of the river, the bank in the town.\n" * 3


@pytest.fixture(scope="module")
def miniature():
    return spaces.load_space("miniature")


def sensorium(*arguments, cwd):
    command = [sys.executable, "-m", "flows.cli", *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120, check=False, env=environment)


def tone(path: Path, hertz: float, seconds: float, rate: int = 16000, begin: float = 0.0) -> Path:
    time = np.arange(round(seconds * rate)) / rate
    soundfile.write(path, 0.5 * np.sin(2 * np.pi * hertz * time) * (time >= begin), rate)
    return path


def pixels(path: str | Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.array(picture)


def test_segments_are_those_of_a_run(miniature, tmp_path):
    sound = tone(tmp_path / "long.wav", 440, 8.0)
    run = list(stft(registry.build(miniature.encoders["audio"]), sound, Limits()))
    shown = list(show(miniature, sound))
    assert [(s.number, s.segment.start, s.segment.end) for s in shown] == [(n, s.start, s.end) for n, s in enumerate(run)]
    for seen, segment in zip(shown, run, strict=True):
        np.testing.assert_array_equal(seen.segment.inputs["mel_patches"], segment.inputs["mel_patches"])
        np.testing.assert_array_equal(seen.encoder.prepare(seen.medium)["mel_patches"], segment.inputs["mel_patches"])


def test_a_picture_is_drawn_as_its_patches_put_together_again(miniature, tmp_path):
    told = show_file(SAMPLES / "picture_1.png", miniature, tmp_path, 8)
    (path,) = told["written"]
    (seen,) = show(miniature, SAMPLES / "picture_1.png")
    drawn = pixels(path)[TOP : TOP + 512, LEFT : LEFT + 512]
    cell = seen.segment.inputs["patches"].reshape(8, 8, 8, 8, 3)[5, 2]  # a patch in the sixth row
    np.testing.assert_array_equal(drawn[5 * 64 + 4 : 6 * 64 : 8, 2 * 64 + 4 : 3 * 64 : 8], cell)


def test_patches_are_joined_as_they_were_cut():
    pixels = np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8)
    np.testing.assert_array_equal(draw.joined(patchify(pixels, 8), 3, 5), pixels)


@pytest.mark.parametrize("hertz", [300, 1000, 4000])
def test_a_tone_stands_at_its_frequency_and_begins_at_its_time(miniature, tmp_path, hertz):
    told = show_file(tone(tmp_path / "tone.wav", hertz, 3.0, begin=1.5), miniature, tmp_path / "out", 1)
    drawn = pixels(told["written"][0]).astype(int)
    field = drawn[TOP : TOP + 320, LEFT : LEFT + 912]  # 304 frames of 3 pixels, 64 bands of 5
    yellow = np.abs(field - draw._VIRIDIS[-1]).sum(2) < 60
    rows, columns = np.nonzero(yellow)
    centres = band_centres(64, 20.0, 8000.0, "kaldi")
    wanted = np.interp(hertz, centres, np.arange(64))
    assert abs(63 - np.median(rows) // 5 - wanted) <= 1
    begins = 3.04 * columns.min() / 912 + 0.0075
    assert abs(begins - 1.5) < 0.03


def test_the_axis_of_time_counts_from_the_sounds_beginning(miniature, tmp_path):
    told = show_file(tone(tmp_path / "long.wav", 440, 9.0), miniature, tmp_path / "out", 2)
    drawn = pixels(told["written"][1])  # from 3.072 s on; its first frame's middle is 12.5 ms later, and a frame is drawn 10 ms wide
    ticks = np.flatnonzero((drawn[TOP + 320 + 3] == draw._INK).all(1)) - LEFT
    times = 3.072 + 0.0075 + ticks / 912 * 3.04
    np.testing.assert_allclose(times, np.arange(3.5, 6.1, 0.5), atol=0.004)


def test_where_a_short_sound_ends_is_marked(miniature, tmp_path):
    told = show_file(tone(tmp_path / "short.wav", 500, 1.0), miniature, tmp_path / "out", 1)
    drawn = pixels(told["written"][0]).astype(int)
    columns = np.flatnonzero((np.abs(drawn[TOP + 5] - draw._END).sum(1)) == 0) - LEFT
    assert len(columns) and abs(columns.mean() / 912 * 3.04 - 1.0) < 0.01


@pytest.mark.parametrize("name", ["clap-audio", "wav2vec2", "whisper"])
def test_every_way_of_hearing_can_be_seen(name, tmp_path):
    options = tiny_sounds.TINY[name](tmp_path / "weights")
    space = spaces.Space("tiny", {"audio": registry.describe(name, **options)})
    told = show_file(tone(tmp_path / "tone.wav", 800, 2.3), space, tmp_path / "out", 2)
    assert len(told["segments"]) in {3, 5} and len(told["written"]) == 2
    assert all(pixels(path).shape > (300, 600, 3) for path in told["written"])


@pytest.mark.parametrize(("name", "edge"), [("resnet", 64), ("siglip2-naflex", 32)])
def test_every_way_of_seeing_can_be_seen(name, edge, tmp_path):
    options = tiny_pictures.TINY[name](tmp_path / "weights")
    space = spaces.Space("tiny", {"image": registry.describe(name, **options)})
    Image.new("RGB", (90, 90), (200, 30, 30)).save(tmp_path / "red.png")
    told = show_file(tmp_path / "red.png", space, tmp_path / "out", 1)
    drawn = pixels(told["written"][0])[TOP : -draw._BOTTOM, LEFT : -draw._RIGHT]
    assert drawn.shape == (512, 512, 3)
    assert (drawn[512 // edge // 2 :: 512 // edge, 3] == [200, 30, 30]).all()


def test_a_silence_has_a_picture_too(miniature, tmp_path):
    soundfile.write(tmp_path / "silence.wav", np.zeros(16000), 16000)
    assert len(show_file(tmp_path / "silence.wav", miniature, tmp_path / "out", 8)["written"]) == 1


def test_colours_run_from_dark_blue_to_yellow_and_get_brighter():
    ramp = draw.viridis(np.linspace(0, 1, 64)).astype(float)
    assert ramp[0].tolist() == [68, 1, 84] and ramp[-1].tolist() == [253, 231, 37]
    assert (np.diff(ramp @ [0.2126, 0.7152, 0.0722]) > 0).all()
    np.testing.assert_array_equal(draw.viridis(np.array([-1.0, 2.0])), ramp[[0, -1]])


def test_the_tokens_of_a_text_cover_it_once_and_special_ones_are_named(miniature):
    encoder = registry.build(miniature.encoders["text"])
    words = TEXT[18:52].strip()
    found = tokens(encoder.tokenizer, words)
    assert len(found) == len(encoder.prepare(words)["input_ids"])
    assert [t.special for t in found if t.special] == ["<|startoftext|>", "<|endoftext|>"]
    covered = "".join(words[t.start : t.end] for t in found)
    assert covered == re.sub(r"\s", "", words)


def test_the_page_of_a_text_holds_every_chunk_in_order_and_escapes_it(miniature, tmp_path):
    (tmp_path / "words.txt").write_text(TEXT, encoding="utf-8")
    told = show_file(tmp_path / "words.txt", miniature, tmp_path / "out", 1000)
    html = Path(told["written"][0]).read_text(encoding="utf-8")
    plain = [re.sub(r"<span class=\"s\">[^<]*</span>|<[^>]+>", "", part) for part in re.findall(r"</h2>(.*?)</section>", html, re.S)]
    expected = [TEXT[row["start"] : row["end"]] for row in told["segments"]]
    assert [part.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&") for part in plain] == expected
    assert len(expected) > 3


def test_a_text_without_tokenizer_is_shown_as_words():
    html = page("a & b", [("first", "some <words>")], None)
    assert "<h1>a &amp; b</h1>" in html and "some &lt;words&gt;</section>" in html
    assert "<span" in page("x", [("y", "some words")], Tokenizer.from_file(str(ROOT / "encoders/miniature/clip/tokenizer.json")))


def test_frames_and_sound_of_a_video_are_told_in_order_of_time(miniature, tmp_path):
    Film(seconds=5.0).write(tmp_path / "film.mp4")
    told = show_file(tmp_path / "film.mp4", miniature, tmp_path / "out", 8)
    assert {row["modality"] for row in told["segments"]} == {"image", "audio"}
    assert [row["segment"] for row in told["segments"]] == list(range(len(told["segments"])))
    assert all(row["unit"] == "s" for row in told["segments"])
    assert len(told["written"]) == len(told["segments"])


def test_the_command_prints_where_segments_lie_and_where_pictures_are(tmp_path):
    sound = tone(tmp_path / "long.wav", 440, 8.0)
    done = sensorium("show", sound, "--most", "1", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert set(told) == {"file", "space", "segments", "written"}
    assert set(told["segments"][0]) == {"segment", "modality", "encoder", "start", "end", "unit", "inputs"}
    assert told["segments"][-1]["end"] == pytest.approx(8.0) and told["segments"][0]["inputs"] == {"mel_patches": [76, 256]}
    assert [path.name for path in (tmp_path / "long-shown").iterdir()] == ["long-0000-audio.png"]
    done = sensorium("show", sound, "--output", tmp_path / "here", cwd=tmp_path)
    assert "3 segments" in done.stdout and "3.072 s" in done.stdout and "here/long-0002-audio.png" in done.stdout.replace("\n", "")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [("gone.png", None, "No such file"), ("torn.png", b"\x89PNG\r\n\x1a\n torn", "sensorium: "), ("rows.csv", b"id,text\n1,a\n", "rows")],
)
def test_what_cannot_be_shown_is_refused_in_one_line(tmp_path, name, content, words):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    done = sensorium("show", tmp_path / name, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("sensorium: ") and words in done.stderr
    assert not list(tmp_path.glob("*-shown"))
