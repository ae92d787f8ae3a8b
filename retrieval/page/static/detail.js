// The whole of one object, in a dialog over the answers it came from.

import { about, media, thumbnail, why } from "./api.js";
import { lost, moving } from "./cards.js";
import { byId, el, icon } from "./dom.js";
import { bytes, day, ONE, score, span, visible } from "./format.js";
import { pause, player, times } from "./player.js";
import { go } from "./state.js";

const dialog = byId("whole");
const STAGES = { image: picture, audio: sound, video: film, text: reading };

let shown = null;
let opener = null;  // where the browser puts the focus back

/** Show one of `items`; arrows turn to its neighbours. */
export function open(item, items = [item]) {
  shown = { item, items };
  pause();
  const stage = el("div", { class: "stage", data: { medium: item.medium } });
  stage.append(...STAGES[item.medium](item, stage));
  dialog.replaceChildren(stage, side(item));
  if (!dialog.open) {
    opener = document.activeElement;
    dialog.showModal();
  }
  dialog.querySelector(".solid").focus({ preventScroll: true });
}

export function close() {
  if (dialog.open) dialog.close();
}

dialog.addEventListener("close", () => {
  const id = shown?.item.id;
  shown = null;
  dialog.replaceChildren();  // stops what plays
  // This event comes a moment later than the closing: whoever has gone on by then is left alone.
  if (document.activeElement !== opener && document.activeElement !== document.body) return;
  const card = document.querySelector(`.card[data-id="${CSS.escape(id ?? "")}"]`);
  if (!card?.contains(document.activeElement)) card?.querySelector(".main").focus();
});
dialog.addEventListener("click", (event) => event.target === dialog && close());
dialog.addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!step || event.target.closest("video, input")) return;
  event.preventDefault();
  turn(step);
});

function turn(step) {
  const { item, items } = shown;
  const next = items[items.indexOf(item) + step];
  if (next) open(next, items);
}

function side(item) {
  const more = el("button", { class: "solid", type: "button", onclick: () => { close(); go({ like: item.id }); } }, "More like this");
  const timed = item.start !== undefined && item.start !== null && item.medium !== "text";
  const moment = timed && item.seconds && item.end - item.start < item.seconds - 0.1
    ? el("button", { class: "quiet", type: "button", onclick: () => { close(); go({ like: item.id, segment: String(item.segment) }); } }, "More like this moment")
    : null;
  const facts = { Medium: ONE[item.medium], Moment: timed ? span(item.start, item.end) : null, Size: bytes(item.size), Changed: day(item.modified), Score: item.score === undefined ? null : score(item.score, 3), Address: visible(item.uri) };
  const rows = Object.entries(facts).filter(([, value]) => value).flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]);
  return el(
    "div",
    { class: "side" },
    el("button", { class: "icon shut", type: "button", "aria-label": "Close", onclick: close }, icon("m6 6 12 12M18 6 6 18")),
    el("h2", { id: "whole-name" }, visible(item.name)),
    el("dl", {}, rows),
    el("div", { class: "acts" }, more, moment, copier(item), item.medium === "text" ? null : el("a", { class: "quiet", href: media(item), download: item.name }, "Download")),
    turner(),
  );
}

function copier(item) {
  const button = el("button", { class: "quiet", type: "button" }, "Copy address");
  button.addEventListener("click", async () => {
    await navigator.clipboard?.writeText(item.uri).then(() => { button.textContent = "Copied"; }, () => { button.textContent = "Not allowed"; });
    setTimeout(() => { button.textContent = "Copy address"; }, 1500);
  });
  return button;
}

function turner() {
  const { item, items } = shown;
  if (items.length < 2) return null;
  const at = items.indexOf(item);
  const step = (by, path, name) => el("button", { class: "icon", type: "button", "aria-label": name, disabled: !items[at + by], onclick: () => turn(by) }, icon(path));
  return el("div", { class: "turn" }, step(-1, "m14 6-6 6 6 6", "The one before"), el("span", { class: "score" }, `${at + 1} of ${items.length}`), step(1, "m10 6 6 6-6 6", "The next one"));
}

function picture(item, stage) {
  const address = thumbnail(item, "whole");
  const image = el("img", { src: address, alt: visible(item.name) });
  image.addEventListener("error", () => why(address).then((problem) => lost(stage, problem)), { once: true });
  return [image];
}

function film(item, stage) {
  return [moving(item, stage)];
}

function sound(item, stage) {
  const made = player(item, (problem) => { made.root.hidden = true; lost(stage, problem); });
  return [el("div", { class: "card audio", data: { medium: "audio" } }, made.root, el("p", { class: "under" }, el("span", { class: "times" }, times({ start: 0, end: item.seconds, ...item }))))];
}

function reading(item) {
  const body = el("div", { class: "reading" });
  about("text", item.id).then(({ parts, cut }) => {
    body.append(...parts.map(({ segment, words }) => (segment === item.segment && item.passage ? el("mark", {}, words) : words)), cut ? "\n…" : "");
    body.querySelector("mark")?.scrollIntoView({ block: "center" });
  }, (problem) => body.append(problem.message));
  return [body];
}
