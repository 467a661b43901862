// What views have in common that are drawn anew when something changes, and have places that keys select.

const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

// A view has draw(), and step(across, down), which selects a place beside the selected one.
export class DrawnView {
  constructor(element, page) {
    Object.assign(this, { element, page, hovered: null });
  }

  redraw() {
    this.drawing ??= requestAnimationFrame(() => {
      this.drawing = null;
      if (this.element.isConnected) this.draw();
    });
  }

  close() {}

  // Keys on what has the focus.
  keyed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = STEPS[event.key];
    if (event.key === "Escape") this.page.state.set({ query: null, key: null });
    else if (event.key === "[" || event.key === "]") this.page.turn(this.head, false, event.key === "]" ? 1 : -1);
    else if (step) this.step(...step);
    else return;
    event.preventDefault();
  }
}
