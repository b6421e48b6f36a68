// Talking to the admin API: the bearer token, errors in words, requests that are superseded, the stream of events.

const KEY = "slircd.token";

/** The server refused: `status`, and what it said. */
export class Refused extends Error {
  constructor(status, document) {
    super(document.title || `HTTP ${status}`);
    this.status = status;
    this.document = document;
  }

  /** What the server said, in one sentence. */
  get words() {
    const { title, parameter, given, allowed, detail } = this.document;
    if (parameter && allowed) return `${parameter}: ${given} is not allowed; allowed is ${allowed}`;
    return [title || `HTTP ${this.status}`, detail].filter(Boolean).join(": ");
  }
}

/** The server did not answer. */
export class Away extends Error {
  get words() {
    return "The server does not answer";
  }
}

/** An error in one sentence. */
export function words(error) {
  return error.words ?? String(error.message ?? error);
}

export const isAbort = (error) => error?.name === "AbortError";

class Api extends EventTarget {
  constructor() {
    super();
    this.user = null;
    this.actions = new Set();
    this.away = false;
    this.token = null;
    try {
      this.token = sessionStorage.getItem(KEY);
    } catch {
      // Without storage a reload asks for the password again.
    }
  }

  /** Whether the user may do something: the name of an action. */
  may(action) {
    return this.user?.role === "admin" && this.actions.has(action);
  }

  /** Log in; the password is sent once and forgotten. */
  async logIn(name, password) {
    const basic = btoa(String.fromCodePoint(...new TextEncoder().encode(`${name}:${password}`)));
    const answer = await this.#fetch("admin/session", { method: "POST", headers: { Authorization: `Basic ${basic}` } });
    const session = await answer.json();
    this.#keep(session.token);
    this.user = { name: session.name, role: session.role };
  }

  /** Whether the kept token is still good; fills `user`. */
  async resume() {
    if (!this.token) return false;
    try {
      this.user = await this.get("admin/whoami");
      return true;
    } catch (error) {
      if (error instanceof Refused && error.status === 401) return false;
      throw error;
    }
  }

  /** Log out, here and at the server. */
  async logOut() {
    try {
      await this.#fetch("admin/session", { method: "DELETE", headers: this.#bearer() });
    } catch {
      // The token is forgotten here in any case, and ends by itself there.
    }
    this.forget("");
  }

  /** The token is no good any more. */
  forget(reason) {
    this.#keep(null);
    this.user = null;
    this.dispatchEvent(new CustomEvent("signed-out", { detail: reason }));
  }

  /** The document at a path. */
  async get(path, parameters = {}, signal = undefined) {
    return (await this.#authorised(withQuery(path, parameters), { signal })).json();
  }

  /** The document, and the cursor of the next page (a path) or null. */
  async page(path, parameters = {}, signal = undefined) {
    const answer = await this.#authorised(withQuery(path, parameters), { signal });
    const next = /<([^>]+)>; rel="next"/.exec(answer.headers.get("link") ?? "");
    return { items: await answer.json(), next: next ? next[1].replace(/^\//, "") : null };
  }

  /** Send a document, get one. */
  async post(path, document, signal = undefined) {
    const answer = await this.#authorised(path, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(document),
      signal,
    });
    return answer.status === 204 ? null : answer.json();
  }

  /** Read the stream of events until the signal ends it or the connection breaks: `each` is given batches. */
  async stream(parameters, each, signal, opened = () => {}) {
    const answer = await this.#authorised(withQuery("admin/stream", parameters), {
      signal,
      headers: { Accept: "text/event-stream" },
    });
    opened();
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const parts = (rest + value).split(/\r?\n\r?\n/);
      rest = parts.pop();
      const batch = parts.map(parseServerSentEvent).filter(Boolean);
      if (batch.length) each(batch);
    }
  }

  async #authorised(path, options) {
    try {
      return await this.#fetch(path, { ...options, headers: { ...options.headers, ...this.#bearer() } });
    } catch (error) {
      if (error instanceof Refused && error.status === 401 && this.token) {
        this.forget("Your session has ended: log in again to go on where you are.");
      }
      throw error;
    }
  }

  async #fetch(path, options) {
    let answer;
    try {
      answer = await fetch(new URL(path, document.baseURI), { credentials: "omit", ...options });
    } catch (error) {
      if (isAbort(error)) throw error;
      this.#isAway(true);
      throw new Away();
    }
    this.#isAway(false);
    if (answer.ok) return answer;
    let said = {};
    try {
      said = await answer.json();
    } catch {
      // A proxy in between may answer with anything.
    }
    throw new Refused(answer.status, said);
  }

  #isAway(away) {
    if (this.away !== away) {
      this.away = away;
      this.dispatchEvent(new CustomEvent("away", { detail: away }));
    }
  }

  #bearer() {
    return this.token ? { Authorization: `Bearer ${this.token}` } : {};
  }

  #keep(token) {
    this.token = token;
    try {
      if (token) sessionStorage.setItem(KEY, token);
      else sessionStorage.removeItem(KEY);
    } catch {
      // See the constructor.
    }
  }
}

function parseServerSentEvent(text) {
  const event = { id: null, kind: "message", data: "" };
  for (const line of text.split(/\r?\n/)) {
    const [name, ...value] = line.split(":");
    const content = value.join(":").replace(/^ /, "");
    if (name === "data") event.data += event.data ? `\n${content}` : content;
    else if (name === "id") event.id = content;
    else if (name === "event") event.kind = content;
  }
  if (!event.data) return null;
  try {
    event.data = JSON.parse(event.data);
  } catch {
    return null;
  }
  return event;
}

function withQuery(path, parameters) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== null && value !== undefined && value !== "") query.set(name, value);
  }
  const text = query.toString();
  return text ? `${path}${path.includes("?") ? "&" : "?"}${text}` : path;
}

/** One thing at a time: a new run ends the one before. */
export class Latest {
  #controller = null;

  /** Run `action(signal)`; what was running is aborted.  Resolves to undefined if this one is superseded. */
  async run(action) {
    this.stop();
    const controller = new AbortController();
    this.#controller = controller;
    try {
      const result = await action(controller.signal);
      return controller.signal.aborted ? undefined : result;
    } catch (error) {
      if (controller.signal.aborted || isAbort(error)) return undefined;
      throw error;
    }
  }

  stop() {
    this.#controller?.abort();
    this.#controller = null;
  }
}

export const api = new Api();
