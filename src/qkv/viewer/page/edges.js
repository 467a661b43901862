// What stands at the edges of a map: labels, and how much each query spreads or each key receives.

import { token } from "./shown.js";

export const WIDE = 150, HIGH = 110; // of the edges at the left and above, in pixels
const TRACK = 34, TEXT = 11;
const LONGEST = 20; // characters of a label

// The left edge, or with `above` the other one: `places` of a side from `start`, `size` pixels each.
export function drawEdge(context, { above, labels, numbers, length, start, size, room, ink, mark, selected }) {
  context.save();
  if (above) context.transform(0, 1, 1, 0, 0, 0); // rows become columns
  const wide = above ? HIGH : WIDE, offset = above ? WIDE : HIGH;
  context.beginPath();
  context.rect(0, offset, wide, room);
  context.clip();
  const first = Math.max(0, Math.floor(start)), last = Math.min(length, Math.ceil(start + room / size));
  drawTrack(context, numbers, { first, last, length, start, size, offset, left: wide - TRACK, ink });
  const every = step((TEXT + 2) / size);
  context.font = `${TEXT}px system-ui, sans-serif`;
  context.textBaseline = "middle";
  context.textAlign = above ? "left" : "right";
  for (let place = Math.ceil(first / every) * every; place < last; place += every) {
    const at = offset + (place + 0.5 - start) * size;
    context.fillStyle = place === selected ? mark : ink;
    const text = labels ? fitting(context, labels[place], wide - TRACK - 10) : String(place);
    write(context, text, wide - TRACK - 6, at, above);
  }
  context.restore();
}

// A token, shortened to so many pixels.
function fitting(context, text, width) {
  let most = LONGEST, found = token(text, most);
  while (most > 2 && context.measureText(found).width > width) found = token(text, --most);
  return found;
}

// Text along the columns reads upwards.
function write(context, text, right, at, above) {
  context.save();
  if (above) {
    context.transform(0, 1, 1, 0, 0, 0);
    context.translate(at, right);
    context.rotate(-Math.PI / 2);
    context.fillText(text, 0, 0);
  } else context.fillText(text, right, at);
  context.restore();
}

// A bar for each pixel: the largest number of those that it stands for.
function drawTrack(context, numbers, { first, last, length, start, size, offset, left, ink }) {
  if (!numbers?.length) return;
  let most = 0;
  for (const number of numbers) if (number > most) most = number;
  context.fillStyle = ink;
  context.globalAlpha = 0.55;
  const from = Math.floor((first - start) * size), to = Math.ceil((last - start) * size);
  for (let pixel = Math.max(0, from); pixel < to; pixel++) {
    const a = ((start + pixel / size) / length) * numbers.length, b = ((start + (pixel + 1) / size) / length) * numbers.length;
    let found = 0;
    for (let i = Math.max(0, Math.floor(a)); i < Math.min(numbers.length, Math.max(b, Math.floor(a) + 1)); i++) {
      if (numbers[i] > found) found = numbers[i];
    }
    context.fillRect(left, offset + pixel, (TRACK - 4) * (found / (most || 1)), 1);
  }
  context.globalAlpha = 1;
}

// The least of 1, 2, 5, 10, ... that is not smaller.
export function step(least) {
  for (let power = 1; ; power *= 10) for (const one of [1, 2, 5]) if (one * power >= least) return one * power;
}
