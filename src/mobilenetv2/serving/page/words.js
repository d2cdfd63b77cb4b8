// Words of the page in the browser's language: English, or Chinese.

import { WORDS } from "./words_page.js";

/** @type {Record<string, Record<string, string>>} */
const tables = { en: {}, zh: {} };

/**
 * Add words to those of a language.
 * @param {string} language 'en' or 'zh'
 * @param {Record<string, string>} table texts by key; `{name}` in a text stands for a value
 */
export function addWords(language, table) {
  Object.assign((tables[language] ??= {}), table);
}

for (const [name, table] of Object.entries(WORDS)) addWords(name, table);

/**
 * Return the first of the browser's languages that there are words in: 'en' or 'zh'.
 * @returns {string}
 */
export function language() {
  const wanted = globalThis.navigator?.languages ?? [];
  return wanted.map((tag) => tag.toLowerCase().split("-")[0]).find((tag) => tag in tables) ?? "en";
}

/**
 * Return a text in the browser's language.
 * @param {string} key the key itself is returned where no text is known
 * @param {object} [values] values that stand in the text as `{name}`
 */
export function say(key, values = {}) {
  const given = new Map(Object.entries(values));
  const text = tables[language()][key] ?? tables.en[key] ?? key;
  // One pass: braces in a value, such as a file's name, are left alone.
  return text.replace(/{(\w+)}/g, (whole, name) => String(given.get(name) ?? whole));
}

/**
 * Return a probability in percent, as the browser's language writes it.
 * @param {number} share from 0 to 1
 * @param {number} [digits] after the point
 */
export function percent(share, digits = 1) {
  const options = { minimumFractionDigits: digits, maximumFractionDigits: Math.max(1, digits) };
  return new Intl.NumberFormat(language(), { style: "percent", ...options }).format(share);
}

/**
 * Return a number of bytes in megabytes.
 * @param {number} bytes
 */
export function megabytes(bytes) {
  const number = new Intl.NumberFormat(language(), { maximumFractionDigits: 1 });
  return `${number.format(bytes / 1e6)} MB`;
}
