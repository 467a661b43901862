// Where a query looks, or who looks at a key: its weights, the links that are shown, and a sentence.

import { linksUntil } from "./links.js";
import { named, weight } from "./shown.js";

const NAMED = 6; // links in the sentence

// `way`: "out" of the query `place`, or "in" to the key `place`. Null until it is known.
export function lookOf(page, head, way, place) {
  const labels = page.labels(head), weights = labels && page.lines(head).get(way, place);
  if (!weights) return null;
  const { share, apart } = page.state.values, there = otherSide(way);
  const links = linksUntil(weights, share, apart === "left" ? labels.apart[there] : null);
  return { way, place, there, weights, links, most: weights[links.places[0]] ?? 0 };
}

export function otherSide(way) {
  return way === "out" ? "keys" : "queries";
}

export function sentenceOf({ way, place, there, weights, links }, labels) {
  const here = way === "out" ? "queries" : "keys", { places, held, rest, all, negative, unknown } = links;
  const own = named(labels[here], place), count = `${places.length} of ${weights.length}`;
  const part = (some, whole) => `${whole > 0 ? +((100 * some) / whole).toFixed(1) : 0} %`;
  const sign = negative ? "positive " : "";
  const what = way === "out" ? `${own} looks at ${count} keys with ${part(held, rest)} of its ${sign}weight`
    : `${own} is looked at by ${count} queries, from which it has ${part(held, rest)} of the ${sign}${weight(all)} that it receives`;
  const first = places.slice(0, NAMED).map((one) => `${named(labels[there], one)} ${weight(weights[one])}`);
  const end = places.length > NAMED ? ", …" : ".";
  const odd = [[negative, "negative"], [unknown, "no number"]].filter(([many]) => many).map(([many, kind]) => ` ${many} of the weights ${many > 1 ? "are" : "is"} ${kind}.`);
  const left = links.apart ? ` Left out: first and separator tokens. Shares are of the other ${part(rest, all)} of the weight, not renormalised.` : "";
  return `${what}${first.length ? ": " : ""}${first.join(", ")}${end}${odd.join("")}${left}`;
}
