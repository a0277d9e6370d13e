// The face that is open: what was changed in it, step by step, and how that is saved, also where something goes wrong.
import { Coming } from "./coming.js";
import { decisionOf, draftOf, equal, pointsOf, saysNothing } from "./draft.js";
import { Editor } from "./editor.js";
import { make } from "./elements.js";
import { Changed, Preview, Refusal, Strength, Who, ask, decisionButtons, factsPart, putButtons, showSaved, showTitle } from "./panels.js";
import { PARTS, WHOLE } from "./points.js";

const SETTLED = 2000; // milliseconds after the last movement of points in which nothing is saved yet
const at = (id) => document.getElementById(id);

export class OpenFace {
  // about: {list, state() -> State, say(text), trouble(error or null, again, kind), saved(), none()}
  constructor(about) {
    Object.assign(this, about);
    this.face = null; // { id, detail, draft, saved, past: [drafts], future: [drafts], step, sending: the draft on its way }
    this.coming = new Coming(about);
    this.unsaved = new Map(); // id -> { face, error }: what could not be saved
    this.dropped = new Map(); // likewise: what was not saved and is not to be, so that the face is shown as it is saved
    this.saving = new Map(); // id -> Promise
    this.editor = new Editor(at("stage"), {
      changed: (points, box, step) => this.change({ points, box, accepted: false }, step),
      selected: (number) => { at("part").value = number ?? ""; },
      say: this.say,
      view: (region, width, signal) => ask(`photos/${this.face.detail.photo_id}.jpg?region=${region}&width=${width}`, { signal, as: "blob" }),
      failed: (error) => this.trouble(error, () => this.editor.fetch(), "view"),
    });
    this.preview = new Preview(({ components, left_out: left }, decision) => this.editor.showRead(components, left, pointsOf(decision, this.face.detail)), (error) => this.trouble(error));
    this.who = new Who((said) => this.change({ ...said, not_a_face: false }));
    this.strength = new Strength((strength) => this.change({ strength, leave_alone: false }, "strength"));
    at("part").append(make("option", { value: "" }, "none"), ...PARTS.map(({ name }, number) => make("option", { value: number }, name)), make("option", { value: WHOLE }, "Whole face"));
    at("part").addEventListener("change", () => this.editor.select(at("part").value === "" ? null : Number(at("part").value)));
  }

  get opening() { return this.coming.id !== null; } // another face was asked for and is not there yet
  get ready() { return this.face !== null && !this.opening; } // while another face is on its way, nothing is decided about this one
  may(action) { return this.state().actions.includes(action); }
  get faceless() { return !this.face.detail.landmarks.length; } // a photo in which no face was found

  // One step of work. Those of the same name (one drag, keys pressed in a row) are undone together.
  change(patch, step = null) {
    if (!this.ready) return;
    const { face } = this, draft = { ...face.draft, ...patch };
    if (equal(draft, face.draft)) return;
    if (step === null || step !== face.step) face.past.push(face.draft);
    Object.assign(face, { step, future: [], draft });
    this.#showDraft();
    if (patch.points) this.#saveSoon();
  }

  undo() { this.#step("past", "future", "undo", "Undone."); }
  redo() { this.#step("future", "past", "do again", "Done again."); }
  #step(from, onto, words, done) {
    if (!this.ready) return;
    const { face } = this;
    if (face.fitting) { this.say("The points are being found; undo that once they are there."); return; }
    if (!face[from].length) { this.say(`There is nothing to ${words}.`); return; }
    face[onto].push(face.draft);
    Object.assign(face, { draft: face[from].pop(), step: null });
    this.#showDraft();
    this.#saveSoon();
    this.say(done);
  }

  asFound() {
    const { found_landmarks: points, found_box: box } = this.face.detail;
    this.change({ points, box, accepted: false });
  }

  // Opening another one

  async open(id, { focus = false, push = false } = {}) {
    if (id === undefined) { this.say("There is no other face in this list."); return; }
    this.leave();
    const turn = (this.turn = (this.turn ?? 0) + 1);
    this.list.mark(id);
    this.coming.begin(id);
    await this.saving.get(id);
    try {
      const kept = this.unsaved.get(id)?.face, detail = await ask(`api/faces/${id}?depth=described`);
      if (turn !== this.turn) return;
      const saved = draftOf(detail);
      this.face = kept ? Object.assign(kept, { detail, saved }) : { id, detail, saved, draft: saved, past: [], future: [], step: null };
    } catch (error) {
      if (turn !== this.turn) return;
      this.coming.end(false);
      this.list.mark(this.face?.id ?? null);
      if (this.face) this.#show(false); else this.coming.leave();
      this.trouble(error, () => this.open(id, { focus, push }));
      return;
    }
    this.coming.end(true);
    this.#show(focus);
    this.#complete(this.face);
    this.coming.ahead();
    const hash = `#face-${id}`;
    if (location.hash !== hash) history[push ? "pushState" : "replaceState"](null, "", hash);
    if (focus && !this.editor.drawing) at("face-title").focus({ preventScroll: true });
  }

  // What takes a search of the photo is there later than all else; nothing waits for it
  async #complete(face) {
    const { detail } = face;
    if (!detail.pending) return;
    const whole = await ask(`api/faces/${face.id}`).catch(() => null); // without it nothing is found to go back to
    if (!whole || face.detail !== detail || whole.revision !== detail.revision) return;
    face.detail = whole;
    if (this.face === face && this.ready) this.#showDraft();
  }

  close() {
    this.leave();
    this.turn = (this.turn ?? 0) + 1;
    this.coming.end(false);
    this.face = null;
    this.editor.rest();
    this.preview.clear();
    this.coming.leave();
    this.saved();
  }

  #show(focus) {
    const { face, faceless } = this, { detail, draft } = face, results = this.state().mode === "results";
    document.body.classList.add("showing");
    at("start").hidden = true;
    at("face").hidden = false;
    at("face").classList.toggle("faceless", faceless);
    at("stage").classList.remove("busy");
    at("shown").scrollTop = 0;
    face.previewed = undefined;
    this.#showTitle();
    this.preview.clear();
    this.editor.open({ ...detail, points: draft.points, box: draft.box, editable: { landmarks: this.may("landmarks"), box: this.may("box") } });
    this.who.open(detail);
    this.preview.of(this.state().mode);
    const preview = faceless ? null : this.preview.part, who = this.may("person") && !faceless ? this.who.part : null;
    const facts = detail.facts.length ? factsPart(detail.facts) : null, strength = this.may("strength") && !faceless ? this.strength.part : null;
    at("beside").replaceChildren(...(results ? [facts, strength, preview, who] : [preview, who, strength, facts]).filter(Boolean));
    this.showSteps();
    this.draw(false);
    this.#showDraft();
    if (results) this.coming.compare(detail);
    this.show(results ? "result" : "points");
    if (faceless && this.may("draw")) this.draw(true, focus);
    this.saved(); // what was dropped of the face before was looked at
  }

  // Whether somebody put the points there: they are no more as found, or believed although nothing found them
  get #put() {
    const { draft: { points }, detail: { found_landmarks: found, landmarks, summary, pending } } = this.face;
    return !equal(points, found ?? landmarks) || (!found && (pending || summary.confidence === 1));
  }

  showSteps() {
    at("before").disabled = this.list.beside(-1) === undefined;
    at("next").disabled = this.list.beside(1) === undefined;
  }

  #showTitle() { showTitle(this.face.detail.summary, this.list, this.state().title); }

  #showDraft() {
    const { draft, detail, id, previewed, past, future, fitting } = this.face;
    this.editor.put(draft.points, draft.box);
    this.who.put(draft);
    this.strength.put(draft.strength);
    at("undo").disabled = fitting || !past.length;
    at("redo").disabled = fitting || !future.length;
    at("as-found").disabled = !detail.found_landmarks || (equal(draft.points, detail.found_landmarks) && equal(draft.box, detail.found_box));
    at("refit").hidden = equal(draft.box, detail.box) || this.faceless;
    putButtons(at("decisions"), decisionButtons(this));
    this.showSaved();
    const { accepted: _, ...looks } = draft, wanted = JSON.stringify(looks);
    if (wanted === previewed || this.faceless) return;
    this.face.previewed = wanted;
    if (draft.not_a_face || draft.leave_alone) this.preview.clear(draft.not_a_face ? "It is said to be no face." : "It stays as it is.");
    else if (previewed !== undefined || this.state().mode !== "results") this.preview.want(id, decisionOf(detail, draft), this.#put);
    else this.preview.clear("Change the strength, the person or the points to see what would come of it.");
  }

  // Saving: at once when something is decided, and whenever another face is gone to

  leave() {
    if (!this.face) return;
    this.who.flush();
    const { id, draft, saved, sending } = this.face;
    this.dropped.delete(id); // it was looked at
    if (!equal(draft, saved) && !(sending && equal(draft, sending))) this.save();
  }

  // The promise is of the detail, null where the face is gone by that, undefined where it could not be saved
  save({ refit = false } = {}) {
    if (!this.face) return undefined;
    this.who.flush();
    const running = this.#send(this.face, refit).finally(() => {
      if (this.saving.get(one.id) === running) this.saving.delete(one.id);
      this.showSaved();
      this.saved();
    });
    const one = this.face;
    this.saving.set(one.id, running);
    this.showSaved();
    return running;
  }

  async #send(one, refit) {
    const { taken } = one, before = this.saving.get(one.id);
    one.sending = one.draft;
    await before;
    if (one.taken !== taken) { one.sending = null; return undefined; }
    const sent = (one.sending = one.draft), decision = decisionOf(one.detail, sent, refit); // with what the save before brought
    const nothing = saysNothing(decision) && one.detail.landmarks.length > 0;
    try {
      const detail = await ask(`api/faces/${one.id}${nothing ? "/reset" : ""}`, { body: { ...(nothing ? {} : decision), seen: one.detail.revision }, keepalive: true });
      this.unsaved.delete(one.id);
      this.dropped.delete(one.id);
      if (detail === null) { this.list.remove(one.id); return null; }
      this.list.update([detail.summary], true);
      Object.assign(one, { detail, saved: draftOf(detail) });
      const { points, box } = one.saved, fitted = refit && one.draft.points === sent.points && one.draft.box === sent.box;
      if (fitted) Object.assign(one, { past: [...one.past, one.draft], future: [], step: null }); // one step of its own to undo
      if (one.draft === sent) one.draft = one.saved;
      else if (fitted) one.draft = { ...one.draft, points, box };
      if (this.face === one) { this.#showTitle(); this.#showDraft(); }
      return detail;
    } catch (error) {
      const dropped = error instanceof Changed ? await this.#takeOver(one) : this.#putBack(one, sent, error);
      if (dropped) this.unsaved.delete(one.id);
      (dropped ? this.dropped : this.unsaved).set(one.id, { face: one, error });
      this.say(`Not saved: ${error.message}`);
      return undefined;
    } finally { if (one.sending === sent) one.sending = null; }
  }

  // What was decided elsewhere is shown in place of the draft, which knew nothing of it
  async #takeOver(one) {
    one.taken = (one.taken ?? 0) + 1; // what waits to be sent knew nothing of it either
    const detail = await ask(`api/faces/${one.id}?depth=described`).catch(() => null);
    if (!detail) return false;
    this.list.update([detail.summary], true);
    this.#adopt(one, detail);
    return true;
  }

  #adopt(one, detail) {
    const saved = draftOf(detail);
    Object.assign(one, { detail, saved, draft: saved, past: [], future: [], step: null });
    if (this.face === one) { this.#showTitle(); this.#showDraft(); }
    this.#complete(one);
  }

  // News of the list: where nothing is being changed in the open face, it is shown as another tab has left it by now
  async follow(summaries) {
    const { face } = this, atRest = () => this.face === face && this.ready && !this.saving.has(face.id) && equal(face.draft, face.saved);
    if (!face || !atRest() || !summaries.some((one) => one.id === face.id && !equal(one, face.detail.summary))) return;
    const detail = await ask(`api/faces/${face.id}?depth=described`).catch(() => null); // the next question for news tells what went wrong
    if (!detail || !atRest()) return;
    if (detail.revision === face.detail.revision) { face.detail = { ...face.detail, summary: detail.summary }; this.#showTitle(); return; }
    this.#adopt(face, detail);
    this.say("This face was changed elsewhere; it is shown as it is now.");
  }

  // A removal that was refused would be refused again: what was there before is back. Whether nothing else is unsaved now
  #putBack(one, sent, error) {
    if (!(error instanceof Refusal) || one.draft !== sent || !sent.not_a_face || one.saved.not_a_face) return false;
    Object.assign(one, { draft: one.past.pop() ?? one.saved, future: [], step: null });
    if (this.face === one) this.#showDraft();
    return equal(one.draft, one.saved);
  }

  // Points at rest, however the program ends. A box that was moved waits for its points, a name for its last letter
  #saveSoon() {
    const { face } = this, { id } = face, isBusy = () => face.fitting || this.saving.has(id) || this.editor.held || document.activeElement === this.who.input;
    clearTimeout(this.settling);
    this.settling = setTimeout(() => {
      if (this.face !== face || !this.ready || equal(face.draft, face.saved) || !equal(face.draft.box, face.detail.box)) return;
      if (isBusy()) this.#saveSoon(); else this.save();
    }, SETTLED);
  }

  // As asked for by button or key: whoever does not see it is told
  async saveNow() { if (this.ready && (await this.save())) this.say("Saved."); }

  async saveAgain() {
    const { face } = this;
    for (const { face: one } of [...this.unsaved.values()]) {
      const running = this.#send(one, false);
      this.saving.set(one.id, running);
      await running;
      if (this.saving.get(one.id) === running) this.saving.delete(one.id);
    }
    if (face && this.face === face) this.showSaved();
    this.saved();
  }

  showSaved() {
    if (!this.face) return;
    const { id, draft, saved, detail } = this.face, changed = !equal(draft, saved), failed = this.unsaved.get(id) ?? (changed ? undefined : this.dropped.get(id));
    showSaved({ saving: this.saving.has(id), failed, changed, decided: this.list.stateOf(detail.summary) || detail.decision.landmarks });
  }

  // Decides, saves and goes on to the next face
  async #decide(patch, words) {
    this.who.flush();
    this.change(patch);
    const name = this.list.nameOf(this.face.detail.summary), next = this.list.beside(1), done = this.save();
    if (next !== undefined) {
      await this.open(next, { focus: document.activeElement !== at("list") });
      if (this.face?.id === next) this.say(`${name}: ${words}. Now ${this.list.nameOf(this.list.summary(next))}.`);
    } else if (await done) this.say(`${name}: ${words}. That was the last face of this list.`);
  }

  accept() { if (this.ready && this.may("accept")) this.#decide({ accepted: true, not_a_face: false }, this.faceless ? "there is no face" : "accepted"); }
  get out() { return this.may("remove") ? "Remove" : this.may("not_a_face") ? "Not a face" : null; }
  reject() { if (this.out) this.#toggle("not_a_face", this.may("remove") ? "removed" : "not a face"); }
  leaveAlone() { this.#toggle("leave_alone", "left as it was"); }

  // Whose a face is may be said of one that stays as it is, too
  #toggle(key, words) {
    if (!this.ready || this.faceless) return;
    const patch = { not_a_face: false, leave_alone: false, ...(key === "not_a_face" ? { person: null, stranger: false } : {}) };
    if (!this.face.draft[key]) { this.#decide({ ...patch, accepted: false, [key]: true }, words); return; }
    this.change(patch);
    this.save();
  }

  async refit() {
    if (!this.ready) return;
    if (await this.#fitting("refit", () => this.save({ refit: true }))) this.say("The points were found again in the box.");
  }

  // Finding points takes seconds: the button that asked for it says so meanwhile, and nothing can be undone before they are there
  async #fitting(id, run) {
    const button = at(id), words = button.textContent, { face } = this;
    this.say("Finding the points in the box…");
    button.disabled = face.fitting = true;
    this.#showDraft();
    button.textContent = "Finding the points…";
    at("stage").classList.add("busy");
    try { return await run(); } finally {
      button.disabled = face.fitting = false;
      button.textContent = words;
      at("stage").classList.remove("busy");
      if (this.face === face) this.#showDraft();
    }
  }

  async takeBack() {
    const { id, detail: { revision } } = this.face, next = this.list.beside(1) ?? this.list.beside(-1);
    try {
      await ask(`api/faces/${id}/reset`, { body: { seen: revision } });
      this.face = null;
      this.editor.rest();
      this.list.remove(id);
      this.say("The face that was drawn is gone.");
      if (next === undefined) this.none(); else this.open(next, { focus: true });
    } catch (error) {
      if (error instanceof Changed) await this.#takeOver(this.face);
      this.trouble(error, () => this.takeBack());
    }
  }

  // A missed face

  draw(on, focus = true) {
    if (on && (!this.ready || !this.may("draw"))) return;
    at("face").classList.toggle("drawing", on);
    at("draw-tools").hidden = !on;
    at("point-tools").hidden = at("edit-hint").hidden = on;
    if (on) {
      this.show("points");
      this.editor.startDrawing(focus);
      at("points").scrollIntoView({ block: "nearest" });
      this.say("Draw a box around the missed face. Arrows move the box, Shift and arrows change its size, Enter finds the points in it, Escape cancels.");
    } else if (this.editor.drawing) { this.editor.stopDrawing(); at("draw")?.focus({ preventScroll: true }); }
  }

  async drawn() {
    if (!this.ready || at("draw-done").disabled) return;
    const { id, detail: { photo_id } } = this.face;
    try {
      const { summary } = await this.#fitting("draw-done", () => ask(`api/photos/${photo_id}/faces`, { body: { box: this.editor.drawn } }));
      this.list.update([summary]);
      this.list.putBelow(summary.id, id);
      if (this.face?.id !== id) return; // somewhere else by now
      this.draw(false);
      await this.open(summary.id, { focus: true });
      this.say(`New face: ${this.list.nameOf(summary)}. Look whether its points are right.`);
      this.saved();
    } catch (error) { this.trouble(error, () => this.drawn()); }
  }

  show(what) {
    const results = this.state().mode === "results", points = !results || what === "points";
    at("views").hidden = !results;
    at("comparison").hidden = points;
    at("points").hidden = !points;
    at("view-result").setAttribute("aria-pressed", String(!points));
    at("view-points").setAttribute("aria-pressed", String(points));
  }
}
