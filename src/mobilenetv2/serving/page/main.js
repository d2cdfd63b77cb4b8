// The page: asks the server for its facts, then puts the parts together.

import { board } from "./board.js";
import { openCamera } from "./camera.js";
import { cameraDialog } from "./camera_dialog.js";
import { choices, deviceState } from "./choices.js";
import { Devices } from "./devices.js";
import { intake } from "./intake.js";
import { Photos } from "./photos.js";
import { readPixels } from "./pixels.js";
import { connect } from "./server.js";
import { mountTabs } from "./tabs.js";
import { button, element, setText } from "./teach_elements.js";
import { mountTeach } from "./teach_panel.js";
import { keptToken, tokenForm } from "./token.js";
import { language, say } from "./words.js";

/** @param {string} id */
const byId = (id) => /** @type {HTMLElement} */ (document.getElementById(id));

const start = byId("start");
const server = connect(keptToken(), { onDenied: () => askForToken() });
/** True as soon as the facts are there and the page is put together. */
let isBuilt = false;

document.documentElement.lang = language() === "zh" ? "zh-CN" : "en";
for (const one of document.querySelectorAll("[data-say]")) {
  one.textContent = say(/** @type {HTMLElement} */ (one).dataset.say ?? "");
}
byId("late").remove(); // it says what to do where this script is not run
begin();

/** Ask for the facts of the models until they are there, and put the page together. */
async function begin() {
  const line = element("p", { className: "hint working" }, say("starting"));
  start.replaceChildren(line);
  try {
    const facts = await server.facts(() => setText(line, say("loading")));
    start.replaceChildren();
    build(facts);
  } catch (error) {
    if (/** @type {any} */ (error).status === 401) return; // the form for a token is there
    const text = error instanceof Error ? error.message : String(error);
    const words = element("p", { className: "bad" }, text);
    const again = button(say("retry"), begin);
    start.replaceChildren(element("div", { className: "notice" }, words, again));
  }
}

/** Show the form for a token, and go on when there is one. */
function askForToken() {
  if (start.querySelector("form")) return;
  const { form, focus } = tokenForm(server.token !== "", (token) => {
    server.token = token;
    start.replaceChildren();
    if (!isBuilt) begin();
  });
  start.replaceChildren(form);
  focus();
}

/** @param {import("./choices.js").Facts} facts */
function build(facts) {
  isBuilt = true;
  const devices = new Devices(server, !facts.server);
  const device = (/** @type {import("./device.js").Model} */ model) => devices.get(model);
  const photos = new Photos({ server, device, readPixels: read, limits: facts.limits });
  const { threshold } = facts;
  const ask = byId("ask");
  const teachTab = byId("teaching");
  const choice = choices(facts, devices, chosen);
  const home = () => incoming.choose;
  const answers = board({ photos, server, device, readPixels: read, threshold, home });
  const notice = element("p", { role: "status", className: "hint" });
  const camera = (/** @type {boolean} */ live) =>
    cameraDialog(
      {
        openCamera,
        model: choice.model,
        device: () => devices.get(choice.model()),
        taught: () => teach.teacher.taught,
        add: (files) => photos.add(files),
        threshold,
      },
      live,
    );
  const incoming = intake({
    add: (files) => photos.add(files),
    tell: (text) => setText(notice, text),
    isOpen: () => !ask.hidden && !document.querySelector("dialog[open]"),
    camera: () => camera(false),
    live: () => camera(true),
  });
  ask.replaceChildren(
    element("h2", { className: "title" }, say("title")),
    choice.modelFacts,
    choice.root,
    incoming.root,
    notice,
    answers.root,
  );
  byId("model-choice").replaceChildren(...choice.modelChoice);
  const teach = mountTeach(byId("teach"), {
    device: () => devices.get(choice.model()),
    model: choice.model,
    readPixels,
    openCamera,
    server,
    threshold,
    say,
  });
  teachTab.append(deviceState(devices));
  // With photos in it the page shows answers first: the area for more of them is smaller.
  photos.addEventListener("change", () => ask.classList.toggle("filled", photos.all.length > 0));
  let model = choice.model();
  chosen();
  mountTabs(
    byId("tabs"),
    [
      { section: ask, label: say("tab.ask") },
      { section: teachTab, label: say("tab.teach") },
    ],
    (section) => {
      if (section !== teachTab) teach.close();
    },
  );
  byId("tabs").ariaLabel = say("tabs");
  const foot = [element("span", {}, say("version", { version: facts.version }))];
  // The routes need the token, which a link cannot carry.
  if (facts.server && !server.token) foot.push(element("a", { href: "docs" }, say("docs")));
  byId("foot").replaceChildren(...foot);

  /** Follow the choice of a model and a place. */
  function chosen() {
    const now = choice.model();
    const places = choice.places();
    photos.choose(now, places);
    incoming.allowLive(Boolean(now.device));
    // Loading begins with the choice, before the first photo is there.
    if (places.includes("device") && now.device) devices.get(now);
    if (now !== model) teach.modelChanged();
    model = now;
  }

  /** @param {File} file */
  function read(file) {
    return readPixels(file, facts.server ? "pixels.unreadableServer" : "pixels.unreadable");
  }
}
