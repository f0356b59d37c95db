// Small parts that views share. Whatever people named is a text node, with its own direction, cut by the style sheet.
import { html, useEffect, useLayoutEffect, useRef, useState } from './lib.js';
import { t, word } from './i18n.js';
import { ago, fullTime, hue } from './format.js';
import { useNow } from './store.js';
import { Link } from './router.js';

const TITLE_MAX = 300;

export function Name({ children, of }) {
  const text = String(children ?? of ?? '');
  return html`<bdi class="name" dir="auto" title=${text.slice(0, TITLE_MAX)}>${text.slice(0, 2000)}</bdi>`;
}

export function Person({ name }) {
  if (!name) return html`<span class="person muted">${t('somebody')}</span>`;
  return html`<span class="person"><i class="dot" style=${{ '--hue': String(hue(name)) }}></i><${Name} of=${name} /></span>`;
}

export function State({ task }) {
  const shown = task.state === 'finished' && task.outcome ? task.outcome : task.state;
  return html`<span class=${`state ${shown}`}>${word('state', shown)}</span>`;
}

export function TaskLink({ id, children }) {
  return html`<${Link} to=${`tasks/${id}`} class="task-link">${children ?? `#${id}`}</${Link}>`;
}

export function Ago({ at }) {
  const now = useNow(10_000);
  if (!at) return html`<span class="muted">–</span>`;
  return html`<time datetime=${at} title=${fullTime(at)}>${ago(at, now)}</time>`;
}

// When something will likely begin: what has not begun by then does so any moment.
export function Start({ at }) {
  const now = useNow(10_000);
  if (!at) return html`<span class="muted">–</span>`;
  return html`<time datetime=${at} title=${fullTime(at)}>${Date.parse(at) <= now ? t('now.soon') : ago(at, now)}</time>`;
}

// What the API said was wrong, in its own words.
export function Trouble({ problem, again }) {
  if (!problem) return null;
  const text = problem.kind === 'unreachable' ? t('trouble.unreachable') : problem.detail || problem.title || String(problem);
  return html`<div class="trouble" role="alert"><span dir="auto">${text}</span>
    ${again && html`<button type="button" onClick=${again}>${t('again')}</button>`}</div>`;
}

export function Empty({ children }) { return html`<p class="empty">${children}</p>`; }
export function Wait() { return html`<p class="empty" aria-busy="true">${t('loading')}</p>`; }

export function Section({ title, actions, children, id, class: name = '' }) {
  const head = `h-${id}`;
  return html`<section class=${`card ${name}`} id=${id} aria-labelledby=${head}>
    <header><h2 id=${head}>${title}</h2><div class="actions">${actions}</div></header>${children}</section>`;
}

// A dialogue of the browser's own: it keeps the focus inside, and Escape closes it.
export function Dialog({ title, onClose, children, wide }) {
  const ref = useRef();
  useLayoutEffect(() => {
    const before = document.activeElement;
    ref.current?.showModal();
    return () => before?.focus?.();
  }, []);
  return html`<dialog ref=${ref} class=${wide ? 'wide' : ''} aria-labelledby="dialog-title"
      onCancel=${(event) => { event.preventDefault(); onClose(); }}
      onMouseDown=${(event) => event.target === ref.current && onClose()}>
    <div class="dialog"><header><h2 id="dialog-title">${title}</h2>
      <button type="button" class="plain" aria-label=${t('close')} onClick=${onClose}>✕</button></header>${children}</div>
  </dialog>`;
}

const toasts = new Set();
let toastCount = 0;
export function toast(text, kind = 'good') {
  toastCount += 1;
  const one = { id: toastCount, text: String(text).slice(0, 600), kind };
  toasts.forEach((callback) => callback(one));
}

export function tellProblem(problem) {
  toast(problem.kind === 'unreachable' ? t('trouble.unreachable') : problem.detail || problem.title || String(problem), 'bad');
}

export function Toasts() {
  const [shown, set] = useState([]);
  useEffect(() => {
    const callback = (one) => {
      set((old) => [...old.slice(-3), one]);
      setTimeout(() => set((old) => old.filter((other) => other.id !== one.id)), one.kind === 'bad' ? 12_000 : 5_000);
    };
    toasts.add(callback);
    return () => toasts.delete(callback);
  }, []);
  return html`<div class="toasts" role="status" aria-live="polite">
    ${shown.map((one) => html`<div key=${one.id} class=${`toast ${one.kind}`} dir="auto">${one.text}</div>`)}</div>`;
}

export function CopyButton({ text, label }) {
  const [done, set] = useState(false);
  const copy = async () => {
    try { await navigator.clipboard.writeText(text); } catch {
      const area = document.createElement('textarea');
      area.value = text;
      document.body.append(area);
      area.select();
      document.execCommand('copy');
      area.remove();
    }
    set(true);
    setTimeout(() => set(false), 1500);
  };
  return html`<button type="button" onClick=${copy}>${done ? t('copied') : label ?? t('copy')}</button>`;
}

// Draws only the rows in sight. `count` rows of `height` px; `row(index)` draws one; `onSight(first, last)` hears which.
export function Rows({ count, height, row, onSight, label, role = 'list', class: name = '', listRef, top }) {
  const own = useRef();
  const ref = listRef ?? own;
  const [sight, set] = useState({ first: 0, last: 30 });
  const look = () => {
    const box = ref.current;
    if (!box) return;
    const first = Math.max(0, Math.floor(box.scrollTop / height) - 6);
    const last = Math.min(count, Math.ceil((box.scrollTop + box.clientHeight) / height) + 6);
    set((old) => (old.first === first && old.last === last ? old : { first, last }));
    onSight?.(first, last);
  };
  useLayoutEffect(look, [count, height]);
  useLayoutEffect(() => {
    const watch = new ResizeObserver(look);
    watch.observe(ref.current);
    return () => watch.disconnect();
  }, [count, height]);
  const drawn = [];
  for (let index = sight.first; index < Math.min(sight.last, count); index += 1) drawn.push(row(index));
  return html`<div class=${`rows ${name}`} ref=${ref} onScroll=${look} tabindex="0" role=${role} aria-label=${label} aria-rowcount=${role === 'grid' ? count : undefined}>
    ${top}
    <div class="room" role="presentation" style=${{ height: `${count * height}px` }}>
      <div class="shift" role="presentation" style=${{ transform: `translateY(${sight.first * height}px)` }}>${drawn}</div>
    </div></div>`;
}

export function Field({ label, children, hint }) {
  return html`<label class="field"><span>${label}</span>${children}${hint && html`<small>${hint}</small>`}</label>`;
}

export function Select({ value, onChange, options, label, class: name }) {
  return html`<select class=${name} aria-label=${label} value=${value} onChange=${(event) => onChange(event.currentTarget.value)}>
    ${options.map(([key, text]) => html`<option value=${key} selected=${key === value}>${text}</option>`)}</select>`;
}
