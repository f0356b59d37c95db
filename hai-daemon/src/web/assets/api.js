// Asks API v1 as whoever is signed in, and turns what goes wrong into problems that can be shown.

export class Problem extends Error {
  constructor(status, title, detail, field, kind) {
    super(detail || title);
    Object.assign(this, { status, title, detail, field, kind });
  }
}

let csrf = null;
let onSignedOut = () => {};
let features = null;
let renewing = false;

export function whenSignedOut(callback) { onSignedOut = callback; }

function problemOf(status, body) {
  const kind = typeof body.type === 'string' ? body.type.split('/').pop() : status ? '' : 'unreachable';
  return new Problem(status, body.title || `HTTP ${status}`, body.detail || '', body.field, kind);
}

// The problem that somebody else was told of in place of an answer.
export function refuse(body) {
  if (body.status === 401 && !renewing) onSignedOut();
  return problemOf(body.status, body);
}

// The response, if it is a good one. `signal` ends it.
export async function ask(method, path, { body, raw, headers = {}, signal } = {}) {
  const all = { accept: 'application/json', ...headers };
  if (body !== undefined) all['content-type'] = 'application/json';
  if (method !== 'GET' && csrf) all['x-hai-csrf'] = csrf;
  let response;
  try {
    response = await fetch(path, {
      method, headers: all, signal, credentials: 'same-origin', cache: 'no-store',
      body: body !== undefined ? JSON.stringify(body) : raw,
    });
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new Problem(0, '', '', null, 'unreachable');
  }
  if (response.ok) return response;
  let said = {};
  try { said = await response.json(); } catch { /* Not from hai: a proxy's page. */ }
  const problem = problemOf(response.status, said);
  if (problem.status === 401 && !renewing && !path.startsWith('/studio/sign-in')) onSignedOut();
  throw problem;
}

export async function get(path, options) { return (await ask('GET', path, options)).json(); }

export async function send(method, path, body, options) {
  const response = await ask(method, path, { body, ...options });
  const text = await response.text();
  return text ? JSON.parse(text) : null;
}

export const post = (path, body, options) => send('POST', path, body, options);

// Who is signed in; null if nobody.
export async function session() {
  const said = await get('/studio/session');
  csrf = said?.csrf ?? null;
  return said;
}

export async function signIn(token) {
  const said = await post('/studio/sign-in', { token });
  csrf = said.csrf;
  return said;
}

// A new token for whoever is signed in, who stays so: the answer is shown once, and would be lost with the view.
export async function renewOwn(name) {
  renewing = true;
  try {
    const said = await post(`/v1/users/${encodeURIComponent(name)}/token`);
    await signIn(said.token).catch(() => {});
    return said;
  } finally { renewing = false; }
}

export async function signOut() {
  await post('/studio/sign-out');
  csrf = null;
  onSignedOut();
}

// What this server can do, as it says itself: `path('/v1/queue')`, `change('cordon')`, `query('/v1/tasks', 'sort')`.
export function can() {
  features ??= get('/openapi.json').then((document) => {
    const paths = document.paths || {};
    const changes = JSON.stringify(document.components?.schemas?.PlannedChange || {});
    return {
      path: (path) => path in paths,
      change: (name) => changes.includes(`"${name}"`),
      query: (path, name) => (paths[path]?.get?.parameters || []).some((one) => one.name === name),
    };
  }).catch((problem) => { features = null; throw problem; });
  return features;
}
