// One answer as a card, by its medium.

import { media, thumbnail, why } from "./api.js";
import { el, icon } from "./dom.js";
import { clock, ONE, score, span, visible } from "./format.js";
import { player, times } from "./player.js";
import { go } from "./state.js";

const CONTEXT = 160;  // characters beside a hit that the server gives at most: so many end within a word
const KINDS = { image: picture, audio: sound, video, text };

/** A card; `open` shows the whole object. */
export function card(item, open) {
  const body = KINDS[item.medium](item, open);
  return el("li", { class: `card ${item.medium}`, data: { medium: item.medium, id: item.id } }, body);
}

/** Show in `frame` why there is nothing to see. */
export function lost(frame, problem) {
  frame.querySelector("img, video")?.remove();
  const [reason, ...rest] = problem.error.split(": ");
  const told = problem.reason && rest.length ? [el("strong", {}, capital(problem.reason)), LOST[problem.reason] ?? rest.join(": ")] : [reason, ...rest];
  frame.append(el("span", { class: "lost", title: problem.error }, told.map((line) => el("span", {}, line))));
}

const LOST = {
  vanished: "It is gone from its source.",
  changed: "It was replaced since it was embedded.",
  denied: "It may not be read.",
  unavailable: "Its source does not answer.",
};

const capital = (words) => words.charAt(0).toUpperCase() + words.slice(1);

function picture(item, open) {
  return [framed(item, open), like(item), under(item, open)];
}

function video(item, open) {
  const frame = framed(item, open, item.start);
  frame.append(el("span", { class: "play" }, icon("M8 5.500v13l11-6.500z")), el("span", { class: "when" }, span(item.start, item.end)));
  return [frame, like(item), line(item), under(item, open)];
}

function framed(item, open, at = 0) {
  const facts = `${ONE[item.medium]}, ${score(item.score)}${item.medium === "video" ? `, ${span(item.start, item.end)}` : ""}`;
  const frame = el("button", { class: "frame main", type: "button", "aria-label": `${visible(item.name)} (${facts})`, onclick: () => open(item) });
  const address = thumbnail(item, "card", at);
  const image = el("img", { src: address, alt: "", loading: "lazy", decoding: "async", draggable: "false" });
  image.addEventListener("error", () => why(address).then((problem) => lost(frame, problem)), { once: true });
  frame.append(image);
  return frame;
}

function sound(item, open) {
  const made = player(item, (problem) => {
    made.root.hidden = true;
    const note = el("p", { class: "lost" });
    made.root.after(note);
    lost(note, problem);
  });
  made.root.firstChild.classList.add("main");
  const windows = [item, ...item.also.slice(0, 2)];
  const time = el("span", {}, times(item));
  const others = el("span", { class: "others" });
  const chip = (each) => el("button", { type: "button", onclick: () => turn(each), "aria-label": `Play ${span(each.start, each.end)}` }, clock(Math.floor(each.start)));
  const offer = (present) => others.replaceChildren(...(windows.length > 1 ? ["also", ...windows.filter((each) => each !== present).map(chip)] : []));
  const turn = (each) => {
    made.setWindow(each.start, each.end);
    time.textContent = times({ ...item, start: each.start, end: each.end });
    offer(each);
    made.root.firstChild.focus({ preventScroll: true });  // the button that was pressed is gone
  };
  offer(item);
  return [made.root, under(item, open, { reached: true }), el("div", { class: "also" }, time, others, like(item))];
}

function text(item, open) {
  const [before, hit, behind] = item.passage.map((words) => words.replace(/\s*\n\s*/g, "\n"));
  const [cut, goesOn] = item.cut;
  const passage = el("button", { class: "passage main", type: "button", "aria-label": `Read ${visible(item.name)}`, onclick: () => open(item) });
  const [leadTorn, , tailTorn] = item.passage.map((words) => words.length >= CONTEXT);
  const lead = leadTorn ? before.replace(/^\S{0,24}\s/, "") : before.trimStart();
  const tail = tailTorn ? behind.replace(/\s\S{0,24}$/, "") : behind.trimEnd();
  passage.append(cut ? "… " : "", lead, el("mark", {}, hit.trim()), tail, goesOn ? " …" : "");
  return [passage, under(item, open), like(item)];
}

/** Name and score. The name opens the whole; `reached`: by Tab too, where the card's main button does something else. */
function under(item, open, { reached = false } = {}) {
  const name = el("button", { class: "name", type: "button", tabindex: reached ? null : "-1", title: visible(item.uri), onclick: () => open(item) }, visible(item.name));
  return el("div", { class: "under" }, name, el("span", { class: "score", title: "Cosine similarity" }, score(item.score)));
}

function like(item) {
  return el("button", { class: "like", type: "button", "aria-label": `More like ${visible(item.name)}`, onclick: () => go({ like: item.id }) }, "More like this");
}

/** Where in a video its moments lie. */
function line(item) {
  const whole = item.seconds || item.end || 1;
  const part = (each, best) => el("i", { class: best ? "best" : "", style: { left: `${(100 * each.start) / whole}%`, width: `${(100 * (each.end - each.start)) / whole}%` } });
  return el("div", { class: "line", "aria-hidden": "true" }, item.also.map((each) => part(each, false)), part(item, true));
}

/** A video that plays its moment, for the whole view. */
export function moving(item, frame) {
  const range = item.start !== undefined && item.start !== null ? `#t=${item.start.toFixed(2)}` : "";
  const played = el("video", { src: media(item) + range, controls: true, playsinline: true, preload: "metadata", poster: thumbnail(item, "whole", item.start ?? 0) });
  played.addEventListener("error", () => why(media(item)).then((problem) => lost(frame, problem)), { once: true });
  return played;
}
