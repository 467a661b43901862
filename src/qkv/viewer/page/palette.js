// The colours of the page: light or dark, from weights to colours, and the bar that says so.

import { colourOf, lowest, shareOf, tableOf } from "./colours.js";
import { spreadOfHead } from "./head.js";
import { weight } from "./shown.js";
import { headOf, headRead, headWritten } from "./state.js";

const dark = matchMedia("(prefers-color-scheme: dark)");

export class Palette {
  #spreads = new Map(); // of heads: how their weights are spread
  #tables = new Map();

  constructor(page) {
    this.page = page;
    dark.addEventListener("change", () => page.show());
  }

  get theme() {
    const { theme } = this.page.state.values;
    return theme === "auto" ? (dark.matches ? "dark" : "light") : theme;
  }

  get ramp() {
    return this.page.about.ramps[this.theme];
  }

  // Ink, paper and mark.
  get plain() {
    const style = getComputedStyle(document.documentElement);
    const named = (name) => style.getPropertyValue(`--${name}`).trim();
    return { ink: named("ink"), paper: named("paper"), mark: named("mark") };
  }

  // The ground and the ink of a share of the strongest.
  shade(share) {
    const colour = colourOf(this.ramp, Math.min(1, Math.max(0, share))), [red, green, blue] = parts(colour);
    const light = 0.299 * red + 0.587 * green + 0.114 * blue;
    return { ground: `#${hex(colour)}`, ink: light > 120 ? "#000000" : "#ffffff" };
  }

  // Weights to colours for a head: by its own scale, or by the locked one. Undefined until it is known.
  table(head) {
    const { lock, colour } = this.page.state.values, name = lock ?? headWritten(head);
    const spread = this.#spreads.get(name);
    if (spread instanceof Promise) return undefined;
    if (!spread) {
      const own = headRead(name);
      const asked = spreadOfHead(own, this.page.layer(own), this.page.about.tile).then((found) => {
        if (this.#spreads.get(name) !== asked) return; // forgotten meanwhile
        this.#spreads.set(name, found);
        this.page.redraw();
      }, (error) => this.page.say(error.message));
      this.#spreads.set(name, asked);
      return undefined;
    }
    const look = `${name} ${this.theme} ${colour}`;
    if (!this.#tables.has(look)) this.#tables.set(look, tableOf(this.ramp, spread, colour));
    if (headWritten(head) === headWritten(headOf(this.page.state.values))) this.#bar(spread);
    return this.#tables.get(look);
  }

  // The spread of a head that had been sampled.
  forget(head) {
    const name = headWritten(head);
    this.#spreads.delete(name);
    for (const look of this.#tables.keys()) if (look.startsWith(`${name} `)) this.#tables.delete(look);
  }

  #bar(spread) {
    const { colour } = this.page.state.values, { logs, top } = spread;
    const low = colour === "log" && logs.length ? 2 ** lowest(logs) : 0;
    const text = `${weight(low)} to ${weight(top)}, ${colour === "log" ? "equalised logarithm" : "linear"}`;
    const name = `${text} ${this.theme}`;
    if (this.bar === name) return;
    this.bar = name;
    drawRamp(document.getElementById("ramp"), (part) => {
      const at = colour === "log" && low ? low * (top / low) ** part : top * part;
      return colourOf(this.ramp, shareOf(at, spread, colour));
    });
    document.getElementById("scale").textContent = text;
  }
}

// A bar of colours, each of a part from 0 to 1.
export function drawRamp(canvas, colourAt) {
  const context = canvas.getContext("2d");
  for (let x = 0; x < canvas.width; x++) {
    context.fillStyle = `#${hex(colourAt(x / (canvas.width - 1)))}`;
    context.fillRect(x, 0, 1, canvas.height);
  }
}

function parts(colour) {
  return [0, 8, 16].map((shift) => (colour >>> shift) & 255);
}

function hex(colour) {
  return parts(colour).map((part) => part.toString(16).padStart(2, "0")).join("");
}
