// Keys: / to the field, arrows from card to card, Escape back. Enter and Space are the buttons' own.

import { byId } from "./dom.js";

const WAYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const field = byId("q");

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || byId("whole").open) return;
  const typing = event.target.matches("input, select, textarea") && event.target !== field;
  if (typing) return;
  if (event.key === "/" && event.target !== field && document.body.dataset.view === "search") {
    event.preventDefault();
    field.focus();
    field.select();
  } else if (event.key === "Escape" && event.target !== field) {
    field.focus();
  } else if (event.key === "ArrowDown" && event.target === field) {
    step(event, document.querySelector("#answers .card .main"));
  } else if (WAYS[event.key] && event.target.closest("#answers .card")) {
    step(event, beside(event.target.closest(".card"), WAYS[event.key]) ?? (event.key === "ArrowUp" ? field : null));
  }
});

function step(event, target) {
  if (!target) return;
  event.preventDefault();
  target.focus({ preventScroll: true });
  (target.closest(".card") ?? target).scrollIntoView({ block: "nearest" });
}

/** The button of the card that lies next in a direction. */
function beside(card, [right, down]) {
  const cards = [...document.querySelectorAll("#answers .card")];
  if (right) return cards[cards.indexOf(card) + right]?.querySelector(".main");
  const here = card.getBoundingClientRect();
  const places = cards.map((each) => [each, each.getBoundingClientRect()]).filter(([, box]) => down * (box.top - here.top) > 4);
  if (!places.length) return null;
  const row = places.reduce((best, [, box]) => (down * (box.top - best) < 0 ? box.top : best), places[0][1].top);
  const near = places.filter(([, box]) => Math.abs(box.top - row) < 4);
  return near.reduce((best, each) => (Math.abs(each[1].left - here.left) < Math.abs(best[1].left - here.left) ? each : best))[0].querySelector(".main");
}
