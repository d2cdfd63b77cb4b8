// Requests to the server that this page came from. All addresses are relative to the page.

import { say } from "./words.js";

/** The folder above this file's: where the page, and so the server, is. */
const BASE = new URL("../", import.meta.url);
/** Times that a request is sent again when the server is full or not ready. */
const TRIES = 6;
/** Longest and usual wait before that, in seconds. */
const LONGEST = 20;
const USUAL = 1;

/** A request without success. */
export class ServerError extends Error {
  /**
   * @param {number} status of the answer; 0 if there was none
   * @param {string} sentence
   */
  constructor(status, sentence) {
    super(sentence);
    this.name = "ServerError";
    this.status = status;
  }
}

/**
 * @typedef {{index: number, label: string, probability: number}} Prediction
 * @typedef {{image: string | null, predictions: Prediction[]}} Answered
 * @typedef {{image: string | null, error: string, status: number}} Unanswered
 * @typedef {(loaded: number, total: number | null) => void} OnProgress
 * @typedef {ReturnType<typeof connect>} Server
 */

/**
 * Return the server's functions.
 * @param {string} token bearer token; '' for none
 * @param {{base?: URL, wait?: (seconds: number) => Promise<void>, onDenied?: () => void}} [options]
 *   onDenied: called when the server refuses the token
 */
export function connect(token, { base = BASE, wait = sleep, onDenied = () => {} } = {}) {
  /**
   * Send a request; again after a while if the server is full or not ready.
   * @param {string} path
   * @param {RequestInit & {tries?: number, onWaiting?: () => void}} options
   */
  async function send(path, { tries = TRIES, onWaiting = () => {}, ...options } = {}) {
    for (let left = tries; ; left--) {
      const headers = new Headers(options.headers);
      if (server.token) headers.set("Authorization", `Bearer ${server.token}`);
      const answer = await reach(new URL(path, base), { ...options, headers });
      if (answer.ok) return answer;
      const again = answer.status === 503 || answer.status === 429;
      if (!again || left <= 1) {
        if (answer.status === 401) onDenied();
        throw await errorOf(answer);
      }
      await answer.body?.cancel();
      onWaiting();
      await wait(secondsOf(answer.headers.get("Retry-After")));
      options.signal?.throwIfAborted();
    }
  }

  const server = {
    token,

    /**
     * Return the facts of page.json.
     * @param {() => void} [onWaiting] called each time that the server is not ready yet
     */
    async facts(onWaiting) {
      // A server may load its models for minutes: there is no last try.
      const answer = await send("page.json", { tries: Infinity, onWaiting });
      return readJson(answer);
    },

    /**
     * Return the answers for photos, in their order.
     * @param {string} model
     * @param {File[]} files
     * @param {{signal?: AbortSignal}} [options]
     * @returns {Promise<(Answered | Unanswered)[]>}
     */
    async predict(model, files, { signal } = {}) {
      const form = new FormData();
      for (const file of files) form.append("photo", file, file.name || "photo");
      const path = `predict?model=${encodeURIComponent(model)}`;
      try {
        const answer = await send(path, { method: "POST", body: form, signal });
        const { answers } = await readJson(answer);
        if (answers?.length !== files.length) throw unreadable(answer);
        return answers.map((/** @type {Answered | Unanswered} */ one) =>
          "error" in one ? { ...one, error: say("fromServer", { sentence: one.error }) } : one,
        );
      } catch (error) {
        // With one photo its error is that of the request.
        if (files.length !== 1 || !(error instanceof ServerError)) throw error;
        return [{ image: files[0].name, error: error.message, status: error.status }];
      }
    },

    /**
     * Return the heat map of a class as a PNG file.
     * @param {string} model
     * @param {File} file
     * @param {string} named label or index of the class
     * @returns {Promise<Blob>}
     */
    async explain(model, file, named) {
      const query = `model=${encodeURIComponent(model)}&class=${encodeURIComponent(named)}`;
      const path = `explain?${query}`;
      const answer = await send(path, { method: "POST", body: file });
      return answer.blob();
    },

    /**
     * Return a file that the server has for this page.
     * @param {string} path relative to the page
     * @param {OnProgress} [onProgress]
     * @returns {Promise<Uint8Array>}
     */
    async fetchBytes(path, onProgress = () => {}) {
      const answer = await send(path);
      if (!answer.body) return new Uint8Array(await answer.arrayBuffer());
      const announced = Number(answer.headers.get("Content-Length"));
      // With a Content-Encoding the length is that of what is sent, not of what arrives here.
      const total = answer.headers.has("Content-Encoding") ? null : announced || null;
      /** @type {Uint8Array[]} */
      const parts = [];
      let loaded = 0;
      const reader = answer.body.getReader();
      for (;;) {
        const { done, value } = await interrupted(reader.read());
        if (done) break;
        parts.push(value);
        loaded += value.length;
        onProgress(loaded, total);
      }
      const all = new Uint8Array(loaded);
      let place = 0;
      for (const part of parts) {
        all.set(part, place);
        place += part.length;
      }
      return all;
    },
  };
  return server;
}

/** @param {URL} url @param {RequestInit} options */
function reach(url, options) {
  return interrupted(fetch(url, options));
}

/**
 * Return what a promise gives; a broken connection becomes a sentence.
 * @template T
 * @param {Promise<T>} promise
 */
async function interrupted(promise) {
  try {
    return await promise;
  } catch (error) {
    if (/** @type {Error} */ (error).name === "AbortError") throw error;
    throw new ServerError(0, say("unreachable"));
  }
}

/** @param {Response} answer */
async function readJson(answer) {
  const text = await interrupted(answer.text());
  try {
    return JSON.parse(text);
  } catch {
    throw unreadable(answer);
  }
}

/** @param {Response} answer */
function unreadable(answer) {
  return new ServerError(answer.status, say("badAnswer", { status: answer.status }));
}

/** @param {Response} answer */
async function errorOf(answer) {
  // A proxy before the server answers with pages of its own.
  const found = await readJson(answer).catch(() => null);
  if (typeof found?.error !== "string") return unreadable(answer);
  return new ServerError(answer.status, say("fromServer", { sentence: found.error }));
}

/**
 * Return the seconds of a header Retry-After, within bounds; it may also be a date or missing.
 * @param {string | null} header
 */
function secondsOf(header) {
  const seconds = header && /^\d+$/.test(header) ? Number(header) : USUAL;
  return Math.min(LONGEST, Math.max(0.1, seconds));
}

/** @param {number} seconds @returns {Promise<void>} */
function sleep(seconds) {
  return new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
}
