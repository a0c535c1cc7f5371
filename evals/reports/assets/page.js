// One page at a time (the overview, or a router's by its #anchor), the colour scheme, and what printing needs.
'use strict';

const root = document.documentElement;
const PRINTED_WIDTH = 670;

function show() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const page = target?.closest('article.router');
  root.dataset.view = page ? 'router' : 'overview';
  document.querySelectorAll('article.router').forEach((article) => article.classList.toggle('current', article === page));
  if (target?.matches('details')) target.open = true;
  if (page) scrollTo(0, 0);
  else target?.scrollIntoView();
}
addEventListener('hashchange', show);
show();

const SCHEMES = { auto: 'Auto', light: 'Light', dark: 'Dark' };
const button = document.getElementById('scheme');

function setScheme(name) {
  if (name === 'auto') delete root.dataset.scheme;
  else root.dataset.scheme = name;
  button.textContent = SCHEMES[name];
  button.setAttribute('aria-label', `Colour scheme: ${SCHEMES[name].toLowerCase()}`);
  redraw();
}
button.addEventListener('click', () => {
  const names = Object.keys(SCHEMES);
  setScheme(names[(names.indexOf(root.dataset.scheme ?? 'auto') + 1) % names.length]);
});
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => redraw());

let closed = [];
let schemeBefore = 'auto';
addEventListener('beforeprint', () => {
  printing = true;
  schemeBefore = root.dataset.scheme ?? 'auto';
  closed = [...document.querySelectorAll('details:not([open])')];
  closed.forEach((details) => { details.open = true; });
  root.dataset.scheme = 'light';
  root.dataset.printing = '';
  drawAll(PRINTED_WIDTH);
  redraw(PRINTED_WIDTH);
});
addEventListener('afterprint', () => {
  printing = false;
  delete root.dataset.printing;
  closed.forEach((details) => { details.open = false; });
  setScheme(schemeBefore);
});
