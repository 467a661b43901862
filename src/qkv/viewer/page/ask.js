// Questions to the server that the page came from.

export async function json(name, values = {}) {
  return (await got(name, values)).json();
}

// Numbers: how many queries one stands for (1: exact), rows, columns, cells.
export async function numbers(name, values, signal) {
  const data = await (await got(name, values, signal)).arrayBuffer();
  const [every, rows, columns] = new Uint32Array(data, 4, 3);
  return { every, rows, columns, cells: new Float32Array(data, 16) };
}

// A file, such as a picture.
export async function file(name, values, type) {
  return new Blob([await (await got(name, values)).arrayBuffer()], { type });
}

async function got(name, values, signal) {
  const response = await fetch(`${name}?${new URLSearchParams(values)}`, { signal });
  if (!response.ok) throw new Error(await response.text() || `${name}: ${response.status}`);
  return response;
}
