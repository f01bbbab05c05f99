import { t } from "../base/i18n.js";
import { locale } from "../base/language.js";

const SILENCE_MS = 45_000; // three heartbeats of the event stream

/** An address of the API; relative, so that a path prefix stays. */
export const at = (/** @type {string} */ path) => new URL(path, document.baseURI).href;

/** The server's answer is an error (RFC 9457). */
export class Problem extends Error {
  constructor(problem, retryAfter) {
    super(problem.detail);
    this.detail = problem.detail;
    this.status = problem.status;
    this.code = problem.code;
    this.kind = problem.kind;
    this.members = problem;
    this.retryable = Boolean(problem.retryable);
    this.retryAfterS = Number(retryAfter) || problem.retry_after_s || 5;
  }
}

/** There was no answer, or only a proxy's. */
export class Away extends Error {}

const headers = (more) => ({ "Accept-Language": locale(), ...more });

/** @param {number} status @param {string} type @param {string} text @param {string | null} retryAfter */
function failure(status, type, text, retryAfter) {
  if (type.includes("json")) {
    try {
      const problem = JSON.parse(text);
      if (problem.code === "draining" || problem.code === "store_unavailable") return new Away(problem.detail);
      if (problem.detail) return new Problem(problem, retryAfter);
    } catch {
      // cut short: treated like any other answer that is not the gateway's
    }
  }
  if (status === 502 || status === 503 || status === 504) return new Away(String(status));
  return new Problem({ detail: t("unknownError", { status }), status, code: "", retryable: status >= 500 }, retryAfter);
}

/** What was asked before this script was here, see `early.js`. Each answer is good for once. */
globalThis.asked ??= new Map();

function askedEarly(path, method) {
  if (method !== "GET") return undefined;
  const answer = globalThis.asked.get(path);
  globalThis.asked.delete(path);
  return answer;
}

async function send(path, options) {
  let response;
  try {
    response = await (askedEarly(path, options.method) ?? fetch(at(path), options));
  } catch (error) {
    throw error.name === "AbortError" ? error : new Away(error.message);
  }
  if (response.ok || response.status === 304) return response;
  const text = await response.text().catch(() => "");
  throw failure(response.status, response.headers.get("Content-Type") ?? "", text, response.headers.get("Retry-After"));
}

/**
 * @param {string} path
 * @param {{ method?: string, json?: object, etag?: string | null }} [options]
 * @returns {Promise<{ body: any, etag: string | null }>} `body` is null where nothing has changed
 */
export async function call(path, { method = "GET", json, etag } = {}) {
  const response = await send(path, {
    method,
    headers: headers({ ...(json && { "Content-Type": "application/json" }), ...(etag && { "If-None-Match": etag }) }),
    body: json && JSON.stringify(json),
    cache: "no-store",
  });
  try {
    return { body: response.status === 304 ? null : await response.json(), etag: response.headers.get("ETag") };
  } catch (error) {
    throw new Away(error.message);
  }
}

/** Waits for the picture itself; null where the server answered with a job instead. */
export async function stylize(form, signal) {
  const response = await send("v1/stylize", { method: "POST", headers: headers(), body: form, signal });
  const id = response.headers.get("X-Animegan-Job") ?? response.headers.get("Location")?.split("/").pop();
  return { id, picture: response.status === 200 ? await response.blob() : null };
}

/** The drawing itself, as an answer that can be streamed into a file. */
export const result = (/** @type {string} */ id) => send(`v1/jobs/${id}/result`, { headers: headers() });

/**
 * Uploads with progress, which fetch can't tell.
 * @param {FormData} form
 * @param {{ key: string, onprogress: (part: number) => void }} options
 * @returns {{ answer: Promise<any>, abort: () => void }}
 */
export function upload(form, { key, onprogress }) {
  const request = new XMLHttpRequest();
  const answer = new Promise((resolve, reject) => {
    request.open("POST", at("v1/jobs"));
    for (const [name, value] of Object.entries(headers({ "Idempotency-Key": key }))) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => onprogress(event.total ? event.loaded / event.total : 0);
    request.onerror = () => reject(new Away("upload"));
    request.onabort = () => reject(new DOMException("", "AbortError"));
    request.onload = () => {
      const type = request.getResponseHeader("Content-Type") ?? "";
      if (request.status < 300) {
        try {
          resolve(JSON.parse(request.responseText));
        } catch {
          reject(new Away("upload"));
        }
      } else {
        reject(failure(request.status, type, request.responseText, request.getResponseHeader("Retry-After")));
      }
    };
    request.send(form);
  });
  return { answer, abort: () => request.abort() };
}

/**
 * The states of a job as the server tells them. Read with fetch: EventSource can't send the page's language,
 * and hides whether it was refused or the server is away.
 * @param {string} id
 * @param {AbortSignal} signal
 */
export async function* events(id, signal) {
  const silence = new AbortController();
  let timer;
  const heard = () => {
    clearTimeout(timer);
    timer = setTimeout(() => silence.abort(), SILENCE_MS);
  };
  const stop = () => silence.abort();
  signal.addEventListener("abort", stop);
  try {
    heard();
    const response = await send(`v1/jobs/${id}/events`, {
      headers: headers({ Accept: "text/event-stream" }), signal: silence.signal, cache: "no-store",
    });
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      heard();
      const blocks = (rest + value.replaceAll("\r\n", "\n")).split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) {
        const data = block.split("\n").filter((line) => line.startsWith("data:")).map((line) => line.slice(5)).join("\n");
        if (data) yield JSON.parse(data);
      }
    }
  } catch (error) {
    if (error instanceof Problem || error instanceof Away || signal.aborted) throw error;
    throw new Away(error.message);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", stop);
    silence.abort();
  }
}
