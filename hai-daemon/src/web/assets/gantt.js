// Bars of runs over time, a lane for each device: laid out as plain data, drawn on a canvas, or written as SVG.
import { fill, fullTime, isDark, timeOf } from './format.js';

export const LANE = 9;
const NODE_GAP = 8;
const HEAD = 24;
const STEPS = [1e3, 5e3, 15e3, 60e3, 300e3, 900e3, 1800e3, 3600e3, 3 * 3600e3, 6 * 3600e3, 12 * 3600e3, 86400e3, 2 * 86400e3, 7 * 86400e3, 30 * 86400e3];

// Where everything is: `nodes` of `{ name, lanes }`. Bars of the same lane and time lie over each other only if they share it.
export function layout(nodes, bars) {
  const rows = [];
  const byName = new Map();
  let y = 0;
  for (const node of nodes) {
    const row = { name: node.name, lanes: Math.max(1, node.lanes), y, height: Math.max(18, Math.max(1, node.lanes) * LANE) };
    rows.push(row);
    byName.set(node.name, row);
    y += row.height + NODE_GAP;
  }
  const placed = [];
  for (const bar of bars) {
    const row = byName.get(bar.node);
    if (!row) continue;
    const lane = row.height / row.lanes;
    const devices = bar.devices.length ? [...bar.devices].sort((a, b) => a - b) : null;
    const start = Date.parse(bar.start);
    const end = bar.end ? Date.parse(bar.end) : Infinity;
    if (!devices) { placed.push({ bar, row, start, end, y: row.y, height: row.height }); continue; }
    // Devices side by side are one rectangle.
    for (let at = 0; at < devices.length; at += 1) {
      const first = devices[at];
      while (devices[at + 1] === devices[at] + 1) at += 1;
      placed.push({ bar, row, start, end, y: row.y + first * lane, height: (devices[at] - first + 1) * lane });
    }
  }
  placed.sort((a, b) => a.start - b.start || a.bar.run - b.bar.run);
  return { rows, placed, height: y };
}

function ticks(from, to, width) {
  const wanted = (to - from) / Math.max(2, width / 110);
  const step = STEPS.find((one) => one >= wanted) ?? STEPS[STEPS.length - 1];
  const shift = step >= 3600e3 ? new Date(from).getTimezoneOffset() * 60e3 : 0;
  const all = [];
  for (let at = Math.ceil((from - shift) / step) * step + shift; at <= to; at += step) all.push(at);
  return { all, step };
}

const theme = (dark) => (dark
  ? { back: '#15171c', lane: '#1b1e25', edge: '#2b303a', text: '#c3c8d2', soft: '#98a0ae', label: '#f2f4f8', lost: '#e0566c' }
  : { back: '#ffffff', lane: '#f4f5f8', edge: '#dfe2e8', text: '#2a2f3a', soft: '#5c6472', label: '#14171d', lost: '#b3263e' });

// Draws on anything that has `rect`, `text` and `line`: a canvas, or SVG.
export function paint(pen, shape, { from, to, width, height, left, scroll, now, dark = isDark(), hover }) {
  const colours = theme(dark);
  const scale = (width - left) / (to - from);
  const x = (at) => left + (at - from) * scale;
  pen.rect(0, 0, width, height, colours.back);
  const { all, step } = ticks(from, to, width - left);
  for (const row of shape.rows) {
    const y = row.y - scroll + HEAD;
    if (y > height || y + row.height < HEAD) continue;
    pen.rect(left, y, width - left, row.height, colours.lane);
  }
  for (const at of all) pen.line(x(at), HEAD, x(at), height, colours.edge);
  for (const one of shape.placed) {
    const y = one.y - scroll + HEAD;
    if (y > height || y + one.height < HEAD || one.start > to || one.end < from) continue;
    const begin = Math.max(left, x(one.start));
    const end = Math.min(width, x(Math.min(one.end, now)));
    if (end < left) continue;
    const wide = Math.max(1.5, end - begin - 0.5);
    const colour = one.bar.user ? fill(one.bar.user, dark) : (dark ? '#59606e' : '#a7aebb');
    pen.rect(begin, y + 0.5, wide, one.height - 1, colour, hover?.bar.run === one.bar.run);
    const bad = one.bar.state === 'failed' || one.bar.state === 'lost';
    if (bad) pen.rect(Math.max(begin, end - 3), y + 0.5, Math.min(3, wide), one.height - 1, colours.lost);
    if (wide > 46 && one.height >= 12) pen.text(`#${one.bar.task ?? ''} ${one.bar.name ?? ''}`.slice(0, 120), begin + 4, y + one.height / 2 + 4, colours.label, wide - 8);
  }
  if (now >= from && now <= to) pen.line(x(now), HEAD, x(now), height, colours.lost);
  pen.rect(0, HEAD, left - 1, height, colours.back);
  for (const row of shape.rows) {
    const y = row.y - scroll + HEAD;
    if (y > height || y + row.height < HEAD) continue;
    pen.text(row.name.slice(0, 60), 8, y + Math.min(row.height / 2 + 4, 14), colours.text, left - 14);
  }
  pen.rect(0, 0, width, HEAD, colours.back);
  for (const at of all) if (x(at) < width - 30) pen.text(timeOf(at, step), x(at) + 4, 16, colours.soft, 100);
  pen.line(0, HEAD, width, HEAD, colours.edge);
}

export function canvasPen(pen) {
  pen.font = '11px system-ui, sans-serif';
  return {
    rect(x, y, width, height, colour, marked) {
      pen.fillStyle = colour;
      pen.fillRect(x, y, width, height);
      if (marked) { pen.strokeStyle = isDark() ? '#fff' : '#000'; pen.lineWidth = 1.5; pen.strokeRect(x, y, width, height); }
    },
    line(x1, y1, x2, y2, colour) {
      pen.strokeStyle = colour;
      pen.lineWidth = 1;
      pen.beginPath();
      pen.moveTo(Math.round(x1) + 0.5, y1 + 0.5);
      pen.lineTo(Math.round(x2) + 0.5, y2 + 0.5);
      pen.stroke();
    },
    text(text, x, y, colour, room) {
      pen.fillStyle = colour;
      let shown = text;
      if (pen.measureText(shown).width > room) {
        let most = Math.max(0, Math.floor(room / 5.5));
        while (most > 0 && pen.measureText(`${text.slice(0, most)}…`).width > room) most -= 1;
        shown = most > 1 ? `${text.slice(0, most)}…` : '';
      }
      pen.fillText(shown, x, y);
    },
  };
}

const escape = (text) => String(text).replace(/[&<>"']/g, (one) => `&#${one.charCodeAt(0)};`).replace(/[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu, '?');

export function svg(shape, options) {
  const height = shape.height + HEAD + 4;
  const parts = [];
  let clips = 0;
  const fixed = (value) => Number(value.toFixed(2));
  const pen = {
    rect(x, y, width, high, colour) { if (width > 0 && high > 0) parts.push(`<rect x="${fixed(x)}" y="${fixed(y)}" width="${fixed(width)}" height="${fixed(high)}" fill="${colour}"/>`); },
    line(x1, y1, x2, y2, colour) { parts.push(`<path d="M${fixed(x1)} ${fixed(y1)}L${fixed(x2)} ${fixed(y2)}" stroke="${colour}"/>`); },
    text(text, x, y, colour, room) {
      clips += 1;
      parts.push(`<clipPath id="c${clips}"><rect x="${fixed(x)}" y="${fixed(y - 14)}" width="${fixed(Math.max(0, room))}" height="20"/></clipPath><text x="${fixed(x)}" y="${fixed(y)}" fill="${colour}" clip-path="url(#c${clips})">${escape(text)}</text>`);
    },
  };
  paint(pen, shape, { ...options, scroll: 0, height });
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${options.width}" height="${height}" viewBox="0 0 ${options.width} ${height}" font-family="system-ui, sans-serif" font-size="11"><title>${escape(`${fullTime(options.from)} – ${fullTime(options.to)}`)}</title>${parts.join('')}</svg>`;
}

// The last one drawn there, which lies on top.
export function find(shape, { x, y, from, to, width, left, scroll, now }) {
  if (x < left || y < HEAD) return null;
  const scale = (width - left) / (to - from);
  const at = from + (x - left) / scale;
  const reach = 2 / scale;
  const deep = y - HEAD + scroll;
  for (let index = shape.placed.length - 1; index >= 0; index -= 1) {
    const one = shape.placed[index];
    if (one.start - reach <= at && Math.min(one.end, now) + reach >= at && one.y <= deep && one.y + one.height >= deep) return one;
  }
  return null;
}
