// What is shown. All of it stands in the address, and an address shows it again.

const WORDS = { how: ["max", "mean"], colour: ["log", "linear"], theme: ["auto", "light", "dark"] };
const WHOLE = { source: 0, layer: 0, head: 0, entry: 0, query: null, key: null };
const REAL = { x: null, y: null, zoom: null }; // the middle of the view in cells, pixels a cell
const HEADS = { lock: null, beside: null }; // source.layer.head.entry
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
  for (const name in WORDS) values[name] = WORDS[name].includes(given.get(name)) ? given.get(name) : WORDS[name][0];
  for (const name in WHOLE) if (/^\d{1,9}$/.test(given.get(name) ?? "")) values[name] = Number(given.get(name));
  for (const name in REAL) if (Number.isFinite(parseFloat(given.get(name)))) values[name] = parseFloat(given.get(name));
  for (const name in HEADS) if (/^\d{1,9}(\.\d{1,9}){3}$/.test(given.get(name) ?? "")) values[name] = given.get(name);
  return values;
}

function written(values) {
  const said = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) {
    const first = WORDS[name]?.[0] ?? WHOLE[name] ?? null;
    if (value !== null && value !== first) said.set(name, name in REAL ? Number(value.toPrecision(7)) : value);
  }
  return `#${said}`;
}
