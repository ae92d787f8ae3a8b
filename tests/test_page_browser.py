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


def amend(page, route, change):
    """Changes what the server answers to one route: what a later run, or a rare object, would make of it."""

    def answer(asked):
        response = asked.fetch()
        told = response.json()
        change(told)
        asked.fulfill(response=response, json=told)

    page.route(re.compile(rf"/api/{route}\b"), answer)


def drop(page, path, name):
    """Drops a file on the page as a person would."""
    carried = page.evaluate_handle(
        """([data, name]) => {
          const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
          const carried = new DataTransfer();
          carried.items.add(new File([bytes], name, { type: "image/png" }));
          return carried;
        }""",
        [base64.b64encode(path.read_bytes()).decode(), name],
    )
    page.dispatch_event("body", "dragenter", {"dataTransfer": carried})
    assert page.evaluate("document.body.classList.contains('dragging')")
    page.dispatch_event("body", "drop", {"dataTransfer": carried})


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
    drop(page, bucket / "pictures/1.png", "my <b>picture</b>.png")
    page.wait_for_selector(".card.image")
    found = {page.locator(".card.image").nth(n).get_attribute("data-id") for n in (0, 1)}
    assert found == {id_in(bucket, "1.png"), id_in(bucket, "scan.tiff")}
    assert "my <b>picture</b>.png" in page.inner_text("#example")
    assert not page.evaluate("document.body.classList.contains('dragging')")
    page.click("#media [data-medium=audio]")
    until(page, "document.querySelectorAll('.card.audio').length && !document.querySelectorAll('.card.image').length")
    page.reload()
    page.wait_for_selector("text=That file is gone")
    drop(page, bucket / "pictures/1.png", "my <b>picture</b>.png")
    page.wait_for_selector(".card.audio")


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
        page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")  # the page is told with a frame
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
    assert re.fullmatch(r"file:///.*/texts/empty\.txt", page.locator(".failed li .address").inner_text())
    assert "finished" in page.inner_text(".scroll")


def test_the_open_page_follows_what_is_published(visit):
    page = visit("/?q=a+cat")
    page.wait_for_selector(".card")
    page.click("nav [data-name=map]")
    page.wait_for_selector("#map canvas")
    page.click("nav [data-name=search]")
    maps, steps = [], page.evaluate("history.length")
    page.on("request", lambda asked: "/api/map" in asked.url and maps.append(asked.url))
    amend(page, "search", lambda told: told.update(version=4711))
    amend(page, "outline", lambda told: (told.update(version=4711), told["media"]["image"].update(objects=1234)))
    amend(page, "map", lambda told: told.update(version=4711, objects=5678))
    page.press("#q", "Enter")
    page.wait_for_selector("#media [data-medium=image] small:text-is('1,234')")
    assert page.evaluate("history.length") == steps, "the same question is no further step back"
    page.click("nav [data-name=map]")
    page.wait_for_selector("#map .told:has-text('5,678 objects')")
    page.click("nav [data-name=search]")
    page.click("nav [data-name=map]")
    assert len(maps) == 1, "a map is drawn once for each version"


def test_a_point_whose_object_is_gone_says_so(visit):
    page = visit("/?view=map", forgive="404")
    gone = {"error": "the table holds no such object"}
    page.route(re.compile("/api/object/"), lambda asked: asked.fulfill(status=404, json=gone))
    page.focus("#map canvas")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.wait_for_selector("#map .told:text-is('the table holds no such object')")
    assert not page.locator("dialog").is_visible()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Escape")
    page.wait_for_selector("#map .told:has-text('objects; what is alike')")


def test_a_sound_from_the_map_tells_how_long_it_is(visit):
    page = visit("/?view=map")
    page.wait_for_selector("#map canvas")
    for medium in ("image", "video", "text"):
        page.click(f".legend [data-medium={medium}]")
    page.focus("#map canvas")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog[open]")
    assert page.inner_text("dialog .times").split(".")[0] in ("0:03", "0:09")


def test_a_map_that_is_opened_with_a_question_rings_its_answers(visit):
    page = visit("/?q=a+cat&medium=video&view=map")
    page.wait_for_selector("#map .told:has-text('Ringed: the 1 answer')")


def test_another_moment_of_a_sound_turns_its_shape_time_and_chips(visit, bucket):
    page = visit()
    amend(page, "like", lambda told: [each.update(also=[{"start": 0.0, "end": 3.072}]) for each in told["groups"][0]["answers"]])
    page.goto(f"{page.url}?like={id_in(bucket, 'moment.wav')}&medium=audio")
    card = page.locator(f".card.audio[data-id='{id_in(bucket, 'long.wav')}']")
    card.locator("svg path.window").wait_for(state="attached")
    assert float(card.locator("rect.span").get_attribute("x")) > 600
    card.locator(".others button").click()
    assert "0:00 – 0:03 of 0:09" in card.inner_text()
    assert float(card.locator("rect.span").get_attribute("x")) == 0
    assert card.locator(".others button").all_inner_texts() == ["0:06"]
    assert page.evaluate("document.activeElement.classList.contains('main')")
    card.locator(".others button").click()
    assert "0:06 – 0:09 of 0:09" in card.inner_text()


@pytest.mark.parametrize("leave", [".card.audio .name", "nav [data-name=map]"])
def test_a_sound_falls_silent_when_the_whole_or_another_view_is_shown(visit, leave):
    page = visit("/?q=a+cat&medium=audio")
    page.locator(".card.audio button.main").first.click()
    until(page, "document.querySelector('audio')?.paused === false")
    page.evaluate("document.querySelector('audio').playbackRate = 0.07")
    page.locator(leave).first.click()
    page.wait_for_selector("dialog[open], #map:not([hidden])")
    assert page.evaluate("document.querySelector('.card audio').paused")


def test_the_whole_of_a_sound_is_reached_by_keyboard(visit):
    page = visit("/?q=a+cat&medium=audio")
    page.locator(".card.audio .main").first.focus()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "name"
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog[open]")
    button, stage = (
        page.evaluate(f"getComputedStyle(document.querySelector('dialog {what}')).backgroundColor")
        for what in (".player > button", ".stage")
    )
    assert button != stage, "the button is seen"
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog[open]", state="hidden")
    assert page.evaluate("document.activeElement.className") == "name"


def test_a_passage_says_where_its_text_goes_on(visit, bucket):
    page = visit()
    edges = {id_in(bucket, "story.md"): [True, True], id_in(bucket, "page.html"): [False, True]}

    def cut(told):
        for each in told["groups"][0]["answers"]:
            each["cut"] = edges.get(each["id"], [False, False])

    amend(page, "search", cut)
    page.goto(f"{page.url}?q=a+blue+train&medium=text")
    page.wait_for_selector(".card.text")
    shown = page.evaluate(
        "[...document.querySelectorAll('.card.text')].map((card) => [card.dataset.id, card.querySelector('.passage').textContent])"
    )
    assert len(shown) >= 3
    for name, words in shown:
        assert [words.startswith("… "), words.endswith(" …")] == edges.get(name, [False, False])


@pytest.mark.parametrize("width", [360, 412])
def test_a_narrow_page_hides_nothing_and_its_buttons_can_be_hit(visit, width):
    page = visit("/?q=a+cat", viewport={"width": width, "height": 740})
    page.wait_for_selector(".card.text")
    small = page.evaluate(
        """[...document.querySelectorAll("button")].filter((each) => each.offsetParent && each.tabIndex >= 0)
          .map((each) => [each.getBoundingClientRect(), each.className || each.textContent])
          .filter(([box]) => box.height < 24 || box.right > innerWidth).map(([, name]) => name)"""
    )
    assert small == []
    page.click("nav [data-name=map]")
    page.wait_for_selector("#map .told:has-text('objects')")
    words, zoom = (page.locator(f"#map .{what}").bounding_box() for what in ("told", "zoom"))
    assert words["x"] + words["width"] <= zoom["x"]


def test_a_low_window_shows_a_picture_whole(visit):
    page = visit("/?q=a+cat&medium=image", viewport={"width": 640, "height": 450})
    page.locator(".card .main").first.click()
    until(page, "document.querySelector('dialog img')?.naturalWidth > 0")
    image, stage = (page.locator(f"dialog {what}").bounding_box() for what in ("img", ".stage"))
    assert stage["y"] <= image["y"] and image["y"] + image["height"] <= stage["y"] + stage["height"]


CONTRAST = """(selector) => {
  const pen = Object.assign(document.createElement("canvas"), { width: 1, height: 1 }).getContext("2d", { willReadFrequently: true });
  const over = (colour, alpha = 1) => {
    pen.globalAlpha = alpha;
    pen.fillStyle = colour;
    pen.fillRect(0, 0, 1, 1);
    return [...pen.getImageData(0, 0, 1, 1).data];
  };
  const [where, pseudo] = selector.split("::");
  const node = document.querySelector(where);
  const line = [];
  for (let each = node; each; each = each.parentElement) line.unshift(getComputedStyle(each));
  const own = getComputedStyle(node, pseudo ? `::${pseudo}` : null);
  let ground = [];
  for (const each of line) ground = over(each.backgroundColor);
  const ink = over(own.color, line.reduce((alpha, each) => alpha * each.opacity, pseudo ? Number(own.opacity) : 1));
  const light = (rgb) => rgb.slice(0, 3).map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, n) => sum + v * [0.2126, 0.7152, 0.0722][n], 0);
  const [low, high] = [light(ink), light(ground)].sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out_from_their_ground(visit, scheme):
    page = visit("/", color_scheme=scheme)
    seen = {
        what: page.evaluate(CONTRAST, what)
        for what in ("#q::placeholder", "#media [data-medium=image] small", "#media [aria-pressed=true] small")
    }
    page.click("nav [data-name=map]")
    page.click(".legend [data-medium=text]")
    page.mouse.move(1, 1)
    seen["legend"] = page.evaluate(CONTRAST, ".legend [aria-pressed=false]")
    assert {what: ratio for what, ratio in seen.items() if ratio < 4.5} == {}  # WCAG 2.2, 1.4.3


def test_odd_names_and_scores_are_written_so_that_they_can_be_read(visit):
    page = visit(reduced_motion="reduce")
    amend(page, "search", lambda told: told["groups"][0]["answers"][0].update(name="\u202egnp.exe.jpg", score=-0.0001))
    ask(page, "a cat")
    card = page.locator(".card").first
    assert card.locator(".name").inner_text() == "\ufffdgnp.exe.jpg"
    assert card.locator(".score").inner_text() == "0.00"
    card.hover()
    assert page.evaluate("getComputedStyle(document.querySelector('.card.image img')).transform") == "none"
    card.locator(".main").click()
    assert page.inner_text("dialog h2") == "\ufffdgnp.exe.jpg"
    assert "0.000" in page.inner_text("dialog dl") and "-0.000" not in page.inner_text("dialog dl")


def test_only_the_first_question_waits_for_the_encoders(visit):
    page = visit()
    page.route(re.compile("/api/search"), lambda asked: (page.wait_for_timeout(1500), asked.continue_()))
    for words, waits in (("a cat", True), ("a dog", False)):
        page.fill("#q", words)
        page.press("#q", "Enter")
        page.wait_for_selector("#answers h2:text-is('Looking …')")
        assert ("encoders" in page.inner_text("#answers")) == waits
        page.wait_for_selector("#answers .card")


def test_an_empty_table_is_told_whatever_the_filters(visit):
    page = visit()
    amend(page, "outline", lambda told: told.update(media={}))
    amend(page, "search", lambda told: told.update(groups=[]))
    page.goto(f"{page.url}?q=a+cat&after=2020-01-01")
    page.wait_for_selector("text=The table is empty.")


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
        card.locator(".main").click()
        page.locator("dialog .lost strong").wait_for()
        assert page.locator("dialog > .stage > .lost").inner_text().splitlines() == ["Vanished", "It is gone from its source."]
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
