// The page: what is chosen, the views that show it, and what is said of them.

import { AlignmentView } from "./alignment.js";
import { json } from "./ask.js";
import { Controls } from "./controls.js";
import { Grid } from "./grid.js";
import { ImageView } from "./image.js";
import { Lines } from "./lines.js";
import { MapView } from "./maps.js";
import { Palette } from "./palette.js";
import { token } from "./shown.js";
import { headOf, headRead, headWritten, State } from "./state.js";
import { HeadsView } from "./table.js";
import { TextView } from "./text.js";

const element = (id) => document.getElementById(id);
const MADE = { map: MapView, text: TextView, alignment: AlignmentView, image: ImageView, heads: HeadsView };
const SIDES = ["queries", "keys"];
const LONGEST = 200; // characters of a title

class Page {
  #views = new Map();
  #labels = new Map();
  #lines = {};

  async begin() {
    this.state = new State();
    this.about = await json("about");
    this.palette = new Palette(this);
    this.grid = new Grid(element("grid"), this, (layer, head) => this.state.set({ layer, head }, true));
    this.controls = new Controls(this);
    for (const source of this.about.sources) source.title = token(source.title, LONGEST);
    const empty = this.about.sources.flatMap(({ title, empty }) => empty.map((name) => `${name} of ${title}`));
    if (empty.length) this.say(`Left out, without a weight: ${empty.join(", ")}.`);
    this.state.watch(() => this.show());
    addEventListener("resize", () => this.redraw());
    this.show();
  }

  say(text) {
    element("said").textContent = text;
  }

  read(text) {
    element("readout").textContent = text;
    element("readout").title = text; // where there is no room for all of it
  }

  // --- what is shown

  show() {
    const values = this.#inside(this.state.values), { theme } = this.palette;
    this.state.values = values;
    document.documentElement.dataset.theme = theme;
    this.controls.show(values);
    this.grid.show(values);
    const shown = values.show.split(".");
    for (const [name, view] of this.#views) if (!shown.includes(name)) this.#close(name, view);
    for (const name of shown) this.#view(name).show(values);
    for (const id of ["readout", "map-legend"]) element(id).hidden = !shown.includes("map");
    const look = `${theme} ${values.colour}`;
    if (look !== this.look) {
      this.look = look;
      this.grid.repaint();
    }
    this.redraw();
  }

  redraw() {
    for (const view of this.#views.values()) view.redraw();
  }

  save(kind) {
    this.#view("map").save(kind).catch((error) => this.say(error.message));
  }

  #view(name) {
    if (!this.#views.has(name)) {
      const room = document.createElement("section"), others = element("views-shown");
      room.className = "view";
      room.dataset.view = name;
      room.setAttribute("aria-label", name);
      const after = [...others.children].find((one) => Object.keys(MADE).indexOf(one.dataset.view) > Object.keys(MADE).indexOf(name));
      others.insertBefore(room, after ?? null);
      this.#views.set(name, new MADE[name](room, this));
    }
    return this.#views.get(name);
  }

  #close(name, view) {
    view.close();
    view.element.remove();
    this.#views.delete(name);
  }

  // Numbers of what is not there, as an old address may have, are those of the first that is.
  #inside(values) {
    const sure = (head) => {
      const source = this.about.sources[head.source] ? head.source : 0, { layers } = this.about.sources[source];
      const layer = layers[head.layer] ? head.layer : 0, told = layers[layer];
      return { source, layer, head: head.head < told.heads ? head.head : 0, entry: head.entry < told.entries ? head.entry : 0 };
    };
    const other = (text) => text && headWritten(sure(headRead(text)));
    const main = sure(values), [queries, keys] = this.layer(main).levels[0];
    const within = (place, count) => (place !== null && place < count ? place : null);
    return { ...values, ...main, lock: other(values.lock), beside: other(values.beside), query: within(values.query, queries), key: within(values.key, keys) };
  }

  // The head after or before, through all layers: of what is chosen, or of the one beside it.
  turn(own, isBeside, by) {
    const { layers } = this.about.sources[own.source];
    let { layer, head } = own;
    head += by;
    if (head < 0 && layer > 0) head = layers[--layer].heads - 1;
    if (head >= layers[layer].heads && layer + 1 < layers.length) [layer, head] = [layer + 1, 0];
    head = Math.min(layers[layer].heads - 1, Math.max(0, head));
    this.state.set(isBeside ? { beside: headWritten({ ...own, layer, head }) } : { layer, head }, true);
  }

  // --- what is known

  layer(head) {
    return this.about.sources[head.source].layers[head.layer];
  }

  // Labels of queries and keys, or undefined until they are there. `texts` are numbers where there
  // are none.
  labels({ source, layer, entry }) {
    const name = `${source}.${layer}.${entry}`;
    if (!this.#labels.has(name)) {
      this.#labels.set(name, undefined);
      json("labels", { source, layer, entry }).then((found) => {
        const sizes = this.layer({ source, layer }).levels[0];
        const each = (make) => Object.fromEntries(SIDES.map((side, i) => [side, make(side, sizes[i])]));
        this.#labels.set(name, {
          ...found,
          apart: each((side) => new Set(found.apart[side])),
          joined: each((side) => new Set(found.joined[side])),
          texts: each((side, count) => found[side] ?? Array.from({ length: count }, (_, place) => String(place))),
        });
        this.redraw();
      }, (error) => this.say(error.message));
    }
    return this.#labels.get(name);
  }

  // The rows and columns of the head that was asked for last.
  lines(head) {
    const name = headWritten(head);
    if (this.#lines.name !== name) {
      const lines = new Lines(head, this.layer(head).levels[0], this.about.tile, () => this.redraw(), (error) => this.say(error.message));
      this.#lines = { name, lines };
    }
    return this.#lines.lines;
  }
}

new Page().begin().catch((error) => {
  element("said").textContent = `The page could not begin: ${error.message}`;
});
