// The page: what it is about, news of the search, what goes wrong and what can be done about it, and what keys do.
import { capital, make } from "./elements.js";
import { OpenFace } from "./face.js";
import { FaceList, counted } from "./list.js";
import { Gone, ask } from "./panels.js";
import { LEFT_EYE, MOUTH, PARTS, RIGHT_EYE } from "./points.js";

const SEARCHING = 1000, AT_REST = 4000; // milliseconds between two questions for news
const at = (id) => document.getElementById(id);
const say = (text) => { at("said").textContent = text; };

let state = null;
let revision = 0;
let finished = false;
let finishing = false;
let broken = null; // { error, again, kind }: what went wrong, and what tries it again
let announced = true; // that all photos were searched
let timer = 0;

const narrow = () => getComputedStyle(at("list")).visibility === "hidden" || at("list").offsetParent === null;
const list = new FaceList((id) => work.open(id, { push: !work.face, focus: document.activeElement !== at("list") || narrow() }), () => (work.may("remove") ? "Removed" : "Not a face"));
const work = new OpenFace({ list, say, trouble, state: () => state ?? { actions: [] }, saved: () => { showTrouble(); showProgress(); }, none: showStart });
const { editor } = work;

// What went wrong

// error: null where what went wrong before is right again; of a kind, where only that is
function trouble(error, again = null, kind = null) {
  if (finished || (!error && kind && broken?.kind !== kind)) return;
  broken = error ? { error, again, kind } : null;
  showTrouble();
}

function showTrouble() {
  const line = (sentence, again, words = "Try again") => make("div", { class: "line" }, make("p", {}, sentence), again && make("button", { type: "button", class: "small-button", onclick: again }, words));
  const gone = broken?.error instanceof Gone; // asked for by itself again and again, so that no button is needed
  at("finish")?.toggleAttribute("disabled", Boolean(gone));
  const lines = broken ? [line(broken.error.message, gone ? null : () => { const { again } = broken; trouble(null); again(); })] : [];
  const failed = [...work.unsaved.values()];
  const which = failed.length === 1 ? `${list.nameOf(failed[0].face.detail.summary)} is` : `${failed.length} faces are`;
  if (failed.length && gone) lines.push(line(`${which} not saved: what was changed last is lost if the program has ended, and saved by itself if it answers again.`, null));
  else if (failed.length) lines.push(line(`${which} not saved: ${failed[0].error.message}`, () => work.saveAgain()));
  for (const [id, { face, error }] of work.dropped) lines.push(line(`${list.nameOf(face.detail.summary)} is not saved: ${error.message}`, id === work.face?.id ? null : () => work.open(id, { focus: true }), "Look at it"));
  if (lines.map((one) => one.textContent).join() !== at("trouble").textContent) at("trouble").replaceChildren(...lines);
}

// News: faces found meanwhile, and whether the program is still there

async function news() {
  if (finished) return;
  clearTimeout(timer);
  try {
    const [told, { revision: now, faces }] = await Promise.all([ask("api/state"), ask(`api/faces?since=${revision}`)]);
    const first = state === null;
    state = told;
    revision = now;
    if (first && state.mode === "references") list.noun = "reference";
    list.update(faces);
    work.follow(faces);
    if (first) begin();
    work.who.names(state.people);
    showProgress();
    if (broken?.error instanceof Gone) goOn();
  } catch (error) { if (!finished && !(broken?.error instanceof Gone)) trouble(error, news); }
  if (finished) return;
  timer = setTimeout(news, state && state.looked_at >= state.photos ? AT_REST : SEARCHING);
}

function goOn() { // somebody answers again
  trouble(null);
  if (work.unsaved.size) work.saveAgain();
  if (work.face) editor.fetch();
  list.draw();
  work.preview.goOn();
}

function showProgress() {
  if (!state || finished) return;
  const { photos, looked_at: searched, failures } = state, total = list.faces.size, searching = searched < photos;
  at("progress").textContent = `${list.lookedAt}${searching ? `; still searching: ${searched} of ${counted(photos, "photo")}` : ""}`;
  at("start-title").textContent = total ? list.inWords() : searching ? "Looking for faces" : "No face was found";
  at("start-text").textContent = searching ? `${searched} of ${counted(photos, "photo")} searched so far.${total ? " You can begin with what is there: what is found later comes into the list without moving what you look at." : ""}` : "The worst come first. What you decide is saved at once, and what you change when you go to another face. The photos themselves are never changed.";
  at("begin").hidden = !total;
  at("begin").textContent = `Start with the first ${list.summary(list.order[0])?.number === 0 ? "photo" : list.noun}`;
  if (!announced && !searching) say("All photos have been searched.");
  announced = !searching;
  if (work.face) work.showSteps();
  at("failures").hidden = !failures.length;
  if (at("failures").dataset.count === String(failures.length)) return;
  at("failures").dataset.count = failures.length;
  at("failures").firstElementChild.textContent = `${counted(failures.length, "photo")} could not be read`;
  at("failures").lastElementChild.replaceChildren(...failures.map((one) => make("li", {}, make("bdi", {}, one))));
}

function begin() {
  at("title").textContent = document.title = state.title;
  fillKeys();
  list.filter();
  follow();
  if (!work.opening) work.coming.ahead();
  performance.mark("ready");
}

function showStart() {
  work.close();
  list.mark(null);
  document.title = state.title;
}

function follow() { // the address says which face is open
  const found = /^#face-([0-9A-Za-z_-]+)$/.exec(location.hash), id = work.face?.id;
  if (found && id !== found[1]) work.open(found[1], { focus: true });
  else if (!found && id) {
    showStart();
    list.mark(id);
    at("list").focus({ preventScroll: true });
  }
}

async function finish() { // pressed twice it is asked for once
  if (finishing) return;
  finishing = true;
  await end();
  finishing = false;
}

async function end() {
  work.leave();
  await Promise.all(work.saving.values());
  const failed = work.unsaved.size + work.dropped.size;
  if (failed && !confirm(`${failed === 1 ? "One face is" : `${failed} faces are`} not saved. Finish nevertheless?`)) return;
  finished = list.ended = true;
  clearTimeout(timer);
  stop(); // whatever is still being fetched would find nobody there, and so would what is about to be
  for (const waiting of [editor.settling, work.preview.pausing]) clearTimeout(waiting);
  try {
    const { saved } = await ask("api/finish", { body: {} });
    work.unsaved.clear();
    const sums = Object.entries(saved).filter(([, sum]) => sum).map(([word, sum]) => `${sum} ${word}`).join(", ");
    const title = make("h2", { tabindex: -1 }, "Finished");
    at("finish").remove();
    at("show-keys").remove();
    at("trouble").replaceChildren();
    at("parts").hidden = true;
    at("parts").after(make("main", { class: "ended" }, make("section", { class: "card" }, title,
      make("p", {}, `${sums ? `Decided here: ${sums}.` : "Nothing was decided."} The command in the terminal has ended; this page can be closed.`))));
    title.focus();
  } catch (error) { finished = list.ended = false; trouble(error, finish); news(); }
}

// Keys

const beside = (step) => () => work.open(list.beside(step), { focus: document.activeElement !== at("list") || narrow(), push: !work.face });
const inFace = (run) => () => { if (work.face) run(); };
const select = (number) => { work.show("points"); at("stage").scrollIntoView({ block: "nearest" }); editor.select(number, true); };
const turn = (step) => inFace(() => select(((editor.active ?? (step > 0 ? -1 : PARTS.length)) + step + PARTS.length) % PARTS.length));
const KEYS = [ // key, its words, what it does, the action or the kind of page without which it is not there
  ["N", "next face", beside(1)], ["P", "previous face", beside(-1)],
  ["A", "accept, and go on to the next face", () => work.accept(), "accept"], ["S", "save", () => work.saveNow()],
  ["X", () => `${(work.out ?? "").toLowerCase()}, and go on`, () => work.reject()],
  ["L", "leave the original, and go on", () => work.leaveAlone(), "leave_alone"],
  ["D", "draw a missed face", () => work.draw(true), "draw"],
  ["E", "select the left eye, then the right one", inFace(() => select(editor.active === LEFT_EYE ? RIGHT_EYE : LEFT_EYE))],
  ["M", "select the mouth", inFace(() => select(MOUTH))], ["[", "select the part before", turn(-1)], ["]", "select the next part", turn(1)],
  ["Z", "zoom to the part that is selected, then to the next, then to the whole face", inFace(() => { work.show("points"); editor.zoomToPart(); })],
  ["+", "zoom in", inFace(() => editor.zoom(1.25))], ["-", "zoom out", inFace(() => editor.zoom(0.8))], ["0", "show the whole face", inFace(() => editor.fit(editor.faceRegion()))],
  ["U", "undo", () => work.undo()],
  ["C", "change between before and after", inFace(() => work.coming.compared?.swap()), "results"],
  ["V", "show the result or the points", inFace(() => work.show(at("points").hidden ? "points" : "result")), "results"],
  ["?", "show the keys", () => at("keys").showModal()],
];
const ALSO = [["Enter", "accept, where nothing else is chosen"], ["Ctrl+Z, Ctrl+Shift+Z", "undo, redo"], ["Tab", "through the parts of the face, and the points of the part that is selected"],
  ["Arrows", "move the point or part by one pixel of the screen, with Shift by ten; the box by eight, with Shift its size; with nothing selected, the photo"],
  ["Enter, Escape", "from a part to its points, and back"], ["Arrows in the list", "open another face"]];

const ONCE = ["A", "S", "X", "L", "D", "ENTER"]; // held down they would be about faces that nobody has looked at
const isThere = ([, , , needed]) => !needed || needed === state.mode || work.may(needed);
const WHILE_DRAWING = ["+", "-", "?"];
const leavesDrawing = (key) => ["N", "P"].includes(key) || (key === "A" && work.faceless); // as long as no box would be lost by that

function fillKeys() {
  const row = ([key, words]) => make("tr", {}, make("th", { scope: "row" }, make("kbd", {}, key)), make("td", {}, capital(typeof words === "string" ? words : words())));
  const known = KEYS.filter((one) => isThere(one) && (one[0] !== "X" || work.out));
  at("key-table").tBodies[0].replaceChildren(...[...known, ...ALSO].map(row));
}

document.addEventListener("keydown", (event) => {
  if (!state || finished || at("keys").open || event.altKey) return;
  const target = event.target, typing = target.closest("select, textarea, input:not([type=checkbox]):not([type=radio]):not([type=range])");
  if (event.repeat && !typing && ONCE.includes(event.key.toUpperCase()) && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    return;
  }
  if (event.ctrlKey || event.metaKey) {
    if (event.key.toLowerCase() !== "z" || typing || !work.ready) return;
    if (event.shiftKey) work.redo(); else work.undo();
  } else if (work.opening && !["N", "P", "?"].includes(event.key.toUpperCase())) {
    if (KEYS.some(([key]) => key === event.key.toUpperCase())) work.coming.tell();
    return;
  } else if (editor.drawing && ["Enter", "Escape"].includes(event.key) && !target.closest("button")) {
    if (event.key === "Escape") work.draw(false);
    else if (editor.fresh) say("Move the box onto the face first."); // Enter often means the photo, and not a box that nobody touched
    else work.drawn();
  } else if (typing) return;
  else if (event.key === "Enter" && work.face && [document.body, at("face-title"), at("shown"), editor.picture].includes(target)) work.accept();
  else {
    const key = event.key === "=" ? "+" : event.key.toUpperCase(), known = KEYS.find((one) => one[0] === key && isThere(one));
    if (!at("letters").checked || !known || (editor.drawing && !WHILE_DRAWING.includes(key) && !(editor.fresh && leavesDrawing(key)))) return;
    known[2]();
  }
  event.preventDefault();
});

for (const [id, run] of Object.entries({
  "show-keys": () => at("keys").showModal(), "close-keys": () => at("keys").close(), finish, begin: beside(1), before: beside(-1), next: beside(1),
  "zoom-in": () => editor.zoom(1.25), "zoom-out": () => editor.zoom(0.8), "zoom-part": () => editor.zoomToPart(),
  undo: () => work.undo(), redo: () => work.redo(), "as-found": () => work.asFound(), refit: () => work.refit(),
  "draw-done": () => work.drawn(), "draw-cancel": () => work.draw(false), "view-result": () => work.show("result"), "view-points": () => work.show("points"),
})) at(id).addEventListener("click", run);
at("back").addEventListener("click", (event) => { event.preventDefault(); history.replaceState(null, "", "#list"); follow(); });
addEventListener("popstate", follow);
addEventListener("pagehide", () => { if (!finished) work.leave(); });
addEventListener("beforeunload", (event) => { if (work.unsaved.size) event.preventDefault(); });
news();
