// The card of a photo: its picture or a heat map, and the answers beside or below each other.

import { bars, doubtWords } from "./bars.js";
import { deviceHeat, serverHeat } from "./heat.js";
import { compared } from "./photos.js";
import { uprightFile } from "./pixels.js";
import { button, element, setText } from "./teach_elements.js";
import { say } from "./words.js";

/**
 * @typedef {import("./photos.js").Photo} Photo
 * @typedef {import("./photos.js").Place} Place
 * @typedef {import("./photos.js").Result} Result
 * @typedef {import("./server.js").Prediction} Prediction
 * @typedef {object} Page
 * @property {import("./photos.js").Photos} photos
 * @property {import("./server.js").Server} server
 * @property {(model: import("./device.js").Model) => Promise<any>} device
 * @property {(file: File) => Promise<import("./resize.js").Pixels>} readPixels
 * @property {number} threshold
 * @property {(photo: Photo) => void} remove
 */

/**
 * Return the card of a photo.
 * @param {Photo} photo
 * @param {Page} page
 */
export function photoCard(photo, page) {
  const { photos } = page;
  const { name } = photo;
  const picture = pictureOf(photo);
  const title = element("h3", { className: "card-name", id: `photo-${photo.id}` }, name);
  title.title = name;
  const away = button("×", () => page.remove(photo));
  away.ariaLabel = say("card.remove", { name });
  away.className = "away";
  const answers = element("div", { className: "card-answers" });
  const difference = element("p", { className: "card-compared hint", hidden: true });
  const root = element(
    "article",
    { className: "card", tabIndex: -1 },
    picture.root,
    element("div", { className: "card-head" }, title, away),
    answers,
    difference,
  );
  root.setAttribute("aria-labelledby", title.id);

  /** The answers that are shown, by place, so that only what has changed is made anew. */
  /** @type {Map<Place, {result: Result | undefined, key: string, root: HTMLElement}>} */
  const shown = new Map();
  /** The heat map that is shown or drawn. @type {{place: Place, index: number} | null} */
  let heat = null;

  function update() {
    const model = photos.model;
    if (!model) return;
    answers.dataset.places = String(photos.places.length);
    for (const [place, one] of shown) {
      if (photos.places.includes(place)) continue;
      one.root.remove();
      shown.delete(place);
      if (heat?.place === place) hideHeat();
    }
    for (const place of photos.places) {
      const result = photos.result(photo, place);
      const key = `${model.name} ${place === "server" && photo.own}`;
      const before = shown.get(place);
      if (before?.result === result && before?.key === key) continue;
      if (heat?.place === place) hideHeat();
      const made = answerOf(place, result);
      shown.set(place, { result, key, root: made });
      // A button that was pressed may be gone: the focus stays in the card.
      const focused = before?.root.contains(document.activeElement);
      if (before) before.root.replaceWith(made);
      else if (place === "server") answers.prepend(made);
      else answers.append(made);
      if (focused) root.focus();
    }
    updateDifference();
  }

  /** @param {Place} place @param {Result | undefined} result */
  function answerOf(place, result) {
    const where = say(`place.${place}`);
    const time = element("span", { className: "time" });
    const heading = element("h4", {}, where, time);
    const made = element("section", { className: "answer" }, heading);
    made.ariaLabel = say("card.answers", { place: where, name });
    made.dataset.place = place;
    made.dataset.state = result?.state ?? "waiting";
    if (!result) {
      if (place === "server" && photo.own) made.append(...askToSend());
      else made.append(element("p", { className: "hint" }, say("card.waiting")));
    } else if (result.state === "working") {
      made.append(element("p", { className: "hint working" }, say("card.working")));
    } else if (result.state === "failed") {
      made.append(element("p", { className: "bad" }, result.error ?? ""));
      if (result.again) {
        const again = button(say("retry"), () => photos.again(photo, place));
        again.ariaLabel = say("card.retryNamed", { name });
        made.append(again);
      }
    } else {
      const ms = Math.max(1, Math.round(result.ms ?? 0));
      setText(time, say("card.time", { ms: ms.toLocaleString() }));
      made.append(...answerParts(place, result.predictions ?? []));
    }
    return made;
  }

  function askToSend() {
    const send = button(say("card.send"), () => photos.allow(photo));
    send.ariaLabel = say("card.sendNamed", { name });
    return [element("p", { className: "hint" }, say("card.own")), send];
  }

  /** @param {Place} place @param {Prediction[]} predictions */
  function answerParts(place, predictions) {
    const explains = place === "server" ? photos.model?.explain : photos.model?.device;
    const doubt = doubtWords(predictions, page.threshold);
    const list = bars(predictions, explains ? (one) => toggleHeat(place, one) : null);
    const parts = [];
    if (doubt) parts.push(element("p", { className: "unsure" }, doubt));
    parts.push(list);
    if (explains && predictions.length) {
      const toggle = button(say("heat.show"), () => {
        if (heat?.place === place) hideHeat();
        else toggleHeat(place, predictions[0]);
      });
      toggle.className = "quiet heat-toggle";
      toggle.ariaLabel = say("heat.showNamed", { name, place: say(`place.${place}`) });
      parts.push(toggle);
    }
    return parts;
  }

  function updateDifference() {
    const both = photos.places.length === 2;
    const found = both
      ? compared(photos.result(photo, "server"), photos.result(photo, "device"))
      : null;
    difference.hidden = !found;
    if (!found) return;
    const points = (100 * found.difference).toFixed(1);
    setText(difference, say(found.same ? "card.same" : "card.differ", { points }));
    difference.classList.toggle("unsure", !found.same);
  }

  /** @param {Place} place @param {Prediction} one */
  async function toggleHeat(place, one) {
    if (heat?.place === place && heat.index === one.index) return hideHeat();
    const wanted = { place, index: one.index };
    heat = wanted;
    markHeat();
    picture.tell(say("heat.working"));
    const model = photos.model;
    if (!model) return;
    try {
      const drawn =
        place === "server"
          ? await serverHeat(photo.file, model, one.index, page.server)
          : await deviceHeat(
              await page.readPixels(photo.file),
              await page.device(model),
              one.index,
              page.server,
            );
      if (heat !== wanted) return; // another one was chosen meanwhile
      const { label } = one;
      picture.show(drawn, say("heat.alt", { name, label }), say("heat.caption", { label }));
    } catch (error) {
      if (heat !== wanted) return;
      hideHeat();
      picture.tell(error instanceof Error ? error.message : String(error));
    }
  }

  function hideHeat() {
    heat = null;
    picture.show(null, "", "");
    markHeat();
  }

  /** Mark the bar whose heat map is shown, and name the button by what it does next. */
  function markHeat() {
    for (const [place, { root: made }] of shown) {
      for (const row of made.querySelectorAll("button.bar-row")) {
        const { index } = /** @type {HTMLElement} */ (row).dataset;
        row.ariaPressed = String(heat?.place === place && Number(index) === heat.index);
      }
      const toggle = /** @type {HTMLElement | null} */ (made.querySelector(".heat-toggle"));
      if (!toggle) continue;
      const on = heat?.place === place;
      setText(toggle, say(on ? "heat.hide" : "heat.show"));
      const values = { name, place: say(`place.${place}`) };
      toggle.ariaLabel = say(on ? "heat.hideNamed" : "heat.showNamed", values);
    }
  }

  update();
  return { root, away, update, close: picture.close };
}

/**
 * Return the place of a card for its photo, or for what is drawn instead.
 * @param {Photo} photo
 */
function pictureOf({ file, name }) {
  const image = element("img", { alt: name, loading: "lazy", decoding: "async" });
  let url = "";
  let isClosed = false;
  uprightFile(file).then((shown) => {
    if (isClosed) return;
    url = URL.createObjectURL(shown);
    image.src = url;
  });
  const caption = element("p", { className: "card-caption", role: "status" });
  /** @type {HTMLElement} */
  let own = image;
  const root = element("div", { className: "card-picture" }, image, caption);
  image.addEventListener("error", () => {
    // HEIC and TIFF, in most browsers, or a damaged file: who answers says which.
    const words = element("p", { className: "placeholder" }, say("card.noPicture"));
    if (own === image && image.isConnected) image.replaceWith(words);
    own = words;
  });
  /** @param {HTMLElement | null} drawn @param {string} alt @param {string} text */
  function show(drawn, alt, text) {
    const next = drawn ?? own;
    if (drawn) Object.assign(drawn, { role: "img", ariaLabel: alt });
    if (root.firstElementChild !== next) root.firstElementChild?.replaceWith(next);
    root.classList.toggle("heat", drawn !== null);
    setText(caption, text);
  }
  const tell = (/** @type {string} */ text) => setText(caption, text);
  function close() {
    isClosed = true;
    URL.revokeObjectURL(url);
  }
  return { root, show, tell, close };
}
