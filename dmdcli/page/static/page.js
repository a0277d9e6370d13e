// The page: what it is about, which face is open, what was changed in it and not yet saved, and what keys do.
import { Editor, LEFT_EYE, MOUTH, PARTS, RIGHT_EYE, WHOLE } from "./editor.js";
import { FaceList, fileName, nameOf, stateOf } from "./list.js";
import { Gone, Preview, Strength, Who, ask, capital, comparison, factsPart, make, mark } from "./panels.js";

const SEARCHING = 1000, AT_REST = 4000; // milliseconds between two questions for news
const at = (id) => document.getElementById(id);
const say = (text) => { at("said").textContent = text; };
const equal = (one, other) => one === other || JSON.stringify(one) === JSON.stringify(other);
const rounded = (points) => points.map((point) => point.map((value) => Math.round(value * 100) / 100));

let state = null;
let revision = 0;
let face = null; // { id, detail, draft, saved, past: [drafts], future: [drafts], step }
let finished = false;
const unsaved = new Map(); // id -> { face, error }: what could not be saved
const saving = new Map(); // id -> Promise
const may = (action) => state.actions.includes(action);
const out = () => (may("remove") ? "Remove" : "Not a face");

// Faces and what is decided about them

const draftOf = ({ landmarks, box, decision }) => ({
  points: landmarks, box, person: decision.person, stranger: decision.stranger, not_a_face: decision.not_a_face,
  leave_alone: decision.leave_alone, strength: decision.strength, accepted: decision.accepted,
});

function decisionOf({ detail }, draft, refit = false) {
  const { points, box, ...said } = draft, none = draft.not_a_face;
  const found = detail.found_landmarks !== null && equal(points, detail.found_landmarks);
  return {
    ...said, strength: none || draft.leave_alone ? null : draft.strength,
    landmarks: none || refit || found || !points.length ? null : rounded(points),
    box: equal(box, detail.box) ? null : box,
  };
}

const saysNothing = (decision) => Object.values(decision).every((value) => value === null || value === false);
const changed = (one = face) => one !== null && !equal(one.draft, one.saved);

// One step of work. Steps of the same number (one drag, keys pressed in a row) are undone together.
function change(patch, step = null) {
  const draft = { ...face.draft, ...patch };
  if (equal(draft, face.draft)) return;
  if (step === null || step !== face.step) face.past.push(face.draft);
  face.step = step;
  face.future = [];
  face.draft = draft;
  showDraft();
}

function stepTo(from, onto, word) {
  if (!face || !from.length) { say(`Nothing to ${word}.`); return; }
  onto.push(face.draft);
  face.draft = from.pop();
  face.step = null;
  showDraft();
  say(word === "undo" ? "Undone." : "Done again.");
}

function showDraft() {
  const { draft, detail, id } = face;
  editor.put(draft.points, draft.box);
  who.put(draft);
  strength.put(draft.strength);
  at("undo").disabled = !face.past.length;
  at("redo").disabled = !face.future.length;
  at("as-found").disabled = !detail.found_landmarks || (equal(draft.points, detail.found_landmarks) && equal(draft.box, detail.found_box));
  at("refit").hidden = equal(draft.box, detail.box) || !draft.points.length;
  showDecisions();
  showSaved();
  const { accepted: _, ...looks } = draft, wanted = JSON.stringify(looks);
  if (wanted === face.previewed || !draft.points.length) return;
  const first = face.previewed === undefined;
  face.previewed = wanted;
  if (draft.not_a_face || draft.leave_alone) preview.clear(draft.not_a_face ? "It is said to be no face." : "It is left as it is.");
  else if (!first || state.mode !== "results") preview.want(id, decisionOf(face, draft));
  else preview.clear("Change the strength, the person or the points to see what would come of it.");
}

async function open(id, { focus = false, push = false } = {}) {
  if (id === undefined) { say("There is no other face in this list."); return; }
  leave();
  const run = (open.run = (open.run ?? 0) + 1);
  list.mark(id);
  await saving.get(id)?.catch(() => {});
  try {
    const kept = unsaved.get(id)?.face, detail = await ask(`api/faces/${id}`);
    if (run !== open.run) return;
    const saved = draftOf(detail);
    face = kept ? { ...kept, detail, saved } : { id, detail, saved, draft: saved, past: [], future: [], step: null };
    face.previewed = undefined;
  } catch (error) {
    if (run === open.run) trouble(error, () => open(id, { focus, push }));
    return;
  }
  showFace();
  const hash = `#face-${id}`;
  if (location.hash !== hash) history[push ? "pushState" : "replaceState"](null, "", hash);
  if (focus) at("face-title").focus({ preventScroll: true });
}

function showFace() {
  const { detail } = face, { summary } = detail, faceless = !detail.landmarks.length;
  document.body.classList.add("showing");
  at("start").hidden = true;
  at("face").hidden = false;
  at("face").classList.toggle("faceless", faceless);
  at("shown").scrollTop = 0;
  showTitle(summary);
  preview.clear();
  editor.open({ ...detail, points: face.draft.points, box: face.draft.box, editable: { landmarks: may("landmarks"), box: may("box") } });
  who.open(detail);
  const parts = [faceless ? null : preview.part, may("person") && !faceless ? who.part : null, may("strength") ? strength.part : null, detail.facts.length ? factsPart(detail.facts) : null];
  at("beside").replaceChildren(...parts.filter(Boolean));
  at("before").disabled = list.beside(-1) === undefined;
  at("next").disabled = list.beside(1) === undefined;
  draw(false);
  showDraft();
  if (state.mode === "results") { compare(); show("result"); }
  if (faceless && may("draw")) draw(true);
}

function showTitle(summary) {
  const folder = summary.photo.slice(0, -fileName(summary.photo).length).replace(/\/$/, ""), said = stateOf(summary);
  at("face-title").replaceChildren(make("bdi", { dir: "auto" }, fileName(summary.photo)), summary.number ? `, face ${summary.number}` : "");
  const why = summary.reasons.length ? `: ${summary.reasons.join("; ")}` : "";
  at("face-told").replaceChildren(make("span", {}, mark(summary.verdict, capital(summary.verdict)), why),
    ...(summary.person ? [make("bdi", {}, summary.person)] : []), ...(said ? [make("span", {}, said)] : []), ...(folder ? [make("span", {}, "in ", make("bdi", {}, folder))] : []));
  document.title = `${nameOf(summary)} – ${state.title}`;
}

// Saving: at once when something is decided, and whenever another face is gone to

function leave() {
  if (!face) return;
  who.flush();
  if (changed()) save();
}

// Saves what was changed in the face that is open; the promise is of its detail, undefined where that failed
function save({ refit = false } = {}) {
  const one = face, sent = one.draft, decision = decisionOf(one, sent, refit);
  const nothing = saysNothing(decision) && one.detail.landmarks.length > 0;
  const send = async () => {
    await saving.get(one.id);
    try {
      const detail = await ask(`api/faces/${one.id}${nothing ? "/reset" : ""}`, { body: nothing ? {} : decision, keepalive: true });
      unsaved.delete(one.id);
      if (detail === null) { list.remove(one.id); return null; }
      list.update([detail.summary], `${revision}-${performance.now().toFixed(0)}`);
      const untouched = equal(one.draft, sent);
      Object.assign(one, { detail, saved: draftOf(detail) });
      if (untouched) one.draft = one.saved;
      if (face === one) { showTitle(detail.summary); if (untouched) showDraft(); }
      return detail;
    } catch (error) {
      unsaved.set(one.id, { face: one, error });
      say(`Not saved: ${error.message}`);
      return undefined;
    } finally {
      if (saving.get(one.id) === running) saving.delete(one.id);
      showSaved();
      showTrouble();
      showProgress();
    }
  };
  const running = send();
  saving.set(one.id, running);
  showSaved();
  return running;
}

// Decides, saves and goes on to the next face
async function decide(patch, words) {
  if (!face) return;
  who.flush();
  change(patch);
  const name = nameOf(face.detail.summary), next = list.beside(1), done = save();
  if (next !== undefined) { await open(next, { focus: document.activeElement !== at("list") }); say(`${name}: ${words}. Now ${nameOf(list.summary(next))}.`); }
  else if (await done) say(`${name}: ${words}. That was the last face of this list.`);
}

function accept() {
  if (may("accept")) decide({ accepted: true, not_a_face: false }, "accepted");
}

function toggle(key, words) {
  if (!face) return;
  const patch = { person: null, stranger: false, not_a_face: false, leave_alone: false };
  if (!face.draft[key]) { decide({ ...patch, accepted: false, [key]: true }, words); return; }
  change({ ...patch });
  save();
}

async function refit() {
  if (!face) return;
  if (await save({ refit: true })) say("The points were found again in the box.");
}

async function remove() {
  const next = list.beside(1) ?? list.beside(-1), one = face;
  try {
    await ask(`api/faces/${one.id}/reset`, { body: {} });
    say("The face that was drawn is gone.");
    face = null;
    list.remove(one.id);
    if (next === undefined) showStart(); else open(next, { focus: true });
  } catch (error) { trouble(error, remove); }
}

function showSaved() {
  if (!face) return;
  const failed = unsaved.get(face.id);
  at("saved").className = failed ? "state bad" : "state";
  at("saved").textContent = saving.has(face.id) ? "Saving…" : failed ? `Not saved: ${failed.error.message}` : changed() ? "Changed. It is saved when you accept, save or go on to another face." : stateOf(face.detail.summary) ? "Saved." : "Nothing decided yet.";
}

function showDecisions() {
  const { draft, detail } = face, faceless = !detail.landmarks.length;
  const button = (id, words, keys, run, { pressed, main } = {}) => make("button", { type: "button", id, class: main ? "main" : null, "aria-keyshortcuts": keys, "aria-pressed": pressed === undefined ? null : String(pressed), onclick: run }, words);
  const buttons = [
    may("accept") ? button("accept", faceless ? "There is no face" : "Accept", "A", accept, { main: true }) : null,
    faceless ? null : button("save", state.mode === "results" ? "Save: do it again like this" : "Save", "S", () => save()),
    may("leave_alone") && !faceless ? button("leave-alone", "Leave original", "L", () => toggle("leave_alone", "left as it was"), { pressed: draft.leave_alone }) : null,
    (may("not_a_face") || may("remove")) && !faceless ? button("not-a-face", out(), "X", () => toggle("not_a_face", may("remove") ? "removed" : "not a face"), { pressed: draft.not_a_face }) : null,
    may("draw") ? button("draw", "Draw a missed face", "D", () => draw(true)) : null,
    !faceless && !detail.found_landmarks && may("draw") ? button("remove-drawn", "Take back this drawn face", null, remove) : null,
  ].filter(Boolean);
  const focused = document.activeElement?.id;
  at("decisions").replaceChildren(...buttons);
  if (focused && at("decisions").querySelector(`[id="${focused}"]`)) at(focused).focus({ preventScroll: true });
}

// A missed face

function draw(on) {
  if (on && (!face || !may("draw"))) return;
  at("face").classList.toggle("drawing", on);
  at("draw-tools").hidden = !on;
  at("point-tools").hidden = at("edit-hint").hidden = on;
  if (on) { show("points"); editor.startDrawing(); say("Draw a box around the missed face. Arrows move the box, Shift and arrows change its size, Enter finds the points in it, Escape cancels."); }
  else if (editor.drawing) { editor.stopDrawing(); at("draw")?.focus({ preventScroll: true }); }
}

async function drawn() {
  const button = at("draw-done"), { photo_id } = face.detail;
  button.disabled = true;
  say("Finding the points in the box…");
  try {
    const detail = await ask(`api/photos/${photo_id}/faces`, { body: { box: editor.drawn } });
    list.update([detail.summary], `${revision}-${performance.now().toFixed(0)}`);
    draw(false);
    await open(detail.summary.id, { focus: true });
    say(`New face: ${nameOf(detail.summary)}. Look whether the points are right.`);
    news();
  } catch (error) { trouble(error, drawn); } finally { button.disabled = false; }
}

// A result

function compare() {
  const { detail } = face, [x0, y0, x1, y1] = detail.box, side = 0.5 * Math.max(x1 - x0, y1 - y0);
  const region = [Math.max(0, x0 - side), Math.max(0, y0 - side), Math.min(detail.size[0], x1 + side), Math.min(detail.size[1], y1 + side)].map(Math.round);
  const address = (which) => `photos/${detail.photo_id}.jpg?which=${which}&region=${region}&width=${Math.min(region[2] - region[0], 1600)}`;
  compare.shown = comparison(address("photo"), address("result"), (sentence) => trouble(new Error(sentence), compare));
  at("comparison").replaceChildren(compare.shown.box, make("p", { class: "soft small-text" }, "Drag the line, or use the arrow keys on it; C changes between before and after."));
}

function show(what) {
  const results = state.mode === "results";
  at("views").hidden = !results;
  at("comparison").hidden = !results || what !== "result";
  at("points").hidden = results && what === "result";
  at("view-result").setAttribute("aria-pressed", String(what === "result"));
  at("view-points").setAttribute("aria-pressed", String(what !== "result"));
}

// What went wrong, and what can be done

let broken = null; // { error, again }
function trouble(error, again) { broken = error ? { error, again } : null; showTrouble(); }

function showTrouble() {
  const lines = [];
  const line = (sentence, again, ...more) => lines.push(make("div", { class: "line" }, make("p", {}, sentence), make("button", { type: "button", class: "small-button", onclick: again }, "Try again"), ...more));
  if (broken) line(broken.error.message, () => { const { again } = broken; trouble(null); again(); });
  const failed = [...unsaved.values()].filter((one) => one.face !== face || one.error instanceof Gone);
  if (failed.length && !broken) line(`${failed.length === 1 ? `${nameOf(failed[0].face.detail.summary)} is` : `${failed.length} faces are`} not saved: ${failed[0].error.message}`, () => retry(failed));
  else if (failed.length) lines.push(make("p", {}, `${failed.length === 1 ? "One face is" : `${failed.length} faces are`} not saved yet; leave this page open.`));
  at("trouble").replaceChildren(...lines);
}

async function retry(failed) {
  const current = face;
  for (const { face: one } of failed) { face = one; const done = save(); face = current; await done; }
  if (face) { showDraft(); }
}

// News: faces found meanwhile, and whether the program is still there

async function news() {
  if (finished) return;
  clearTimeout(news.timer);
  try {
    const [told, { revision: now, faces }] = await Promise.all([ask("api/state"), ask(`api/faces?since=${revision}`)]);
    const first = state === null;
    state = told;
    revision = now;
    if (first) begin();
    if (faces.length) list.update(faces, now);
    who.names(state.people);
    showProgress();
    if (broken?.error instanceof Gone) trouble(null);
  } catch (error) { trouble(error, news); }
  news.timer = setTimeout(news, state && state.looked_at >= state.photos ? AT_REST : SEARCHING);
}

function showProgress() {
  if (!state || finished) return;
  const { photos, looked_at } = state, total = list.faces.size, searching = looked_at < photos;
  at("progress").textContent = `${list.done.toLocaleString("en")} of ${total.toLocaleString("en")} looked at${searching ? `; still searching: ${looked_at} of ${photos} photos` : ""}`;
  at("start-title").textContent = total ? `${total.toLocaleString("en")} ${total === 1 ? "face" : "faces"}` : searching ? "Looking for faces" : "No face was found";
  at("start-text").textContent = searching ? `${looked_at} of ${photos} photos have been searched. You can begin with those that are there: what is found later comes into the list without moving what you look at.` : "The worst come first. Whatever you decide is saved at once, or when you go on to another face; the photos themselves are never changed.";
  at("begin").hidden = !total;
  if (showProgress.searching && !searching) say("All photos have been searched.");
  showProgress.searching = searching;
  if (face) { at("before").disabled = list.beside(-1) === undefined; at("next").disabled = list.beside(1) === undefined; }
  const { failures } = state;
  at("failures").hidden = !failures.length;
  if (at("failures").dataset.count !== String(failures.length)) {
    at("failures").dataset.count = failures.length;
    at("failures").firstElementChild.textContent = `${failures.length} ${failures.length === 1 ? "photo" : "photos"} could not be read`;
    at("failures").lastElementChild.replaceChildren(...failures.map((one) => make("li", {}, make("bdi", {}, one))));
  }
}

function begin() {
  at("title").textContent = document.title = state.title;
  if (!may("landmarks")) at("point-tools").classList.add("looking");
  fillKeys();
  list.filter();
  follow();
  performance.mark("ready");
}

function showStart() {
  document.body.classList.remove("showing");
  if (face) leave();
  face = null;
  at("face").hidden = true;
  at("start").hidden = false;
  list.mark(null);
}

function follow() {
  const found = /^#face-([0-9A-Za-z_-]+)$/.exec(location.hash);
  if (found) { if (face?.id !== found[1]) open(found[1]); return; }
  if (!face) return;
  const id = face.id;
  showStart();
  list.mark(id);
  at("list").focus({ preventScroll: true });
}

async function finish() {
  leave();
  await Promise.all(saving.values());
  if (unsaved.size && !confirm(`${unsaved.size === 1 ? "One face is" : `${unsaved.size} faces are`} not saved. Finish nevertheless?`)) return;
  try {
    const { saved } = await ask("api/finish", { body: {} });
    finished = true;
    clearTimeout(news.timer);
    const sums = Object.entries(saved).filter(([, sum]) => sum).map(([word, sum]) => `${sum} ${word}`).join(", ");
    face = null;
    unsaved.clear();
    const text = make("p", {}, `${sums ? `Decided here: ${sums}.` : "Nothing was decided."} The command in the terminal has ended; this page can be closed.`);
    const title = make("h2", { tabindex: -1 }, "Finished");
    document.querySelector(".top .steps").remove();
    at("trouble").replaceChildren();
    at("parts").replaceChildren(make("main", { class: "ended" }, make("section", { class: "card" }, title, text)));
    title.focus();
  } catch (error) { trouble(error, finish); }
}

// Keys

const zoomed = (factor) => () => editor.zoom(factor);
const selectEye = () => editor.select(editor.active === LEFT_EYE ? RIGHT_EYE : LEFT_EYE, true);
const beside = (step) => () => open(list.beside(step), { focus: document.activeElement !== at("list"), push: !face });
const turn = (step) => () => { const now = editor.active ?? (step > 0 ? -1 : PARTS.length); editor.select((now + step + PARTS.length) % PARTS.length, true); };
const KEYS = [ // key, its words, what it does, action without which it is not there
  ["N", "next face", beside(1)], ["P", "previous face", beside(-1)],
  ["A", "accept, and go on to the next face", accept, "accept"], ["S", "save", () => face && save()],
  ["X", () => `${out().toLowerCase()}, and go on`, () => (may("not_a_face") || may("remove")) && toggle("not_a_face", may("remove") ? "removed" : "not a face")],
  ["L", "leave the original, and go on", () => toggle("leave_alone", "left as it was"), "leave_alone"],
  ["D", "draw a missed face", () => draw(true), "draw"],
  ["E", "select the left eye, then the right one", selectEye], ["M", "select the mouth", () => editor.select(MOUTH, true)],
  ["[", "select the part before", turn(-1)], ["]", "select the next part", turn(1)],
  ["Z", "zoom to the part that is selected, then to the next, then to the whole face", () => editor.zoomToPart()],
  ["+", "zoom in", zoomed(1.25)], ["-", "zoom out", zoomed(0.8)], ["0", "the whole face", () => face && editor.fit(editor.faceRegion())],
  ["U", "undo", () => stepTo(face?.past ?? [], face?.future, "undo")],
  ["C", "change between before and after", () => compare.shown?.swap(), "strength"],
  ["V", "show the result or the points", () => show(at("points").hidden ? "points" : "result"), "strength"],
  ["?", "show the keys", () => at("keys").showModal()],
];
const ALSO = [["Enter", "accept, where nothing else is chosen"], ["Ctrl+Z, Ctrl+Shift+Z", "undo, redo"], ["Tab", "through the parts of the face, and the points of the part that is selected"],
  ["Arrows", "move the point, part or box by one pixel of the screen, with Shift by ten; beside them, the photo"], ["Enter, Escape", "from a part to its points, and back"], ["Arrows in the list", "go to another face"]];

function fillKeys() {
  const row = (key, words) => make("tr", {}, make("th", { scope: "row" }, make("kbd", {}, key)), make("td", {}, capital(words)));
  const known = KEYS.filter(([, , , action]) => !action || may(action));
  at("key-table").tBodies[0].replaceChildren(...known.map(([key, words]) => row(key, typeof words === "string" ? words : words())), ...ALSO.map(([key, words]) => row(key, words)));
}

document.addEventListener("keydown", (event) => {
  if (!state || finished || at("keys").open || event.altKey) return;
  const target = event.target, typing = target.closest("select, textarea, input:not([type=checkbox]):not([type=radio]):not([type=range])");
  if (event.ctrlKey || event.metaKey) {
    if (event.key.toLowerCase() !== "z" || typing || !face) return;
    if (event.shiftKey) stepTo(face.future, face.past, "redo"); else stepTo(face.past, face.future, "undo");
    event.preventDefault();
    return;
  }
  if (editor.drawing && ["Enter", "Escape"].includes(event.key) && !target.closest("button")) {
    if (event.key === "Enter") drawn(); else draw(false);
    event.preventDefault();
    return;
  }
  if (typing) return;
  if (event.key === "Enter" && face && (target === document.body || target === at("face-title") || target === at("shown") || target === editor.picture)) { accept(); event.preventDefault(); return; }
  if (!at("letters").checked || event.key.length !== 1) return;
  const known = KEYS.find(([key, , , action]) => key === (event.key === "=" ? "+" : event.key.toUpperCase()) && (!action || may(action)));
  if (!known || (editor.drawing && !["+", "-", "?"].includes(known[0]))) return;
  event.preventDefault();
  known[2]();
});

// The pieces, put together

const list = new FaceList((id) => open(id, { push: !face, focus: document.activeElement !== at("list") || getComputedStyle(at("list")).display === "none" }), () => (state && may("remove") ? "Removed" : "Not a face"));
const editor = new Editor(at("stage"), {
  changed: (points, box, step) => change({ points, box, accepted: false }, step),
  selected: (number) => { at("part").value = number ?? ""; },
  say,
  view: (region, width, signal) => ask(`photos/${face.detail.photo_id}.jpg?region=${region}&width=${width}`, { signal, as: "blob" }),
  failed: (error) => { if (error) trouble(error, () => editor.fetch()); else if (broken?.again.view) trouble(null); },
});
const preview = new Preview(({ components }, decision) => editor.showRead(components, decision.landmarks ?? face.detail.landmarks));
const who = new Who((said) => { change({ ...said, not_a_face: false, leave_alone: false }); });
const strength = new Strength((value) => change({ strength: value, leave_alone: false }, "strength"));

at("part").append(make("option", { value: "" }, "none"), ...PARTS.map(({ name }, number) => make("option", { value: number }, name)), make("option", { value: WHOLE }, "Whole face"));
at("part").addEventListener("change", () => editor.select(at("part").value === "" ? null : Number(at("part").value)));
for (const [id, run] of Object.entries({
  "show-keys": () => at("keys").showModal(), "close-keys": () => at("keys").close(), finish, begin: beside(1), before: beside(-1), next: beside(1),
  "zoom-in": zoomed(1.25), "zoom-out": zoomed(0.8), "zoom-part": () => editor.zoomToPart(), undo: () => stepTo(face.past, face.future, "undo"), redo: () => stepTo(face.future, face.past, "redo"),
  "as-found": () => change({ points: face.detail.found_landmarks, box: face.detail.found_box, accepted: false }), refit,
  "draw-done": drawn, "draw-cancel": () => draw(false), "view-result": () => show("result"), "view-points": () => show("points"),
})) at(id).addEventListener("click", run);
at("back").addEventListener("click", (event) => { event.preventDefault(); history.replaceState(null, "", "#list"); follow(); });
addEventListener("popstate", follow);
addEventListener("pagehide", leave);
addEventListener("beforeunload", (event) => { if (unsaved.size || saving.size) event.preventDefault(); });
news();
