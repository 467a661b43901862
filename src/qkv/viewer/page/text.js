// The view of text: tokens as they follow each other, shaded by the links of one of them.

import { TokensView, WEAKEST } from "./tokens.js";

const WIDE = 12; // pixels of the strip at the side

export class TextView extends TokensView {
  build() {
    this.flows = {};
    this.strips = {};
    for (const side of this.isOne ? ["both"] : ["queries", "keys"]) {
      const scroller = this.scroller(side === "both" ? "text" : side), host = document.createElement("div");
      const strip = document.createElement("canvas"), beside = document.createElement("div");
      strip.className = "strip";
      strip.addEventListener("click", (event) => { scroller.scrollTop = (event.offsetY / strip.clientHeight) * scroller.scrollHeight - scroller.clientHeight / 2; });
      beside.className = "beside";
      if (side !== "both") {
        const title = document.createElement("h2");
        title.textContent = side;
        this.room.append(title);
      }
      scroller.append(host);
      beside.append(scroller, strip);
      this.room.append(beside);
      this.flowOf(side, scroller, host, {});
      this.strips[side] = strip;
    }
  }

  // The strips: where in a text that is longer than its room the links are.
  drawn(look) {
    for (const [side, strip] of Object.entries(this.strips)) {
      const flow = this.flows[side], { scroller } = flow, high = scroller.clientHeight;
      strip.hidden = scroller.scrollHeight <= high + 1;
      if (strip.hidden) continue;
      strip.width = WIDE;
      strip.height = high;
      const context = strip.getContext("2d"), { mark, ink } = this.page.palette.plain;
      const at = (line) => Math.floor((line / flow.count) * high);
      if (look && (side === "both" || side === look.there)) this.#links(context, flow, look, at);
      const anchor = this.anchor();
      if (anchor && (side === "both" || side !== look?.there)) {
        context.fillStyle = mark;
        context.fillRect(0, at(flow.lineOf(anchor.place)) - 1, WIDE, 3);
      }
      const [first, last] = flow.inView(0);
      context.strokeStyle = ink;
      context.strokeRect(0.5, at(first) + 0.5, WIDE - 1, Math.max(3, at(last) - at(first)));
    }
    return true;
  }

  // The strongest of each pixel.
  #links(context, flow, { weights, links, most }, at) {
    const strongest = new Map();
    for (const place of links.places) {
      const y = at(flow.lineOf(place));
      if (!(strongest.get(y) >= weights[place])) strongest.set(y, weights[place]);
    }
    for (const [y, weight] of strongest) {
      context.fillStyle = this.page.palette.shade(WEAKEST + ((1 - WEAKEST) * weight) / most).ground;
      context.fillRect(0, y, WIDE, 2);
    }
  }
}
