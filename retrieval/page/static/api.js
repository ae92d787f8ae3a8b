// What the server is asked. Every failure is an Error whose message can be shown.

import { seen } from "./version.js";

const ROUTES = { outline: "/api/outline", overview: "/api/overview", map: "/api/map" };

export async function told(name) {
  const body = await answered(await reached(ROUTES[name]));
  return name === "overview" ? body : versioned(body);  // the overview tells of the newest version, published or not
}

export async function about(what, id) {
  return answered(await reached(`/api/${what}/${id}`));
}

/** Answers to what the address asks; `signal` gives a question up when another one follows. */
export async function asked(state, file, signal) {
  const fields = new URLSearchParams();
  for (const name of ["medium", "modality", "prefix", "after", "before", "limit"]) if (state[name]) fields.set(name, state[name]);
  if (file) {
    const headers = { "Content-Type": "application/octet-stream", "X-Name": encodeURIComponent(file.name.toWellFormed?.() ?? file.name) };
    return versioned(await answered(await reached(`/api/drop?${fields}`, { method: "POST", body: file, headers, signal })));
  }
  if (state.like) {
    if (state.segment) fields.set("segment", state.segment);
    return versioned(await answered(await reached(`/api/like/${state.like}?${fields}`, { signal })));
  }
  fields.set("q", state.q);
  return versioned(await answered(await reached(`/api/search?${fields}`, { signal })));
}

export const media = (item) => `/media/${item.id}?v=${item.version}`;

export function thumbnail(item, size, at = 0) {
  const time = item.medium === "video" && at > 0 ? `&at=${at.toFixed(2)}` : "";
  return `/thumbnail/${item.id}?v=${item.version}&size=${size}${time}`;
}

/** Why an address gave no picture or sound: what the server says of it. */
export async function why(address) {
  try {
    const response = await fetch(address, { headers: { Range: "bytes=0-0" } });
    if (response.ok) return { reason: "not shown", error: "This browser cannot show it." };
    return await response.json();
  } catch {
    return { reason: "no answer", error: "The server does not answer." };
  }
}

async function reached(address, how) {
  try {
    return await fetch(address, how);
  } catch (problem) {
    if (problem.name === "AbortError") throw problem;
    throw new Error("The server does not answer. Is `sensorium view` still running in its terminal?");
  }
}

async function answered(response) {
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(body.error || `The server answered with ${response.status}.`);
  return body;
}

function versioned(body) {
  if (body.version !== undefined) seen(body.version);
  return body;
}
