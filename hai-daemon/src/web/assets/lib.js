// What draws the page, from one place.
import { h, render, Fragment } from './vendor/preact.js';
import htm from './vendor/htm.js';

export { useState, useEffect, useRef, useMemo, useCallback, useLayoutEffect } from './vendor/hooks.js';
export { h, render, Fragment };
export const html = htm.bind(h);
