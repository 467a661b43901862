// What views of tokens have in common: the tokens of queries and keys, which is hovered or selected,
// and its links.

import { DrawnView } from "./drawn.js";
import { Flow } from "./flow.js";
import { lookOf, otherSide, sentenceOf } from "./looks.js";
import { headOf, headWritten } from "./state.js";

export const WEAKEST = 0.15; // of the ramp: links can be told from what is none
const SELECTED = { queries: "query", keys: "key" };

export class TokensView extends DrawnView {
  #built = "";
  #revealed = "";

  constructor(element, page) {
    super(element, page);
    this.flows = {};
    element.dataset.state = "waiting";
    this.sentence = document.createElement("p");
    this.sentence.className = "sentence";
    this.sentence.setAttribute("aria-live", "polite");
    this.room = document.createElement("div");
    this.room.className = "room";
    element.append(this.sentence, this.room);
  }

  show(values) {
    this.head = headOf(values);
    this.layer = this.page.layer(this.head);
    const [queries, keys] = this.layer.levels[0];
    this.isOne = this.layer.kind === "self" && queries === keys;
    const built = headWritten({ ...this.head, head: 0 });
    if (built !== this.#built) {
      this.#built = built;
      this.hovered = null;
      this.room.replaceChildren();
      this.build();
    }
  }

  // A flow of tokens of a side, in a scroller; of "both" where queries and keys are the same.
  flowOf(side, scroller, host, options) {
    const flow = new Flow(scroller, host, options, {
      choose: (place) => this.#choose(side, place),
      over: (place) => {
        const before = this.hovered;
        this.hovered = place === null ? null : { side, place };
        if (before?.place !== place || before?.side !== side) this.redraw();
      },
    });
    this.flows[side] = flow;
    return flow;
  }

  scroller(name) {
    const found = document.createElement("div");
    found.className = "scroller";
    found.tabIndex = 0;
    found.setAttribute("role", "application");
    found.setAttribute("aria-label", `${name}: arrows select a token, Escape none, [ and ] other heads`);
    found.addEventListener("scroll", () => this.redraw());
    found.addEventListener("keydown", (event) => this.keyed(event));
    return found;
  }

  // Whose links are shown: "out" of a query or "in" to a key; null where none is chosen.
  anchor() {
    const { way, query, key } = this.page.state.values;
    if (this.hovered) {
      const { side, place } = this.hovered;
      return { way: side === "both" ? way : side === "queries" ? "out" : "in", place };
    }
    const place = way === "out" ? query : key;
    return place === null ? null : { way, place };
  }

  draw() {
    const { page, head } = this, labels = page.labels(head), { values } = page.state;
    this.element.dataset.state = "waiting";
    if (!labels) return;
    for (const [side, flow] of Object.entries(this.flows)) {
      const own = side === "both" ? "queries" : side;
      flow.lay(labels.texts[own], labels.joined[own]);
    }
    this.#reveal(values);
    const anchor = this.anchor(), look = anchor && lookOf(page, head, anchor.way, anchor.place);
    const { lack } = page.lines(head);
    this.sentence.textContent = look ? sentenceOf(look, labels) : anchor ? lack || "…" : "Point at a token or select one to see its links.";
    const apart = values.apart === "left" ? labels.apart : null;
    for (const [side, flow] of Object.entries(this.flows)) {
      const isThere = look && (side === "both" || side === look.there);
      const isHere = anchor && (side === "both" || side !== otherSide(anchor.way));
      flow.paint((place) => {
        const found = isThere && look.links.isLink.has(place) ? page.palette.shade(WEAKEST + ((1 - WEAKEST) * look.weights[place]) / look.most) : {};
        const marked = isHere && place === anchor.place ? "anchor" : this.#isSelected(side, place, values) ? "selected" : "";
        const faint = Boolean(apart && isThere && apart[look.there].has(place));
        return { ...found, marked, faint };
      });
    }
    const isWhole = this.drawn(look);
    if (lack || (isWhole && (look || !anchor))) this.element.dataset.state = "exact";
  }

  #isSelected(side, place, values) {
    return side === "both" ? place === values.query || place === values.key : place === values[SELECTED[side]];
  }

  // A selection that was made elsewhere is brought into view.
  #reveal(values) {
    const now = `${values.query} ${values.key} ${values.way} ${this.#built}`;
    if (now === this.#revealed) return;
    this.#revealed = now;
    for (const [side, flow] of Object.entries(this.flows)) {
      const [first, second] = values.way === "out" ? ["query", "key"] : ["key", "query"];
      const place = side === "both" ? values[first] ?? values[second] : values[SELECTED[side]];
      if (place !== null) flow.reveal(place);
    }
  }

  #choose(side, place) {
    const { way } = this.page.state.values;
    if (side === "both") this.page.state.set(way === "out" ? { query: place } : { key: place });
    else this.page.state.set(side === "queries" ? { query: place, way: "out" } : { key: place, way: "in" });
  }

  step(across, down) {
    const { values } = this.page.state, side = values.way === "out" ? "queries" : "keys";
    const flow = this.flows.both ?? this.flows[side], own = values[SELECTED[side]];
    const last = this.layer.levels[0][side === "queries" ? 0 : 1] - 1;
    const place = own === null ? 0 : down ? flow.across(own, down) : own + across;
    this.page.state.set({ [SELECTED[side]]: Math.min(last, Math.max(0, place)) });
  }
}
