"""How smoothly the page shows many answers: frames while 200 cards are made, and while they are scrolled through.

    python -m benchmarks.page_frames DATABASE [WORDS]

Chromium draws without a GPU. Each figure is from requestAnimationFrame: the time between two frames; at 60 Hz a frame has 16.7 ms, and
what takes longer than 50 ms is felt. The layout that cards take while their pictures load must not move (cumulative layout shift, W3C
Layout Instability).
"""

from __future__ import annotations

import platform
import shutil
import sys
import time
from typing import Any

import numpy as np

from benchmarks.page_screenshots import PATIENCE, QUIET, served

WATCH = """() => {
  window.frames_ = [];
  window.shift_ = 0;
  let before = performance.now();
  const each = (now) => { frames_.push(now - before); before = now; requestAnimationFrame(each); };
  requestAnimationFrame(each);
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) if (!entry.hadRecentInput) shift_ += entry.value;
  }).observe({ type: "layout-shift", buffered: true });
}"""
SCROLL = """async () => {
  frames_.length = 0;
  for (let y = 0; y < document.documentElement.scrollHeight; y += 60) {
    scrollTo(0, y);
    await new Promise(requestAnimationFrame);
  }
}"""


def main() -> None:
    """Measure one database."""
    if len(sys.argv) < 2:
        sys.exit("give a database of 200 pictures or more: python -m benchmarks.page_frames demo/lance 'a white cat'")
    from playwright.sync_api import sync_playwright

    words = sys.argv[2] if len(sys.argv) > 2 else "a white cat"
    with served(sys.argv[1]) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=QUIET)
        for medium in ("image", "text"):
            measure(browser, address, words, medium)
        browser.close()


def measure(browser: Any, address: str, words: str, medium: str) -> None:
    """Ask for 200 answers of one medium, wait until they stand, and scroll to the last one."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(PATIENCE)
    page.goto(f"{address}/?q={words}&medium=audio")
    page.wait_for_selector(".card.audio")
    page.evaluate(WATCH)
    start = time.perf_counter()
    page.evaluate(
        "(address) => { history.pushState(null, '', address); dispatchEvent(new PopStateEvent('popstate')); }",
        f"/?q={words}&medium={medium}&limit=200",
    )
    page.wait_for_selector(f".card.{medium}")
    page.wait_for_timeout(1_000)
    cards = page.locator(".card").count()
    shown = time.perf_counter() - start - 1.0
    making = page.evaluate("frames_")
    page.evaluate("shift_ = 0")
    page.evaluate(SCROLL)
    scrolling = page.evaluate("frames_")
    shift = page.evaluate("shift_")
    page.close()
    print(f"{cards} cards of medium {medium}, in {shown:.2f} s, on {platform.processor() or platform.machine()}")
    for what, frames in (("made", making), ("scrolled", scrolling)):
        late = sum(frame > 50 for frame in frames)
        print(f"  {what}: {len(frames)} frames, median {np.median(frames):.1f} ms, longest {max(frames):.0f} ms, {late} over 50 ms")
    print(f"  layout shift {shift:.4f}")


if __name__ == "__main__":
    main()
