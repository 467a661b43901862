// The view of all heads of a source: a table that can be sorted. Each layer is asked for by itself.

import { json } from "./ask.js";
import { named } from "./shown.js";

const PAUSE = 500; // milliseconds until rows are added to those that are there
const SHARES = ["first", "previous", "same", "next", "separator", "near"];
const COLUMNS = [
  { name: "layer", of: (head) => head.at, text: true }, { name: "head", of: (head) => head.head },
  { name: "does", of: (head) => head.role, text: true },
  { name: "entropy", of: ({ figures }) => figures.entropy, digits: 2, title: "nats, mean over the queries" },
  { name: "keys", of: ({ figures }) => figures.effective, digits: 1, title: "keys in effect: the exponential of the entropy" },
  { name: "distance", of: ({ figures }) => figures.distance, digits: 1, title: "positions" },
  ...SHARES.map((name) => ({ name, share: true, of: ({ figures }) => figures.share[name], title: "per cent of the weight" })),
  { name: "strongest", of: ({ link }) => link.weight, title: "the strongest link" },
  { name: "because", of: (head) => head.because, text: true, title: "why it is called so" },
];

export class HeadsView {
  #known = new Map(); // by source: of each layer what was answered
  #said = "";

  constructor(element, page) {
    Object.assign(this, { element, page });
    this.progress = document.createElement("p");
    this.progress.className = "sentence";
    const scroller = document.createElement("div"), table = document.createElement("table");
    scroller.className = "scroller";
    this.head = document.createElement("thead");
    this.body = document.createElement("tbody");
    table.append(this.head, this.body);
    scroller.append(table);
    element.append(this.progress, scroller);
    this.head.append(document.createElement("tr"));
    this.head.firstChild.append(...COLUMNS.map((column) => this.#title(column)));
  }

  show(values) {
    const { layers } = this.page.about.sources[values.source];
    if (!this.#known.has(values.source)) {
      this.#known.set(values.source, []);
      this.#ask(values.source, layers).catch((error) => this.page.say(error.message));
    }
    this.#fill(values);
  }

  redraw() {}

  close() {}

  async #ask(source, layers) {
    let filled = performance.now();
    for (let layer = 0; layer < layers.length; layer++) {
      this.#known.get(source)[layer] = await json("heads", { source, layer });
      const isLast = layer === layers.length - 1, now = performance.now();
      if (this.page.state.values.source !== source || !(isLast || now - filled > PAUSE)) continue;
      this.#fill(this.page.state.values);
      filled = performance.now();
    }
  }

  #fill(values) {
    const { layers } = this.page.about.sources[values.source], known = this.#known.get(values.source);
    const said = `${values.source} ${known.length} ${values.sort} ${this.page.palette.theme}`;
    if (said !== this.#said) {
      this.#said = said;
      this.#tell(layers, known);
      this.#sort(known.flatMap(({ heads }, at) => heads.map((head) => ({ ...head, at }))), layers, values.sort);
    }
    const name = `${values.layer}.${values.head}`;
    for (const row of this.body.querySelectorAll("[aria-selected]")) if (row.dataset.head !== name) row.removeAttribute("aria-selected");
    this.body.querySelector(`[data-head="${name}"]`)?.setAttribute("aria-selected", true);
  }

  #sort(heads, layers, sort) {
    const by = sort?.replace("-", ""), column = COLUMNS.find(({ name }) => name === by), sign = sort?.startsWith("-") ? -1 : 1;
    if (column) heads.sort((a, b) => sorted(column.of(a), column.of(b), sign));
    for (const [i, { name }] of COLUMNS.entries()) {
      this.head.firstChild.children[i].setAttribute("aria-sort", name !== by ? "none" : sign > 0 ? "ascending" : "descending");
    }
    this.body.replaceChildren(...heads.map((head) => this.#row(head, layers[head.at])));
  }

  #tell(layers, known) {
    const missing = known.flatMap(({ missing }, at) => (missing ? [`${layers[at].name} is left out: ${missing}`] : []));
    const sampled = Math.max(1, ...known.map(({ every }) => every));
    const isWhole = known.length === layers.length;
    const parts = [layers.length > 1 ? `${isWhole ? "All" : `${known.length} of`} ${layers.length} layers are measured.` : `The only layer is ${isWhole ? "" : "being "}measured.`];
    if (sampled > 1) parts.push(`Sampled: one of about ${sampled} queries.`);
    if (layers.some(({ entries }) => entries > 1)) parts.push("Means are over all entries of the batch.");
    this.progress.textContent = [...parts, ...missing].join(" ");
    this.element.dataset.state = isWhole ? "exact" : "waiting";
  }

  #title({ name, title }) {
    const cell = document.createElement("th"), button = document.createElement("button");
    button.textContent = name;
    if (title) button.title = title;
    button.addEventListener("click", () => this.page.state.set({ sort: this.page.state.values.sort === `-${name}` ? name : `-${name}` }));
    cell.scope = "col";
    cell.append(button);
    return cell;
  }

  #row(head, told) {
    const row = document.createElement("tr");
    row.dataset.head = `${head.at}.${head.head}`;
    for (const column of COLUMNS) {
      const cell = document.createElement("td"), value = column.of(head);
      cell.className = column.text ? "" : "number";
      if (column.name === "layer") cell.textContent = told.name;
      else if (column.name === "head") cell.append(this.#button(String(head.head), { layer: head.at, head: head.head }));
      else if (column.name === "strongest") cell.append(this.#button(this.#link(head.link), {
        layer: head.at, head: head.head, entry: head.link.entry, query: head.link.query, key: head.link.key }));
      else if (column.text) cell.textContent = value;
      else if (value === null || value === undefined) cell.textContent = "–";
      else if (column.share) {
        cell.textContent = (100 * value).toFixed(0);
        const { ground, ink } = this.page.palette.shade(value);
        Object.assign(cell.style, { background: ground, color: ink });
      } else cell.textContent = value.toFixed(column.digits);
      row.append(cell);
    }
    row.addEventListener("click", () => this.page.state.set({ layer: head.at, head: head.head }, true));
    return row;
  }

  #link({ query, key, tokens, weight }) {
    const end = (place, i) => (tokens ? named({ [place]: tokens[i] }, place) : String(place));
    return `${end(query, 0)} → ${end(key, 1)} ${(100 * weight).toFixed(0)} %`;
  }

  #button(text, changes) {
    const button = document.createElement("button");
    button.textContent = text;
    button.addEventListener("click", (event) => {
      event.stopPropagation();
      this.page.state.set(changes, true);
    });
    return button;
  }
}

// What is unknown comes last either way.
function sorted(a, b, sign) {
  const [left, right] = [a, b].map((value) => value ?? null);
  if (left === null || right === null) return (left === null) - (right === null);
  return sign * (typeof left === "string" ? left.localeCompare(right) : left - right);
}
