// What is shown. All of it stands in the address, and an address shows it again.

export const VIEWS = ["map", "text", "alignment", "image", "heads"];

const WORDS = {
  how: ["max", "mean"], colour: ["log", "linear"], theme: ["auto", "light", "dark"],
  ratio: ["no", "beside", "alone"], // of the two heads of the map
  way: ["out", "in"], // where a query looks, or who looks at a key
  apart: ["kept", "left"], // first and separator tokens
  over: ["one", "all"], // the heat over a picture: of what is selected, or of the whole head
};
const WHOLE = { source: 0, layer: 0, head: 0, entry: 0, query: null, key: null, share: 90 };
const REAL = { x: null, y: null, zoom: null }; // the middle of the view in cells, pixels a cell
const HEADS = { lock: null, beside: null }; // source.layer.head.entry
const SORT = /^-?[a-z]+$/; // a column of the table of heads; with - the largest first
const AT = document.documentElement.dataset.at ?? ""; // where a page begins that was written as a file
const HAS_ADDRESS = location.protocol !== "about:"; // a page in a frame may have none

export class State {
  #watching = [];

  constructor() {
    this.values = read(location.hash || AT);
    addEventListener("hashchange", () => {
      this.values = read(location.hash);
      this.#tell();
    });
  }

  // Changes some values; with `step` the browser's way back leads to what was shown before.
  set(changes, step = false) {
    this.values = { ...this.values, ...changes };
    if (HAS_ADDRESS) history[step ? "pushState" : "replaceState"](null, "", written(this.values));
    this.#tell();
  }

  watch(changed) {
    this.#watching.push(changed);
  }

  #tell() {
    for (const changed of this.#watching) changed(this.values);
  }
}

// The head that a view is of.
export function headOf({ source, layer, head, entry }) {
  return { source, layer, head, entry };
}

export function headWritten(head) {
  return [head.source, head.layer, head.head, head.entry].join(".");
}

export function headRead(text) {
  const [source, layer, head, entry] = text.split(".").map(Number);
  return { source, layer, head, entry };
}

function read(hash) {
  const given = new URLSearchParams(hash.slice(1));
  const values = { ...WHOLE, ...REAL, ...HEADS };
  const views = (given.get("show") ?? "").split(".");
  values.show = VIEWS.filter((view) => views.includes(view)).join(".") || VIEWS[0];
  values.sort = SORT.test(given.get("sort") ?? "") ? given.get("sort") : null;
  for (const name in WORDS) values[name] = WORDS[name].includes(given.get(name)) ? given.get(name) : WORDS[name][0];
  for (const name in WHOLE) if (/^\d{1,9}$/.test(given.get(name) ?? "")) values[name] = Number(given.get(name));
  for (const name in REAL) if (Number.isFinite(parseFloat(given.get(name)))) values[name] = parseFloat(given.get(name));
  for (const name in HEADS) if (/^\d{1,9}(\.\d{1,9}){3}$/.test(given.get(name) ?? "")) values[name] = given.get(name);
  values.share = Math.min(100, Math.max(1, values.share));
  return values;
}

function written(values) {
  const said = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) {
    const first = name === "show" ? VIEWS[0] : WORDS[name]?.[0] ?? WHOLE[name] ?? null;
    if (value !== null && value !== first) said.set(name, name in REAL ? Number(value.toPrecision(7)) : value);
  }
  return `#${said}`;
}
