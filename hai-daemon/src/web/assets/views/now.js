// What is: every device and who holds it, the last day, and who waits.
import { html, useLayoutEffect, useMemo, useRef, useState } from '../lib.js';
import { Chart } from '../chart.js';
import { devicesOf, healthOf, summary } from '../cluster.js';
import { asks, hue, memory, number, percent, time } from '../format.js';
import { t, word } from '../i18n.js';
import { DeviceMap } from '../map.js';
import { readNodes } from '../nodes.js';
import { Link } from '../router.js';
import { useCan, useNow, useResource } from '../store.js';
import { Ago, Empty, Name, Person, Rows, Section, Select, Start, State, TaskLink, Trouble, Wait } from '../ui.js';

const CARD_MIN = 286;
const GAP = 10;
// With more than these the map shows them all, and cards scroll.
const MANY = 24;
const NONE = [];

function Fact({ name, value, of, tone, id }) {
  return html`<div class=${`fact ${tone ?? ''}`} id=${id}><dt>${name}</dt><dd>${value}${of != null && html`<small> / ${of}</small>`}</dd></div>`;
}

function Tile({ node, entry, index }) {
  const { device, holders, kind } = entry;
  const use = device.usage ?? {};
  const holder = holders[0];
  const name = holder ? holders.map((one) => one.user ?? t('somebody')).join(', ') : word('device', kind);
  const hot = use.temperature_c != null && use.slowdown_c != null && use.temperature_c >= use.slowdown_c - 5;
  const told = [node.name, `${index}`, device.model, memory(device.memory_mib), name.slice(0, 200), device.reason ?? '',
    use.utilisation_percent != null ? `${use.utilisation_percent}%` : '', use.temperature_c != null ? `${use.temperature_c} °C` : ''].filter(Boolean).join(' · ');
  const style = holder?.user ? { '--hue': String(hue(holder.user)) } : {};
  const inside = html`
    <span class="tile-top"><span>${index}</span><span class=${hot ? 'hot' : ''}>${use.temperature_c != null ? `${use.temperature_c}°` : ''}</span></span>
    <bdi class="tile-name" dir="auto">${name.slice(0, 60)}</bdi>
    <span class="tile-use">${use.memory_used_mib != null && html`<span class="bar"><i style=${{ width: percent(use.memory_used_mib / Math.max(1, device.memory_mib)) }}></i></span>`}
      <span>${use.utilisation_percent != null ? `${use.utilisation_percent}%` : memory(device.memory_mib)}</span></span>`;
  const classes = `tile ${kind} ${holder && !holder.user ? 'others' : ''}`;
  return holder?.task != null
    ? html`<${Link} to=${`tasks/${holder.task}`} class=${classes} style=${style} title=${told}>${inside}</${Link}>`
    : html`<div class=${classes} style=${style} title=${told} role="img" aria-label=${told}>${inside}</div>`;
}

function Card({ node }) {
  const health = healthOf(node);
  const models = [...new Set(node.devices.map((device) => device.model))].join(', ');
  return html`<article class="node" data-node=${node.name} aria-label=${node.name}>
    <header><${Link} to=${`nodes/${encodeURIComponent(node.name)}`} class="node-name"><${Name} of=${node.name} /></${Link}>
      ${health !== 'well' && html`<span class=${`badge ${health}`}>${word('node', health)}</span>`}
      <span class="muted node-model" dir="auto">${models}</span></header>
    <div class="tiles">${devicesOf(node).map((entry, index) => html`<${Tile} key=${entry.device.id} node=${node} entry=${entry} index=${index} />`)}</div>
  </article>`;
}

function Cards({ nodes, listRef }) {
  const box = useRef();
  const [columns, set] = useState(1);
  useLayoutEffect(() => {
    const look = () => set(Math.max(1, Math.floor((box.current.clientWidth + GAP) / (CARD_MIN + GAP))));
    const watch = new ResizeObserver(look);
    watch.observe(box.current);
    look();
    return () => watch.disconnect();
  }, []);
  const deep = Math.max(1, ...nodes.map((node) => Math.ceil(node.devices.length / 4)));
  const height = 42 + deep * 60 + GAP;
  const rows = Math.ceil(nodes.length / columns);
  const row = (index) => html`<div class="card-row" key=${index} style=${{ height: `${height}px`, '--columns': String(columns) }}>
    ${nodes.slice(index * columns, (index + 1) * columns).map((node) => html`<${Card} key=${node.name} node=${node} />`)}</div>`;
  return html`<div ref=${box}>${nodes.length <= MANY
    ? html`<div class="cards-all">${Array.from({ length: rows }, (_, index) => row(index))}</div>`
    : html`<${Rows} class="cards" count=${rows} height=${height} row=${row} role="region" label=${t('now.devices')} listRef=${listRef} key=${columns} />`}</div>`;
}

function Occupancy() {
  const now = useNow(60_000);
  const step = 600;
  const to = Math.floor(now / 60_000) * 60_000;
  const path = `/v1/occupancy?from=${new Date(to - 86400e3).toISOString()}&to=${new Date(to).toISOString()}&step=${step}s`;
  const { data, problem } = useResource(path);
  const lines = useMemo(() => data && [
    { label: t('now.busy'), values: data.points.map((one) => one.devices_busy), fill: true, stepped: true },
    { label: t('now.total'), values: data.points.map((one) => one.devices_total), stepped: true, dash: [4, 4] },
    { label: t('now.waitingTasks'), values: data.points.map((one) => one.waiting_tasks), stepped: true },
  ], [data, t('now.busy')]);
  if (problem && !data) return problem.status === 404 ? null : html`<${Section} id="occupancy" title=${t('now.day')}><${Trouble} problem=${problem} /></${Section}>`;
  return html`<${Section} id="occupancy" title=${t('now.day')}>
    ${data ? html`<${Chart} label=${t('now.day')} times=${data.points.map((one) => Date.parse(one.at) / 1000)} lines=${lines} height=${170} format=${number} />` : html`<${Wait} />`}
    ${data?.known_from && Date.parse(data.known_from) > to - 86400e3 && html`<p class="muted small">${t('now.knownFrom', { at: time(data.known_from) })}</p>`}
  </${Section}>`;
}

const waits = (event) => event.task.state !== 'finished' || event.task.runs === 0;

function Line({ can }) {
  const has = can?.path('/v1/queue');
  const path = can && (has ? '/v1/queue?limit=100' : '/v1/tasks?state=waiting,suspended,promised,held&limit=100');
  const { data, problem, reload } = useResource(path, { on: waits, every: 10_000 });
  const items = data && (data.items ?? data.tasks.map((task) => ({ ...task, submitted: task.submitted_at, asks: asks(task) })));
  return html`<${Section} id="line" title=${t('now.line')} actions=${data?.total != null ? html`<span class="muted">${t('now.lineTotal', { n: number(data.total) })}</span>` : ''}>
    <${Trouble} problem=${problem} again=${reload} />
    ${!items ? !problem && html`<${Wait} />` : items.length === 0 ? html`<${Empty}>${t('now.lineEmpty')}</${Empty}>` : html`<ul class="line-list">
      ${items.map((one) => html`<li key=${one.id} data-task=${one.id}>
        <div class="line-who"><${TaskLink} id=${one.id}><span class="id">#${one.id}</span> <${Name} of=${one.name} /></${TaskLink}><${Person} name=${one.user} /></div>
        <div class="line-asks muted">${word('priority', one.priority)} · ${typeof one.asks === 'string' ? one.asks : asks(one.asks)} · <${Ago} at=${one.submitted} /></div>
        ${one.why ? html`<div class="line-why" lang="en" dir="auto">${one.why.sentence ?? one.why}</div>` : one.state && html`<${State} task=${one} />`}
        ${has && html`<div class="line-when"><span>${t('when.half')} <${Start} at=${one.p50} /></span><span>${t('when.most')} <${Start} at=${one.p90} /></span></div>`}
      </li>`)}</ul>`}
  </${Section}>`;
}

export function Now() {
  const can = useCan();
  const { data, problem, loading, reload } = useResource('/v1/nodes', { on: true, every: 10_000, read: readNodes });
  const [group, choose] = useState('');
  const [search, find] = useState('');
  const list = useRef();
  const all = data?.nodes ?? NONE;
  const groups = data?.groups ?? [];
  const nodes = useMemo(() => (!group && !search ? all : all.filter((node) => (!group || node.group === group) && (!search || node.name.includes(search)))), [data, group, search]);
  const sum = useMemo(() => (nodes === all && data ? data.sum : summary(nodes)), [nodes]);
  const pick = (node) => {
    const box = list.current;
    if (!box) return;
    const rows = Math.max(1, box.querySelector('.card-row')?.offsetHeight ?? 1);
    const columns = Number(box.querySelector('.card-row')?.style.getPropertyValue('--columns') || 1);
    box.scrollTo({ top: Math.floor(nodes.indexOf(node) / columns) * rows });
  };
  return html`<h1 class="sr">${t('nav.now')}</h1>
    <dl class="facts" id="facts">
      <${Fact} id="fact-free" name=${t('device.free')} value=${data ? number(sum.free) : '·'} of=${data && number(sum.devices)} tone="good" />
      <${Fact} name=${t('device.held')} value=${data ? number(sum.held) : '·'} />
      ${sum.promised > 0 && html`<${Fact} name=${t('device.promised')} value=${number(sum.promised)} />`}
      ${sum.cordoned > 0 && html`<${Fact} name=${t('device.cordoned')} value=${number(sum.cordoned)} />`}
      <${Fact} name=${t('device.sick')} value=${data ? number(sum.sick) : '·'} tone=${sum.sick ? 'bad' : ''} />
      ${sum.stranger > 0 && html`<${Fact} name=${t('device.stranger')} value=${number(sum.stranger)} tone="warn" />`}
      ${sum.away > 0 && html`<${Fact} name=${t('device.away')} value=${number(sum.away)} tone="bad" />`}
      <${Fact} name=${t('nodes')} value=${data ? number(sum.nodes) : '·'} />
    </dl>
    <div class="now">
      <div class="now-main">
        <${Section} id="devices" title=${t('now.devices')} actions=${html`
          ${all.length > 6 && html`<input type="search" aria-label=${t('now.find')} placeholder=${t('now.find')} value=${search} onInput=${(event) => find(event.currentTarget.value)} />`}
          ${groups.length > 1 && html`<${Select} label=${t('group')} value=${group} onChange=${choose} options=${[['', t('allGroups')], ...groups.map((one) => [one, one])]} />`}`}>
          <${Trouble} problem=${problem} again=${reload} />
          ${loading && !data ? html`<${Wait} />` : html`
            <ul class="legend">${['free', 'held', 'promised', 'cordoned', 'sick', 'stranger', 'away'].filter((kind) => kind === 'free' || kind === 'held' || sum[kind]).map((kind) => html`<li key=${kind}><i class=${`swatch ${kind}`}></i>${t(`device.${kind}`)}</li>`)}
              ${[...sum.models].slice(0, 4).map(([model, count]) => html`<li key=${model} class="model"><b dir="auto">${model}</b> ${t('now.freeOf', { free: number(count.free), all: number(count.all) })}</li>`)}</ul>
            ${nodes.length > MANY && html`<${DeviceMap} nodes=${nodes} onPick=${pick} />`}
            ${nodes.length ? html`<${Cards} nodes=${nodes} listRef=${list} />` : html`<${Empty}>${t('now.noNodes')}</${Empty}>`}`}
        </${Section}>
      </div>
      <div class="now-side">${can?.path('/v1/occupancy') && html`<${Occupancy} />`}<${Line} can=${can} /></div>
    </div>`;
}
