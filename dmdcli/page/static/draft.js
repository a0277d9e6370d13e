// What is changed in a face and not saved yet, and the decision that saves it.
export const equal = (one, other) => one === other || JSON.stringify(one) === JSON.stringify(other);
const rounded = (points) => points.map((point) => point.map((value) => Math.round(value * 100) / 100));
export const saysNothing = (decision) => Object.values(decision).every((value) => value === null || value === false);

export const draftOf = ({ landmarks, box, decision }) => ({
  points: landmarks, box, person: decision.person, stranger: decision.stranger, not_a_face: decision.not_a_face,
  leave_alone: decision.leave_alone, strength: decision.strength, accepted: decision.accepted,
});

// The points that a decision gives a face; none where they are still to be found, in a box that was moved
export const pointsOf = ({ landmarks, box }, detail) => landmarks ?? (box && !equal(box, detail.found_box) ? [] : detail.found_landmarks ?? detail.landmarks);

export function decisionOf(detail, { points, box, ...said }, refit = false) {
  const found = detail.found_landmarks !== null && equal(points, detail.found_landmarks);
  return {
    ...said, strength: said.not_a_face || said.leave_alone ? null : said.strength,
    landmarks: said.not_a_face || refit || found || !points.length ? null : rounded(points),
    box: equal(box, detail.box) ? null : box,
  };
}
