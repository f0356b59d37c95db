// What can be done to tasks, from a list or from their own view.
import { html, useState } from './lib.js';
import { post } from './api.js';
import { t, word } from './i18n.js';
import { Dialog, Field, Select, tellProblem, toast } from './ui.js';
import { PreviewDialog } from './preview.js';

export const PRIORITIES = ['EXTREME_HIGH', 'VERY_HIGH', 'HIGH', 'ABOVE_NORMAL', 'NORMAL', 'UNDER_NORMAL', 'BELOW_NORMAL', 'LOW', 'AUTO'];

const over = (task) => task.state === 'finished' || task.state === 'stopping';
export const may = {
  suspend: (task) => !over(task) && !['held', 'suspending'].includes(task.state),
  resume: (task) => ['held', 'suspending', 'suspended'].includes(task.state),
  stop: (task) => !over(task),
  priority: (task) => !over(task),
};

// Does it to each, one after another, and says how that went.
export async function toAll(tasks, action, body) {
  let done = 0;
  let last = null;
  for (const task of tasks) {
    try {
      await post(`/v1/tasks/${task.id}/${action}`, body);
      done += 1;
    } catch (problem) { last = problem; }
  }
  if (done) toast(tasks.length === 1 ? t(`act.${action}.done`, { id: tasks[0].id }) : t('act.allDone', { n: done, of: tasks.length }));
  if (last) tellProblem(last);
}

// Stopping is for good, so it is asked again.
export function Confirm({ title, text, doing, onYes, onClose }) {
  const yes = async () => { onClose(); await onYes(); };
  return html`<${Dialog} title=${title} onClose=${onClose}><p>${text}</p>
    <footer><button type="button" onClick=${onClose}>${t('cancel')}</button>
    <button type="button" class="danger" id="confirm" onClick=${yes}>${doing}</button></footer></${Dialog}>`;
}

export function PriorityDialog({ tasks, onClose, onDone }) {
  const [priority, choose] = useState(tasks[0].priority);
  const submit = async (event) => {
    event.preventDefault();
    onClose();
    await toAll(tasks, 'priority', { priority });
    onDone?.();
  };
  return html`<${Dialog} title=${t('act.priority')} onClose=${onClose}><form onSubmit=${submit}>
    <${Field} label=${t('priority')}><${Select} value=${priority} onChange=${choose} options=${PRIORITIES.map((one) => [one, word('priority', one)])} /></${Field}>
    <footer><button type="button" onClick=${onClose}>${t('cancel')}</button><button type="submit" class="main">${t('act.priority')}</button></footer></form></${Dialog}>`;
}

// Buttons for these tasks; `onDone` when something was done.
export function Actions({ tasks, onDone, preview }) {
  const [asking, ask] = useState(null);
  const some = (action) => tasks.filter(may[action]);
  const run = async (action) => { await toAll(some(action), action); onDone?.(); };
  const close = () => ask(null);
  const name = tasks.length === 1 ? `#${tasks[0].id}` : t('act.many', { n: some('stop').length });
  return html`<div class="acts">
    ${some('suspend').length > 0 && html`<button type="button" id="act-suspend" onClick=${() => run('suspend')}>${t('act.suspend')}</button>`}
    ${some('resume').length > 0 && html`<button type="button" id="act-resume" onClick=${() => run('resume')}>${t('act.resume')}</button>`}
    ${some('priority').length > 0 && html`<button type="button" id="act-priority" onClick=${() => ask('priority')}>${t('act.priority')}</button>`}
    ${preview && some('stop').length > 0 && html`<button type="button" id="act-preview" onClick=${() => ask('preview')}>${t('act.preview')}</button>`}
    ${some('stop').length > 0 && html`<button type="button" class="danger" id="act-stop" onClick=${() => ask('stop')}>${t('act.stop')}</button>`}
    ${asking === 'stop' && html`<${Confirm} title=${t('act.stop.title', { name })} text=${t('act.stop.text')} doing=${t('act.stop')} onClose=${close} onYes=${() => run('stop')} />`}
    ${asking === 'priority' && html`<${PriorityDialog} tasks=${some('priority')} onClose=${close} onDone=${onDone} />`}
    ${asking === 'preview' && html`<${PreviewDialog} title=${t('act.preview.title', { name })} changes=${some('stop').map((task) => ({ stop: task.id }))} onClose=${(done) => { close(); if (done) onDone?.(); }} />`}
  </div>`;
}
