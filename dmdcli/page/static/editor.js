// The photo around a face, its 68 points and its box: shown, zoomed, moved by hand and by keys.
// Points are in photo pixels with (0, 0) in the middle of the first; boxes are edges in photo pixels, end excluded.

const span = (first, end) => Array.from({ length: end - first }, (_, number) => first + number);
const part = (name, first, end, lines, inside = true) => ({ name, points: span(first, end), lines, inside });
export const PARTS = [
  part("Jaw", 0, 17, [[0, 17, false]], false),
  part("Left brow", 17, 22, [[17, 22, false]]),
  part("Right brow", 22, 27, [[22, 27, false]]),
  part("Nose", 27, 36, [[27, 31, false], [31, 36, false]]),
  part("Left eye", 36, 42, [[36, 42, true]]),
  part("Right eye", 42, 48, [[42, 48, true]]),
  part("Mouth", 48, 68, [[48, 60, true], [60, 68, true]]),
];
export const WHOLE = PARTS.length; // all points at once
export const [LEFT_EYE, RIGHT_EYE, MOUTH] = [4, 5, 6];
const PART_OF = PARTS.flatMap((one, number) => one.points.map(() => number));
const CORNERS = [[0, 0], [1, 0], [1, 1], [0, 1]];
const LARGEST = 32; // screen pixels a photo pixel may become
const MARGIN = 0.35; // of the window fetched beyond each edge
const WIDEST = 3000; // pixels of a fetched picture
const REACH = { mouse: 9, pen: 14, touch: 22 }; // pixels within which something is taken hold of
// Where eyes, nose tip and corners of the mouth lie in an aligned face, as dmdcli.faces.align.TEMPLATE
export const TEMPLATE = [[192.98, 239.95], [318.9, 240.19], [256.63, 314.02], [201.26, 371.41], [313.09, 371.15]];

const middle = (points) => points.reduce(([x, y], point) => [x + point[0] / points.length, y + point[1] / points.length], [0, 0]);
const bounds = (points) => points.reduce(([x0, y0, x1, y1], [x, y]) => [Math.min(x0, x), Math.min(y0, y), Math.max(x1, x), Math.max(y1, y)], [Infinity, Infinity, -Infinity, -Infinity]);
const clamp = (value, least, most) => Math.min(most, Math.max(least, value));

// The similarity from photo to aligned face, as dmdcli.faces.align.crop_matrix: x' = a x - b y + c, y' = b x + a y + d
export function alignment(points) {
  const source = [middle(points.slice(36, 42)), middle(points.slice(42, 48)), points[30], points[48], points[54]];
  const from = middle(source), to = middle(TEMPLATE);
  let spread = 0, a = 0, b = 0;
  source.forEach(([x, y], number) => {
    const [u, v, s, t] = [x - from[0], y - from[1], TEMPLATE[number][0] - to[0], TEMPLATE[number][1] - to[1]];
    spread += u * u + v * v; a += u * s + v * t; b += u * t - v * s;
  });
  a /= spread; b /= spread;
  return { a, b, c: to[0] - a * from[0] + b * from[1], d: to[1] - b * from[0] - a * from[1] };
}

function draw(parent, tag, attributes = {}) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  parent.append(element);
  return element;
}

export class Editor {
  // told: {changed(points, box, step), selected(part), say(text), view(region, width, signal) -> Promise of a Blob, failed(error)}
  constructor(stage, told) {
    Object.assign(this, { stage, told, points: [], box: [0, 0, 1, 1], others: [], size: [1, 1], x: 0, y: 0, scale: 1 });
    Object.assign(this, { active: null, drawing: false, editable: {}, seen: null, read: null, pointers: new Map(), held: null, step: 0 });
    this.image = document.createElement("img");
    this.image.alt = "";
    this.image.draggable = false;
    stage.append(this.image);
    this.picture = draw(stage, "svg", { role: "application", tabindex: 0, "aria-roledescription": "face editor" });
    this.chip = stage.appendChild(document.createElement("span"));
    this.chip.className = "chip";
    this.chip.setAttribute("aria-hidden", "true");
    this.#build();
    stage.addEventListener("pointerdown", (event) => this.#press(event));
    stage.addEventListener("pointermove", (event) => this.#move(event));
    for (const kind of ["pointerup", "pointercancel"]) stage.addEventListener(kind, (event) => this.#release(event));
    stage.addEventListener("pointerleave", () => { if (!this.held) this.#hint(null); });
    stage.addEventListener("wheel", (event) => {
      event.preventDefault();
      const lines = event.deltaMode ? 24 : 1;
      this.zoom(Math.exp(-event.deltaY * lines * (event.ctrlKey ? 0.01 : 0.0016)), this.#at(event));
    }, { passive: false });
    this.picture.addEventListener("keydown", (event) => this.#key(event));
    this.picture.addEventListener("focusin", (event) => this.#focused(event.target));
    new ResizeObserver(() => this.#resized()).observe(stage);
  }

  #build() {
    this.framed = draw(this.picture, "g", { "aria-hidden": "true" });
    this.quads = [0, 1, 2].map(() => draw(this.picture, "path", { class: "read" }));
    this.faceBox = draw(this.picture, "g", { class: "face-box", tabindex: 0, role: "button", "aria-roledescription": "box" });
    this.faceRect = draw(this.faceBox, "path");
    this.grips = CORNERS.map(() => draw(this.faceBox, "rect", { class: "grip", width: 10, height: 10 }));
    this.groups = PARTS.map(({ name, points, lines }, number) => {
      const group = draw(this.picture, "g", { class: `part part-${number}`, tabindex: 0, role: "group", "aria-label": `${name}, ${points.length} points` });
      const frame = draw(group, "path", { class: "frame" });
      const grips = CORNERS.map(() => draw(group, "rect", { class: "grip", width: 8, height: 8 }));
      const drawn = lines.map(() => [draw(group, "path", { class: "under" }), draw(group, "path", { class: "line" })]);
      const dots = points.map((point) => draw(group, "circle", { class: "point", r: 3.5, tabindex: -1, role: "button", "aria-roledescription": "point", "data-point": point }));
      return { group, frame, grips, drawn, dots };
    });
  }

  // What is shown

  open({ size, points, box, others, editable }) {
    this.fetching?.abort();
    if (this.seen) URL.revokeObjectURL(this.image.src);
    this.image.removeAttribute("src");
    Object.assign(this, { size, others, editable, seen: null, read: null, held: null, drawing: false, failed: false });
    this.select(null);
    this.put(points, box);
    this.fit(this.faceRegion());
  }

  put(points, box) {
    Object.assign(this, { points, box });
    this.redraw();
  }

  // What the network reads, as the preview said: boxes in pixels of the face aligned by `points`
  showRead(components, points) {
    this.read = components && points.length ? { components, points, ...alignment(points) } : null;
    this.redraw();
  }

  startDrawing() {
    this.select(null);
    this.drawing = true;
    const side = 0.3 * Math.min(...this.size), [x, y] = [(this.size[0] - side) / 2, (this.size[1] - side) / 2];
    this.drawn = [x, y, x + side, y + side];
    this.fit([0, 0, ...this.size]);
    this.picture.focus({ preventScroll: true });
  }

  stopDrawing() {
    this.drawing = false;
    this.fit(this.faceRegion());
  }

  faceRegion() {
    const [x0, y0, x1, y1] = this.points.length ? bounds([...this.points, this.box.slice(0, 2), this.box.slice(2)]) : this.box;
    const side = this.points.length ? 0.18 * Math.max(x1 - x0, y1 - y0) : 0;
    return [x0 - side, y0 - side, x1 + side, y1 + side];
  }

  fit([x0, y0, x1, y1]) {
    const [width, height] = this.#extent();
    if (!width) { this.waiting = [x0, y0, x1, y1]; return; }
    this.scale = clamp(Math.min(width / (x1 - x0), height / (y1 - y0)), this.#least(), LARGEST);
    [this.x, this.y] = [(x0 + x1 - width / this.scale) / 2, (y0 + y1 - height / this.scale) / 2];
    this.fitted = [x0, y0, x1, y1];
    this.#viewChanged();
  }

  zoom(factor, at = this.#extent().map((side) => side / 2)) {
    const scale = clamp(this.scale * factor, this.#least(), LARGEST);
    this.x += at[0] / this.scale - at[0] / scale;
    this.y += at[1] / this.scale - at[1] / scale;
    this.scale = scale;
    this.fitted = null;
    this.#viewChanged();
  }

  // From the whole face to the part that is selected, through eyes and mouth, and back
  zoomToPart() {
    if (!this.points.length || this.drawing) return;
    const wanted = this.zoomed === null || this.zoomed === undefined ? this.active ?? LEFT_EYE : this.active !== this.zoomed ? this.active : { [LEFT_EYE]: RIGHT_EYE, [RIGHT_EYE]: MOUTH }[this.zoomed] ?? null;
    if (wanted === null || wanted === WHOLE) { this.select(null); this.zoomed = null; this.fit(this.faceRegion()); this.told.say("Whole face"); return; }
    this.select(wanted);
    const [x0, y0, x1, y1] = bounds(PARTS[wanted].points.map((point) => this.points[point]));
    const side = Math.max(x1 - x0, y1 - y0, 8) * 0.5;
    this.fit([x0 - side, y0 - side, x1 + side, y1 + side]);
    this.zoomed = wanted;
    this.told.say(`Zoomed to ${PARTS[wanted].name.toLowerCase()}`);
  }

  select(number, focus = false) {
    if (number === null) this.zoomed = null;
    this.active = number;
    this.groups.forEach(({ group, dots }, one) => {
      group.classList.toggle("active", one === number || number === WHOLE);
      for (const dot of dots) dot.setAttribute("tabindex", one === number ? 0 : -1);
    });
    this.told.selected(number);
    if (focus) (number === null || number === WHOLE ? this.picture : this.groups[number].group).focus({ preventScroll: true });
    this.redraw();
  }

  #extent() { return [this.stage.clientWidth, this.stage.clientHeight]; }
  #least() {
    const [width, height] = this.#extent();
    return Math.min(1, 0.9 * Math.min(width / this.size[0], height / this.size[1]));
  }

  #resized() {
    const region = this.waiting ?? this.fitted;
    this.waiting = null;
    if (region) this.fit(region); else this.#viewChanged();
  }

  #viewChanged() {
    this.redraw();
    clearTimeout(this.settling);
    this.settling = setTimeout(() => this.fetch(), this.seen ? 120 : 0);
  }

  async fetch() {
    const [width, height] = this.#extent().map((side) => side / this.scale), [w, h] = this.size;
    if (!width) return;
    const cut = (share) => [clamp(Math.floor(this.x - share * width), 0, w), clamp(Math.floor(this.y - share * height), 0, h), clamp(Math.ceil(this.x + (1 + share) * width), 0, w), clamp(Math.ceil(this.y + (1 + share) * height), 0, h)];
    const wanted = cut(0), density = Math.min(1, this.scale * devicePixelRatio);
    if (wanted[0] >= wanted[2] || wanted[1] >= wanted[3]) return;
    const has = this.seen;
    if (has && has.density >= 0.9 * density && has.region.every((edge, one) => one < 2 ? edge <= wanted[one] : edge >= wanted[one])) return;
    this.fetching?.abort();
    const stop = this.fetching = new AbortController(), region = cut(MARGIN);
    const pixels = clamp(Math.ceil((region[2] - region[0]) * density), 16, WIDEST);
    try {
      const image = document.createElement("img");
      image.src = URL.createObjectURL(await this.told.view(region, pixels, stop.signal));
      await image.decode();
      if (stop.signal.aborted) { URL.revokeObjectURL(image.src); return; }
      if (this.seen) URL.revokeObjectURL(this.image.src);
      image.alt = "";
      image.draggable = false;
      this.image.replaceWith(image);
      this.image = image;
      this.seen = { region, density: Math.min(density, pixels / (region[2] - region[0])) };
      this.told.failed(null);
      this.redraw();
    } catch (error) {
      if (!stop.signal.aborted) this.told.failed(error);
    }
  }

  redraw() {
    if (!this.due) this.due = requestAnimationFrame(() => { this.due = 0; this.#draw(); });
  }

  #toScreen([x, y]) { return [(x + 0.5 - this.x) * this.scale, (y + 0.5 - this.y) * this.scale]; }
  #edges(box) { return [(box[0] - this.x) * this.scale, (box[1] - this.y) * this.scale, (box[2] - this.x) * this.scale, (box[3] - this.y) * this.scale]; }
  #frameOf(number) {
    const [x0, y0, x1, y1] = bounds(PARTS[number].points.map((point) => this.#toScreen(this.points[point])));
    return [x0 - 11, y0 - 11, x1 + 11, y1 + 11];
  }

  #draw() {
    const outline = ([x0, y0, x1, y1]) => `M${x0} ${y0}H${x1}V${y1}H${x0}Z`;
    const round = (points, closed) => "M" + points.map(([x, y]) => `${x.toFixed(1)} ${y.toFixed(1)}`).join("L") + (closed ? "Z" : "");
    const grip = (grips, [x0, y0, x1, y1], half) => grips.forEach((one, number) => {
      one.setAttribute("x", (CORNERS[number][0] ? x1 : x0) - half);
      one.setAttribute("y", (CORNERS[number][1] ? y1 : y0) - half);
    });
    if (this.seen) {
      const [x0, y0, x1, y1] = this.seen.region, style = this.image.style;
      [style.width, style.height] = [`${x1 - x0}px`, `${y1 - y0}px`];
      style.transform = `translate(${(x0 - this.x) * this.scale}px, ${(y0 - this.y) * this.scale}px) scale(${this.scale})`;
    }
    const shown = this.points.length > 0 && !this.drawing, boxed = this.drawing ? this.drawn : this.box;
    this.picture.classList.toggle("drawing", this.drawing);
    const framed = this.drawing && this.points.length ? [...this.others, this.box] : this.others;
    while (this.framed.children.length > framed.length) this.framed.lastChild.remove();
    while (this.framed.children.length < framed.length) draw(this.framed, "path", { class: "other" });
    framed.forEach((box, number) => this.framed.children[number].setAttribute("d", outline(this.#edges(box))));
    this.faceBox.style.display = this.drawing || (shown && this.editable.box) ? "" : "none";
    const edges = this.#edges(boxed);
    this.faceRect.setAttribute("d", outline(edges));
    grip(this.grips, edges, 5);
    this.faceBox.setAttribute("aria-label", `${this.drawing ? "Box of the new face" : "Box of the face"}, ${this.#where(boxed)}`);
    this.#drawRead(shown, round);
    this.groups.forEach(({ group, frame, grips, drawn, dots }, number) => {
      group.style.display = shown ? "" : "none";
      if (!shown) return;
      const { points, lines } = PARTS[number], screen = this.points.map((point) => this.#toScreen(point));
      lines.forEach(([first, end, closed], one) => drawn[one].forEach((line) => line.setAttribute("d", round(screen.slice(first, end), closed))));
      dots.forEach((dot, one) => {
        dot.setAttribute("cx", screen[points[one]][0].toFixed(1));
        dot.setAttribute("cy", screen[points[one]][1].toFixed(1));
        if (number === this.active) dot.setAttribute("aria-label", this.#named(points[one]));
      });
      if (number === this.active) { frame.setAttribute("d", outline(this.#frameOf(number))); grip(grips, this.#frameOf(number), 4); }
    });
  }

  #drawRead(shown, round) {
    this.quads.forEach((quad, number) => {
      quad.style.display = shown && this.read ? "" : "none";
      if (!shown || !this.read) return;
      const { components, a, b, c, d, points } = this.read, whole = a * a + b * b;
      const own = PARTS[LEFT_EYE + number].points; // since then its points may have moved, and it with them
      const [then, now] = [points, this.points].map((all) => middle(own.map((point) => all[point])));
      const back = ([x, y]) => [(a * (x - c) + b * (y - d)) / whole + now[0] - then[0], (a * (y - d) - b * (x - c)) / whole + now[1] - then[1]];
      const [x0, y0, x1, y1] = components[number].map((edge) => edge - 0.5);
      quad.setAttribute("d", round([[x0, y0], [x1, y0], [x1, y1], [x0, y1]].map((corner) => this.#toScreen(back(corner))), true));
    });
  }

  #where([x0, y0, x1, y1]) { return `${Math.round(x1 - x0)} by ${Math.round(y1 - y0)} pixels, from ${Math.round(x0)}, ${Math.round(y0)}`; }
  #named(point) {
    const { name, points } = PARTS[PART_OF[point]], [x, y] = this.points[point];
    return `${name}, point ${point - points[0] + 1} of ${points.length}, at ${x.toFixed(1)}, ${y.toFixed(1)}`;
  }

  // Pointers

  #at(event) {
    const edge = this.stage.getBoundingClientRect();
    return [event.clientX - edge.left, event.clientY - edge.top];
  }

  // What lies under a place on the screen
  #under([x, y], reach) {
    const near = (one, other) => Math.hypot(one - x, other - y);
    const boxed = this.drawing ? this.drawn : this.box, edges = this.#edges(boxed);
    const inside = ([x0, y0, x1, y1]) => x > x0 && x < x1 && y > y0 && y < y1;
    if (!this.drawing && this.points.length && this.editable.landmarks) {
      const screen = this.points.map((point) => this.#toScreen(point));
      const nearest = (points) => points.reduce((best, point) => { const away = near(...screen[point]); return away < best[1] ? [point, away] : best; }, [null, reach])[0];
      const parted = this.active !== null && this.active !== WHOLE;
      const point = (parted ? nearest(PARTS[this.active].points) : null) ?? nearest(span(0, 68));
      if (point !== null) return { kind: "point", point, name: `${PARTS[PART_OF[point]].name}, point ${point - PARTS[PART_OF[point]].points[0] + 1}` };
      if (parted) {
        const [x0, y0, x1, y1] = this.#frameOf(this.active);
        const corner = CORNERS.findIndex(([right, low]) => near(right ? x1 : x0, low ? y1 : y0) < reach);
        if (corner >= 0) return { kind: "size", part: this.active, corner, name: `${PARTS[this.active].name}: size` };
      }
      const along = ([x0, y0], [x1, y1]) => { const t = clamp(((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / ((x1 - x0) ** 2 + (y1 - y0) ** 2 || 1), 0, 1); return near(x0 + t * (x1 - x0), y0 + t * (y1 - y0)); };
      const byLine = PARTS.findIndex(({ lines }) => lines.some(([first, end, closed]) => span(first + 1, end).some((one) => along(screen[one - 1], screen[one]) < 7) || (closed && along(screen[end - 1], screen[first]) < 7)));
      if (byLine >= 0) return { kind: "part", part: byLine, name: PARTS[byLine].name };
      const extent = this.#extent();
      const around = PARTS.map((_, number) => [number, this.#frameOf(number)]).filter(([number, frame]) => PARTS[number].inside && inside(frame) && (frame[2] - frame[0] < 0.75 * extent[0] || frame[3] - frame[1] < 0.75 * extent[1]));
      if (this.active !== WHOLE && around.length) {
        const area = ([, [x0, y0, x1, y1]]) => (x1 - x0) * (y1 - y0);
        const number = around.reduce((best, one) => (area(one) < area(best) ? one : best))[0];
        return { kind: "part", part: number, name: PARTS[number].name };
      }
    }
    if (this.drawing || (this.editable.box && this.points.length)) {
      const sides = [x - edges[0], y - edges[1], x - edges[2], y - edges[3]].map((away) => Math.abs(away) < Math.max(7, 0.75 * reach));
      const level = x > edges[0] - reach && x < edges[2] + reach, upright = y > edges[1] - reach && y < edges[3] + reach;
      const held = [sides[0] && upright, sides[1] && level, sides[2] && upright && !sides[0], sides[3] && level && !sides[1]];
      if (held.some(Boolean)) return { kind: "box", held, name: "Box of the face" };
      if (this.drawing) return inside(edges) ? { kind: "box", held: [true, true, true, true], name: "Move the box" } : { kind: "new", name: "New box" };
    }
    if (this.active === WHOLE && this.editable.landmarks && inside(edges)) return { kind: "part", part: WHOLE, name: "Whole face" };
    return null;
  }

  #hint(under) {
    const [x0, y0, x1, y1] = under?.held ?? [];
    this.stage.dataset.grip = !under ? "pan" : under.kind === "box" ? (x0 && x1 ? "move" : (x0 && y0) || (x1 && y1) ? "nwse" : (x0 && y1) || (x1 && y0) ? "nesw" : x0 || x1 ? "ew" : "ns") : under.kind === "size" ? (under.corner % 2 ? "nesw" : "nwse") : under.kind === "new" ? "new" : "move";
    this.chip.textContent = under?.name ?? "";
  }

  #press(event) {
    if (event.button > 1) return;
    event.preventDefault();
    this.stage.setPointerCapture(event.pointerId);
    const at = this.#at(event);
    this.pointers.set(event.pointerId, at);
    if (this.pointers.size === 2) { // pinch: whatever the first finger began is taken back
      if (this.held?.points && this.held.moved) this.#change(this.held.points, this.held.box, this.step);
      if (this.held?.drawn) this.drawn = this.held.drawn;
      this.held = { kind: "pinch" };
      return;
    }
    const under = event.button === 1 ? null : this.#under(at, REACH[event.pointerType] ?? REACH.mouse);
    this.step += 1;
    this.held = { ...(under ?? { kind: "pan" }), from: at, view: [this.x, this.y], points: this.points, box: this.box, drawn: this.drawn };
    if (under?.kind === "point") { this.select(PART_OF[under.point]); this.groups[this.active].dots[under.point - PARTS[this.active].points[0]].focus({ preventScroll: true }); }
    else if (under?.kind === "part") this.select(under.part, true);
    else if (!this.picture.contains(document.activeElement)) this.picture.focus({ preventScroll: true });
  }

  #move(event) {
    const at = this.#at(event), held = this.held;
    if (!this.pointers.has(event.pointerId)) { this.#hint(this.#under(at, REACH[event.pointerType] ?? REACH.mouse)); return; }
    if (held?.kind === "pinch") {
      const apart = ([one, other]) => Math.hypot(one[0] - other[0], one[1] - other[1]);
      const before = [...this.pointers.values()], mid = middle(before);
      this.pointers.set(event.pointerId, at);
      const now = [...this.pointers.values()], to = middle(now);
      this.x -= (to[0] - mid[0]) / this.scale;
      this.y -= (to[1] - mid[1]) / this.scale;
      if (now.length === 2) this.zoom(apart(now) / Math.max(1, apart(before)), to);
      return;
    }
    this.pointers.set(event.pointerId, at);
    if (!held) return;
    const [dx, dy] = [(at[0] - held.from[0]) / this.scale, (at[1] - held.from[1]) / this.scale];
    if (!held.moved && Math.hypot(dx, dy) * this.scale < 2) return;
    held.moved = true;
    if (held.kind === "pan") { [this.x, this.y] = [held.view[0] - dx, held.view[1] - dy]; this.fitted = null; this.#viewChanged(); }
    else if (held.kind === "new") this.#reshape([held.from[0], held.from[1], ...at].map((one, number) => one / this.scale + (number % 2 ? this.y : this.x)));
    else if (held.kind === "box") this.#reshape((this.drawing ? held.drawn : held.box).map((edge, number) => edge + (held.held[number] ? (number % 2 ? dy : dx) : 0)));
    else if (held.kind === "size") this.#resize(held, at);
    else this.#shift(held.kind === "point" ? [held.point] : held.part === WHOLE ? span(0, 68) : PARTS[held.part].points, dx, dy, held.points);
  }

  #release(event) {
    if (!this.pointers.delete(event.pointerId)) return;
    const held = this.held;
    if (this.pointers.size === 0) this.held = null;
    if (held?.kind === "pan" && !held.moved && this.active !== null) this.select(null);
    if (held?.kind === "point" && held.moved) this.told.say(this.#named(held.point));
  }

  // What is changed

  #change(points, box, step) {
    this.points = points;
    this.box = box;
    this.redraw();
    this.told.changed(points, box, step);
  }

  #shift(which, dx, dy, from = this.points) {
    const moved = from.slice(), [w, h] = this.size;
    for (const point of which) moved[point] = [clamp(from[point][0] + dx, -w, 2 * w), clamp(from[point][1] + dy, -h, 2 * h)];
    this.#change(moved, this.box, this.step);
  }

  #resize({ part: number, corner, points }, at) { // about the corner across, both ways alike
    const own = PARTS[number].points, [x0, y0, x1, y1] = bounds(own.map((point) => points[point]));
    const [right, low] = CORNERS[corner], fixed = [right ? x0 : x1, low ? y0 : y1], was = [right ? x1 : x0, low ? y1 : y0];
    const to = [at[0] / this.scale + this.x - 0.5 - fixed[0], at[1] / this.scale + this.y - 0.5 - fixed[1]], span_ = [was[0] - fixed[0], was[1] - fixed[1]];
    const factor = clamp((to[0] * span_[0] + to[1] * span_[1]) / (span_[0] ** 2 + span_[1] ** 2 || 1), 0.2, 5);
    const moved = points.slice();
    for (const point of own) moved[point] = [fixed[0] + factor * (points[point][0] - fixed[0]), fixed[1] + factor * (points[point][1] - fixed[1])];
    this.#change(moved, this.box, this.step);
  }

  #reshape([x0, y0, x1, y1]) {
    const [w, h] = this.size;
    const box = [clamp(Math.min(x0, x1), 0, w - 4), clamp(Math.min(y0, y1), 0, h - 4), clamp(Math.max(x0, x1), 4, w), clamp(Math.max(y0, y1), 4, h)].map((edge) => Math.round(edge * 10) / 10);
    box[2] = Math.max(box[2], box[0] + 4);
    box[3] = Math.max(box[3], box[1] + 4);
    if (this.drawing) { this.drawn = box; this.redraw(); } else this.#change(this.points, box, this.step);
  }

  // Keys

  #focused(target) {
    const number = this.groups.findIndex(({ group }) => group.contains(target));
    if (number >= 0 && number !== this.active) this.select(number);
  }

  #key(event) {
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const target = event.target, point = target.dataset?.point;
    if (event.key === "Escape" && !this.drawing && target !== this.picture) {
      if (point !== undefined) this.groups[PART_OF[point]].group.focus(); else { this.select(null); this.picture.focus(); }
    } else if (event.key === "Enter" && this.groups.some(({ group }) => group === target)) target.querySelector(".point").focus();
    else if (way) this.#arrow(way.map((one) => one * (event.shiftKey && !this.drawing ? 10 : 1) / this.scale), event.shiftKey, target, point);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  #arrow([dx, dy], shift, target, point) {
    const now = performance.now();
    if (!(now - this.nudged < 800 && this.nudgedAt === target)) this.step += 1; // presses in a row are one step back
    [this.nudged, this.nudgedAt] = [now, target];
    const [x0, y0, x1, y1] = this.drawing ? this.drawn : this.box;
    if (this.drawing) {
      [dx, dy] = [dx * 8, dy * 8];
      this.#reshape(shift ? [x0, y0, Math.max(x0 + 4, x1 + dx), Math.max(y0 + 4, y1 + dy)] : [x0 + dx, y0 + dy, x1 + dx, y1 + dy]);
      this.#later(() => `Box: ${this.#where(this.drawn)}`);
    } else if (target === this.faceBox) {
      this.#reshape([x0 + dx, y0 + dy, x1 + dx, y1 + dy]);
      this.#later(() => `Box: ${this.#where(this.box)}`);
    } else if (this.editable.landmarks && (point !== undefined || this.active !== null)) {
      this.#shift(point !== undefined ? [Number(point)] : this.active === WHOLE ? span(0, 68) : PARTS[this.active].points, dx, dy);
      this.#later(() => point !== undefined ? this.#named(Number(point)) : `${this.active === WHOLE ? "Whole face" : PARTS[this.active].name} moved`);
    } else { this.x += 40 * dx; this.y += 40 * dy; this.fitted = null; this.#viewChanged(); }
  }

  #later(text) { // said once the keys are at rest
    clearTimeout(this.saying);
    this.saying = setTimeout(() => this.told.say(text()), 400);
  }
}
