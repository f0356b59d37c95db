// What is around every view: the way to the others, who is signed in, language and light, and whether the line stands.
import { html, useEffect, useState } from './lib.js';
import { signOut } from './api.js';
import * as i18n from './i18n.js';
import { t } from './i18n.js';
import { Link } from './router.js';
import { keep, kept, useCan, useLine } from './store.js';
import { Person, Toasts, tellProblem } from './ui.js';

const VIEWS = [
  ['now', 'M3 3h7v7H3zM14 3h7v7h-7zM3 14h7v7H3zM14 14h7v7h-7z'],
  ['tasks', 'M4 6h16M4 12h16M4 18h10'],
  ['time', 'M4 6h9M8 12h12M5 18h8'],
  ['nodes', 'M4 4h16v6H4zM4 14h16v6H4zM8 7h.01M8 17h.01'],
  ['rights', 'M12 3l8 4v5c0 4.5-3.2 7.7-8 9-4.8-1.3-8-4.5-8-9V7z'],
  ['people', 'M9 11a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7zM3 20c0-3.3 2.7-6 6-6s6 2.7 6 6M16 4.5a3.5 3.5 0 0 1 0 6.5M17.5 14.5c2 .8 3.5 2.900 3.500 5.500'],
  ['simulate', 'M5 4l14 8-14 8z'],
];

function Icon({ path }) {
  return html`<svg class="icon" viewBox="0 0 24 24" aria-hidden="true"><path d=${path} /></svg>`;
}

export function applyTheme(theme) {
  if (theme) document.documentElement.dataset.theme = theme; else delete document.documentElement.dataset.theme;
  keep('theme', theme);
  window.dispatchEvent(new Event('hai-theme'));
}

export function Chooser() {
  const language = i18n.useLanguage();
  const [theme, set] = useState(kept('theme', ''));
  const next = { '': 'light', light: 'dark', dark: '' };
  const change = () => { set(next[theme]); applyTheme(next[theme]); };
  return html`<div class="chooser">
    <button type="button" id="language" lang=${language === 'en' ? 'zh' : 'en'} onClick=${() => i18n.choose(language === 'en' ? 'zh' : 'en')}>
      ${language === 'en' ? '中文' : 'English'}</button>
    <button type="button" id="theme" onClick=${change} aria-label=${t('theme.label', { theme: t(`theme.${theme || 'auto'}`) })}>${t(`theme.${theme || 'auto'}`)}</button>
  </div>`;
}

function Line() {
  const state = useLine();
  const [shown, show] = useState(false);
  // A blink is not worth a word.
  useEffect(() => {
    if (state !== 'lost') { show(false); return undefined; }
    const timer = setTimeout(() => show(true), 1200);
    return () => clearTimeout(timer);
  }, [state]);
  return html`<div class="line-lost" role="status" aria-live="assertive" hidden=${!shown}>${shown ? t('line.lost') : ''}</div>`;
}

export function Shell({ at, user, version, children }) {
  i18n.useLanguage();
  const can = useCan();
  const line = useLine();
  const operator = user.role === 'operator';
  const shown = VIEWS.filter(([name]) => {
    if (name === 'people') return operator;
    if (name === 'simulate') return can?.path('/v1/simulations');
    if (name === 'time') return can?.path('/v1/timeline');
    return true;
  });
  useEffect(() => { document.title = `${t(`nav.${at.view}`)} · hai`; }, [at.view, i18n.current()]);
  const leave = () => signOut().catch(tellProblem);
  return html`<div class="shell">
    <a class="skip" href="#main">${t('skip')}</a>
    <nav class="side" aria-label=${t('nav.label')}>
      <${Link} to="" class="brand" aria-label=${t('nav.home')}><svg viewBox="0 0 32 32" aria-hidden="true"><rect x="3" y="5" width="15" height="5" rx="1.5" /><rect x="3" y="13.500" width="26" height="5" rx="1.500" opacity=".65" /><rect x="13" y="22" width="16" height="5" rx="1.500" /></svg><b>hai</b></${Link}>
      <ul>${shown.map(([name, path]) => html`<li key=${name}><${Link} to=${name === 'now' ? '' : name} id=${`nav-${name}`}
        aria-current=${at.view === name ? 'page' : undefined}><${Icon} path=${path} /><span>${t(`nav.${name}`)}</span></${Link}></li>`)}</ul>
      <div class="foot">
        <div class="line" data-line=${line}><i></i>${t(`line.${line}`)}</div>
        <div class="who"><${Person} name=${user.name} />${operator && html`<span class="role">${t('role.operator')}</span>`}</div>
        <${Chooser} />
        <button type="button" id="sign-out" onClick=${leave}>${t('signOut')}</button>
        <small class="muted">hai ${version}</small>
      </div>
    </nav>
    <main id="main" tabindex="-1"><${Line} />${children}</main>
    <${Toasts} />
  </div>`;
}
