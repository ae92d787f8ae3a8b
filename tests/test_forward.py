"""One window through an encoder: every segment gets its own vector, whatever the batches, lanes and failures."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pytest

from encoders.errors import EncoderError
from encoders.spec import Spec
from tasks.forward import Forward, Tally
from tasks.prepared import Prepared


class Angle:
    """The vector of a number x is (cos x, sin x): checkable by hand. Counts its calls, and how many ran at once."""

    def __init__(self, bad=(), most=10**9):
        self.spec = Spec("angle", "text", 2, "numbers")
        self.bad = set(bad)
        self.most = most
        self.sizes = []
        self.running = self.at_once = 0
        self.lock = threading.Lock()

    def encode(self, inputs):
        with self.lock:
            self.running += 1
            self.at_once = max(self.at_once, self.running)
            self.sizes.append(len(inputs["x"]))
        time.sleep(0.002)
        self.running -= 1
        x = inputs["x"][:, 0]
        if len(x) > self.most or self.bad & set(x.tolist()):
            raise RuntimeError("CUDA out of memory" if len(x) > self.most else "no such token")
        return np.stack([np.cos(x), np.sin(x)], 1).astype(np.float32)


def window(n, lengths=None):
    """n segments of n objects: segment i holds the number i, repeated as often as `lengths` says."""
    lengths = lengths or [1] * n
    nothing = pa.nulls(n)
    inputs = {"x": [np.full(length, i, np.float64) for i, length in enumerate(lengths)]}
    return Prepared(np.arange(n), np.zeros(n, np.int32), nothing, nothing, nothing, inputs)


def forward(replicas, n, batch, tally=None, lengths=None):
    with ThreadPoolExecutor(len(replicas)) as pool:
        return Forward(replicas, window(n, lengths), batch, pool, tally or Tally()).result()


@pytest.mark.parametrize(("n", "batch"), [(1, 4), (7, 3), (64, 16), (65, 16)])
def test_each_segment_gets_its_own_vector(n, batch):
    vectors, good = forward([Angle()], n, batch)
    assert vectors == pytest.approx(np.stack([np.cos(np.arange(n)), np.sin(np.arange(n))], 1))
    assert good.tolist() == list(range(n))


def test_order_is_kept_though_batches_are_sorted_by_length():
    encoder = Angle()
    vectors, _ = forward([encoder], 6, 2, lengths=[5, 1, 4, 2, 6, 3])
    assert vectors[:, 0] == pytest.approx(np.cos(np.arange(6)))


def test_batches_are_of_one_size_and_as_many_for_each_replica():
    replicas = [Angle(), Angle()]
    forward(replicas, 50, 16)
    sizes = [size for replica in replicas for size in replica.sizes]
    assert len(sizes) == 4
    assert max(sizes) - min(sizes) <= 1


def test_a_device_runs_one_pass_at_a_time_and_all_devices_run():
    replicas = [Angle(), Angle(), Angle()]
    forward(replicas, 120, 4)
    assert [replica.at_once for replica in replicas] == [1, 1, 1]
    assert all(replica.sizes for replica in replicas)


def test_the_cores_of_a_cpu_share_one_encoder():
    encoder = Angle()
    forward([encoder] * 3, 120, 4)
    assert encoder.at_once > 1


def test_a_batch_too_large_for_memory_is_halved_until_it_fits():
    encoder, tally = Angle(most=3), Tally()
    vectors, good = forward([encoder], 16, 16, tally)
    assert vectors[:, 0] == pytest.approx(np.cos(np.arange(16)))
    assert (len(good), tally.failures) == (16, {})


def test_the_one_segment_that_cannot_be_encoded_is_found():
    tally = Tally()
    _, good = forward([Angle(bad={5})], 16, 16, tally)
    assert list(tally.failures) == [5]
    assert (tally.failures[5].stage, tally.failures[5].reason) == ("encode", "encoder error")
    assert good.tolist() == [i for i in range(16) if i != 5]


def test_all_segments_of_a_failed_object_are_left_out():
    held = window(6)
    tally = Tally()
    two = Prepared(np.array([0, 0, 1, 1, 2, 2]), held.numbers, held.start, held.end, held.text, held.inputs)
    with ThreadPoolExecutor(1) as pool:
        _, good = Forward([Angle(bad={3})], two, 2, pool, tally).result()
    assert good.tolist() == [0, 1, 4, 5]


class Deaf(Angle):
    """Gives the same vector whatever it is given."""

    def encode(self, inputs):
        return np.repeat(np.array([[1, 0]], np.float32), len(inputs["x"]), axis=0)


def test_an_encoder_that_ignores_its_input_is_refused_from_eight_segments_on():
    vectors, good = forward([Deaf()], 7, 4)
    assert (vectors[:, 0] == 1).all() and len(good) == 7
    with pytest.raises(EncoderError, match="the same vector for 8 different segments; nothing of it was written"):
        forward([Deaf()], 8, 4)


def test_segments_that_are_alike_may_share_one_vector():
    held = window(100)
    silence = {"x": [np.zeros(1)] * 100}
    with ThreadPoolExecutor(1) as pool:
        _, good = Forward(
            [Deaf()], Prepared(held.objects, held.numbers, held.start, held.end, held.text, silence), 16, pool, Tally()
        ).result()
    assert len(good) == 100


def test_vectors_of_another_shape_are_the_encoders_fault():
    class Wide(Angle):
        def encode(self, inputs):
            return np.ones((len(inputs["x"]), 3), np.float32)

    with pytest.raises(EncoderError, match=r"shape .*3"):
        forward([Wide()], 4, 4)
