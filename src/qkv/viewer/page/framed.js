// Questions to whoever put the page into a frame, who passes them on to a notebook's kernel.

export function framed() {
  if (document.documentElement.dataset.framed === undefined) return null;
  const asked = new Map(); // by number
  addEventListener("message", ({ source, data }) => {
    if (source !== parent || !asked.has(data.number)) return;
    const { resolve, reject } = asked.get(data.number);
    asked.delete(data.number);
    if (data.error === undefined) resolve(data.answer); else reject(new Error(data.error));
  });
  let last = 0;
  return (name, values) => new Promise((resolve, reject) => {
    asked.set(++last, { resolve, reject });
    parent.postMessage({ number: last, name, values: Object.fromEntries(Object.entries(values).map(([key, value]) => [key, String(value)])) }, "*");
  });
}
