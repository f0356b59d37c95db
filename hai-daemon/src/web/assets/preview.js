// What changes would do, shown before they are made; then just that is made.
import { html, useEffect, useState } from './lib.js';
import { post } from './api.js';
import { t, word } from './i18n.js';
import { deviceTime, fullTime, number } from './format.js';
import { Dialog, Person, TaskLink, Trouble, Wait, toast } from './ui.js';

const SHOWN_MAX = 50;

function Who({ one }) {
  return html`${one.task != null ? html`<${TaskLink} id=${one.task} /> ` : ''}<${Person} name=${one.user} />`;
}

function List({ title, rows, kind, tell }) {
  if (!rows?.length) return null;
  return html`<div class=${`effect ${kind}`}><h3>${title} <span class="count">${rows.length}</span></h3>
    <ul>${rows.slice(0, SHOWN_MAX).map((one, index) => html`<li key=${index}><${Who} one=${one} /> <span class="muted">${tell?.(one)}</span></li>`)}</ul>
    ${rows.length > SHOWN_MAX && html`<p class="muted">${t('preview.more', { n: rows.length - SHOWN_MAX })}</p>`}</div>`;
}

const where = (one) => t('preview.where', { devices: one.devices, nodes: one.nodes.slice(0, 4).join(', ') + (one.nodes.length > 4 ? ' …' : '') });

export function Effects({ shown }) {
  const lists = [shown.starts, shown.starts_no_more, shown.suspends, shown.suspends_no_more, shown.stops, shown.notices];
  const nothing = lists.every((list) => !list?.length);
  return html`<div class="effects">
    <p class=${`lost ${shown.lost_device_seconds ? 'some' : ''}`}>${shown.lost_device_seconds ? t('preview.lost', { time: deviceTime(shown.lost_device_seconds) }) : t('preview.lostNothing')}</p>
    ${nothing && html`<p class="empty">${t('preview.nothing')}</p>`}
    <${List} kind="good" title=${t('preview.starts')} rows=${shown.starts} tell=${where} />
    <${List} kind="bad" title=${t('preview.startsNoMore')} rows=${shown.starts_no_more} tell=${where} />
    <${List} kind="bad" title=${t('preview.suspends')} rows=${shown.suspends} tell=${(one) => `${one.reason.replaceAll('_', ' ')} · ${deviceTime(one.lost_device_seconds)}`} />
    <${List} kind="good" title=${t('preview.suspendsNoMore')} rows=${shown.suspends_no_more} />
    <${List} kind="bad" title=${t('preview.stops')} rows=${shown.stops} />
    <${List} kind="bad" title=${t('preview.notices')} rows=${shown.notices} tell=${(one) => (one.until ? t('until', { at: fullTime(one.until) }) : '')} />
    ${shown.outlooks?.length > 0 && html`<div class="effect"><h3>${t('preview.outlook')}</h3><ul>
      ${shown.outlooks.slice(0, 10).map((one) => html`<li key=${one.task} lang="en" dir="auto">${one.sentence}</li>`)}</ul></div>`}
    ${shown.shares?.length > 0 && html`<div class="effect"><h3>${t('preview.shares')}</h3><table class="plain"><thead><tr><th>${t('user')}</th>
      ${['right', 'borrowed', 'background'].map((hold) => html`<th class="num">${word('hold', hold)}</th>`)}</tr></thead><tbody>
      ${shown.shares.slice(0, SHOWN_MAX).map((share) => html`<tr key=${share.user}><td><${Person} name=${share.user} /></td>
        ${['right', 'borrowed', 'background'].map((hold) => html`<td class="num">${share.before[hold] === share.after[hold] ? number(share.after[hold]) : html`${number(share.before[hold])} → <b>${number(share.after[hold])}</b>`}</td>`)}</tr>`)}
      </tbody></table></div>`}
    ${!shown.at_rest && html`<p class="muted">${t('preview.notAtRest')}</p>`}
  </div>`;
}

// `onClose(applied)`.
export function PreviewDialog({ title, changes, onClose }) {
  const [shown, show] = useState(null);
  const [problem, fail] = useState(null);
  const [stale, setStale] = useState(false);
  const [busy, work] = useState(false);
  const look = async () => {
    fail(null);
    try { show(await post('/v1/preview', { changes })); } catch (error) { fail(error); }
  };
  useEffect(() => { look(); }, []);
  const apply = async () => {
    work(true);
    setStale(false);
    try {
      await post('/v1/preview/apply', { changes, stamp: shown.stamp });
      toast(t('preview.done'));
      onClose(true);
      return;
    } catch (error) {
      if (error.status === 409 && error.field === 'stamp') { setStale(true); await look(); } else fail(error);
    }
    work(false);
  };
  return html`<${Dialog} title=${title} onClose=${() => onClose(false)} wide>
    <${Trouble} problem=${problem} again=${look} />
    ${stale && html`<p class="note" role="alert">${t('preview.stale')}</p>`}
    ${shown ? html`<${Effects} shown=${shown} />` : !problem && html`<${Wait} />`}
    <footer><button type="button" onClick=${() => onClose(false)}>${t('cancel')}</button>
      <button type="button" class="main" id="apply" disabled=${!shown || busy || !shown.can_be_applied || Boolean(problem)} onClick=${apply}>${t('preview.apply')}</button></footer>
  </${Dialog}>`;
}
