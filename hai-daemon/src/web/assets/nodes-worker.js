// Reads the list of nodes beside the page's own thread, which has to draw: a large cluster's is megabytes. What is said of each
// device is worked out here too, and all of it is handed over in pieces, each of which takes the page a moment.
import { devicesOf, summary } from './cluster.js';

const PIECE = 100;

self.onmessage = async ({ data: { id, path } }) => {
  try {
    const response = await fetch(path, { credentials: 'same-origin', cache: 'no-store', headers: { accept: 'application/json' } });
    if (!response.ok) {
      let body = {};
      try { body = await response.json(); } catch { /* Not from hai. */ }
      self.postMessage({ id, problem: { ...body, status: response.status } });
      return;
    }
    const { nodes } = await response.json();
    for (const node of nodes) node.entries = devicesOf(node);
    for (let at = 0; at < nodes.length; at += PIECE) self.postMessage({ id, nodes: nodes.slice(at, at + PIECE) });
    self.postMessage({ id, sum: summary(nodes), groups: [...new Set(nodes.map((node) => node.group))].sort() });
  } catch {
    self.postMessage({ id, problem: { status: 0 } });
  }
};
