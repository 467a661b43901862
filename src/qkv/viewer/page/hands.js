// Pointer, wheel, pinch and keys on the canvas of a map.

import { HIGH, WIDE } from "./edges.js";

const SLOP = 4; // pixels that a click may wander
const NOTCH = 1.0015, KEY = 1.5, STEP = 80;
const MOVES = { a: [-1, 0], d: [1, 0], w: [0, -1], s: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export function listen(canvas, current, state, turn) {
  const pointers = new Map();
  let wandered = 0, inWhole = false;

  const at = (event) => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  const inMap = ([x, y]) => [x - WIDE, y - HIGH];

  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, at(event));
    wandered = 0;
    const { whole } = current(), [x, y] = at(event);
    inWhole = Boolean(whole && x >= whole.left && x <= whole.left + whole.width && y >= whole.top && y <= whole.top + whole.height);
    if (inWhole) goTo(at(event));
  });

  canvas.addEventListener("pointermove", (event) => {
    const map = current(), before = pointers.get(event.pointerId), now = at(event);
    map.pointer = inMap(now);
    if (!before) return map.redraw();
    pointers.set(event.pointerId, now);
    wandered += Math.hypot(now[0] - before[0], now[1] - before[1]);
    if (inWhole) return goTo(now);
    if (pointers.size === 1) return state.set(map.view().moved(before[0] - now[0], before[1] - now[1]));
    const [other] = [...pointers].filter(([id]) => id !== event.pointerId).map(([, place]) => place);
    const apart = (place) => Math.hypot(place[0] - other[0], place[1] - other[1]);
    state.set(map.view().zoomed(apart(now) / Math.max(1, apart(before)), ...inMap([(now[0] + other[0]) / 2, (now[1] + other[1]) / 2])));
  });

  canvas.addEventListener("pointerup", (event) => {
    const map = current(), cell = wandered < SLOP && !inWhole && pointers.size === 1 && map.view().cell(...inMap(at(event)));
    pointers.delete(event.pointerId);
    if (cell) state.set(cell);
  });
  canvas.addEventListener("pointercancel", (event) => pointers.delete(event.pointerId));
  canvas.addEventListener("pointerleave", () => {
    current().pointer = null;
    current().page.redraw();
  });

  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const map = current();
    map.pointer = inMap(at(event));
    const lines = event.deltaMode === 1 ? 16 : 1;
    state.set(map.view().zoomed(NOTCH ** (-event.deltaY * lines), ...map.pointer));
  }, { passive: false });

  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const map = current(), view = map.view(), key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const move = MOVES[key];
    map.pointer = null;
    if (move && event.shiftKey) select(map, view, move);
    else if (move) state.set(view.moved(move[0] * STEP, move[1] * STEP));
    else if (key === "+" || key === "=") state.set(zoomedAtSelection(view, KEY));
    else if (key === "-") state.set(zoomedAtSelection(view, 1 / KEY));
    else if (key === "0") state.set({ x: null, y: null, zoom: null });
    else if (key === "[" || key === "]") turn(key === "]" ? 1 : -1);
    else if (key === "Escape") state.set({ query: null, key: null });
    else return;
    event.preventDefault();
  });

  // Moves the selection by a cell; the view follows where it would leave it.
  function select(map, view, [across, down]) {
    const { query, key } = state.values;
    const place = (now, by, middle, count) => Math.min(count - 1, Math.max(0, now === null ? Math.floor(middle) : now + by));
    const cell = { query: place(query, down, view.y, view.queries), key: place(key, across, view.x, view.keys) };
    const outside = !(cell.key >= view.left && cell.key + 1 <= view.left + view.width / view.wide
      && cell.query >= view.top && cell.query + 1 <= view.top + view.height / view.high);
    state.set(outside ? { ...cell, x: cell.key + 0.5, y: cell.query + 0.5, zoom: view.zoom } : cell);
  }

  // Keys zoom around the selection, or the middle where there is none.
  function zoomedAtSelection(view, factor) {
    const { query, key } = state.values;
    if (query === null || key === null) return view.zoomed(factor);
    return { ...view.zoomed(factor), x: key + 0.5, y: query + 0.5 };
  }

  function goTo([x, y]) {
    const { whole } = current(), view = current().view();
    if (whole) state.set({ x: ((x - whole.left) / whole.width) * view.keys, y: ((y - whole.top) / whole.height) * view.queries, zoom: view.zoom });
  }
}
