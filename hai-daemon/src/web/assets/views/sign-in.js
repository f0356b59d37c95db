// Signing in with a token. The token is kept nowhere here: the server gives a cookie for it, which no script can read.
import { html, useEffect, useRef, useState } from '../lib.js';
import { signIn } from '../api.js';
import { t } from '../i18n.js';
import { Chooser } from '../shell.js';

export function SignIn({ onDone }) {
  const [problem, fail] = useState(null);
  const [busy, work] = useState(false);
  const field = useRef();
  useEffect(() => { document.title = 'hai'; field.current?.focus(); }, []);
  const submit = async (event) => {
    event.preventDefault();
    work(true);
    fail(null);
    try {
      onDone(await signIn(field.current.value));
    } catch (error) {
      fail(error);
      work(false);
      field.current?.select();
    }
  };
  const said = problem && (problem.status === 401 ? t('signIn.wrong')
    : problem.kind === 'unreachable' ? t('trouble.unreachable') : problem.detail);
  return html`<main class="alone">
    <form class="sign-in card" onSubmit=${submit}>
      <h1><svg viewBox="0 0 32 32" aria-hidden="true"><rect x="3" y="5" width="15" height="5" rx="1.500" /><rect x="3" y="13.500" width="26" height="5" rx="1.500" opacity=".65" /><rect x="13" y="22" width="16" height="5" rx="1.500" /></svg>hai</h1>
      <p>${t('signIn.lead')}</p>
      <label for="token">${t('signIn.token')}</label>
      <input id="token" ref=${field} type="password" autocomplete="current-password" spellcheck="false" required
        aria-invalid=${problem ? 'true' : undefined} aria-describedby="token-hint" />
      <small id="token-hint">${t('signIn.hint')}</small>
      <div class="wrong" role="alert">${said ?? ''}</div>
      <button type="submit" class="main" disabled=${busy}>${t('signIn.do')}</button>
    </form>
    <${Chooser} />
  </main>`;
}
