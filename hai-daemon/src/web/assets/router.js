// Which view the path means, and how to go to another.
import { html, useEffect, useState } from './lib.js';

const HOME = '/studio/';
const listeners = new Set();

export function where() {
  const path = location.pathname.startsWith(HOME) ? location.pathname.slice(HOME.length) : '';
  const parts = path.split('/').filter(Boolean).map((part) => { try { return decodeURIComponent(part); } catch { return part; } });
  return { view: parts[0] || 'now', rest: parts.slice(1), query: new URLSearchParams(location.search) };
}

export function href(path) { return HOME + path; }

export function go(path, { replace = false } = {}) {
  const to = href(path);
  if (to !== location.pathname + location.search) history[replace ? 'replaceState' : 'pushState'](null, '', to);
  listeners.forEach((callback) => callback());
}

// Keeps what is chosen in a view in its address.
export function setQuery(values) {
  const query = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries(values)) {
    if (value === null || value === undefined || value === '') query.delete(name); else query.set(name, value);
  }
  const text = query.toString();
  history.replaceState(null, '', location.pathname + (text ? `?${text}` : ''));
  listeners.forEach((callback) => callback());
}

export function useWhere() {
  const [at, set] = useState(where());
  useEffect(() => {
    const callback = () => set(where());
    listeners.add(callback);
    window.addEventListener('popstate', callback);
    return () => { listeners.delete(callback); window.removeEventListener('popstate', callback); };
  }, []);
  return at;
}

export function Link({ to, children, ...rest }) {
  const click = (event) => {
    if (event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    go(to);
  };
  return html`<a href=${href(to)} onClick=${click} ...${rest}>${children}</a>`;
}
