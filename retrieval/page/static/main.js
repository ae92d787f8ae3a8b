// The page: waits for the table, then shows the view that the address names.

import { told as ask } from "./api.js";
import { close } from "./detail.js";
import { byId } from "./dom.js";
import "./keys.js";
import * as map from "./map.js";
import { pause } from "./player.js";
import { clear, say } from "./results.js";
import * as search from "./search.js";
import { go, onChange, state } from "./state.js";
import * as table from "./table.js";
import { onPublished } from "./version.js";

const VIEWS = ["search", "map", "table"];

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-go]");
  if (!link || event.metaKey || event.ctrlKey || event.shiftKey || event.button) return;
  event.preventDefault();
  if (!link.dataset.name) go({ q: "", medium: "", modality: "", prefix: "", after: "", before: "" });
  else go({ view: link.dataset.name === "search" ? "" : link.dataset.name });
});

const { dataset } = document.documentElement;
const system = matchMedia("(prefers-color-scheme: dark)");
system.addEventListener("change", () => {
  if (!("chosen" in dataset)) paint(system.matches);
});
byId("theme").addEventListener("click", () => {
  dataset.chosen = "";
  paint(dataset.theme !== "dark");
  try {
    localStorage.setItem("theme", dataset.theme);
  } catch {
    // chosen for as long as the page is open
  }
});

function paint(dark) {
  dataset.theme = dark ? "dark" : "light";
  map.repaint();
}

async function opened() {
  for (let wait = 150; ; wait = Math.min(1000, wait * 1.3)) {
    const outline = await ask("outline");
    if (outline.state === "open") return outline;
    say("Opening the table …", [`${outline.table} of ${outline.database}`], { waiting: true });
    await new Promise((done) => setTimeout(done, wait));
  }
}

function show(now) {
  close();
  pause();
  const view = VIEWS.includes(now.view) ? now.view : "search";
  document.body.dataset.view = view;
  for (const name of VIEWS) byId(name).hidden = name !== view;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.dataset.name === view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${now.q && view === "search" ? `${now.q} – ` : ""}Sensorium`;
  const following = search.follow(now);
  if (view === "map") map.show(search.answers);
  if (view === "table") table.show();
  following.then(mark);
}

/** The map rings the answers, which a question in the address gets only later. */
function mark() {
  if (document.body.dataset.view === "map") map.show(search.answers);
}

onPublished(async () => {
  mark();
  try {
    search.prepare(await ask("outline"));
  } catch {
    // what is asked next says that the server is gone
  }
});

document.body.classList.toggle("fresh", location.search === "");
try {
  const outline = await opened();
  clear();
  search.prepare(outline);
  onChange(show);
  show(state());
  if (document.body.classList.contains("fresh")) search.field.focus();
} catch (problem) {
  say("The table cannot be shown", [problem.message], { bad: true });
}
