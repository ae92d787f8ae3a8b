"""Training on the texts of a bucket: every object accounted for, vectors as gensim has them, and the folder as weights of a space."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from gensim.models import Word2Vec
from royal_corpus import royal_sentences

from encoders import registry
from encoders.media.kinds import Limits
from encoders.spaces import load_space
from encoders.stacking import alone
from encoders.words.vocabulary import VECTORS, Vocabulary, mapped
from flows.drive import drive
from flows.settings import EmbedSettings, SettingsError
from flows.settings_given import train_words_settings
from flows.train_words import good_enough, train_words
from retrieval.query import Searcher
from storage.objects import memory_store, open_source
from tasks.corpus import Reading, gather

ROOT = Path(__file__).parent.parent
METHODS = ["skip-gram", "cbow", "glove", "vocabulary"]


def fill(folder, count=60):
    """Texts about people, two in Chinese, one in HTML, and three that cannot be read."""
    sentences = royal_sentences(count * 50)
    folder.mkdir(parents=True)
    for number in range(count):
        lines = [" ".join(sentence).capitalize() + "." for sentence in sentences[number * 50 : number * 50 + 50]]
        (folder / f"{number:03}.txt").write_text("\n".join(lines))
    (folder / "chinese.txt").write_text("红色的小鸟在雨中唱歌。" * 20)
    (folder / "chinese.gb.txt").write_bytes("蓝色的火车在雨中。".encode("gb18030") * 20)
    (folder / "page.html").write_text("<html><script>var hidden = 1</script><p>The king &amp; the queen</p></html>")
    (folder / "broken.txt").write_bytes(bytes(range(256)) * 40)
    (folder / "late.txt").write_bytes(b"the late text is good at first. " * 8000 + bytes(range(32)) * 4000)
    (folder / "empty.txt").write_bytes(b"")
    (folder / "signs.md").write_text("*** --- !!!")
    (folder / "photo.jpg").write_bytes(b"\xff\xd8\xff")
    (folder / "report.pdf").write_bytes(b"%PDF-1.7")
    return folder


@pytest.fixture(scope="module")
def bucket(tmp_path_factory):
    return fill(tmp_path_factory.mktemp("train") / "bucket")


def trained(bucket, folder, **options):
    return train_words(train_words_settings(source=str(bucket), output=str(folder), **{"dimension": 16, "min_count": 5, **options}))


def words_of(folder):
    vocabulary = Vocabulary(folder)
    return [vocabulary.word(row) for row in range(len(vocabulary))]


def test_every_object_is_read_failed_or_skipped_and_told(bucket, tmp_path):
    heard = []
    settings = train_words_settings(source=str(bucket), output=str(tmp_path / "out"), method="vocabulary")
    account = train_words(settings, lambda *progress: heard.append(progress))
    assert account["listed"] == account["read"] + account["failed"] + sum(account["skipped"].values()) == 69
    assert account["skipped"] == {"jpg": 1, "pdf": 1}
    told = {failure["uri"].rpartition("/")[2]: (failure["stage"], failure["reason"]) for failure in account["failures"]}
    assert told == {
        "broken.txt": ("decode", "not text"),
        "late.txt": ("decode", "not text"),
        "empty.txt": ("decode", "empty"),
        "signs.md": ("decode", "no words"),
    }
    assert good_enough(settings, account)
    assert heard[-1] == ("reading", 67, 67, "")


def test_the_vocabulary_is_that_of_the_good_texts_alone(bucket, tmp_path):
    account = trained(bucket, tmp_path / "out", method="vocabulary", min_count=1)
    expected = Counter(word for sentence in royal_sentences(3000) for word in sentence)
    expected.update({"红色": 20, "的": 40, "小鸟": 20, "在": 40, "雨": 40, "中": 40, "唱歌": 20, "蓝色": 20, "火车": 20})
    expected.update({"the": 2, "king": 1, "queen": 1})
    vocabulary = Vocabulary(tmp_path / "out")
    assert dict(zip(words_of(tmp_path / "out"), vocabulary.counts.tolist(), strict=True)) == expected
    assert account["tokens"] == account["kept"] == sum(expected.values())
    assert vocabulary.documents[vocabulary.rows(["雨", "红色", "the", "小鸟"])].tolist() == [2, 1, 1, 1]
    assert json.loads((tmp_path / "out/config.json").read_text())["documents"] == 63


def test_the_corpus_holds_the_sentences_of_the_good_texts_and_nothing_of_the_others(bucket, tmp_path):
    uris = [f"file://{bucket}/{name}" for name in ("000.txt", "late.txt", "chinese.txt", "broken.txt", "page.html")]
    corpus = gather(open_source(str(bucket)), uris, Reading(Limits()), tmp_path)
    expected = [*royal_sentences(3000)[:50], *[["红色", "的", "小鸟", "在", "雨", "中", "唱歌"]] * 20, ["the", "king", "the", "queen"]]
    assert list(corpus) == list(corpus) == expected
    assert (corpus.read, corpus.failed, corpus.counts.tokens) == (3, 2, 250 + 140 + 4)


@pytest.mark.parametrize("method", METHODS[:3])
def test_king_is_to_man_what_queen_is_to_woman(bucket, tmp_path, method):
    account = trained(bucket, tmp_path / "out", method=method, epochs=0 if method == "glove" else 20)
    assert account["losses"][-1] < account["losses"][0]
    vectors, vocabulary = mapped(tmp_path / "out" / VECTORS)["vectors"], Vocabulary(tmp_path / "out")
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    king, man, woman = unit[vocabulary.rows(["king", "man", "woman"])]
    nearest = [vocabulary.word(row) for row in np.argsort(-(unit @ (king - man + woman)))]
    assert {"queen", "princess"} & set([word for word in nearest if word not in {"king", "man", "woman"}][:3])


@pytest.mark.parametrize("method", ["skip-gram", "cbow"])
def test_word2vec_is_gensims_own_on_the_same_sentences(tmp_path, method):
    counts = {"red": 9, "bird": 8, "sings": 7, "blue": 6, "train": 5, "rare": 1}
    sentences = [[word for word, count in counts.items() if number < count] for number in range(9)]
    (tmp_path / "bucket").mkdir()
    (tmp_path / "bucket/a.txt").write_text("\n".join(" ".join(sentence) for sentence in sentences))
    trained(tmp_path / "bucket", tmp_path / "out", method=method, epochs=3, min_count=2, window=2, seed=7)
    model = Word2Vec(
        sentences, vector_size=16, window=2, min_count=2, sg=int(method == "skip-gram"), seed=7, workers=1, epochs=3, sample=1e-3
    )
    assert words_of(tmp_path / "out") == model.wv.index_to_key == ["red", "bird", "sings", "blue", "train"]
    np.testing.assert_array_equal(mapped(tmp_path / "out" / VECTORS)["vectors"], model.wv.vectors)


@pytest.mark.parametrize("method", METHODS)
def test_the_same_texts_and_seed_give_the_same_weights(bucket, tmp_path, method):
    digests = [trained(bucket, tmp_path / str(run), method=method, epochs=2)["digest"] for run in range(2)]
    assert digests[0] == digests[1]
    if method != "vocabulary":
        assert trained(bucket, tmp_path / "other", method=method, epochs=2, seed=2)["digest"] != digests[0]


def test_a_bucket_in_an_object_store_gives_the_same_words_and_leaves_no_copies(bucket, tmp_path):
    store = memory_store("train-words")
    for path in bucket.iterdir():
        store.put(path.name, path.read_bytes())
    there, here = (
        trained(source, tmp_path / name, method="vocabulary", scratch=str(tmp_path / "scratch"))
        for source, name in (("memory://train-words", "there"), (bucket, "here"))
    )
    assert {**there, "source": "", "output": "", "seconds": 0, "failures": 0} == {
        **here,
        "source": "",
        "output": "",
        "seconds": 0,
        "failures": 0,
    }
    assert [*(tmp_path / "scratch").iterdir()] == []


def test_an_object_that_goes_between_listing_and_reading_is_told(tmp_path):
    bucket = fill(tmp_path / "bucket", count=2)
    (bucket / "link.txt").symlink_to(tmp_path / "nowhere.txt")
    account = trained(bucket, tmp_path / "out", method="vocabulary", min_count=1)
    assert ("fetch", "broken link") in {(failure["stage"], failure["reason"]) for failure in account["failures"]}


def test_rows_of_table_files_are_texts_of_their_own_where_a_column_is_named(tmp_path):
    bucket = tmp_path / "bucket"
    bucket.mkdir()
    (bucket / "a.txt").write_text("Red bird sings.")
    (bucket / "b.jsonl").write_text('{"t": "red train"}\n{"t": null}\n{"t": "!!!"}\n{"t": "blue train. red", "c": "A title"}\nno json\n')
    pq.write_table(pa.table({"t": ["blue bird", "红色的小鸟"], "c": pa.nulls(2, pa.string())}), bucket / "c.parquet")
    (bucket / "d.csv").write_text("other\n1\n")
    without = trained(bucket, tmp_path / "without", method="vocabulary", min_count=1)
    assert (without["read"], without["skipped"]) == (1, {"jsonl": 1, "parquet": 1, "csv": 1})
    account = trained(bucket, tmp_path / "with", method="vocabulary", min_count=1, tables={"text": "t", "caption": "c"})
    assert (account["listed"], account["read"], account["failed"], account["skipped"]) == (4, 3, 1, {})
    assert account["rows"] == {"read": 4, "failed": 3}
    assert [(failure["uri"][-5:], failure["reason"]) for failure in account["failures"]] == [("d.csv", "no column")]
    vocabulary = Vocabulary(tmp_path / "with")
    asked = vocabulary.rows(["red", "bird", "train", "title", "小鸟"])
    assert vocabulary.counts[asked].tolist() == [3, 2, 2, 1, 1]
    assert vocabulary.documents[asked].tolist() == [3, 2, 2, 1, 1]
    assert json.loads((tmp_path / "with/config.json").read_text())["documents"] == 5


def test_what_cannot_be_asked_is_refused_before_any_work(bucket, tmp_path):
    with pytest.raises(SettingsError, match=r"method = 'word2vec'.*'skip-gram', 'cbow', 'glove' or 'vocabulary'"):
        train_words_settings(source=str(bucket), method="word2vec")
    with pytest.raises(SettingsError, match="dimension = 0"):
        train_words_settings(source=str(bucket), dimension=0)
    (tmp_path / "there").mkdir()
    (tmp_path / "there/file").touch()
    with pytest.raises(SettingsError, match="is there already"):
        trained(bucket, tmp_path / "there")
    with pytest.raises(SettingsError, match="lower --min-count"):
        trained(bucket, tmp_path / "out", min_count=10**6)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["there"]


def sensorium(*arguments):
    command = [sys.executable, "-m", "flows.cli", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False, env=os.environ)


def test_the_folder_is_the_weights_of_a_space_that_embeds_and_answers(bucket, tmp_path):
    account = trained(bucket, tmp_path / "words", method="glove")
    (tmp_path / "space.toml").write_text('name = "royal"\n[text]\nencoder = "word-vectors"\nweights = "words"\nweighting = "idf"\n')
    assert load_space(str(tmp_path / "space.toml")).encoders["text"].digest == account["digest"]
    asked = EmbedSettings(source=str(bucket), database=str(tmp_path / "lance"), space=str(tmp_path / "space.toml"))
    told, _, good = drive(asked, direct=True)
    # The page's only known words are king and queen; the texts that could not be read are those that training could not read.
    assert (told.embedded, told.quarantined, told.balanced, good) == (63, 4, True, True)
    hits = Searcher(str(tmp_path / "lance")).search("小鸟唱歌", limit=2)
    assert hits[0].uri.endswith("chinese.txt")
    (tmp_path / "other").mkdir()
    (tmp_path / "other/known.txt").write_text("a queen whom nobody knows")
    (tmp_path / "other/unknown.txt").write_text("qwertz zzzq, 42!")
    told, _, _ = drive(asked.model_copy(update={"source": str(tmp_path / "other"), "floor": 0.0}), direct=True)
    assert (told.embedded, told.quarantined) == (1, 1)
    assert [(failure["uri"].rpartition("/")[2], failure["reason"]) for failure in told.failures] == [("unknown.txt", "empty")]


def test_the_command_prints_the_account_for_machines(bucket, tmp_path):
    done = sensorium("train-words", bucket, "--method", "glove", "--dimension", 16, "--output", tmp_path / "words", "--json")
    assert done.returncode == 0, done.stderr
    account = json.loads(done.stdout)
    assert (account["method"], account["dimension"], len(account["losses"])) == ("glove", 16, 25)


def test_the_command_says_what_it_did_and_what_to_type_next(bucket, tmp_path):
    done = sensorium("train-words", bucket, "--method", "cbow", "--dimension", 8, "--output", tmp_path / "words")
    assert done.returncode == 0, done.stderr
    assert "listed 69 = read 63 + failed 4 + skipped 2" in done.stdout
    assert f'[text]\nencoder = "word-vectors"\nweights = "{tmp_path / "words"}"' in done.stdout
    assert "decode, not text: broken.txt" in done.stdout


def test_exit_codes_tell_refusals_and_too_many_bad_texts(bucket, tmp_path):
    refused = sensorium("train-words", tmp_path / "nowhere", "--output", tmp_path / "a")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "missing folder" in refused.stderr
    assert sensorium("train-words", bucket, "--method", "vocabulary", "--output", tmp_path / "b", "--floor", "0.99").returncode == 1


def test_one_hot_and_word_vectors_read_what_training_wrote(bucket, tmp_path):
    trained(bucket, tmp_path / "words", method="vocabulary")
    encoder = registry.build(registry.describe("one-hot", str(tmp_path / "words")))
    king = encoder.encode(alone(encoder.prepare("king")))[0]
    assert king[encoder.vocabulary.rows(["king"])[0]] == 1
