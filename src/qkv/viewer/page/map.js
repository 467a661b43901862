// The map of a head on a canvas, with its edges and a small map of the whole.

import { numbers } from "./ask.js";
import { drawEdge, HIGH, WIDE } from "./edges.js";
import { named } from "./shown.js";
import { View } from "./view.js";

const SMALL = 120; // pixels of the map of the whole
const PAUSE = 300; // milliseconds that a head is looked at before all of it is computed

export class MatrixMap {
  // `subject(redraw)` makes what is drawn: its heads, tiles, colours, and what is said of it.
  // `reads()` tells whether the selected cell is read out from here.
  constructor(pane, subject, page, reads) {
    Object.assign(this, { page, reads, pointer: null, edges: null });
    this.canvas = pane.querySelector("div canvas");
    this.title = pane.querySelector("h1");
    this.legend = pane.querySelector(".legend");
    this.subject = subject(() => this.redraw());
    this.tiles = this.subject.tiles;
    this.layer = page.layer(this.subject.heads[0]);
    this.canvas.dataset.state = "waiting";
    this.closed = new AbortController();
    this.#begin().catch((error) => { if (error.name !== "AbortError") page.say(error.message); });
  }

  close() {
    this.closed.abort();
    this.tiles.want([]);
  }

  async #begin() {
    const edges = await this.#edges({});
    this.edges = edges;
    if (edges.every === 1) this.tiles.beExact();
    this.redraw();
    if (edges.every === 1) return;
    await new Promise((go) => setTimeout(go, PAUSE));
    if (this.closed.signal.aborted) return;
    this.edges = await this.#edges({ now: "exact" });
    this.tiles.beExact();
    for (const head of this.subject.heads) this.page.palette.forget(head);
    this.redraw();
  }

  // Those of the first head; one of several is sampled where any is.
  async #edges(when) {
    const all = await Promise.all(this.subject.heads.map((head) => numbers("edges", { ...head, ...when }, this.closed.signal)));
    return { ...all[0], every: Math.max(...all.map((one) => one.every)) };
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
    const { how } = this.page.state.values, colours = this.page.palette.plain;
    canvas.width = canvas.clientWidth * density;
    canvas.height = canvas.clientHeight * density;
    const context = canvas.getContext("2d");
    context.setTransform(density, 0, 0, density, 0, 0);
    context.imageSmoothingEnabled = false;
    const table = this.subject.table(this.legend);
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
    return this.tiles.coarsest(this.layer, this.page.about.tile);
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
    const { query, key } = this.page.state.values, labels = this.page.labels(this.subject.heads[0]);
    const edges = this.edges ? this.edges.cells : new Float32Array(0), many = this.edges ? this.edges.rows : 0;
    const common = { ink, mark };
    drawEdge(context, { ...common, labels: labels?.queries, numbers: edges.subarray(0, many), length: view.queries,
      start: view.top, size: view.high, room: view.height, selected: query });
    drawEdge(context, { ...common, above: true, labels: labels?.keys, numbers: edges.subarray(many), length: view.keys,
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
    const many = (all, cells) => +(all / cells).toFixed(1);
    const cell = this.subject.cell(level === 0 ? null : `about ${many(view.queries, rows)} × ${many(view.keys, columns)}`, how);
    const sampled = this.edges?.every > 1 ? `; overview sampled: one of ${this.edges.every} queries, the exact one follows` : "";
    const left = this.isCoarser ? "; finer ones were left out of this file" : "";
    const residuals = this.subject.heads.map((head) => this.page.layer(head).residual).filter((one) => one !== null);
    const residual = residuals.length ? `; residual ${residuals.map((one) => one.toExponential?.(1) ?? one).join(" and ")}` : "";
    this.title.textContent = this.subject.titled(`each cell ${cell}${left}${sampled}${residual}`);
    this.title.title = this.title.textContent; // where there is no room for all of it
    this.canvas.setAttribute("aria-label", `${this.title.textContent}, ${view.queries} queries by ${view.keys} keys`);
    this.canvas.dataset.level = level;
    this.canvas.dataset.state = !this.complete || !this.edges || !this.page.labels(this.subject.heads[0]) ? "waiting" : this.edges.every > 1 ? "sampled" : "exact";
    if (this.pointer || this.reads()) this.page.read(this.#reading(view, level));
  }

  // The cell under the pointer, or the selected one, with both tokens.
  #reading(view, level) {
    const { query, key, how } = this.page.state.values;
    const cell = this.pointer ? view.cell(...this.pointer) : query !== null && key !== null ? { query, key } : null;
    if (!cell || cell.query >= view.queries || cell.key >= view.keys) return "";
    const [rows, columns] = this.layer.levels[level], side = this.page.about.tile;
    const row = Math.floor((cell.query * rows) / view.queries), column = Math.floor((cell.key * columns) / view.keys);
    const tile = this.tiles.get({ how, level, row: Math.floor(row / side), column: Math.floor(column / side) });
    const labels = this.page.labels(this.subject.heads[0]);
    if (!tile || !labels) return "…";
    const found = this.subject.said(tile.cells[(row % side) * tile.columns + (column % side)], level, how);
    return `${found}: query ${named(labels.queries, cell.query)} looks at key ${named(labels.keys, cell.key)}`;
  }
}
