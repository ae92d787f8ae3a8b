"""A video is read once, by one clock: what its frames show and its sound track plays at known instants is found there."""

from __future__ import annotations

import io
import os
import random
import subprocess
import sys
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import numpy as np
import pytest
from films import BRIGHT, DARK, Film
from nasty_media import cover, encoded, noise, smooth, sweep, wave

from encoders.errors import EmptyError, LimitError, MediumError, UnreadableError
from encoders.media import containers, frames, hdr, videos
from encoders.media.frames import FrameChoice
from encoders.media.kinds import Limits
from encoders.spec import Modality, Spec

RATE, WINDOW = 16_000, 8_000
SOUND = Spec("sounds", "audio", 8, "samples", preprocessing={"sampling_rate": RATE, "window_samples": WINDOW})
PICTURE = Spec("pictures", "image", 8, "pixels")
BOTH: dict[Modality, Spec] = {"image": PICTURE, "audio": SOUND}
ALL = FrameChoice(every=1e-3)


def clip_spec(frames: int = 4, seconds: float = 2.0, edge: int = 0) -> Spec:
    how = {"clip_frames": frames, "clip_seconds": seconds, "clip_edge": edge}
    return Spec("clips", "video", 8, "pixels", preprocessing=how)


def parts(source, modality: Modality | None = None, choice: FrameChoice = ALL, specs=None, limits: Limits | None = None):
    found = list(videos.parts(source, specs or BOTH, choice, limits))
    return [part for part in found if modality is None or part.modality == modality]


def flash(found) -> float:
    return next(part.start for part in found if part.modality == "image" and part.medium.mean() > (DARK + BRIGHT) / 2)


def beep(found) -> float:
    for part in found:
        if part.modality == "audio" and len(loud := np.flatnonzero(np.abs(part.medium) > 0.1)):
            return part.start + loud[0] / RATE
    raise AssertionError("no beep")


OPUS = {"audio": "libopus", "sampling_rate": 48_000}
KINDS = {
    "mp4": Film(),
    "mp4 in pieces": Film(mux_options=(("movflags", "frag_keyframe+empty_moov"),), codec_options=(("bf", "0"),)),
    "mov": Film("mov"),
    "mkv": Film("matroska"),
    "mkv, opus": Film("matroska", **OPUS),
    "webm, vp9": Film("webm", "libvpx-vp9", **OPUS),
    "webm, av1": Film("webm", "libsvtav1", seconds=3.0, **OPUS),
    "hevc": Film("mp4", "libx265"),
    "ts": Film("mpegts"),
    "ts that began hours ago": Film("mpegts", begin=12_345.0),
    "mpg": Film("mpeg", "mpeg2video", "mp2"),
    "avi": Film("avi", "mpeg4", "mp2"),
    "flv": Film("flv"),
    "wmv": Film("asf", "wmv2", "mp2"),
    "no b-frames": Film(codec_options=(("bf", "0"),)),
    "many b-frames": Film(codec_options=(("bf", "8"), ("b_strategy", "0"))),
    "every frame a key": Film(codec_options=(("g", "1"),)),
    "both begin later": Film(begin=5.0),
    "sound begins later": Film(sound_from=1.0),
    "picture begins later": Film(picture_from=1.0),
    "sound begins later, mkv": Film("matroska", sound_from=1.0),
    "picture begins later, ts": Film("mpegts", picture_from=1.0),
    "ntsc": Film(rate=30, times=[k * 1001 / 30_000 for k in range(120)], flash=60 * 1001 / 30_000, beep=60 * 1001 / 30_000),
    "beep before flash": Film("matroska", beep=0.5, flash=3.0),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_flash_and_a_beep_are_found_when_they_happen_and_as_far_apart_as_they_are(kind):
    film = KINDS[kind]
    found = parts(film.bytes())
    # Containers that do not tell of a sound codec's lead-in begin with it: 24 ms or so that both tracks are later.
    assert flash(found) == pytest.approx(film.flash, abs=0.03)
    assert beep(found) == pytest.approx(film.beep, abs=0.03)
    assert beep(found) - flash(found) == pytest.approx(film.beep - film.flash, abs=0.012)


@pytest.mark.skipif(not hasattr(os, "sched_getscheduler"), reason="this system tells no thread's priority")
def test_no_encoder_leaves_real_time_priority_to_the_tests_after_it():
    KINDS["webm, av1"].bytes()
    assert os.sched_getscheduler(0) not in {os.SCHED_FIFO, os.SCHED_RR}


@pytest.mark.parametrize("container", ["mp4", "matroska", "mpegts"])
def test_a_variable_frame_rate_keeps_every_frame_at_its_own_time(container):
    times = [0.0, 0.1, 0.15, 0.4, 1.2, 1.9, 2.0, 2.1, 3.0, 3.5]
    found = parts(Film(container, times=times, rate=10).bytes())
    seen = [part.start for part in found if part.modality == "image"]
    np.testing.assert_allclose(np.subtract(seen, seen[0]), times, atol=0.0011)
    assert beep(found) - flash(found) == pytest.approx(0, abs=0.012)


def test_what_an_edit_list_cuts_off_is_not_there():
    data = Film(begin=-1.0, codec_options=(("g", "5"), ("bf", "0")), mux_options=(("avoid_negative_ts", "disabled"),)).bytes()
    found = parts(data)
    assert flash(found) == pytest.approx(1.0, abs=0.03) and beep(found) == pytest.approx(1.0, abs=0.03)
    seen = [part for part in found if part.modality == "image"]
    assert seen[0].start == pytest.approx(0, abs=0.05) and seen[-1].end == pytest.approx(3.0, abs=0.05)


@pytest.mark.parametrize("kind", ["mp4", "mkv, opus", "ts", "mpg", "picture begins later", "no b-frames"])
def test_times_are_those_of_a_plain_reading_of_the_stamps(kind):
    data = KINDS[kind].bytes()
    with av.open(io.BytesIO(data)) as file:
        zero = max(0, file.start_time) / 1e6
        stamps = sorted(float(frame.pts * frame.time_base) - zero for frame in file.decode(video=0))
    np.testing.assert_allclose([part.start for part in parts(data, "image")], stamps, atol=1e-9)


def test_windows_lie_back_to_back_and_the_last_one_ends_with_the_sound():
    for sound_from in (0.0, 1.0):
        heard = parts(Film("matroska", sound_from=sound_from, seconds=4.3).bytes(), "audio")
        starts = [part.start for part in heard]
        np.testing.assert_allclose(np.diff(starts[:-1]), 0.5, atol=1e-9)
        assert starts[0] == pytest.approx(sound_from, abs=0.03)
        assert heard[-1].end == pytest.approx(4.3, abs=0.03) and heard[-1].end - heard[-1].start == pytest.approx(0.5)
        assert all(part.medium.shape == (WINDOW,) and part.medium.dtype == np.float32 for part in heard)


def test_the_sound_of_an_mp4_ends_where_it_was_said_to_and_not_with_its_codec_s_last_frame():
    for seconds in (2.5, 4.0):
        assert parts(Film(seconds=seconds).bytes(), "audio")[-1].end == pytest.approx(seconds, abs=1e-3)


def test_the_sound_is_what_a_sound_file_of_it_gives():
    film = Film("matroska", audio="pcm_s16le", sampling_rate=44_100)
    with av.open(io.BytesIO(film.bytes())) as file:
        samples = np.concatenate([frame.to_ndarray().ravel() for frame in file.decode(audio=0)])
    from encoders.media.sounds import windows

    expected = list(windows(wave(samples, 44_100), RATE, WINDOW))
    found = parts(film.bytes(), "audio")
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one.medium, other.samples, atol=1e-4)
        assert (one.start, one.end) == (pytest.approx(other.start, abs=2e-3), pytest.approx(other.end, abs=2e-3))


def test_a_short_gap_in_the_sound_is_silence_and_a_long_one_separates_two_sounds():
    from encoders.media.sound_track import SoundTrack

    tone = np.ones(RATE, np.float32)
    track = SoundTrack(RATE, WINDOW)
    found = [*track.push(0.0, RATE, tone), *track.push(1.25, RATE, tone), *track.push(10.0, RATE, tone), *track.finish()]
    starts = [round(window.start, 3) for window in found]
    assert starts == [0.0, 0.5, 1.0, 1.5, 1.75, 10.0, 10.5]
    assert found[2].samples[: WINDOW // 2].sum() == 0 and found[2].samples[WINDOW // 2 :].min() == 1


def test_drift_between_clock_and_samples_never_exceeds_a_twentieth_of_a_second():
    from encoders.media.sound_track import SoundTrack

    for speed in (0.99, 1.01):
        track, time = SoundTrack(RATE, WINDOW), 0.0
        for _ in range(600):
            for window in track.push(time, RATE, np.zeros(1600, np.float32)):
                assert abs(window.end - time) < 0.7
            assert abs(track.end - time - 0.1) < 0.06
            time += 0.1 * speed


# Which frames


@cache
def steady() -> bytes:
    """Twenty seconds, five frames a second."""
    return Film(seconds=20.0, rate=5, audio=None).bytes()


def starts(data: bytes, **choice) -> list[float]:
    return [round(part.start, 3) for part in parts(data, "image", FrameChoice(**choice))]


def test_frames_by_time_are_what_is_on_display_at_equal_intervals():
    assert starts(steady(), every=4.0) == [0, 4, 8, 12, 16]
    assert starts(steady(), every=0.7)[:6] == [0, 0.6, 1.4, 2.0, 2.8, 3.4]
    assert len(starts(steady(), every=0.01)) == 100, "no frame twice"


def test_a_frame_stands_until_the_next_one_that_is_taken():
    found = parts(steady(), "image", FrameChoice(every=4.0))
    assert [round(part.end, 3) for part in found] == [4, 8, 12, 16, 20]


def test_a_slow_slide_show_shows_each_slide_once_and_loses_none_that_was_up_at_an_instant():
    times = [0.0, 1.9, 30.0, 31.0, 33.5]
    found = parts(Film("matroska", times=times, rate=10, audio=None).bytes(), "image", FrameChoice(every=2.0))
    assert [round(part.start, 3) for part in found] == [0, 1.9, 30, 31.0, 33.5][: len(found)]
    naive = sorted({max(t for t in times if t <= instant) for instant in np.arange(0, 33.6, 2.0)})
    assert [round(part.start, 3) for part in found] == naive


def test_the_cap_spreads_frames_over_the_whole_length():
    assert starts(steady(), every=0.1, most=5) == [0, 4, 8, 12, 16]
    assert starts(steady(), every=0.1, most=1) == [0]


def test_without_a_known_length_the_cap_takes_the_first():
    live = Film("matroska", seconds=20.0, rate=5, audio=None, mux_options=(("live", "1"),)).bytes()
    assert starts(live, every=2.0, most=4) == [0, 2, 4, 6]


def scenes(time: float) -> np.ndarray:
    return np.roll(smooth(48, 64), int(time // 3) * 24, axis=0) // (1 + int(time // 3) % 2)


def test_frames_by_scene_are_the_first_of_each():
    film = Film("matroska", seconds=12.0, rate=10, audio=None, paint=scenes)
    assert starts(film.bytes(), scene=0.1) == [0, 3, 6, 9]
    assert [round(part.end, 1) for part in parts(film.bytes(), "image", FrameChoice(scene=0.1))] == [3, 6, 9, 12]
    assert starts(film.bytes(), scene=0.1, most=2) == [0, 6], "at least half the length apart"
    assert starts(film.bytes(), scene=0.9) == [0]


# Pixels


def quarters(height: int = 48, width: int = 64) -> np.ndarray:
    picture = np.full((height, width, 3), 40, np.uint8)
    picture[: height // 2, : width // 2] = (220, 40, 40)
    picture[: height // 2, width // 2 :] = (40, 200, 40)
    picture[height // 2 :, : width // 2] = (60, 60, 220)
    return picture


def first_frame(film: Film) -> np.ndarray:
    return parts(film.bytes(), "image", FrameChoice(most=1), {"image": PICTURE})[0].medium


def still(picture: np.ndarray, container: str = "matroska", **how) -> Film:
    height, width = picture.shape[:2]
    return Film(container, seconds=0.4, audio=None, size=(width, height), paint=lambda _: picture, codec_options=(("crf", "5"),), **how)


@pytest.mark.parametrize("flipped", [False, True])
@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_a_display_matrix_turns_the_picture_upright(turn, flipped):
    # FFmpeg's own: a turn against the clock, of the picture that was mirrored first.
    original = quarters()
    expected = np.rot90(original[:, ::-1] if flipped else original, turn // 90)
    found = first_frame(still(original, "mp4", rotation=-turn if flipped else turn, flipped=flipped))
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected).mean() < 6


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "size"),
    [
        ("libx264", "yuv420p", (64, 48)),
        ("libx264", "yuv444p", (33, 17)),
        ("libx264", "yuv422p10le", (64, 48)),
        ("libx265", "yuv420p10le", (64, 48)),
        ("libx264", "yuvj420p", (64, 48)),
        ("libx264rgb", "rgb24", (65, 47)),
        ("prores_ks", "yuv422p10le", (64, 48)),
        ("ffv1", "gray", (50, 40)),
        ("ffv1", "yuv420p", (35, 21)),
    ],
)
def test_colours_survive_every_format_of_pixels(codec, pix_fmt, size):
    original = quarters(size[1], size[0])
    options = (("crf", "5"),) if "x26" in codec else ()
    film = Film("matroska", codec, None, seconds=0.4, size=size, pix_fmt=pix_fmt, paint=lambda _: original, codec_options=options)
    found = first_frame(film)
    expected = original if pix_fmt != "gray" else np.repeat((original @ [0.299, 0.587, 0.114])[..., None], 3, axis=2)
    assert found.shape == original.shape and found.dtype == np.uint8
    assert np.median(np.abs(found.astype(int) - expected)) <= 6


@pytest.mark.parametrize(("size", "matrix"), [((1280, 720), 1), ((640, 480), 5)])
def test_an_untold_matrix_is_that_of_high_definition_or_of_television_by_size(size, matrix):
    original = quarters(size[1], size[0])
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska") as file:
        track = file.add_stream("libx264", rate=5, options={"crf": "5"})
        track.width, track.height, track.pix_fmt = *size, "yuv420p"
        frame = av.VideoFrame.from_ndarray(original, "rgb24").reformat(format="yuv420p", dst_colorspace=matrix)
        frame.colorspace = 2
        file.mux(track.encode(frame))
        file.mux(track.encode(None))
    (part,) = parts(buffer.getvalue(), "image")
    assert np.abs(part.medium.astype(int) - original).mean() < 4


def tagged(original: np.ndarray, pix_fmt: str, matrix: int, transfer: int, primaries: int, full: bool) -> bytes:
    """A video without loss whose frames say how they are coded."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska") as file:
        track = file.add_stream("ffv1", rate=5)
        track.height, track.width, track.pix_fmt = *original.shape[:2], pix_fmt
        context, color_range = track.codec_context, 2 if full else 1
        context.colorspace, context.color_trc, context.color_primaries, context.color_range = matrix, transfer, primaries, color_range
        frame = av.VideoFrame.from_ndarray(original, "rgb24")
        frame = frame.reformat(format=pix_fmt, dst_colorspace=matrix, dst_color_range=color_range)
        frame.colorspace, frame.color_trc, frame.color_primaries, frame.color_range = matrix, transfer, primaries, color_range
        file.mux(track.encode(frame))
        file.mux(track.encode(None))
    return buffer.getvalue()


@pytest.mark.parametrize(("matrix", "full"), [(1, False), (1, True), (5, False), (5, True), (9, False)])
def test_a_matrix_and_a_range_that_are_told_are_taken(matrix, full):
    original = quarters()
    (part,) = parts(tagged(original, "yuv420p", matrix, 1, 1, full), "image")
    assert np.median(np.abs(part.medium.astype(int) - original)) <= 3


@pytest.mark.parametrize("transfer", [hdr.PQ, hdr.HLG])
def test_the_light_of_hdr_is_that_of_a_usual_screen_as_swscale_maps_it(transfer):
    ramp = np.ascontiguousarray(np.broadcast_to(np.linspace(0, 255, 256).astype(np.uint8)[None, :, None], (16, 256, 3)))
    (part,) = parts(tagged(ramp, "yuv420p10le", 9, transfer, 9, full=False), "image")
    with av.open(io.BytesIO(tagged(ramp, "yuv420p10le", 9, transfer, 9, full=False))) as file:
        frame = next(file.decode(video=0))
    # FFmpeg's own mapping takes seconds a frame.
    expected = frame.reformat(format="rgb24", dst_color_trc=1, dst_color_primaries=1).to_ndarray()
    assert np.abs(part.medium[8].astype(int) - expected[8]).max() <= 12
    assert part.medium[8, 160].min() > 240 or transfer == hdr.HLG, "white of PQ lies at 58 of 100"


def test_pixels_that_are_not_square_are_made_so():
    assert first_frame(still(quarters(), aspect=Fraction(2, 1))).shape == (48, 128, 3)
    assert first_frame(still(quarters(), aspect=Fraction(1, 2))).shape == (96, 64, 3)
    assert first_frame(still(quarters(), aspect=Fraction(1, 50))).shape == (48, 64, 3), "a mistake, not a format"


def test_of_an_interlaced_frame_one_field_is_seen():
    comb = np.zeros((48, 64, 3), np.uint8)
    comb[::2] = 200
    film = Film(
        "mpegts",
        "mpeg2video",
        None,
        seconds=0.4,
        paint=lambda _: comb,
        codec_options=(("flags", "+ildct+ilme"), ("qscale", "1"), ("b", "5M")),
    )
    with av.open(io.BytesIO(film.bytes())) as file:
        assert next(file.decode(video=0)).interlaced_frame
    found = first_frame(film)
    assert found.min() > 150


def test_one_field_is_the_even_lines_and_their_means():
    for height in (1, 2, 7, 8):
        picture = noise(height, 5)
        found = frames.one_field(picture)
        np.testing.assert_array_equal(found[::2], picture[::2])
        for line in range(1, height, 2):
            below = picture[min(line + 1, height - 1 - (height - 1) % 2)]
            np.testing.assert_array_equal(found[line], (picture[line - 1].astype(int) + below + 1) // 2)


# Clips


def numbered(time: float) -> np.ndarray:
    return np.full((48, 64, 3), 20 + 10 * int(2 * time + 1e-6), np.uint8)


def clips(film: Film, spec: Spec):
    return parts(film.bytes(), "video", specs={"video": spec})


def test_clips_lie_back_to_back_and_show_the_middle_of_equal_parts():
    film = Film("matroska", seconds=9.0, rate=10, audio=None, paint=numbered, codec_options=(("crf", "1"),))
    found = clips(film, clip_spec(frames=4, seconds=4.0))
    assert [(round(part.start, 6), round(part.end, 6)) for part in found] == [(0, 4), (4, 8), (5, 9)]
    for part in found:
        assert part.medium.shape == (4, 48, 64, 3) and part.medium.dtype == np.uint8
        levels = part.medium.mean(axis=(1, 2, 3))
        np.testing.assert_allclose(levels, [20 + 10 * (2 * (round(part.start) + k) + 1) for k in range(4)], atol=3)


def test_a_clip_of_a_short_video_ends_with_a_still():
    film = Film("matroska", seconds=2.0, rate=10, audio=None, paint=numbered, codec_options=(("crf", "1"),))
    (part,) = clips(film, clip_spec(frames=4, seconds=4.0))
    assert (part.start, part.end) == (0, pytest.approx(2.0))
    np.testing.assert_allclose(part.medium.mean(axis=(1, 2, 3)), [30, 50, 50, 50], atol=3)
    (part,) = clips(Film(times=[0.0], audio=None), clip_spec())
    assert part.medium.shape == (4, 48, 64, 3)


def test_frames_of_clips_are_scaled_on_the_way_to_the_edge_that_the_spec_names():
    film = Film("matroska", seconds=2.0, size=(128, 96), audio=None)
    assert clips(film, clip_spec(edge=24))[0].medium.shape == (4, 24, 32, 3)


def test_an_encoder_of_clips_takes_the_place_of_one_of_frames():
    found = parts(Film().bytes(), specs={**BOTH, "video": clip_spec()})
    assert {part.modality for part in found} == {"video", "audio"}


# Odd and broken ones


def test_a_video_without_sound_has_frames_and_one_without_a_picture_is_a_sound():
    silent, heard = Film(audio=None).bytes(), Film(video=None).bytes()
    assert {part.modality for part in parts(silent)} == {"image"}
    assert containers.medium_of("a.mp4", silent) == "video" and containers.medium_of("a.mp4", heard) == "audio"
    with pytest.raises(UnreadableError, match="no sound"):
        parts(silent, specs={"audio": SOUND})
    assert {part.modality for part in parts(Film().bytes(), specs={"audio": SOUND})} == {"audio"}


@pytest.mark.parametrize("name", ["film.mp3", "film.mp4", "film.m4a", "film.png"])
def test_a_cover_makes_no_video_and_a_name_does_not_either(name):
    song = cover() + wave(sweep(1.0), kind="MP3")
    assert containers.medium_of(name, song) == "audio"
    assert containers.medium_of(name, with_cover()) == "audio"
    assert containers.medium_of(name, Film().bytes()) == "video"


def with_cover() -> bytes:
    """An MP4 whose second track is a picture on its sleeve."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as file:
        sound = file.add_stream("aac", rate=44_100, layout="mono")
        picture = file.add_stream("png", rate=1)
        picture.width, picture.height, picture.pix_fmt = 8, 8, "rgb24"
        picture.disposition = av.stream.Disposition.attached_pic
        frame = av.AudioFrame.from_ndarray(sweep(1.0, 44_100)[None], format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 44_100, 0
        packet = av.Packet(encoded(noise(8, 8), "PNG"))
        packet.stream, packet.pts, packet.dts, packet.time_base = picture, 0, 0, Fraction(1, 1)
        file.start_encoding()
        file.mux(packet)
        for each in (frame, None):
            file.mux(sound.encode(each))
    return buffer.getvalue()


def test_one_frame_is_one_segment():
    (part,) = parts(Film(times=[0.0], audio=None).bytes())
    assert part.start == 0 and 0 <= part.end <= 0.1


@pytest.mark.parametrize("share", [0.1, 0.4, 0.7, 0.97])
@pytest.mark.parametrize("kind", ["mp4", "mp4 in pieces", "mov", "mkv", "webm, vp9", "avi"])
def test_a_container_that_was_cut_short_is_never_taken_for_whole(kind, share):
    data = KINDS[kind].bytes()
    with pytest.raises(UnreadableError) as failure:
        parts(data[: int(share * len(data))])
    assert failure.value.reason == "truncated"


def test_of_a_transport_stream_what_is_there_is_taken():
    data = Film("mpegts").bytes()
    found = parts(data[: len(data) // 2 // 188 * 188])
    assert 0 < found[-1].end < 4


@pytest.mark.parametrize("kind", ["mp4", "mkv", "webm, vp9", "ts", "mpg", "avi", "flv", "wmv"])
def test_any_damage_gives_parts_or_a_medium_error(kind):
    data = KINDS[kind].bytes()
    rng = np.random.default_rng(0)
    for _ in range(12):
        damaged = np.frombuffer(data, np.uint8).copy()
        damaged[rng.integers(0, len(data), 20)] = rng.integers(0, 256, 20)
        try:
            found = parts(damaged.tobytes(), choice=FrameChoice(every=0.5), limits=Limits(video_seconds=60, frame_pixels=1_000_000))
            assert all(np.isfinite(part.start) and 0 <= part.start <= part.end for part in found)
        except MediumError:
            pass


def test_limits_hold_before_anything_is_decoded_and_while_it_is():
    with pytest.raises(LimitError, match=r"too long.*4 s.*3 s"):
        next(videos.parts(Film().bytes(), BOTH, limits=Limits(video_seconds=3)))
    live = Film("matroska", mux_options=(("live", "1"),)).bytes()
    with pytest.raises(LimitError, match="too long"):
        parts(live, limits=Limits(video_seconds=3))
    with pytest.raises(LimitError, match=r"too many pixels.*128 x 96"):
        next(videos.parts(Film(size=(128, 96)).bytes(), BOTH, limits=Limits(frame_pixels=10_000)))
    with pytest.raises(LimitError, match="too many bytes"):
        next(videos.parts(Film().bytes(), BOTH, limits=Limits(bytes=1000)))


def test_playlists_are_not_followed(tmp_path):
    Film().write(tmp_path / "secret.mp4")
    for text in (f"#EXTM3U\n#EXTINF:1,\n{tmp_path}/secret.mp4\n#EXT-X-ENDLIST\n", f"ffconcat version 1.0\nfile {tmp_path}/secret.mp4\n"):
        with pytest.raises(UnreadableError, match="corrupt"):
            parts(text.encode())


def test_nothing_to_see_or_hear_is_empty():
    with pytest.raises(EmptyError):
        containers.medium_of("a.mp4", b"\0\0\0\x14ftypisom\0\0\2\0isom\0\0\0\x08moov")


@pytest.mark.parametrize(("kind", "how"), [("mpegts", {}), ("mpeg", {"video": "mpeg2video", "audio": "mp2"})])
def test_a_clock_that_goes_back_is_refused(kind, how):
    one, two = Film(kind, begin=100.0, **how).bytes(), Film(kind, begin=10.0, **how).bytes()
    with pytest.raises(MediumError, match=r"corrupt.*clock goes back|too long"):  # FFmpeg takes it for a clock of 33 bits that ran over
        parts(one + two)


def test_two_readings_give_the_same_parts():
    data = Film("matroska").bytes()
    for one, two in zip(parts(data), parts(data), strict=True):
        assert (one.modality, one.start, one.end) == (two.modality, two.start, two.end)
        np.testing.assert_array_equal(one.medium, two.medium)


def test_progress_is_told_however_rarely_a_frame_is_taken():
    told = []
    found = list(videos.parts(steady(), {"image": PICTURE}, FrameChoice(scene=0.9), alive=lambda: told.append(1)))
    assert len(found) == 1 and len(told) >= 100


@pytest.mark.slow
def test_twenty_minutes_take_the_memory_of_one(tmp_path):
    program = """
import resource, sys
from pathlib import Path
from encoders.media import videos
from encoders.media.frames import FrameChoice
from encoders.spec import Spec
sound = Spec("s", "audio", 8, "samples", preprocessing={"sampling_rate": 16000, "window_samples": 160000})
specs = {"image": Spec("p", "image", 8, "pixels"), "audio": sound}
if sys.argv[2] == "clips":
    how = {"clip_frames": 16, "clip_seconds": 8.0, "clip_edge": 64}
    specs["video"] = Spec("c", "video", 8, "pixels", preprocessing=how)
count = sum(1 for _ in videos.parts(Path(sys.argv[1]), specs, FrameChoice(every=1.0)))
print(count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
    minute = Film("matroska", seconds=60.0, rate=5, size=(320, 240), sampling_rate=16_000, codec_options=(("bf", "0"),))
    paths = {1: tmp_path / "1.mkv", 20: tmp_path / "20.mkv"}
    minute.write(paths[1])
    _repeat(paths[1], paths[20], 20, 60.5)
    for how in ("frames", "clips"):
        peaks = {}
        for minutes, path in paths.items():
            # A shell in between, for a child's peak begins with that of the process that started it.
            command = ["sh", "-c", '"$0" -c "$1" "$2" "$3"', sys.executable, program, str(path), how]
            count, peak = map(int, subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
            assert count >= minutes * (60 + 6 if how == "frames" else 7 + 6)
            peaks[minutes] = peak / 1024
        assert peaks[20] - peaks[1] < 30, f"{how}: {peaks[1]:.0f} MB for a minute, {peaks[20]:.0f} MB for twenty"


def _repeat(source: Path, target: Path, times: int, seconds: float) -> None:
    """The packets of a video again and again, without encoding them anew."""
    with av.open(str(source)) as one, av.open(str(target), "w", format="matroska") as whole:
        tracks = {track.index: whole.add_stream_from_template(track) for track in one.streams}
        packets = [packet for packet in one.demux() if packet.dts is not None]
        for k in range(times):
            for packet in packets:
                again = av.Packet(bytes(packet))
                shift = round(k * seconds / packet.time_base)
                again.pts, again.dts, again.time_base = packet.pts + shift, packet.dts + shift, packet.time_base
                again.is_keyframe, again.duration = packet.is_keyframe, packet.duration
                again.stream = tracks[packet.stream_index]
                whole.mux(again)


def test_random_choices_agree_with_a_naive_one():
    rng = random.Random(2)
    for _ in range(10):
        times = sorted({round(rng.uniform(0, 8), 2) for _ in range(rng.randint(1, 30))})
        every = rng.uniform(0.05, 3)
        data = Film("matroska", times=times, rate=50, audio=None, size=(16, 16)).bytes()
        found = parts(data, "image", FrameChoice(every=every))
        stamps = [part.start for part in parts(data, "image")]
        instants = np.arange(stamps[0], found[-1].end, every)
        assert [part.start for part in found] == sorted({max(t for t in stamps if t <= instant) for instant in instants})
