/** Colours of a terminal. */
import * as util from 'node:util';

/** A colour or another style, as `util.styleText` names it. */
export type TextStyle = 'bold' | 'dim' | 'cyan' | 'green' | 'yellow' | 'red';

/** The text in a style. Plain in Node before 20.12, which has no `styleText`. @param isUsed false: as it is */
export function styled(style: TextStyle | undefined, text: string, isUsed: boolean): string {
  if (!isUsed || style === undefined || typeof util.styleText !== 'function') return text;
  // Whether the terminal takes colours was decided before, for the stream that it goes to.
  return (util.styleText as Styling)(style, text, { validateStream: false });
}

type Styling = (style: string, text: string, options: { readonly validateStream: boolean }) => string;
