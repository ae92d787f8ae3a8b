// The question: words, filters, a file that is dropped, pasted or chosen; and its answers.

import { about, asked, thumbnail } from "./api.js";
import { open } from "./detail.js";
import { byId, el } from "./dom.js";
import { count, MEDIA, ONE, visible } from "./format.js";
import { clear, say, show } from "./results.js";
import { go, isAsked, state } from "./state.js";

const field = byId("q");
const said = byId("said");
const files = new Map();  // what was dropped since the page was loaded: an address cannot hold it

let asking = null;
let answered = "";
let filled = "";
let objects = 0;  // that the table holds
let encoded = false;  // whether a question was answered that needed an encoder
export let answers = new Map();  // of the last question, by id: the map marks them

/** What the table holds, in the chips and the list of modalities; again when another version is published. */
export function prepare(outline) {
  const now = state();
  const focused = document.activeElement.closest("#media .chip")?.dataset.medium;
  objects = Object.values(outline.media).reduce((sum, each) => sum + each.objects, 0);
  const chip = (medium, label, n) => el("button", { class: "chip", type: "button", data: { medium }, "aria-pressed": String(medium === now.medium), onclick: () => go({ medium, limit: "" }) }, medium ? el("span", { class: "dot" }) : null, label, el("small", {}, count(n)));
  byId("media").replaceChildren(chip("", "All", objects), ...Object.keys(MEDIA).filter((medium) => outline.media[medium]).map((medium) => chip(medium, MEDIA[medium].replace("Passages", "Texts"), outline.media[medium].objects)));
  const kinds = { text: "words", image: "what is seen", audio: "what is heard", video: "clips" };
  byId("modality").replaceChildren(el("option", { value: "" }, "anything"), ...outline.modalities.map((modality) => el("option", { value: modality }, kinds[modality])));
  byId("modality").value = now.modality;
  if (focused !== undefined) byId("media").querySelector(`[data-medium="${focused}"]`)?.focus();
}

/** Show what the address asks. */
export async function follow(now) {
  fill(now);
  document.body.classList.toggle("fresh", now.view === "" && !isAsked(now));
  if (!isAsked(now)) {
    asking?.abort();
    answered = "";
    answers = new Map();
    clear();
    said.textContent = "";
    return;
  }
  const key = JSON.stringify({ ...now, view: "" });
  if (key === answered) return;
  await ask(now, key);
}

async function ask(now, key) {
  asking?.abort();
  answered = "";
  asking = new AbortController();
  const { signal } = asking;
  const file = now.dropped ? files.get(now.dropped) : null;
  if (now.dropped && !file) {
    answers = new Map();
    said.textContent = "";
    say("That file is gone", ["A page keeps a dropped file only until it is loaded again. Drop it once more."]);
    return;
  }
  const late = setTimeout(() => say("Looking …", encoded || now.like ? [] : ["The first question waits for the encoders."], { waiting: true }), 600);
  said.textContent = "Looking …";
  try {
    const [told] = await Promise.all([asked(now, file, signal), example(now, file)]);
    clearTimeout(late);
    if (signal.aborted) return;
    answered = key;
    encoded ||= !now.like;
    answers = new Map(told.groups.flatMap((group) => group.answers).map((item) => [item.id, item]));
    tell(told, now);
    if (answers.size) await show(told, now, open);
  } catch (problem) {
    clearTimeout(late);
    if (problem.name === "AbortError" || signal.aborted) return;
    answers = new Map();
    said.textContent = "";
    say("That could not be asked", [problem.message], { bad: true });
  }
}

function tell(told, now) {
  const n = answers.size;
  const some = told.windows.used < told.windows.all ? `, asked with ${told.windows.used} of ${count(told.windows.all)} parts of it` : "";
  said.textContent = n ? `${count(n)} ${n === 1 ? "answer" : "answers"}, nearest first, in ${told.seconds.toFixed(2)} s${some}` : "";
  if (n) return;
  const filtered = ["medium", "modality", "prefix", "after", "before"].some((name) => now[name]);
  const lines = [filtered && objects ? "Nothing in the table passes these filters." : "The table is empty."];
  say("No answers", lines, { act: filtered && objects ? el("button", { class: "solid", type: "button", onclick: reset }, "Reset the filters") : null });
}

/** The picture or name of what was asked with, in the field. */
async function example(now, file) {
  const box = byId("example");
  const item = now.like ? await about("object", now.like) : null;
  if (!item && !file) return;
  const medium = item?.medium ?? file.type.split("/")[0];
  const address = item ? thumbnail(item, "card") : URL.createObjectURL(file);
  const seen = medium === "image" || (item && medium === "video");
  box.replaceChildren(
    seen ? el("img", { src: address, alt: "" }) : el("span", { class: "dot", data: { medium } }),
    el("span", { title: visible(item?.uri ?? file.name) }, `${item ? `Like ${now.segment ? "a moment of " : ""}` : ""}${visible(item?.name ?? file.name)}`),
  );
  box.setAttribute("aria-label", item ? `Asked with the ${ONE[item.medium]} ${visible(item.name)}` : `Asked with the file ${visible(file.name)}`);
}

function fill(now) {
  if (now.q !== filled) field.value = filled = now.q;  // what is being typed stays when a filter changes
  byId("example").hidden = !(now.like || now.dropped);
  byId("clear").hidden = !isAsked(now);
  for (const chip of byId("media").children) chip.setAttribute("aria-pressed", String(chip.dataset.medium === now.medium));
  for (const name of ["modality", "prefix", "after", "before"]) byId("ask").elements[name].value = now[name];
  const set = ["modality", "prefix", "after", "before"].filter((name) => now[name]).length;
  byId("more").textContent = set ? `Filters (${set})` : "Filters";
  if (set) unfold(true);
}

function unfold(wanted) {
  byId("fields").hidden = !wanted;
  byId("more").setAttribute("aria-expanded", String(wanted));
}

function reset() {
  go({ medium: "", modality: "", prefix: "", after: "", before: "", limit: "" });
}

function take(file) {
  if (!file) return;
  const name = crypto.randomUUID();  // an address of an earlier load must not mean this file
  files.set(name, file);
  go({ dropped: name });
}

byId("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  if (!field.value.trim()) return;
  answered = "";  // the same words are asked anew: the table may hold more by now
  go({ q: field.value.trim() });
});
byId("fields").addEventListener("change", (event) => go({ [event.target.name]: event.target.value.trim() }));
byId("reset").addEventListener("click", reset);
byId("more").addEventListener("click", () => unfold(byId("fields").hidden));
byId("clear").addEventListener("click", () => {
  field.value = "";
  go({ q: "" });
  field.focus();
});
byId("file").addEventListener("change", (event) => {
  take(event.target.files[0]);
  event.target.value = "";
});

let depth = 0;
const carries = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
addEventListener("dragenter", (event) => {
  if (carries(event)) document.body.classList.toggle("dragging", (depth += 1) > 0);
});
addEventListener("dragleave", (event) => {
  if (carries(event)) document.body.classList.toggle("dragging", (depth -= 1) > 0);
});
addEventListener("dragover", (event) => carries(event) && event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault();
  depth = 0;
  document.body.classList.remove("dragging");
  take(event.dataTransfer?.files[0]);
});
addEventListener("paste", (event) => {
  const file = event.clipboardData?.files[0];
  if (!file) return;
  event.preventDefault();
  take(file);
});

export { field };
