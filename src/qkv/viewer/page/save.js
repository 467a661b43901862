// The map in view as a picture file.

import { file } from "./ask.js";
import { headRead } from "./state.js";

const TYPES = { svg: "image/svg+xml", png: "image/png", pdf: "application/pdf" };

export async function save(map, { how, colour, lock }, kind) {
  const view = map.view(), [head] = map.subject.heads;
  const [top, bottom] = bounds(view.top, view.height / view.high, view.queries);
  const [left, right] = bounds(view.left, view.width / view.wide, view.keys);
  const scale = Object.values(lock ? headRead(lock) : head).join(".");
  const found = await file("figure", { ...head, how, colour, scale, top, bottom, left, right, kind }, TYPES[kind]);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(found);
  link.download = `attention-${head.layer}-${head.head}.${kind}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

// The places that are in view, one at least.
function bounds(start, size, count) {
  const first = Math.min(count - 1, Math.max(0, Math.floor(start + 1e-6)));
  return [first, Math.max(first + 1, Math.min(count, Math.ceil(start + size - 1e-6)))];
}
