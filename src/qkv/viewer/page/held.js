// Answers that stand in the page itself, each compressed for itself and written in base64.

// A question in one form, as an address ends.
export function question(name, values) {
  const said = new URLSearchParams(values);
  said.sort();
  return `${name}?${said}`;
}

// What carries questions to the answers in the page; null where there are none.
export function held() {
  const element = document.getElementById("answers");
  if (!element) return null;
  const { places, answers } = JSON.parse(element.textContent);
  element.remove();
  const carry = (name, values) => {
    const place = places[question(name, values)];
    return place === undefined ? Promise.reject(new Error(`${name}: left out of this file`)) : opened(answers[place]);
  };
  carry.has = (name, values) => question(name, values) in places;
  return carry;
}

function opened(text) {
  const bytes = Uint8Array.from(atob(text), (one) => one.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"))).arrayBuffer();
}
