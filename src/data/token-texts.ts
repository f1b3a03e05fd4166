/** Tokens as one reads them: what each stands for, with everything visible, whatever bytes it holds. */
import { printable } from '../messages/one-line.js';
import { tokenBytes } from './byte-alphabet.js';
import type { MinistralTokenizer } from './tokenizer.js';

/** As in `MaskToken`. */
export interface TokenText {
  text: string;
  partOf?: string;
}

const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** The texts of a row of tokens. Between two control tokens their bytes are one text: characters may cross tokens. */
export function tokenTexts(tokenizer: MinistralTokenizer, ids: ArrayLike<number>): TokenText[] {
  const texts: TokenText[] = [];
  let run: Uint8Array[] = [];
  const flush = () => {
    texts.push(...runTexts(run));
    run = [];
  };
  for (let i = 0; i < ids.length; i++) {
    const id = ids[i]!;
    const token = tokenizer.idToToken(id);
    if (token === undefined || tokenizer.specialTokenIds.has(id)) {
      flush();
      texts.push({ text: token === undefined ? `<${id}>` : visible(token) });
    } else run.push(tokenBytes(token) ?? Buffer.from(token));
  }
  flush();
  return texts;
}

function runTexts(tokens: readonly Uint8Array[]): TokenText[] {
  const bytes = Buffer.concat(tokens);
  const texts: TokenText[] = [];
  // The character that reaches into the next token, and where it ends.
  let open = '';
  let openEnd = 0;
  let end = 0;
  for (const token of tokens) {
    let at = end;
    end += token.length;
    let text = '';
    let partOf = '';
    // What a token before this one began.
    if (at < openEnd) {
      const stop = Math.min(openEnd, end);
      text += hexOf(bytes.subarray(at, stop));
      partOf = open;
      at = stop;
    }
    let whole = '';
    while (at < end) {
      const length = characterLength(bytes, at);
      if (length > 0 && at + length <= end) {
        whole += UTF8.decode(bytes.subarray(at, at + length));
        at += length;
        continue;
      }
      text += visible(whole);
      whole = '';
      if (length === 0) text += hexOf(bytes.subarray(at, ++at));
      else {
        open = visible(UTF8.decode(bytes.subarray(at, at + length)));
        openEnd = at + length;
        text += hexOf(bytes.subarray(at, end));
        partOf += open;
        at = end;
      }
    }
    text += visible(whole);
    texts.push(partOf === '' ? { text } : { text, partOf });
  }
  return texts;
}

/** Bytes of the character that begins at an offset, or 0 if none does. */
function characterLength(bytes: Uint8Array, at: number): number {
  const first = bytes[at]!;
  const length = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
  if (length <= 1) return length;
  try {
    UTF8.decode(bytes.subarray(at, at + length));
    return length;
  } catch {
    return 0;
  }
}

function hexOf(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => `\\x${byte.toString(16).padStart(2, '0')}`).join('');
}

/** Characters that are spaces to the eye, and what the signs of the view would be taken for. */
const WRITTEN_OUT = /(?! )\p{Zs}|[·↵⇥◌│]/gu;

function visible(text: string): string {
  const written = text.replace(WRITTEN_OUT, (character) => {
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
  });
  return (
    printable(written.replaceAll('\r', '\\r'))
      .replaceAll(' ', '·')
      .replaceAll('\n', '↵')
      .replaceAll('\t', '⇥')
      // Its letter is in the token before: alone it would be drawn upon whatever precedes it.
      .replace(/^\p{M}/u, '◌$&')
  );
}
