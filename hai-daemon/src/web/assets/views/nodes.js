// All nodes: how they are, what their agents last said, and taking them out of work with a look at what that does.
import { html, useMemo, useState } from '../lib.js';
import { healthOf, devicesOf } from '../cluster.js';
import { hue, memory, number, percent } from '../format.js';
import { t, word } from '../i18n.js';
import { readNodes } from '../nodes.js';
import { PreviewDialog } from '../preview.js';
import { Link, go } from '../router.js';
import { useCan, useNow, useResource } from '../store.js';
import { Ago, Dialog, Empty, Name, Person, Rows, TaskLink, Trouble, Wait } from '../ui.js';
import { DeviceCharts } from './task.js';

const HEIGHT = 44;

// What may be done to a node as it is; `can` says what the server knows of.
function changesOf(node, can) {
  const back = can.change('uncordon') ? 'uncordon' : 'undrain';
  return [
    !node.cordoned && !node.draining && can.change('cordon') && 'cordon',
    !node.draining && 'drain',
    (node.cordoned || node.draining) && (node.draining && !can.change('uncordon') ? 'undrain' : back),
  ].filter(Boolean);
}

function Mini({ node }) {
  return html`<span class="mini" aria-hidden="true">${devicesOf(node).slice(0, 16).map((entry, index) => html`<i key=${index} class=${`swatch ${entry.kind} ${entry.holders[0] && !entry.holders[0].user ? 'others' : ''}`} style=${entry.holders[0]?.user ? { '--hue': String(hue(entry.holders[0].user)) } : {}}></i>`)}</span>`;
}

function NodeDialog({ node, me, can, onChange }) {
  const now = useNow(60_000);
  const to = Math.ceil(now / 60_000) * 60_000;
  const close = () => go('nodes');
  return html`<${Dialog} title=${html`<${Name} of=${node.name} />`} onClose=${close} wide>
    <p><span class=${`badge ${healthOf(node)}`}>${word('node', healthOf(node))}</span> <span class="muted">${node.group} · ${number(node.cpu - node.free_cpu)} / ${number(node.cpu)} ${t('cores')} · ${memory(node.memory_mib - node.free_memory_mib)} / ${memory(node.memory_mib)}</span></p>
    <p class="muted">${node.reported_at ? html`${t('nodes.reported')} <${Ago} at=${node.reported_at} />` : t('nodes.neverReported')}${node.driver ? ` · ${t('nodes.driver', { version: node.driver })}` : ''}${[node.zone, node.spine, node.leaf].filter(Boolean).length ? ` · ${[node.zone, node.spine, node.leaf].filter(Boolean).join(' / ')}` : ''}</p>
    ${(node.notes ?? []).map((note, index) => html`<p class="note" key=${index} dir="auto">${note}</p>`)}
    ${me.role === 'operator' && can && html`<div class="acts">${changesOf(node, can).map((change) => html`<button type="button" key=${change} class=${change === 'drain' ? 'danger' : ''} onClick=${() => onChange(node, change)}>${t(`nodes.${change}`)}</button>`)}</div>`}
    <div class="scroll"><table><thead><tr><th>#</th><th>${t('model')}</th><th>${t('memory')}</th><th>${t('nodes.health')}</th><th class="num">${t('chart.util')}</th><th class="num">°C</th><th class="num">W</th><th>${t('nodes.holder')}</th></tr></thead>
      <tbody>${devicesOf(node).map(({ device, holders, kind }, index) => html`<tr key=${device.id}><td>${index}</td><td><${Name} of=${device.model + (device.mig_profile ? ` ${device.mig_profile}` : '')} /></td>
        <td>${device.usage?.memory_used_mib != null ? `${memory(device.usage.memory_used_mib)} / ` : ''}${memory(device.memory_mib)}</td>
        <td><span class=${`badge ${device.health === 'healthy' ? 'well' : device.health}`}>${word('health', device.health)}</span>${device.reason && html` <small dir="auto">${device.reason}</small>`}</td>
        <td class="num">${device.usage?.utilisation_percent != null ? percent(device.usage.utilisation_percent / 100) : '–'}</td><td class="num">${device.usage?.temperature_c ?? '–'}</td><td class="num">${device.usage?.power_mw != null ? number(device.usage.power_mw / 1000) : '–'}</td>
        <td>${holders.length ? holders.map((one, at) => html`<span key=${at}>${one.task != null ? html`<${TaskLink} id=${one.task} /> ` : ''}<${Person} name=${one.user} /> </span>`) : word('device', kind)}</td></tr>`)}</tbody></table></div>
    ${can?.path('/v1/nodes/{name}/devices/history') && html`<h3>${t('nodes.day')}</h3><${DeviceCharts} node=${node.name} from=${new Date(to - 86400e3).toISOString()} to=${new Date(to).toISOString()} />`}
  </${Dialog}>`;
}

export function Nodes({ at, me }) {
  const can = useCan();
  const { data, problem, loading, reload } = useResource('/v1/nodes', { on: true, every: 10_000, read: readNodes });
  const [search, find] = useState('');
  const [only, setOnly] = useState(false);
  const [changing, change] = useState(null);
  const nodes = useMemo(() => (data?.nodes ?? []).filter((node) => (!search || node.name.includes(search) || node.group.includes(search)) && (!only || healthOf(node) !== 'well')), [data, search, only]);
  const chosen = at.rest[0] && data?.nodes.find((node) => node.name === at.rest[0]);
  const begin = (node, kind) => { if (at.rest[0]) go('nodes'); change({ node, kind }); };
  const row = (index) => {
    const node = nodes[index];
    const health = healthOf(node);
    return html`<div class="row" role="row" key=${node.name} aria-rowindex=${index + 2} data-node=${node.name} style=${{ height: `${HEIGHT}px` }}>
      <div role="gridcell" class="c-node"><${Link} to=${`nodes/${encodeURIComponent(node.name)}`}><${Name} of=${node.name} /></${Link}></div>
      <div role="gridcell" class="c-health"><span class=${`badge ${health}`}>${word('node', health)}</span></div>
      <div role="gridcell" class="c-map"><${Mini} node=${node} /><span class="muted">${t('now.freeOf', { free: node.free_devices, all: node.devices.length })}</span></div>
      <div role="gridcell" class="c-group"><${Name} of=${node.group} /></div>
      <div role="gridcell" class="c-model muted"><${Name} of=${[...new Set(node.devices.map((device) => device.model))].join(', ')} /></div>
      <div role="gridcell" class="c-said">${node.reported_at ? html`<${Ago} at=${node.reported_at} />` : html`<span class="muted">${t('nodes.neverReported')}</span>`}</div>
      <div role="gridcell" class="c-acts">${me.role === 'operator' && can && changesOf(node, can).map((kind) => html`<button type="button" key=${kind} data-act=${kind} onClick=${() => begin(node, kind)}>${t(`nodes.${kind}`)}</button>`)}</div>
    </div>`;
  };
  return html`<div class="page-head"><h1>${t('nav.nodes')}</h1><div class="filters">
      <input type="search" aria-label=${t('now.find')} placeholder=${t('now.find')} value=${search} onInput=${(event) => find(event.currentTarget.value)} />
      <label class="check"><input type="checkbox" checked=${only} onChange=${(event) => setOnly(event.currentTarget.checked)} />${t('nodes.onlyUnwell')}</label></div></div>
    <${Trouble} problem=${problem} again=${reload} />
    ${loading && !data ? html`<${Wait} />` : nodes.length === 0 ? html`<${Empty}>${t('now.noNodes')}</${Empty}>` : html`<${Rows} class="nodes" role="grid" label=${t('nav.nodes')} count=${nodes.length} height=${HEIGHT} row=${row}
      top=${html`<div class="row head" role="row" aria-rowindex="1"><div role="columnheader" class="c-node">${t('node')}</div><div role="columnheader" class="c-health">${t('nodes.health')}</div><div role="columnheader" class="c-map">${t('devices')}</div><div role="columnheader" class="c-group">${t('group')}</div><div role="columnheader" class="c-model">${t('model')}</div><div role="columnheader" class="c-said">${t('nodes.reported')}</div><div role="columnheader" class="c-acts"><span class="sr">${t('actions')}</span></div></div>`} />`}
    ${chosen && !changing && html`<${NodeDialog} node=${chosen} me=${me} can=${can} onChange=${begin} />`}
    ${changing && html`<${PreviewDialog} title=${t(`nodes.${changing.kind}.title`, { name: changing.node.name })} changes=${[{ [changing.kind]: changing.node.name }]} onClose=${(done) => { change(null); if (done) reload(); }} />`}`;
}
