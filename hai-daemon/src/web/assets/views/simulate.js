// What other policies would have made of the last days, or of a trace.
import { html, useEffect, useState } from '../lib.js';
import { ask, get, post } from '../api.js';
import { percent } from '../format.js';
import { t, word } from '../i18n.js';
import { keep, kept } from '../store.js';
import { Empty, Field, Section, Trouble } from '../ui.js';

const POLICIES = ['hai', 'hai+fair', 'hai+las', 'hai+srtf', 'hai+borrow', 'hai+rigid', 'hai-fifo', 'easy'];
const CHOSEN = ['hai', 'hai-fifo'];
const LOOK = 1_000;

function Running({ id, onEnd }) {
  const [said, say] = useState(null);
  const [problem, fail] = useState(null);
  useEffect(() => {
    let timer = null;
    let gone = false;
    const look = async () => {
      try {
        const now = await get(`/v1/simulations/${encodeURIComponent(id)}`);
        if (gone) return;
        say(now);
        fail(null);
        if (['running', 'waiting', 'queued'].includes(now.state)) timer = setTimeout(look, LOOK); else onEnd?.();
      } catch (error) { if (!gone) { fail(error); if (error.status !== 404) timer = setTimeout(look, 3 * LOOK); } }
    };
    look();
    return () => { gone = true; clearTimeout(timer); };
  }, [id]);
  const part = said?.progress == null ? null : said.progress > 1 ? said.progress / 100 : said.progress;
  const under = said && ['running', 'waiting', 'queued'].includes(said.state);
  return html`<div class="simulation" data-simulation=${id}><b>#${id}</b> ${said?.what && html`<span dir="auto" lang="en">${said.what}</span>`} <span class="muted">${said?.policies?.join(', ')}</span> <span class=${`state ${said?.state ?? ''}`}>${said ? word('simulation', said.state) : '…'}</span>
    ${under && html`<progress max="1" value=${part ?? undefined} aria-label=${t('simulate.progress')}></progress> ${part != null ? percent(part) : ''}`}
    ${said?.error && html`<p class="note" dir="auto">${said.error}</p>`}<${Trouble} problem=${problem} />${said?.remarks?.slice(0, 5).map((one, index) => html`<p class="muted small" key=${index} lang="en" dir="auto">${one}</p>`)}
    ${said && !under && !said.error && html`<a class="button main" href=${`/v1/simulations/${encodeURIComponent(id)}/report`} target="_blank" rel="noopener">${t('simulate.report')}</a>`}</div>`;
}

export function Simulate() {
  const [policies, choose] = useState(new Set(CHOSEN));
  const [last, setLast] = useState('7d');
  const [file, setFile] = useState(null);
  const [over, setOver] = useState(false);
  const [problem, fail] = useState(null);
  const [busy, work] = useState(false);
  const [ids, setIds] = useState(() => kept('simulations', '').split(',').filter(Boolean).slice(0, 10));
  const toggle = (name) => { const next = new Set(policies); if (!next.delete(name)) next.add(name); choose(next); };
  const start = async (event) => {
    event.preventDefault();
    work(true);
    fail(null);
    try {
      const query = `?policies=${encodeURIComponent([...policies].join(','))}`;
      const said = file ? await (await ask('POST', `/v1/simulations${query}`, { raw: file, headers: { 'content-type': 'application/octet-stream' } })).json() : await post(`/v1/simulations${query}`, { last });
      const next = [String(said.id), ...ids].slice(0, 10);
      setIds(next);
      keep('simulations', next.join(','));
    } catch (error) { fail(error); }
    work(false);
  };
  const drop = (event) => { event.preventDefault(); setOver(false); setFile(event.dataTransfer.files[0] ?? null); };
  return html`<div class="page-head"><h1>${t('nav.simulate')}</h1></div>
    <${Section} id="simulate" title=${t('simulate.new')}><form class="form pad" onSubmit=${start}>
      <div class=${`drop ${over ? 'over' : ''}`} onDragOver=${(event) => { event.preventDefault(); setOver(true); }} onDragLeave=${() => setOver(false)} onDrop=${drop}>
        <label>${file ? html`<bdi dir="auto">${file.name.slice(0, 200)}</bdi>` : t('simulate.drop')}<input type="file" onChange=${(event) => setFile(event.currentTarget.files[0] ?? null)} /></label>
        ${file && html`<button type="button" onClick=${() => setFile(null)}>${t('simulate.noFile')}</button>`}</div>
      ${!file && html`<${Field} label=${t('simulate.last')} hint=${t('simulate.lastHint')}><input value=${last} onInput=${(event) => setLast(event.currentTarget.value)} required pattern="[0-9]+[hdw]" /></${Field}>`}
      <fieldset class="wrap"><legend>${t('simulate.policies')}</legend>${POLICIES.map((name) => html`<label class="check" key=${name}><input type="checkbox" checked=${policies.has(name)} onChange=${() => toggle(name)} />${name}</label>`)}</fieldset>
      <${Trouble} problem=${problem} />
      <div><button type="submit" class="main" disabled=${busy || !policies.size}>${t('simulate.start')}</button></div></form></${Section}>
    <${Section} id="simulations" title=${t('simulate.mine')}>${ids.length ? html`<div class="pad">${ids.map((id) => html`<${Running} key=${id} id=${id} />`)}</div>` : html`<${Empty}>${t('simulate.none')}</${Empty}>`}</${Section}>`;
}
