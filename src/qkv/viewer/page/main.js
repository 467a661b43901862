// The page: what is chosen, the maps that show it, and what is said of them.

import { hasAll, json } from "./ask.js";
import { colourOf, lowest, shareOf, tableOf } from "./colours.js";
import { Grid } from "./grid.js";
import { listen } from "./hands.js";
import { HeadMap, spreadOfHead } from "./map.js";
import { save } from "./save.js";
import { weight } from "./shown.js";
import { headOf, headRead, headWritten, State } from "./state.js";

const element = (id) => document.getElementById(id);
const dark = matchMedia("(prefers-color-scheme: dark)");

class Page {
  #spreads = new Map(); // of heads: how their weights are spread
  #tables = new Map();
  #panes = [];

  async begin() {
    this.state = new State();
    this.about = await json("about");
    this.grid = new Grid(element("grid"), this, (layer, head) => this.state.set({ layer, head }, true));
    this.#controls();
    this.state.watch(() => this.show());
    dark.addEventListener("change", () => this.show());
    addEventListener("resize", () => this.redraw());
    this.show();
  }

  say(text) {
    element("said").textContent = text;
  }

  read(text) {
    element("readout").textContent = text;
  }

  // --- what is shown

  show() {
    const values = this.#inside(this.state.values);
    this.state.values = values;
    document.documentElement.dataset.theme = this.theme();
    const heads = [headOf(values), ...(values.beside ? [headRead(values.beside)] : [])];
    heads.forEach((head, i) => this.#pane(i, head));
    while (this.#panes.length > heads.length) this.#panes.pop().close();
    this.#fill(values);
    this.grid.show(values);
    const look = `${this.theme()} ${values.colour}`;
    if (look !== this.look) {
      this.look = look;
      this.#tables.clear();
      this.grid.repaint();
    }
    this.redraw();
  }

  redraw() {
    for (const pane of this.#panes) pane.map.redraw();
  }

  // Numbers of what is not there, as an old address may have, are those of the first that is.
  #inside(values) {
    const sure = (head) => {
      const source = this.about.sources[head.source] ? head.source : 0, { layers } = this.about.sources[source];
      const layer = layers[head.layer] ? head.layer : 0, told = layers[layer];
      return { source, layer, head: head.head < told.heads ? head.head : 0, entry: head.entry < told.entries ? head.entry : 0 };
    };
    const other = (text) => text && headWritten(sure(headRead(text)));
    const main = sure(values), [queries, keys] = this.#layer(main).levels[0];
    const within = (place, count) => (place !== null && place < count ? place : null);
    return { ...values, ...main, lock: other(values.lock), beside: other(values.beside), query: within(values.query, queries), key: within(values.key, keys) };
  }

  #pane(number, head) {
    const name = headWritten(head);
    let pane = this.#panes[number];
    if (!pane) {
      const whole = document.createElement("section"), title = document.createElement("h1"), room = document.createElement("div"), canvas = document.createElement("canvas");
      whole.className = "pane";
      canvas.tabIndex = 0;
      canvas.setAttribute("role", "application");
      room.append(canvas);
      whole.append(title, room);
      element("panes").append(whole);
      pane = this.#panes[number] = { whole, close() { this.map.close(); whole.remove(); } };
      listen(canvas, () => pane.map, this.state, (by) => this.#turn(number, by));
    }
    if (pane.name === name) return;
    pane.map?.close();
    pane.name = name;
    pane.map = new HeadMap(pane.whole, head, this);
  }

  // The head after or before, through all layers.
  #turn(number, by) {
    const own = number === 0 ? headOf(this.state.values) : headRead(this.state.values.beside);
    const { layers } = this.about.sources[own.source];
    let { layer, head } = own;
    head += by;
    if (head < 0 && layer > 0) head = layers[--layer].heads - 1;
    if (head >= layers[layer].heads && layer + 1 < layers.length) [layer, head] = [layer + 1, 0];
    head = Math.min(layers[layer].heads - 1, Math.max(0, head));
    this.state.set(number === 0 ? { layer, head } : { beside: headWritten({ ...own, layer, head }) }, true);
  }

  #layer(head) {
    return this.about.sources[head.source].layers[head.layer];
  }

  // --- colours

  theme() {
    const { theme } = this.state.values;
    return theme === "auto" ? (dark.matches ? "dark" : "light") : theme;
  }

  ramp() {
    return this.about.ramps[this.theme()];
  }

  colours() {
    const style = getComputedStyle(document.documentElement);
    const named = (name) => style.getPropertyValue(`--${name}`).trim();
    return { ink: named("ink"), paper: named("paper"), mark: named("mark") };
  }

  // Weights to colours for a head: by its own scale, or by the locked one. Undefined until it is known.
  table(head) {
    const name = this.state.values.lock ?? headWritten(head);
    const spread = this.#spreads.get(name);
    if (spread instanceof Promise) return undefined;
    if (!spread) {
      const own = headRead(name);
      this.#spreads.set(name, spreadOfHead(own, this.#layer(own), this.about.tile).then((found) => {
        this.#spreads.set(name, found);
        this.redraw();
      }, (error) => this.say(error.message)));
      return undefined;
    }
    if (!this.#tables.has(name)) this.#tables.set(name, tableOf(this.ramp(), spread, this.state.values.colour));
    if (headWritten(head) === this.#panes[0].name) this.#bar(spread);
    return this.#tables.get(name);
  }

  // The spread of a head that had been sampled.
  forget(head) {
    this.#spreads.delete(headWritten(head));
    this.#tables.delete(headWritten(head));
  }

  #bar(spread) {
    const { colour } = this.state.values, { logs, top } = spread;
    const low = colour === "log" && logs.length ? 2 ** lowest(logs) : 0;
    const text = `${weight(low)} to ${weight(top)}, ${colour === "log" ? "equalised logarithm" : "linear"}`;
    const name = `${text} ${this.look}`;
    if (this.bar === name) return;
    this.bar = name;
    const canvas = element("ramp"), context = canvas.getContext("2d");
    for (let x = 0; x < canvas.width; x++) {
      const part = x / (canvas.width - 1), at = colour === "log" && low ? low * (top / low) ** part : top * part;
      context.fillStyle = `#${hex(colourOf(this.ramp(), shareOf(at, spread, colour)))}`;
      context.fillRect(x, 0, 1, canvas.height);
    }
    element("scale").textContent = text;
  }

  // --- what is chosen

  #controls() {
    const chosen = (id, set) => element(id).addEventListener("change", (event) => set(event.target));
    for (const id of ["source", "layer", "head", "entry"]) chosen(id, ({ value }) => this.state.set({ [id]: Number(value) }, true));
    for (const id of ["how", "colour", "theme"]) chosen(id, ({ value }) => this.state.set({ [id]: value }));
    chosen("lock", ({ checked }) => this.state.set({ lock: checked ? headWritten(headOf(this.state.values)) : null }));
    chosen("beside", ({ value }) => this.state.set({ beside: value || null }, true));
    chosen("save", (select) => {
      save(this.#panes[0].map, this.state.values, select.value).catch((error) => this.say(error.message));
      select.value = "";
    });
    element("save").parentElement.hidden = !hasAll();
    element("fit").addEventListener("click", () => this.state.set({ x: null, y: null, zoom: null }));
  }

  #fill(values) {
    const { sources } = this.about, { layers } = sources[values.source], told = layers[values.layer];
    const count = (many) => Array.from({ length: many }, (_, i) => [i, i]);
    options("source", sources.map((one, i) => [i, one.title]), values.source);
    options("layer", layers.map((one, i) => [i, one.name]), values.layer);
    options("head", count(told.heads), values.head);
    options("entry", count(told.entries), values.entry);
    const heads = sources.flatMap((source, s) => source.layers.flatMap((layer, l) => count(layer.heads).map(([h]) =>
      [headWritten({ source: s, layer: l, head: h, entry: Math.min(values.entry, layer.entries - 1) }), `${sources.length > 1 ? `${source.title}: ` : ""}${layer.name} ${h}`])));
    options("beside", [["", "nothing"], ...heads], values.beside ?? "");
    for (const id of ["how", "colour", "theme"]) element(id).value = values[id];
    element("lock").checked = values.lock !== null;
  }
}

function options(id, entries, value) {
  const select = element(id), said = JSON.stringify(entries);
  if (select.dataset.said !== said) {
    select.dataset.said = said;
    select.replaceChildren(...entries.map(([key, text]) => new Option(text, key)));
  }
  select.value = value;
  select.parentElement.hidden = entries.length < 2;
}

function hex(colour) {
  return [0, 8, 16].map((shift) => ((colour >>> shift) & 255).toString(16).padStart(2, "0")).join("");
}

new Page().begin().catch((error) => {
  element("said").textContent = `The page could not begin: ${error.message}`;
});
