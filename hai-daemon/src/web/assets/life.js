// A task's life: its runs on one line of time, and each with the reason why it began and ended.
import { html } from './lib.js';
import { fullTime, percent, span, time } from './format.js';
import { t, word } from './i18n.js';
import { useNow } from './store.js';
import { Name } from './ui.js';

export function Life({ task }) {
  const now = useNow(5_000);
  const runs = task.history ?? [];
  const begin = Date.parse(task.submitted_at);
  const end = task.ended_at ? Date.parse(task.ended_at) : Math.max(now, begin + 1000);
  const whole = Math.max(1, end - begin);
  const part = (at) => percent2((Date.parse(at) - begin) / whole);
  const first = runs[0];
  return html`<div class="life">
    <div class="life-line" role="img" aria-label=${t('life.label', { n: runs.length, span: span(whole) })}>
      ${runs.map((run) => {
        const from = run.started_at ?? run.decided_at;
        const to = run.ended_at ?? new Date(end).toISOString();
        return html`<i key=${run.id} class=${`run ${run.end ?? run.phase}`} title=${`#${run.attempt} ${word('runEnd', run.end ?? run.phase)} · ${span(Date.parse(to) - Date.parse(from))}`}
          style=${{ left: part(from), width: `max(3px, ${percent2((Date.parse(to) - Date.parse(from)) / whole)})` }}></i>`;
      })}</div>
    <div class="life-ends muted"><time datetime=${task.submitted_at}>${time(begin, now)}</time><span>${span(whole)}</span><span>${task.ended_at ? time(end, now) : t('span.now')}</span></div>
    <ol class="runs">
      <li class="run-row"><span class="mark"></span><div><b>${t('life.submitted')}</b> <time class="muted" datetime=${task.submitted_at}>${fullTime(task.submitted_at)}</time>
        ${first?.started_at && html`<div class="muted">${t('life.waited', { span: span(Date.parse(first.started_at) - begin) })}</div>`}</div></li>
      ${runs.map((run) => html`<li class="run-row" key=${run.id} data-run=${run.id}><span class=${`mark ${run.end ?? run.phase}`}></span><div>
        <b>${t('life.run', { n: run.attempt })}</b> <span class=${`state ${run.end ?? run.phase}`}>${word('runEnd', run.end ?? run.phase)}</span>
        <span class="muted"> ${run.started_at ? fullTime(run.started_at) : fullTime(run.decided_at)}${run.ended_at ? ` – ${time(run.ended_at, now)} · ${span(Date.parse(run.ended_at) - Date.parse(run.started_at ?? run.decided_at))}` : ` · ${span(now - Date.parse(run.started_at ?? run.decided_at))}`}</span>
        <div class="run-places">${[...new Set(run.workers.map((worker) => worker.node))].slice(0, 12).map((node) => html`<span class="chip" key=${node}><${Name} of=${node} /> ${devices(run, node)}</span>`)}${nodesOver(run)}</div>
        ${run.reason && html`<div class="run-reason" dir="auto" lang="en">${run.reason}</div>`}
        ${run.workers.filter((worker) => worker.exit && (worker.exit.code || worker.exit.signal)).slice(0, 4).map((worker) => html`<div class="muted" lang="en" dir="auto" key=${worker.rank}>${t('rank', { n: worker.rank })}: ${worker.exit.sentence}</div>`)}
        ${run.checkpointed_at && html`<div class="muted">${t('life.saved', { at: fullTime(run.checkpointed_at) })}</div>`}
      </div></li>`)}
      ${task.ended_at && html`<li class="run-row"><span class=${`mark ${task.outcome}`}></span><div><b>${word('state', task.outcome)}</b> <time class="muted" datetime=${task.ended_at}>${fullTime(task.ended_at)}</time>${task.reason && html`<div dir="auto">${task.reason}</div>`}</div></li>`}
    </ol></div>`;
}

const percent2 = (part) => `${(Math.max(0, Math.min(1, part)) * 100).toFixed(2)}%`;

function devices(run, node) {
  const sum = run.workers.filter((worker) => worker.node === node).reduce((sum, worker) => sum + (worker.devices?.length ?? 0), 0);
  return sum ? `×${sum}` : '';
}

function nodesOver(run) {
  const count = new Set(run.workers.map((worker) => worker.node)).size;
  return count > 12 ? html`<span class="muted">+${count - 12}</span>` : null;
}
