// What the report does; it stands behind elements.js, in one module.
const records = JSON.parse(document.getElementById("records").textContent);
const ROW = 76; // pixels, as --row in the style
const SPARE = 6; // rows drawn beyond the window
const STATUSES = { restored: "restored", untouched: "untouched", skipped: "skipped", failed: "failed" };
const USED = { specific: "from their own dictionary", generic: "from the generic dictionary", none: "left alone" };
const ANSWERS = { original: "as it was", reference: "nearest reference", generic: "generic answer", specific: "specific answer", published: "published" };
const COMPONENTS = ["left eye", "right eye", "mouth"];
const at = (id) => document.getElementById(id);

function drawn(width, height, className, label) {
  const picture = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  picture.setAttribute("viewBox", `0 0 ${width} ${height}`);
  picture.setAttribute("class", className);
  picture.setAttribute("preserveAspectRatio", "none");
  if (label) { picture.setAttribute("role", "img"); picture.setAttribute("aria-label", label); }
  else picture.setAttribute("aria-hidden", "true");
  return picture;
}

function shape(picture, tag, attributes, text = "") {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.textContent = text;
  picture.append(element);
}

const counted = (number, noun) => `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
const name = (text) => make("bdi", { dir: "auto" }, text);
const fileName = (photo) => photo.place.slice(photo.place.lastIndexOf("/") + 1);
const folderName = (photo) => photo.place.slice(0, Math.max(0, photo.place.lastIndexOf("/")));
const toCopy = (key, value) => make("code", { dir: "ltr", title: "To be copied into decisions.toml" }, `${key} = ${value}`);
const withoutBrackets = (reason) => reason.replace(/\s*\([^)]*\)/g, "");
const general = (reason) => withoutBrackets(reason).replace(/\d+([.,]\d+)?/g, "…");
const plain = (value) => value === null ? "–" : value === true ? "yes" : value === false ? "no" : typeof value === "object" ? Object.values(value).join(", ") : String(value);

function pictureAddress(picture) {
  return records.pictures ? records.pictures[picture] : `${records.overview.folder}/${picture}`;
}

function fileAddress(place) { // bytes that are no text stand as half characters, U+DC80 to U+DCFF
  const escape = (sign) => /^[\udc80-\udcff]$/.test(sign) ? "%" + (sign.charCodeAt(0) - 0xdc00).toString(16) : encodeURIComponent(sign);
  try { return place.split("/").map((part) => Array.from(part, escape).join("")).join("/"); } catch { return null; }
}

// What is looked for
const index = records.photos.map((photo) => ({
  text: photo.place.toLowerCase(),
  person: new Set(photo.faces.map((face) => face.person).filter(Boolean)),
  status: new Set([photo.status]),
  used: new Set(photo.faces.map((face) => face.used)),
  reason: new Set([...photo.faces.flatMap((face) => face.problems).map(general), ...(photo.reason ? [withoutBrackets(photo.reason)] : [])]),
}));
const CHOICES = ["person", "status", "used", "reason"];
let found = records.photos.map((_, number) => number);
let current = -1; // of `found`

function tally(kind) {
  const counts = new Map();
  for (const one of index) for (const value of one[kind]) counts.set(value, (counts.get(value) || 0) + 1);
  return counts;
}
const tallies = Object.fromEntries(CHOICES.map((kind) => [kind, tally(kind)]));
const collator = new Intl.Collator("en", { numeric: true });
const byNumber = (kind) => [...tallies[kind]].sort((one, other) => other[1] - one[1] || collator.compare(one[0], other[0]));

function fillFilters() {
  const words = { person: (value) => value, status: (value) => STATUSES[value], used: (value) => USED[value], reason: (value) => value };
  const all = { person: "everybody", status: "all", used: "all", reason: "any" };
  for (const kind of CHOICES) {
    const values = kind === "person" ? [...tallies.person].sort((one, other) => collator.compare(one[0], other[0])) : byNumber(kind);
    at(kind).append(make("option", { value: "" }, all[kind]));
    for (const [value, count] of values.slice(0, 500)) at(kind).append(make("option", { value }, `${words[kind](value)} (${count})`));
    at(kind).disabled = !values.length;
  }
}

function filter() {
  const words = at("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const wanted = CHOICES.map((kind) => [kind, at(kind).value]).filter(([, value]) => value);
  found = [];
  for (let number = 0; number < index.length; number++) {
    const one = index[number];
    if (words.every((word) => one.text.includes(word)) && wanted.every(([kind, value]) => one[kind].has(value))) found.push(number);
  }
  current = found.indexOf(shownNumber());
  at("active").textContent = wanted.length ? `(${wanted.length})` : "";
  at("count").textContent = found.length === index.length ? counted(found.length, "photo") : `${found.length.toLocaleString("en")} of ${counted(index.length, "photo")}`;
  at("rows").style.height = `${found.length * ROW}px`;
  at("list").scrollTop = Math.max(0, current * ROW - at("list").clientHeight / 2);
  drawRows(true);
  drawSteps();
}

function choose(kind, value) {
  for (const one of CHOICES) at(one).value = "";
  at("search").value = "";
  at(kind).value = value;
  at("more").open = true;
  filter();
  document.body.classList.remove("showing");
  at("list").focus();
}

// The list: only the rows in the window exist
const rows = new Map();
function drawRows(afresh = false) {
  const list = at("list");
  const first = Math.max(0, Math.floor(list.scrollTop / ROW) - SPARE);
  const end = Math.min(found.length, Math.ceil((list.scrollTop + list.clientHeight) / ROW) + SPARE);
  for (const [place, row] of rows) if (afresh || place < first || place >= end) { row.remove(); rows.delete(place); }
  for (let place = first; place < end; place++) {
    if (!rows.has(place)) { rows.set(place, rowOf(place)); at("rows").append(rows.get(place)); }
    rows.get(place).setAttribute("aria-selected", String(place === current));
  }
  if (rows.has(current)) list.setAttribute("aria-activedescendant", rows.get(current).id);
  else list.removeAttribute("aria-activedescendant");
}

function rowOf(place) {
  const photo = records.photos[found[place]];
  const restored = photo.faces.filter((face) => face.used !== "none").length;
  const people = [...new Set(photo.faces.map((face) => face.person).filter(Boolean))];
  const told = [photo.faces.length ? `${restored} of ${counted(photo.faces.length, "face")}` : null, ...people, photo.status === "failed" || photo.status === "skipped" ? photo.reason : null];
  const small = photo.pictures.small ? make("img", { class: "small", src: pictureAddress(photo.pictures.small), alt: "", decoding: "async", width: 58, height: 58 }) : make("span", { class: "small" });
  const row = make("div", { class: "row", role: "option", id: `row-${place}`, "aria-setsize": found.length, "aria-posinset": place + 1, title: photo.place, onclick: () => show(place) },
    small,
    make("span", { class: "text" },
      make("span", { class: "name" }, name(fileName(photo))),
      make("span", { class: "told" }, mark(photo.status, capital(STATUSES[photo.status])), " ", told.filter(Boolean).map((one) => `· ${one}`).join(" "))));
  row.style.top = `${place * ROW}px`;
  return row;
}

function move(place, open) {
  if (!found.length) return;
  current = Math.min(found.length - 1, Math.max(0, place));
  const list = at("list"), top = current * ROW;
  if (top < list.scrollTop) list.scrollTop = top;
  if (top + ROW > list.scrollTop + list.clientHeight) list.scrollTop = top + ROW - list.clientHeight;
  drawRows();
  if (open) show(current);
}

at("list").addEventListener("keydown", (event) => {
  const page = Math.max(1, Math.floor(at("list").clientHeight / ROW) - 1);
  const steps = { ArrowDown: current + 1, ArrowUp: current - 1, PageDown: current + page, PageUp: current - page, Home: 0, End: found.length - 1 };
  const beside = getComputedStyle(at("shown")).display !== "none";
  if (event.key in steps) move(steps[event.key], beside);
  else if (event.key === "Enter" || event.key === " ") move(current, true);
  else return;
  event.preventDefault();
});

// One photo
const shownNumber = () => { const found = /^#photo-(\d+)$/.exec(location.hash); return found && records.photos[found[1] - 1] ? Number(found[1]) - 1 : -1; };
function show(place) {
  current = place;
  const hash = `#photo-${found[place] + 1}`;
  if (location.hash === hash) follow(); else location.hash = hash;
}

function follow(event) {
  const number = shownNumber();
  document.body.classList.toggle("showing", number >= 0 || location.hash === "#overview");
  current = found.indexOf(number);
  at("shown").replaceChildren(...(number >= 0 ? photoParts(records.photos[number]) : overviewParts()));
  at("shown").scrollTop = 0;
  if (event && document.activeElement !== at("list")) at(at("list").offsetParent ? "list" : "shown").focus({ preventScroll: true });
  drawRows();
  drawSteps();
}

const backLink = () => make("a", { class: "quiet back", href: "#list" }, "‹ Back to the list");
function drawSteps() {
  const [before, after] = [at("before"), at("next")];
  if (!before) return;
  before.disabled = current <= 0;
  after.disabled = current < 0 || current >= found.length - 1;
}

function photoParts(photo) {
  const steps = make("div", { class: "steps" }, backLink(),
    make("button", { type: "button", id: "before", onclick: () => move(current - 1, true), "aria-label": "Previous photo" }, "‹ Previous"),
    make("button", { type: "button", id: "next", onclick: () => move(current + 1, true), "aria-label": "Next photo" }, "Next ›"));
  const address = photo.output && !records.pictures ? fileAddress(photo.output) : null;
  const title = make("div", { class: "title" },
    make("h2", {}, name(fileName(photo))), steps,
    make("div", { class: "told soft" }, mark(photo.status, capital(STATUSES[photo.status])),
      folderName(photo) ? make("span", {}, "in ", name(folderName(photo))) : null,
      photo.size ? make("span", {}, `${photo.size[0]} × ${photo.size[1]} pixels`) : null,
      address ? make("a", { href: address, target: "_blank", rel: "noopener" }, "Open the result") : null,
      photo.faces.length && !/[\ud800-\udfff]/u.test(photo.original) ? toCopy("place", JSON.stringify(photo.original)) : null));
  const parts = [title];
  if (photo.reason) parts.push(make("p", { class: "why" }, `${capital(STATUSES[photo.status])}: ${photo.reason}.`));
  for (const note of photo.notes) parts.push(make("p", { class: "soft" }, `The photo ${note}.`));
  if (photo.pictures.before && photo.pictures.after) parts.push(...compared(photo));
  else if (address) parts.push(make("div", { class: "only" }, make("img", { src: address, alt: "The photo as it is in the output folder", onerror: (event) => event.target.parentNode.remove() })), make("div", { class: "below" }));
  else if (photo.pictures.small) parts.push(make("div", { class: "only" }, make("img", { src: pictureAddress(photo.pictures.small), alt: "The photo, small" })), make("div", { class: "below" }));
  if (!photo.faces.length && photo.status === "untouched") parts.push(make("p", { class: "why" }, "No face was found in it, so it was copied as it is."));
  photo.faces.forEach((face, number) => parts.push(faceCard(face, number)));
  return parts;
}

function compared(photo) {
  const { box } = comparison("photo", pictureAddress(photo.pictures.before), pictureAddress(photo.pictures.after));
  if (photo.size) {
    const [width, height] = photo.size, places = drawn(width, height, "places");
    photo.faces.forEach((face, number) => {
      const [x0, y0, x1, y1] = face.box, side = Math.max(width, height) / 38;
      shape(places, "rect", { x: x0, y: y0, width: x1 - x0, height: y1 - y0 });
      shape(places, "text", { x: x0 + side * 0.25, y: y0 + side, "font-size": side }, String(number + 1));
    });
    box.append(places);
  }
  const boxes = make("input", { type: "checkbox", onchange: (event) => box.classList.toggle("placed", event.target.checked) });
  return [box, make("div", { class: "below" }, make("label", {}, boxes, "Show where the faces are"), make("span", { class: "soft" }, "Drag, or use the arrow keys"))];
}

function verdict(face) {
  const part = face.strength < 1 ? ` with ${Math.round(100 * face.strength)}\u00a0% of the change` : "";
  const why = face.why.length ? `: ${face.why.join("; ").replace("with less strength: ", "with all of it, ")}.` : ".";
  if (face.used !== "none") return `The ${face.used} answer was published${part}${why}`;
  return `Left as it was: ${(face.why.length ? face.why : face.problems).join("; ") || "nothing was asked for"}.`;
}

function faceCard(face, number) {
  const who = face.person ? name(face.person) : face.usable ? "nobody known" : "not used";
  const by = (face.person && { decision: ", as decided", tag: ", as tagged", forced: ", as asked" }[face.assigned_by]) || "";
  const card = make("section", { class: "face", "aria-label": `Face ${number + 1}` },
    make("header", {}, make("h3", {}, `Face ${number + 1}: `, who, by), mark(face.used, USED[face.used])),
    make("p", { class: "verdict" }, verdict(face)));
  const pictures = make("div", { class: "pictures" });
  for (const [kind, words] of Object.entries(ANSWERS)) if (face.pictures[kind]) pictures.append(faceFigure(face, kind, words, number));
  if (pictures.children.length) card.append(pictures);
  const measured = figuresOf(face);
  if (measured) card.append(measured);
  const others = face.problems.filter((one) => !face.why.includes(one));
  if (others.length && (face.used !== "none" || face.why.length)) card.append(make("p", { class: "soft" }, `Also noticed: ${others.join("; ")}.`));
  card.append(make("p", { class: "copied" }, toCopy("box", `[${face.box.map(Math.round).join(", ")}]`)));
  return card;
}

function faceFigure(face, kind, words, number) {
  const caption = kind === "published" && face.strength < 1 ? `published, at ${Math.round(100 * face.strength)} %` : words;
  const frame = make("div", { class: "frame" }, make("img", { src: pictureAddress(face.pictures[kind]), alt: `Face ${number + 1}: ${caption}`, width: 192, height: 192, loading: "lazy", decoding: "async" }));
  if (kind === "original" && face.components) {
    const boxes = drawn(512, 512, "boxes", `Boxes of ${COMPONENTS.join(", ")}`);
    for (const [x0, y0, x1, y1] of face.components) shape(boxes, "rect", { x: x0, y: y0, width: x1 - x0, height: y1 - y0 });
    frame.append(boxes);
  }
  return make("figure", kind === "published" ? { class: "chosen" } : {}, frame, make("figcaption", {}, caption));
}

function figuresOf(face) {
  const lines = [];
  if (face.similarity_before !== null) lines.push(["before", { similarity: face.similarity_before }]);
  for (const used of ["generic", "specific"]) if (face.answers[used]) lines.push([ANSWERS[used], face.answers[used]]);
  if (face.used !== "none" && face.similarity_after !== null) lines.push(["published", { ...face.published, similarity: face.similarity_after }]);
  if (!lines.length) return null;
  const to = face.person ? "Similarity to the references" : "Similarity to the face as it was";
  const measured = lines.some(([, one]) => one.detail !== undefined), refused = lines.some(([, one]) => one.refused);
  const head = (text, shown, kind) => shown ? make("th", { scope: "col", class: kind }, text) : null;
  const table = make("table", { class: "figures" }, make("thead", {}, make("tr", {}, make("td", {}), head(to, true, null),
    head("Detail kept", measured, "number"), head("Points moved", measured, "number"), head("Refused, because", refused, null))));
  const body = make("tbody");
  for (const [label, one] of lines) {
    const share = make("b");
    share.style.width = `${100 * Math.min(1, Math.max(0, one.similarity))}%`;
    body.append(make("tr", {}, make("th", { scope: "row" }, label),
      make("td", {}, make("span", { class: "bar" }, make("span", {}, one.similarity.toFixed(2)), make("i", { "aria-hidden": "true" }, share))),
      measured ? make("td", { class: "number" }, one.detail === undefined ? "" : `${Math.round(100 * one.detail)} %`) : null,
      measured ? make("td", { class: "number" }, one.moved === undefined ? "" : `${(100 * one.moved).toFixed(1)} %`) : null,
      refused ? make("td", { class: "refusal" }, one.refused || "") : null));
  }
  table.append(body);
  return make("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "What was measured" }, table);
}

// The whole
function overviewParts() {
  const overview = records.overview, faces = { specific: 0, generic: 0, none: 0 };
  for (const photo of records.photos) for (const face of photo.faces) faces[face.used]++;
  const time = (text) => (text ? new Date(text).toLocaleString([], { dateStyle: "medium", timeStyle: "short" }) : "–");
  const tile = (kind, value, number, words) => make("button", { type: "button", class: "tile", onclick: () => choose(kind, value), disabled: !number }, make("b", {}, number.toLocaleString("en")), make("span", {}, words));
  const parts = [make("div", { class: "title" }, make("h2", {}, counted(records.photos.length, "photo")), make("div", { class: "steps" }, backLink()),
    make("p", { class: "told soft" }, `Restored from ${time(overview.first)} to ${time(overview.last)}.`)),
  make("div", { class: "tiles" },
    ...Object.entries(STATUSES).map(([value, words]) => tile("status", value, tallies.status.get(value) || 0, `${words}`))),
  make("div", { class: "tiles" },
    ...Object.entries(USED).map(([value, words]) => tile("used", value, faces[value], `${faces[value] === 1 ? "face" : "faces"} ${words}`)))];
  const groups = make("div", { class: "groups" });
  for (const [kind, title] of [["person", "People, and in how many photos"], ["reason", "Reasons, and in how many photos"]]) {
    const values = byNumber(kind).slice(0, 40);
    if (values.length) groups.append(make("section", { class: "group" }, make("h3", {}, title),
      make("ul", {}, ...values.map(([value, count]) => make("li", {}, make("button", { type: "button", onclick: () => choose(kind, value) }, name(value), make("span", {}, count.toLocaleString("en"))))))));
  }
  const list = (pairs) => make("dl", {}, ...pairs.flatMap(([term, text]) => [make("dt", {}, term), make("dd", {}, text)]));
  const distinct = (key) => [...new Set(records.photos.map((photo) => photo[key]).filter(Boolean))].join(", ") || "–";
  groups.append(make("section", { class: "group" }, make("h3", {}, "Made with"),
    list([["dmd", overview.version], ["weights", distinct("model")], ["face kit", distinct("kit")], ["report", time(overview.written)],
      ...(overview.seconds === null ? [] : [["last run", overview.seconds < 100 ? `${overview.seconds} s` : `${Math.round(overview.seconds / 60)} min`]])])));
  overview.settings.forEach((settings, number) => groups.append(make("section", { class: "group" },
    make("h3", {}, overview.settings.length > 1 ? `Settings ${number + 1}` : "Settings"),
    list(Object.entries(settings).map(([key, value]) => [key.replaceAll("_", "-"), plain(value)])))));
  parts.push(groups, make("p", { class: "soft" }, "A restored face is a likely face, not evidence: identify nobody by it. Detail kept is that of eyes and mouth, as a part of what there was; points moved are in distances of the outer eye corners."));
  return parts;
}

fillFilters();
at("filters").addEventListener("input", filter);
at("filters").addEventListener("reset", () => setTimeout(filter));
at("filters").addEventListener("submit", (event) => event.preventDefault());
at("list").addEventListener("scroll", () => drawRows(), { passive: true });
addEventListener("resize", () => drawRows());
addEventListener("hashchange", follow);
if (matchMedia("(min-width: 861px) and (min-height: 700px)").matches) at("more").open = true;
filter();
follow();
performance.mark("ready");
