// Tokens as flowing text, or one below the other. Only what is in view is drawn.

import { token } from "./shown.js";

const LINE = 24, GAP = 5, AHEAD = 4; // pixels; lines drawn beyond the view
const FONT = "14px system-ui, sans-serif";
const measuring = document.createElement("canvas").getContext("2d");
const widths = new Map();

export class Flow {
  #ends = []; // of each line: the first place behind it
  #lines = new Map(); // those that are drawn, by number: [the line, its tokens by place]

  // `host` lies in `scroller`; `act` has choose(place) and over(place or null).
  constructor(scroller, host, { stacked = false }, act) {
    Object.assign(this, { scroller, host, stacked, act, texts: null, width: 0 });
    host.classList.add("flow");
    host.classList.toggle("stacked", stacked);
    const placeOf = (event) => event.target.closest?.("[data-place]")?.dataset.place;
    host.addEventListener("click", (event) => { if (placeOf(event)) act.choose(Number(placeOf(event))); });
    host.addEventListener("pointermove", (event) => act.over(placeOf(event) ? Number(placeOf(event)) : null));
    host.addEventListener("pointerleave", () => act.over(null));
  }

  // The tokens, and which of them follow the one before without a space.
  lay(texts, joined) {
    const width = this.host.clientWidth;
    if (texts === this.texts && width === this.width) return;
    Object.assign(this, { texts, width, joined });
    this.#ends = [];
    for (const [line] of this.#lines.values()) line.remove();
    this.#lines.clear();
    let start = 0, used = 0, word = 0; // the first place of the line, its width, where its last word begins
    for (let place = 0; place < texts.length; place++) {
      if (!this.#isJoined(place)) word = place;
      used += this.#wide(place) + this.#gap(place, start);
      if (place === start || !(this.stacked || used > width)) continue;
      start = word > start && !this.stacked ? word : place; // a word goes to the next line as a whole
      this.#ends.push(start);
      used = 0;
      for (let moved = start; moved <= place; moved++) used += this.#wide(moved) + this.#gap(moved, start);
    }
    this.#ends.push(texts.length);
    this.host.style.height = `${this.#ends.length * LINE}px`;
  }

  // Draws what is in view; `look(place)` gives ground, ink and whether a token is marked.
  paint(look) {
    const [first, last] = this.inView();
    for (const [number, [line]] of this.#lines) {
      if (number >= first && number < last) continue;
      line.remove();
      this.#lines.delete(number);
    }
    for (let number = first; number < last; number++) {
      if (!this.#lines.has(number)) this.#lines.set(number, this.#line(number));
      for (const [place, span] of this.#lines.get(number)[1]) {
        const { ground = "", ink = "", marked = "", faint = false } = look(place);
        span.style.background = ground;
        span.style.color = ink;
        span.className = `${marked} ${faint ? "faint" : ""}`;
      }
    }
  }

  // The first line in view and the one behind the last, a few more on both sides.
  inView(ahead = AHEAD) {
    const top = this.scroller.scrollTop - this.#offset(), high = this.scroller.clientHeight;
    return [Math.max(0, Math.floor(top / LINE) - ahead), Math.min(this.#ends.length, Math.ceil((top + high) / LINE) + ahead)];
  }

  get count() {
    return this.#ends.length;
  }

  lineOf(place) {
    let from = 0, to = this.#ends.length - 1;
    while (from < to) {
      const middle = (from + to) >> 1;
      if (this.#ends[middle] <= place) from = middle + 1; else to = middle;
    }
    return from;
  }

  // Where a token's line has its middle, from the top of what is in view.
  middleOf(place) {
    return (this.lineOf(place) + 0.5) * LINE + this.#offset() - this.scroller.scrollTop;
  }

  // Scrolls so that a token is in view.
  reveal(place) {
    const at = this.middleOf(place), high = this.scroller.clientHeight;
    if (at < LINE || at > high - LINE) this.scroller.scrollTop += at - high / 2;
  }

  // The token in the line below or above that is nearest.
  across(place, by) {
    const line = this.lineOf(place), other = Math.min(this.#ends.length - 1, Math.max(0, line + by));
    if (other === line) return place;
    const wanted = this.#lefts(line).get(place);
    let best = null, least = Infinity;
    for (const [one, left] of this.#lefts(other)) if (Math.abs(left - wanted) < least) [best, least] = [one, Math.abs(left - wanted)];
    return best;
  }

  #lefts(line) {
    const found = new Map();
    const start = this.#start(line);
    let left = 0;
    for (let place = start; place < this.#ends[line]; place++) {
      found.set(place, left);
      left += this.#wide(place) + this.#gap(place, start);
    }
    return found;
  }

  #start(line) {
    return line ? this.#ends[line - 1] : 0;
  }

  #line(number) {
    const line = document.createElement("div"), spans = new Map();
    line.style.top = `${number * LINE}px`;
    const start = this.#start(number);
    for (let place = start; place < this.#ends[number]; place++) {
      const span = document.createElement("span");
      span.textContent = token(this.texts[place]) || "\u00a0";
      span.dataset.place = place;
      if (!this.stacked) span.style.width = `${this.#wide(place)}px`;
      span.style.marginInlineStart = `${this.#gap(place, start)}px`;
      spans.set(place, span);
      line.append(span);
    }
    this.host.append(line);
    return [line, spans];
  }

  #gap(place, start) {
    return place === start || this.#isJoined(place) ? 0 : GAP;
  }

  #isJoined(place) {
    return Boolean(this.joined?.has(place));
  }

  #wide(place) {
    const text = token(this.texts[place]);
    if (!widths.has(text)) {
      measuring.font = FONT;
      widths.set(text, measuring.measureText(text || "\u00a0").width + 0.5);
    }
    return widths.get(text);
  }

  #offset() {
    return this.host.offsetTop;
  }
}
