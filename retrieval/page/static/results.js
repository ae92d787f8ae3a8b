// The answers, medium by medium.

import { card } from "./cards.js";
import { byId, el } from "./dom.js";
import { count, MEDIA } from "./format.js";
import { go } from "./state.js";

const AT_ONCE = 40;
const MORE = 60;
const MOST = 200;

/** Show answers; resolves when all cards stand. `open` shows the whole of an answer among its neighbours. */
export async function show(told, state, open) {
  const groups = told.groups.map((group) => ({ ...group, list: el("ul", { class: `cards ${group.medium}` }) }));
  byId("answers").replaceChildren(...groups.map((group) => section(group, state)));
  for (const { answers, list } of groups) {
    for (let first = 0; first < answers.length; first += AT_ONCE) {
      list.append(...answers.slice(first, first + AT_ONCE).map((item) => card(item, (which) => open(which, answers))));
      if (first + AT_ONCE < answers.length) await new Promise(requestAnimationFrame);
    }
  }
}

function section(group, state) {
  const { medium, answers, more, list } = group;
  const wanted = state.medium ? Math.min(MOST, answers.length + MORE) : MORE;
  const further = more && answers.length < MOST
    ? el("button", { class: "quiet", type: "button", onclick: () => go({ medium, limit: String(wanted) }, { replace: Boolean(state.medium) }) }, state.medium ? "Show more" : `More ${MEDIA[medium].toLowerCase()}`)
    : null;
  const heading = el("header", {}, el("h2", {}, MEDIA[medium]), el("span", {}, `${count(answers.length)} nearest`), further);
  return el("section", { class: "group", data: { medium }, "aria-label": MEDIA[medium] }, heading, list);
}

/** Say in place of answers what is the case. */
export function say(title, lines, { bad = false, waiting = false, act = null } = {}) {
  byId("answers").replaceChildren(state(title, lines, { bad, waiting, act }));
}

export function state(title, lines, { bad = false, waiting = false, act = null } = {}) {
  return el("div", { class: `state${bad ? " bad" : ""}`, role: bad ? "alert" : null }, el("h2", {}, title), lines.map((line) => el("p", {}, line)), waiting ? el("div", { class: "waiting" }) : null, act);
}

export function clear() {
  byId("answers").replaceChildren();
}
