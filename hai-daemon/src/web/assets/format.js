// Numbers, times and names as people read them.
import { current, t } from './i18n.js';

const formats = new Map();

function format(kind, options) {
  const key = current() + kind;
  if (!formats.has(key)) formats.set(key, new Intl[options.of](current(), options));
  return formats.get(key);
}

export const number = (value) => format('number', { of: 'NumberFormat', maximumFractionDigits: 1 }).format(value);

export const percent = (part) => `${Math.round(part * 100)}%`;

const WHEN = { of: 'DateTimeFormat', hourCycle: 'h23' };
const full = () => format('full', { ...WHEN, year: 'numeric', month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit', second: '2-digit' });
const day = () => format('day', { ...WHEN, month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit' });
const clock = () => format('clock', { ...WHEN, hour: '2-digit', minute: '2-digit' });
const seconds = () => format('seconds', { ...WHEN, hour: '2-digit', minute: '2-digit', second: '2-digit' });

export const fullTime = (at) => full().format(new Date(at));

// As short as it is clear.
export function time(at, now = Date.now()) {
  const date = new Date(at);
  return (Math.abs(date - now) < 12 * 3600e3 ? clock() : day()).format(date);
}
export const timeOf = (at, step) => (step < 60e3 ? seconds() : step < 12 * 3600e3 ? clock() : day()).format(new Date(at));

export function span(ms) {
  const s = Math.max(0, Math.round(ms / 1000));
  if (s < 60) return t('span.s', { s });
  const m = Math.floor(s / 60);
  if (m < 60) return m < 10 && s % 60 ? t('span.ms', { m, s: s % 60 }) : t('span.m', { m });
  const h = Math.floor(m / 60);
  if (h < 48) return m % 60 ? t('span.hm', { h, m: m % 60 }) : t('span.h', { h });
  return t('span.d', { d: number(h / 24) });
}

export function ago(at, now = Date.now()) {
  const past = now - new Date(at);
  if (Math.abs(past) < 5000) return t('span.now');
  return past > 0 ? t('span.ago', { span: span(past) }) : t('span.in', { span: span(-past) });
}

// Device time, given in seconds.
export const deviceTime = (value) => (value < 3600 ? t('span.deviceMinutes', { n: number(value / 60) }) : t('span.deviceHours', { n: number(value / 3600) }));

export const memory = (mib) => (mib >= 1024 ? `${number(mib / 1024)} GiB` : `${mib} MiB`);

// Spans that the API writes, such as `1h30m`, in ms.
export function readSpan(text) {
  const unit = { ms: 1, s: 1e3, m: 60e3, h: 3600e3, d: 86400e3 };
  let sum = 0;
  for (const [, count, name] of String(text ?? '').matchAll(/([\d.]+)\s*(ms|s|m|h|d)/g)) sum += Number(count) * unit[name];
  return sum;
}

// The same name has the same colour everywhere; names that are alike have colours far apart.
export function hue(name) {
  let hash = 2166136261;
  for (let at = 0; at < Math.min(name.length, 256); at += 1) hash = Math.imul(hash ^ name.charCodeAt(at), 16777619);
  hash = Math.imul(hash ^ (hash >>> 16), 2246822507);
  hash = Math.imul(hash ^ (hash >>> 13), 3266489909);
  return ((hash ^ (hash >>> 16)) >>> 0) % 36 * 10;
}

export const isDark = () => {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
};

// For canvases and exported pictures; `base.css` has the same for the rest.
export const fill = (name, dark = isDark()) => (dark ? `hsl(${hue(name)} 42% 38%)` : `hsl(${hue(name)} 58% 72%)`);

// What a task asks for, in a few words.
export function asks(task) {
  const per = task.whole_node ? t('asks.node')
    : task.share ? t('asks.share', { n: number(task.share) })
      : task.share_memory_mib ? t('asks.memory', { n: memory(task.share_memory_mib) })
        : task.devices ? t('asks.devices', { n: task.devices }) : t('asks.cpu', { n: number(task.cpu || 0) });
  return task.workers > 1 ? `${task.workers} × ${per}` : per;
}
