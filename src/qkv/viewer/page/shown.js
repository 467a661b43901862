// Tokens and numbers as a reader sees them. A token is text and nothing else.

const HIDDEN = /[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g;

// In one line: characters that cannot be seen, or that turn others about, by their numbers.
export function token(text, most = 32) {
  const seen = text.replace(HIDDEN, (one) => `\\u${one.codePointAt(0).toString(16).padStart(4, "0")}`);
  const characters = Array.from(seen);
  return characters.length > most ? `${characters.slice(0, most - 1).join("")}…` : seen;
}

// A token beside other text, which it does not turn about where it is written from right to left.
function quoted(text) {
  return `“\u2068${token(text)}\u2069”`;
}

// A place by its token and its number.
export function named(labels, place) {
  return labels ? `${quoted(labels[place])} ${place}` : String(place);
}

export function weight(number) {
  return number === 0 ? "0" : Math.abs(number) >= 0.001 ? number.toFixed(6) : number.toExponential(4);
}
