// A list without end, of which only some pages are kept: the others are asked for again when they come into sight.
import { useEffect, useRef, useState } from './lib.js';
import { get } from './api.js';

export const PAGE = 100;
// Pages of which the rows are kept; what is further away is forgotten.
const KEPT = 12;

// `address(cursor)` is where a page is; `read(answer)` gives `{ rows, next }`. The list begins anew when `key` changes.
export function usePages(key, address, read) {
  const [, redraw] = useState(0);
  const ref = useRef(null);
  if (ref.current?.key !== key) {
    ref.current?.abort?.abort();
    ref.current = { key, pages: [], cursors: [null], asking: new Set(), ended: false, problem: null, abort: new AbortController() };
  }
  const list = ref.current;
  const draw = () => redraw((count) => count + 1);
  const load = async (index) => {
    if (key === null || list.asking.has(index) || list.cursors[index] === undefined) return;
    list.asking.add(index);
    list.problem = null;
    try {
      const { rows, next } = read(await get(address(list.cursors[index]), { signal: list.abort.signal }));
      if (ref.current !== list) return;
      list.pages[index] = rows;
      list.used = index;
      if (next != null) list.cursors[index + 1] = next; else { list.ended = true; list.cursors.length = index + 1; list.pages.length = index + 1; }
      for (const far of Object.keys(list.pages)) if (Math.abs(far - index) > KEPT / 2) list.pages[far] = undefined;
    } catch (problem) {
      if (problem.name === 'AbortError') return;
      list.problem = problem;
    } finally {
      list.asking.delete(index);
    }
    if (ref.current === list) draw();
  };
  useEffect(() => { if (key !== null) load(0); }, [key]);
  useEffect(() => () => ref.current.abort.abort(), []);
  const last = list.pages.length - 1;
  const lastRows = list.pages[last];
  return {
    loaded: list.pages.length > 0,
    problem: list.problem,
    ended: list.ended,
    // One page more than is known, so that there is something to scroll to.
    count: last < 0 ? 0 : last * PAGE + (lastRows ? lastRows.length : PAGE) + (list.ended ? 0 : 1),
    at: (index) => list.pages[Math.floor(index / PAGE)]?.[index % PAGE],
    inSight: (first, end) => {
      for (let page = Math.floor(first / PAGE); page <= Math.floor(Math.max(first, end - 1) / PAGE); page += 1) {
        if (!list.pages[page]) load(page);
      }
    },
    // Rows that changed take their place; says whether `found` new ones there may be.
    change: (byId) => {
      let changed = 0;
      for (const rows of list.pages) {
        if (!rows) continue;
        for (let at = 0; at < rows.length; at += 1) {
          const next = byId.get(rows[at].id);
          if (next) { rows[at] = next; changed += 1; }
        }
      }
      if (changed) draw();
      return changed;
    },
    first: () => list.pages[0]?.[0],
    again: () => load(0),
    // Begins anew without forgetting what is shown before there is something else.
    restart: async () => {
      const rows = read(await get(address(null)));
      if (ref.current !== list) return;
      list.pages = [rows.rows];
      list.cursors = rows.next != null ? [null, rows.next] : [null];
      list.ended = rows.next == null;
      draw();
    },
  };
}
