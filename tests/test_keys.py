"""A key is named, never written down: an environment variable, or a secret that somebody outside keeps."""

from __future__ import annotations

import pytest

from encoders.errors import EncoderError
from encoders.remote import keys


@pytest.mark.parametrize("name", ["", "OPENAI_API_KEY", "HF_TOKEN", "K", "secret:my-block", "secret:openai2"])
def test_names_of_variables_and_secrets_are_taken(name: str):
    assert keys.check_name(name) is None


@pytest.mark.parametrize(
    "value",
    [
        "sk-proj-abcdefghijklmnop",
        "sk-ABCDEF",
        "secret:sk-abcdefghijkl",
        "hf_AbCdEfGhIj",
        "abcdef0123456789abcdef0123456789",
        "Bearer xyz",
        "two words",
        "secret:With_Capitals",
        "secret:under_score",
        "Openai_key",
    ],
)
def test_what_may_be_the_key_itself_is_refused_and_not_shown(value: str):
    with pytest.raises(EncoderError, match="never the key itself") as told:
        keys.check_name(value)
    assert value not in str(told.value)


def test_a_variable_is_read_when_it_is_needed_and_without_the_line_end_of_a_file(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TEST_KEY", "one\n")
    keys.check_held("TEST_KEY")
    assert keys.value("TEST_KEY") == "one"
    monkeypatch.setenv("TEST_KEY", "two")
    assert keys.value("TEST_KEY") == "two"


@pytest.mark.parametrize("value", [None, "", "  "])
def test_a_variable_that_is_not_set_is_named_in_the_refusal(monkeypatch: pytest.MonkeyPatch, value: str | None):
    monkeypatch.delenv("TEST_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("TEST_KEY", value)
    for ask in (keys.check_held, keys.value):
        with pytest.raises(EncoderError, match="the environment variable TEST_KEY, which holds the key, is not set; export TEST_KEY="):
            ask("TEST_KEY")


def test_no_key_has_no_value_and_is_always_there():
    keys.check_held("")
    assert keys.value("") == ""


def test_a_secret_is_asked_of_whoever_keeps_it_and_only_when_its_value_is_needed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(keys, "_keepers", {})
    asked: list[str] = []
    with pytest.raises(EncoderError, match="nobody here keeps the key 'secret:mine'"):
        keys.check_held("secret:mine")
    keys.keep("secret", lambda name: asked.append(name) or "value")
    keys.check_held("secret:mine")
    assert asked == []
    assert keys.value("secret:mine") == "value"
    assert asked == ["mine"]


@pytest.mark.slow
def test_a_secret_block_of_prefect_is_a_key(prefect_server: str, monkeypatch: pytest.MonkeyPatch):
    from prefect.blocks.system import Secret
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from flows import secret_blocks

    monkeypatch.setattr(keys, "_keepers", {})
    secret_blocks.install()
    with temporary_settings({PREFECT_API_URL: prefect_server}):
        Secret(value="the-value").save("remote-key")
        assert keys.value("secret:remote-key") == "the-value"
        with pytest.raises(EncoderError, match="Secret block 'no-such-block' cannot be read"):
            keys.value("secret:no-such-block")
