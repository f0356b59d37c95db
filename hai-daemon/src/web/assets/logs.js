// What a worker writes: the end of it, then all that comes. Long output is kept to its last part; the whole can be downloaded.
import { html, useEffect, useRef, useState } from './lib.js';
import { ask } from './api.js';
import { t, word } from './i18n.js';
import { Select, Trouble } from './ui.js';

const TAIL = 64 * 1024;
const KEPT = 1024 * 1024;
const PAUSE = 2_000;

// Colours and movements of terminals say nothing here.
const plain = (text) => text.replace(/\u001b\[[0-9;?]*[ -/]*[@-~]|\u001b\][^\u0007\u001b]*(?:\u0007|\u001b\\)/g, '').replace(/\r\n/g, '\n').replace(/[^\n]*\r(?!\n)/g, '');

export function Logs({ task }) {
  const runs = task.history ?? [];
  const [run, setRun] = useState('');
  const [rank, setRank] = useState('0');
  const [follow, setFollow] = useState(true);
  const [search, find] = useState('');
  const [at, setAt] = useState(0);
  const [problem, fail] = useState(null);
  const [text, setText] = useState('');
  const box = useRef();
  const ends = useRef(true);
  const number = run || (runs.length ? String(runs[runs.length - 1].id) : '');
  const chosen = runs.find((one) => String(one.id) === number);
  const running = chosen && chosen.phase !== 'ended';

  useEffect(() => {
    setText('');
    fail(null);
    if (!number) return undefined;
    let abort = new AbortController();
    let timer = null;
    let offset = null;
    let kept = '';
    let drawing = null;
    const add = (piece) => {
      kept += piece;
      if (kept.length > KEPT) kept = kept.slice(kept.indexOf('\n', kept.length - KEPT * 0.8) + 1);
      drawing ??= setTimeout(() => { drawing = null; setText(plain(kept)); }, 100);
    };
    const read = async () => {
      const { signal } = abort;
      try {
        const from = offset === null ? `tail=${TAIL}` : `offset=${offset}`;
        const live = follow && running;
        const response = await ask('GET', `/v1/tasks/${task.id}/logs?run=${number}&rank=${rank}&${from}${live ? '&follow=true' : ''}`, { signal, headers: { accept: 'text/plain' } });
        offset ??= Number(response.headers.get('hai-offset') ?? 0);
        fail(null);
        const decoder = new TextDecoder();
        const reader = response.body.getReader();
        for (;;) {
          const { done, value } = await reader.read();
          if (done) break;
          offset += value.length;
          add(decoder.decode(value, { stream: true }));
        }
        // A line that ends while the run goes on was cut; it goes on where it was.
        if (live) timer = setTimeout(read, PAUSE);
      } catch (error) {
        if (signal.aborted) return;
        if (error.kind && error.kind !== 'unreachable' && error.status < 500) { fail(error); return; }
        if (error.kind) fail(error);
        timer = setTimeout(read, PAUSE);
      }
    };
    read();
    const rest = () => { abort.abort(); clearTimeout(timer); };
    const wake = () => { if (abort.signal.aborted) { abort = new AbortController(); read(); } };
    window.addEventListener('hai-rest', rest);
    window.addEventListener('hai-wake', wake);
    return () => {
      window.removeEventListener('hai-rest', rest);
      window.removeEventListener('hai-wake', wake);
      rest();
      clearTimeout(drawing);
    };
  }, [task.id, number, rank, follow, running]);

  useEffect(() => { if (ends.current && follow && box.current) box.current.scrollTop = box.current.scrollHeight; }, [text]);

  const parts = split(text, search);
  const hits = (parts.length - 1) / 2;
  useEffect(() => { box.current?.querySelector('mark.now')?.scrollIntoView({ block: 'center' }); }, [at, search]);
  const download = `/v1/tasks/${task.id}/logs?run=${number}&rank=${rank}&offset=0&limit=${16 << 20}`;
  if (!runs.length) return html`<p class="empty">${t('logs.noRun')}</p>`;
  return html`<div class="logs">
    <div class="logs-bar">
      <${Select} label=${t('logs.run')} value=${number} onChange=${setRun} options=${[...runs].reverse().slice(0, 100).map((one) => [String(one.id), `${t('life.run', { n: one.attempt })} · ${word('runEnd', one.end ?? one.phase)}`])} />
      ${chosen?.workers.length > 1 && html`<${Select} label=${t('logs.rank')} value=${rank} onChange=${setRank} options=${chosen.workers.map((worker) => [String(worker.rank), t('rank', { n: worker.rank })])} />`}
      <label class="check"><input type="checkbox" checked=${follow} onChange=${(event) => { setFollow(event.currentTarget.checked); ends.current = true; }} />${t('logs.follow')}</label>
      <input type="search" aria-label=${t('logs.search')} placeholder=${t('logs.search')} value=${search} onInput=${(event) => { find(event.currentTarget.value); setAt(0); }}
        onKeyDown=${(event) => { if (event.key === 'Enter' && hits) { event.preventDefault(); setAt((at + (event.shiftKey ? hits - 1 : 1)) % hits); } }} />
      ${search && html`<span class="muted" role="status">${t('logs.hits', { n: hits })}</span>`}
      <a class="button" href=${download} download=${`task-${task.id}-run-${number}-rank-${rank}.log`}>${t('logs.download')}</a>
    </div>
    <${Trouble} problem=${problem} />
    <pre ref=${box} id="log" tabindex="0" role="log" aria-live="off" aria-label=${t('logs.title')} dir="auto" onScroll=${(event) => { const own = event.currentTarget; ends.current = own.scrollHeight - own.scrollTop - own.clientHeight < 30; }}>${
      parts.map((part, index) => (index % 2 ? html`<mark class=${(index - 1) / 2 === at ? 'now' : ''}>${part}</mark>` : part))}${text ? '' : running ? t('logs.nothingYet') : t('logs.nothing')}</pre>
  </div>`;
}

// Text, hit, text, hit, …, text; at most a few thousand hits, the last ones.
function split(text, search) {
  if (!search) return [text];
  const parts = [];
  const low = text.toLowerCase();
  const wanted = search.toLowerCase();
  let from = 0;
  for (let at = low.indexOf(wanted); at >= 0 && parts.length < 4000; at = low.indexOf(wanted, from)) {
    parts.push(text.slice(from, at), text.slice(at, at + search.length));
    from = at + search.length;
  }
  parts.push(text.slice(from));
  return parts;
}
