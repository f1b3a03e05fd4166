/**
 * Digests of a model's frozen weights, from pieces of each tensor while an engine reads it. They depend on the values
 * alone, not on dtype, files or engine, nor on how the engine holds them. What is stored in 8 or 4 bits counts as its
 * bf16 values, so a 4-bit checkpoint is another base than the model it was made from.
 */
import { createHash } from 'node:crypto';
import { widen } from '../../formats/half-precision.js';
import { dequantizedSource } from '../../formats/held-source.js';
import { DTYPE_BYTES, sizeOf, type WeightSource } from '../../formats/weight-source.js';
import type { ModelConfig } from '../model-config.js';
import { modelPart } from '../tensor-names.js';

/** Evenly spread over a tensor, its first and last elements among them; one of no more elements is taken whole. */
const PIECES = 16;
const PIECE_ELEMENTS = 512;

/** Some elements of a tensor, and the bytes that hold them, from byte `from` on. */
interface Piece {
  readonly element: number;
  readonly count: number;
  readonly from: number;
  readonly bytes: Uint8Array;
}

/** Of each part of a model, of 16 hexadecimal digits. */
export type WeightDigests = Readonly<Partial<Record<'vision' | 'projector' | 'language' | 'other', string>>>;

export class BaseDigest {
  readonly #tensors = new Map<string, string>();
  #isWhole = true;

  watch(source: WeightSource): { readonly source: WeightSource; readonly done: () => Promise<void> } {
    const { name, shape, dtype, byteLength } = source;
    const width = DTYPE_BYTES[dtype];
    const pieces = piecesOf(dtype === 'nf4' ? sizeOf(shape) : byteLength / width, width);
    const seen = blockOf(pieces.map(({ bytes }) => bytes.length));
    const read = async (target: Uint8Array, offset = 0): Promise<void> => {
      await source.read(target, offset);
      for (const [i, { from, bytes }] of pieces.entries()) {
        const start = Math.max(from, offset);
        const end = Math.min(from + bytes.length, offset + target.length);
        if (start >= end) continue;
        bytes.set(target.subarray(start - offset, end - offset), start - from);
        seen[i]!.fill(1, start - from, end - from);
      }
    };
    const done = async (): Promise<void> => {
      // An engine that keeps no values reads none.
      if (new Uint8Array(seen[0]!.buffer).includes(0)) {
        this.#isWhole = false;
        return;
      }
      try {
        this.#tensors.set(name, await digest());
      } catch {
        this.#isWhole = false;
      }
    };
    const digest = async (): Promise<string> => {
      const hash = createHash('sha256').update(JSON.stringify(shape));
      const stored = dequantizedSource({ ...source, read: (target, offset) => copy(pieces, target, offset) });
      const held = DTYPE_BYTES[stored.dtype];
      const values = blockOf(pieces.map(({ count }) => count * held));
      for (const [i, { element }] of pieces.entries()) await stored.read(values[i]!, element * held);
      hash.update(new Uint8Array(widen(new Uint8Array(values[0]!.buffer), stored.dtype).buffer));
      return hash.digest('hex');
    };
    return { source: { ...source, read }, done };
  }

  /** @param tied the output head is the embedding. @returns undefined if an engine has not read all of the weights */
  digests(tied: boolean): WeightDigests | undefined {
    if (!this.#isWhole || this.#tensors.size === 0) return undefined;
    const tensors = new Map(this.#tensors);
    const embedding = tensors.get('model.language_model.embed_tokens.weight');
    // The same as a head of its own with the same values.
    if (tied && embedding !== undefined) tensors.set('lm_head.weight', embedding);
    const parts: Record<string, ReturnType<typeof createHash>> = {};
    for (const name of [...tensors.keys()].sort()) {
      const part = modelPart(name);
      parts[part] ??= createHash('sha256');
      parts[part].update(`${name} ${tensors.get(name)}\n`);
    }
    return Object.fromEntries(Object.entries(parts).map(([part, hash]) => [part, hash.digest('hex').slice(0, 16)]));
  }
}

/** Of what a configuration says about the computation: not of what only generation and reading ask for. */
export function configDigest(config: ModelConfig): string {
  const { eosTokenIds: _, quantization: __, mayTieEmbeddings: ___, text, ...others } = config;
  const { maxPositions: ____, ...decoder } = text;
  return createHash('sha256')
    .update(JSON.stringify({ ...others, text: decoder }))
    .digest('hex')
    .slice(0, 16);
}

function piecesOf(elements: number, width: number): Piece[] {
  const isWhole = elements <= PIECES * PIECE_ELEMENTS;
  const count = isWhole ? elements : PIECE_ELEMENTS;
  const places = Array.from({ length: isWhole ? 1 : PIECES }, (_, i) => {
    const element = isWhole ? 0 : Math.floor((i * (elements - count)) / (PIECES - 1));
    // Two elements of 4 bits share a byte.
    return { element, from: Math.floor(element * width), end: Math.ceil((element + count) * width) };
  });
  const bytes = blockOf(places.map(({ from, end }) => end - from));
  return places.map(({ element, from }, i) => ({ element, count, from, bytes: bytes[i]! }));
}

/** Parts of one array: thousands of small ones keep the garbage collector busy. */
function blockOf(lengths: readonly number[]): Uint8Array[] {
  const block = new Uint8Array(lengths.reduce((sum, length) => sum + length, 0));
  let end = 0;
  return lengths.map((length) => {
    end += length;
    return block.subarray(end - length, end);
  });
}

/** Fills `target` from the piece that holds it. */
async function copy(pieces: readonly Piece[], target: Uint8Array, offset = 0): Promise<void> {
  const piece = pieces.find(({ from, bytes }) => from <= offset && offset + target.length <= from + bytes.length)!;
  target.set(piece.bytes.subarray(offset - piece.from, offset - piece.from + target.length));
}
