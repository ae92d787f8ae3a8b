"""What the page asks: no question holds up the others, none is too long, and every object that answers is told."""

from __future__ import annotations

import threading
import time

import asked_table
import numpy as np
import page_bucket
import pytest
import soundfile
from starlette.testclient import TestClient

from encoders import registry
from encoders.spaces import load_space
from encoders.stacking import alone
from retrieval.page import questions
from retrieval.page.items import id_of
from retrieval.page.library import Library
from retrieval.page.server import make_app
from retrieval.query_encoder import QueryEncoder

ADDRESS = "http://127.0.0.1:8765"
SENTENCE = "A big red dog barks at a small white cat in the rain. "
SOUNDS, LONG = 13, 200  # sounds; windows of the first one
CHUNKS = ("First chunk here.", "Second one follows.", "The third ends it.")


def of_words(words):
    encoder = registry.build(asked_table.space().encoders["text"], "cpu", "float32")
    return encoder.encode(alone(encoder.prepare(words)))[0]


def rows():
    """A long sound near to "dog" in every window, twelve shorter ones less near, a text of three chunks side by side, and one of one."""
    dog, cat = of_words("dog"), of_words("cat")
    for n in range(SOUNDS):
        for s in range(LONG if n == 0 else 2):
            vector = dog + (0.001 * s if n == 0 else 1 + 0.1 * n + 2 * s) * cat
            yield asked_table.row(f"file:///b/{n:02}.wav", vector, s, "audio", start=3.0 * s, end=3.0 * s + 3.0)
    at = 0
    for s, words in enumerate(CHUNKS):
        yield asked_table.row("file:///b/long.txt", of_words(words), s, "text", text=words, start=float(at), end=float(at + len(words)))
        at += len(words) + 1
    yield asked_table.row("file:///b/short.txt", cat, 0, "text", text="A cat.", start=0.0, end=6.0)


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    opened = Library(asked_table.make(tmp_path_factory.mktemp("questions"), rows()))
    opened.open()
    return opened


@pytest.fixture(scope="module")
def client(library):
    return TestClient(make_app(library), base_url=ADDRESS)


def group(told, medium):
    return next(group for group in told["groups"] if group["medium"] == medium)


def drop(client, data, name="query.txt"):
    return client.post("/api/drop", content=data, headers={"X-Name": name})


# No question holds up the others


def test_of_a_long_text_no_more_is_encoded_than_is_asked_with(client, library, monkeypatch):
    encoder = library.searcher.encoder("text", "words")
    encoded, plain = [], type(encoder).encode

    def counted(self, inputs):
        vectors = plain(self, inputs)
        encoded.append(len(vectors))
        return vectors

    monkeypatch.setattr(type(encoder), "encode", counted)
    told = drop(client, (SENTENCE * 2_000).encode()).json()
    assert told["windows"]["all"] > 3 * questions.WINDOWS and told["windows"]["used"] == questions.WINDOWS == sum(encoded)
    assert len(encoded) == 1, "they are encoded together"


def test_the_parts_that_are_asked_with_are_spread_from_the_first_to_the_last(tmp_path, library):
    path = tmp_path / "long.txt"
    path.write_text(" ".join(f"word{n}" for n in range(20_000)))
    queries = QueryEncoder(asked_table.space())
    every, some = queries.embed(path), queries.choose(path, 5)
    assert some.of == len(every) > 50
    last = len(every) - 1
    places = [round(last * quarter / 4) for quarter in range(5)]
    np.testing.assert_allclose(queries.encode(some), every[places], atol=1e-6)
    assert queries.choose(path, 10**6).of == len(queries.choose(path, 10**6).parts) == len(every)


def test_what_takes_much_memory_is_decoded_twice_and_chosen_alike(tmp_path, monkeypatch):
    path = tmp_path / "long.txt"
    path.write_text(SENTENCE * 500)
    queries = QueryEncoder(asked_table.space())
    held = queries.choose(path, 7)
    monkeypatch.setattr("retrieval.query_encoder.HELD", 100)
    assert queries.choose(path, 7) == held


@pytest.mark.parametrize("held", [1 << 30, 1])
def test_of_a_long_sound_windows_are_chosen_before_they_are_encoded(tmp_path, monkeypatch, held):
    monkeypatch.setattr("retrieval.query_encoder.HELD", held)
    path = tmp_path / "long.wav"
    soundfile.write(path, np.tile(page_bucket.long_sound(), 2)[: 5 * page_bucket.WINDOW], page_bucket.RATE)
    queries = QueryEncoder(load_space("miniature"))
    some = queries.choose(path, 3)
    assert (len(some.parts), some.of) == (3, 5)
    np.testing.assert_array_equal(queries.encode(some), queries.embed(path)[[0, 2, 4]])


def test_another_question_is_answered_while_a_long_text_is_being_read(client, monkeypatch):
    begun, go_on = threading.Event(), threading.Event()
    plain = QueryEncoder.choose

    def waits(self, query, most):
        if not isinstance(query, str):
            begun.set()
            assert go_on.wait(30)
        return plain(self, query, most)

    monkeypatch.setattr(QueryEncoder, "choose", waits)
    long = threading.Thread(target=drop, args=(client, b"a text that is dropped"))
    other = threading.Thread(target=client.get, args=("/api/search?q=a question that is new",))
    try:
        long.start()
        assert begun.wait(30)
        other.start()
        other.join(20)
        assert not other.is_alive()
    finally:
        go_on.set()
        long.join()


def test_an_encoder_that_two_questions_need_at_once_is_built_once(monkeypatch):
    built, build = [], registry.build

    def slowly(*arguments):
        built.append(1)
        time.sleep(0.2)
        return build(*arguments)

    monkeypatch.setattr(registry, "build", slowly)
    queries = QueryEncoder(asked_table.space())
    threads = [threading.Thread(target=queries.embed, args=("dog",)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(built) == 1


def test_a_question_that_is_too_long_is_refused_in_words(client):
    answer = client.get("/api/search", params={"q": "x" * (questions.LONGEST + 1)})
    assert answer.status_code == 422 and answer.json()["error"] == (
        "the question has 4,001 characters, allowed are 4,000; drop a longer text as a file instead"
    )
    assert client.get("/api/search", params={"q": ("dog " * questions.LONGEST)[: questions.LONGEST]}).status_code == 200


# Every object that answers is told


def test_a_long_sound_leaves_place_for_the_others_and_more_is_said(client):
    few = group(client.get("/api/search?q=dog").json(), "audio")
    assert [answer["name"] for answer in few["answers"]] == [f"{n:02}.wav" for n in range(questions.FEW["audio"])] and few["more"]
    every = group(client.get("/api/search?q=dog&medium=audio").json(), "audio")
    assert [answer["name"] for answer in every["answers"]] == [f"{n:02}.wav" for n in range(SOUNDS)] and not every["more"]
    thirteen = group(client.get(f"/api/search?q=dog&medium=audio&limit={SOUNDS}").json(), "audio")
    assert len(thirteen["answers"]) == SOUNDS and not thirteen["more"]
    assert group(client.get(f"/api/search?q=dog&medium=audio&limit={SOUNDS - 1}").json(), "audio")["more"]


def test_an_object_keeps_its_further_moments_beside_a_long_one(tmp_path):
    """Two equal moments far apart in a short sound, and a long one whose every window is nearer."""
    dog, cat = of_words("dog"), of_words("cat")
    made = [asked_table.row("file:///b/long.wav", dog + 0.001 * s * cat, s, "audio", start=3.0 * s, end=3.0 * s + 3) for s in range(LONG)]
    for s, away in enumerate((0.5, 9.0, 0.5)):
        made.append(asked_table.row("file:///b/short.wav", dog + away * cat, s, "audio", start=10.0 * s, end=10.0 * s + 3))
    library = Library(asked_table.make(tmp_path, made))
    library.open()
    told = group(TestClient(make_app(library), base_url=ADDRESS).get("/api/search?q=dog").json(), "audio")["answers"]
    assert [answer["name"] for answer in told] == ["long.wav", "short.wav"]
    assert told[1]["start"] == 0.0 and told[1]["also"][0]["start"] == 20.0


# What an answer says of itself


def test_every_answer_tells_the_version_that_it_was_made_from(client, library):
    name = id_of("file:///b/short.txt")
    for path in ("/api/outline", "/api/search?q=dog", f"/api/like/{name}", "/api/map"):
        assert client.get(path).json()["version"] == library.searcher.table.version, path
    assert drop(client, b"a dog").json()["version"] == library.searcher.table.version


@pytest.mark.parametrize(
    "context, cut", [(160, [[False, True], [False, False], [True, False]]), (5, [[False, True], [True, True], [True, False]])]
)
def test_a_passage_tells_whether_the_text_goes_on(library, monkeypatch, context, cut):
    """With 160 characters on each side a chunk is shown with all of the chunks beside it; of three chunks the middle one is whole."""
    from retrieval.page import passages

    monkeypatch.setattr(passages, "CONTEXT", context)
    hits = library.searcher.nearest(of_words("chunk")[None], limit=300)
    three = sorted((hit for hit in hits if hit.uri == "file:///b/long.txt"), key=lambda hit: hit.segment)
    told = passages.passages(library.searcher.table, three)
    assert [list(passage.cut) for passage in told] == cut
    whole = " ".join(CHUNKS)
    for passage in told:
        shown = "".join(passage.parts)
        assert passage.cut == (not whole.startswith(shown), not whole.endswith(shown))


def test_a_text_of_one_chunk_is_cut_nowhere(client):
    texts = {answer["name"]: answer for answer in group(client.get("/api/search?q=cat").json(), "text")["answers"]}
    assert texts["short.txt"]["passage"] == ["", "A cat.", ""] and texts["short.txt"]["cut"] == [False, False]


# What cannot be asked


@pytest.mark.parametrize("day", ["9999-12-31", "0001-01-01", "9999-12-30"])
@pytest.mark.parametrize("field", ["before", "after"])
def test_the_first_and_the_last_day_that_there_are_can_be_asked(client, field, day):
    told = client.get("/api/search", params={"q": "dog", field: day})
    assert told.status_code == 200
    assert bool(told.json()["groups"]) == ((field == "before") == (day > "2026"))


@pytest.mark.parametrize("segment", ["9" * 26, "9999999999", "-1", "x", "1.5", "٣"])
def test_a_segment_that_is_none_is_refused_in_words(client, segment):
    answer = client.get(f"/api/like/{id_of('file:///b/01.wav')}", params={"segment": segment})
    assert answer.status_code == 422 and "give a number" in answer.json()["error"]


def test_a_segment_that_the_table_does_not_hold_is_refused_in_words(client):
    answer = client.get(f"/api/like/{id_of('file:///b/01.wav')}", params={"segment": 999_999_999})
    assert answer.status_code == 422 and "holds no segment 999999999" in answer.json()["error"]


def test_a_dropped_file_that_is_no_medium_is_refused_by_what_it_is(client):
    answer = drop(client, b"%PDF-1.7 " + bytes(50), "manual.pdf")
    assert answer.status_code == 422 and answer.json()["error"] == (
        "other content: pdf is nothing that is embedded or asked with; give a picture, sound, video or text"
    )
