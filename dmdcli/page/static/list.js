// The list of faces: filtered, in order, with only the rows in the window there. What arrives later moves nothing that
// is being looked at, and what was decided stays in the list until something else is looked for.
import { capital, make, mark } from "./elements.js";

const ROW = 84; // pixels, as --row in the style
const SPARE = 5; // rows beyond the window
const LOADED = Date.now().toString(36); // browsers keep a picture for its address: that of a page loaded later is another one
const SETTLED = 90; // milliseconds without scrolling before pictures are fetched
const TYPED = 600; // milliseconds after the last letter before it is said how many there are
const at = (id) => document.getElementById(id);
const isDone = ({ accepted, by_hand, gone }) => accepted || by_hand || gone;
const FILTERS = [
  ["todo", "To do", (one) => !isDone(one)],
  ["all", "All", () => true],
  ["unusable", "Unusable", (one) => one.verdict === "unusable" && !one.gone],
  ["doubtful", "Doubtful", (one) => one.verdict === "doubtful" && !one.gone],
  ["good", "Good", (one) => one.verdict === "good" && !one.gone],
  ["hand", "Decided by hand", (one) => one.by_hand && !one.gone],
  ["accepted", "Accepted", (one) => one.accepted],
  ["gone", "Not a face", (one) => one.gone],
];

export const counted = (number, noun) => `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
const isEmpty = ({ number }) => !number; // no face: a photo in which none was found

export const fileName = (photo) => photo.slice(photo.lastIndexOf("/") + 1);

export class FaceList {
  constructor(open, goneName) {
    this.open = open;
    this.goneName = goneName;
    this.noun = "face";
    this.faces = new Map(); // id -> { summary, text, rank, version }
    this.order = []; // ids
    this.place = new Map(); // id -> its place in `order`
    this.current = null;
    this.rows = new Map(); // id -> row
    this.spare = [];
    this.fetched = new Set();
    this.touched = false;
    at("filter").append(...FILTERS.map(([value, words]) => make("option", { value }, words)));
    at("filters").addEventListener("input", () => { this.filter(); this.#tell(); });
    at("filters").addEventListener("submit", (event) => event.preventDefault());
    at("list").addEventListener("scroll", () => this.#scrolled(), { passive: true });
    at("list").addEventListener("keydown", (event) => this.#key(event));
    at("newer").addEventListener("click", () => { this.filter(); at("list").scrollTop = 0; at("list").focus(); });
    for (const kind of ["pointerdown", "wheel", "focusin"]) at("list").addEventListener(kind, () => { this.touched = true; }, { passive: true });
    new ResizeObserver(() => this.draw()).observe(at("list"));
  }

  // New or changed lines. redrawn: their pictures may have changed although the lines say the same
  update(summaries, redrawn = false) {
    if (!summaries.length) return;
    const arrived = [], wanted = this.#wanted();
    for (const summary of summaries) {
      const known = this.faces.get(summary.id);
      const text = `${summary.photo}\n${summary.person ?? ""}`.toLowerCase();
      if (known) {
        const same = JSON.stringify(known.summary) === JSON.stringify(summary);
        Object.assign(known, { summary, text, version: same && !redrawn ? known.version : known.version + 1 });
      } else {
        const face = { summary, text, rank: summary.rank, version: 1, arrival: this.faces.size };
        this.faces.set(summary.id, face);
        if (wanted(face)) arrived.push(summary.id);
      }
    }
    this.#count();
    if (arrived.length) this.#insert(arrived);
    this.draw(true);
  }

  remove(id) {
    const above = this.place.get(id) < Math.floor(at("list").scrollTop / ROW) ? -1 : 0;
    this.faces.delete(id);
    this.#reorder(this.order.filter((one) => one !== id), above);
  }

  // A face that was drawn comes below the one that it was drawn beside, whatever is looked for
  putBelow(id, other) {
    if (this.place.has(id) || !this.place.has(other)) return;
    this.#reorder(this.order.toSpliced(this.place.get(other) + 1, 0, id), 0);
  }

  filter() {
    const wanted = this.#wanted();
    const found = [...this.faces.values()].filter(wanted);
    for (const face of found) face.rank = face.summary.rank;
    this.order = found.sort((one, other) => one.rank - other.rank || one.arrival - other.arrival).map(({ summary }) => summary.id);
    this.place = new Map(this.order.map((id, place) => [id, place]));
    this.#count();
    this.#height(0);
    at("newer").hidden = true;
    at("list").scrollTop = this.place.has(this.current) ? this.place.get(this.current) * ROW - at("list").clientHeight / 2 : 0;
    this.draw(true);
  }

  get size() { return this.order.length; }
  get lookedAt() { // in words, of all there are
    const lines = [...this.faces.values()].map(({ summary }) => summary), empty = lines.filter(isEmpty), faces = lines.filter((one) => !isEmpty(one));
    const done = (some) => some.filter(isDone).length.toLocaleString("en");
    if (!empty.length) return `${done(faces)} of ${faces.length.toLocaleString("en")} looked at`;
    return `${done(faces)} of ${counted(faces.length, this.noun)} looked at, ${done(empty)} of ${counted(empty.length, "photo")} where none was found`;
  }
  // "3 faces and 2 photos where none was found"; ids: of the lines that are meant
  inWords(ids = this.faces.keys()) {
    let faces = 0, empty = 0;
    for (const id of ids) if (isEmpty(this.summary(id))) empty += 1; else faces += 1;
    if (!empty) return counted(faces, this.noun);
    return faces ? `${counted(faces, this.noun)} and ${counted(empty, "photo")} where none was found` : `${counted(empty, "photo")} where no ${this.noun} was found`;
  }
  summary(id) { return this.faces.get(id)?.summary; }
  beside(step) { // the face before or after the one that is open; the first where none is
    const place = this.place.get(this.current);
    return this.order[place === undefined ? 0 : place + step];
  }

  stateOf({ gone, accepted, by_hand, left }) {
    if (gone) return `✕ ${this.goneName().toLowerCase()}`;
    if (left) return accepted ? "✓ accepted, left as it was" : "✎ left as it was";
    return accepted ? "✓ accepted" : by_hand ? "✎ by hand" : "";
  }
  nameOf({ photo, number }) { return number ? `${fileName(photo)}, ${this.noun} ${number}` : fileName(photo); }

  mark(id) { // as the one that is open
    this.current = id;
    this.touched = true;
    const place = this.place.get(id), list = at("list");
    if (place !== undefined) {
      if (place * ROW < list.scrollTop) list.scrollTop = place * ROW;
      if ((place + 1) * ROW > list.scrollTop + list.clientHeight) list.scrollTop = (place + 1) * ROW - list.clientHeight;
    }
    this.draw(true);
  }

  #wanted() {
    const words = at("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    const fits = FILTERS.find(([value]) => value === at("filter").value)[2];
    return ({ summary, text }) => fits(summary) && words.every((word) => text.includes(word));
  }

  // In order, but between no two rows that are in sight: what belongs there comes right below them
  #insert(arrived) {
    const list = at("list"), [first, end] = this.touched ? [Math.floor(list.scrollTop / ROW), Math.ceil((list.scrollTop + list.clientHeight) / ROW)] : [0, 0];
    const by = (one, other) => this.faces.get(one).rank - this.faces.get(other).rank || this.faces.get(one).arrival - this.faces.get(other).arrival;
    arrived.sort(by);
    const merged = [];
    let next = 0, above = 0;
    this.order.forEach((id, place) => {
      if (place <= first || place >= end) while (next < arrived.length && by(arrived[next], id) < 0) merged.push(arrived[next++]);
      if (place === first) above = next;
      merged.push(id);
    });
    this.#reorder([...merged, ...arrived.slice(next)], this.touched ? above : 0);
  }

  // above: how many more there are before the first row in sight, which stays where it is
  #reorder(order, above) {
    const list = at("list"), top = list.scrollTop + above * ROW;
    this.order = order;
    this.place = new Map(order.map((id, place) => [id, place]));
    this.#height(top);
    if (above) list.scrollTop = top;
    if (above > 0) at("newer").hidden = false;
    this.#count();
    this.draw(true);
  }

  #height(top) { at("rows").style.height = `${Math.max(this.order.length * ROW, top ? top + at("list").clientHeight : 0)}px`; }

  #count() {
    const sums = FILTERS.map(() => 0);
    for (const { summary } of this.faces.values()) FILTERS.forEach(([, , fits], number) => { sums[number] += fits(summary); });
    FILTERS.forEach(([value, words], number) => {
      at("filter").options[number].textContent = `${value === "gone" ? this.goneName() : words} (${sums[number].toLocaleString("en")})`;
    });
    const text = `${this.inWords(this.order)}, the worst first`;
    if (at("count").textContent !== text) at("count").textContent = text;
  }

  // To whoever asked for them; while photos are searched the number changes every second
  #tell() {
    clearTimeout(this.telling);
    this.telling = setTimeout(() => { at("said").textContent = at("count").textContent; }, TYPED);
  }

  #scrolled() {
    if (at("list").scrollTop < ROW) at("newer").hidden = true;
    if (!this.due) this.due = requestAnimationFrame(() => { this.due = 0; this.draw(); });
  }

  draw(afresh = false) {
    const list = at("list"), top = list.scrollTop, height = list.clientHeight;
    const first = Math.max(0, Math.floor(top / ROW) - SPARE), end = Math.min(this.order.length, Math.ceil((top + height) / ROW) + SPARE);
    const wanted = new Set(this.order.slice(first, end));
    for (const [id, row] of this.rows) if (!wanted.has(id)) { this.rows.delete(id); this.spare.push(row); }
    for (let place = first; place < end; place++) {
      const id = this.order[place];
      let row = this.rows.get(id);
      if (!row) {
        row = this.spare.pop() ?? this.#newRow();
        this.rows.set(id, row);
        this.#fill(row, id, place);
      } else if (afresh) this.#fill(row, id, place);
    }
    for (const row of this.spare) if (!row.part.hidden) { row.part.hidden = true; row.id = null; row.part.removeAttribute("id"); row.small.removeAttribute("src"); }
    const current = this.rows.get(this.current);
    if (current) list.setAttribute("aria-activedescendant", current.part.id);
    else list.removeAttribute("aria-activedescendant");
    clearTimeout(this.settling);
    this.settling = setTimeout(() => { for (const row of this.rows.values()) this.#showPicture(row, true); }, SETTLED);
  }

  #newRow() {
    const row = { small: make("img", { class: "small", alt: "", decoding: "async", width: 64, height: 64 }), name: make("bdi", { class: "name", dir: "auto" }), face: make("span", { class: "soft" }), told: make("span", { class: "told" }), why: make("span", { class: "told" }) };
    row.part = make("div", { class: "row", role: "option", onclick: () => { this.touched = true; this.open(row.id); } }, row.small,
      make("span", { class: "text" }, make("span", { class: "first" }, row.name, row.face), row.told, row.why));
    row.small.addEventListener("load", () => this.fetched.add(row.small.src));
    row.small.addEventListener("error", () => row.small.removeAttribute("src")); // fetched again when the rows are drawn again
    at("rows").append(row.part);
    return row;
  }

  #fill(row, id, place) {
    const { summary, version } = this.faces.get(id), state = this.stateOf(summary);
    const said = JSON.stringify([summary, version]);
    row.part.hidden = false;
    row.part.style.transform = `translateY(${place * ROW}px)`;
    row.part.setAttribute("aria-selected", String(id === this.current));
    row.part.setAttribute("aria-setsize", this.order.length);
    row.part.setAttribute("aria-posinset", place + 1);
    if (row.id === id && row.said === said) return;
    Object.assign(row, { id, said, address: `faces/${id}.jpg?v=${LOADED}-${version}` });
    row.part.id = `face-${id}`;
    row.part.title = summary.photo;
    row.part.classList.toggle("done", isDone(summary));
    row.name.textContent = fileName(summary.photo);
    row.face.textContent = summary.number ? ` ${this.noun} ${summary.number}` : "";
    row.told.replaceChildren(mark(summary.verdict, capital(summary.verdict)), ...(summary.person ? [" · ", make("bdi", {}, summary.person)] : []), state ? ` · ${state}` : "");
    row.why.textContent = summary.reasons.join("; ");
    this.#showPicture(row, false);
  }

  #showPicture(row, settled) {
    if (this.ended) return;
    if (row.small.getAttribute("src") === row.address) return;
    if (settled || this.fetched.has(new URL(row.address, location.href).href)) row.small.src = row.address;
    else row.small.removeAttribute("src");
  }

  #key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey || !this.order.length) return;
    const page = Math.max(1, Math.floor(at("list").clientHeight / ROW) - 1), now = this.place.get(this.current) ?? -1;
    const steps = { ArrowDown: now + 1, ArrowUp: now - 1, PageDown: now + page, PageUp: now - page, Home: 0, End: this.order.length - 1 };
    const beside = getComputedStyle(at("shown")).display !== "none";
    if (event.key in steps) {
      const id = this.order[Math.min(this.order.length - 1, Math.max(0, steps[event.key]))];
      if (beside) this.open(id); else this.mark(id);
    } else if ((event.key === "Enter" || event.key === " ") && this.current !== null) this.open(this.current);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}
