// The table of all routers: filters, sorting by buttons in the header.
'use strict';

const { columns, rows } = JSON.parse(document.getElementById('results-data').textContent);
columns.forEach((column, index) => { column.index = index; });
const table = document.getElementById('results');
const filters = document.getElementById('filters').elements;
const ALL = 'all';
const sorted = { name: 'reward', rising: false };

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function options(select, values, text = (value) => value) {
  select.replaceChildren(...values.map((value) => element('option', { value, textContent: text(value) })));
}

function number(value, digits) {
  if (value === null || value === undefined) return '–';
  const text = digits === null ? Math.abs(value) >= 1000 ? Math.round(value).toLocaleString('en') : String(Number(value.toPrecision(4))) : value.toFixed(digits);
  return text.replace('-', '−').replace(/^−(0(\.0+)?)$/, '$1');
}

const distinct = (key) => [...new Set(rows.map((row) => row[key]))];
const everything = (value) => (value === ALL ? 'All' : value);
options(filters.data, [...distinct('data'), ALL], everything);
options(filters.fleet, distinct('fleet').length > 1 ? [...distinct('fleet'), ALL] : distinct('fleet'), everything);
options(filters.lambda, [...distinct('lambda'), ALL], everything);
filters.fleet.closest('label').hidden = distinct('fleet').length < 2;

function matching() {
  const wanted = (row, key) => filters[key].value === ALL || String(row[key]) === filters[key].value;
  return rows.filter((row) => ['data', 'fleet', 'lambda'].every((key) => wanted(row, key))
    && (filters.baselines.checked || row.kind === 'router'));
}

/** Text columns that say something in this selection, then the metrics that some row has. */
function shownColumns(selection) {
  const varied = ['data', 'fleet', 'lambda'].filter((key) => new Set(selection.map((row) => row[key])).size > 1);
  const titles = { router: 'Router', data: 'Data', fleet: 'Fleet', lambda: 'λ' };
  const texts = ['router', ...varied].map((name) => ({ name, title: titles[name], text: true, better: 'neither' }));
  const known = (column) => selection.some((row) => row.values[column.index] !== null);
  return [...texts, ...columns.filter((column) => (column.core || filters.every.checked) && known(column))];
}

function compare(column) {
  const valueOf = (row) => (column.text ? row[column.name] : row.values[column.index]);
  return (left, right) => {
    const [a, b] = [valueOf(left), valueOf(right)];
    if (a === null || b === null) return (a === null) - (b === null);
    const order = typeof a === 'string' ? a.localeCompare(b) : a - b;
    return sorted.rising ? order : -order;
  };
}

function cell(row, column, first) {
  if (column.text) return element(first ? 'th' : 'td', first ? { scope: 'row', textContent: row[column.name] } : { textContent: row[column.name] });
  const made = element('td', { className: 'number', textContent: number(row.values[column.index], column.digits) });
  const interval = row.intervals[column.name];
  if (interval) made.append(element('small', { textContent: ` ${interval.map((end) => number(end, column.digits)).join(' to ')}` }));
  return made;
}

function header(column) {
  const sort = element('button', { type: 'button', textContent: column.title, title: column.meaning ?? '' });
  sort.addEventListener('click', () => {
    sorted.rising = sorted.name === column.name ? !sorted.rising : column.text || column.better === 'lower';
    sorted.name = column.name;
    fill();
    table.querySelector(`[data-name="${column.name}"] button`).focus();
  });
  const made = element('th', { scope: 'col', className: column.text ? '' : 'number' }, sort);
  made.dataset.name = column.name;
  made.ariaSort = sorted.name !== column.name ? 'none' : sorted.rising ? 'ascending' : 'descending';
  return made;
}

function fill() {
  const selection = matching();
  const shown = shownColumns(selection);
  const by = shown.find((column) => column.name === sorted.name) ?? shown[0];
  selection.sort(compare(by));
  table.tHead.replaceChildren(element('tr', {}, ...shown.map(header)));
  table.tBodies[0].replaceChildren(...selection.map((row) =>
    element('tr', { className: row.kind }, ...shown.map((column, i) => cell(row, column, i === 0)))));
  document.getElementById('results-note').textContent =
    `${selection.length} of ${rows.length} lines. Baselines are in italics. Small figures are 95% intervals. Cost: US$ of 1,000 queries, or the data's own unit of one query.`;
}
document.getElementById('filters').addEventListener('input', fill);
document.getElementById('filters').addEventListener('submit', (event) => event.preventDefault());
fill();
