// What the map of the ratio of two heads is drawn of: the logarithm of the ratio of their cells, each
// pooled by itself.

import { colourOf } from "./colours.js";
import { drawRamp } from "./palette.js";
import { Tiles } from "./tiles.js";

// Blue, grey, orange: told apart by every eye. The middle is near the paper.
const RAMPS = {
  light: [[8, 64, 129], [78, 148, 205], [222, 222, 222], [230, 145, 56], [140, 62, 0]],
  dark: [[140, 206, 255], [46, 112, 176], [58, 61, 70], [184, 100, 20], [255, 190, 110]],
};
const HALF = 1 << 16;
const MOST = 10; // doublings at the ends of the ramp

export class Ratio {
  #tables = new Map();

  constructor(heads, page, redraw) {
    Object.assign(this, { heads, page });
    this.tiles = new RatioTiles(heads.map((head) => new Tiles(head, redraw, (error) => page.say(error.message))));
  }

  // Why there is no ratio of two heads, or null.
  static misfit(heads, page) {
    const sizes = heads.map((head) => page.layer(head).levels[0].join(" × "));
    return sizes[0] === sizes[1] ? null : `no ratio: matrices of ${sizes.join(" and ")} weights have no cells in common`;
  }

  table(legend) {
    const { how } = this.page.state.values, { theme } = this.page.palette;
    const place = { how, level: this.tiles.coarsest(this.page.layer(this.heads[0]), this.page.about.tile), row: 0, column: 0 };
    const whole = this.tiles.get(place);
    if (!whole) {
      this.tiles.want([place]);
      return undefined;
    }
    whole.limit ??= limitOf(whole.cells);
    const name = `${theme} ${whole.limit}`;
    if (!this.#tables.has(name)) this.#tables.set(name, tableOf(RAMPS[theme], whole.limit, this.page.palette.plain.paper));
    if (legend.dataset.said !== name) this.#tell(legend, name, RAMPS[theme], whole.limit);
    return this.#tables.get(name);
  }

  titled(text) {
    return `${this.#names().join(" to ")}: ${text}`;
  }

  cell(pooled, how) {
    return pooled ? `the ratio of the ${how === "max" ? "largest" : "means"} of ${pooled} weights` : "the ratio of two weights";
  }

  said(doublings) {
    if (Number.isNaN(doublings)) return "no ratio: neither has weight, or one is negative or no number";
    if (!Number.isFinite(doublings)) return `no ratio, only the ${doublings > 0 ? "first" : "second"} has weight`;
    return `ratio ${(2 ** doublings).toPrecision(4)}`;
  }

  #names() {
    const { sources } = this.page.about, [own, other] = this.heads;
    const source = (head) => (own.source === other.source ? "" : `${sources[head.source].title}: `);
    return this.heads.map((head) => `${source(head)}${this.page.layer(head).name} head ${head.head}`);
  }

  #tell(legend, said, ramp, limit) {
    const line = (...parts) => {
      const made = document.createElement("span");
      made.append(...parts);
      return made;
    };
    const square = (end) => {
      const made = document.createElement("i");
      made.style.background = `rgb(${end})`;
      return made;
    };
    const canvas = Object.assign(document.createElement("canvas"), { width: 120, height: 10 });
    drawRamp(canvas, (at) => colourOf(ramp, at));
    const [own, other] = this.#names();
    legend.dataset.said = said;
    legend.replaceChildren(line(canvas, `up to ${2 ** limit} times as much; grey: alike; empty: no ratio`),
      line(square(ramp.at(-1)), own), line(square(ramp[0]), other));
  }
}

// Tiles of the ratio, made of those of both heads.
class RatioTiles {
  #made = new WeakMap();

  constructor(both) {
    this.both = both;
  }

  get(place) {
    const [own, other] = this.both.map((tiles) => tiles.get(place));
    if (!own || !other) return undefined;
    const before = this.#made.get(own);
    if (before?.other === other) return before;
    const cells = own.cells.map((weight, i) => (weight >= 0 && other.cells[i] >= 0 ? Math.log2(weight / other.cells[i]) : NaN));
    const made = { other, cells, rows: own.rows, columns: own.columns };
    this.#made.set(own, made);
    return made;
  }

  want(places) {
    for (const tiles of this.both) tiles.want(places);
  }

  // The finest level, from this one on, of which both have all that is in view.
  finest(view, level, shapes, side, how) {
    return Math.max(...this.both.map((tiles) => tiles.finest(view, level, shapes, side, how)));
  }

  // The finest level that is one tile of both.
  coarsest(layer, side) {
    return Math.max(...this.both.map((tiles) => tiles.coarsest(layer, side)));
  }

  beExact() {
    for (const tiles of this.both) tiles.beExact();
  }

  painted(tile, table) {
    return this.both[0].painted(tile, table);
  }
}

// Whole doublings that nineteen of twenty ratios do not exceed.
function limitOf(cells) {
  const sizes = cells.filter(Number.isFinite).map(Math.abs).sort();
  return Math.min(MOST, Math.max(1, Math.ceil(sizes[Math.floor(sizes.length * 0.95)] ?? 1)));
}

// Where there is no ratio is the colour of the paper.
function tableOf(ramp, limit, paper) {
  const ground = [1, 3, 5].map((at) => parseInt(paper.slice(at, at + 2), 16)), empty = colourOf([ground, ground], 0);
  const table = new Uint32Array(HALF).fill(empty), bits = new Uint32Array(1), doublings = new Float32Array(bits.buffer);
  for (let half = 0; half < HALF; half++) {
    bits[0] = (half << 16) | ((half & 0x7fff) === 0x7f80 ? 0 : 0x8000); // an infinity is one
    if (Number.isNaN(doublings[0])) continue;
    table[half] = colourOf(ramp, Math.min(1, Math.max(0, 0.5 + doublings[0] / limit / 2)));
  }
  return table;
}
