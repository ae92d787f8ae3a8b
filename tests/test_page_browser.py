"""The page in a real browser: search, listen, drop, follow, read odd names, by keyboard, in the dark, on a phone, without a stranger."""

from __future__ import annotations

import base64
import re
import shutil
import socket
import threading
import time
from urllib.parse import urlsplit

import page_bucket
import pytest
import uvicorn

from retrieval.page.items import id_of
from retrieval.page.library import Library
from retrieval.page.server import make_app

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
QUIET = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--no-first-run"),
]
PATIENCE = 120_000  # milliseconds, on a busy machine

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine; .ci/run installs one")


@pytest.fixture(scope="module")
def bucket(tmp_path_factory):
    return page_bucket.page_table(tmp_path_factory.mktemp("browser"))[0]


@pytest.fixture(scope="module")
def address(bucket):
    library = Library(str(bucket.parent / "lance"))
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(make_app(library), log_level="error", lifespan="off", timeout_graceful_shutdown=1))
    served = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    served.start()
    library.open()
    library.warm()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    served.join(20)
    listening.close()


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield opened
        opened.close()


@pytest.fixture
def visit(browser, address):
    """Opens the page; afterwards nothing may have gone wrong in it, nor left this machine."""
    contexts, faults = [], []
    expected = []

    def opened(path="/", *, forgive="", **how):
        expected.append(forgive)
        context = browser.new_context(**{"viewport": {"width": 1200, "height": 900}} | how)
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda line: line.type in ("error", "warning") and faults.append(line.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("dialog", lambda dialog: (faults.append(f"dialog {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda asked: _is_own(asked.url, address) or faults.append(f"asked {asked.url}"))
        page.goto(address + path)
        page.wait_for_selector("#media .chip", state="attached")
        return page

    yield opened
    for context in contexts:
        context.close()
    allowed = next(filter(None, expected), None)
    assert [fault for fault in faults if not (allowed and re.search(allowed, fault))] == []


def _is_own(url, address):
    return url.startswith(f"{address}/") or urlsplit(url).scheme in ("blob", "data")


def ask(page, words):
    page.fill("#q", words)
    page.press("#q", "Enter")
    page.wait_for_selector("#answers .card")


def until(page, expression):
    """Waits until some JavaScript is true; asked from outside, since the page itself evaluates no strings."""
    end = time.monotonic() + PATIENCE / 1000
    while not page.evaluate(expression):
        assert time.monotonic() < end, f"not in time: {expression}"
        page.wait_for_timeout(50)


def id_in(bucket, name):
    return id_of(f"file://{next(bucket.rglob(name))}")


@pytest.mark.parametrize("words", ["a white cat", "夜晚，一只白色的猫"])
def test_words_in_either_language_find_pictures_sounds_videos_and_passages(visit, words):
    page = visit()
    assert "fresh" in page.get_attribute("body", "class")
    ask(page, words)
    page.wait_for_selector(".card.text")
    assert page.locator("#answers h2").all_inner_texts() == ["Pictures", "Sounds", "Videos", "Passages"]
    assert page.locator(".card.text mark").first.inner_text().strip()
    until(page, "[...document.querySelectorAll('.card.image img')].some((image) => image.naturalWidth > 0)")
    assert page.title().startswith(words) and "nearest first" in page.inner_text("#said")
    page.go_back()
    until(page, "document.querySelectorAll('.card').length === 0 && document.getElementById('q').value === ''")


def test_a_sound_plays_from_the_window_that_matched_to_its_end(visit, bucket):
    page = visit(f"/?like={id_in(bucket, 'moment.wav')}&medium=audio")
    card = page.locator(f".card.audio[data-id='{id_in(bucket, 'long.wav')}']")
    card.wait_for()
    assert "0:06 – 0:09 of 0:09" in card.inner_text()
    card.locator("svg path.window").wait_for(state="attached")
    assert card.locator("svg path.bars").count() == 1
    card.locator("button.main").click()
    times = page.evaluate(
        """async () => {
          const audio = document.querySelector("audio");
          const at = [];
          const until = Date.now() + 30000;
          while (at.length < 5 && Date.now() < until) {
            await new Promise(requestAnimationFrame);
            if (!audio.paused && !audio.seeking && audio.currentTime !== at.at(-1)) at.push(audio.currentTime);
          }
          audio.playbackRate = 8;
          return at;
        }"""
    )
    assert len(times) == 5 and times == sorted(times) and 6.1 < times[0] < 8 and times[-1] > times[0]
    until(page, "document.querySelector('audio').paused")
    assert page.evaluate("document.querySelector('audio').currentTime") > 8.9


def test_a_video_is_shown_at_its_moment(visit, bucket):
    page = visit("/?q=a+cat&medium=video")
    page.wait_for_selector(".card.video")
    page.click(".card.video .main")
    until(page, "document.querySelector('dialog video')?.readyState >= 1")
    start = float(re.search(r"#t=([\d.]+)", page.get_attribute("dialog video", "src"))[1])
    assert abs(page.evaluate("document.querySelector('dialog video').currentTime") - start) < 0.5
    assert page.evaluate("document.querySelector('dialog video').duration") == pytest.approx(6.0, abs=0.2)


def test_a_picture_that_is_dropped_is_the_question(visit, bucket):
    page = visit()
    data = base64.b64encode((bucket / "pictures/1.png").read_bytes()).decode()
    carried = page.evaluate_handle(
        """(data) => {
          const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
          const carried = new DataTransfer();
          carried.items.add(new File([bytes], "my <b>picture</b>.png", { type: "image/png" }));
          return carried;
        }""",
        data,
    )
    page.dispatch_event("body", "dragenter", {"dataTransfer": carried})
    assert page.evaluate("document.body.classList.contains('dragging')")
    page.dispatch_event("body", "drop", {"dataTransfer": carried})
    page.wait_for_selector(".card.image")
    found = {page.locator(".card.image").nth(n).get_attribute("data-id") for n in (0, 1)}
    assert found == {id_in(bucket, "1.png"), id_in(bucket, "scan.tiff")}
    assert "my <b>picture</b>.png" in page.inner_text("#example")
    assert not page.evaluate("document.body.classList.contains('dragging')")
    page.click("#media [data-medium=audio]")
    until(page, "document.querySelectorAll('.card.audio').length && !document.querySelectorAll('.card.image').length")
    page.reload()
    page.wait_for_selector("text=That file is gone")


def test_more_like_this_is_followed_and_back_returns(visit, bucket):
    page = visit()
    ask(page, "a cat")
    card = page.locator(f".card[data-id='{id_in(bucket, 'scan.tiff')}']")
    card.hover()
    card.locator(".like").click()
    page.wait_for_selector(f".card[data-id='{id_in(bucket, '1.png')}']")
    until(page, "document.querySelector('#example').innerText.includes('scan.tiff')")
    assert "like=" in page.url
    until(page, f"document.querySelector('.card.image')?.dataset.id === '{id_in(bucket, '1.png')}'")
    page.go_back()
    until(page, "document.querySelector('#q').value === 'a cat' && document.querySelector('#example').hidden")


def test_a_name_that_is_markup_is_shown_as_text_and_runs_nothing(visit):
    page = visit()
    ask(page, "a cat")
    name = page_bucket.HOSTILE
    assert name in page.locator(".card .name").all_inner_texts()
    page.locator(".card .name").filter(has_text="onerror").click()
    page.wait_for_selector("dialog[open]")
    assert page.inner_text("dialog h2") == name
    page.keyboard.press("Escape")
    assert page.locator("img[src='x'], b, [onerror]").count() == 0
    page.goto(page.url.split("?")[0] + "?q=" + "%3Cimg+src%3Dx+onerror%3Dalert(1)%3E")
    page.wait_for_selector(".card")
    assert page.locator("img[src='x']").count() == 0


def test_it_is_dark_where_the_system_is_and_the_switch_is_remembered(visit):
    def light(page):
        return sum(map(int, re.findall(r"\d+", page.evaluate("getComputedStyle(document.documentElement).backgroundColor"))[:3])) / 3

    page = visit(color_scheme="light")
    assert light(page) > 200
    page.emulate_media(color_scheme="dark")
    assert light(page) < 60
    page.click("#theme")
    assert light(page) > 200
    page.reload()
    assert light(page) > 200
    page.emulate_media(color_scheme="light")
    page.emulate_media(color_scheme="dark")
    assert light(page) > 200, "what was chosen is kept"
    assert light(visit(color_scheme="light")) > 200


def test_a_phone_scrolls_only_up_and_down(visit):
    page = visit(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    widths = []

    def look(what):
        page.wait_for_selector(what)
        widths.append(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))

    look("#greeting")
    page.click("#more")
    ask(page, "a cat")
    look(".card.text")
    page.click(".card.image .main")
    look("dialog[open] img")
    page.click(".shut")
    page.click("nav [data-name=map]")
    look("#map canvas")
    page.click("nav [data-name=table]")
    look(".failed")
    assert widths == [0] * 5


def test_who_goes_on_while_the_whole_closes_is_not_called_back(visit):
    page = visit("/?q=a+cat")
    page.click(".card .main")
    page.wait_for_selector("dialog[open]")
    page.keyboard.press("ArrowRight")
    later = "new Promise((done) => requestAnimationFrame(() => setTimeout(() => done(document.activeElement.id), 50)))"
    assert (
        page.evaluate(f"(() => {{ document.querySelector('dialog').close(); document.querySelector('#q').focus(); return {later}; }})()")
        == "q"
    )


def test_the_keyboard_is_enough(visit):
    page = visit()
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("/")
    page.keyboard.type("a cat")
    page.keyboard.press("Enter")
    page.wait_for_selector(".card.text")

    def focused():
        return page.evaluate("[...document.querySelectorAll('.card')].indexOf(document.activeElement.closest('.card'))")

    page.keyboard.press("ArrowDown")
    assert focused() == 0
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert focused() == 2
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowDown")
    row, column = page.evaluate(
        """(() => {
          const cards = [document.querySelector(".card"), document.activeElement.closest(".card")];
          const [first, here] = cards.map((each) => each.getBoundingClientRect());
          return [here.top - first.top, here.left - first.left];
        })()"""
    )
    assert row > 50 and column == 0
    page.keyboard.press("ArrowUp")
    assert focused() == 0
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog[open]")
    name = page.inner_text("dialog h2")
    page.keyboard.press("ArrowRight")
    assert page.inner_text("dialog h2") != name
    page.keyboard.press("ArrowLeft")
    assert page.inner_text("dialog h2") == name
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog[open]", state="hidden")
    assert focused() == 2
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.id") == "q"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "clear"


def test_everything_that_is_pressed_has_a_name(visit):
    page = visit()
    ask(page, "a cat")
    page.wait_for_selector(".card.text")
    nameless = page.evaluate(
        """[...document.querySelectorAll("button, a, input, select, canvas, [role=group]")].filter((each) => each.offsetParent
          && !(each.getAttribute("aria-label") || each.textContent.trim() || each.closest("label")?.textContent.trim()))
          .map((each) => each.outerHTML)"""
    )
    assert nameless == []


def test_the_map_tells_what_is_under_the_pointer_and_opens_it(visit, bucket):
    page = visit("/?view=map")
    page.wait_for_selector("#map canvas")
    page.focus("#map canvas")
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("#map .tip:not([hidden])")
    name = page.inner_text("#map .tip").splitlines()[0]
    x, y = map(float, re.findall(r"-?[\d.]+(?=px)", page.evaluate("document.querySelector('.tip').style.transform")))
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog[open]")
    assert page.inner_text("dialog h2") in name or name in page.inner_text("dialog h2")
    page.keyboard.press("Escape")
    box = page.locator("#map canvas").bounding_box()
    page.mouse.move(box["x"] + 2, box["y"] + 2)
    page.wait_for_selector("#map .tip", state="hidden")
    names = set()
    for dx, dy in ((-16, -16), (-16, 16)):  # the tip stands below or above its point
        page.mouse.move(box["x"] + x + dx, box["y"] + y + dy)
        if page.locator("#map .tip").is_visible():
            names.add(page.inner_text("#map .tip").splitlines()[0])
    assert name in names or not names
    page.click(".legend [data-medium=text]")
    assert page.get_attribute(".legend [data-medium=text]", "aria-pressed") == "false"


def test_the_table_view_tells_runs_and_why_objects_failed(visit):
    page = visit("/?view=table")
    page.wait_for_selector(".failed li")
    assert page.locator(".failed li").count() == 2
    assert {"broken.png", "empty.txt"} == set(page.locator(".failed strong").all_inner_texts())
    page.click(".reasons [data-reason=empty]")
    assert page.locator(".failed strong").all_inner_texts() == ["empty.txt"]
    assert "finished" in page.inner_text(".scroll")


def test_filters_stand_in_the_address_and_no_answer_says_so(visit):
    page = visit()
    page.click("#more")
    page.fill("[name=after]", "2999-01-01")
    ask_for = page.locator("#q")
    ask_for.fill("a cat")
    ask_for.press("Enter")
    page.wait_for_selector("text=Nothing in the table passes these filters.")
    assert "after=2999-01-01" in page.url and "Filters (1)" in page.inner_text("#more")
    page.click("#answers .solid")
    page.wait_for_selector(".card")
    assert "after" not in page.url


def test_what_vanished_says_so_in_its_card(visit, bucket):
    path, away = bucket / "pictures/2.png", bucket.parent / "away.png"
    path.rename(away)
    try:
        page = visit("/?q=a+cat&medium=image", forgive="410")
        card = page.locator(f".card[data-id='{id_of(f'file://{path}')}']")
        card.locator(".lost").wait_for()
        assert "Vanished" in card.inner_text() and "gone from its source" in card.inner_text()
    finally:
        away.rename(path)


def test_a_server_that_has_ended_is_told(visit):
    page = visit(forgive="Failed to load resource")
    page.context.set_offline(True)
    page.fill("#q", "a cat")
    page.press("#q", "Enter")
    page.wait_for_selector("text=Is `sensorium view` still running")


def test_a_question_that_cannot_be_asked_is_told(visit):
    page = visit("/?q=a+cat&modality=smell", forgive="422")
    page.wait_for_selector("text=That could not be asked")
    assert "allowed are" in page.inner_text("#answers")
