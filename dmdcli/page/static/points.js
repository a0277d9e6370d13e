// What the 68 points of a face are, how an aligned face lies in its photo, and what lies under a finger.

export const span = (first, end) => Array.from({ length: end - first }, (_, number) => first + number);
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
export const PART_OF = PARTS.flatMap((one, number) => one.points.map(() => number));
export const CORNERS = [[0, 0], [1, 0], [1, 1], [0, 1]];
// Where eyes, nose tip and corners of the mouth lie in an aligned face, as dmdcli.faces.align.TEMPLATE
export const TEMPLATE = [[192.98, 239.95], [318.9, 240.19], [256.63, 314.02], [201.26, 371.41], [313.09, 371.15]];

export const middle = (points) => points.reduce(([x, y], point) => [x + point[0] / points.length, y + point[1] / points.length], [0, 0]);
export const bounds = (points) => points.reduce(([x0, y0, x1, y1], [x, y]) => [Math.min(x0, x), Math.min(y0, y), Math.max(x1, x), Math.max(y1, y)], [Infinity, Infinity, -Infinity, -Infinity]);
export const clamp = (value, least, most) => Math.min(most, Math.max(least, value));

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

// The corners in the photo of a box that the network reads, by its number. read: the boxes in pixels of the face aligned by
// `points`, and that alignment. Where the part has moved since, its box moves with it.
export function boxInPhoto({ components, points, a, b, c, d }, number, now) {
  const own = PARTS[LEFT_EYE + number].points, scale = a * a + b * b;
  const [from, to] = [points, now].map((all) => middle(own.map((point) => all[point])));
  const back = ([x, y]) => [(a * (x - c) + b * (y - d)) / scale + to[0] - from[0], (a * (y - d) - b * (x - c)) / scale + to[1] - from[1]];
  const [x0, y0, x1, y1] = components[number].map((edge) => edge - 0.5);
  return [[x0, y0], [x1, y0], [x1, y1], [x0, y1]].map(back);
}

// What lies under a place on the screen, all of it in pixels of the screen: screen, the points, none where they cannot
// be moved; frames, around the parts; edges, of a box that can be moved, or null; active, the part that is selected; extent, of
// the window; drawing, whether the box is that of a new face, and fresh, whether nobody has touched that yet.
export function grasp([x, y], reach, { screen, frames, edges, active, extent, drawing, fresh }) {
  const near = (one, other) => Math.hypot(one - x, other - y);
  const inside = ([x0, y0, x1, y1]) => x > x0 && x < x1 && y > y0 && y < y1;
  const held = (kind, number, more = {}) => ({ kind, part: number, name: PARTS[number].name, ...more });
  if (screen.length) {
    const parted = active !== null && active !== WHOLE;
    const fits = ([x0, y0, x1, y1]) => x1 - x0 < 0.75 * extent[0] || y1 - y0 < 0.75 * extent[1]; // beside larger ones there is no room to pan
    const within = parted && PARTS[active].inside && inside(frames[active]) && fits(frames[active]); // then it is the part that is meant
    const apart = (one, other) => Math.hypot(screen[one][0] - screen[other][0], screen[one][1] - screen[other][1]);
    const gap = (point, others) => Math.min(...others.filter((one) => one !== point && PART_OF[one] === PART_OF[point]).map((one) => apart(one, point)));
    const reachOf = (point) => {
      const number = PART_OF[point], [x0, y0, x1, y1] = frames[number];
      if (within) return Math.min(reach / 3, number === active ? gap(point, PARTS[number].points) / 2 : Infinity);
      const covered = !parted && PARTS[number].inside && inside(frames[number]) && Math.min(x1 - x0, y1 - y0) < 4 * reach; // its points would leave no inside
      return covered ? Math.min(reach, gap(point, [point - 1, point + 1]) / 2) : reach;
    };
    const nearest = (points) => points.reduce((best, point) => {
      const away = near(...screen[point]);
      return away < best[1] && away < reachOf(point) ? [point, away] : best;
    }, [null, reach])[0];
    const point = (parted ? nearest(PARTS[active].points) : null) ?? nearest(span(0, 68));
    if (point !== null) return held("point", PART_OF[point], { point });
    if (parted) {
      const [x0, y0, x1, y1] = frames[active], least = within ? Math.min(reach, 0.3 * Math.min(x1 - x0, y1 - y0)) : reach;
      const corner = CORNERS.findIndex(([right, low]) => near(right ? x1 : x0, low ? y1 : y0) < least);
      if (corner >= 0) return held("size", active, { corner, name: `${PARTS[active].name}: size` });
      if (within) return held("part", active);
    }
    const along = ([x0, y0], [x1, y1]) => {
      const share = clamp(((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / ((x1 - x0) ** 2 + (y1 - y0) ** 2 || 1), 0, 1);
      return near(x0 + share * (x1 - x0), y0 + share * (y1 - y0)) < 7;
    };
    const onLine = ([first, end, closed]) => span(first + 1, end).some((one) => along(screen[one - 1], screen[one])) || (closed && along(screen[end - 1], screen[first]));
    const line = PARTS.findIndex(({ lines }) => lines.some(onLine));
    if (line >= 0) return held("part", line);
    const area = (number) => (frames[number][2] - frames[number][0]) * (frames[number][3] - frames[number][1]);
    const around = PARTS.map((_, number) => number).filter((number) => PARTS[number].inside && inside(frames[number]) && fits(frames[number]));
    if (active !== WHOLE && around.length) return held("part", around.reduce((best, one) => (area(one) < area(best) ? one : best)));
  }
  const drawn = { kind: "new", name: "New box" };
  if (drawing && fresh) return drawn;
  if (edges) {
    const close = [x - edges[0], y - edges[1], x - edges[2], y - edges[3]].map((away) => Math.abs(away) < Math.max(7, 0.75 * reach));
    const level = x > edges[0] - reach && x < edges[2] + reach, upright = y > edges[1] - reach && y < edges[3] + reach;
    const sides = [close[0] && upright, close[1] && level, close[2] && upright && !close[0], close[3] && level && !close[1]];
    if (sides.some(Boolean)) return { kind: "box", sides, name: "Box of the face" };
    if (drawing) return inside(edges) ? { kind: "box", sides: [true, true, true, true], name: "Move the box" } : drawn;
  }
  if (active === WHOLE && screen.length && inside(bounds(screen))) return { kind: "part", part: WHOLE, name: "Whole face" };
  return null;
}

export function cursorOf({ kind, sides, corner }) {
  if (kind === "size") return corner % 2 ? "nesw" : "nwse";
  if (kind !== "box") return kind === "new" ? "new" : "move";
  const [left, top, right, bottom] = sides;
  if (left && right) return "move";
  if ((left && top) || (right && bottom)) return "nwse";
  if ((left && bottom) || (right && top)) return "nesw";
  return left || right ? "ew" : "ns";
}
