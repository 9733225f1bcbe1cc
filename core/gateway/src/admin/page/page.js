// The administrator's page. Everything shown is set as text, never as markup; the token stays in this tab.
'use strict';

const $ = (selector, root = document) => root.querySelector(selector);
const sections = ['wakes', 'devices', 'numbers', 'nodes', 'log'];
let shown = 'wakes';
let nextAor = 0;
let reading = null;
let draining = false;

function element(name, text, kind) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

function tell(text, kind) {
  const state = $('#state');
  state.textContent = text;
  state.className = kind || '';
}

async function ask(path, options) {
  const token = sessionStorage.getItem('token');
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const answer = await fetch(path, { headers, cache: 'no-store', ...options });
  if (answer.status === 401) {
    // The answer to an older token says nothing of a newer one.
    if (sessionStorage.getItem('token') === token) sessionStorage.removeItem('token');
    else return ask(path, options);
    $('#door').hidden = false;
    throw new Error('a token is needed');
  }
  $('#door').hidden = true;
  if (answer.status === 404) return null;
  if (!answer.ok) throw new Error((await answer.text()).trim() || `HTTP ${answer.status}`);
  return answer;
}

const json = async (path) => { const answer = await ask(path); return answer && answer.json(); };

const OUTCOMES = {
  in_progress: ['in progress', 'wait'], ringing: ['ringing', 'good'], answered: ['answered', 'good'],
  caller_gone: ['caller gave up', 'wait'], failed: ['failed', 'bad'],
};

function legs(wake) {
  const table = element('table');
  for (const leg of wake.legs) {
    const row = table.insertRow();
    row.append(element('td', `${leg.at_ms.toFixed(1)} ms`));
    const parts = [leg.what];
    if (leg.number !== undefined) parts.push(leg.number);
    if (leg.device !== undefined) parts.push(`· device ${leg.device}`);
    row.append(element('td', parts.join(' ')));
  }
  return table;
}

async function wakes() {
  const list = $('#wakes .list');
  const found = await json('api/wakes?most=100');
  // Looked at when the answer is here: what was opened meanwhile stays open.
  const open = new Set([...list.querySelectorAll('details[open]')].map((one) => one.dataset.wake));
  $('#wakes .none').hidden = found.length > 0;
  list.replaceChildren(...found.map((wake) => {
    const item = element('li');
    const details = element('details');
    details.dataset.wake = wake.wake;
    details.open = open.has(wake.wake);
    const summary = element('summary');
    const [word, kind] = OUTCOMES[wake.outcome.state] || [wake.outcome.state, ''];
    summary.append(element('span', new Date(wake.began_ms).toLocaleTimeString()), ' ',
      element('span', wake.outcome.code ? `${word} ${wake.outcome.code}` : word, kind), ' ',
      element('span', wake.ring_ms === null ? 'did not ring' : `rang after ${wake.ring_ms.toFixed(0)} ms`, 'quiet'), ' ',
      element('code', wake.wake));
    details.append(summary, legs(wake));
    item.append(details);
    return item;
  }));
}

function aor(one) {
  const item = element('li');
  item.append(element('strong', one.name), ' ',
    element('span', `wakes left: ${one.wakes_left.minute} this minute, ${one.wakes_left.hour} this hour`,
      one.wakes_left.minute && one.wakes_left.hour ? 'quiet' : 'bad'));
  if (one.mail) item.append(' ', element('span', `${one.mail} waiting for its devices`, 'quiet'));
  const table = element('table');
  for (const device of one.devices) {
    const row = table.insertRow();
    row.append(element('td', `device ${device.device}`));
    const state = device.connected ? 'connected' : device.wakeable ? 'asleep, can be woken' : 'out of reach';
    row.append(element('td', `${state}, registered for ${device.expires_in_s} s more`));
  }
  item.append(one.devices.length ? table : element('p', 'no device', 'quiet'));
  return item;
}

async function devices(more) {
  if (!more) nextAor = 0;
  const page = await json(`api/aors?from=${nextAor}&most=50`);
  const list = $('#devices .list');
  const items = page.aors.map(aor);
  if (more) list.append(...items); else list.replaceChildren(...items);
  $('#devices .none').hidden = list.children.length > 0;
  nextAor = page.next ?? 0;
  $('#devices .more').hidden = page.next === undefined;
}

async function numbers() {
  const stats = await json('api/stats');
  $('#numbers .none').hidden = stats.canaries.length > 0;
  $('#canaries').replaceChildren(...stats.canaries.map((one) => {
    const item = element('li');
    const kind = one.last === 'accepted' ? 'good' : one.last ? 'bad' : 'wait';
    item.append(element('strong', one.provider), ' ', element('span', one.last || 'not sung yet', kind), ' ',
      element('span', one.last ? `${new Date(one.last_at_ms).toLocaleTimeString()}, ${one.took_ms} ms · ` : '', 'quiet'),
      element('span', `${one.accepted} accepted, ${one.failed} failed`, one.failed ? 'bad' : 'quiet'));
    return item;
  }));
  const rows = [];
  const walk = (value, name) => {
    if (value !== null && typeof value === 'object' && !Array.isArray(value)) {
      for (const [key, inner] of Object.entries(value)) walk(inner, name ? `${name}: ${key}` : key);
    } else if (!Array.isArray(value)) {
      rows.push(element('dt', name.replaceAll('_', ' ')), element('dd', value === null ? 'none' : String(value)));
    }
  };
  walk(stats, '');
  $('#numbers dl').replaceChildren(...rows);
}

function node(one) {
  const item = element('li');
  const [word, kind] = one.draining ? [one.contexts ? 'draining' : 'drained: it may end', 'wait']
    : one.own || one.linked ? ['serving', 'good'] : ['cannot be reached from here', 'bad'];
  item.append(element('strong', one.name || 'this gateway'), ' ', element('span', word, kind));
  if (one.own && one.name) item.append(' ', element('span', 'this one', 'quiet'));
  const table = element('table');
  const facts = {
    up: `${Math.round(one.up_ms / 1000)} s`, devices: one.bindings, requests: `${one.contexts} in progress`,
    held: `${one.held} for sleeping devices`,
  };
  if (one.name) facts.address = one.address;
  if (!one.own) facts.heard = `${(one.heard_ms / 1000).toFixed(1)} s ago`;
  for (const [name, text] of Object.entries(facts)) {
    const row = table.insertRow();
    row.append(element('td', name), element('td', text));
  }
  item.append(table);
  return item;
}

async function nodes() {
  const found = await json('api/nodes');
  const own = found.find((one) => one.own);
  $('#nodes .none').hidden = own.name !== '';
  $('#nodes .list').replaceChildren(...found.map(node));
  draining = own.draining;
  const button = $('#nodes .drain');
  button.textContent = draining ? 'Take this node back' : 'Drain this node';
  button.hidden = !$('#nodes .sure').hidden;
}

function sure(asked) {
  $('#nodes .sure').hidden = !asked;
  $('#nodes .drain').hidden = asked;
  $(asked ? '#nodes .sure button' : '#nodes .drain').focus();
}

async function drain(method) {
  try {
    await ask('api/drain', { method });
    sure(false);
    await refresh();
  } catch (error) {
    tell(error.message, 'bad');
  }
}

async function log() {
  if (reading) return;
  const stop = new AbortController();
  reading = stop;
  try {
    const answer = await ask('api/log', { signal: stop.signal });
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = '';
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      text += value;
      const events = text.split('\n\n');
      text = events.pop();
      for (const event of events) line(event);
    }
  } finally {
    if (reading === stop) reading = null;
  }
}

function line(event) {
  const data = event.split('\n').filter((one) => one.startsWith('data:')).map((one) => one.slice(5).trim()).join('');
  if (!data) return;
  const list = $('#log .list');
  if (event.startsWith('event: lost') || event.includes('\nevent: lost')) {
    list.prepend(element('li', `${data} lines were too many to show`, 'bad'));
  } else {
    const leg = JSON.parse(data);
    const item = element('li');
    item.append(element('span', new Date(leg.at_ms).toLocaleTimeString(), 'quiet'), ` ${leg.what}`);
    if (leg.number !== undefined) item.append(` ${leg.number}`);
    if (leg.device !== undefined) item.append(` · device ${leg.device}`);
    if (leg.wake) item.append(' ', element('code', leg.wake));
    list.prepend(item);
  }
  while (list.children.length > 500) list.lastChild.remove();
}

const VIEWS = { wakes, devices, numbers, nodes, log };

async function refresh() {
  try {
    const stats = await json('api/stats');
    const silent = stats.canaries.filter((one) => one.last && one.last !== 'accepted').map((one) => one.provider);
    const trouble = (stats.store_trouble ? ` · store: ${stats.store_trouble}` : '')
      + (silent.length ? ` · canary pushes fail: ${silent.join(', ')}` : '');
    tell(`up ${Math.round(stats.up_ms / 1000)} s · ${stats.gauges.bindings} devices · ${stats.gauges.held} held${trouble}`,
      trouble ? 'bad' : '');
    if (shown === 'wakes' || shown === 'numbers' || shown === 'nodes') await VIEWS[shown]();
  } catch (error) {
    tell(error.message, 'bad');
  }
}

function show() {
  const name = location.hash.slice(1);
  shown = sections.includes(name) ? name : 'wakes';
  for (const section of sections) $(`#${section}`).hidden = section !== shown;
  for (const link of document.querySelectorAll('nav a')) {
    if (link.hash === `#${shown}`) link.setAttribute('aria-current', 'page'); else link.removeAttribute('aria-current');
  }
  if (shown !== 'log' && reading) reading.abort();
  scrollTo(0, 0);
  VIEWS[shown]().catch((error) => { if (error.name !== 'AbortError') tell(error.message, 'bad'); });
}

$('#door').addEventListener('submit', (event) => {
  event.preventDefault();
  sessionStorage.setItem('token', $('#token').value);
  $('#token').value = '';
  refresh().then(show);
});
$('#devices .more').addEventListener('click', () => devices(true));
$('#devices .find').addEventListener('submit', async (event) => {
  event.preventDefault();
  const name = event.target.elements.name.value.trim();
  if (!name) return devices();
  const one = await json(`api/aors/${encodeURIComponent(name)}`);
  $('#devices .list').replaceChildren(one ? aor(one) : element('li', `${name} is no address of record of this gateway`));
  $('#devices .more').hidden = true;
});
$('#nodes .drain').addEventListener('click', () => { if (draining) drain('DELETE'); else sure(true); });
$('#nodes .sure').addEventListener('submit', (event) => {
  event.preventDefault();
  drain('POST');
});
$('#nodes .keep').addEventListener('click', () => sure(false));
addEventListener('hashchange', show);
refresh().then(show);
setInterval(refresh, 2000);
