// From weights to colours. A weight is looked up by the upper half of its bits, in one table.

const HALF = 1 << 16;
const UNKNOWN = 0xff9c8a8a; // no number, or a negative one

// How weights are spread, from some of them: what a scale is made of.
export function spreadOf(cells) {
  const logs = Float64Array.from(cells).filter((weight) => weight > 0).map(Math.log2).sort();
  return { logs, top: cells.reduce((a, b) => (b > a ? b : a), 0) };
}

// The share of the ramp that a weight has: linear up to the largest; or, equalised, half by its place
// between a small logarithm, of which a twentieth is smaller, and the largest, half by how many of the
// weights are not larger.
export function shareOf(weight, { logs, top }, way) {
  if (!(weight > 0) || !(top > 0)) return 0;
  if (way === "linear") return Math.min(1, weight / top);
  const log = Math.log2(weight), low = lowest(logs), high = Math.log2(top);
  let from = 0, to = logs.length;
  while (from < to) {
    const middle = (from + to) >> 1;
    if (logs[middle] <= log) from = middle + 1; else to = middle;
  }
  const place = high > low ? Math.min(1, Math.max(0, (log - low) / (high - low))) : 1;
  return 0.04 + 0.96 * (place + from / Math.max(1, logs.length)) / 2;
}

export function lowest(logs) {
  return logs[Math.floor(logs.length / 20)];
}

export function tableOf(ramp, spread, way) {
  const table = new Uint32Array(HALF).fill(UNKNOWN);
  const bits = new Uint32Array(1), weight = new Float32Array(bits.buffer);
  for (let half = 0; half < HALF / 2; half++) {
    bits[0] = half === 0 ? 0 : (half << 16) | 0x8000;
    if (Number.isFinite(weight[0])) table[half] = colourOf(ramp, shareOf(weight[0], spread, way));
  }
  table[HALF / 2] = table[0]; // minus nothing
  return table;
}

export function colourOf(ramp, share) {
  const place = share * (ramp.length - 1), stop = Math.min(Math.floor(place), ramp.length - 2);
  const mixed = ramp[stop].map((low, i) => Math.round(low + (ramp[stop + 1][i] - low) * (place - stop)));
  return (0xff000000 | (mixed[2] << 16) | (mixed[1] << 8) | mixed[0]) >>> 0;
}

export function paint(canvas, cells, rows, columns, table) {
  canvas.width = columns;
  canvas.height = rows;
  const image = new ImageData(columns, rows), pixels = new Uint32Array(image.data.buffer);
  const bits = new Uint32Array(cells.buffer, cells.byteOffset, cells.length);
  for (let i = 0; i < pixels.length; i++) pixels[i] = table[bits[i] >>> 16];
  canvas.getContext("2d").putImageData(image, 0, 0);
}
