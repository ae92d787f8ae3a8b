// Small pictures on the map.

import { thumbnail } from "./api.js";

export const SIDE = 46;
export const MOST_FACES = 90;

const known = new Map();

/** Draw the picture of an item around (x, y), now or, by `later`, once it is here. */
export function face(pen, item, x, y, later) {
  const address = thumbnail(item, "card");
  let image = known.get(address);
  if (!image) {
    image = new Image();
    image.onload = later;
    image.src = address;
    known.set(address, image);
  }
  if (!image.complete || !image.naturalWidth) return;
  const side = Math.min(image.naturalWidth, image.naturalHeight);
  pen.save();
  pen.beginPath();
  pen.roundRect(x - SIDE / 2, y - SIDE / 2, SIDE, SIDE, 8);
  pen.clip();
  pen.drawImage(image, (image.naturalWidth - side) / 2, (image.naturalHeight - side) / 2, side, side, x - SIDE / 2, y - SIDE / 2, SIDE, SIDE);
  pen.restore();
}
