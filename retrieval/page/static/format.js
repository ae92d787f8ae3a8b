// How numbers, times and places are written.

export const MEDIA = { image: "Pictures", audio: "Sounds", video: "Videos", text: "Passages" };
export const ONE = { image: "picture", audio: "sound", video: "video", text: "text" };

export const count = (n) => n.toLocaleString("en");

export function bytes(n) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let k = 0;
  for (; n >= 1000 && k < units.length - 1; k += 1) n /= 1000;
  return `${k && n < 10 ? n.toFixed(1) : Math.round(n)} ${units[k]}`;
}

/** A cosine similarity; one that rounds to nothing has no sign. */
export const score = (value, digits = 2) => (Number(value.toFixed(digits)) + 0).toFixed(digits);

/** A name or address with the characters visible that would turn the order of the others round. */
export const visible = (name) => name.replace(/[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, "\ufffd");

/** Seconds as 0:03.5, 12:40 or 1:02:03; tenths only below a minute. */
export function clock(seconds) {
  const whole = Math.floor(seconds + 1e-6);
  const two = (n) => String(n).padStart(2, "0");
  if (whole >= 3600) return `${Math.floor(whole / 3600)}:${two(Math.floor(whole / 60) % 60)}:${two(whole % 60)}`;
  const tenth = Math.floor((seconds - whole) * 10 + 1e-6);
  return `${Math.floor(whole / 60)}:${two(whole % 60)}${whole < 60 && tenth > 0 ? `.${tenth}` : ""}`;
}

export const span = (start, end) => `${clock(start)} – ${clock(end)}`;

export function day(stamp) {
  if (!stamp) return "";
  const time = new Date(String(stamp).replace(" ", "T"));
  return Number.isNaN(time.getTime()) ? String(stamp) : time.toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" });
}
