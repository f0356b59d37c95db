// The page begins here: who is signed in, and which view is meant.
import { html, render, useEffect, useState } from './lib.js';
import { session, whenSignedOut } from './api.js';
import { t, useLanguage } from './i18n.js';
import * as live from './live.js';
import { useWhere } from './router.js';
import { Shell } from './shell.js';
import { kept } from './store.js';
import { Empty, Trouble, Wait } from './ui.js';
import { SignIn } from './views/sign-in.js';
import { Now } from './views/now.js';

const chosen = kept('theme', '');
if (chosen) document.documentElement.dataset.theme = chosen;

// What is not seen at once is not fetched at once.
const LATER = {
  tasks: (rest) => (rest.length ? import('./views/task.js').then((m) => m.Task) : import('./views/tasks.js').then((m) => m.Tasks)),
  time: () => import('./views/time.js').then((m) => m.Time),
  rights: () => import('./views/rights.js').then((m) => m.Rights),
  nodes: () => import('./views/nodes.js').then((m) => m.Nodes),
  people: () => import('./views/people.js').then((m) => m.People),
  simulate: () => import('./views/simulate.js').then((m) => m.Simulate),
};

function View({ at, me }) {
  const key = at.view + (at.rest.length ? '/' : '');
  const [loaded, set] = useState({ key: 'now', view: Now });
  const [problem, fail] = useState(null);
  useEffect(() => {
    fail(null);
    if (at.view === 'now') { set({ key: 'now', view: Now }); return; }
    const load = LATER[at.view];
    if (!load) { set({ key, view: Nowhere }); return; }
    load(at.rest).then((view) => set({ key, view })).catch(fail);
  }, [key]);
  if (problem) return html`<${Trouble} problem=${problem} again=${() => location.reload()} />`;
  if (loaded.key !== key) return html`<${Wait} />`;
  return html`<${loaded.view} at=${at} me=${me} key=${at.rest.join('/')} />`;
}

function Nowhere() { return html`<${Empty}>${t('nowhere')}</${Empty}>`; }

function Page() {
  useLanguage();
  const at = useWhere();
  const [said, set] = useState(undefined);
  const [problem, fail] = useState(null);
  const look = () => { fail(null); session().then(set).catch(fail); };
  useEffect(() => {
    whenSignedOut(() => { live.stop(); set(null); });
    look();
  }, []);
  useEffect(() => { if (said) live.start(); }, [said?.user.name]);
  if (problem) return html`<main class="alone"><${Trouble} problem=${problem} again=${look} /></main>`;
  if (said === undefined) return null;
  if (said === null) return html`<${SignIn} onDone=${set} />`;
  return html`<${Shell} at=${at} user=${said.user} version=${said.version}><${View} at=${at} me=${said.user} /></${Shell}>`;
}

render(html`<${Page} />`, document.getElementById('page'));
