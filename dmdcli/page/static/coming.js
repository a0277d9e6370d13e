// A face on its way: its title at once, the picture of a result as soon as it is there, and a sign of waiting where it takes long.
import { ask, compareResult, factsPart, showTitle } from "./panels.js";

const PATIENCE = 300; // milliseconds before it is said that something is on its way
const at = (id) => document.getElementById(id);
const closed = () => document.querySelectorAll("#face > .work, #face > .decide");

export class Coming {
  // about: {list, state() -> State, say(text), trouble(error or null, again, kind)}
  constructor(about) {
    Object.assign(this, about);
    this.id = null; // of the face that was asked for and is not there yet
  }

  // What is pressed meanwhile would be meant for the next face, and would reach the one before
  begin(id) {
    const focused = document.activeElement, summary = this.list.summary(id);
    for (const part of closed()) {
      if (part.contains(focused)) this.focused = focused; // what is inert loses the focus
      part.inert = true;
    }
    Object.assign(this, { id, shown: null });
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.tell(), PATIENCE);
    if (!summary) return;
    showTitle(summary, this.list, this.state().title);
    if (at("face").hidden) at("face").classList.add("bare"); // what was there before is older still
    at("face").hidden = false;
    at("start").hidden = true;
    document.body.classList.add("showing");
    if (this.state().mode === "results") this.#outline(id);
  }

  tell() {
    const summary = this.list.summary(this.id);
    at("face").classList.add("waiting");
    at("face").setAttribute("aria-busy", "true");
    this.say(`Loading ${summary ? this.list.nameOf(summary) : "the face"}…`);
  }

  // there: whether it came
  end(there) {
    const { id } = this, waited = at("face").classList.contains("waiting");
    clearTimeout(this.timer);
    this.id = null;
    for (const part of closed()) part.inert = false;
    at("face").classList.remove("waiting", "bare");
    at("face").removeAttribute("aria-busy");
    if (document.activeElement === document.body) this.focused?.focus({ preventScroll: true });
    this.focused = null;
    if (waited && there) this.say(`${this.list.nameOf(this.list.summary(id))} is there.`);
  }

  // No face is open any more
  leave() {
    document.body.classList.remove("showing");
    at("face").hidden = true;
    at("start").hidden = false;
  }

  // The face that will probably be opened next is prepared meanwhile
  ahead() {
    const next = this.list.beside(1);
    if (this.state().mode === "results" && next !== undefined) ask(`api/faces/${next}/prepare`, { body: {} }).catch(() => null); // it is opened without, too
  }

  async #outline(id) {
    const outline = await ask(`api/faces/${id}?depth=outline`).catch(() => null); // whoever opens the face is told what went wrong
    if (!outline || this.id !== id) return;
    at("face").classList.remove("bare");
    at("points").hidden = true;
    at("comparison").hidden = false;
    at("beside").replaceChildren(factsPart(outline.facts));
    this.compare(outline);
  }

  // The picture of a result before and after; one that is there already stays
  compare(detail, again = false) {
    const pictured = JSON.stringify([detail.summary.id, detail.photo_id, detail.box, detail.size]);
    if (pictured === this.shown && !again) return;
    this.shown = pictured;
    this.compared = compareResult(detail, (error) => this.trouble(error, () => this.compare(detail, true)));
  }
}
