"""Videos beside pictures and sounds in one bucket: every object decoded once, its rows in one version, its moments found."""

from __future__ import annotations

import io
import json
import shutil
from collections import Counter

import av
import numpy as np
import polars as pl
import pytest
import soundfile
from buckets import SAMPLES, captions, embed, picture, rows, small_bucket, sound
from films import Film
from PIL import Image
from tiny_clips import Clip, Deaf, Plain, Sound
from typer.testing import CliRunner

from encoders import registry
from encoders.media import pictures, sounds, videos
from encoders.media.frames import FrameChoice
from encoders.media.kinds import Limits
from encoders.spec import Space
from flows import settings, settings_given
from flows.cli import app
from retrieval.filters import Filter
from retrieval.query import Searcher
from retrieval.search import moments
from retrieval.status import status
from storage import batches, schema, table
from storage.quarantine import load
from tasks.encode import Encoding, encode, lanes
from tasks.plan import Shard
from tasks.prepare import PreparedShard
from tasks.prepare_object import PrepareObject
from tasks.segments import Failure, Item, Ready

SCENE = 3.072  # seconds: a window of the miniature's sounds
PICTURES = [f"picture_{n}.png" for n in range(1, 7)]
SOUNDS = [f"sound_{n}.wav" for n in range(1, 7)]


def film(**how) -> Film:
    """Six scenes of the miniature's world, each with its own sound."""
    seen = [np.asarray(Image.open(SAMPLES / name).convert("RGB")) for name in PICTURES]
    heard = np.concatenate([soundfile.read(SAMPLES / name, dtype="float32")[0] for name in SOUNDS])
    return Film(
        "matroska",
        audio="pcm_s16le",
        seconds=6 * SCENE,
        rate=5,
        size=(256, 256),
        sampling_rate=16_000,
        samples=heard,
        paint=lambda time: seen[min(5, int((time + 1e-6) / SCENE))],
        **how,
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp("videos")
    small_bucket(home / "bucket")
    film().write(home / "bucket" / "world.mkv")
    shutil.copy(home / "bucket" / "world.mkv", home / "bucket" / "copy.mkv")
    Film(audio=None).write(home / "bucket" / "silent.mp4")
    Film(video=None, seconds=9.0).write(home / "bucket" / "heard.mp4")
    Film().write(home / "bucket" / "film.txt")
    (home / "bucket" / "cut.mp4").write_bytes(Film().bytes()[:-2000])
    account = embed(home / "bucket", home / "lance", frames={"every": 1.0})
    return home, account


def of(home, name: str) -> list[dict]:
    return [row for row in rows(home / "lance") if row["uri"].endswith(f"/{name}")]


def test_every_video_is_in_the_table_or_in_quarantine(home):
    home, account = home
    assert account.balanced and (account.quarantined, account.embedded) == (1, account.listed - 1)
    (broken,) = load(table.connect(str(home / "lance")), "media").to_dicts()
    assert (broken["uri"].rpartition("/")[2], broken["reason"]) == ("cut.mp4", "truncated")


@pytest.mark.parametrize(
    ("name", "medium", "modalities"),
    [
        ("world.mkv", "video", {"image": 19, "audio": 6}),
        ("silent.mp4", "video", {"image": 4}),
        ("heard.mp4", "audio", {"audio": 3}),
        ("film.txt", "video", {"image": 4, "audio": 2}),
    ],
)
def test_rows_of_a_video_are_numbered_over_both_modalities_and_tell_its_medium(home, name, medium, modalities):
    held = of(home[0], name)
    assert [row["segment"] for row in held] == list(range(len(held)))
    assert {row["medium"] for row in held} == {medium}
    assert Counter(row["modality"] for row in held) == modalities
    assert all(0 <= row["start"] <= row["end"] for row in held)


def test_a_copy_takes_over_all_rows_of_a_video(home):
    home, account = home
    one, two = ([{k: v for k, v in row.items() if k != "uri"} for row in of(home, name)] for name in ("world.mkv", "copy.mkv"))
    assert account.reused == 1 and len(one) == 25
    for name in ("segment", "medium", "modality", "start", "end", "vector"):
        assert [row[name] for row in one] == [row[name] for row in two]


def test_a_run_again_has_nothing_to_do_and_another_choice_of_frames_leaves_videos_as_they_are(home):
    home, account = home
    again = embed(home / "bucket", home / "lance", frames={"every": 5.0})
    assert (again.embedded, again.unchanged, again.encoded) == (0, account.embedded, 0)


def test_words_find_the_scene_that_shows_what_they_say(home):
    searcher = Searcher(str(home[0] / "lance"))
    for number, name in enumerate(PICTURES):
        (hit,) = searcher.search(captions()[name]["en"], keep=Filter(media=("video",), modality="image"), limit=1)
        assert hit.uri.endswith(".mkv") and number * SCENE - 1 < hit.start < (number + 1) * SCENE, captions()[name]["en"]


def test_words_find_the_window_in_which_it_is_heard(home):
    searcher = Searcher(str(home[0] / "lance"))
    found = [searcher.search(captions()[name]["en"], keep=Filter(media=("video",), modality="audio"), limit=1)[0].start for name in SOUNDS]
    np.testing.assert_allclose(found, SCENE * np.arange(6), atol=0.01)


def test_a_picture_finds_the_moment_at_which_it_is_shown(home):
    searcher = Searcher(str(home[0] / "lance"))
    for number, name in enumerate(PICTURES):
        best = moments.find(searcher, SAMPLES / name, keep=Filter(media=("video",), modality="image"), limit=2, near=0.95)
        for moment in best:
            assert abs(moment.start - number * SCENE) < 1 and abs(moment.end - (number + 1) * SCENE) <= 1.01
            assert moment.hits >= 3 and moment.score > 0.95


def test_a_video_finds_itself(home):
    found = Searcher(str(home[0] / "lance")).search(home[0] / "bucket" / "world.mkv", keep=Filter(media=("video",)), limit=20)
    assert {hit.uri.rpartition("/")[2] for hit in found} == {"world.mkv", "copy.mkv"}
    assert found[0].score > 0.99


def test_what_was_heard_when_this_was_seen_is_a_join_on_time(home):
    held = pl.DataFrame(of(home[0], "world.mkv")).select("uri", "modality", "segment", "start", "end")
    pairs = moments.together(held).filter(pl.col("shared") > 0.38)
    for scene, window in pairs.select("start", "start_heard").iter_rows():
        assert window == pytest.approx(min(5, int((scene + 0.5) / SCENE)) * SCENE, abs=0.01)
    assert pairs["segment"].n_unique() == 19


def test_the_command_answers_with_moments(home):
    query = [str(home[0] / "lance"), str(SAMPLES / PICTURES[2])]
    answer = CliRunner().invoke(app, ["search", *query, "--moments", "--medium", "video", "--limit", "1", "--json"])
    (moment,) = json.loads(answer.stdout)
    assert set(moment) == {"uri", "medium", "start", "end", "score", "hits", "best"} and moment["medium"] == "video"
    assert abs(moment["best"]["start"] - 2 * SCENE) < SCENE
    shown = CliRunner().invoke(app, ["search", *query, "--moments"])
    assert shown.exit_code == 0 and "0:0" in shown.stdout
    refused = CliRunner().invoke(app, ["search", *query, "--moments", "--medium", "image"])
    assert refused.exit_code == 2 and "no moments" in refused.stderr


def test_status_counts_objects_by_medium_and_rows_by_modality(home):
    told = status(str(home[0] / "lance"))
    assert told["media"]["video"] == {"objects": 4, "rows": 25 + 25 + 4 + 6}
    assert told["media"]["audio"]["objects"] == 7 and told["objects"] == sum(each["objects"] for each in told["media"].values())
    assert sum(each["rows"] for each in told["modalities"].values()) == told["rows"]


def test_a_changed_video_loses_all_its_old_rows(tmp_path):
    (tmp_path / "bucket").mkdir()
    Film(seconds=8.0).write(tmp_path / "bucket" / "a.mp4")
    embed(tmp_path / "bucket", tmp_path / "lance")
    before = rows(tmp_path / "lance")
    Film(audio=None).write(tmp_path / "bucket" / "a.mp4")
    account = embed(tmp_path / "bucket", tmp_path / "lance")
    after = rows(tmp_path / "lance")
    assert account.balanced and len(before) == 4 + 3
    assert [(row["segment"], row["modality"]) for row in after] == [(0, "image"), (1, "image")]


@pytest.mark.slow
def test_in_a_space_with_an_encoder_of_clips_a_video_has_clips_instead_of_frames(tmp_path):
    from tiny_several import pe_av

    weights = pe_av(tmp_path)
    (tmp_path / "space.toml").write_text(
        f"""name = "clips"
        [video]
        encoder = "pe-av-video"
        weights = "{weights}"
        frames = 3
        seconds = 1.5
        [audio]
        encoder = "pe-av-audio"
        weights = "{weights}"
        seconds = 2.0
        """
    )
    (tmp_path / "bucket").mkdir()
    Film(seconds=6.0).write(tmp_path / "bucket" / "film.mp4")
    account = embed(tmp_path / "bucket", tmp_path / "lance", space=str(tmp_path / "space.toml"))
    held = rows(tmp_path / "lance")
    assert account.balanced and Counter(row["modality"] for row in held) == {"video": 4, "audio": 3}
    assert [row["start"] for row in held if row["modality"] == "video"] == [0, 1.5, 3, 4.5]
    assert [row["start"] for row in held if row["modality"] == "audio"] == [0, 2, 4]


# One decoding, whatever reads of it


@pytest.fixture
def prepared(tmp_path, monkeypatch):
    """Prepares objects in this process with encoders by hand."""
    for cls in (Plain, Sound, Deaf, Clip):
        monkeypatch.setitem(registry.ENCODERS, f"plain-{cls.modality}", f"tiny_clips:{cls.__name__}")

    def prepare(files: dict[str, bytes], *classes: type[Plain], choice: FrameChoice | None = None) -> list[Ready | Failure]:
        space = Space("by hand", {cls.modality: cls.describe() for cls in classes})
        job = PrepareObject(space.to_json(), Limits(), tmp_path, "video-0000", choice or FrameChoice())
        job.open()
        outcomes = []
        for index, (name, data) in enumerate(files.items()):
            (tmp_path / name).write_bytes(data)
            outcomes.append(job(Item(index, name, tmp_path / name), lambda: None))
        job.close()
        return outcomes

    return prepare


def test_a_bucket_of_three_encoders_decodes_every_object_once(prepared, monkeypatch):
    decoded: Counter[str] = Counter()

    def counted(owner, name, what):
        original = getattr(owner, name)

        def count(*args, **kwargs):
            result = original(*args, **kwargs)
            decoded[what] += len(result) if what == "frames" else 1
            return result

        monkeypatch.setattr(owner, name, count)

    counted(videos._Pass, "_decode", "frames")
    counted(pictures, "decode", "pictures")
    counted(sounds, "windows", "sounds")
    data = Film("matroska", audio="pcm_s16le").bytes()
    with av.open(io.BytesIO(data)) as file:
        in_file = sum(1 for packet in file.demux() for _ in packet.decode())
    for classes in ((Plain, Sound, Clip), (Plain, Sound)):
        decoded.clear()
        outcomes = prepared({"a.mkv": data, "b.png": picture(1), "c.wav": sound(1)}, *classes)
        assert [outcome.medium for outcome in outcomes] == ["video", "image", "audio"]
        assert decoded == {"frames": in_file, "pictures": 1, "sounds": 1}
        assert {part.modality for part in outcomes[0].parts} == {"video" if Clip in classes else "image", "audio"}


def test_a_video_of_which_one_segment_fails_fails_whole(prepared, tmp_path):
    data = Film().bytes()
    ready = prepared({"a.mp4": data, "b.mp4": Film(audio=None).bytes()}, Plain, Sound)
    space = {"image": [Plain(Plain.describe())], "audio": [Deaf(Sound.describe())]}
    listing = pl.DataFrame({"uri": ["a.mp4", "b.mp4"], "size": [1, 1], "etag": ["x", "y"], "modified": [None, None]})
    shard = Shard("video-0000", "video", listing.with_columns(pl.col("modified").cast(pl.Datetime("us", "UTC"))))
    with lanes(space) as threads:
        encoding = Encoding(space, schema.rows(3), "s", "r", tmp_path, threads)
        staged = encode(shard, PreparedShard(ready, [], [], {0: "a" * 64, 1: "b" * 64}, 0.0), encoding)
    assert dict(staged.segments) == {1: 2} and [failure.index for failure in staged.failures] == [0]
    kept = batches.without(batches.read_stream(staged.path), ["a.mp4"]).read_all()
    assert kept.column("uri").to_pylist() == ["b.mp4"] * 2


def test_a_video_that_ends_in_an_error_leaves_no_segment(prepared):
    (failed,) = prepared({"a.mp4": Film("mpegts").bytes()[:188] + b"\x47" * 5000}, Plain, Sound)
    assert isinstance(failed, Failure) and failed.stage == "decode"


def test_a_space_that_only_hears_takes_the_sound_of_a_video_and_refuses_a_silent_one(prepared):
    heard, silent = prepared({"a.mp4": Film().bytes(), "b.mp4": Film(audio=None).bytes()}, Sound)
    assert heard.medium == "video" and [part.modality for part in heard.parts] == ["audio"]
    assert silent.reason == "no sound"
    (refused,) = prepared({"c.mp4": Film(video=None).bytes()}, Plain)
    assert refused.reason == "other content"


def test_settings_of_frames_come_from_file_and_flags_and_are_checked(tmp_path):
    config = tmp_path / "run.toml"
    config.write_text('source = "a"\ndatabase = "b"\n[frames]\nevery = 5\nmost = 7\n')
    assert settings_given.embed_settings(config).frames == settings.FrameSettings(every=5, most=7)
    assert settings_given.embed_settings(config, frames={"every": 1.0, "most": None}).frames == settings.FrameSettings(every=1, most=7)
    for wrong, told in (
        ({"rate": 1.0, "scene": 0.1}, "exclude each other"),
        ({"every": 0.0}, "frames.every"),
        ({"scene": 1.5}, "frames.scene"),
    ):
        with pytest.raises(settings.SettingsError, match=told):
            settings_given.embed_settings(config, frames=wrong)
    config.write_text("[frames]\nevry = 5\n")
    with pytest.raises(settings.SettingsError, match=r"frames.evry.*every, rate, scene, most"):
        settings_given.embed_settings(config)


def test_frames_are_chosen_as_the_settings_say(prepared):
    data = {"a.mp4": Film(audio=None).bytes()}
    for choice, count in ((FrameChoice(every=1.0), 4), (FrameChoice(every=0.5, most=3), 3), (FrameChoice(scene=0.3), 3)):
        (ready,) = prepared(data, Plain, choice=choice)
        assert ready.segments == count
