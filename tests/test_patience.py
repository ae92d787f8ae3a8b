"""A server is asked again when it says, else after a growing time with jitter, and never for ever."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from encoders.errors import EncoderError
from encoders.remote import patience
from encoders.remote.patience import PassingError, Patience, Pause, retry_after


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "-3"}, 0),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:30 GMT", "date": "Wed, 21 Oct 2015 07:28:00 GMT"}, 30),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:30 GMT", "date": "Wed, 21 Oct 2015 07:29:00 GMT"}, 0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:30 GMT"}, 0),
    ],
)
def test_retry_after_is_read_in_seconds_and_as_a_date_by_the_servers_own_clock(headers: dict[str, str], seconds: float | None):
    assert retry_after(headers) == (None if seconds is None else pytest.approx(seconds))


def test_a_date_without_the_servers_clock_is_read_by_this_machines():
    assert retry_after({"retry-after": format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)}) == pytest.approx(90, abs=2)


def test_waits_double_up_to_a_minute_and_at_most_half_is_taken_off():
    held = Patience(1e9)
    waits = [held.next_wait(PassingError("busy")) for _ in range(12)]
    for number, wait in enumerate(waits):
        assert min(60, 0.5 * 2**number) / 2 <= wait <= min(60, 0.5 * 2**number)
    assert len({Patience(9).next_wait(PassingError("busy")) for _ in range(9)}) > 1


def test_what_the_server_asks_for_is_never_cut_short():
    for asked in (0.0, 0.2, 45.0, 300.0):
        assert asked <= Patience(1e9).next_wait(PassingError("busy", asked)) <= asked + 0.1


def test_patience_ends_with_what_happened_and_what_to_do():
    with pytest.raises(
        EncoderError, match=r"busy, 1 time within 0 s of waiting; the server asks to wait 3,600 s; at most 600 s .*run again"
    ):
        Patience(600).next_wait(PassingError("busy", 3600))
    held = Patience(3)
    with pytest.raises(EncoderError, match=r"busy, [234] times within"):
        for _ in range(9):
            held.waited += held.next_wait(PassingError("busy"))


def test_a_rate_limit_of_one_lane_holds_all_lanes_back():
    pause = Pause()
    pause.hold(0.15)
    assert pause.wait(0, pause.ended) == pytest.approx(0.15, abs=0.1)
    assert pause.wait(0, pause.ended) < 0.05


def test_a_final_error_wakes_whoever_waits_and_does_not_harm_who_comes_later():
    pause = Pause()
    told: list[BaseException] = []

    def waiting() -> None:
        try:
            pause.wait(60, 0)
        except EncoderError as problem:
            told.append(problem)

    lanes = [threading.Thread(target=waiting) for _ in range(3)]
    for lane in lanes:
        lane.start()
    time.sleep(0.05)
    began = time.monotonic()
    pause.end(EncoderError("the quota is gone"))
    for lane in lanes:
        lane.join(5)
    assert time.monotonic() - began < 2
    assert [str(problem) for problem in told] == ["the quota is gone"] * 3
    pause.wait(0, pause.ended)


def test_the_first_wait_is_half_a_second():
    assert (patience.FIRST_WAIT, patience.LONGEST_WAIT) == (0.5, 60.0)
