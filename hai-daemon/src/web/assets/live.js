// The stream of events: goes on where it was after a break, says when it is lost, and rests while nobody looks.
import { ask } from './api.js';

// The server says something every 15 s; twice that, and some, without a word is a dead line.
const SILENCE_MAX = 40_000;
const PAUSE_MIN = 1_000;
const PAUSE_MAX = 30_000;
// Who was away for longer looks at everything anew, which is less than all that happened.
const AWAY_MAX = 120_000;
// Events are told in batches, so that a thousand a second are as cheap as ten.
const BATCH = 250;

const listeners = new Set();
const watchers = new Set();
let state = 'off';
let last = null;
let lostAt = 0;
let pause = PAUSE_MIN;
let wanted = false;
let abort = null;
let waiting = null;
let left = false;
let batch = [];
let timer = null;

export const line = () => state;

// `callback(events)`; with `null` for "look at everything anew". Returns how to stop.
export function listen(callback) { listeners.add(callback); return () => listeners.delete(callback); }
export function watchLine(callback) { watchers.add(callback); return () => watchers.delete(callback); }

function become(next) {
  if (state === next) return;
  state = next;
  watchers.forEach((callback) => callback(state));
}

function tell(event) {
  if (event) batch.push(event);
  timer ??= setTimeout(() => {
    timer = null;
    const told = batch;
    batch = [];
    listeners.forEach((callback) => callback(told));
  }, BATCH);
}

function tellAll() { listeners.forEach((callback) => callback(null)); }

export function start() { wanted = true; lostAt = 0; connect(); }

export function stop() {
  wanted = false;
  last = null;
  clearTimeout(waiting);
  abort?.abort();
  become('off');
}

async function connect() {
  clearTimeout(waiting);
  abort?.abort();
  if (!wanted || document.hidden || left) return;
  const mine = abort = new AbortController();
  let watchdog;
  const alive = () => { clearTimeout(watchdog); watchdog = setTimeout(() => mine.abort(), SILENCE_MAX); };
  const stale = lostAt && Date.now() - lostAt > AWAY_MAX;
  if (stale) last = null;
  try {
    alive();
    const headers = { accept: 'text/event-stream', ...(last ? { 'last-event-id': last } : {}) };
    const response = await ask('GET', '/v1/events', { headers, signal: mine.signal });
    const again = lostAt !== 0;
    become('live');
    pause = PAUSE_MIN;
    lostAt = 0;
    // Nodes have no events of their own, so what was missed of them has to be looked at.
    if (stale || again) tellAll();
    await read(response.body.getReader(), alive);
  } catch (error) {
    if (error.status === 401) { wanted = false; become('off'); return; }
  } finally {
    clearTimeout(watchdog);
  }
  if (abort !== mine || !wanted) return;
  lostAt ||= Date.now();
  if (document.hidden || left) return;
  become('lost');
  waiting = setTimeout(connect, pause * (0.75 + Math.random() / 2));
  pause = Math.min(pause * 2, PAUSE_MAX);
}

async function read(reader, alive) {
  const decoder = new TextDecoder();
  let rest = '';
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    alive();
    rest += decoder.decode(value, { stream: true });
    let end;
    while ((end = rest.indexOf('\n\n')) >= 0) {
      message(rest.slice(0, end));
      rest = rest.slice(end + 2);
    }
  }
}

function message(text) {
  let id = null;
  let data = '';
  for (const row of text.split('\n')) {
    if (row.startsWith('id:')) id = row.slice(3).trim();
    else if (row.startsWith('data:')) data += row.slice(5).trimStart();
  }
  if (!data) return;
  if (id) last = id;
  try { tell(JSON.parse(data)); } catch { /* Not ours. */ }
}

// A browser lets few connections to one server, so a page that nobody looks at, or that was left, holds none. Whoever else holds
// one listens for `hai-rest` and `hai-wake` on the window.
let resting = null;

function rest() {
  window.dispatchEvent(new Event('hai-rest'));
  if (!wanted) return;
  lostAt ||= Date.now();
  clearTimeout(waiting);
  abort?.abort();
}

function wake() {
  clearTimeout(resting);
  window.dispatchEvent(new Event('hai-wake'));
  if (wanted && (state !== 'live' || abort?.signal.aborted)) { pause = PAUSE_MIN; connect(); }
}

document.addEventListener('visibilitychange', () => {
  clearTimeout(resting);
  if (document.hidden) resting = setTimeout(rest, 20_000); else wake();
});
window.addEventListener('pagehide', () => { left = true; rest(); });
window.addEventListener('pageshow', (event) => { left = false; if (event.persisted) wake(); });
window.addEventListener('online', wake);
