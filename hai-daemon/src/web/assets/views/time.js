// Who held what when: a Gantt over any window, to be dragged and zoomed.
import { html, useEffect, useLayoutEffect, useMemo, useRef, useState } from '../lib.js';
import { get } from '../api.js';
import { fullTime, span } from '../format.js';
import { canvasPen, find, layout, paint, svg } from '../gantt.js';
import { t, useLanguage, word } from '../i18n.js';
import { readNodes } from '../nodes.js';
import { go, setQuery } from '../router.js';
import { useNow, useResource } from '../store.js';
import { Name, Person, Select, TaskLink, Trouble } from '../ui.js';

const LEFT = () => (window.innerWidth < 700 ? 72 : 128);
const BARS_MAX = 50_000;
const SPAN_MIN = 5e3;
const SPAN_MAX = 366 * 86400e3;
const HOURS = [1, 6, 24, 72, 168, 720];
const LISTED = 200;

async function load(path, { signal }) {
  const bars = [];
  let cursor = null;
  let whole = true;
  do {
    const page = await get(`${path}${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ''}`, { signal });
    for (const bar of page.bars) bars.push(bar);
    cursor = page.next;
    // The next page is of the same window, as the answer had it.
    if (bars.length >= BARS_MAX && cursor) { whole = false; break; }
  } while (cursor);
  return { bars, whole };
}

export function Time({ at }) {
  useLanguage();
  const now = useNow(5_000);
  const given = [Number(at.query.get('from')), Number(at.query.get('to'))];
  const [view, setView] = useState(given[0] && given[1] > given[0] ? { from: given[0], to: given[1] } : { from: Date.now() - 24 * 3600e3, to: Date.now() + 3600e3 / 2 });
  const node = at.query.get('node') ?? '';
  const [asked, ask] = useState(view);
  useEffect(() => {
    const timer = setTimeout(() => {
      // Some more than is seen, so that dragging finds something there.
      const room = (view.to - view.from) / 2;
      if (view.from < asked.from || view.to > asked.to || (view.to - view.from) * 8 < asked.to - asked.from || asked === view) ask({ from: view.from - room, to: view.to + room });
      setQuery({ from: Math.round(view.from), to: Math.round(view.to) });
    }, 250);
    return () => clearTimeout(timer);
  }, [view]);
  const path = `/v1/timeline?from=${new Date(asked.from).toISOString()}&to=${new Date(asked.to).toISOString()}&limit=5000${node ? `&node=${encodeURIComponent(node)}` : ''}`;
  const { data, problem, reload } = useResource(path, { read: load, on: true });
  const nodes = useResource('/v1/nodes', { read: readNodes });
  const last = useRef(null);
  if (data) last.current = data;
  const bars = last.current?.bars ?? [];
  const shape = useMemo(() => {
    const lanes = new Map((nodes.data?.nodes ?? []).map((one) => [one.name, one.devices.length]));
    // Nodes that are gone still have their past.
    for (const bar of bars) lanes.set(bar.node, Math.max(lanes.get(bar.node) ?? 1, ...bar.devices.map((index) => index + 1)));
    const shown = [...lanes].filter(([name]) => !node || name === node).map(([name, count]) => ({ name, lanes: count }));
    return layout(shown, bars);
  }, [last.current, nodes.data, node]);

  const canvas = useRef();
  const box = useRef();
  const [hover, setHover] = useState(null);
  const latest = useRef();
  latest.current = { view, shape, hover, now };
  const options = () => {
    const width = canvas.current.clientWidth;
    return { ...latest.current.view, now: Date.now(), width, height: canvas.current.clientHeight, left: LEFT(), scroll: box.current.scrollTop, hover: latest.current.hover };
  };
  const frame = useRef(0);
  const draw = () => {
    cancelAnimationFrame(frame.current);
    frame.current = requestAnimationFrame(() => {
      const target = canvas.current;
      if (!target) return;
      const ratio = window.devicePixelRatio || 1;
      const [width, height] = [target.clientWidth, target.clientHeight];
      if (target.width !== width * ratio || target.height !== height * ratio) { target.width = width * ratio; target.height = height * ratio; }
      const pen = target.getContext('2d');
      pen.setTransform(ratio, 0, 0, ratio, 0, 0);
      paint(canvasPen(pen), latest.current.shape, options());
    });
  };
  useEffect(draw, [view, shape, hover, now]);
  useLayoutEffect(() => {
    const size = new ResizeObserver(draw);
    size.observe(canvas.current);
    window.addEventListener('hai-theme', draw);
    return () => { size.disconnect(); window.removeEventListener('hai-theme', draw); cancelAnimationFrame(frame.current); };
  }, []);

  const zoom = (factor, middle = 0.5) => setView(({ from, to }) => {
    const wide = Math.min(SPAN_MAX, Math.max(SPAN_MIN, (to - from) * factor));
    const fixed = from + (to - from) * middle;
    return { from: fixed - wide * middle, to: fixed + wide * (1 - middle) };
  });
  const move = (part) => setView(({ from, to }) => ({ from: from + (to - from) * part, to: to + (to - from) * part }));
  const showHours = (hours) => setView({ from: Date.now() - hours * 3600e3 * 0.97, to: Date.now() + hours * 3600e3 * 0.03 });
  const drag = useRef(null);
  const down = (event) => {
    drag.current = { x: event.clientX, y: event.clientY, view, scroll: box.current.scrollTop, moved: false };
    event.currentTarget.setPointerCapture(event.pointerId);
  };
  const over = (event) => {
    const held = drag.current;
    const bounds = canvas.current.getBoundingClientRect();
    if (held) {
      const dx = event.clientX - held.x;
      if (Math.abs(dx) + Math.abs(event.clientY - held.y) > 4) held.moved = true;
      if (held.moved) {
        const shift = dx / (bounds.width - LEFT()) * (held.view.to - held.view.from);
        setView({ from: held.view.from - shift, to: held.view.to - shift });
        box.current.scrollTop = held.scroll - (event.clientY - held.y);
      }
      return;
    }
    const found = find(shape, { ...options(), x: event.clientX - bounds.left, y: event.clientY - bounds.top });
    setHover(found && { ...found, x: event.clientX - bounds.left, tipY: event.clientY - bounds.top });
  };
  const up = () => {
    const held = drag.current;
    drag.current = null;
    if (held && !held.moved && hover?.bar.task != null) go(`tasks/${hover.bar.task}`);
  };
  useLayoutEffect(() => {
    const target = canvas.current;
    const wheel = (event) => {
      if (!(event.ctrlKey || event.metaKey || event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY))) return;
      event.preventDefault();
      const bounds = target.getBoundingClientRect();
      if (event.ctrlKey || event.metaKey) zoom(Math.exp(event.deltaY / 300), Math.max(0, (event.clientX - bounds.left - LEFT()) / (bounds.width - LEFT())));
      else move((event.deltaX || event.deltaY) / bounds.width);
    };
    target.addEventListener('wheel', wheel, { passive: false });
    return () => target.removeEventListener('wheel', wheel);
  }, []);
  const keys = (event) => {
    const action = { ArrowLeft: () => move(-0.2), ArrowRight: () => move(0.2), '+': () => zoom(0.6), '=': () => zoom(0.6), '-': () => zoom(1.6), Home: () => showHours(24) }[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  };
  const save = () => {
    const text = svg(shape, { ...view, now: Date.now(), width: 1600, left: 128 });
    const link = document.createElement('a');
    link.href = URL.createObjectURL(new Blob([text], { type: 'image/svg+xml' }));
    link.download = `hai-${new Date(view.from).toISOString().slice(0, 16)}.svg`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  };
  const inView = bars.filter((bar) => Date.parse(bar.start) < view.to && (!bar.end || Date.parse(bar.end) > view.from));
  const names = (nodes.data?.nodes ?? []).map((one) => one.name);
  return html`<div class="page-head"><h1>${t('nav.time')}</h1><div class="filters">
      ${HOURS.map((hours) => html`<button type="button" key=${hours} onClick=${() => showHours(hours)}>${hours < 72 ? t('time.hours', { n: hours }) : t('time.days', { n: hours / 24 })}</button>`)}
      <button type="button" aria-label=${t('time.earlier')} onClick=${() => move(-0.5)}>←</button><button type="button" aria-label=${t('time.later')} onClick=${() => move(0.5)}>→</button>
      <button type="button" aria-label=${t('time.closer')} onClick=${() => zoom(0.5)}>+</button><button type="button" aria-label=${t('time.further')} onClick=${() => zoom(2)}>−</button>
      ${names.length > 1 && html`<${Select} label=${t('node')} value=${node} onChange=${(value) => setQuery({ node: value })} options=${[['', t('allNodes')], ...names.map((name) => [name, name])]} />`}
      <button type="button" id="save-svg" onClick=${save}>${t('time.save')}</button></div></div>
    <${Trouble} problem=${problem} again=${reload} />
    ${last.current && !last.current.whole && html`<p class="note">${t('time.notAll', { n: BARS_MAX })}</p>`}
    <div class="card gantt">
      <div class="gantt-box" ref=${box} onScroll=${draw}><div class="gantt-room" style=${{ height: `${shape.height + 40}px` }}>
        <canvas id="gantt" ref=${canvas} tabindex="0" role="img" aria-label=${t('time.label', { n: inView.length, from: fullTime(view.from), to: fullTime(view.to) })} onKeyDown=${keys}
          onPointerDown=${down} onPointerMove=${over} onPointerUp=${up} onPointerLeave=${() => !drag.current && setHover(null)} class=${hover ? 'over' : ''}></canvas></div></div>
      ${hover && html`<div class="gantt-tip" style=${{ left: `${Math.min(hover.x + 12, (canvas.current?.clientWidth ?? 400) - 280)}px`, top: `${hover.tipY + 14}px` }}><${Tip} bar=${hover.bar} now=${now} /></div>`}
    </div>
    <p class="muted small">${t('time.help')}</p>
    <details class="card pad"><summary>${t('time.list', { n: inView.length })}</summary><div class="scroll"><table><thead><tr><th>${t('task')}</th><th>${t('user')}</th><th>${t('node')}</th><th>${t('devices')}</th><th>${t('time.begin')}</th><th>${t('time.end')}</th><th>${t('time.why')}</th></tr></thead>
      <tbody>${inView.slice(-LISTED).reverse().map((bar, index) => html`<tr key=${index}><td>${bar.task != null ? html`<${TaskLink} id=${bar.task}>#${bar.task} <${Name} of=${bar.name} /></${TaskLink}>` : '–'}</td><td><${Person} name=${bar.user} /></td><td><${Name} of=${bar.node} /></td><td>${bar.devices.join(', ')}</td>
        <td>${fullTime(bar.start)}</td><td>${bar.end ? fullTime(bar.end) : '–'}</td><td lang="en" dir="auto">${[bar.reason_started, bar.reason_ended].filter(Boolean).join(' · ')}</td></tr>`)}</tbody></table></div></details>`;
}

function Tip({ bar, now }) {
  return html`<b>#${bar.task ?? ''} <${Name} of=${bar.name ?? t('somebody')} /></b><div><${Person} name=${bar.user} /></div>
    <div>${t('life.run', { n: bar.attempt })} · ${word('runEnd', bar.state)} · ${span((bar.end ? Date.parse(bar.end) : now) - Date.parse(bar.start))}</div>
    ${bar.reason_started && html`<div class="muted" lang="en" dir="auto">${bar.reason_started}</div>`}${bar.reason_ended && html`<div class="muted" lang="en" dir="auto">${bar.reason_ended}</div>`}`;
}
