/** The tokens of a mask view: what each is, and where those of images belong. */
import type { EncodedSample, PaddingSide } from './pad-batch.js';
import type { ImageSpan } from './shared-prefix.js';
import { type TokenText, tokenTexts } from './token-texts.js';
import type { MinistralTokenizer } from './tokenizer.js';
import { IGNORE_INDEX } from './types.js';

/** One token of a `MaskedSample`. */
export interface MaskToken {
  /** Its index in the row of the batch. */
  readonly position: number;
  /** As in `inputIds`. */
  readonly id: number;
  /**
   * What it stands for, on one line: a space is `·`, a line end `↵`, a tab `⇥`; characters that nobody sees are written
   * as `\u200b`, bytes that are only a part of a character as `\xe6`.
   */
  readonly text: string;
  /** `control` is a control token other than those of images; `break` and `end` close a row of cells. */
  readonly kind: 'text' | 'control' | 'cell' | 'break' | 'end' | 'padding';
  /** As in `labels`: its id, or -100. */
  readonly label: number;
  /** Whether it is in the loss: it has a label and is not the first of its sample, which nothing predicts. */
  readonly isLearned: boolean;
  /** Whether an earlier sample has it in a prefix that both share. */
  readonly isShared: boolean;
  /** The characters that its bytes are a part of; absent if it has no part of one. */
  readonly partOf?: string;
  /** Of the tokens of an image. */
  readonly cell?: {
    /** Index in the sample's `images`. */
    readonly image: number;
    /** From the top, beginning with 0. */
    readonly row: number;
    /** From the left, beginning with 0; of `break` and `end` the number of cells of the row. */
    readonly column: number;
  };
}

type PlacedToken = Pick<MaskToken, 'id' | 'kind' | 'cell' | 'label' | 'isLearned'> & TokenText;

export interface PlacedSample {
  readonly tokens: readonly PlacedToken[];
  readonly spans: readonly ImageSpan[];
  /** Of each image, in pixels. */
  readonly cellSizes: readonly number[];
}

/** The tokens of a sample, those of images with their places. */
export function placeTokens({ inputIds, labels, images }: EncodedSample, tokenizer: MinistralTokenizer): PlacedSample {
  const texts = tokenTexts(tokenizer, inputIds);
  const spans: { first: number; last: number }[] = [];
  const cellSizes: number[] = [];
  let [row, column, columns, rows] = [0, 0, 0, 0];
  const tokens = inputIds.map((id, i): PlacedToken => {
    const label = labels?.[i] ?? IGNORE_INDEX;
    const about = { id, label, isLearned: i > 0 && label !== IGNORE_INDEX, ...texts[i]! };
    if (row === rows) {
      const isText = !tokenizer.specialTokenIds.has(id);
      if (id !== tokenizer.imageTokenId) return { ...about, kind: isText ? 'text' : 'control' };
      const { width, height } = images[spans.length]!;
      columns = 0;
      while (inputIds[i + columns] === id) columns++;
      cellSizes.push(width / columns);
      [row, column, rows] = [0, 0, (height * columns) / width];
      spans.push({ first: i, last: i + rows * (columns + 1) - 2 });
    }
    const cell = { image: spans.length - 1, row, column };
    if (column++ < columns) return { ...about, kind: 'cell', cell };
    column = 0;
    return { ...about, kind: ++row === rows ? 'end' : 'break', cell };
  });
  return { tokens, spans, cellSizes };
}

/** A row of the batch: the sample with its padding. @param shared tokens at its beginning that an earlier sample has */
export function rowOf(
  placed: readonly PlacedToken[],
  padding: number,
  side: PaddingSide,
  shared: number,
  tokenizer: MinistralTokenizer,
): MaskToken[] {
  const id = tokenizer.padTokenId;
  const [padText] = tokenTexts(tokenizer, [id]);
  const pad = { id, kind: 'padding', label: IGNORE_INDEX, isLearned: false, isShared: false, ...padText! } as const;
  const pads = new Array<typeof pad>(padding).fill(pad);
  const own = placed.map((token, i) => ({ ...token, isShared: i < shared }));
  return (side === 'left' ? [...pads, ...own] : [...own, ...pads]).map((token, position) => ({ position, ...token }));
}
