// All heads of a source as small maps, a row for each layer.

import { numbers } from "./ask.js";
import { paint, spreadOf, tableOf } from "./colours.js";

export class Grid {
  #cells = []; // of each head: its button, canvas, numbers
  #source = null;

  constructor(element, page, choose) {
    Object.assign(this, { element, page, choose });
  }

  show({ source, layer, head, entry }) {
    const name = `${source}.${entry}`;
    if (this.#source !== name) {
      this.#source = name;
      this.#build(source, entry, name).catch((error) => this.page.say(error.message));
    }
    for (const cell of this.#cells) cell.button.setAttribute("aria-pressed", cell.layer === layer && cell.head === head);
  }

  // In other colours.
  repaint() {
    this.#cells.forEach((cell) => this.#paint(cell));
  }

  async #build(source, entry, name) {
    const { layers } = this.page.about.sources[source];
    this.#cells = [];
    this.element.replaceChildren();
    for (const [layer, told] of layers.entries()) {
      const title = document.createElement("h2"), row = document.createElement("div");
      title.textContent = told.name;
      this.element.append(title, row);
      for (let head = 0; head < told.heads; head++) row.append(this.#button(layer, head, told));
    }
    this.show(this.page.state.values);
    for (const [layer, told] of layers.entries()) {
      const found = await numbers("small", { source, layer, entry: Math.min(entry, told.entries - 1) });
      if (this.#source !== name) return;
      const rows = found.rows / told.heads, size = rows * found.columns;
      for (const cell of this.#cells.filter((one) => one.layer === layer)) {
        const cells = found.cells.slice(cell.head * size, (cell.head + 1) * size);
        Object.assign(cell, { cells, rows, columns: found.columns });
        if (found.every > 1) cell.button.title += `, one query in ${found.every}`;
        this.#paint(cell);
      }
    }
  }

  #button(layer, head, told) {
    const button = document.createElement("button"), canvas = document.createElement("canvas");
    button.title = `${told.name} head ${head}`;
    button.setAttribute("aria-label", button.title);
    button.append(canvas);
    button.addEventListener("click", () => this.choose(layer, head));
    this.#cells.push({ layer, head, button, canvas });
    return button;
  }

  #paint({ canvas, cells, rows, columns }) {
    if (!cells) return;
    const { colour } = this.page.state.values;
    paint(canvas, cells, rows, columns, tableOf(this.page.palette.ramp, spreadOf(cells), colour));
  }
}
