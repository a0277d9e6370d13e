// A part of a photo in a window: moved, zoomed, and fetched as finely as it is seen.
import { clamp } from "./points.js";

const LARGEST = 32; // screen pixels a photo pixel may become
const MARGIN = 0.35; // of the window fetched beyond each edge
const WIDEST = 3000; // pixels of a fetched picture

export class PhotoView {
  // told: {view(region, width, signal) -> Promise of a Blob, failed(error)}; redraw() is whoever extends this
  constructor(stage, told) {
    Object.assign(this, { stage, told, size: [1, 1], x: 0, y: 0, scale: 1, seen: null, resting: true }); // x, y: the photo in the window's corner
    this.image = stage.appendChild(this.#newImage());
    stage.addEventListener("wheel", (event) => {
      event.preventDefault();
      const lines = event.deltaMode ? 24 : 1;
      this.zoom(Math.exp(-event.deltaY * lines * (event.ctrlKey ? 0.01 : 0.0016)), this.at(event));
    }, { passive: false });
    new ResizeObserver(() => this.resized()).observe(stage);
  }

  #newImage() {
    const image = document.createElement("img");
    image.alt = "";
    image.draggable = false;
    return image;
  }

  showPhoto(size) {
    this.fetching?.abort();
    if (this.seen) URL.revokeObjectURL(this.image.src);
    this.image.removeAttribute("src");
    Object.assign(this, { size, seen: null, resting: false });
  }

  rest() { // asks for nothing more
    this.resting = true;
    clearTimeout(this.settling);
    this.fetching?.abort();
  }

  fit([x0, y0, x1, y1]) {
    const [width, height] = this.extent();
    if (!width) { this.waiting = [x0, y0, x1, y1]; return; }
    this.scale = clamp(Math.min(width / (x1 - x0), height / (y1 - y0)), this.least(), LARGEST);
    [this.x, this.y] = [(x0 + x1 - width / this.scale) / 2, (y0 + y1 - height / this.scale) / 2];
    this.fitted = [x0, y0, x1, y1];
    this.viewChanged();
  }

  zoom(factor, at = this.extent().map((side) => side / 2)) {
    const scale = clamp(this.scale * factor, this.least(), LARGEST);
    this.x += at[0] / this.scale - at[0] / scale;
    this.y += at[1] / this.scale - at[1] / scale;
    this.scale = scale;
    this.fitted = null;
    this.viewChanged();
  }

  toScreen([x, y]) { return [(x + 0.5 - this.x) * this.scale, (y + 0.5 - this.y) * this.scale]; }
  edges(box) { return [(box[0] - this.x) * this.scale, (box[1] - this.y) * this.scale, (box[2] - this.x) * this.scale, (box[3] - this.y) * this.scale]; }
  at(event) {
    const edge = this.stage.getBoundingClientRect();
    return [event.clientX - edge.left, event.clientY - edge.top];
  }

  extent() { return [this.stage.clientWidth, this.stage.clientHeight]; }
  least() {
    const [width, height] = this.extent();
    return Math.min(1, 0.9 * Math.min(width / this.size[0], height / this.size[1]));
  }

  resized() {
    const region = this.waiting ?? this.fitted;
    this.waiting = null;
    if (region) this.fit(region); else this.viewChanged();
  }

  viewChanged() {
    this.redraw();
    clearTimeout(this.settling);
    if (!this.resting) this.settling = setTimeout(() => this.fetch(), this.seen ? 120 : 0);
  }

  async fetch() {
    const [width, height] = this.extent().map((side) => side / this.scale), [w, h] = this.size;
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
      const image = this.#newImage();
      image.src = URL.createObjectURL(await this.told.view(region, pixels, stop.signal));
      await image.decode();
      if (stop.signal.aborted) { URL.revokeObjectURL(image.src); return; }
      if (this.seen) URL.revokeObjectURL(this.image.src);
      this.image.replaceWith(image);
      this.image = image;
      this.seen = { region, density: Math.min(density, pixels / (region[2] - region[0])) };
      this.told.failed(null);
      this.redraw();
    } catch (error) {
      if (!stop.signal.aborted) this.told.failed(error);
    }
  }

  placeImage() {
    if (!this.seen) return;
    const [x0, y0, x1, y1] = this.seen.region, style = this.image.style;
    [style.width, style.height] = [`${x1 - x0}px`, `${y1 - y0}px`];
    style.transform = `translate(${(x0 - this.x) * this.scale}px, ${(y0 - this.y) * this.scale}px) scale(${this.scale})`;
  }
}
