// Chooses again, in the page, from the embedded expectations of evals/reports/embedding.py: other prices, another lambda, fewer experts.
'use strict';

const embedded = JSON.parse(document.getElementById('what-if-data').textContent);
const form = document.getElementById('what-if-form');
const prices = document.getElementById('prices');
const SINGLE = 'best single';
const [FULL, NOT_TRIED, FINEST] = [254, 255, 65535];

function unpacked(text, Type) {
  return new Type(Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer);
}

/** The arrays of a case. Where costs are not known, every answer costs a cent. */
function opened(found) {
  const cells = found.n * found.experts.length;
  const ones = (size) => new Float32Array(size).fill(1);
  const known = found.cents !== null;
  return {
    ...found, known,
    predicted: Object.entries(found.predicted).map(([name, text]) => [name, unpacked(text, Uint16Array)]),
    rewards: unpacked(found.rewards, Uint8Array),
    weights: unpacked(found.weights, Float32Array),
    expected_cents: known ? unpacked(found.expected_cents, Float32Array) : ones(cells),
    cents: known ? unpacked(found.cents, Float32Array) : ones(cells),
    fold: unpacked(found.fold, Uint8Array),
    trained_rewards: unpacked(found.trained_rewards, Float32Array),
    trained_cents: known ? unpacked(found.trained_cents, Float32Array) : ones(unpacked(found.trained_cents, Float32Array).length),
  };
}

/** The expert with the highest reward - lambda * price * cents among those that are on; score(j) and cents(j) by expert. */
function best(settings, score, cents) {
  let [chosen, highest] = [-1, -Infinity];
  settings.on.forEach((on, j) => {
    const utility = on ? score(j) - settings.lambda * settings.price[j] * cents(j) : -Infinity;
    if (utility > highest) [chosen, highest] = [j, utility];
  });
  return chosen;
}

/** Mean reward and cost in cents, and the share of each expert, of a choice for every query. */
function measured(view, settings, choice) {
  const share = new Array(view.experts.length).fill(0);
  let [reward, weight, cents] = [0, 0, 0];
  choice.forEach((j, i) => {
    const at = i * view.experts.length + j;
    share[j] += 1 / view.n;
    cents += settings.price[j] * view.cents[at] / view.n;
    if (view.rewards[at] === NOT_TRIED) return;
    reward += view.weights[i] * view.rewards[at] / FULL;
    weight += view.weights[i];
  });
  return { reward: reward / weight, cents, share };
}

function routed(view, settings, predicted) {
  const k = view.experts.length;
  return Array.from({ length: view.n }, (_, i) =>
    best(settings, (j) => predicted[i * k + j] / FINEST, (j) => view.expected_cents[i * k + j]));
}

function single(view, settings) {
  const k = view.experts.length;
  return Array.from(view.fold, (fold) =>
    best(settings, (j) => view.trained_rewards[fold * k + j], (j) => view.trained_cents[fold * k + j]));
}

/** The slider's 0 is 0, its 1 to 100 are five decades of lambda up to the highest. */
function lambdaOf(position) {
  return position === 0 ? 0 : embedded.highest_lambda * 10 ** (5 * (position - 100) / 99);
}

let view = opened(embedded.cases[0]);

function settingsNow() {
  const inputs = [...prices.querySelectorAll('.price')];
  return {
    lambda: lambdaOf(form.elements.lambda.valueAsNumber),
    price: inputs.map((row) => 10 ** (row.querySelector('[type=range]').valueAsNumber / 20)),
    on: inputs.map((row) => row.querySelector('[type=checkbox]').checked),
  };
}

function swatch(colour) {
  const made = element('i', { className: 'swatch' });
  made.style.background = colour;
  return made;
}

function colourOfRouter(name) {
  return name === SINGLE ? 'var(--ink)' : embedded.colours[name] ?? 'var(--quiet)';
}

function priceRow(expert, i) {
  const on = element('input', { type: 'checkbox', checked: true, ariaLabel: `${expert} is in the fleet` });
  const slider = element('input', { type: 'range', min: -20, max: 20, step: 1, value: 0, ariaLabel: `Price of ${expert}` });
  return element('div', { className: 'price' }, on, element('span', { title: expert }, swatch(`var(--c${i % 12})`), expert), slider, element('output'));
}

function bars(share) {
  const box = element('div', { className: 'shares' });
  share.forEach((part, j) => {
    const bar = element('span', { title: `${view.experts[j]} ${(part * 100).toFixed(1)}%` });
    bar.style.width = `${part * 100}%`;
    bar.style.background = `var(--c${j % 12})`;
    if (part > 0) box.append(bar);
  });
  return box;
}

function resultRow({ name, reward, cents, share }, baseline) {
  const isBaseline = name === SINGLE;
  const figures = [(reward * 100).toFixed(1), isBaseline ? '–' : number((reward - baseline) * 100, 1), number(cents * 10, null)];
  return element('tr', { className: isBaseline ? 'baseline' : '' }, element('th', { scope: 'row' }, swatch(colourOfRouter(name)), name),
    ...figures.map((textContent) => element('td', { className: 'number', textContent })), element('td', {}, bars(share)));
}

/** Plotly reads some HTML in texts. */
function plain(text) {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

function figure(results, experts) {
  const points = (shown, extra) => ({
    type: 'scatter', mode: 'markers', hovertemplate: '<b>%{text}</b><br>reward %{y:.1f}<br>cost %{x:.4~g}<extra></extra>',
    x: shown.map((one) => one.cents * 10), y: shown.map((one) => one.reward * 100), text: shown.map((one) => plain(one.name)), ...extra,
  });
  const colour = results.map((one) => colourOfRouter(one.name));
  const symbol = results.map((one) => (one.name === SINGLE ? 'star' : 'circle'));
  return {
    data: [points(experts, { marker: { color: 'var(--quiet)', symbol: 'square-open', size: 7 } }),
      points(results, { marker: { color: colour, symbol, size: 10 } })],
    layout: { height: 340, showlegend: false, xaxis: { title: { text: 'Cost, US$ per 1,000 queries' }, rangemode: 'tozero' }, yaxis: { title: { text: 'Reward × 100' } } },
  };
}

function update() {
  const settings = settingsNow();
  const usual = { name: SINGLE, ...measured(view, settings, single(view, settings)) };
  const results = [...view.predicted.map(([name, predicted]) => ({ name, ...measured(view, settings, routed(view, settings, predicted)) })), usual];
  const experts = view.experts.map((name, j) => ({ name, ...measured(view, settings, new Array(view.n).fill(j)) })).filter((_, j) => settings.on[j]);
  form.elements['lambda-text'].value = number(settings.lambda, null);
  prices.querySelectorAll('.price').forEach((row, j) => {
    row.classList.toggle('off', !settings.on[j]);
    row.querySelector('output').value = view.known ? `× ${number(settings.price[j], 2)}` : `${number(settings.price[j], 2)} ¢`;
    row.querySelector('[type=checkbox]').disabled = settings.on[j] && settings.on.filter(Boolean).length === 1;
  });
  document.querySelector('#what-if-results tbody').replaceChildren(...results.map((one) => resultRow(one, usual.reward)));
  draw(document.getElementById('what-if-chart'), figure(results, experts));
}

function open() {
  view = opened(embedded.cases[form.elements.case.selectedIndex]);
  prices.replaceChildren(...view.experts.map(priceRow));
  document.getElementById('price-legend').textContent = view.known
    ? 'Price of each expert, times what it was; untick one to take it out of the fleet'
    : 'Costs are not known here. Price of an answer of each expert, in US cents; untick one to take it out of the fleet';
  document.getElementById('what-if-note').textContent =
    `${view.n.toLocaleString('en')} of ${view.num_queries.toLocaleString('en')} queries, drawn at random, of the first seed; the ${view.predicted.length} routers with the highest reward. The best single expert is chosen in training, at the same prices. Cost: US$ per 1,000 queries. Squares are single experts.`;
  update();
}
form.addEventListener('input', (event) => (event.target.name === 'case' ? open() : update()));
form.addEventListener('reset', (event) => {
  event.preventDefault();
  form.elements.lambda.value = 0;
  open();
});
form.addEventListener('submit', (event) => event.preventDefault());
options(form.elements.case, embedded.cases.map((found) => found.title));
open();
