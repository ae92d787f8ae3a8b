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
