/** Whether a terminal gets colours. */

/** By NO_COLOR (https://no-color.org) and FORCE_COLOR, else whether the stream is a terminal that can. */
export function usesColor(stream: { readonly isTTY?: boolean }, env: NodeJS.ProcessEnv = process.env): boolean {
  if (env.NO_COLOR) return false;
  if (env.FORCE_COLOR !== undefined) return env.FORCE_COLOR !== '0' && env.FORCE_COLOR !== 'false';
  return stream.isTTY === true && env.TERM !== 'dumb';
}
