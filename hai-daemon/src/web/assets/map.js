// All devices of a large cluster at one glance: a small square for each, a column for each node.
import { html, useLayoutEffect, useRef, useState } from './lib.js';
import { devicesOf } from './cluster.js';
import { fill, isDark } from './format.js';
import { t, word } from './i18n.js';

const GAP = 1;

function colourOf(entry, dark, colours) {
  if (entry.kind === 'held') {
    const user = entry.holders[0]?.user;
    if (!user) return dark ? '#59606e' : '#a7aebb';
    if (!colours.has(user)) colours.set(user, fill(user, dark));
    return colours.get(user);
  }
  return { free: dark ? '#23302c' : '#dcefe6', promised: dark ? '#3a4a63' : '#c9d6f5', sick: dark ? '#e0566c' : '#c22a43',
    stranger: dark ? '#d98a2b' : '#c06c00', away: dark ? '#16181d' : '#d8dbe1', cordoned: dark ? '#3a3a3f' : '#c9c9cf' }[entry.kind];
}

// `onPick(node)` when one is clicked.
export function DeviceMap({ nodes, onPick }) {
  const canvas = useRef();
  const [tip, setTip] = useState('');
  const place = useRef(null);
  const draw = () => {
    const target = canvas.current;
    if (!target) return;
    const width = target.clientWidth;
    const deep = Math.max(1, ...nodes.map((node) => node.devices.length));
    // As large as fits, in at most so many bands.
    let cell = 14;
    let columns;
    let bands;
    do {
      cell -= 1;
      columns = Math.max(1, Math.floor(width / (cell + GAP)));
      bands = Math.ceil(nodes.length / columns);
    } while (cell > 3 && bands * (deep * (cell + GAP) + 4) > 240);
    const band = deep * (cell + GAP) + 4;
    const height = bands * band;
    const ratio = window.devicePixelRatio || 1;
    if (target.width !== Math.round(width * ratio) || target.height !== Math.round(height * ratio)) {
      target.width = Math.round(width * ratio);
      target.height = Math.round(height * ratio);
      target.style.height = `${height}px`;
    }
    const pen = target.getContext('2d');
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    const dark = isDark();
    const colours = new Map();
    nodes.forEach((node, index) => {
      const x = (index % columns) * (cell + GAP);
      const y = Math.floor(index / columns) * band;
      devicesOf(node).forEach((entry, row) => {
        pen.fillStyle = colourOf(entry, dark, colours);
        pen.fillRect(x, y + row * (cell + GAP), cell, cell);
      });
    });
    place.current = { cell: cell + GAP, columns, band };
  };
  useLayoutEffect(draw, [nodes]);
  useLayoutEffect(() => {
    const watch = new ResizeObserver(draw);
    watch.observe(canvas.current);
    window.addEventListener('hai-theme', draw);
    return () => { watch.disconnect(); window.removeEventListener('hai-theme', draw); };
  }, [nodes]);
  const at = (event) => {
    const { cell, columns, band } = place.current;
    const column = Math.floor(event.offsetX / cell);
    const index = column < columns ? Math.floor(event.offsetY / band) * columns + column : -1;
    return { node: nodes[index], row: Math.floor((event.offsetY % band) / cell) };
  };
  const move = (event) => {
    const { node, row } = at(event);
    const entry = node && devicesOf(node)[row];
    setTip(entry ? `${node.name} · ${row} · ${entry.holders.map((one) => one.user ?? t('somebody')).join(', ') || word('device', entry.kind)}` : node?.name ?? '');
  };
  return html`<div class="map"><canvas ref=${canvas} role="img" aria-label=${t('now.map', { nodes: nodes.length })}
      onMouseMove=${move} onMouseLeave=${() => setTip('')} onClick=${(event) => { const { node } = at(event); if (node) onPick(node); }}></canvas>
    <div class="map-tip" dir="auto" aria-hidden="true">${tip}</div></div>`;
}
