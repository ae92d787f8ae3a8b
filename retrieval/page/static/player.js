// A sound: its shape, the window that answers, and one button that plays just that. One sound plays at a time.

import { about, media, why } from "./api.js";
import { el, icon, svg } from "./dom.js";
import { clock, span, visible } from "./format.js";

const PLAY = "M8 5.500v13l11-6.500z";
const PAUSE = "M7 5h3.500v14H7zM13.500 5H17v14h-3.500z";

let playing = null;

/** Stop what plays, or is about to. */
export function pause() {
  playing?.pause();
  playing = null;
}

const shapes = new Map();
const seen = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    seen.unobserve(target);
    shapes.get(target)?.();
    shapes.delete(target);
  }
}, { rootMargin: "200px" });

/** A player of `item` whose window is from `start` to `end`; `onlost` is told why it cannot be played. */
export function player(item, onlost) {
  const whole = Math.max(item.seconds || item.end || 1, item.end ?? 0);
  const window_ = { start: item.start ?? 0, end: item.end ?? whole };
  const button = el("button", { type: "button", onclick: toggle }, icon(PLAY));
  const head = el("i", { class: "head" });
  const wave = el("div", { class: "wave", onclick: seek }, shape([], window_, whole), head);
  const root = el("div", { class: "player" }, button, wave);
  let sound = null;
  let stop = window_.end;
  let bars = [];
  label();

  shapes.set(root, () => about("loudness", item.id).then((loudness) => {
    bars = loudness.bars;
    draw();
  }, lost));
  seen.observe(root);

  function draw() {
    wave.firstChild.replaceWith(shape(bars, window_, whole));
  }

  function label() {
    button.setAttribute("aria-label", `${sound && !sound.paused ? "Pause" : "Play"} ${span(window_.start, window_.end)} of ${visible(item.name)}`);
  }

  function made() {
    if (sound) return sound;
    sound = el("audio", { src: media(item), preload: "auto", onplay: shown, onpause: shown, onerror: () => why(media(item)).then(lost) });
    root.append(sound);
    return sound;
  }

  function toggle() {
    if (sound && !sound.paused) return sound.pause();
    const again = sound && sound.currentTime > window_.start && sound.currentTime < window_.end - 0.05;
    return from(again ? sound.currentTime : window_.start, window_.end);
  }

  function seek(event) {
    const box = wave.getBoundingClientRect();
    const at = ((event.clientX - box.left) / box.width) * whole;
    from(at, at < window_.end && at >= window_.start ? window_.end : whole);
  }

  /** Play from one second to another. The first is set once the browser knows the sound's length: before that it would be forgotten. */
  function from(start, end) {
    const audio = made();
    stop = end;
    if (playing !== audio) pause();
    playing = audio;
    const begin = () => {
      if (playing !== audio) return;
      audio.currentTime = start;
      audio.play().catch(() => {});
    };
    if (audio.readyState >= 1) begin();
    else audio.addEventListener("loadedmetadata", begin, { once: true });
  }

  function shown() {
    const on = !sound.paused;
    root.classList.toggle("playing", on);
    button.firstChild.replaceWith(icon(on ? PAUSE : PLAY));
    label();
    if (on) requestAnimationFrame(follow);
  }

  function follow() {
    if (sound.paused) return;
    if (sound.currentTime >= stop) sound.pause();
    head.style.setProperty("left", `${Math.min(100, (100 * sound.currentTime) / whole)}%`);
    requestAnimationFrame(follow);
  }

  function lost(problem) {
    seen.unobserve(root);
    onlost({ reason: problem.reason ?? "", error: problem.error ?? problem.message });
  }

  return { root, playFrom: from, setWindow(start, end) {
    Object.assign(window_, { start, end });
    draw();
    label();
    from(start, end);
  }, toggle };
}

/** The time that a card of a sound tells. */
export function times(item) {
  const whole = item.seconds ?? item.end;
  const all = item.start <= 0.05 && whole - item.end <= 0.05;
  const near = item.end - item.start >= 2 ? Math.round : (seconds) => seconds;  // tenths matter for short windows alone
  return all ? clock(whole) : `${span(near(item.start), near(item.end))} of ${clock(near(whole))}`;
}

function shape(bars, window_, whole) {
  const [low, high] = [(1000 * window_.start) / whole, (1000 * window_.end) / whole];
  const drawn = svg("svg", { viewBox: "0 0 1000 100", preserveAspectRatio: "none", "aria-hidden": "true" });
  if (high - low < 999) drawn.append(svg("rect", { class: "span", x: low, y: 0, width: Math.max(4, high - low), height: 100 }));
  if (!bars.length) {
    drawn.append(svg("rect", { class: "bars", x: 0, y: 48, width: 1000, height: 4 }), svg("rect", { class: "window", x: low, y: 48, width: Math.max(4, high - low), height: 4 }));
    return drawn;
  }
  const step = 1000 / bars.length;
  const outline = { bars: "", window: "" };
  bars.forEach((bar, n) => {
    const middle = (n + 0.5) * step;
    const tall = Math.max(3, bar * 0.96);
    outline[middle >= low && middle <= high ? "window" : "bars"] += `M${(n * step + step * 0.18).toFixed(1)} ${(50 - tall / 2).toFixed(1)}h${(step * 0.64).toFixed(1)}v${tall.toFixed(1)}h${(-step * 0.64).toFixed(1)}z`;
  });
  for (const [name, d] of Object.entries(outline)) if (d) drawn.append(svg("path", { class: name, d }));
  return drawn;
}
