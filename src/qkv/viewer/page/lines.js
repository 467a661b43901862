// Rows and columns of a head: the weights of one query, or those of one key.

import { has, numbers } from "./ask.js";

const FEW = 4; // tiles: so many hold all weights of a short head, of which lines are cut
const KEPT = 400;

export class Lines {
  #kept = new Map();
  #tiles = new Map();
  #under = false;
  #failed = new Set();

  constructor(head, shape, side, arrived, failed) {
    Object.assign(this, { head, shape, side, arrived, failed, lack: "" }); // why there may be none
    this.isShort = shape.every((length) => length > 0) && shape.map((length) => Math.ceil(length / side)).reduce((a, b) => a * b) <= FEW;
  }

  // The weights of a query ("out") or of a key ("in"), or undefined until they are there.
  get(way, place) {
    const name = `${way} ${place}`;
    let found = this.#kept.get(name);
    if (!found && this.isShort) found = this.#cut(way, place);
    else if (!found) this.#ask(way, place, name);
    if (found) this.#keep(name, found);
    return found;
  }

  #keep(name, weights) {
    this.#kept.delete(name);
    this.#kept.set(name, weights);
    if (this.#kept.size > KEPT) this.#kept.delete(this.#kept.keys().next().value);
  }

  // Asks for this line, unless another is under way: one that is still wanted then is asked for by
  // the drawing that follows.
  #ask(way, place, name) {
    if (this.#under || this.#failed.has(name)) return;
    const question = [way === "out" ? "row" : "column", { ...this.head, place }];
    if (!has(...question)) return this.#lacks();
    this.#under = true;
    numbers(...question).then(({ cells }) => this.#keep(name, cells), (error) => {
      this.#failed.add(name);
      this.failed(error);
    }).finally(() => {
      this.#under = false;
      this.arrived();
    });
  }

  #lacks() {
    this.lack ||= "The weights of single tokens of this head were left out of this file.";
  }

  #cut(way, place) {
    const [rows, columns] = this.shape, { side } = this;
    const along = way === "out" ? columns : rows, across = Math.floor(place / side), found = new Float32Array(along);
    let isWhole = true;
    for (let i = 0; i * side < along; i++) {
      const tile = this.#tile(...(way === "out" ? [across, i] : [i, across]));
      if (!tile) isWhole = false;
      else for (let j = 0; j < (way === "out" ? tile.columns : tile.rows); j++) {
        const [row, column] = way === "out" ? [place % side, j] : [j, place % side];
        found[i * side + j] = tile.cells[row * tile.columns + column];
      }
    }
    return isWhole ? found : undefined;
  }

  #tile(row, column) {
    const name = `${row} ${column}`;
    if (!this.#tiles.has(name)) {
      const values = { ...this.head, how: "max", level: 0, row, column };
      this.#tiles.set(name, null);
      if (!has("tile", values)) return this.#lacks();
      numbers("tile", values).then((tile) => {
        this.#tiles.set(name, tile);
        this.arrived();
      }, this.failed);
    }
    return this.#tiles.get(name);
  }
}
