// Who may ask: users and their tokens, which are shown once.
import { html, useState } from '../lib.js';
import { post, renewOwn, send } from '../api.js';
import { Confirm } from '../act.js';
import { fullTime } from '../format.js';
import { t, word } from '../i18n.js';
import { useResource } from '../store.js';
import { Ago, CopyButton, Dialog, Empty, Field, Person, Section, Select, Trouble, Wait, tellProblem, toast } from '../ui.js';

function Token({ said, onClose }) {
  return html`<${Dialog} title=${t('people.token', { name: said.name })} onClose=${onClose}><p>${t('people.once')}</p>
    <pre class="token" id="new-token" tabindex="0" aria-label=${t('signIn.token')}>${said.token}</pre>
    <footer><${CopyButton} text=${said.token} /><button type="button" class="main" onClick=${onClose}>${t('people.noted')}</button></footer></${Dialog}>`;
}

function Add({ onClose, onDone }) {
  const [name, setName] = useState('');
  const [role, setRole] = useState('user');
  const [problem, fail] = useState(null);
  const submit = async (event) => {
    event.preventDefault();
    try { onDone(await post('/v1/users', { name: name.trim(), role })); } catch (error) { fail(error); }
  };
  return html`<${Dialog} title=${t('people.add')} onClose=${onClose}><form class="form" onSubmit=${submit}>
    <${Field} label=${t('name')} hint=${t('people.nameHint')}><input name="name" required value=${name} onInput=${(event) => setName(event.currentTarget.value)} autocomplete="off" spellcheck="false" /></${Field}>
    <${Field} label=${t('people.role')}><${Select} value=${role} onChange=${setRole} options=${['user', 'operator', 'agent'].map((one) => [one, t(`role.${one}`)])} /></${Field}>
    <${Trouble} problem=${problem} />
    <footer><button type="button" onClick=${onClose}>${t('cancel')}</button><button type="submit" class="main">${t('people.add')}</button></footer></form></${Dialog}>`;
}

export function People({ me }) {
  const { data, problem, reload } = useResource('/v1/users', { every: 30_000 });
  const [said, say] = useState(null);
  const [adding, add] = useState(false);
  const [asking, ask] = useState(null);
  const [gone, showGone] = useState(false);
  const rotate = async (user) => { try { say(await (user.name === me.name ? renewOwn(user.name) : post(`/v1/users/${encodeURIComponent(user.name)}/token`))); reload(); } catch (error) { tellProblem(error); } };
  const remove = async (user) => { try { await send('DELETE', `/v1/users/${encodeURIComponent(user.name)}`); toast(t('people.removed', { name: user.name })); reload(); } catch (error) { tellProblem(error); } };
  const users = (data?.users ?? []).filter((user) => gone || !user.removed);
  const seen = users.some((user) => 'last_seen' in user);
  return html`<div class="page-head"><h1>${t('nav.people')}</h1><div class="filters">
      <label class="check"><input type="checkbox" checked=${gone} onChange=${(event) => showGone(event.currentTarget.checked)} />${t('people.showRemoved')}</label>
      <button type="button" class="main" id="add-user" onClick=${() => add(true)}>${t('people.add')}</button></div></div>
    <${Trouble} problem=${problem} again=${reload} />
    <${Section} id="users" title=${t('people.users')}>${!data ? !problem && html`<${Wait} />` : users.length === 0 ? html`<${Empty}>${t('people.none')}</${Empty}>` : html`<div class="scroll" tabindex="0" role="group" aria-label=${t('people.users')}><table><thead><tr><th>${t('name')}</th><th>${t('people.role')}</th><th>${t('people.since')}</th>${seen && html`<th>${t('people.lastSeen')}</th>`}<th><span class="sr">${t('actions')}</span></th></tr></thead>
      <tbody>${users.map((user) => html`<tr key=${user.name} data-user=${user.name} class=${user.removed ? 'removed' : ''}><td><${Person} name=${user.name} /></td><td>${t(`role.${user.role}`)}${user.removed ? ` · ${t('people.isRemoved')}` : ''}</td><td>${fullTime(user.created_at)}</td>
        ${seen && html`<td>${user.last_seen ? html`<${Ago} at=${user.last_seen} />` : t('people.never')}</td>`}
        <td class="row-acts">${!user.removed && html`<button type="button" onClick=${() => (user.name === me.name ? ask({ user, what: 'own' }) : ask({ user, what: 'rotate' }))}>${t('people.rotate')}</button>${user.name !== me.name && html`<button type="button" class="danger" onClick=${() => ask({ user, what: 'remove' })}>${t('people.remove')}</button>`}`}</td></tr>`)}</tbody></table></div>`}</${Section}>
    ${adding && html`<${Add} onClose=${() => add(false)} onDone=${(token) => { add(false); say(token); reload(); }} />`}
    ${said && html`<${Token} said=${said} onClose=${() => say(null)} />`}
    ${asking && html`<${Confirm} title=${t(asking.what === 'remove' ? 'people.remove' : 'people.rotate')} text=${t(`people.ask.${asking.what}`, { name: asking.user.name })} doing=${t(asking.what === 'remove' ? 'people.remove' : 'people.rotate')} onClose=${() => ask(null)} onYes=${() => (asking.what === 'remove' ? remove(asking.user) : rotate(asking.user))} />`}`;
}
