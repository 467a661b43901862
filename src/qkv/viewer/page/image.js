// The view of a picture: over its patches the heat of one query or key, or of all of the head.

import { file, has, numbers } from "./ask.js";
import { DrawnView } from "./drawn.js";
import { lookOf, otherSide, sentenceOf } from "./looks.js";
import { named, weight } from "./shown.js";
import { headOf, headWritten } from "./state.js";

const HEAT = 0.72; // how much of the picture the strongest heat covers

export class ImageView extends DrawnView {
  #pictures = new Map(); // by source, layer and entry
  #received = new Map(); // by head: what each key receives from all queries

  constructor(element, page) {
    super(element, page);
    const made = (name, kind) => Object.assign(document.createElement(name), { className: kind });
    [this.sentence, this.before, this.room, this.canvas] = [made("p", "sentence"), made("p", "chips"), made("div", "picture"), made("canvas", "")];
    element.dataset.state = "waiting";
    this.sentence.setAttribute("aria-live", "polite");
    this.canvas.tabIndex = 0;
    this.canvas.setAttribute("role", "application");
    this.canvas.setAttribute("aria-label", "picture: arrows select a patch, Escape none, [ and ] other heads");
    this.room.append(this.canvas);
    element.append(this.sentence, this.before, this.room);
    this.canvas.addEventListener("pointermove", (event) => this.#over(this.#placeAt(event)));
    this.canvas.addEventListener("pointerleave", () => this.#over(null));
    this.canvas.addEventListener("click", (event) => this.#choose(this.#placeAt(event)));
    this.canvas.addEventListener("keydown", (event) => { if (this.cell) this.keyed(event); });
  }

  show(values) {
    this.head = headOf(values);
  }

  // The side whose heat is shown, that of the picture, and the one that is pointed at there, null
  // where the picture is only of the other.
  #sides({ pictures }) {
    const { way, over } = this.page.state.values, own = way === "out" ? "queries" : "keys";
    const there = over === "all" ? "keys" : otherSide(way), heat = pictures[there] ? there : null;
    const shown = heat ?? (pictures.keys ? "keys" : "queries");
    const isSame = JSON.stringify(pictures.queries) === JSON.stringify(pictures.keys);
    return { heat, shown, chosen: own === shown || isSame ? own : null };
  }

  draw() {
    const { page, head, canvas } = this, labels = page.labels(head);
    this.element.dataset.state = "waiting";
    if (!labels) return;
    const { heat, chosen, shown } = this.#sides(labels), cut = labels.pictures[shown];
    if (!cut) {
      this.sentence.textContent = "The places of this layer are no patches of a picture.";
      canvas.hidden = true;
      this.cell = null;
      this.before.replaceChildren();
      this.element.dataset.state = "exact";
      return;
    }
    canvas.hidden = false;
    const image = this.#picture();
    const { weights, text } = this.#heat(heat, labels);
    this.sentence.textContent = text;
    if (!image) return;
    const density = devicePixelRatio, scale = Math.min(this.room.clientWidth / image.width, this.room.clientHeight / image.height);
    const width = image.width * scale, height = image.height * scale;
    Object.assign(canvas.style, { width: `${width}px`, height: `${height}px` });
    canvas.width = width * density;
    canvas.height = height * density;
    const context = canvas.getContext("2d");
    context.scale(density, density);
    context.drawImage(image, 0, 0, width, height);
    this.cell = { wide: width / cut.columns, high: height / cut.rows, ...cut, chosen, shown };
    const places = cut.rows * cut.columns;
    if (weights) this.#cover(context, weights.subarray(cut.before, cut.before + places));
    const { mark, paper } = page.palette.plain, { query, key } = page.state.values;
    const selected = (chosen ?? shown) === "keys" ? key : query;
    this.#frame(context, selected, 2.5, mark, paper);
    if (this.hovered !== null && this.hovered !== selected) this.#frame(context, this.hovered, 1.5, mark, paper);
    this.#chips(labels[shown], cut.before, weights, selected);
    if (weights) this.element.dataset.state = "exact";
  }

  // What lies over the picture, and what is said of it.
  #heat(heat, labels) {
    const { page, head } = this, { over, way, query, key } = page.state.values;
    if (over === "all") {
      if (!has("edges", allOf(head))) return { weights: new Float32Array(0), text: "What each key receives from all queries was left out of this file." };
      const received = this.#allOf(head), [queries] = page.layer(head).levels[0];
      if (!received) return { weights: null, text: "…" };
      if (!received.length) return { weights: received, text: "Weights may be negative: there is no mean to show." };
      const most = largest(received), place = received.indexOf(most);
      if (place < 0) return { weights: received, text: `The mean of all ${queries} queries is no number.` };
      const strongest = `${weight(most)}: ${named(labels.keys, place)}`;
      return { weights: received, text: `The mean of all ${queries} queries. The strongest key has ${strongest}.` };
    }
    const anchor = this.hovered ?? (way === "out" ? query : key);
    if (anchor === null) return { weights: new Float32Array(0), text: "Point at a patch or select one to see its links." };
    const look = lookOf(page, head, way, anchor);
    const { lack } = page.lines(head);
    if (!look) return { weights: lack ? new Float32Array(0) : null, text: lack || "…" };
    const linked = new Float32Array(heat ? look.weights.length : 0);
    if (heat) for (const place of look.links.places) linked[place] = look.weights[place];
    return { weights: linked, text: sentenceOf(look, labels) };
  }

  #cover(context, weights) {
    const { wide, high, columns } = this.cell, most = largest(weights);
    for (let i = 0; i < weights.length; i++) {
      const share = most > 0 ? Math.max(0, weights[i]) / most : 0;
      context.globalAlpha = 0.15 + (HEAT - 0.15) * share;
      context.fillStyle = this.page.palette.shade(share).ground;
      const [left, right] = [0, 1].map((by) => Math.round(((i % columns) + by) * wide));
      const [top, bottom] = [0, 1].map((by) => Math.round((Math.floor(i / columns) + by) * high));
      context.fillRect(left, top, right - left, bottom - top);
    }
    context.globalAlpha = 1;
  }

  #frame(context, place, line, mark, paper) {
    const { wide, high, rows, columns, before } = this.cell, at = place === null ? -1 : place - before;
    if (at < 0 || at >= rows * columns) return;
    for (const [colour, extra] of [[paper, 2], [mark, 0]]) {
      context.strokeStyle = colour;
      context.lineWidth = line + extra;
      context.strokeRect((at % columns) * wide, Math.floor(at / columns) * high, wide, high);
    }
  }

  // The tokens in front of the patches.
  #chips(texts, many, weights, selected) {
    const most = weights ? largest(weights) : 0;
    const chips = Array.from({ length: many }, (_, place) => {
      const chip = document.createElement("button");
      chip.textContent = named(texts, place);
      if (weights?.[place] > 0) {
        chip.textContent += ` ${weight(weights[place])}`;
        const { ground, ink } = this.page.palette.shade(weights[place] / most);
        Object.assign(chip.style, { background: ground, color: ink });
      }
      chip.setAttribute("aria-pressed", place === selected);
      chip.addEventListener("click", () => this.#choose(place));
      return chip;
    });
    const held = document.activeElement?.parentElement === this.before ? [...this.before.children].indexOf(document.activeElement) : -1;
    this.before.replaceChildren(...chips);
    chips[held]?.focus();
  }

  #placeAt(event) {
    if (!this.cell) return null;
    const { wide, high, rows, columns, before } = this.cell;
    const row = Math.min(rows - 1, Math.floor(event.offsetY / high)), column = Math.min(columns - 1, Math.floor(event.offsetX / wide));
    return row < 0 || column < 0 ? null : before + row * columns + column;
  }

  #over(place) {
    const found = this.page.state.values.over === "one" && this.cell?.chosen ? place : null;
    if (found === this.hovered) return;
    this.hovered = found;
    this.redraw();
  }

  #choose(place) {
    const side = this.cell?.chosen ?? this.cell?.shown;
    if (place !== null && side) this.page.state.set({ [side === "keys" ? "key" : "query"]: place, over: "one" });
  }

  step(across, down) {
    const { rows, columns, before, chosen, shown } = this.cell, { query, key } = this.page.state.values;
    const now = ((chosen ?? shown) === "keys" ? key : query) ?? before, at = Math.max(0, now - before);
    const within = (place, count) => Math.min(count - 1, Math.max(0, place));
    this.#choose(before + within(Math.floor(at / columns) + down, rows) * columns + within((at % columns) + across, columns));
  }

  #picture() {
    const { source, layer, entry } = this.head, name = `${source}.${layer}.${entry}`;
    if (!this.#pictures.has(name)) {
      this.#pictures.set(name, null);
      file("picture", { source, layer, entry }, "image/png").then(createImageBitmap).then((found) => {
        this.#pictures.set(name, found);
        this.redraw();
      }, (error) => this.page.say(error.message));
    }
    return this.#pictures.get(name);
  }

  // What each key receives from all queries, as a mean.
  #allOf(head) {
    const name = headWritten(head);
    if (!this.#received.has(name)) {
      this.#received.set(name, null);
      numbers("edges", allOf(head)).then(({ cells, rows }) => {
        const [queries] = this.page.layer(head).levels[0];
        this.#received.set(name, cells.subarray(rows).map((mass) => mass / queries));
        this.redraw();
      }, (error) => this.page.say(error.message));
    }
    return this.#received.get(name);
  }
}

function allOf(head) {
  return { ...head, now: "exact" };
}

function largest(weights) {
  return weights.reduce((a, b) => (b > a ? b : a), 0);
}
