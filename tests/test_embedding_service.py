"""One model on a real HTTP server: each failure is waited out, blamed on its text, or final."""

from __future__ import annotations

import base64
import gc
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import openai
import pytest
from embedding_server import BAD, DROPPED, LOST, Answer, EmbeddingServer, embedding_server, failure, in_seconds, limited, vector_of

from encoders.errors import EncoderError
from encoders.remote import patience
from encoders.remote.embedding_answer import AnswerError, GarbledError, read_answer
from encoders.remote.embedding_service import EmbeddingService, RefusedError

TEXTS = ["a dog", "一只狗", "", " x\n", "👩‍👩‍👧‍👦"]


@pytest.fixture
def server() -> Iterator[EmbeddingServer]:
    with embedding_server() as running:
        yield running


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "FIRST_WAIT", 0.01)


def service(server: EmbeddingServer, model: str = EmbeddingServer.model, dimension: int = 12, **options: Any) -> EmbeddingService:
    return EmbeddingService(server.url, model, dimension, **{"timeout": 5.0, "patience": 20.0, **options})


def expected(texts: list[str], dimension: int = 12) -> np.ndarray:
    return np.stack([vector_of(text, dimension) for text in texts])


def answered(server: EmbeddingServer, **options: Any) -> EmbeddingService:
    """A service that has had an answer, and a server that has forgotten it."""
    asking = service(server, **options)
    asking.embed(["first contact"])
    server.requests.clear()
    server.times.clear()
    return asking


@pytest.mark.parametrize("only_floats", [False, True])
def test_vectors_are_those_of_the_server_in_the_order_of_the_texts(server: EmbeddingServer, only_floats: bool):
    server.only_floats = only_floats
    texts = [text for text in TEXTS if text]
    asking = service(server)
    np.testing.assert_array_equal(asking.embed(texts), expected(texts))
    assert server.requests[0]["encoding_format"] == "base64"
    assert asking.tokens == server.tokens > 0


def test_the_server_of_these_tests_speaks_the_protocol_of_the_official_client(server: EmbeddingServer):
    with openai.OpenAI(base_url=server.url, api_key="any") as client:
        for form in ("float", openai.omit):
            answer = client.embeddings.create(model=server.model, input=["a", "b"], encoding_format=form)
            np.testing.assert_allclose([item.embedding for item in answer.data], expected(["a", "b"]), rtol=1e-6)
            assert answer.usage.total_tokens == 2
        with pytest.raises(openai.BadRequestError):
            client.embeddings.create(model=server.model, input=[BAD])
        server.script.append(failure(429, "no", "insufficient_quota"))
        with pytest.raises(openai.RateLimitError) as told:
            client.with_options(max_retries=0).embeddings.create(model=server.model, input=["a"])
        assert told.value.code == "insufficient_quota"


def test_vectors_go_to_their_texts_by_index_whatever_order_they_come_in(server: EmbeddingServer):
    server.change = lambda answer: Answer(200, answer.body | {"data": answer.body["data"][::-1]})
    texts = [f"text {number}" for number in range(20)]
    np.testing.assert_array_equal(service(server).embed(texts), expected(texts))


def test_shorter_vectors_are_asked_for_where_the_model_can(server: EmbeddingServer):
    np.testing.assert_array_equal(service(server, dimension=5, shorten=True).embed(["a", "b"]), expected(["a", "b"], 5))
    assert server.requests[-1]["dimensions"] == 5
    service(server).embed(["a"])
    assert "dimensions" not in server.requests[-1]
    server.fixed_dimension = True
    with pytest.raises(EncoderError, match=r"answers 400 .*does not support specifying dimensions"):
        service(server, dimension=5, shorten=True).embed(["a"])


def test_another_dimension_than_the_spaces_is_final_and_names_the_right_one(server: EmbeddingServer):
    with pytest.raises(EncoderError, match=r"gives vectors of 12 numbers, the space says 16: set dimension = 12, or shorten = true"):
        service(server, dimension=16).embed(["a"])
    assert len(server.requests) == 1


def waits(server: EmbeddingServer) -> list[float]:
    return np.diff(server.times).tolist()


def test_retry_after_in_seconds_is_obeyed(server: EmbeddingServer):
    asking = answered(server)
    server.script.extend([limited(retry_after="0.4"), limited(retry_after_ms="300")])
    np.testing.assert_array_equal(asking.embed(["a"]), expected(["a"]))
    first, second = waits(server)
    assert 0.4 <= first < 0.9
    assert 0.3 <= second < 0.8


@pytest.mark.parametrize("clock", [0.0, -3600.0, 3600.0])
def test_retry_after_as_a_date_is_obeyed_by_the_servers_clock_even_if_it_is_wrong(server: EmbeddingServer, clock: float):
    asking = answered(server)
    server.script.append(limited(**in_seconds(1.0, clock)))
    asking.embed(["a"])
    assert 0.9 <= waits(server)[0] < 2.2  # dates have whole seconds


def test_a_wait_longer_than_the_patience_ends_the_run_at_once_and_says_so(server: EmbeddingServer):
    asking = answered(server, patience=30.0)
    server.script.append(limited(retry_after="3600"))
    began = time.monotonic()
    with pytest.raises(EncoderError, match=r"the server asks to wait 3,600 s; at most 30 s are waited \(option patience\)"):
        asking.embed(["a"])
    assert time.monotonic() - began < 1


@pytest.mark.parametrize(
    "burst",
    [
        [failure(500, "oops")] * 2,
        [failure(503, "loading", retry_after="0.05"), failure(502, "gateway"), limited()],
        [DROPPED, DROPPED],
        [failure(408, "too slow"), failure(409, "conflict")],
        [Answer(200, b"<html>busy</html>"), Answer(200, b'{"data": [{"ind'), Answer(200, {"data": None})],
        [limited()] * 6,
    ],
    ids=["500", "503, 502, 429", "dropped", "408, 409", "garbled", "429"],
)
def test_what_may_pass_is_waited_out(server: EmbeddingServer, burst: list[Answer]):
    asking = service(server)
    server.script.extend(burst)
    np.testing.assert_array_equal(asking.embed(["a", "b"]), expected(["a", "b"]))
    assert len(server.requests) == len(burst) + 1


def test_an_outage_is_waited_out_though_it_fails_harmless_texts_too(server: EmbeddingServer):
    asking = answered(server)
    server.script.extend([failure(500, "down")] * 6)
    np.testing.assert_array_equal(asking.embed(["a dog"]), expected(["a dog"]))
    assert [texts == ["a"] for texts in server.sent()].count(True) == 1  # asked once whether the texts are to blame


def test_an_outage_without_end_ends_the_run(server: EmbeddingServer):
    asking = answered(server, patience=0.5)
    server.always = failure(503, "overloaded")
    with pytest.raises(EncoderError, match=r"answers 503 for tiny-embedding: overloaded, \d+ times within .* What was committed stays"):
        asking.embed(["a"])


def test_texts_that_break_the_server_each_time_are_told_from_an_outage(server: EmbeddingServer):
    asking = answered(server)
    server.script.extend([failure(500, "CUDA error")] * 3)
    with pytest.raises(RefusedError, match=r"answers 500 .*CUDA error, 3 times for these texts and not for others"):
        asking.embed(["poison"])
    assert server.sent() == [["poison"]] * 3 + [["a"]]


def test_an_answer_that_does_not_come_is_given_up_in_time(server: EmbeddingServer):
    asking = answered(server, timeout=0.3)
    server.script.append(Answer(after=1.0))
    began = time.monotonic()
    np.testing.assert_array_equal(asking.embed(["a"]), expected(["a"]))
    assert 0.3 <= time.monotonic() - began < 0.95
    server.script.extend([Answer(after=0.8)] * 3)
    with pytest.raises(RefusedError, match="did not answer in time, 3 times for these texts"):
        asking.embed(["slow"])


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_refused_text_is_its_own_fault(server: EmbeddingServer, status: int):
    asking = answered(server)
    server.script.append(failure(status, "no"))
    with pytest.raises(RefusedError, match=f"answers {status} for tiny-embedding: no"):
        asking.embed(["a", BAD])
    assert len(server.requests) == 1  # never asked again as it was


def test_a_first_request_that_is_refused_is_blamed_on_its_texts_only_if_others_are_taken(server: EmbeddingServer):
    with pytest.raises(RefusedError, match="cannot be embedded"):
        service(server).embed([BAD])
    server.always = failure(400, "unknown field encoding_format")
    with pytest.raises(EncoderError, match="unknown field encoding_format, whatever the text; check model, dimension and url"):
        service(server).embed(["a dog"])


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            failure(429, "You exceeded your current quota", "insufficient_quota"),
            "exceeded your current quota; the account has nothing left",
        ),
        (failure(401, "bad key", "invalid_api_key"), "answers 401 .*bad key; check the key that the option key names"),
        (failure(403, "not allowed"), "answers 403 .*may not use this model"),
        (failure(404, "no such model", "model_not_found"), "answers 404 .*no such model; check model and url"),
        (failure(402, "pay first"), "answers 402 .*pay first"),
        (failure(400, "unknown model", param="model"), "answers 400 .*unknown model"),
        (Answer(302, b"", {"location": "http://127.0.0.1:9/"}), "answers 302"),
    ],
    ids=["quota", "401", "403", "404", "402", "400 model", "redirect"],
)
def test_what_no_text_can_change_is_final_and_asked_once(server: EmbeddingServer, answer: Answer, words: str):
    asking = answered(server)
    server.always = answer
    with pytest.raises(EncoderError, match=words):
        asking.embed(["a"])
    assert len(server.requests) == 1


def test_a_final_error_ends_the_waiting_of_other_lanes(server: EmbeddingServer):
    asking = answered(server)
    server.script.extend([limited(retry_after="15")])
    with ThreadPoolExecutor(2) as pool:
        waiting = pool.submit(asking.embed, ["a"])
        time.sleep(0.2)
        began = time.monotonic()
        asking._pause.end(EncoderError("the key was withdrawn"))
        with pytest.raises(EncoderError, match="the key was withdrawn"):
            waiting.result(5)
        assert time.monotonic() - began < 1


def test_a_rate_limit_holds_all_lanes_back(server: EmbeddingServer):
    asking = answered(server)
    server.script.append(limited(retry_after="0.5"))
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(asking.embed, ["a"])
        time.sleep(0.2)
        others = [pool.submit(asking.embed, [str(number)]) for number in range(3)]
        for each in (first, *others):
            each.result()
    assert len(server.requests) == 5
    assert min(np.array(server.times[1:]) - server.times[0]) >= 0.5


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda data: data[:-1], "gives 2 vectors for 3 texts"),
        (lambda data: [*data, data[0]], "gives 4 vectors for 3 texts"),
        (lambda data: [item | {"index": 0} for item in data], r"numbers 3 vectors \[0, 0, 0\]"),
        (lambda data: [item | {"index": item["index"] + 1} for item in data], r"numbers 3 vectors \[1, 2, 3\]"),
        (lambda data: [*data[:2], data[2] | {"embedding": [1.0]}], r"vectors of 1, 12 numbers in one answer"),
    ],
    ids=["too few", "too many", "all zero", "from one", "two lengths"],
)
def test_vectors_that_cannot_be_assigned_are_never_guessed(server: EmbeddingServer, spoil: Any, words: str):
    asking = answered(server)
    server.change = lambda answer: Answer(200, answer.body | {"data": spoil(answer.body["data"])})
    with pytest.raises(RefusedError, match=words):
        asking.embed(["a", "b", "c"])


@pytest.mark.parametrize("only_floats", [False, True])
def test_a_vector_without_numbers_does_not_harm_its_neighbours(server: EmbeddingServer, only_floats: bool):
    server.only_floats = only_floats
    found = service(server).embed(["a", LOST, "b"])
    assert np.isnan(found[1]).all()
    np.testing.assert_array_equal(found[[0, 2]], expected(["a", "b"]))


def test_the_key_goes_to_the_server_and_into_no_message(server: EmbeddingServer):
    server.key = "the-secret-key"
    asking = service(server, key="the-secret-key")
    asking.embed(["a"])
    assert server.headers[-1]["authorization"] == "Bearer the-secret-key"
    server.key = "another"
    with pytest.raises(EncoderError, match=r"Incorrect API key provided: \[the key\]") as told:
        asking.embed(["a"])
    assert "the-secret-key" not in repr(told.value) + str(told.value.__cause__)


def test_nothing_of_the_environment_is_sent_along(server: EmbeddingServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-somebody")
    monkeypatch.setenv("OPENAI_ADMIN_KEY", "sk-admin")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-x")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "project-x")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "Authorization: Bearer custom\nX-Mine: yes")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    service(server).embed(["a"])
    allowed = {
        "host",
        "accept",
        "accept-encoding",
        "connection",
        "content-type",
        "content-length",
        "user-agent",
        "x-stainless-raw-response",
    }
    assert set(server.headers[-1]) <= allowed
    assert not any(word in json.dumps(server.headers[-1]) for word in ("sk-", "org-x", "custom", "Linux", "CPython"))


def test_a_proxy_of_the_environment_is_used_only_when_asked_for(server: EmbeddingServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    monkeypatch.setattr("encoders.remote.embedding_service.FIRST_CONTACT", 0.1)
    with pytest.raises(EncoderError, match="cannot be reached"):
        service(server, proxies=True).embed(["a"])
    assert server.requests == []


def test_an_address_where_nobody_answers_is_told_within_seconds(server: EmbeddingServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("encoders.remote.embedding_service.FIRST_CONTACT", 0.3)
    asking = EmbeddingService("http://127.0.0.1:9/v1", "m", 12, patience=600.0)
    began = time.monotonic()
    with pytest.raises(EncoderError, match=r"http://127.0.0.1:9/v1 cannot be reached .*Connection refused"):
        asking.embed(["a"])
    assert time.monotonic() - began < 3  # with all its patience it would be ten minutes


def test_connections_are_closed_with_the_service(server: EmbeddingServer):
    asking = service(server)
    asking.embed(["a"])
    closing = asking._client
    del asking
    gc.collect()
    assert closing.is_closed()


def test_answers_are_read_as_the_protocol_says_and_nothing_else_is():
    three = np.array([1.5, -2.0, 3.25], np.float32)
    coded = base64.b64encode(three.tobytes()).decode()
    body = {"data": [{"index": 1, "embedding": coded}, {"index": 0, "embedding": [1, 2, None]}], "usage": {"total_tokens": 9}}
    vectors, tokens = read_answer(json.dumps(body).encode(), 2)
    np.testing.assert_array_equal(vectors, [[1, 2, np.nan], three])
    assert (vectors.dtype, tokens) == (np.float32, 9)
    unnumbered = json.dumps({"data": [{"embedding": [1.0]}, {"embedding": [2.0]}]}).encode()
    np.testing.assert_array_equal(read_answer(unnumbered, 2)[0], [[1], [2]])
    np.testing.assert_array_equal(read_answer(b'{"data": [{"index": 0, "embedding": [NaN, 1e300]}]}', 1)[0], [[np.nan, np.inf]])
    for garbled in (b"", b"[]", b'{"data": 1}', b'{"data": [1]}', b'{"data": [{"embedding": "?"}]}', b'{"data": [{"embedding": [[1]]}]}'):
        with pytest.raises(GarbledError):
            read_answer(garbled, 1)
    with pytest.raises(AnswerError):
        read_answer(b'{"data": []}', 1)
