// What stands beside the photo: the preview, who it is, the strength, what is known; and how the server is asked.

const PAUSE = 200; // milliseconds after the last change before a preview is asked for
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

export function shape(parent, tag, attributes = {}) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  parent.append(element);
  return element;
}

export class Refusal extends Error {} // the server's sentence
export class Changed extends Refusal {} // somewhere else meanwhile
export class Gone extends Error {} // nobody answers
const ENDED = "The program behind this page no longer answers. Everything that was saved is kept: start the same command again in the terminal and open the address that it shows.";

export async function ask(path, { body, signal, as = "json", keepalive = false } = {}) {
  let answer;
  try {
    const order = body === undefined ? {} : { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
    answer = await fetch(path, { ...order, signal, keepalive });
    if (answer.ok) return await answer[as]();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Gone(ENDED);
  }
  const said = await answer.json().catch(() => null);
  throw new (answer.status === 409 ? Changed : Refusal)(said?.error ?? `The program answered with ${answer.status}, and gave no reason.`);
}

export class Preview {
  // told(answer, decision) is called with each answer that is still wanted
  constructor(told) {
    this.told = told;
    this.status = make("p", { class: "soft small-text" });
    this.verdict = make("p", { class: "small-text" });
    this.again = make("button", { type: "button", class: "small-button", hidden: true, onclick: () => this.#start() }, "Try again");
    [this.before, this.after] = ["before", "after"].map(() => make("div", { class: "frame" }));
    this.part = make("section", { class: "card preview", "aria-labelledby": "preview-title" }, make("h3", { id: "preview-title" }, "Preview"),
      make("div", { class: "pictures" },
        make("figure", {}, this.before, make("figcaption", {}, "before, with what the network reads")),
        make("figure", {}, this.after, this.caption = make("figcaption"))),
      this.verdict, make("div", { class: "line" }, this.status, this.again));
  }

  // A reference is not restored: it is shown with what is learned from it
  of(mode) {
    this.reference = mode === "references";
    this.caption.textContent = this.reference ? "what is learned from it" : "restored";
  }

  // Another face: nothing of the one before stays
  clear(text = "") {
    clearTimeout(this.pausing);
    clearInterval(this.counting);
    this.wanted = null;
    this.run = (this.run ?? 0) + 1;
    for (const frame of [this.before, this.after]) frame.replaceChildren();
    this.verdict.replaceChildren();
    this.part.classList.remove("old");
    this.again.hidden = true;
    this.status.textContent = text;
    this.part.classList.toggle("wordy", text !== "");
  }

  // put: whether somebody put the points there
  want(face, decision, put) {
    this.wanted = { face, decision, put };
    this.part.classList.remove("wordy");
    clearTimeout(this.pausing);
    this.pausing = setTimeout(() => this.#start(), PAUSE);
  }

  async #start() {
    if (this.busy || !this.wanted) return; // whoever is busy starts again with the latest
    const { face, decision, put } = this.wanted, run = this.run, began = performance.now();
    this.wanted = null;
    this.last = { face, decision, put };
    this.busy = true;
    this.again.hidden = true;
    this.part.classList.add("old");
    const count = () => { this.status.textContent = `${this.reference ? "Drawing" : "Restoring"}… ${((performance.now() - began) / 1000).toFixed(0)} s`; };
    count();
    this.counting = setInterval(count, 1000);
    try {
      const answer = await ask(`api/faces/${face}/preview`, { body: decision });
      if (run === this.run && !this.wanted && (await this.#show(answer, put, run))) this.told(answer, decision);
    } catch (error) {
      if (run === this.run) {
        this.status.textContent = error.message;
        this.failed = !this.wanted;
        this.again.hidden = !this.failed;
        this.wanted ??= this.last;
      }
    } finally {
      if (run === this.run) clearInterval(this.counting);
      this.busy = false;
      const goOn = this.wanted && !this.failed;
      this.failed = false;
      if (goOn) this.#start();
    }
  }

  async #show({ before, after, components, verdict, reasons, used, seconds }, put, run) {
    const images = [before, after].map((src, number) => make("img", { src, alt: !number ? "The face as the network gets it" : this.reference ? "The face with its points and boxes" : "The face as it would be restored", width: 512, height: 512 }));
    await Promise.all(images.map((image) => image.decode()));
    if (run !== this.run || this.wanted) return false;
    this.before.replaceChildren(images[0]);
    const boxes = shape(this.before, "svg", { viewBox: "0 0 512 512", "aria-hidden": "true" });
    for (const [x0, y0, x1, y1] of components) shape(boxes, "rect", { x: x0, y: y0, width: x1 - x0, height: y1 - y0 });
    this.after.replaceChildren(images[1]);
    const theirs = put && verdict === "good"; // it is their word that these points are right, not the program's
    this.verdict.replaceChildren(theirs ? mark("hand", "✎ As you put them") : mark(verdict, capital(verdict)), reasons.length ? `: ${reasons.join("; ")}` : "");
    this.status.textContent = this.reference ? "" : `Restored from ${used === "specific" ? "their own dictionary" : "the generic dictionary"} in ${seconds.toFixed(1)} s.`;
    this.part.classList.remove("old");
    return true;
  }
}

// How many letters have to be put in, left out or changed to make one word of another
function apart(one, other) {
  let row = Array.from({ length: other.length + 1 }, (_, place) => place);
  for (const [line, letter] of [...one].entries()) {
    const next = [line + 1];
    for (let place = 0; place < other.length; place++) next.push(Math.min(next[place] + 1, row[place + 1] + 1, row[place] + (letter !== other[place])));
    row = next;
  }
  return row[other.length];
}

export class Who {
  // changed({ person, stranger }) is called with what was said
  constructor(changed) {
    this.changed = changed;
    const choice = (value, ...words) => make("label", { class: "line" }, make("input", { type: "radio", name: "who", value, onchange: () => this.#chosen(value) }), ...words);
    this.input = make("input", { type: "text", id: "person", list: "people", autocomplete: "off", spellcheck: "false", "aria-label": "Name, enrolled or new", placeholder: "Name, enrolled or new", onchange: () => this.#named(), onkeydown: (event) => { if (event.key === "Enter") { event.preventDefault(); this.#named(); } } });
    this.people = make("datalist", { id: "people" });
    this.hint = make("p", { class: "soft small-text", role: "status" });
    this.guess = make("span", {});
    this.likely = make("div", { class: "buttons" });
    this.part = make("fieldset", { class: "card" }, make("legend", {}, "Who is it?"),
      choice("unsaid", make("span", {}, "Not said ", this.guess)), choice("stranger", "A stranger"), choice("person", "This is"), this.input, this.people, this.hint, this.likely);
    this.radios = Object.fromEntries([...this.part.querySelectorAll("input[type=radio]")].map((one) => [one.value, one]));
  }

  names(people) {
    if (String(people) === String(this.known)) return;
    this.known = people;
    this.people.replaceChildren(...people.map((value) => make("option", { value })));
    this.#hint();
  }

  open({ candidates, summary, decision }) {
    const guess = decision.person || decision.stranger ? null : summary.person;
    this.guess.replaceChildren(...(guess ? ["(taken for ", make("bdi", {}, guess), ")"] : []));
    this.likely.replaceChildren(...candidates.map(({ name, similarity }) => make("button", { type: "button", class: "small-button", onclick: () => this.changed({ person: name, stranger: false }) }, make("bdi", {}, name), make("span", { class: "soft", title: "similarity, from 0 to 1" }, similarity.toFixed(2)))));
  }

  put({ person, stranger }) {
    this.radios[person !== null ? "person" : stranger ? "stranger" : "unsaid"].checked = true;
    this.input.value = person ?? "";
    this.said = person;
    this.#hint();
  }

  // A name that nobody has is no mistake, but often a slip
  #hint() {
    const { said, known = [] } = this, about = `${said}: ${known}`;
    if (about === this.hinted) return;
    this.hinted = about;
    if (!said || known.includes(said)) { this.hint.replaceChildren(); return; }
    const near = known.find((name) => apart(name.toLowerCase(), said.toLowerCase()) <= Math.min(2, said.length / 2.5));
    const instead = near ? make("button", { type: "button", class: "small-button", onclick: () => this.changed({ person: near, stranger: false }) }, make("bdi", {}, near)) : null;
    this.hint.replaceChildren("A new name: it counts as soon as somebody is enrolled under it.", ...(instead ? [" Did you mean ", instead, "?"] : []));
  }

  #chosen(value) {
    if (value === "person") this.input.focus();
    else this.changed({ person: null, stranger: value === "stranger" });
  }

  // Takes over a name that was typed and not yet confirmed
  flush() { if (this.part.isConnected && this.input.value.trim() !== (this.said ?? "")) this.#named(); }

  #named() {
    const person = this.input.value.trim() || null;
    if (person !== this.said) this.changed({ person, stranger: false });
  }
}

export class Strength {
  constructor(changed) {
    this.auto = make("input", { type: "checkbox", onchange: () => changed(this.auto.checked ? null : Number(this.range.value) / 100) });
    this.range = make("input", { type: "range", id: "strength", min: 0, max: 100, step: 5, oninput: () => changed(Number(this.range.value) / 100) });
    this.value = make("output", { for: "strength" });
    this.part = make("section", { class: "card", "aria-label": "Strength" }, make("div", { class: "line between" }, make("h3", {}, make("label", { for: "strength" }, "Strength")), this.value),
      this.range, make("label", { class: "line" }, this.auto, "As in the command, held back where that is safer"));
  }

  put(strength) {
    this.auto.checked = strength === null;
    this.range.value = strength === null ? 100 : Math.round(strength * 100);
    this.value.textContent = strength === null ? "not set" : `${Math.round(strength * 100)} % of the change`;
    this.range.setAttribute("aria-valuetext", this.value.textContent);
  }
}

export function factsPart(facts) {
  return make("section", { class: "card", "aria-label": "What is known" }, make("h3", {}, "What is known"),
    make("dl", {}, ...facts.flatMap(([term, text]) => [make("dt", {}, term), make("dd", { dir: "auto" }, text)])));
}

// Two pictures of one place (left, top, right, bottom), one over the other, and a line to be moved between them
export function comparison(before, after, [x0, y0, x1, y1], failed) {
  const range = make("input", { type: "range", min: 0, max: 100, value: 50, step: 1, "aria-label": "Before and after: where the restored face begins" });
  const picture = (src, kind, alt) => make("img", { src, class: kind, alt, draggable: "false", onerror: () => failed(`The picture ${kind === "after" ? "after" : "before"} restoring cannot be shown. Is the file still where it was?`) });
  const box = make("div", { class: "compare" }, picture(before, "before", "The face before"), picture(after, "after", "The face after"),
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
  box.style.setProperty("--ratio", (x1 - x0) / (y1 - y0));
  return { box, swap: () => place(Number(range.value) > 50 ? 0 : 100) };
}
