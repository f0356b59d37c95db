// Lines over time, drawn by uPlot, in the colours of the page.
import { html, useEffect, useLayoutEffect, useRef } from './lib.js';
import { current, t } from './i18n.js';
import { isDark } from './format.js';

let loading = null;
function load() {
  loading ??= import('./vendor/uplot.js').then((module) => new Promise((done) => {
    const link = document.createElement('link');
    link.rel = 'stylesheet';
    link.href = new URL('./vendor/uplot.css', import.meta.url).href;
    link.onload = link.onerror = () => done(module.default);
    document.head.append(link);
  }));
  return loading;
}

export const COLOURS = () => (isDark() ? ['#7f9bff', '#4fc3a1', '#e5a455', '#e07a8b', '#b58be8', '#6fb7e0', '#c9c35a', '#d98bc4']
  : ['#2f4bd8', '#0c7a5b', '#a35c00', '#b3263e', '#7340b8', '#1b6d9c', '#6b6600', '#a0317f']);

// `times` in seconds; `lines` of `{ label, values, fill, stepped, dash, scale }`; `format` writes a value.
export function Chart(props) {
  // A point alone is no line.
  return props.times.length > 1 ? html`<${Plot} ...${props} />` : html`<p class="empty">${t('chart.soon')}</p>`;
}

function Plot({ times, lines, height = 150, label, format = String, range }) {
  const box = useRef();
  const plot = useRef(null);
  const shape = lines.map((line) => line.label).join('\n') + current();
  const data = [times, ...lines.map((line) => line.values)];
  const latest = useRef(data);
  latest.current = data;
  useLayoutEffect(() => {
    let gone = false;
    const draw = async () => {
      const UPlot = await load();
      if (gone || !box.current) return;
      plot.current?.destroy();
      const style = getComputedStyle(document.documentElement);
      const soft = style.getPropertyValue('--soft').trim();
      const grid = { stroke: style.getPropertyValue('--edge').trim(), width: 1 };
      const ticks = { show: false };
      const font = '11px system-ui, sans-serif';
      const colours = COLOURS();
      plot.current = new UPlot({
        width: box.current.clientWidth, height, padding: [8, 6, 0, 0],
        cursor: { y: false, points: { size: 5 } }, legend: { live: true },
        scales: { y: { range: (u, low, high) => range ?? [0, Math.max(1, high * 1.08)] } },
        axes: [{ stroke: soft, grid, ticks, font, size: 26, values: (u, at) => ticksOf(at) },
          { stroke: soft, grid, ticks, font, size: 46, values: (u, at) => at.map(format) }],
        series: [{ label: t('time'), value: (u, at) => (at == null ? '–' : new Date(at * 1000).toLocaleString(current(), { hourCycle: 'h23' })) },
          ...lines.map((line, index) => ({
            label: line.label, stroke: colours[index % colours.length], width: 1.5, points: { show: false },
            fill: line.fill ? `${colours[index % colours.length]}2e` : undefined, dash: line.dash,
            paths: line.stepped ? UPlot.paths.stepped({ align: 1 }) : undefined,
            value: (u, value) => (value == null ? '–' : format(value)),
          }))],
      }, latest.current, box.current);
    };
    draw();
    const size = new ResizeObserver(() => box.current && plot.current?.setSize({ width: box.current.clientWidth, height }));
    size.observe(box.current);
    const media = matchMedia('(prefers-color-scheme: dark)');
    media.addEventListener('change', draw);
    window.addEventListener('hai-theme', draw);
    return () => {
      gone = true;
      size.disconnect();
      media.removeEventListener('change', draw);
      window.removeEventListener('hai-theme', draw);
      plot.current?.destroy();
      plot.current = null;
    };
  }, [shape, height]);
  useEffect(() => { plot.current?.setData(data); }, [times, lines]);
  return html`<div class="chart" role="group" aria-label=${label}><div ref=${box}></div></div>`;
}

function ticksOf(at) {
  const step = at.length > 1 ? at[1] - at[0] : 60;
  const options = step >= 86400 ? { month: 'short', day: 'numeric' }
    : step < 60 ? { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' } : { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' };
  const write = new Intl.DateTimeFormat(current(), options);
  return at.map((one) => write.format(new Date(one * 1000)));
}
