// The links of a query or a key: the strongest first, until they hold a share of its weight.

const known = new WeakMap(); // of weights: the last links that were asked for

// `share` in per cent; `apart`: places that are left out, the rest is not renormalised. Gives the
// places in order and as a set, the weight they hold, that of all that was not left out, and that of all;
// and how many weights can be no link: those that are negative, and those that are no number.
export function linksUntil(weights, share, apart) {
  const before = known.get(weights);
  if (before && before.share === share && before.apart === apart) return before;
  const order = [];
  let all = 0, rest = 0, negative = 0, unknown = 0;
  for (let place = 0; place < weights.length; place++) {
    const weight = weights[place];
    if (weight < 0) negative++;
    if (Number.isNaN(weight)) unknown++;
    if (!(weight > 0)) continue;
    all += weight;
    if (apart?.has(place)) continue;
    rest += weight;
    order.push(place);
  }
  order.sort((a, b) => weights[b] - weights[a] || a - b);
  let held = 0, count = 0;
  const wanted = share >= 100 ? Infinity : (rest * share) / 100;
  while (count < order.length && held < wanted) held += weights[order[count++]];
  const places = order.slice(0, count);
  const found = { share, apart, places, isLink: new Set(places), held, rest, all, negative, unknown };
  known.set(weights, found);
  return found;
}
