// All tasks: found, sorted, chosen, and something done to several of them.
import { html, useEffect, useMemo, useRef, useState } from '../lib.js';
import { Actions } from '../act.js';
import { asks } from '../format.js';
import { t, word } from '../i18n.js';
import { listen } from '../live.js';
import { PAGE, usePages } from '../pages.js';
import { go, setQuery } from '../router.js';
import { useCan } from '../store.js';
import { Ago, Empty, Name, Person, Rows, Select, State, TaskLink, Trouble, Wait } from '../ui.js';
import { PRIORITIES } from '../act.js';

const HEIGHT = 38;
const STATES = ['unfinished', 'waiting', 'promised', 'starting', 'running', 'suspending', 'suspended', 'held', 'stopping', 'finished'];
const ALWAYS = ['id', 'user', 'submitted'];
const SORTS = ['id', 'name', 'user', 'state', 'priority', 'submitted'];
const CHOSEN_MAX = 500;

// What a row shows, so that long lists stay small.
const slim = (task) => ({
  id: task.id, name: task.name.slice(0, 300), user: task.user, group: task.group, priority: task.priority, state: task.state, outcome: task.outcome,
  asks: asks(task), submitted_at: task.submitted_at, runs: task.runs,
});

function Search({ value, onChange, label, id }) {
  const timer = useRef();
  const change = (event) => {
    const text = event.currentTarget.value;
    clearTimeout(timer.current);
    timer.current = setTimeout(() => onChange(text), 250);
  };
  return html`<input type="search" id=${id} aria-label=${label} placeholder=${label} defaultValue=${value} value=${value} onInput=${change} />`;
}

export function Tasks({ at, me }) {
  const can = useCan();
  const query = at.query;
  const chosen = useRef(new Map());
  const [, redraw] = useState(0);
  const [fresh, setFresh] = useState(0);
  const list = useRef();
  const sorts = can?.query('/v1/tasks', 'sort');
  // Of those that are over there are too many for any order but these.
  const bounded = !['', 'finished'].includes(query.get('state') ?? '');
  const wanted = query.get('sort') ?? 'id';
  const sort = bounded || ALWAYS.includes(wanted) ? wanted : 'id';
  const order = query.get('order') ?? 'desc';
  const filters = useMemo(() => {
    if (!can) return null;
    const filters = new URLSearchParams({ limit: PAGE });
    const search = query.get('search');
    if (search) filters.set(can.query('/v1/tasks', 'search') ? 'search' : 'name', search);
    for (const name of ['state', 'user', 'group', 'priority', 'outcome']) if (query.get(name)) filters.set(name, query.get(name));
    if (sorts && (sort !== 'id' || order !== 'desc')) { filters.set('sort', sort); filters.set('order', order); }
    return filters.toString();
  }, [can, at]);
  const pages = usePages(filters, (from) => `/v1/tasks?${filters}${from ? `&${from}` : ''}`,
    (answer) => ({ rows: answer.tasks.map(slim), next: answer.next_cursor != null ? `cursor=${encodeURIComponent(answer.next_cursor)}` : answer.next != null ? `before=${answer.next}` : null }));
  const latest = useRef(pages);
  latest.current = pages;

  useEffect(() => {
    let due = null;
    const restart = () => { due = null; latest.current.restart().catch(() => {}); };
    const unlisten = listen((events) => {
      const known = latest.current;
      if (events === null) { due ??= setTimeout(restart, 300); return; }
      const byId = new Map(events.map((event) => [event.task.id, slim(event.task)]));
      for (const [id, task] of byId) if (chosen.current.has(id)) chosen.current.set(id, task);
      const changed = known.change(byId);
      if (changed === byId.size) return;
      // Something that is not shown changed: it may belong here by now.
      if ((list.current?.scrollTop ?? 0) < HEIGHT) due ??= setTimeout(restart, 500);
      else setFresh((count) => count + byId.size - changed);
    });
    return () => { clearTimeout(due); unlisten(); };
  }, [filters]);
  useEffect(() => { chosen.current.clear(); setFresh(0); list.current?.scrollTo(0, 0); }, [filters]);

  const set = (name) => (value) => setQuery({ [name]: value });
  const choose = (task, yes) => {
    if (yes && chosen.current.size < CHOSEN_MAX) chosen.current.set(task.id, task); else chosen.current.delete(task.id);
    redraw((count) => count + 1);
  };
  const sortBy = (name) => () => setQuery({
    sort: name,
    order: sort === name ? (order === 'desc' ? 'asc' : 'desc') : ['id', 'submitted', 'priority'].includes(name) ? 'desc' : 'asc',
    ...(bounded || ALWAYS.includes(name) ? {} : { state: 'unfinished' }),
  });
  const head = (name, text) => html`<div role="columnheader" class=${`c-${name}`} aria-sort=${sorts && sort === name ? (order === 'asc' ? 'ascending' : 'descending') : undefined}>
    ${sorts && SORTS.includes(name) ? html`<button type="button" class="sort" onClick=${sortBy(name)}>${text}${sort === name ? (order === 'asc' ? ' ↑' : ' ↓') : ''}</button>` : text}</div>`;
  const row = (index) => {
    const task = pages.at(index);
    if (!task) return html`<div class="row" role="row" key=${index} aria-rowindex=${index + 2} style=${{ height: `${HEIGHT}px` }}><div role="gridcell" class="muted">…</div></div>`;
    return html`<div class=${`row ${chosen.current.has(task.id) ? 'chosen' : ''}`} role="row" key=${index} aria-rowindex=${index + 2} data-task=${task.id} style=${{ height: `${HEIGHT}px` }}
        onDblClick=${() => go(`tasks/${task.id}`)}>
      <div role="gridcell" class="c-pick"><input type="checkbox" aria-label=${t('tasks.choose', { id: task.id })} checked=${chosen.current.has(task.id)} onChange=${(event) => choose(task, event.currentTarget.checked)} /></div>
      <div role="gridcell" class="c-id">${task.id}</div>
      <div role="gridcell" class="c-name"><${TaskLink} id=${task.id}><${Name} of=${task.name} /></${TaskLink}></div>
      <div role="gridcell" class="c-state"><${State} task=${task} /></div>
      <div role="gridcell" class="c-user"><${Person} name=${task.user} /></div>
      <div role="gridcell" class="c-group"><${Name} of=${task.group} /></div>
      <div role="gridcell" class="c-priority">${word('priority', task.priority)}</div>
      <div role="gridcell" class="c-asks muted">${task.asks}</div>
      <div role="gridcell" class="c-submitted"><${Ago} at=${task.submitted_at} /></div>
    </div>`;
  };
  const acting = [...chosen.current.values()];
  const show = () => { setFresh(0); list.current?.scrollTo(0, 0); pages.restart().catch(() => {}); };
  return html`<div class="page-head"><h1>${t('nav.tasks')}</h1>
      <div class="filters" role="search">
        <${Search} id="search" value=${query.get('search') ?? ''} onChange=${set('search')} label=${t('tasks.search')} />
        <${Select} label=${t('state')} value=${query.get('state') ?? ''} onChange=${set('state')} options=${[['', t('tasks.anyState')], ...STATES.map((one) => [one, word('state', one)])]} />
        <${Select} label=${t('priority')} value=${query.get('priority') ?? ''} onChange=${set('priority')} options=${[['', t('tasks.anyPriority')], ...PRIORITIES.map((one) => [one, word('priority', one)])]} />
        ${me.role === 'operator' && html`<${Search} id="search-user" value=${query.get('user') ?? ''} onChange=${set('user')} label=${t('user')} />`}
        <${Search} id="search-group" value=${query.get('group') ?? ''} onChange=${set('group')} label=${t('group')} />
      </div></div>
    <${Trouble} problem=${pages.problem} again=${pages.again} />
    <div class="bar-acts" hidden=${!acting.length}>${acting.length > 0 && html`<span>${t('tasks.chosen', { n: acting.length })}</span>
      <${Actions} tasks=${acting} preview />
      <button type="button" class="plain" onClick=${() => { chosen.current.clear(); redraw((count) => count + 1); }}>${t('tasks.chooseNone')}</button>`}</div>
    ${fresh > 0 && html`<button type="button" class="fresh" onClick=${show}>${t('tasks.fresh')}</button>`}
    ${!pages.loaded ? !pages.problem && html`<${Wait} />` : pages.count === 0 ? html`<${Empty}>${t('tasks.none')}</${Empty}>`
      : html`<${Rows} class="tasks" role="grid" label=${t('nav.tasks')} count=${pages.count} height=${HEIGHT} row=${row} onSight=${pages.inSight} listRef=${list}
        top=${html`<div class="row head" role="row" aria-rowindex="1">
          <div role="columnheader" class="c-pick"><span class="sr">${t('tasks.chooseHead')}</span></div>
          ${head('id', t('number'))}${head('name', t('name'))}${head('state', t('state'))}${head('user', t('user'))}${head('group', t('group'))}${head('priority', t('priority'))}${head('asks', t('asks'))}${head('submitted', t('submitted'))}</div>`} />`}`;
}
