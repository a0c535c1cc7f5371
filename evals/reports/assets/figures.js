// Draws the figures: JSON of evals/reports/figures.py, with the colours of the scheme, when they come into view.
'use strict';

const CONFIG = { displaylogo: false, responsive: true, modeBarButtons: [['toImage', 'resetScale2d']] };
const NARROW = 560;
let printing = false;

function colourOf(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** The same with every 'var(--name)' replaced by its colour: plotly knows no CSS variables. */
function resolved(value) {
  if (typeof value === 'string') return value.startsWith('var(--') ? colourOf(value.slice(4, -1)) : value;
  if (Array.isArray(value)) return value.map(resolved);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, resolved(inner)]));
}

function axis(own) {
  const title = { standoff: 10, font: { size: 12 }, ...own?.title };
  return { gridcolor: 'var(--rule)', zerolinecolor: 'var(--quiet)', zeroline: false, automargin: true, ...own, title };
}

/** The layout with what all figures share; on narrow ones the legend stands below. */
function framed(layout, width) {
  const font = { family: getComputedStyle(document.body).fontFamily, size: 12, color: 'var(--ink)' };
  const below = layout.showlegend !== false && layout.legend_entries && (width < NARROW || layout.legend?.orientation === 'h');
  const lines = below ? Math.ceil(layout.legend_entries / Math.max(1, Math.floor((width - 20) / layout.legend_width))) : 0;
  const legend = below ? { orientation: 'h', yref: 'container', y: 0, yanchor: 'bottom', x: 0 } : {};
  return resolved({
    ...layout, font, width, height: layout.height + 22 * lines,
    paper_bgcolor: 'rgba(0,0,0,0)', plot_bgcolor: 'rgba(0,0,0,0)',
    margin: { l: 56, r: 12, t: 14, b: 52 + 22 * lines, ...layout.margin },
    xaxis: axis(layout.xaxis), yaxis: axis(layout.yaxis),
    legend: { ...layout.legend, ...legend, font: { size: 12 } },
    hoverlabel: { bgcolor: 'var(--raised)', bordercolor: 'var(--rule)', font: { color: 'var(--ink)', size: 12 }, align: 'left' },
    dragmode: matchMedia('(pointer: coarse)').matches ? false : 'zoom',
  });
}

const drawn = new Map();

/** Draws a figure into an element, or draws it anew. width: in pixels, by default that of the element. */
function draw(element, figure, width = element.clientWidth) {
  if (!width) return;
  drawn.set(element, figure);
  const layout = framed(figure.layout, width);
  element.style.height = `${layout.height}px`;
  Plotly.react(element, resolved(figure.data), layout, CONFIG);
}

function figureOf(element) {
  return JSON.parse(document.getElementById(`figure-${element.dataset.figure}`).textContent);
}

function drawAll(width) {
  for (const element of document.querySelectorAll('.chart[data-figure]')) draw(element, drawn.get(element) ?? figureOf(element), width);
}

function redraw(width) {
  for (const [element, figure] of drawn) draw(element, figure, width);
}

const inView = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (!isIntersecting || drawn.has(target)) continue;
    draw(target, figureOf(target));
  }
}, { rootMargin: '400px' });
document.querySelectorAll('.chart[data-figure]').forEach((element) => inView.observe(element));

const resized = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    const known = drawn.get(target);
    if (known && target.clientWidth && target.clientWidth !== target.layout?.width && !printing) draw(target, known);
  }
});
document.querySelectorAll('.chart').forEach((element) => resized.observe(element));
