// The list of nodes, read by a worker.
import { refuse } from './api.js';

let worker = null;
let count = 0;
const asked = new Map();

function told({ data }) {
  const one = asked.get(data.id);
  if (!one) return;
  if (data.nodes) { for (const node of data.nodes) one.nodes.push(node); return; }
  asked.delete(data.id);
  if (data.problem) one.fail(refuse(data.problem)); else one.done({ nodes: one.nodes, sum: data.sum, groups: data.groups });
}

// As `get`, of `/v1/nodes`: `{ nodes, sum, groups }`, all nodes added up and all groups named.
export function readNodes(path, { signal }) {
  if (!worker) {
    worker = new Worker(new URL('./nodes-worker.js', import.meta.url), { type: 'module' });
    worker.onmessage = told;
    worker.onerror = () => {
      for (const one of asked.values()) one.fail(refuse({ status: 0 }));
      asked.clear();
      worker = null;
    };
  }
  count += 1;
  const id = count;
  return new Promise((done, fail) => {
    asked.set(id, { nodes: [], done, fail });
    signal.addEventListener('abort', () => { asked.delete(id); fail(new DOMException('', 'AbortError')); });
    worker.postMessage({ id, path });
  });
}
