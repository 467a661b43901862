// The map of a head on a canvas, with its edges and a small map of the whole.

import { has, json, numbers } from "./ask.js";
import { spreadOf } from "./colours.js";
import { drawEdge, HIGH, WIDE } from "./edges.js";
import { quoted, weight } from "./shown.js";
import { Tiles } from "./tiles.js";
import { View } from "./view.js";

const SMALL = 120; // pixels of the map of the whole
const PAUSE = 300; // milliseconds that a head is looked at before all of it is computed

export class HeadMap {
  // `page` has about, state, spread(head), say(text), colours().
  constructor(pane, head, page) {
    Object.assign(this, { head, page, pointer: null, edges: null, labels: null });
    this.layer = page.about.sources[head.source].layers[head.layer];
    this.canvas = pane.querySelector("canvas");
    this.title = pane.querySelector("h1");
    this.tiles = new Tiles(head, () => this.redraw(), (error) => page.say(error.message));
    this.canvas.dataset.state = "waiting";
    this.closed = new AbortController();
    this.#begin().catch((error) => { if (error.name !== "AbortError") page.say(error.message); });
  }

  close() {
    this.closed.abort();
    this.tiles.want([]);
  }

  async #begin() {
    const { source, layer, entry } = this.head;
    const [labels, edges] = await Promise.all([
      json("labels", { source, layer, entry }), numbers("edges", this.head, this.closed.signal)]);
    this.labels = labels;
    this.edges = edges;
    this.redraw();
    if (edges.every === 1) return;
    await new Promise((go) => setTimeout(go, PAUSE));
    if (this.closed.signal.aborted) return;
    this.edges = await numbers("edges", { ...this.head, now: "exact" }, this.closed.signal);
    this.tiles.forgetSampled();
    this.page.forget(this.head);
    this.redraw();
  }

  view() {
    const [queries, keys] = this.layer.levels[0];
    const width = Math.max(50, this.canvas.clientWidth - WIDE), height = Math.max(50, this.canvas.clientHeight - HIGH);
    return new View(queries, keys, width, height, this.page.state.values);
  }

  redraw() {
    if (this.drawing) return;
    this.drawing = requestAnimationFrame(() => {
      this.drawing = null;
      if (!this.closed.signal.aborted) this.#draw();
    });
  }

  #draw() {
    const density = devicePixelRatio, { canvas } = this, view = this.view();
    const { how } = this.page.state.values, colours = this.page.colours();
    canvas.width = canvas.clientWidth * density;
    canvas.height = canvas.clientHeight * density;
    const context = canvas.getContext("2d");
    context.setTransform(density, 0, 0, density, 0, 0);
    context.imageSmoothingEnabled = false;
    const table = this.page.table(this.head);
    if (!table) {
      canvas.dataset.state = "waiting";
      return;
    }
    context.save();
    context.translate(WIDE, HIGH);
    context.beginPath();
    context.rect(0, 0, view.width, view.height);
    context.clip();
    const wanted = view.level(this.layer.levels, density);
    const level = this.tiles.finest(view, wanted, this.layer.levels, this.page.about.tile, how);
    this.isCoarser = level > wanted;
    this.#drawLevels(context, view, level, how, table);
    this.#drawSelection(context, view, colours);
    this.#drawWhole(context, view, how, table, colours);
    context.restore();
    this.#drawEdges(context, view, colours);
    this.#tell(view, level);
  }

  // The level that is asked for, above what is there of the coarser ones.
  #drawLevels(context, view, level, how, table) {
    const shapes = this.layer.levels, side = this.page.about.tile;
    const coarsest = this.#coarsest();
    const wanted = view.places(level, shapes[level], side, how);
    for (let one = Math.max(coarsest, level); one >= level; one--) {
      for (const place of view.places(one, shapes[one], side, how)) {
        const tile = this.tiles.get(place);
        if (tile) context.drawImage(this.tiles.painted(tile, table), ...view.box(place, shapes[one], side, tile));
      }
    }
    this.tiles.want([this.#wholePlace(how), ...wanted]);
    this.complete = wanted.every((place) => this.tiles.get(place));
  }

  #coarsest() {
    return coarsest(this.head, this.layer, this.page.about.tile);
  }

  #wholePlace(how) {
    return { how, level: this.#coarsest(), row: 0, column: 0 };
  }

  #drawSelection(context, view, { mark }) {
    const { query, key } = this.page.state.values;
    context.strokeStyle = mark;
    context.lineWidth = 1.5;
    const x = (key - view.left) * view.wide, y = (query - view.top) * view.high;
    if (query !== null) context.strokeRect(-5, y, view.width + 10, Math.max(1, view.high));
    if (key !== null) context.strokeRect(x, -5, Math.max(1, view.wide), view.height + 10);
  }

  // The whole in a corner, where not all of it is in view, with a frame around what is.
  #drawWhole(context, view, how, table, { ink, paper, mark }) {
    this.whole = null;
    const tile = this.tiles.get(this.#wholePlace(how));
    if (!tile || view.zoom < view.whole * 1.2) return;
    const scale = SMALL / Math.max(view.keys, view.queries * view.stretch);
    const width = view.keys * scale, height = view.queries * view.stretch * scale;
    const left = view.width - width - 8, top = view.height - height - 8;
    context.fillStyle = paper;
    context.fillRect(left - 1, top - 1, width + 2, height + 2);
    context.drawImage(this.tiles.painted(tile, table), left, top, width, height);
    context.lineWidth = 1;
    context.strokeStyle = ink;
    context.strokeRect(left - 1, top - 1, width + 2, height + 2);
    context.lineWidth = 2;
    context.strokeStyle = mark;
    const frame = (size, least) => Math.max(least, size);
    context.strokeRect(left + view.left * scale, top + view.top * view.stretch * scale,
      frame((view.width / view.wide) * scale, 4), frame((view.height / view.high) * view.stretch * scale, 4));
    this.whole = { left: left + WIDE, top: top + HIGH, width, height };
  }

  #drawEdges(context, view, { ink, mark }) {
    const { query, key } = this.page.state.values;
    const edges = this.edges ? this.edges.cells : new Float32Array(0), many = this.edges ? this.edges.rows : 0;
    const common = { ink, mark };
    drawEdge(context, { ...common, labels: this.labels?.queries, numbers: edges.subarray(0, many), length: view.queries,
      start: view.top, size: view.high, room: view.height, selected: query });
    drawEdge(context, { ...common, above: true, labels: this.labels?.keys, numbers: edges.subarray(many), length: view.keys,
      start: view.left, size: view.wide, room: view.width, selected: key });
    context.fillStyle = ink;
    context.font = "11px system-ui, sans-serif";
    context.fillText("rows: queries, entropy", 4, HIGH - 22);
    context.fillText("columns: keys, mass", 4, HIGH - 8);
  }

  // What the page says of the map.
  #tell(view, level) {
    const { layer } = this, { how } = this.page.state.values;
    const [rows, columns] = layer.levels[level];
    const cell = level === 0 ? "each cell one weight"
      : `each cell the ${how === "max" ? "largest" : "mean"} of about ${+(view.queries / rows).toFixed(1)} × ${+(view.keys / columns).toFixed(1)} weights`;
    const sampled = this.edges?.every > 1 ? `; overview sampled: one of ${this.edges.every} queries, the exact one follows` : "";
    const left = this.isCoarser ? "; finer ones were left out of this file" : "";
    const residual = layer.residual === null ? "" : `; residual ${layer.residual.toExponential(1)}`;
    this.title.textContent = `${layer.name} head ${this.head.head}: ${cell}${left}${sampled}${residual}`;
    this.canvas.setAttribute("aria-label", `${this.title.textContent}, ${view.queries} queries by ${view.keys} keys`);
    this.canvas.dataset.level = level;
    this.canvas.dataset.state = !this.complete || !this.edges ? "waiting" : this.edges.every > 1 ? "sampled" : "exact";
    this.page.read(this.reading(view, level));
  }

  // The weight under the pointer, or of the selection, with both tokens.
  reading(view, level) {
    const { query, key, how } = this.page.state.values;
    const cell = this.pointer ? view.cell(...this.pointer) : query !== null && key !== null ? { query, key } : null;
    if (!cell || cell.query >= view.queries || cell.key >= view.keys) return "";
    const [rows, columns] = this.layer.levels[level], side = this.page.about.tile;
    const row = Math.floor((cell.query * rows) / view.queries), column = Math.floor((cell.key * columns) / view.keys);
    const tile = this.tiles.get({ how, level, row: Math.floor(row / side), column: Math.floor(column / side) });
    const found = tile ? weight(tile.cells[(row % side) * tile.columns + (column % side)]) : "…";
    const named = (labels, place) => (labels ? `${quoted(labels[place])} ${place}` : String(place));
    const what = level === 0 ? "weight" : how === "max" ? "largest weight" : "mean weight";
    return `${what} ${found}: query ${named(this.labels?.queries, cell.query)} looks at key ${named(this.labels?.keys, cell.key)}`;
  }
}

// The finest level that is one tile and can be asked for.
function coarsest(head, layer, side) {
  const isThere = (level) => has("tile", { ...head, how: "max", level, row: 0, column: 0 });
  const found = layer.levels.findIndex((shape, level) => Math.max(...shape) <= side && isThere(level));
  return found < 0 ? layer.levels.length - 1 : found;
}

// What a scale of a head is made of: its coarse maps by both ways.
export async function spreadOfHead(head, layer, side) {
  const level = coarsest(head, layer, side);
  const maps = await Promise.all(["max", "mean"].map((how) => numbers("tile", { ...head, how, level, row: 0, column: 0 })));
  return spreadOf([...maps[0].cells, ...maps[1].cells]);
}
