// What nodes say, put together: who holds each device, and what is to be said of it first.

const UNWELL = new Set(['sick', 'suspect', 'draining', 'probing']);

const known = new WeakMap();

// `[{ device, kind, holders }]` of one node; kind is the one thing that counts most. Worked out once for each answer, most often by the worker that read it.
export function devicesOf(node) {
  if (node.entries) return node.entries;
  if (!known.has(node)) known.set(node, workOut(node));
  return known.get(node);
}

function workOut(node) {
  const holders = new Map();
  for (const worker of node.workers) {
    for (const id of worker.devices) {
      if (!holders.has(id)) holders.set(id, []);
      holders.get(id).push(worker);
    }
  }
  return node.devices.map((device) => {
    const held = holders.get(device.id) ?? [];
    return { device, holders: held, kind: kindOf(node, device, held) };
  });
}

function kindOf(node, device, held) {
  if (device.health === 'stranger') return 'stranger';
  if (UNWELL.has(device.health)) return 'sick';
  if (held.some((worker) => worker.phase)) return 'held';
  if (!node.ready) return 'away';
  if (held.length) return 'promised';
  if (node.draining || node.cordoned) return 'cordoned';
  return 'free';
}

export function summary(nodes) {
  const sum = { nodes: nodes.length, devices: 0, free: 0, held: 0, sick: 0, away: 0, cordoned: 0, stranger: 0, promised: 0, models: new Map() };
  for (const node of nodes) {
    for (const { device, kind } of devicesOf(node)) {
      sum.devices += 1;
      sum[kind] += 1;
      const model = sum.models.get(device.model) ?? { free: 0, all: 0 };
      model.all += 1;
      if (kind === 'free') model.free += 1;
      sum.models.set(device.model, model);
    }
  }
  return sum;
}

export function healthOf(node) {
  if (!node.ready) return 'away';
  if (node.draining) return 'draining';
  if (node.cordoned) return 'cordoned';
  if (node.devices.some((device) => UNWELL.has(device.health))) return 'sick';
  if (node.devices.some((device) => device.health === 'stranger')) return 'stranger';
  return 'well';
}

// What each user holds by group and priority, of the tasks that have a place.
export function holdings(tasks) {
  const held = new Map();
  for (const task of tasks) {
    const key = `${task.user}\n${task.group}\n${task.priority}`;
    const one = held.get(key) ?? { user: task.user, group: task.group, priority: task.priority, devices: 0, nodes: 0 };
    if (task.whole_node) one.nodes += task.workers;
    else one.devices += (task.share ?? task.devices ?? 0) * task.workers;
    held.set(key, one);
  }
  return held;
}
