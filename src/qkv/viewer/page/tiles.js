// The tiles of one head: asked for when they are in view, let go when they are not.

import { has, numbers } from "./ask.js";
import { paint } from "./colours.js";

const AT_ONCE = 3, KEPT = 300;

export class Tiles {
  #tiles = new Map(); // by place; a new one last
  #under = new Map(); // what is being asked for
  #waiting = [];
  #again = new Set(); // what came sampled where all queries are to be looked at
  #isExact = false;

  constructor(head, arrived, failed) {
    Object.assign(this, { head, arrived, failed });
  }

  get(place) {
    return this.#tiles.get(written(place));
  }

  // The finest level, from this one on, of which all that is in view can be asked for.
  finest(view, level, shapes, side, how) {
    const isThere = (place) => has("tile", { ...this.head, ...place });
    while (level < shapes.length - 1 && !view.places(level, shapes[level], side, how).every(isThere)) level++;
    return level;
  }

  coarsest(layer, side) {
    return coarsest(this.head, layer, side);
  }

  // Asks for these, the first ones first, and for nothing else any longer.
  want(places) {
    const names = new Set(places.map(written));
    for (const [name, control] of this.#under) if (!names.has(name)) control.abort();
    this.#waiting = places.filter((place) => !this.#tiles.has(written(place)) && !this.#under.has(written(place)));
    this.#next();
  }

  // From now on tiles are of all queries. The server, which lets go of what it looked at long ago, is
  // asked once more for those that are not.
  beExact() {
    this.#isExact = true;
    for (const [name, tile] of this.#tiles) if (tile.every > 1) this.#tiles.delete(name);
  }

  painted(tile, table) {
    if (tile.table !== table) {
      tile.canvas ??= document.createElement("canvas");
      paint(tile.canvas, tile.cells, tile.rows, tile.columns, table);
      tile.table = table;
    }
    return tile.canvas;
  }

  #next() {
    while (this.#under.size < AT_ONCE && this.#waiting.length) {
      const place = this.#waiting.shift(), name = written(place), control = new AbortController();
      this.#under.set(name, control);
      numbers("tile", { ...this.head, ...place, ...(this.#again.has(name) ? { now: "exact" } : {}) }, control.signal)
        .then((tile) => {
          if (this.#isExact && tile.every > 1) this.#again.add(name);
          else this.#tiles.set(name, tile);
          for (const old of this.#tiles.keys()) {
            if (this.#tiles.size <= KEPT) break;
            this.#tiles.delete(old);
          }
          this.#under.delete(name);
          this.arrived();
        })
        .catch((error) => {
          this.#under.delete(name);
          if (error.name !== "AbortError") this.failed(error);
        })
        .finally(() => this.#next());
    }
  }
}

function written({ how, level, row, column }) {
  return `${how} ${level} ${row} ${column}`;
}

// The finest level that is one tile and can be asked for.
export function coarsest(head, layer, side) {
  const isThere = (level) => has("tile", { ...head, how: "max", level, row: 0, column: 0 });
  const found = layer.levels.findIndex((shape, level) => Math.max(...shape) <= side && isThere(level));
  return found < 0 ? layer.levels.length - 1 : found;
}
