// The map on a canvas: every object a point. Wheel, pinch and drag move it; arrows go from point to point.

import { about, thumbnail, told } from "./api.js";
import { open } from "./detail.js";
import { byId, el, icon } from "./dom.js";
import { count, MEDIA, ONE, visible } from "./format.js";
import { face, MOST_FACES, SIDE } from "./faces.js";
import { Grid } from "./grid.js";
import { state } from "./results.js";
import { version } from "./version.js";

const REACH = 14;  // pixels around a point that mean it
const MOST_ZOOM = 60;
const MARGIN = 40;  // pixels
const PICTURED = ["image", "video"];

const root = byId("map");
const canvas = el("canvas", { tabindex: "0", role: "application", "aria-label": "Map of the table: arrow keys go from object to object, Enter shows it" });
const tip = el("div", { class: "tip", role: "status", hidden: true });
const legend = el("div", { class: "legend", role: "group", "aria-label": "Media shown" });
const words = el("p", { class: "told", role: "status" });
const hidden = new Set();

let points = null;
let grid = null;
let extent = [1, 1];
let marked = new Map();
let at = -1;
let view = { x: 0.5, y: 0.5, zoom: 1 };
let due = 0;
let drawing = false;
let problem = "";  // said in place of what the map is

/** Show the map with some answers ringed; it is drawn anew once another version of the table is published. */
export async function show(answers) {
  marked = answers;
  repaint();
  if (drawing || (points && points.version === version())) return;
  drawing = true;
  if (!points) root.replaceChildren(state("Drawing the map …", ["Every object of the table finds its place. That takes a moment, once."], { waiting: true }));
  try {
    place(await told("map"));
  } catch (fault) {
    if (points) complain(fault);
    else root.replaceChildren(state("There is no map", [fault.message], { bad: true }));
  } finally {
    drawing = false;
  }
}

function place(drawn) {
  points = drawn.ids.length ? drawn : null;
  at = -1;
  tip.hidden = true;
  if (!points) return root.replaceChildren(state("Nothing to map", ["The table holds no object yet."]));
  grid = new Grid(points.x, points.y);
  extent = [range(points.x), range(points.y)];
  build();
  return repaint();
}

function complain(fault) {
  problem = fault.message;
  repaint();
}

export function repaint() {
  if (!due && points) due = requestAnimationFrame(paint);
}

function build() {
  const media = Object.keys(MEDIA).filter((medium) => points.media.includes(medium));
  legend.replaceChildren(...media.map((medium) => el("button", { class: "chip", type: "button", data: { medium }, "aria-pressed": String(!hidden.has(medium)), onclick: toggle }, el("span", { class: "dot" }), MEDIA[medium].replace("Passages", "Texts"))));
  if (canvas.isConnected) return;
  const zoom = (by, path, name) => el("button", { class: "icon", type: "button", "aria-label": name, onclick: () => (by ? zoomed(by) : fit()) }, icon(path));
  root.replaceChildren(canvas, words, el("div", { class: "zoom" }, zoom(1.5, "M12 6v12M6 12h12", "Nearer"), zoom(1 / 1.5, "M6 12h12", "Farther"), zoom(0, "M5 9V5h4M19 9V5h-4M5 15v4h4M19 15v4h-4", "All of it")), legend, tip);
}

new ResizeObserver(repaint).observe(canvas);

function toggle({ currentTarget }) {
  const { medium } = currentTarget.dataset;
  if (!hidden.delete(medium)) hidden.add(medium);
  currentTarget.setAttribute("aria-pressed", String(!hidden.has(medium)));
  choose(-1);
  repaint();
}

/** Where the map's unit square lies on the canvas, so that all points fit between what stands above and below; both axes alike. */
function scale() {
  const { clientWidth: width, clientHeight: height } = canvas;
  const side = Math.max(50, Math.min((width - 2 * MARGIN) / extent[0], (height - 4 * MARGIN) / extent[1])) * view.zoom;
  return { width, height, side, left: width / 2 - view.x * side, top: height / 2 - view.y * side };
}

const onScreen = (n, { side, left, top }) => [left + points.x[n] * side, top + points.y[n] * side];
const range = (values) => Math.max(0.05, values.reduce((a, b) => Math.max(a, b)) - values.reduce((a, b) => Math.min(a, b)));

function paint() {
  due = 0;
  if (!points) return;
  const scaled = scale();
  const { width, height } = scaled;
  const dense = devicePixelRatio || 1;
  if (!width || !height) return;
  if (canvas.width !== Math.round(width * dense) || canvas.height !== Math.round(height * dense)) {
    canvas.width = Math.round(width * dense);
    canvas.height = Math.round(height * dense);
  }
  const pen = canvas.getContext("2d");
  pen.setTransform(dense, 0, 0, dense, 0, 0);
  pen.clearRect(0, 0, width, height);
  const radius = Math.min(9, (points.ids.length > 4000 ? 1.8 : points.ids.length > 800 ? 3 : 4.5) * Math.sqrt(Math.min(view.zoom, 6)));
  const style = getComputedStyle(document.documentElement);
  for (const medium of Object.keys(MEDIA)) dots(pen, scaled, medium, radius, style);
  rings(pen, scaled, radius, style);
  faces(pen, scaled);
  const drawn = points.ids.length < points.objects ? `${count(points.ids.length)} of ${count(points.objects)} objects, drawn by lot` : `${count(points.objects)} objects`;
  const told_ = problem || `${drawn}; what is alike lies close together${marked.size ? `. Ringed: the ${count(marked.size)} answers to your question` : ""}`;
  if (words.textContent !== told_) words.textContent = told_;  // else it would be read out again
  words.classList.toggle("bad", Boolean(problem));
}

function dots(pen, scaled, medium, radius, style) {
  if (hidden.has(medium)) return;
  const away = radius + 2;
  pen.fillStyle = style.getPropertyValue(`--${medium}`);
  pen.globalAlpha = marked.size ? 0.38 : 0.8;
  pen.beginPath();
  points.media.forEach((each, n) => {
    if (each !== medium) return;
    const [x, y] = onScreen(n, scaled);
    if (x < -away || y < -away || x > scaled.width + away || y > scaled.height + away) return;
    pen.moveTo(x + radius, y);
    pen.arc(x, y, radius, 0, 7);
  });
  pen.fill();
  pen.globalAlpha = 1;
}

/** Where few objects are left in sight, they show themselves. */
function faces(pen, scaled) {
  if (view.zoom < 2) return;
  const seen = [];
  for (let n = 0; n < points.ids.length && seen.length <= MOST_FACES; n += 1) {
    if (hidden.has(points.media[n]) || !PICTURED.includes(points.media[n])) continue;
    const [x, y] = onScreen(n, scaled);
    if (x > -SIDE && y > -SIDE && x < scaled.width + SIDE && y < scaled.height + SIDE) seen.push([n, x, y]);
  }
  if (seen.length > MOST_FACES) return;
  for (const [n, x, y] of seen) face(pen, itemOf(n), x, y, repaint);
}

function rings(pen, scaled, radius, style) {
  pen.lineWidth = 2;
  pen.strokeStyle = style.getPropertyValue("--ink");
  points.ids.forEach((id, n) => {
    const here = n === at;
    if (hidden.has(points.media[n]) || (!here && !marked.has(id))) return;
    const [x, y] = onScreen(n, scaled);
    pen.fillStyle = style.getPropertyValue(`--${points.media[n]}`);
    pen.beginPath();
    pen.arc(x, y, radius + (here ? 4 : 0.5), 0, 7);
    pen.fill();
    pen.stroke();
  });
}

function nearest(x, y) {
  const scaled = scale();
  const around = grid.around((x - scaled.left) / scaled.side, (y - scaled.top) / scaled.side, REACH / scaled.side);
  let best = -1;
  let least = REACH;
  for (const n of around) {
    if (hidden.has(points.media[n])) continue;
    const [px, py] = onScreen(n, scaled);
    const far = Math.hypot(px - x, py - y);
    if (far < least) [best, least] = [n, far];
  }
  return best;
}

function choose(n) {
  if (n === at) return;
  at = n;
  problem = "";
  canvas.style.cursor = n < 0 ? "" : "pointer";
  tip.hidden = n < 0;
  repaint();
  if (n < 0) return;
  const item = itemOf(n);
  const pictured = PICTURED.includes(item.medium);
  tip.replaceChildren(
    ...(pictured ? [el("img", { src: thumbnail(item, "card"), alt: "", onerror: (event) => event.target.remove() })] : []),
    el("p", {}, el("span", { class: "dot", data: { medium: item.medium } }), el("span", {}, visible(item.name), el("span", { class: "unseen" }, `, ${ONE[item.medium]}`))),
  );
  const scaled = scale();
  const [x, y] = onScreen(n, scaled);
  const tall = pictured ? 215 : 80;
  tip.style.transform = `translate(${Math.min(Math.max(8, x + 16), scaled.width - 204)}px, ${y + 16 + tall > scaled.height ? y - 16 - tall : y + 16}px)`;
}

const itemOf = (n) => ({ id: points.ids[n], name: points.names[n], medium: points.media[n], version: points.versions[n] });

async function openAt(n) {
  if (n < 0) return;
  const id = points.ids[n];
  try {
    open(marked.get(id) ?? await about("object", id));
  } catch (fault) {
    complain(fault);
    told("outline").catch(() => {});  // what is gone may be gone by another version: this notes it
  }
}

function zoomed(by, x = canvas.clientWidth / 2, y = canvas.clientHeight / 2) {
  const before = scale();
  const [u, v] = [(x - before.left) / before.side, (y - before.top) / before.side];
  view.zoom = Math.min(MOST_ZOOM, Math.max(0.8, view.zoom * by));
  const { width, height, side } = scale();
  view.x = u + (width / 2 - x) / side;
  view.y = v + (height / 2 - y) / side;
  choose(-1);
  repaint();
}

function fit() {
  view = { x: 0.5, y: 0.5, zoom: 1 };
  choose(-1);
  repaint();
}

const held = new Map();
let moved = 0;

canvas.addEventListener("pointerdown", (event) => {
  canvas.setPointerCapture(event.pointerId);
  held.set(event.pointerId, event);
  moved = 0;
});
canvas.addEventListener("pointermove", (event) => {
  const before = held.get(event.pointerId);
  if (!before) return choose(nearest(event.offsetX, event.offsetY));
  const [dx, dy] = [event.clientX - before.clientX, event.clientY - before.clientY];
  const other = [...held.values()].find((each) => each.pointerId !== event.pointerId);
  if (other) {
    const apart = (each) => Math.max(10, Math.hypot(each.clientX - other.clientX, each.clientY - other.clientY));
    const box = canvas.getBoundingClientRect();
    zoomed(apart(event) / apart(before), (event.clientX + other.clientX) / 2 - box.left, (event.clientY + other.clientY) / 2 - box.top);
  }
  const { side } = scale();
  view.x -= dx / side / (other ? 2 : 1);
  view.y -= dy / side / (other ? 2 : 1);
  moved += Math.abs(dx) + Math.abs(dy);
  held.set(event.pointerId, event);
  if (moved > 4) choose(-1);
  return repaint();
});
for (const name of ["pointerup", "pointercancel"]) {
  canvas.addEventListener(name, (event) => {
    const alone = held.size === 1;
    held.delete(event.pointerId);
    if (name === "pointerup" && alone && moved <= 4) openAt(nearest(event.offsetX, event.offsetY));
  });
}
canvas.addEventListener("pointerleave", () => held.size || choose(-1));
canvas.addEventListener("wheel", (event) => {
  event.preventDefault();
  zoomed(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0016)), event.offsetX, event.offsetY);
}, { passive: false });
canvas.addEventListener("keydown", (event) => {
  const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  if (way) {
    event.preventDefault();
    choose(towards(...way));
  } else if (event.key === "Enter") openAt(at);
  else if (event.key === "Escape") choose(-1);
  else if (event.key === "+" || event.key === "=") zoomed(1.5);
  else if (event.key === "-") zoomed(1 / 1.5);
});

/** The point to go to from the present one: near, and in this direction rather than beside it. */
function towards(right, down) {
  const scaled = scale();
  const [x, y] = at < 0 ? [scaled.width / 2, scaled.height / 2] : onScreen(at, scaled);
  let [best, least] = [at, Infinity];
  points.ids.forEach((_, n) => {
    if (n === at || hidden.has(points.media[n])) return;
    const [px, py] = onScreen(n, scaled);
    if (px < 0 || py < 0 || px > scaled.width || py > scaled.height) return;
    const ahead = (px - x) * right + (py - y) * down;
    const aside = Math.abs((px - x) * down) + Math.abs((py - y) * right);
    const cost = at < 0 ? Math.hypot(px - x, py - y) : ahead <= 0.5 ? Infinity : ahead + 2.5 * aside;
    if (cost < least) [best, least] = [n, cost];
  });
  return best;
}
