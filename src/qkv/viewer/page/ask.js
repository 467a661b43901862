// Questions about what is looked at, and who carries them: the page itself where it holds the answers,
// a notebook around it, or the server that it came from.

import { framed } from "./framed.js";
import { held, question } from "./held.js";

const carry = held() ?? framed() ?? fetched;

export async function json(name, values = {}) {
  return JSON.parse(new TextDecoder().decode(await carry(name, values)));
}

// Numbers: how many queries one stands for (1: exact), rows, columns, cells.
export async function numbers(name, values, signal) {
  const data = await carry(name, values, signal);
  const [every, rows, columns] = new Uint32Array(data, 4, 3);
  return { every, rows, columns, cells: new Float32Array(data, 16) };
}

// A file, such as a picture.
export async function file(name, values, type) {
  return new Blob([await carry(name, values)], { type });
}

// Whether a question has an answer: a page that holds its answers does not have all.
export function has(name, values) {
  return carry.has?.(name, values) ?? true;
}

// Whether every question has one.
export function hasAll() {
  return carry.has === undefined;
}

async function fetched(name, values, signal) {
  const response = await fetch(question(name, values), { signal }).catch((error) => {
    throw error.name === "AbortError" ? error : new Error("qkv look does not answer: it was ended, or cannot be reached.");
  });
  if (!response.ok) throw new Error(await response.text() || `${name}: ${response.status}`);
  return response.arrayBuffer();
}
