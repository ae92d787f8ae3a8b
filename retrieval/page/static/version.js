// The published version of the table that the page shows. Answers tell theirs; whoever shows the table is told of another one.

const listeners = [];
let known = null;

export const version = () => known;

/** Note the version that an answer was made from. */
export function seen(made) {
  const before = known;
  known = made;
  if (before !== null && before !== made) for (const listener of listeners) listener();
}

export function onPublished(listener) {
  listeners.push(listener);
}
