// Tabs: one of several sections is shown.

import { button } from "./teach_elements.js";

/**
 * Fill a list of tabs; one is chosen by a click, the arrow keys, or the address (#teach).
 * @param {HTMLElement} list
 * @param {{section: HTMLElement, label: string}[]} parts
 * @param {(section: HTMLElement) => void} shown called after another one is shown
 */
export function mountTabs(list, parts, shown) {
  const tabs = parts.map(({ section, label }, i) => {
    const tab = button(label, () => show(i));
    tab.role = "tab";
    tab.id = `tab-${section.id}`;
    tab.setAttribute("aria-controls", section.id);
    section.role = "tabpanel";
    section.setAttribute("aria-labelledby", tab.id);
    return tab;
  });

  /** @param {number} index */
  function show(index) {
    parts.forEach(({ section }, i) => {
      section.hidden = i !== index;
      tabs[i].ariaSelected = String(i === index);
      tabs[i].tabIndex = i === index ? 0 : -1;
    });
    const { section } = parts[index];
    history.replaceState(null, "", index ? `#${section.id}` : location.pathname + location.search);
    shown(section);
  }

  list.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const now = tabs.findIndex((tab) => tab === document.activeElement);
    const next = (now + step + tabs.length) % tabs.length;
    show(next);
    tabs[next].focus();
  });
  list.replaceChildren(...tabs);
  list.hidden = false;
  const wanted = parts.findIndex(({ section }) => location.hash === `#${section.id}`);
  show(Math.max(0, wanted));
}
