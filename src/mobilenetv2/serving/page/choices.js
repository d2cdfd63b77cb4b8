// The choice of a model, and of where photos are computed.

import { element, setText } from "./teach_elements.js";
import { say } from "./words.js";

/**
 * @typedef {import("./device.js").Model} Model
 * @typedef {import("./photos.js").Place} Place
 * @typedef {"server" | "device" | "both"} Choice
 * @typedef {{server: boolean, models: Model[], threshold: number, version: string,
 *   limits: {bytes: number, photos: number} | null}} Facts page.json
 */

/** Key in sessionStorage: who chose that no photo leaves keeps that choice on a reload. */
const KEPT = "mobilenetv2.place";
/** @type {Choice[]} */
const CHOICES = ["server", "device", "both"];
/** @type {Record<Choice, Place[]>} */
const PLACES = { server: ["server"], device: ["device"], both: ["server", "device"] };

/**
 * Return the controls that choose a model and a place.
 * @param {Facts} facts
 * @param {import("./devices.js").Devices} devices
 * @param {() => void} changed called after every change
 */
export function choices(facts, devices, changed) {
  const named = new Map(facts.models.map((one) => [one.name, one]));
  let model = facts.models[0];
  let choice = facts.server ? kept() : "device";

  const several = facts.models.length > 1;
  const select = element("select", { id: "model" });
  for (const one of facts.models) select.append(element("option", { value: one.name }, one.name));
  const modelChoice = several
    ? [element("label", { htmlFor: select.id }, say("model.label")), select]
    : [element("span", {}, say("model.label")), element("strong", {}, model.name)];
  const modelFacts = element("p", { className: "intro" });

  const hint = element("p", { className: "hint", id: "place-hint" });
  const inputs = CHOICES.map((value) => {
    const input = element("input", { type: "radio", name: "place", value, id: `place-${value}` });
    input.addEventListener("change", () => {
      choice = value;
      keep(value);
      update();
      changed();
    });
    return input;
  });
  const options = inputs.map((input) => {
    const text = say(`place.${input.value}`);
    return element("label", { htmlFor: input.id }, input, element("span", {}, text));
  });
  const segments = element("div", { className: "segments" }, ...options);
  const legend = element("legend", { className: "legend" }, say("place.legend"));
  const place = element(
    "fieldset",
    { className: "choice" },
    legend,
    segments,
    hint,
  );
  place.setAttribute("aria-describedby", hint.id);
  // Without a server there is nothing to choose: the hint says where it is computed.
  if (!facts.server) segments.hidden = legend.hidden = true;

  const state = deviceState(devices);

  select.addEventListener("change", () => {
    model = named.get(select.value) ?? model;
    update();
    changed();
  });
  devices.addEventListener("change", updateState);
  update();

  /** The choice that holds: a model that no browser computes leaves only the server. */
  function effective() {
    return facts.server && !model.device ? "server" : choice;
  }

  function update() {
    const now = effective();
    const [height, width] = model.size;
    const count = model.labels.length.toLocaleString();
    setText(modelFacts, say("model.facts", { classes: count, width, height }));
    for (const input of inputs) {
      input.checked = input.value === now;
      input.disabled = input.value !== "server" && !model.device;
    }
    const why = model.why_not;
    const able = Boolean(model.device);
    const words = [say(`place.${now}Hint`), able ? "" : say("place.unable", { why })];
    const nothing = say("place.nothing", { model: model.name, why });
    setText(hint, !able && !facts.server ? nothing : words.filter(Boolean).join(" "));
    updateState();
  }

  function updateState() {
    const loading = devices.state.kind === "loading";
    state.hidden = !model.device || (effective() === "server" && !loading);
  }

  return {
    /** The choice of a model, which is that of every tab. */
    modelChoice,
    modelFacts,
    root: element("div", { className: "choices" }, place, state),
    model: () => model,
    /** @returns {Place[]} */
    places: () => (model.device || facts.server ? PLACES[effective()] : []),
  };
}

/**
 * Return what says how far the loading of a model to this device is.
 * @param {import("./devices.js").Devices} devices
 */
export function deviceState(devices) {
  const bar = element("progress", { hidden: true, max: 1, ariaLabel: say("device.loading") });
  const told = element("p", { className: "hint device-state", role: "status" });
  // Not in the status: a screen reader would say every change of the number.
  const detail = element("p", { className: "time" });
  function update() {
    const { state } = devices;
    setText(told, state.kind === "none" ? "" : state.text);
    told.classList.toggle("bad", state.kind === "failed");
    told.classList.toggle("working", state.kind === "loading");
    setText(detail, state.kind === "loading" ? state.detail : "");
    bar.hidden = state.kind !== "loading" || state.share === null;
    if (state.kind === "loading") bar.value = state.share ?? 0;
  }
  devices.addEventListener("change", update);
  update();
  return element("div", { className: "device" }, told, bar, detail);
}

/** @returns {Choice} */
function kept() {
  try {
    const found = /** @type {Choice} */ (sessionStorage.getItem(KEPT));
    return CHOICES.includes(found) ? found : "server";
  } catch {
    return "server"; // the browser keeps nothing for this page
  }
}

/** @param {Choice} choice */
function keep(choice) {
  try {
    sessionStorage.setItem(KEPT, choice);
  } catch {
    // The browser keeps nothing for this page: the choice ends with it.
  }
}
