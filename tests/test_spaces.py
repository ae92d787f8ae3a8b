"""A space is a name or a TOML file, and what is wrong with it is said before anything is done."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_checkpoints

from encoders.errors import EncoderError
from encoders.spaces import load_space
from encoders.spec import Space

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with checkpoints, beside which tests write their files."""
    folder = tmp_path_factory.mktemp("spaces")
    tiny_checkpoints.clip(folder / "clip")
    tiny_checkpoints.vit(folder / "vit")
    tiny_checkpoints.bert(folder / "bert")
    return folder


def write(folder: Path, text: str) -> str:
    (folder / "space.toml").write_text(text)
    return str(folder / "space.toml")


def test_the_miniature_embeds_all_three_modalities_in_128_numbers():
    space = load_space("miniature")
    assert (space.name, set(space.encoders), space.dimension) == ("miniature", {"text", "image", "audio"}, 128)
    assert space.encoders["audio"].preprocessing["window_samples"] == 49152
    assert all(spec.weights.startswith("package:") and spec.licence == "Apache-2.0" for spec in space)


def test_the_miniature_is_one_generation_wherever_it_is_installed(tmp_path: Path):
    shutil.copytree(ROOT / "encoders", tmp_path / "elsewhere" / "encoders", ignore=shutil.ignore_patterns("__pycache__"))
    program = "from encoders import spaces; print(spaces.__file__); print(spaces.load_space('miniature').generation)"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "elsewhere")}
    done = subprocess.run([sys.executable, "-c", program], env=environment, cwd=tmp_path, capture_output=True, text=True, check=True)
    place, generation = done.stdout.split()
    assert place.startswith(str(tmp_path))
    assert generation == load_space("miniature").generation


def test_a_space_survives_the_json_of_a_tables_metadata():
    space = load_space("miniature")
    assert Space.from_json(space.to_json()) == space
    assert Space.from_json(space.to_json()).generation == space.generation


def test_folders_are_looked_for_beside_the_file_and_options_reach_the_encoder(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    path = write(
        folder,
        'name = "shop"\n'
        '[image]\nencoder = "vit"\nweights = "vit"\npooling = "mean"\nlicence = "MIT"\n'
        '[text]\nencoder = "bert"\nweights = "./bert"\nchunk = 20\noverlap = 5\n',
    )
    space = load_space(path)
    assert (space.name, space.dimension) == ("shop", 32)
    assert (space.encoders["image"].weights, space.encoders["image"].pooling, space.encoders["image"].licence) == (
        str(folder / "vit"),
        "mean",
        "MIT",
    )
    assert space.encoders["text"].preprocessing["chunk"] == {"size": 20, "overlap": 5}


def test_a_folder_where_the_command_is_typed_is_not_taken_for_one_beside_the_file(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = write(tmp_path, 'name = "x"\n[image]\nencoder = "vit"\nweights = "vit"\n')
    monkeypatch.chdir(folder)
    with pytest.raises(EncoderError, match=rf"\[image\] there is no folder {tmp_path}/vit"):
        load_space(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = ", "is no TOML file"),
        ('[image]\nencoder = "vit"\n', r'the space has no name; write name = "…" at the top'),
        ('name = "x"\n', "space 'x' has no encoder"),
        ('name = "x"\n[images]\nencoder = "vit"\n', "unknown key 'images', did you mean 'image'\\?; allowed: name, text, image, audio"),
        ('name = "x"\nimage = "vit"\n', r"\[image\] names no encoder"),
        ('name = "x"\n[image]\nweights = "vit"\n', r"\[image\] names no encoder"),
        ('name = "x"\n[image]\nencoder = "vit16"\n', r"\[image\] no encoder is called 'vit16', did you mean 'vit'\?"),
        ('name = "x"\n[image]\nencoder = "vit"\n', r"\[image\] no weights were named"),
        ('name = "x"\n[image]\nencoder = "vit"\nweights = 5\n', r"\[image\] weights, revision and head are texts, got 5"),
        (
            'name = "x"\n[image]\nencoder = "vit"\nweights = "vit"\npool = "cls"\n',
            r"\[image\] encoder 'vit' has no option 'pool', did you mean",
        ),
        ('name = "x"\n[image]\nencoder = "vit"\nweights = "gone"\n', r"\[image\] there is no folder gone"),
        ('name = "x"\n[image]\nencoder = "vit"\nweights = "org/vit"\n', "if org/vit is a hub id, name its revision too"),
        ('name = "x"\n[image]\nencoder = "vit"\nweights = "org/vit"\nrevision = "main"\n', "revision 'main' of org/vit is no commit"),
        (
            'name = "x"\n[image]\nencoder = "clip-text"\nweights = "clip"\n',
            r"\[image\] encoder 'clip-text' embeds text; move it to \[text\]",
        ),
        (
            'name = "x"\n[image]\nencoder = "vit"\nweights = "vit"\n[text]\nencoder = "clip-text"\nweights = "clip"\n',
            r"mixes dimensions \(text: 16, image: 32\)",
        ),
    ],
)
def test_what_is_wrong_with_a_file_is_said_with_its_place(folder: Path, text: str, message: str):
    path = write(folder, text)
    with pytest.raises(EncoderError, match=message) as raised:
        load_space(path)
    assert str(raised.value).startswith(path)


def test_an_unknown_space_is_told_the_nearest_name_and_that_a_file_would_do():
    with pytest.raises(
        EncoderError, match="no space and no file 'minature', did you mean 'miniature'\\?; give one of miniature, or the path"
    ):
        load_space("minature")


def test_encoders_of_one_dimension_with_weights_of_their_own_make_a_space(folder: Path):
    """As ImageBind's: what was trained to fall in line needs one section each, an outsider's encoder included."""
    tiny_checkpoints.ast(folder / "ast", head=False)
    path = write(
        folder,
        'name = "bound"\n[image]\nencoder = "vit"\nweights = "vit"\n[text]\nencoder = "bert"\nweights = "bert"\n'
        '[audio]\nencoder = "ast"\nweights = "ast"\n',
    )
    space = load_space(path)
    assert (set(space.encoders), space.dimension) == ({"text", "image", "audio"}, 32)
    assert len({spec.digest for spec in space}) == 3


def test_an_outsiders_encoder_stands_beside_the_projects_own(tmp_path: Path):
    tiny_checkpoints.bert(tmp_path / "bert")
    (tmp_path / "squares.py").write_text(
        "from encoders.spec import Spec\n\n\nclass Squares:\n    modality = 'image'\n\n    @classmethod\n"
        "    def describe(cls, weights='', revision=''):\n        return Spec('squares', 'image', 32, 'pixels')\n\n"
        "    def __init__(self, spec, device='cpu', dtype='auto'):\n        self.spec = spec\n\n"
        "    def prepare(self, medium): ...\n\n    def encode(self, inputs): ...\n"
    )
    about = tmp_path / "squares-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: squares\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[sensorium.encoders]\nsquares = squares:Squares\n")
    write(tmp_path, 'name = "bound"\n[image]\nencoder = "squares"\n[text]\nencoder = "bert"\nweights = "bert"\n')
    program = f"from encoders.spaces import load_space; s = load_space({str(tmp_path / 'space.toml')!r}); print(s.dimension, *s.encoders)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path)])}
    done = subprocess.run([sys.executable, "-P", "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["32", "text", "image"]
