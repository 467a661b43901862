// What the map of one head is drawn of.

import { numbers } from "./ask.js";
import { spreadOf } from "./colours.js";
import { weight } from "./shown.js";
import { headRead } from "./state.js";
import { coarsest, Tiles } from "./tiles.js";

export class OneHead {
  constructor(head, page, redraw) {
    Object.assign(this, { head, page });
    this.heads = [head];
    this.tiles = new Tiles(head, redraw, (error) => page.say(error.message));
  }

  // Weights to colours, or undefined until they are known.
  table() {
    return this.page.palette.table(this.head);
  }

  // Beside a head of another source both are told by theirs.
  titled(text) {
    const { source, beside } = this.page.state.values, { sources } = this.page.about;
    const own = beside && headRead(beside).source !== source ? `${sources[this.head.source].title}: ` : "";
    return `${own}${this.page.layer(this.head).name} head ${this.head.head}: ${text}`;
  }

  // What a cell stands for; `pooled`: of how many weights, null of one.
  cell(pooled, how) {
    return pooled ? `the ${how === "max" ? "largest" : "mean"} of ${pooled} weights` : "one weight";
  }

  said(number, level, how) {
    return `${level === 0 ? "weight" : how === "max" ? "largest weight" : "mean weight"} ${weight(number)}`;
  }
}

// What a scale of a head is made of: its coarse maps by both ways.
export async function spreadOfHead(head, layer, side) {
  const level = coarsest(head, layer, side);
  const maps = await Promise.all(["max", "mean"].map((how) => numbers("tile", { ...head, how, level, row: 0, column: 0 })));
  return spreadOf([...maps[0].cells, ...maps[1].cells]);
}
