// The grid of all photos, with their number, what is done of them, and a button that removes all.

import { answerWords } from "./bars.js";
import { photoCard } from "./cards.js";
import { button, element, setText } from "./teach_elements.js";
import { say } from "./words.js";

/**
 * @typedef {import("./photos.js").Photo} Photo
 * @typedef {ReturnType<typeof photoCard>} Card
 */

/**
 * Return the grid of photos, which follows them.
 * @param {Omit<import("./cards.js").Page, "remove"> & {home: () => HTMLElement}} page home: what
 *   has the focus when there is no photo any more
 */
export function board(page) {
  const { photos } = page;
  /** @type {Map<Photo, Card>} */
  const cards = new Map();
  const count = element("span", { className: "count" });
  const clear = button(say("photos.clear"), () => {
    photos.clear();
    page.home().focus();
  });
  clear.className = "quiet";
  const title = element("h2", { id: "photos-title" }, say("photos.title"), count);
  const progress = element("p", { className: "hint" });
  const spoken = element("p", { role: "status", className: "unseen" });
  const grid = element("div", { className: "grid" });
  const head = element("div", { className: "board-head" }, title, progress, clear);
  const root = element("section", { className: "board", hidden: true }, head, grid);
  root.setAttribute("aria-labelledby", title.id);
  photos.addEventListener("change", (event) => update(/** @type {CustomEvent} */ (event).detail));

  /** @param {Photo | null} photo the one that has changed; null for all */
  function update(photo) {
    if (photo) cards.get(photo)?.update();
    else updateAll();
    const { done, all } = photos.counts;
    setText(progress, done < all ? say("photos.working", { done, all }) : "");
    if (all && done === all) setText(spoken, summary());
  }

  function updateAll() {
    const kept = new Set(photos.all);
    for (const [photo, card] of cards) {
      if (kept.has(photo)) continue;
      card.root.remove();
      card.close();
      cards.delete(photo);
    }
    const fresh = [];
    for (const photo of photos.all) {
      let card = cards.get(photo);
      if (!card) {
        card = photoCard(photo, { ...page, remove });
        cards.set(photo, card);
        fresh.push(card.root);
      } else {
        card.update();
      }
    }
    grid.prepend(...fresh); // the newest first: they are in view, in the order they were given in
    root.hidden = photos.all.length === 0;
    grid.classList.toggle("two", photos.places.length === 2);
    setText(count, say("photos.count", { n: photos.all.length }));
  }

  /** @param {Photo} photo */
  function remove(photo) {
    const { root: gone } = /** @type {Card} */ (cards.get(photo));
    const next = gone.nextElementSibling ?? gone.previousElementSibling;
    photos.remove(photo);
    setText(spoken, say("photos.removed", { name: photo.name }));
    const card = [...cards.values()].find((one) => one.root === next);
    (card?.away ?? page.home()).focus();
  }

  /** Return what a screen reader says when all are answered. */
  function summary() {
    const [photo] = photos.all;
    const [n, { failed }] = [photos.all.length, photos.counts];
    if (n > 1) return failed ? say("photos.doneFailed", { n, failed }) : say("photos.done", { n });
    const answers = photos.places
      .map((place) => photos.result(photo, place))
      .filter((result) => result !== undefined)
      .map((result) => result.error ?? answerWords(result.predictions ?? [], page.threshold));
    return say("photos.one", { name: photo.name, answer: [...new Set(answers)].join(" / ") });
  }

  return { root: element("div", {}, root, spoken) };
}
