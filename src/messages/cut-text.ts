/** Texts that are shown in part. */

/** The first `length` code units, with `…` for the rest; never half of a character that takes two. */
export function cutText(text: string, length: number): string {
  return text.length > length ? `${startOf(text, length)}…` : text;
}

/** The first `length` code units, one less where that would be half of a character. */
export function startOf(text: string, length: number): string {
  return text.length <= length ? text : text.slice(0, length).replace(/[\ud800-\udbff]$/, '');
}
