// One task: its life, why it is where it is, when it starts, what would help, what it writes, and what can be done to it.
import { html, useMemo, useState } from '../lib.js';
import { Actions } from '../act.js';
import { Chart } from '../chart.js';
import { asks, fullTime, memory, number, percent } from '../format.js';
import { t, word } from '../i18n.js';
import { Life } from '../life.js';
import { Logs } from '../logs.js';
import { Link } from '../router.js';
import { useCan, useNow, useResource } from '../store.js';
import { CopyButton, Name, Person, Section, Start, State, TaskLink, Trouble, Wait } from '../ui.js';

// Tasks in what the server says lead there, and times are the reader's own.
function Linked({ text }) {
  const parts = String(text).split(/(\btask \d+|#\d+|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z)/);
  return parts.map((part, index) => (index % 2 === 0 ? part
    : part.endsWith('Z') ? html`<time datetime=${part} title=${part}>${fullTime(part)}</time>`
      : html`<${TaskLink} id=${part.replace(/\D/g, '')}>${part}</${TaskLink}>`));
}

function Why({ id, waits, on }) {
  const { data, problem } = useResource(`/v1/tasks/${id}/why?help=true`, { on, every: waits ? 15_000 : 0 });
  if (!data) return problem ? html`<${Trouble} problem=${problem} />` : html`<${Wait} />`;
  return html`<div class="why">
    ${data.verdict && html`<p class="verdict">${word('verdict', data.verdict.verdict)}</p>`}
    <p class="sentence" id="why-sentence" lang="en" dir="auto"><${Linked} text=${data.sentence} /></p>
    ${data.trouble && html`<p class="note" lang="en" dir="auto">${data.trouble}</p>`}
    ${data.yielded && html`<p lang="en" dir="auto"><${Linked} text=${data.yielded.sentence} /></p>`}
    ${(data.sections ?? []).filter((section) => !data.help || section.title !== 'What would help').map((section, index) => html`<details key=${index} open=${index < 2}><summary lang="en">${section.title}</summary><ul>${section.lines.map((row, at) => html`<li key=${at} lang="en" dir="auto"><${Linked} text=${row} /></li>`)}</ul></details>`)}
    ${data.help && html`<${Help} help=${data.help} />`}
  </div>`;
}

function Help({ help }) {
  if (help.needs_nothing) return html`<p class="muted">${t('help.nothing')}</p>`;
  if (!help.changes.length && !help.pair.length) return html`<p class="muted">${t('help.none')}</p>`;
  return html`<h3>${t('help.title')}</h3><ul class="help">
    ${help.changes.map((one, index) => html`<li key=${index} dir="auto"><span lang="en"><${Linked} text=${one.sentence} /></span>${one.at_once && html` <span class="badge good">${t('help.atOnce')}</span>`}</li>`)}
    ${help.pair.length > 0 && html`<li><span class="muted">${t('help.together')}</span><ul>${help.pair.map((one, index) => html`<li key=${index} lang="en" dir="auto"><${Linked} text=${one.sentence} /></li>`)}</ul></li>`}</ul>`;
}

function When({ id, on }) {
  const { data, problem } = useResource(`/v1/tasks/${id}/when`, { on, every: 30_000 });
  if (!data) return problem ? html`<${Trouble} problem=${problem} />` : html`<${Wait} />`;
  return html`<div class="when"><dl class="facts small">
      <div class="fact"><dt>${t('when.half')}</dt><dd><${Start} at=${data.p50} /></dd></div>
      <div class="fact"><dt>${t('when.most')}</dt><dd><${Start} at=${data.p90} /></dd></div></dl>
    <p lang="en" dir="auto"><${Linked} text=${data.sentence} /></p>
    ${data.doubts?.length > 0 && html`<details><summary>${t('when.doubts')}</summary><ul>${data.doubts.map((one, index) => html`<li key=${index} lang="en">${one}</li>`)}</ul></details>`}
    <p class="muted small">${t('when.from', { n: number(data.rollouts) })}</p></div>`;
}

function Command({ task, can }) {
  const has = can?.path('/v1/tasks/{id}/command');
  const { data } = useResource(has ? `/v1/tasks/${task.id}/command` : null);
  if (!can || (has && !data)) return html`<${Wait} />`;
  const text = data?.shell ?? task.command.map((part) => (/^[\w./:=@%+,-]+$/.test(part) ? part : `'${part.replaceAll("'", "'\\''")}'`)).join(' ');
  return html`<div class="command"><pre tabindex="0" dir="ltr" id="command" aria-label=${t('command.title')}>${text}</pre><${CopyButton} text=${text} /></div>
    ${!has && html`<p class="muted small">${t('command.only')}</p>`}
    ${data?.remarks?.map((one, index) => html`<p class="muted small" key=${index} lang="en">${one}</p>`)}`;
}

const MEASURES = [['util', 'chart.util', (value) => `${number(value)}%`, [0, 100]], ['memory_mib', 'chart.memory', memory], ['temperature_c', 'chart.temperature', (value) => `${number(value)}°C`], ['power_w', 'chart.power', (value) => `${number(value)} W`]];

// The devices of the newest run, on up to a few nodes, while it ran.
function Devices({ task }) {
  const run = task.history[task.history.length - 1];
  const nodes = [...new Set(run.workers.filter((worker) => worker.devices.length).map((worker) => worker.node))];
  const [chosen] = useState(nodes[0]);
  const ids = new Set(run.workers.filter((worker) => worker.node === chosen).flatMap((worker) => worker.devices));
  useNow(30_000);
  // Later than now, whenever the run began.
  const to = run.ended_at ?? new Date(Math.ceil((Date.now() + 1) / 30_000) * 30_000).toISOString();
  const from = run.started_at ?? run.decided_at;
  return html`<${DeviceCharts} node=${chosen} from=${from} to=${to} ids=${ids} />${nodes.length > 1 && html`<p class="muted small">${t('chart.firstNode', { node: chosen, n: nodes.length })}</p>`}`;
}

export function DeviceCharts({ node, from, to, ids }) {
  const { data, problem } = useResource(`/v1/nodes/${encodeURIComponent(node)}/devices/history?from=${from}&to=${to}`);
  const drawn = useMemo(() => {
    if (!data) return null;
    const devices = data.devices.filter((device) => !ids || ids.has(device.id)).slice(0, 16);
    const times = [...new Set(devices.flatMap((device) => device.series.map((one) => Date.parse(one.at) / 1000)))].sort((a, b) => a - b);
    return MEASURES.map(([field, title, format, range]) => {
      const lines = devices.map((device, index) => {
        const at = new Map(device.series.map((one) => [Date.parse(one.at) / 1000, one[field]]));
        return { label: t('device.n', { n: device.index ?? index }), values: times.map((one) => at.get(one) ?? null) };
      });
      return { title, format, range, lines, times, some: lines.some((line) => line.values.some((value) => value != null)) };
    }).filter((one) => one.some);
  }, [data, ids && [...ids].join(), t('chart.util')]);
  if (!drawn) return problem ? html`<${Trouble} problem=${problem} />` : html`<${Wait} />`;
  if (!drawn.length) return html`<p class="empty">${t('chart.none')}</p>`;
  return html`<div class="charts">${drawn.map((one) => html`<figure key=${one.title}><figcaption>${t(one.title)}</figcaption><${Chart} label=${t(one.title)} times=${one.times} lines=${one.lines} height=${120} format=${one.format} range=${one.range} /></figure>`)}</div>`;
}

function Details({ task }) {
  const rows = [
    ['asks', asks(task)], ['group', html`<${Name} of=${task.group} />`], ['priority', word('priority', task.priority)],
    task.level && task.level !== task.priority && ['level', word('priority', task.level)],
    ['kind', word('kind', task.kind)], task.models?.length && ['models', task.models.join(', ')], task.image && ['image', html`<${Name} of=${task.image} />`],
    task.workdir && ['workdir', html`<${Name} of=${task.workdir} />`], ['submitted', fullTime(task.submitted_at)], ['ran', task.ran],
    task.expected && ['expected', task.expected], task.limit && ['limit', task.limit], task.deadline && ['deadline', fullTime(task.deadline)],
    task.after?.length && ['after', task.after.map((id) => html`<${TaskLink} id=${id} /> `)], ['suspendable', task.suspendable ? t('yes') : t('no')],
  ].filter(Boolean);
  const environment = Object.entries(task.env ?? {});
  return html`<dl class="details">${rows.map(([key, value]) => html`<div key=${key}><dt>${t(`task.${key}`)}</dt><dd>${value}</dd></div>`)}</dl>
    ${environment.length > 0 && html`<details><summary>${t('task.env', { n: environment.length })}</summary><dl class="details env">${environment.slice(0, 200).map(([name, value]) => html`<div key=${name}><dt dir="auto">${name}</dt><dd dir="auto">${value}</dd></div>`)}</dl></details>`}`;
}

export function Task({ at, me }) {
  const id = Number(at.rest[0]);
  const can = useCan();
  const mine = (event) => event.task.id === id;
  const { data: task, problem, reload } = useResource(`/v1/tasks/${id}`, { on: mine });
  if (!task) return problem ? html`<${Trouble} problem=${problem} again=${reload} />` : html`<${Wait} />`;
  const waits = ['waiting', 'suspended', 'promised', 'held'].includes(task.state);
  const ran = task.history?.length > 0;
  return html`<div class="page-head task-head">
      <div><nav class="crumbs" aria-label=${t('crumbs')}><${Link} to="tasks">${t('nav.tasks')}</${Link}> / <span>#${id}</span></nav>
      <h1><${Name} of=${task.name} /></h1>
      <p class="task-sub"><${State} task=${task} /> <${Person} name=${task.user} /> <span class="muted">${asks(task)} · ${word('priority', task.priority)}</span></p></div>
      <${Actions} tasks=${[task]} onDone=${reload} preview />
    </div>
    ${problem && html`<${Trouble} problem=${problem} again=${reload} />`}
    <div class="task-grid">
      <div>
        ${task.state !== 'finished' && html`<${Section} id="why" title=${waits ? t('why.title') : t('why.runs')}><${Why} id=${id} waits=${waits} on=${mine} /></${Section}>`}
        <${Section} id="logs" title=${t('logs.title')}><${Logs} task=${task} /></${Section}>
        ${ran && can?.path('/v1/nodes/{name}/devices/history') && task.history[task.history.length - 1].workers.some((worker) => worker.devices.length) && html`<${Section} id="device-charts" title=${t('chart.title')}><${Devices} task=${task} /></${Section}>`}
      </div>
      <div>
        ${waits && html`<${Section} id="when" title=${t('when.title')}><${When} id=${id} on=${mine} /></${Section}>`}
        <${Section} id="life" title=${t('life.title')}><${Life} task=${task} /></${Section}>
        <${Section} id="details" title=${t('task.title')}><${Details} task=${task} /></${Section}>
        <${Section} id="again" title=${t('command.title')}><${Command} task=${task} can=${can} /></${Section}>
      </div>
    </div>`;
}
