// The view of maps: that of the head, one beside it, and the ratio of the two.

import { listen } from "./hands.js";
import { OneHead } from "./head.js";
import { MatrixMap } from "./map.js";
import { Ratio } from "./ratio.js";
import { save } from "./save.js";
import { headOf, headRead, headWritten } from "./state.js";

export class MapView {
  #panes = [];

  constructor(element, page) {
    Object.assign(this, { element, page, why: document.createElement("p") });
    this.why.className = "why";
    element.append(this.why);
  }

  show(values) {
    const own = headOf(values), other = values.beside && headRead(values.beside);
    const misfit = other && values.ratio !== "no" ? Ratio.misfit([own, other], this.page) : null;
    this.why.textContent = misfit ?? "";
    const alone = other && values.ratio === "alone" && !misfit;
    const shown = alone ? [] : other ? [[own], [other]] : [[own]];
    if (other && values.ratio !== "no" && !misfit) shown.push([own, other]);
    this.element.classList.toggle("rated", shown.length > 2);
    this.element.style.setProperty("--panes", shown.length);
    shown.forEach((heads, i) => this.#pane(i, heads));
    while (this.#panes.length > shown.length) this.#panes.pop().close();
  }

  redraw() {
    for (const pane of this.#panes) pane.map.redraw();
  }

  // The first map as a picture file.
  save(kind) {
    return save(this.#panes[0].map, this.page.state.values, kind);
  }

  close() {
    for (const pane of this.#panes.splice(0)) pane.close();
  }

  #pane(number, heads) {
    const name = heads.map(headWritten).join(" ");
    let pane = this.#panes[number];
    if (!pane) pane = this.#panes[number] = this.#opened(number);
    if (pane.name === name) return;
    pane.map?.close();
    pane.name = name;
    pane.heads = heads;
    pane.legend.replaceChildren();
    delete pane.legend.dataset.said;
    const subject = (redraw) => (heads.length > 1 ? new Ratio(heads, this.page, redraw) : new OneHead(heads[0], this.page, redraw));
    const reads = () => number === 0 && this.#panes.every(({ map }) => !map?.pointer);
    pane.map = new MatrixMap(pane.whole, subject, this.page, reads);
  }

  #opened(number) {
    const [whole, title, legend, room, canvas] = ["section", "h1", "p", "div", "canvas"].map((kind) => document.createElement(kind));
    whole.className = "pane";
    legend.className = "legend";
    canvas.tabIndex = 0;
    canvas.setAttribute("role", "application");
    room.append(canvas);
    whole.append(title, legend, room);
    this.element.append(whole);
    const pane = { whole, legend, close() { this.map.close(); whole.remove(); } };
    // Of a ratio the second head is turned.
    const turn = (by) => this.page.turn(pane.heads.at(-1), number > 0 || pane.heads.length > 1, by);
    listen(canvas, () => pane.map, this.page.state, turn);
    return pane;
  }
}
