// The one model that is loaded in this browser, and how far its loading is.

import { MissingRuntime, loadDevice } from "./device.js";
import { megabytes, say } from "./words.js";

/**
 * @typedef {import("./device.js").Model} Model
 * @typedef {import("./device.js").Device} Device
 * @typedef {{kind: "none"} | {kind: "failed", text: string} | {kind: "ready", text: string} |
 *   {kind: "loading", text: string, detail: string, share: number | null}} State
 */

/** Sends the event "change" when its `state` has changed. */
export class Devices extends EventTarget {
  /**
   * @param {import("./server.js").Server} server
   * @param {boolean} alone true for a folder without a server
   */
  constructor(server, alone) {
    super();
    this.server = server;
    this.alone = alone;
    /** @type {State} */
    this.state = { kind: "none" };
    /** @type {{model: Model, device: Promise<Device>, ready: Device | null} | null} */
    this.current = null;
    /** Number of loadings: the state is that of the last one. */
    this.loadings = 0;
  }

  /**
   * Return a model that is ready to compute; the one before it is closed.
   * @param {Model} model
   * @returns {Promise<Device>}
   */
  get(model) {
    if (this.current?.model !== model || this.current.ready?.lost) {
      this.#closeCurrent();
      const device = this.#load(model);
      const current = (this.current = { model, device, ready: /** @type {Device | null} */ (null) });
      device.then(
        (ready) => (current.ready = ready),
        () => {}, // the state says it, and who asked is told
      );
    }
    return this.current.device;
  }

  #closeCurrent() {
    this.current?.device.then(
      (device) => device.close(),
      () => {}, // it was never loaded
    );
    this.current = null;
  }

  /** @param {Model} model @returns {Promise<Device>} */
  async #load(model) {
    const number = ++this.loadings;
    const show = (/** @type {State} */ state) => {
      if (number !== this.loadings) return;
      this.state = state;
      this.dispatchEvent(new Event("change"));
    };
    show({ kind: "loading", text: say("device.loading"), detail: "", share: null });
    let ended = false;
    try {
      const onProgress = (/** @type {number} */ loaded, /** @type {number | null} */ length) => {
        if (ended) return; // the runtime has failed, while the model still arrives
        const total = length ?? model.device?.bytes ?? null;
        const values = { loaded: megabytes(loaded), total: megabytes(total ?? 0) };
        const detail = say(total ? "device.bytesOf" : "device.bytes", values);
        const share = total ? Math.min(1, loaded / total) : null;
        show({ kind: "loading", text: say("device.loading"), detail, share });
      };
      const { server } = this;
      const device = await loadDevice(model, { fetchBytes: server.fetchBytes, onProgress });
      const { backend, threads } = device;
      const one = backend === "wasm" && threads === 1;
      const how = one ? say("device.wasmOne") : say(`device.${backend}`, { threads });
      show({ kind: "ready", text: say("device.ready", { how }) });
      return device;
    } catch (error) {
      ended = true;
      const missing = error instanceof MissingRuntime && this.alone;
      const said = missing ? new Error(say("device.missingStatic")) : error;
      show({ kind: "failed", text: said instanceof Error ? said.message : String(said) });
      if (number === this.loadings) this.current = null; // the next one who asks tries again
      throw said;
    }
  }
}
