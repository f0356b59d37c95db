// Who may hold how much, and what of it they hold; changed with a look at what that does.
import { html, useMemo, useState } from '../lib.js';
import { PRIORITIES } from '../act.js';
import { get } from '../api.js';
import { holdings } from '../cluster.js';
import { fullTime, number } from '../format.js';
import { t, word } from '../i18n.js';
import { PreviewDialog } from '../preview.js';
import { useResource } from '../store.js';
import { Dialog, Empty, Field, Name, Person, Section, Select, Trouble, Wait } from '../ui.js';

const KEY = ['user', 'group', 'priority', 'team', 'model', 'cap'];
const limit = (value) => (value === undefined || value === null ? '–' : value === 'unlimited' ? t('rights.unlimited') : number(value));
const keyOf = (right) => Object.fromEntries(KEY.filter((name) => right[name]).map((name) => [name, right[name]]));
// All pages, as far as they are worth the while.
const PAGES_MAX = 10;
async function all(path, options) {
  const tasks = [];
  let next = null;
  for (let page = 0; page < PAGES_MAX; page += 1) {
    const said = await get(next == null ? path : `${path}&before=${next}`, options);
    tasks.push(...said.tasks);
    next = said.next;
    if (next == null) break;
  }
  return tasks;
}
const nameOf = (right) => KEY.map((name) => right[name] ?? '').join('\n');

function Bar({ used, of }) {
  if (typeof of !== 'number') return html`<span>${number(used)}</span>`;
  return html`<span class="used"><span class=${`bar ${used > of ? 'over' : ''}`}><i style=${{ width: `${Math.min(100, of ? used / of * 100 : used ? 100 : 0)}%` }}></i></span>${number(used)} / ${number(of)}</span>`;
}

function Edit({ right, onClose, onPreview }) {
  const [row, set] = useState({ user: '', group: '', priority: '', team: '', model: '', cap: false, nodes: '', devices: '', expires: '', ...Object.fromEntries(Object.entries(right ?? {}).filter(([, value]) => value != null)) });
  const [wrong, say] = useState('');
  const put = (name) => (event) => set({ ...row, [name]: event.currentTarget.type === 'checkbox' ? event.currentTarget.checked : event.currentTarget.value });
  const submit = (event) => {
    event.preventDefault();
    const next = Object.fromEntries(KEY.filter((name) => row[name]).map((name) => [name, row[name]]));
    for (const name of ['nodes', 'devices']) {
      const text = String(row[name]).trim();
      if (!text) continue;
      if (text !== 'unlimited' && !/^\d+(\.\d+)?$/.test(text)) { say(t('rights.notNumber', { text })); return; }
      next[name] = text === 'unlimited' ? text : Number(text);
    }
    if (next.nodes === undefined && next.devices === undefined) { say(t('rights.needsLimit')); return; }
    if (row.expires) {
      const at = new Date(row.expires);
      if (Number.isNaN(at.getTime())) { say(t('rights.notTime')); return; }
      next.expires = at.toISOString();
    }
    onPreview({ right: next });
  };
  const fixed = Boolean(right);
  const text = (name, props = {}) => html`<${Field} label=${t(name)} hint=${props.hint}><input name=${name} value=${row[name]} onInput=${put(name)} readonly=${props.fixed} placeholder=${props.placeholder ?? t('rights.every')} autocomplete="off" spellcheck="false" /></${Field}>`;
  return html`<${Dialog} title=${t(fixed ? 'rights.edit' : 'rights.add')} onClose=${onClose}><form class="form" onSubmit=${submit}>
    <div class="two">${text('user', { fixed })}${text('group', { fixed })}
      <${Field} label=${t('priority')}><select name="priority" value=${row.priority} disabled=${fixed} onChange=${put('priority')}><option value="">${t('rights.every')}</option>${PRIORITIES.map((one) => html`<option value=${one} selected=${one === row.priority}>${word('priority', one)}</option>`)}</select></${Field}>
      ${text('model', { fixed })}${text('team', { fixed, placeholder: '' })}
      <label class="check"><input type="checkbox" name="cap" checked=${row.cap} disabled=${fixed} onChange=${put('cap')} />${t('rights.cap')}</label>
      ${text('nodes', { placeholder: '', hint: t('rights.hintNodes') })}${text('devices', { placeholder: '', hint: t('rights.hintDevices') })}
      <${Field} label=${t('rights.expires')}><input name="expires" type="datetime-local" value=${row.expires ? local(row.expires) : ''} onInput=${put('expires')} /></${Field}></div>
    <div class="wrong" role="alert">${wrong}</div>
    <footer><button type="button" onClick=${onClose}>${t('cancel')}</button><button type="submit" class="main" id="to-preview">${t('preview.look')}</button></footer></form></${Dialog}>`;
}

const local = (at) => {
  const date = new Date(at);
  return Number.isNaN(date.getTime()) ? at : new Date(date - date.getTimezoneOffset() * 60e3).toISOString().slice(0, 16);
};

export function Rights({ me }) {
  const { data, problem, reload } = useResource('/v1/rights', { every: 30_000 });
  const teams = useResource('/v1/teams', { every: 60_000 });
  const holders = useResource('/v1/tasks?state=starting,running,suspending,stopping&limit=1000', { on: true, read: all });
  const [search, find] = useState('');
  const [editing, edit] = useState(null);
  const [changes, preview] = useState(null);
  const operator = me.role === 'operator';
  const held = useMemo(() => holdings(holders.data ?? []), [holders.data]);
  const rows = (data?.rights ?? []).filter((right) => !search || KEY.some((name) => String(right[name] ?? '').toLowerCase().includes(search.toLowerCase())));
  const used = (right, field) => {
    let sum = 0;
    for (const one of held.values()) if ((!right.user || right.user === one.user) && (!right.group || right.group === one.group) && (!right.priority || right.priority === one.priority)) sum += one[field];
    return sum;
  };
  const every = html`<span class="muted">${t('rights.every')}</span>`;
  return html`<div class="page-head"><h1>${t('nav.rights')}</h1><div class="filters">
      <input type="search" aria-label=${t('rights.find')} placeholder=${t('rights.find')} value=${search} onInput=${(event) => find(event.currentTarget.value)} />
      ${operator && html`<button type="button" class="main" id="add-right" onClick=${() => edit({})}>${t('rights.add')}</button>`}</div></div>
    <${Trouble} problem=${problem} again=${reload} />
    <${Section} id="rights" title=${t('rights.rows')}>${!data ? !problem && html`<${Wait} />` : rows.length === 0 ? html`<${Empty}>${t('rights.none')}</${Empty}>` : html`<div class="scroll" tabindex="0" role="group" aria-label=${t('rights.rows')}><table><thead><tr><th>${t('user')}</th><th>${t('group')}</th><th>${t('priority')}</th><th>${t('rights.bounds')}</th><th class="num">${t('nodes')}</th><th class="num">${t('devices')}</th><th>${t('rights.held')}</th><th>${t('rights.expires')}</th>${operator && html`<th><span class="sr">${t('actions')}</span></th>`}</tr></thead>
      <tbody>${rows.slice(0, 1000).map((right) => html`<tr key=${nameOf(right)} data-right=${right.user ?? right.team ?? '*'}><td>${right.user ? html`<${Person} name=${right.user} />` : right.team ? html`${t('team')} <${Name} of=${right.team} />` : every}</td><td>${right.group ? html`<${Name} of=${right.group} />` : every}</td>
        <td>${right.priority ? word('priority', right.priority) : every}</td><td>${[right.model, right.cap && t('rights.capShort')].filter(Boolean).join(' · ') || '–'}</td><td class="num">${limit(right.nodes)}</td><td class="num">${limit(right.devices)}</td>
        <td>${right.user ? html`<${Bar} used=${used(right, 'devices')} of=${right.model ? null : right.devices} />` : ''}</td><td>${right.expires ? fullTime(right.expires) : '–'}</td>
        ${operator && html`<td class="row-acts"><button type="button" class="edit" onClick=${() => edit(right)}>${t('edit')}</button><button type="button" class="danger" onClick=${() => preview({ title: t('rights.remove'), changes: [{ remove_right: keyOf(right) }] })}>${t('rights.remove')}</button></td>`}</tr>`)}</tbody></table></div>`}</${Section}>
    ${operator && held.size > 0 && html`<${Section} id="holdings" title=${t('rights.holdings')}><table><thead><tr><th>${t('user')}</th><th>${t('group')}</th><th>${t('priority')}</th><th class="num">${t('devices')}</th><th class="num">${t('nodes')}</th></tr></thead><tbody>
      ${[...held.values()].sort((a, b) => b.devices - a.devices || (a.user < b.user ? -1 : 1)).slice(0, 200).map((one) => html`<tr key=${one.user + one.group + one.priority}><td><${Person} name=${one.user} /></td><td><${Name} of=${one.group} /></td><td>${word('priority', one.priority)}</td><td class="num">${number(one.devices)}</td><td class="num">${number(one.nodes)}</td></tr>`)}</tbody></table></${Section}>`}
    ${teams.data?.teams?.length > 0 && html`<${Section} id="teams" title=${t('rights.teams')}><div class="scroll" tabindex="0" role="group" aria-label=${t('rights.teams')}><table><thead><tr><th>${t('team')}</th><th>${t('rights.parent')}</th><th>${t('rights.members')}</th><th>${t('rights.pools')}</th></tr></thead><tbody>
      ${teams.data.teams.map((team) => html`<tr key=${team.name}><td><${Name} of=${team.name} /></td><td>${team.parent ? html`<${Name} of=${team.parent} />` : '–'}</td><td>${(team.members ?? []).slice(0, 30).map((one) => html`<${Person} key=${one} name=${one} /> `)}</td>
        <td>${(team.pools ?? []).map((pool) => html`<div key=${pool.group}><${Name} of=${pool.group} />: ${t('rights.pool', { nodes: limit(pool.nodes), devices: limit(pool.devices) })}</div>`)}</td></tr>`)}</tbody></table></div></${Section}>`}
    ${editing && html`<${Edit} right=${nameOf(editing).trim() || editing.devices !== undefined || editing.nodes !== undefined ? editing : null} onClose=${() => edit(null)} onPreview=${(change) => { edit(null); preview({ title: t('rights.preview'), changes: [change] }); }} />`}
    ${changes && html`<${PreviewDialog} title=${changes.title} changes=${changes.changes} onClose=${(done) => { preview(null); if (done) reload(); }} />`}`;
}
