/** A number with what it counts. */

/** `1 step`, `2 steps` */
export function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`;
}
