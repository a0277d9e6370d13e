// The photo around a face, its 68 points and its box: shown, zoomed, moved by hand and by keys.
// Points are in photo pixels with (0, 0) in the middle of the first; boxes are edges in photo pixels, end excluded.
import { CORNERS, LEFT_EYE, MOUTH, PARTS, PART_OF, RIGHT_EYE, WHOLE, alignment, bounds, boxInPhoto, clamp, cursorOf, grasp, middle, span } from "./points.js";
import { shape } from "./panels.js";
import { PhotoView } from "./view.js";

const REACH = { mouse: 9, pen: 14, touch: 22 }; // pixels within which something is taken hold of

export class Editor extends PhotoView {
  // told: {changed(points, box, step), selected(part), say(text), view(region, width, signal) -> Promise of a Blob, failed(error)}
  constructor(stage, told) {
    super(stage, told);
    Object.assign(this, { points: [], box: [0, 0, 1, 1], others: [] });
    Object.assign(this, { active: null, zoomed: null, drawing: false, editable: {}, read: null, pointers: new Map(), held: null, step: 0 });
    this.picture = shape(stage, "svg", { role: "application", tabindex: 0, "aria-roledescription": "face editor", "aria-label": "Points of the face. Tab goes through its parts." });
    this.chip = stage.appendChild(document.createElement("span"));
    this.chip.className = "chip";
    this.chip.setAttribute("aria-hidden", "true");
    this.#build();
    stage.addEventListener("pointerdown", (event) => this.#press(event));
    stage.addEventListener("pointermove", (event) => this.#move(event));
    for (const kind of ["pointerup", "pointercancel"]) stage.addEventListener(kind, (event) => this.#release(event));
    stage.addEventListener("pointerleave", () => { if (!this.held) this.#hint(null); });
    this.picture.addEventListener("keydown", (event) => this.#key(event));
    this.picture.addEventListener("focusin", (event) => this.#focused(event.target));
  }

  #build() {
    this.framed = shape(this.picture, "g", { "aria-hidden": "true" });
    this.quads = [0, 1, 2].map(() => shape(this.picture, "path", { class: "read" }));
    this.faceBox = shape(this.picture, "g", { class: "face-box", tabindex: 0, role: "button", "aria-roledescription": "box" });
    this.faceRect = shape(this.faceBox, "path");
    this.grips = CORNERS.map(() => shape(this.faceBox, "rect", { class: "grip", width: 10, height: 10 }));
    this.groups = PARTS.map(({ name, points, lines }, number) => {
      const group = shape(this.picture, "g", { class: `part part-${number}`, tabindex: 0, role: "group", "aria-label": `${name}, ${points.length} points` });
      const frame = shape(group, "path", { class: "frame" });
      const grips = CORNERS.map(() => shape(group, "rect", { class: "grip", width: 8, height: 8 }));
      const drawn = lines.map(() => [shape(group, "path", { class: "under" }), shape(group, "path", { class: "thread" })]);
      const dots = points.map((point) => shape(group, "circle", { class: "point", r: 3.5, "aria-roledescription": "point", "data-point": point }));
      return { group, frame, grips, drawn, dots };
    });
  }

  // What is shown

  open({ size, points, box, others, editable }) {
    this.showPhoto(size);
    Object.assign(this, { others, editable, read: null, held: null, drawing: false });
    this.select(null);
    this.put(points, box);
    this.fit(this.faceRegion());
  }

  put(points, box) {
    Object.assign(this, { points, box });
    this.redraw();
  }

  // What the network reads, as the preview said: boxes in pixels of the face aligned by `points`; those at `left` are left as they are
  showRead(components, left, points) {
    this.read = components && points.length ? { components, left, points, ...alignment(points) } : null;
    this.redraw();
  }

  startDrawing(focus) {
    this.select(null);
    this.drawing = true;
    const side = 0.3 * Math.min(...this.size), [x, y] = [(this.size[0] - side) / 2, (this.size[1] - side) / 2];
    this.drawn = [x, y, x + side, y + side];
    this.fresh = true; // a finger draws a new box; keys begin with this one
    this.fit([0, 0, ...this.size]);
    if (focus) this.picture.focus({ preventScroll: true });
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

  // From the whole face to the part that is selected, from there to the next of eyes and mouth, and back
  zoomToPart() {
    if (!this.points.length || this.drawing) return;
    const after = { [LEFT_EYE]: RIGHT_EYE, [RIGHT_EYE]: MOUTH }[this.zoomed] ?? null;
    const wanted = this.zoomed === null ? this.active ?? LEFT_EYE : this.active === this.zoomed ? after : this.active;
    const part = PARTS[wanted];
    this.select(part ? wanted : null);
    this.told.say(part ? `Zoomed to ${part.name.toLowerCase()}` : "Whole face");
    if (!part) { this.fit(this.faceRegion()); return; }
    const [x0, y0, x1, y1] = bounds(part.points.map((point) => this.points[point])), side = Math.max(x1 - x0, y1 - y0, 8) * 0.5;
    this.fit([x0 - side, y0 - side, x1 + side, y1 + side]);
    this.zoomed = wanted;
  }

  // entered: whether Tab goes through the points of the part, too, as it does unless the part was come by with Tab itself
  select(number, focus = false, entered = true) {
    if (number === null) this.zoomed = null;
    this.active = number;
    this.groups.forEach(({ group, dots }, one) => {
      group.classList.toggle("active", one === number || number === WHOLE);
      group.classList.toggle("framed", one === number); // all at once have no frames
      for (const dot of dots) {
        if (one === number) dot.setAttribute("aria-label", this.#named(Number(dot.dataset.point)));
        if (one === number && entered) { dot.setAttribute("tabindex", 0); dot.setAttribute("role", "button"); dot.removeAttribute("aria-hidden"); }
        else { dot.removeAttribute("tabindex"); dot.removeAttribute("role"); dot.setAttribute("aria-hidden", "true"); }
      }
    });
    this.told.selected(number);
    if (focus) (number === null || number === WHOLE ? this.picture : this.groups[number].group).focus({ preventScroll: true });
    this.redraw();
  }

  redraw() {
    if (!this.due) this.due = requestAnimationFrame(() => { this.due = 0; this.#draw(); });
  }

  #own(number) { return PARTS[number]?.points ?? span(0, 68); }
  #boxed() { return this.drawing ? this.drawn : this.box; }
  #frameOf(number) {
    const [x0, y0, x1, y1] = bounds(PARTS[number].points.map((point) => this.toScreen(this.points[point])));
    return [x0 - 11, y0 - 11, x1 + 11, y1 + 11];
  }

  #draw() {
    const outline = ([x0, y0, x1, y1]) => `M${x0} ${y0}H${x1}V${y1}H${x0}Z`;
    const round = (points, closed) => "M" + points.map(([x, y]) => `${x.toFixed(1)} ${y.toFixed(1)}`).join("L") + (closed ? "Z" : "");
    const grip = (grips, [x0, y0, x1, y1], half) => grips.forEach((one, number) => {
      one.setAttribute("x", (CORNERS[number][0] ? x1 : x0) - half);
      one.setAttribute("y", (CORNERS[number][1] ? y1 : y0) - half);
    });
    this.placeImage();
    const shown = this.points.length > 0 && !this.drawing, boxed = this.#boxed();
    this.picture.classList.toggle("drawing", this.drawing);
    this.picture.classList.toggle("fresh", this.drawing && this.fresh);
    const framed = this.drawing && this.points.length ? [...this.others, this.box] : this.others;
    while (this.framed.children.length > framed.length) this.framed.lastChild.remove();
    while (this.framed.children.length < framed.length) shape(this.framed, "path", { class: "other" });
    framed.forEach((box, number) => this.framed.children[number].setAttribute("d", outline(this.edges(box))));
    this.faceBox.style.display = this.drawing || (shown && this.editable.box) ? "" : "none";
    const edges = this.edges(boxed);
    this.faceRect.setAttribute("d", outline(edges));
    grip(this.grips, edges, 5);
    this.faceBox.setAttribute("aria-label", `${this.drawing ? "Box of the new face" : "Box of the face"}, ${this.#where(boxed)}`);
    this.#drawRead(shown, round);
    this.groups.forEach(({ group, frame, grips, drawn, dots }, number) => {
      group.style.display = shown ? "" : "none";
      if (!shown) return;
      const { points, lines } = PARTS[number], screen = this.points.map((point) => this.toScreen(point));
      lines.forEach(([first, end, closed], one) => drawn[one].forEach((line) => line.setAttribute("d", round(screen.slice(first, end), closed))));
      const frameNow = this.#frameOf(number), wide = Math.max(frameNow[2] - frameNow[0], frameNow[3] - frameNow[1]) - 22;
      const radius = clamp(wide / (points.length > 6 ? 14 : 9), 1.6, number === this.active || this.active === WHOLE ? 5 : 3.5).toFixed(1);
      dots.forEach((dot, one) => {
        dot.setAttribute("r", radius);
        dot.setAttribute("cx", screen[points[one]][0].toFixed(1));
        dot.setAttribute("cy", screen[points[one]][1].toFixed(1));
        if (number === this.active) dot.setAttribute("aria-label", this.#named(points[one]));
      });
      if (number === this.active) { frame.setAttribute("d", outline(frameNow)); grip(grips, frameNow, 4); }
    });
  }

  #drawRead(shown, round) {
    this.quads.forEach((quad, number) => {
      quad.style.display = shown && this.read ? "" : "none";
      quad.classList.toggle("left-out", Boolean(this.read?.left.includes(number)));
      if (shown && this.read) quad.setAttribute("d", round(boxInPhoto(this.read, number, this.points).map((corner) => this.toScreen(corner)), true));
    });
  }

  #where([x0, y0, x1, y1]) { return `${Math.round(x1 - x0)} by ${Math.round(y1 - y0)} pixels, from ${Math.round(x0)}, ${Math.round(y0)}`; }
  #named(point) {
    const { name, points } = PARTS[PART_OF[point]], [x, y] = this.points[point];
    return `${name}, point ${point - points[0] + 1} of ${points.length}, at ${x.toFixed(1)}, ${y.toFixed(1)}`;
  }

  // Pointers

  #under(at, reach) {
    const shown = this.points.length > 0 && !this.drawing;
    return grasp(at, reach, {
      screen: shown && this.editable.landmarks ? this.points.map((point) => this.toScreen(point)) : [],
      frames: shown ? PARTS.map((_, number) => this.#frameOf(number)) : [],
      edges: this.drawing ? this.edges(this.drawn) : shown && this.editable.box ? this.edges(this.box) : null,
      active: this.active, extent: this.extent(), drawing: this.drawing, fresh: this.fresh,
    });
  }

  #hint(under) {
    this.stage.dataset.grip = under ? cursorOf(under) : "pan";
    this.chip.textContent = under?.name ?? "";
  }

  #press(event) {
    if (event.button > 1) return;
    event.preventDefault();
    this.stage.setPointerCapture(event.pointerId);
    const at = this.at(event);
    this.pointers.set(event.pointerId, at);
    if (this.pointers.size === 2) { // pinch: whatever the first finger began is taken back
      if (this.held?.moved && !this.drawing) this.#change(this.held.points, this.held.box, this.step);
      if (this.drawing && this.held) this.drawn = this.held.boxed;
      this.held = { kind: "pinch" };
      return;
    }
    const under = event.button === 1 ? null : this.#under(at, REACH[event.pointerType] ?? REACH.mouse);
    this.step += 1;
    this.held = { ...(under ?? { kind: "pan" }), from: at, view: [this.x, this.y], points: this.points, box: this.box, boxed: this.#boxed() };
    if (under?.kind === "point") { this.select(PART_OF[under.point]); this.groups[this.active].dots[under.point - PARTS[this.active].points[0]].focus({ preventScroll: true }); }
    else if (under?.kind === "part") this.select(under.part, true);
    else if (!this.picture.contains(document.activeElement)) this.picture.focus({ preventScroll: true });
  }

  #move(event) {
    const at = this.at(event), held = this.held;
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
    if (held.kind === "pan") { [this.x, this.y] = [held.view[0] - dx, held.view[1] - dy]; this.fitted = null; this.viewChanged(); }
    else if (held.kind === "new") this.#reshape([held.from[0], held.from[1], ...at].map((one, number) => one / this.scale + (number % 2 ? this.y : this.x)));
    else if (held.kind === "box" && held.sides.every(Boolean)) this.#carry(held.boxed, dx, dy);
    else if (held.kind === "box") this.#reshape(held.boxed.map((edge, number) => edge + (held.sides[number] ? (number % 2 ? dy : dx) : 0)));
    else if (held.kind === "size") this.#resize(held, at);
    else this.#shift(held.kind === "point" ? [held.point] : this.#own(held.part), dx, dy, held.points);
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
    const to = [at[0] / this.scale + this.x - 0.5 - fixed[0], at[1] / this.scale + this.y - 0.5 - fixed[1]], across = [was[0] - fixed[0], was[1] - fixed[1]];
    const factor = clamp((to[0] * across[0] + to[1] * across[1]) / (across[0] ** 2 + across[1] ** 2 || 1), 0.2, 5);
    const moved = points.slice();
    for (const point of own) moved[point] = [fixed[0] + factor * (points[point][0] - fixed[0]), fixed[1] + factor * (points[point][1] - fixed[1])];
    this.#change(moved, this.box, this.step);
  }

  #carry([x0, y0, x1, y1], dx, dy) {
    const [right, down] = [clamp(dx, -x0, this.size[0] - x1), clamp(dy, -y0, this.size[1] - y1)];
    this.#reshape([x0 + right, y0 + down, x1 + right, y1 + down]);
  }

  #reshape([x0, y0, x1, y1]) {
    const [w, h] = this.size;
    const box = [clamp(Math.min(x0, x1), 0, w - 4), clamp(Math.min(y0, y1), 0, h - 4), clamp(Math.max(x0, x1), 4, w), clamp(Math.max(y0, y1), 4, h)].map((edge) => Math.round(edge * 10) / 10);
    box[2] = Math.max(box[2], box[0] + 4);
    box[3] = Math.max(box[3], box[1] + 4);
    if (this.drawing) { this.drawn = box; this.fresh = false; this.redraw(); } else this.#change(this.points, box, this.step);
  }

  // Keys

  #focused(target) {
    const number = this.groups.findIndex(({ group }) => group.contains(target));
    if (number >= 0 && number !== this.active) this.select(number, false, false);
  }

  #key(event) {
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const target = event.target, point = target.dataset?.point;
    if (event.key === "Escape" && !this.drawing && target !== this.picture) {
      if (point !== undefined) this.groups[PART_OF[point]].group.focus(); else { this.select(null); this.picture.focus(); }
    } else if (event.key === "Enter" && this.groups.some(({ group }) => group === target)) { this.select(this.active); target.querySelector(".point").focus(); }
    else if (way) this.#arrow(way.map((one) => one / this.scale), event.shiftKey, target, point);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  #arrow([dx, dy], shift, target, point) {
    const now = performance.now();
    if (!(now - this.nudged < 800 && this.nudgedAt === target)) this.step += 1; // presses in a row are one step back
    [this.nudged, this.nudgedAt] = [now, target];
    if (this.drawing || target === this.faceBox) {
      const [x0, y0, x1, y1] = this.#boxed(), [right, down] = [8 * dx, 8 * dy];
      if (shift) this.#reshape([x0, y0, Math.max(x0 + 4, x1 + right), Math.max(y0 + 4, y1 + down)]);
      else this.#carry([x0, y0, x1, y1], right, down);
      this.#later(() => `Box: ${this.#where(this.#boxed())}`);
    } else if (this.editable.landmarks && (point !== undefined || this.active !== null)) {
      this.#shift(point !== undefined ? [Number(point)] : this.#own(this.active), shift ? 10 * dx : dx, shift ? 10 * dy : dy);
      this.#later(() => point !== undefined ? this.#named(Number(point)) : `${PARTS[this.active]?.name ?? "Whole face"} moved`);
    } else { this.x += 40 * dx; this.y += 40 * dy; this.fitted = null; this.viewChanged(); }
  }

  #later(text) { // said once the keys are at rest
    clearTimeout(this.saying);
    this.saying = setTimeout(() => this.told.say(text()), 400);
  }
}
