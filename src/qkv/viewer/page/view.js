// Which part of a matrix is on the canvas: cells from (left, top), so many pixels each.

export class View {
  constructor(queries, keys, width, height, { x, y, zoom }) {
    Object.assign(this, { queries, keys, width, height });
    this.stretch = Math.min(16, Math.max(1 / 16, keys / queries)); // short sides are drawn wider
    if (keys / queries < 4 && queries / keys < 4) this.stretch = 1;
    this.whole = Math.min(width / keys, height / (queries * this.stretch));
    this.zoom = this.#bounded(zoom ?? this.whole);
    this.x = Math.min(keys, Math.max(0, x ?? keys / 2));
    this.y = Math.min(queries, Math.max(0, y ?? queries / 2));
  }

  get wide() { return this.zoom; }
  get high() { return this.zoom * this.stretch; }
  get left() { return this.x - this.width / 2 / this.wide; }
  get top() { return this.y - this.height / 2 / this.high; }

  // The cell under a pixel of the canvas, or null beside the matrix.
  cell(px, py) {
    const key = Math.floor(this.left + px / this.wide), query = Math.floor(this.top + py / this.high);
    return key >= 0 && key < this.keys && query >= 0 && query < this.queries ? { query, key } : null;
  }

  #bounded(zoom) {
    return Math.min(160, Math.max(this.whole / 2, zoom));
  }

  moved(dx, dy) {
    return { x: this.x + dx / this.wide, y: this.y + dy / this.high, zoom: this.zoom };
  }

  // Zoomed by a factor, such that what is under a pixel stays there.
  zoomed(factor, px = this.width / 2, py = this.height / 2) {
    const zoom = this.#bounded(this.zoom * factor);
    const key = this.left + px / this.wide, query = this.top + py / this.high;
    return { x: key - (px - this.width / 2) / zoom, y: query - (py - this.height / 2) / (zoom * this.stretch), zoom };
  }

  // The finest level whose cells are at least about a pixel, and how it is cut.
  level(shapes, density) {
    const fits = shapes.findIndex(([rows, columns]) =>
      ((this.keys / columns) * this.wide * density >= 0.75 || columns === 1) && ((this.queries / rows) * this.high * density >= 0.75 || rows === 1));
    return fits < 0 ? shapes.length - 1 : fits;
  }

  // The tiles of a level that are in view, those in the middle first.
  places(level, [rows, columns], side, how) {
    const range = (from, to, count, length) => [
      Math.max(0, Math.floor(((from / length) * count) / side)),
      Math.min(Math.ceil(count / side), Math.ceil(((to / length) * count) / side)),
    ];
    const [top, bottom] = range(this.top, this.top + this.height / this.high, rows, this.queries);
    const [left, right] = range(this.left, this.left + this.width / this.wide, columns, this.keys);
    const found = [];
    for (let row = top; row < bottom; row++) for (let column = left; column < right; column++) found.push({ how, level, row, column });
    const far = ({ row, column }) => Math.abs(row + 0.5 - (top + bottom) / 2) + Math.abs(column + 0.5 - (left + right) / 2);
    return found.sort((a, b) => far(a) - far(b));
  }

  // Where a tile lies on the canvas.
  box({ row, column }, [rows, columns], side, tile) {
    const x = ((column * side) / columns) * this.keys, y = ((row * side) / rows) * this.queries;
    return [(x - this.left) * this.wide, (y - this.top) * this.high,
      (tile.columns / columns) * this.keys * this.wide, (tile.rows / rows) * this.queries * this.high];
  }
}
