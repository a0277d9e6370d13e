// What stands beside the photo: the preview, who it is, the strength, what is known; and how the server is asked.
import { capital, comparison, make, mark } from "./elements.js";
import { fileName } from "./list.js";

const PAUSE = 200; // milliseconds after the last change before a preview is asked for
const GLANCE = 350; // milliseconds in which nobody sees a face: the second click of two is not about it

export function shape(parent, tag, attributes = {}) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  parent.append(element);
  return element;
}

export class Refusal extends Error {} // the server's sentence
export class Changed extends Refusal {} // somewhere else meanwhile
export class Gone extends Error {} // nobody answers
const ENDED = "The program behind this page no longer answers. Everything that was saved is kept. If it has ended, start the same command again in the terminal and open the address that it shows; if it answers again, this page goes on by itself.";

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
  // told(answer, decision) is called with each answer that is still wanted, gone(error) where nobody answers
  constructor(told, gone) {
    Object.assign(this, { told, gone });
    this.status = make("p", { class: "soft small-text" });
    this.verdict = make("p", { class: "small-text" });
    this.again = make("button", { type: "button", class: "small-button", hidden: true, onclick: () => this.#start() }, "Try again");
    [this.before, this.after] = ["before", "after"].map(() => make("div", { class: "frame" }));
    this.part = make("section", { class: "card preview", "aria-labelledby": "preview-title" }, make("h3", { id: "preview-title" }, "Preview"),
      make("div", { class: "pictures" },
        make("figure", {}, this.before, this.legend = make("figcaption", {}, "before, with what the network reads")),
        make("figure", {}, this.after, this.caption = make("figcaption"))),
      this.verdict, make("div", { class: "line" }, this.status, this.again));
  }

  // A reference is not restored: it is shown with what is learned from it
  of(mode) {
    this.reference = mode === "references";
    this.caption.textContent = this.reference ? "what is learned from it" : "restored";
    this.before.parentElement.hidden = this.reference; // it would be the same picture twice
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
    this.left = false;
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

  // Somebody answers again
  goOn() { if (this.left) this.#start(); }

  async #start() {
    if (this.busy || !this.wanted) return; // whoever is busy starts again with the latest
    const { face, decision, put } = this.wanted, run = this.run, began = performance.now();
    this.wanted = null;
    this.last = { face, decision, put };
    this.busy = true;
    this.left = false;
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
        this.left = error instanceof Gone; // it is asked for again by itself, so that no button is needed
        this.status.textContent = this.left ? "The program does not answer; this is made once it does." : error.message;
        this.failed = this.left || !this.wanted;
        this.again.hidden = this.left || !this.failed;
        this.wanted ??= this.last;
        if (this.left) this.gone(error);
      }
    } finally {
      if (run === this.run) clearInterval(this.counting);
      this.busy = false;
      const goOn = this.wanted && !this.failed;
      this.failed = false;
      if (goOn) this.#start();
    }
  }

  async #show({ before, after, components, left_out: left, verdict, reasons, used, seconds }, put, run) {
    const images = [before, after].map((src, number) => make("img", { src, alt: !number ? "The face as the network gets it" : this.reference ? "The face with its points and boxes" : "The face as it would be restored", width: 512, height: 512 }));
    await Promise.all(images.map((image) => image.decode()));
    if (run !== this.run || this.wanted) return false;
    this.before.replaceChildren(images[0]);
    const boxes = shape(this.before, "svg", { viewBox: "0 0 512 512", "aria-hidden": "true" });
    components.forEach(([x0, y0, x1, y1], number) => shape(boxes, "rect", { class: left.includes(number) ? "left-out" : "", x: x0, y: y0, width: x1 - x0, height: y1 - y0 }));
    this.legend.textContent = `before, with what the network reads${left.length ? "; dashed: left as it is" : ""}`;
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

// Which face is open, above it and as the title of the tab
export function showTitle(summary, list, page) {
  const { photo, number, verdict, reasons, person } = summary, at = (id) => document.getElementById(id);
  const folder = photo.slice(0, -fileName(photo).length).replace(/\/$/, ""), said = list.stateOf(summary);
  at("face-title").replaceChildren(make("bdi", { dir: "auto" }, fileName(photo)), number ? `, ${list.noun} ${number}` : "");
  const told = [[mark(verdict, capital(verdict)), reasons.length ? `: ${reasons.join("; ")}` : ""], person ? [make("bdi", {}, person)] : [], said ? [said] : [], folder ? ["in ", make("bdi", {}, folder)] : []];
  at("face-told").replaceChildren(...told.filter((parts) => parts.length).map((parts) => make("span", {}, ...parts)));
  document.title = `${list.nameOf(summary)} – ${page}`;
}

export const wide = (words) => make("span", { class: "wide" }, words); // there is no room for them on a telephone

export function button(id, words, keys, run, { pressed, main } = {}) {
  const said = { class: main ? "main" : null, "aria-keyshortcuts": keys, "aria-pressed": pressed === undefined ? null : String(pressed) };
  return make("button", { type: "button", id, ...said, onclick: run }, ...[words].flat());
}

// What may be decided about the face that is open: work, the OpenFace
export function decisionButtons(work) {
  const { face: { draft, detail }, faceless } = work;
  const once = (run) => ({ detail: clicks }) => {
    const now = performance.now();
    if (clicks > 1 && now - work.clicked < GLANCE) return;
    work.clicked = now;
    run();
  };
  return [
    work.may("accept") ? button("accept", faceless ? "There is no face" : "Accept", "A", once(() => work.accept()), { main: true }) : null,
    faceless ? null : button("save", work.state().mode === "results" ? ["Save", wide(": do it again like this")] : "Save", "S", () => work.saveNow()),
    work.may("leave_alone") && !faceless ? button("leave-alone", "Leave original", "L", once(() => work.leaveAlone()), { pressed: draft.leave_alone }) : null,
    work.out && !faceless ? button("not-a-face", work.out, "X", once(() => work.reject()), { pressed: draft.not_a_face }) : null,
    work.may("draw") ? button("draw", "Draw a missed face", "D", () => work.draw(true)) : null,
    !faceless && !detail.found_landmarks && work.may("draw") ? button("remove-drawn", "Take back this drawn face", null, () => work.takeBack()) : null,
  ].filter(Boolean);
}

// Buttons in place of others: those that stay as they are keep the focus
export function putButtons(place, buttons) {
  const had = [...place.children], focused = document.activeElement?.id;
  if (had.length === buttons.length && had.every((one, number) => one.isEqualNode(buttons[number]))) return;
  place.replaceChildren(...buttons);
  if (focused) buttons.find((one) => one.id === focused)?.focus({ preventScroll: true });
}

// Beside the buttons, whether what was decided is saved
export function showSaved({ saving, failed, changed, decided }) {
  const said = document.getElementById("saved"), quiet = !saving && !failed;
  said.className = `state ${failed ? "bad" : quiet && !changed && !decided ? "wide" : ""}`;
  said.replaceChildren(saving ? "Saving…" : failed ? `Not saved: ${failed.error instanceof Gone ? "the program does not answer." : failed.error.message}` : changed ? "Changed." : decided ? "Saved." : "Nothing decided yet.",
    ...(quiet && changed ? [wide(" It is saved when you accept, save or go to another face.")] : []));
}

export function factsPart(facts) {
  return make("section", { class: "card", "aria-label": "What is known" }, make("h3", {}, "What is known"),
    make("dl", {}, ...facts.flatMap(([term, text]) => [make("dt", {}, term), make("dd", { dir: "auto" }, text)])));
}

// A face in the photo and in its result; failed(error) where one of them cannot be shown
export function compareResult({ photo_id, box: [x0, y0, x1, y1], size: [width, height] }, failed) {
  const side = 0.5 * Math.max(x1 - x0, y1 - y0);
  const region = [Math.max(0, x0 - side), Math.max(0, y0 - side), Math.min(width, x1 + side), Math.min(height, y1 + side)].map(Math.round);
  const address = (which) => `photos/${photo_id}.jpg?which=${which}&region=${region}&width=${Math.min(region[2] - region[0], 1600)}`;
  const compared = comparison("face", address("photo"), address("result"), (when) => failed(new Error(`The picture ${when} restoring cannot be shown. Is the file still where it was?`)));
  compared.box.style.setProperty("--ratio", (region[2] - region[0]) / (region[3] - region[1]));
  document.getElementById("comparison").replaceChildren(compared.box, make("p", { class: "soft small-text" }, "Drag the line, or use the arrow keys on it; C changes between before and after."));
  return compared;
}
