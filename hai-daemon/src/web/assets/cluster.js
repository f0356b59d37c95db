// What nodes say, put together: who holds each device, and what is to be said of it first.

const UNWELL = new Set(['sick', 'suspect', 'draining', 'probing']);

// `[{ device, kind, holders }]` of one node; kind is the one thing that counts most.
export function devicesOf(node) {
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

// What each user holds: devices and nodes, by group.
export function holdings(nodes) {
  const held = new Map();
  for (const node of nodes) {
    for (const worker of node.workers) {
      if (!worker.user || !worker.phase) continue;
      const key = `${worker.user}\n${node.group}`;
      const one = held.get(key) ?? { user: worker.user, group: node.group, devices: 0, nodes: 0 };
      if (worker.whole_node) one.nodes += 1;
      else one.devices += worker.share != null ? worker.share : worker.devices.length;
      held.set(key, one);
    }
  }
  return held;
}
