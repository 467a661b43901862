// The view of alignment: queries and keys in two columns, with lines as strong as the weights.

import { lookOf } from "./looks.js";
import { TokensView } from "./tokens.js";

const FAINT = 0.25; // of lines that are not of the token that is pointed at or selected

export class AlignmentView extends TokensView {
  build() {
    const scroller = this.scroller("alignment"), [left, right] = [0, 0].map(() => document.createElement("div"));
    this.canvas = document.createElement("canvas");
    scroller.classList.add("columns");
    const title = document.createElement("h2");
    title.textContent = "queries at the left, keys at the right";
    scroller.append(left, this.canvas, right);
    this.room.append(title, scroller);
    this.flows = {};
    this.flowOf("queries", scroller, left, { stacked: true });
    this.flowOf("keys", scroller, right, { stacked: true });
  }

  // The links of all tokens in view; of a long matrix those of one alone, for the others are not known.
  // Whether all of them are there.
  drawn(look) {
    const { canvas, page, flows } = this, { way } = page.state.values, density = devicePixelRatio;
    const side = way === "out" ? "queries" : "keys", anchor = this.anchor();
    const width = canvas.clientWidth, height = flows.queries.scroller.clientHeight;
    canvas.style.height = `${height}px`;
    canvas.width = width * density;
    canvas.height = height * density;
    const context = canvas.getContext("2d");
    context.setTransform(density, 0, 0, density, 0, 0);
    context.strokeStyle = page.palette.plain.mark;
    const lines = [];
    let isWhole = true;
    if (page.lines(this.head).isShort) {
      const [first, last] = flows[side].inView();
      for (let place = first; place < last; place++) {
        const own = lookOf(page, this.head, way, place);
        if (own) lines.push(...ends(own));
        else isWhole = false;
      }
    } else if (look) lines.push(...ends(look));
    const isOf = anchor && (anchor.way === "out" ? ([query]) => query === anchor.place : ([, key]) => key === anchor.place);
    const most = lines.reduce((found, [, , weight]) => Math.max(found, weight), 1); // weights of no shares may be larger
    for (const [query, key, weight] of lines) this.#line(context, width, [query, key, weight / most], !isOf || isOf([query, key]) ? 1 : FAINT);
    canvas.dataset.lines = lines.length;
    return isWhole;
  }

  #line(context, width, [query, key, share], strength) {
    const from = this.flows.queries.middleOf(query), to = this.flows.keys.middleOf(key);
    context.globalAlpha = Math.max(0.03, share) * strength;
    context.lineWidth = 0.75 + 3 * share;
    context.beginPath();
    context.moveTo(0, from);
    context.bezierCurveTo(width / 2, from, width / 2, to, width, to);
    context.stroke();
  }
}

// Query, key and weight of each link.
function ends({ way, place, weights, links }) {
  return links.places.map((other) => (way === "out" ? [place, other, weights[other]] : [other, place, weights[other]]));
}
