// The feed of new events, for whoever listens.  It runs while the page shows now, and stops while it shows the past;
// when it runs again it goes on behind the last event that it gave, so that nothing is missed in between.

import { Away, Refused, api, isAbort } from "./api.js";

const LONGEST_WAIT_MS = 15_000;
const FAR_BEHIND_MS = 60_000;

export class Live extends EventTarget {
  state = "closed";
  last = null;
  #controller = null;
  #stopped = 0;

  start() {
    if (this.#controller) return;
    // After a long look at the past the panels ask anew anyway; the feed need not bring all that happened meanwhile.
    if (performance.now() - this.#stopped > FAR_BEHIND_MS) this.last = null;
    this.#controller = new AbortController();
    this.#run(this.#controller.signal);
  }

  stop() {
    this.#controller?.abort();
    this.#controller = null;
    this.#stopped = performance.now();
    this.#is("closed");
  }

  async #run(signal) {
    let wait = 500;
    while (!signal.aborted) {
      this.#is("connecting");
      try {
        let batch = [];
        let frame = 0;
        await api.stream(
          this.last === null ? {} : { after: this.last },
          (events) => {
            for (const { data, id } of events) {
              if (data.event_type) batch.push(data);
              if (id !== null) this.last = id;
            }
            // All that comes before the next picture is drawn at once.
            frame ||= setTimeout(() => {
              frame = 0;
              const arrived = batch;
              batch = [];
              if (!signal.aborted && arrived.length) this.dispatchEvent(new CustomEvent("events", { detail: arrived }));
            }, 50);
          },
          signal,
          () => {
            wait = 500;
            this.#is("open");
          },
        );
      } catch (error) {
        if (signal.aborted || isAbort(error)) return;
        if (error instanceof Refused && error.status === 401) return;
        // The sequence may lie too far back to go on from: then begin with what comes.
        if (error instanceof Refused && error.status < 500) this.last = null;
        if (!(error instanceof Away || error instanceof Refused || error instanceof TypeError)) throw error;
      }
      if (signal.aborted) return;
      this.#is("connecting");
      await new Promise((done) => setTimeout(done, wait));
      wait = Math.min(wait * 2, LONGEST_WAIT_MS);
    }
  }

  #is(state) {
    if (this.state !== state) {
      this.state = state;
      this.dispatchEvent(new CustomEvent("state", { detail: state }));
    }
  }
}
