"""Weights come from a package, a folder or a pinned hub id, as safetensors only, and are known by a digest of what matters."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from time import perf_counter

import pytest
import tiny_checkpoints

from encoders import weights
from encoders.errors import EncoderError

COMMIT = "0123456789abcdef0123456789abcdef01234567"
ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoints.bert(tmp_path_factory.mktemp("bert"), pooling="mean_tokens")


@pytest.fixture
def copy(bert: Path, tmp_path: Path) -> Path:
    return shutil.copytree(bert, tmp_path / "copy")


def test_weights_of_the_package_are_found_wherever_it_is_installed():
    folder = weights.locate("package:miniature/clip")
    assert (folder / "model.safetensors").is_file()
    assert weights.is_here("package:miniature/clip")


def test_a_missing_folder_is_named_and_a_hub_id_without_revision_is_told_what_it_lacks():
    with pytest.raises(EncoderError, match=r"no folder nowhere$"):
        weights.locate("nowhere")
    with pytest.raises(EncoderError, match=r"if org/name is a hub id, name its revision too"):
        weights.locate("org/name")
    with pytest.raises(EncoderError, match="no weights were named"):
        weights.locate("")
    assert not weights.is_here("nowhere")


@pytest.mark.parametrize("revision", ["main", "v1.0", COMMIT[:12], COMMIT.upper()])
def test_a_revision_that_may_move_is_refused(revision: str):
    with pytest.raises(EncoderError, match="is no commit: give all 40 hex digits"):
        weights.locate("org/name", revision)


def test_a_revision_for_a_folder_is_refused(bert: Path):
    with pytest.raises(EncoderError, match="a revision belongs to a hub id"):
        weights.locate(str(bert), COMMIT)


def test_pickled_weights_are_refused_with_the_reason(copy: Path):
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    with pytest.raises(EncoderError, match=r"holds only pytorch_model.bin, and pickled weights can run any code"):
        weights.locate(str(copy))
    assert not weights.is_here(str(copy))


def test_a_folder_without_weights_or_configuration_is_refused(copy: Path):
    (copy / "model.safetensors").unlink()
    with pytest.raises(EncoderError, match=r"no \*\.safetensors"):
        weights.locate(str(copy))
    (copy / "config.json").unlink()
    with pytest.raises(EncoderError, match=r"no config\.json"):
        weights.locate(str(copy))


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_a_checkpoint_that_brings_code_is_refused(copy: Path, name: str):
    values = json.loads((copy / name).read_text())
    (copy / name).write_text(json.dumps({**values, "auto_map": {"AutoModel": "modeling_evil.Evil"}}))
    with pytest.raises(EncoderError, match=r"auto_map.*never done"):
        weights.locate(str(copy))


def test_the_digest_follows_contents_and_not_place_time_or_files_that_nobody_reads(bert: Path, copy: Path):
    before = weights.digest(bert)
    (copy / "README.md").write_text("a card")
    (copy / "training_args.json").write_text("{}")
    os.utime(copy / "model.safetensors", (0, 0))
    assert len(before) == 64
    assert weights.digest(copy) == before


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json", "1_Pooling/config.json"])
def test_one_changed_byte_in_what_is_read_changes_the_digest(bert: Path, copy: Path, name: str):
    content = bytearray((copy / name).read_bytes())
    content[-2] ^= 1
    (copy / name).write_bytes(content)
    assert weights.digest(copy) != weights.digest(bert)
    with pytest.raises(EncoderError, match="are not those of the spec"):
        weights.verify(copy, weights.digest(bert))


def test_the_same_content_under_another_name_changes_the_digest(copy: Path):
    (copy / "preprocessor_config.json").write_text("{}")
    before = weights.digest(copy)
    (copy / "preprocessor_config.json").rename(copy / "processor_config.json")
    assert weights.digest(copy) != before


def test_a_large_file_is_hashed_once_in_a_process(tmp_path: Path):
    with (tmp_path / "model.safetensors").open("wb") as file:
        file.truncate(300_000_000)
    began = perf_counter()
    first = weights.digest(tmp_path)
    cold, began = perf_counter() - began, perf_counter()
    assert weights.digest(tmp_path) == first
    assert perf_counter() - began < cold / 20


@contextmanager
def hub(folder: Path, requests: list[str]) -> Iterator[str]:
    """A hub with one model, on loopback: the few addresses that its client asks for."""
    names = [p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()]

    class Hub(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requests.append(self.path)
            path = self.path.partition("?")[0]
            name = path.removeprefix(f"/org/name/resolve/{COMMIT}/")
            if path == f"/api/models/org/name/tree/{COMMIT}":
                files = [{"type": "file", "path": n, "size": (folder / n).stat().st_size, "oid": n} for n in names]
                body = json.dumps(files).encode()
            elif path == f"/api/models/org/name/revision/{COMMIT}":
                body = json.dumps({"id": "org/name", "sha": COMMIT}).encode()
            elif name in names:
                body = (folder / name).read_bytes()
            else:
                return self.send_error(404)
            self.send_response(200)
            for header, value in {"ETag": f'"{len(body)}-{name}"', "X-Repo-Commit": COMMIT, "Content-Length": str(len(body))}.items():
                self.send_header(header, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)
            return None

        def do_HEAD(self) -> None:
            self.do_GET()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def locate_elsewhere(home: Path, endpoint: str = "") -> subprocess.CompletedProcess[str]:
    """`locate` in a process of its own, for the hub's client reads its environment once."""
    program = f"from encoders import weights; print(weights.locate('org/name', '{COMMIT}')); print(weights.is_here('org/name', '{COMMIT}'))"
    network = {"HF_ENDPOINT": endpoint, "HF_HUB_OFFLINE": "0"} if endpoint else {"HF_HUB_OFFLINE": "1"}
    environment = {**os.environ, "HF_HOME": str(home), "PYTHONPATH": str(ROOT), "HF_HUB_DISABLE_XET": "1", **network}
    return subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_a_hub_id_is_fetched_once_without_pickles_and_then_found_without_a_network(copy: Path, tmp_path: Path):
    (copy / "pytorch_model.bin").write_bytes(b"pickle")
    (copy / "README.md").write_text("a card")
    requests: list[str] = []
    with hub(copy, requests) as endpoint:
        fetched = locate_elsewhere(tmp_path / "home", endpoint)
    assert fetched.returncode == 0, fetched.stderr
    folder = Path(fetched.stdout.splitlines()[0])
    assert weights.digest(folder) == weights.digest(copy)
    assert not [path for path in requests if "pytorch_model" in path or "README" in path]
    offline = locate_elsewhere(tmp_path / "home")
    assert offline.stdout.splitlines() == [str(folder), "True"]


def test_weights_that_cannot_be_fetched_are_told_by_the_command_that_fetches_them(tmp_path: Path):
    failed = locate_elsewhere(tmp_path / "home")
    command = f"hf download org/name --revision {COMMIT} --include '*.safetensors' --include '*.json' --include '*.txt'"
    assert failed.returncode == 1
    assert f"where there is a network, run: {command}" in failed.stderr


def test_a_download_that_was_cut_short_is_taken_up_again(copy: Path, tmp_path: Path):
    with hub(copy, []) as endpoint:
        folder = Path(locate_elsewhere(tmp_path / "home", endpoint).stdout.splitlines()[0])
        (folder / "model.safetensors").unlink()
        shutil.rmtree(folder.parents[1] / "trees")  # newer clients keep a listing there, by which they would notice it themselves
        assert locate_elsewhere(tmp_path / "home", endpoint).returncode == 0
        assert (folder / "model.safetensors").is_file()


@pytest.mark.parametrize("lost", ["2_Dense/model.safetensors", "1_Pooling/config.json"])
def test_a_download_that_lacks_a_module_of_sentence_transformers_is_taken_up_again(copy: Path, tmp_path: Path, lost: str):
    kinds = {"": "Transformer", "1_Pooling": "Pooling", "2_Dense": "Dense"}
    (copy / "modules.json").write_text(
        json.dumps([{"path": path, "type": f"sentence_transformers.models.{kinds[path]}"} for path in kinds])
    )
    (copy / "2_Dense").mkdir()
    for name in ("config.json", "model.safetensors"):
        (copy / "2_Dense" / name).write_bytes(b"{}")
    with hub(copy, []) as endpoint:
        folder = Path(locate_elsewhere(tmp_path / "home", endpoint).stdout.splitlines()[0])
        assert weights.digest(folder) == weights.digest(copy)
        (folder / lost).unlink()
        shutil.rmtree(folder.parents[1] / "trees")
        assert locate_elsewhere(tmp_path / "home", endpoint).returncode == 0
        assert (folder / lost).is_file()
