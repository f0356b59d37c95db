// What views are made from: something of the API, looked at again when things happen.
import { useEffect, useRef, useState } from './lib.js';
import { can, get } from './api.js';
import { listen, watchLine, line } from './live.js';

// Looks again at most this often, and never more than a small part of the time.
const AGAIN_MIN = 400;
const PART = 8;

// `{ data, problem, loading, reload }` of `path`; nothing is asked while it is null. `on` says which events matter (all, if it is
// true); `every` looks again after so many ms.
export function useResource(path, { on = null, every = 0, read = get } = {}) {
  const [state, set] = useState({ data: null, problem: null, loading: true, path });
  const ref = useRef({});
  ref.current.on = on;
  useEffect(() => {
    if (!path) { set({ data: null, problem: null, loading: false, path }); return undefined; }
    let gone = false;
    let timer = null;
    let due = 0;
    let asking = false;
    let again = false;
    const abort = new AbortController();
    const look = async () => {
      clearTimeout(timer);
      timer = null;
      if (asking) { again = true; return; }
      asking = true;
      const began = performance.now();
      try {
        const data = await read(path, { signal: abort.signal });
        if (!gone) set({ data, problem: null, loading: false, path });
      } catch (problem) {
        // What was there stays, marked as old.
        if (!gone) set((old) => ({ data: old.path === path ? old.data : null, problem, loading: false, path }));
      }
      asking = false;
      if (gone) return;
      due = performance.now() + Math.max(AGAIN_MIN, PART * (performance.now() - began));
      if (again) { again = false; soon(); }
      else if (every) timer ??= setTimeout(look, every);
    };
    const soon = () => {
      if (asking) { again = true; return; }
      clearTimeout(timer);
      timer = setTimeout(look, Math.max(0, due - performance.now()));
    };
    ref.current.reload = look;
    look();
    const unlisten = listen((events) => {
      const wants = ref.current.on;
      if (wants && (events === null || wants === true || events.some(wants))) soon();
    });
    return () => { gone = true; clearTimeout(timer); abort.abort(); unlisten(); };
  }, [path, every]);
  const fresh = state.path === path ? state : { data: null, problem: null, loading: true };
  return { ...fresh, reload: () => ref.current.reload?.() };
}

// What the server can do; null until it is known.
export function useCan() {
  const [known, set] = useState(null);
  useEffect(() => {
    let gone = false;
    can().then((known) => gone || set(known)).catch(() => {});
    return () => { gone = true; };
  }, []);
  return known;
}

export function useLine() {
  const [state, set] = useState(line());
  useEffect(() => watchLine(set), []);
  return state;
}

// The time, told every `ms`.
export function useNow(ms) {
  const [now, set] = useState(Date.now());
  useEffect(() => {
    const timer = setInterval(() => set(Date.now()), ms);
    return () => clearInterval(timer);
  }, [ms]);
  return now;
}

// Something small that this browser keeps.
export function kept(name, otherwise) {
  try { return localStorage.getItem(`hai.${name}`) ?? otherwise; } catch { return otherwise; }
}

export function keep(name, value) {
  try { localStorage.setItem(`hai.${name}`, value); } catch { /* It is not kept then. */ }
}
