/** Small image files of every kind and the pixels that Pillow reads from them; see test/fixtures/images/make.py. */
import { readFileSync } from 'node:fs';

export interface ImageFixture {
  readonly name: string;
  /** Base64. */
  readonly file: string;
  /** Pixels. */
  readonly width: number;
  readonly height: number;
  /** [height, width, 3] in base64. */
  readonly rgb: string;
}

export const imageFixtures: readonly ImageFixture[] = readFileSync(
  new URL('../fixtures/images/images.jsonl', import.meta.url),
  'utf8',
)
  .trimEnd()
  .split('\n')
  .map((line) => JSON.parse(line) as ImageFixture);
