// Words in the reader's language.
import { useEffect, useState } from './lib.js';
import { keep, kept } from './store.js';
import en from './words/en.js';
import zh from './words/zh.js';

const LANGUAGES = { en, zh };
const listeners = new Set();
let language = kept('language', '') || (navigator.language.toLowerCase().startsWith('zh') ? 'zh' : 'en');
if (!(language in LANGUAGES)) language = 'en';
document.documentElement.lang = language;

export const current = () => language;

export function choose(next) {
  language = next;
  keep('language', next);
  document.documentElement.lang = next;
  listeners.forEach((callback) => callback(next));
}

// The words for `key`, with what stands in braces filled in.
export function t(key, values) {
  const text = LANGUAGES[language][key] ?? en[key] ?? key;
  return values ? text.replace(/\{(\w+)\}/g, (all, name) => (name in values ? String(values[name]) : all)) : text;
}

// A word that the API uses, if there is one for it; else the word itself.
export function word(kind, value) {
  const key = `${kind}.${value}`;
  return key in en ? t(key) : String(value ?? '').replaceAll('_', ' ');
}

export function useLanguage() {
  const [now, set] = useState(language);
  useEffect(() => { listeners.add(set); return () => listeners.delete(set); }, []);
  return now;
}
