"""Pictures of the page for the README, made anew from a demo's table: python -m benchmarks.page_screenshots DEMO_DATABASE.

Chromium draws them; each is reduced to 256 colours and stays below 250 kB.
"""

from __future__ import annotations

import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import uvicorn
from PIL import Image

from retrieval.page import serving
from retrieval.page.library import Library
from retrieval.page.server import make_app

FOLDER = Path(__file__).parent.parent / "docs" / "images"
QUIET = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--no-first-run"]
MOST = 250_000  # bytes
PATIENCE = 240_000  # milliseconds

DESK = {"viewport": {"width": 1280, "height": 1240}, "color_scheme": "light"}
PHONE = {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark", "device_scale_factor": 2, "is_mobile": True, "has_touch": True}
SEEN = "[...document.querySelectorAll('img')].every((image) => image.getBoundingClientRect().top > innerHeight || image.naturalWidth)"


def main() -> None:
    """Draw all pictures from the database that the command names."""
    if len(sys.argv) != 2:
        sys.exit("give the database that `sensorium demo` made: python -m benchmarks.page_screenshots demo/lance")
    from playwright.sync_api import sync_playwright

    FOLDER.mkdir(exist_ok=True)
    with served(sys.argv[1]) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=QUIET)
        for name, draw in DRAWN.items():
            print(f"{name}: {kept(draw(browser, address), FOLDER / name):,} bytes")
        browser.close()


@contextmanager
def served(database: str) -> Iterator[str]:
    """The page of a database, for as long as it is needed."""
    library = Library(database)
    library.open()
    library.warm()
    listening = serving.listen(0)
    listening.listen()
    server = uvicorn.Server(uvicorn.Config(make_app(library), log_level="error", lifespan="off", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    yield serving.address(listening).rstrip("/")
    server.should_exit = True
    thread.join()


def search(browser: Any, address: str) -> bytes:
    """Answers to words, by day."""
    page = opened(browser, f"{address}/?q=a+white+cat", "#answers .card", DESK)
    return drawn(page)


def phone(browser: Any, address: str) -> bytes:
    """Sounds that answer Chinese words, on a phone at night, one of them playing."""
    page = opened(browser, f"{address}/?q=在雨中，一只狗在叫&medium=audio", "#answers .card.audio", PHONE)
    page.wait_for_timeout(2_000)
    page.locator(".card.audio button.main").first.click()
    page.wait_for_timeout(1_200)
    return drawn(page)


def map_of(browser: Any, address: str) -> bytes:
    """The map, with the answers to a question ringed and one object under the pointer."""
    page = opened(browser, f"{address}/?q=a+white+cat+at+night", "#answers .card", DESK | {"viewport": {"width": 1280, "height": 820}})
    page.click("nav [data-name=map]")
    page.wait_for_selector("#map canvas")
    page.wait_for_timeout(500)
    area = page.locator("#map canvas").bounding_box()
    for x, y in product(range(0, int(area["width"]), 9), range(0, int(area["height"]), 9)):
        page.mouse.move(area["x"] + x, area["y"] + y)
        if page.locator(".tip img").count() and "white-cat" in page.inner_text(".tip"):
            break
    page.wait_for_timeout(1_500)
    return drawn(page)


DRAWN = {"page-search.png": search, "page-dark.png": phone, "page-map.png": map_of}


def opened(browser: Any, address: str, wanted: str, how: dict[str, Any]) -> Any:
    """A page that shows what is wanted."""
    page = browser.new_context(**how).new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(address)
    page.wait_for_selector(wanted)
    return page


def drawn(page: Any) -> bytes:
    """The page once its pictures are here, as PNG."""
    for _ in range(PATIENCE // 500):
        if page.evaluate(SEEN):
            break
        page.wait_for_timeout(500)
    page.wait_for_timeout(1_500)
    picture: bytes = page.screenshot()
    page.context.close()
    return picture


def kept(picture: bytes, path: Path) -> int:
    """Write a picture with as many colours as fit; its size."""
    path.write_bytes(picture)
    for colours in (256, 128, 64, 32):
        if path.stat().st_size <= MOST:
            break
        path.write_bytes(picture)
        with Image.open(path) as image:
            image.convert("RGB").quantize(colours, kmeans=10, dither=Image.Dither.NONE).save(path, optimize=True)
    return path.stat().st_size


if __name__ == "__main__":
    main()
