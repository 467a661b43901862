// What is chosen at the top of the page.

import { hasAll } from "./ask.js";
import { headOf, headWritten, VIEWS } from "./state.js";

const element = (id) => document.getElementById(id);

export class Controls {
  constructor(page) {
    this.page = page;
    const { state } = page;
    const chosen = (id, set) => element(id).addEventListener("change", (event) => set(event.target));
    for (const id of ["source", "layer", "head", "entry"]) chosen(id, ({ value }) => state.set({ [id]: Number(value) }, true));
    for (const id of ["how", "colour", "theme", "ratio", "way", "over"]) chosen(id, ({ value }) => state.set({ [id]: value }));
    chosen("lock", ({ checked }) => state.set({ lock: checked ? headWritten(headOf(state.values)) : null }));
    chosen("apart", ({ checked }) => state.set({ apart: checked ? "left" : "kept" }));
    chosen("beside", ({ value }) => state.set({ beside: value || null }, true));
    element("share").addEventListener("input", ({ target }) => state.set({ share: Number(target.value) }));
    chosen("save", (select) => {
      page.save(select.value);
      select.value = "";
    });
    element("fit").addEventListener("click", () => state.set({ x: null, y: null, zoom: null }));
    for (const view of VIEWS) element("views").append(this.#button(view));
  }

  show(values) {
    const { sources } = this.page.about, { layers } = sources[values.source], told = layers[values.layer];
    const count = (many) => Array.from({ length: many }, (_, i) => [i, i]);
    options("source", sources.map((one, i) => [i, one.title]), values.source);
    options("layer", layers.map((one, i) => [i, one.name]), values.layer);
    options("head", count(told.heads), values.head);
    options("entry", count(told.entries), values.entry);
    const heads = sources.flatMap((source, s) => source.layers.flatMap((layer, l) => count(layer.heads).map(([h]) =>
      [headWritten({ source: s, layer: l, head: h, entry: Math.min(values.entry, layer.entries - 1) }), `${sources.length > 1 ? `${source.title}: ` : ""}${layer.name} ${h}`])));
    options("beside", [["", "nothing"], ...heads], values.beside ?? "");
    for (const id of ["how", "colour", "theme", "ratio", "way", "over", "share"]) element(id).value = values[id];
    element("shared").textContent = `${values.share} %`;
    element("lock").checked = values.lock !== null;
    element("apart").checked = values.apart === "left";
    const shown = values.show.split(".");
    for (const button of element("views").children) button.setAttribute("aria-pressed", shown.includes(button.dataset.view));
    for (const part of document.querySelectorAll("[data-for]")) part.hidden = !part.dataset.for.split(" ").some((view) => shown.includes(view));
    element("ratio").parentElement.hidden ||= values.beside === null;
    element("save").parentElement.hidden ||= !hasAll();
  }

  // Shows a view or puts it away; one stays.
  #button(view) {
    const button = document.createElement("button");
    button.textContent = view;
    button.dataset.view = view;
    button.title = `show ${view} or put it away`;
    button.addEventListener("click", () => {
      const { state } = this.page, shown = state.values.show.split(".");
      const next = VIEWS.filter((one) => (one === view ? !shown.includes(one) : shown.includes(one)));
      if (next.length) state.set({ show: next.join(".") }, true);
    });
    return button;
  }
}

function options(id, entries, value) {
  const select = element(id), said = JSON.stringify(entries);
  if (select.dataset.said !== said) {
    select.dataset.said = said;
    select.replaceChildren(...entries.map(([key, text]) => new Option(text, key)));
  }
  select.value = value;
  select.parentElement.hidden = entries.length < 2;
}
