// What is shown is what the address says, so that back, forward, reload and a bookmark do what they should.

const FIELDS = ["view", "q", "like", "segment", "dropped", "medium", "modality", "prefix", "after", "before", "limit"];
const QUESTION = ["q", "like", "segment", "dropped"];

const listeners = [];

export function state() {
  const fields = new URLSearchParams(location.search);
  return Object.fromEntries(FIELDS.map((name) => [name, fields.get(name) ?? ""]));
}

export const isAsked = (now) => Boolean(now.q || now.like || now.dropped);

/** Go to a state; what is not named stays, "" removes. A new question starts again with few answers. */
export function go(changes, { replace = false } = {}) {
  const asksAnew = QUESTION.some((name) => name in changes);
  const next = { ...state(), ...(asksAnew ? { ...Object.fromEntries(QUESTION.map((name) => [name, ""])), limit: "", view: "" } : {}), ...changes };
  const address = addressOf(next);
  const stays = address === location.pathname + location.search;
  if (stays && !asksAnew) return;
  if (!stays) history[replace ? "replaceState" : "pushState"](null, "", address);
  told();
}

export function addressOf(wanted) {
  const fields = new URLSearchParams(FIELDS.filter((name) => wanted[name]).map((name) => [name, wanted[name]]));
  return fields.size ? `/?${fields}` : "/";
}

export function onChange(listener) {
  listeners.push(listener);
}

export function told() {
  for (const listener of listeners) listener(state());
}

addEventListener("popstate", told);
