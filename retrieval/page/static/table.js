// How the table is doing: what it holds, its last runs, and what could not be embedded.

import { told } from "./api.js";
import { byId, el } from "./dom.js";
import { bytes, count, day, MEDIA, visible } from "./format.js";
import { state } from "./results.js";

const root = byId("table");

export async function show() {
  if (!root.childElementCount) root.replaceChildren(state("Looking at the table …", [], { waiting: true }));
  try {
    const now = await told("overview");
    root.replaceChildren(heading(now), figures(now), facts(now), ...runs(now), ...quarantine(now));
  } catch (problem) {
    root.replaceChildren(state("The table cannot be looked at", [problem.message], { bad: true }));
  }
}

function heading(now) {
  return el("header", {}, el("h1", {}, now.table), el("p", {}, `${count(now.objects)} objects, ${count(now.rows)} vectors of space ${now.space}`));
}

function figures(now) {
  const media = Object.keys(MEDIA).filter((medium) => now.media[medium]);
  return el("dl", { class: "figures" }, media.map((medium) => {
    const { objects, rows } = now.media[medium];
    return el("div", { data: { medium } }, el("dt", {}, MEDIA[medium].replace("Passages", "Texts")), el("dd", {}, count(objects)), el("dd", {}, `${count(rows)} ${rows === 1 ? "vector" : "vectors"}`));
  }));
}

function facts(now) {
  const index = Object.entries(now.index).map(([name, kind]) => `${name} (${kind})`).join(", ");
  const score = now.score ? `${now.score.verdict} (${day(now.score.finished)})` : null;
  const told_ = { Version: now.version === now.published ? `${now.version}, published` : `${now.version}; published is ${now.published ?? "none"}`, Generation: now.generation, Index: index || "none", "Last score": score };
  return el("dl", { class: "facts" }, Object.entries(told_).filter(([, value]) => value).map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
}

function runs(now) {
  if (!now.runs.length) return [el("h2", {}, "Runs"), el("p", {}, "No run has been written down yet.")];
  const columns = ["listed", "embedded", "unchanged", "quarantined", "skipped", "deleted"];
  const head = el("tr", {}, el("th", { scope: "col" }, "Started"), el("th", { scope: "col" }, "State"), columns.map((name) => el("th", { scope: "col" }, name)));
  const rows = now.runs.map((run) => el("tr", {}, el("td", { title: run.run }, day(run.started)), el("td", { class: run.state === "finished" ? "" : "bad" }, run.state), columns.map((name) => el("td", {}, run[name] === null ? "–" : count(run[name])))));
  return [el("h2", {}, "Runs"), el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Runs" }, el("table", {}, el("thead", {}, head), el("tbody", {}, rows)))];
}

function quarantine(now) {
  const title = el("h2", {}, "Quarantine", el("small", {}, now.failures_all ? `${count(now.failures_all)} that could not be embedded` : ""));
  if (!now.failures_all) return [title, el("p", {}, "Nothing is in quarantine: every readable object is in the table.")];
  const list = el("ul", { class: "failed" });
  const reasons = el("div", { class: "reasons", role: "group", "aria-label": "Reason" });
  const choose = (reason) => {
    for (const each of reasons.children) each.setAttribute("aria-pressed", String(each.dataset.reason === reason));
    list.replaceChildren(...now.failures.filter((each) => !reason || each.reason === reason).map(failure));
  };
  const chip = (reason, label, n) => el("button", { class: "chip", type: "button", data: { reason }, onclick: () => choose(reason) }, label, el("small", {}, count(n)));
  reasons.append(chip("", "All", now.failures_all), ...Object.entries(now.quarantine).map(([reason, n]) => chip(reason, reason, n)));
  choose("");
  const cut = now.failures.length < now.failures_all ? el("p", {}, `The last ${count(now.failures.length)} are shown; all: sensorium quarantine list`) : null;
  return [title, reasons, list, cut].filter(Boolean);
}

function failure(each) {
  const name = each.uri.replace(/\/$/, "").split("/").pop();
  const tries = each.attempts === 1 ? "tried once" : `tried ${each.attempts} times`;
  const size = each.size >= 0 ? `, ${bytes(each.size)}` : ", to be tried again by the next run";
  return el("li", {}, el("strong", {}, visible(name || each.uri)), el("span", {}, `${each.stage}, ${each.reason}`), el("p", {}, each.error), el("p", {}, `${tries}, last ${day(each.last_failed)}${size}`), el("p", { class: "address" }, visible(each.uri)));
}
