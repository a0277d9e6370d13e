// What the local page and the report are both made of; the report has this text inside it, so nothing is imported here.

export const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
export const mark = (kind, text) => make("span", { class: `mark ${kind}` }, text);

// Everything that comes from files and people is put in as text or as an attribute, never as markup.
export function make(tag, attributes = {}, ...content) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...content.filter((one) => one !== null));
  return element;
}

// Two pictures of one place, one over the other, and a line to be moved between them.
// what: "face" or "photo"; failed(when) is called with "before" or "after" where that picture cannot be shown
export function comparison(what, before, after, failed = () => {}) {
  const range = make("input", { type: "range", min: 0, max: 100, value: 50, step: 1, "aria-label": `Before and after: where the restored ${what} begins` });
  const picture = (when, src) => make("img", { src, class: when, alt: `The ${what} ${when}`, draggable: "false", onerror: () => failed(when) });
  const box = make("div", { class: "compare" }, picture("before", before), picture("after", after),
    make("span", { class: "side first" }, "before"), make("span", { class: "side second" }, "after"), make("span", { class: "divide" }), range);
  const place = (share) => {
    range.value = share;
    box.style.setProperty("--at", `${share}%`);
    range.setAttribute("aria-valuetext", `${Math.round(100 - share)} % of the picture restored`);
  };
  const drag = (event) => {
    const edge = box.getBoundingClientRect();
    place(Math.min(100, Math.max(0, (100 * (event.clientX - edge.left)) / edge.width)));
  };
  range.addEventListener("input", () => place(Number(range.value)));
  box.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    box.setPointerCapture(event.pointerId);
    drag(event);
    range.focus({ preventScroll: true });
    event.preventDefault();
  });
  box.addEventListener("pointermove", (event) => { if (box.hasPointerCapture(event.pointerId)) drag(event); });
  place(50);
  return { box, swap: () => place(Number(range.value) > 50 ? 0 : 100) };
}
