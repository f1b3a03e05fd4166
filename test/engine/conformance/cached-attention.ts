/** A block of attention to a cache that grows step by step: a prompt at first, then a row of each sequence, or several. */
import { Tape } from '../../../src/engine/tape.js';
import { type AttentionBlockShape, attentionParts, EPS, rotaryTables } from './blocks.js';
import type { Laboratory } from './laboratory.js';
import type { Meter } from './measure.js';
import {
  type PlainRun,
  plainAttention,
  plainLinear,
  plainRmsNorm,
  plainRotary,
  plainRun,
  type Values,
} from './plain-reference.js';
import type { Tolerances } from './references.js';
import { sharedLayout } from './shared-rows.js';

export interface CacheCase {
  readonly title: string;
  readonly shape: Omit<AttentionBlockShape, 'rows' | 'about'>;
  /** New rows of each sequence, step by step. */
  readonly steps: readonly (readonly number[])[];
  /** Rows that all sequences have in common before their own of the first step; computed once. */
  readonly prefix?: number;
  /** Cache rows of a sequence. */
  readonly capacity: number;
}

/** The block on caches of its own. */
class PlainCache {
  readonly run: PlainRun;
  readonly keys: Values;
  readonly values: Values;

  constructor(run: PlainRun, size: number) {
    this.run = run;
    this.keys = new Float64Array(size);
    this.values = new Float64Array(size);
  }

  step(
    x: Values,
    norm: Values,
    columns: number,
    parts: Parameters<typeof plainLinear>[3],
    tables: Parameters<typeof plainRotary>[2],
    rows: Int32Array,
    keyRows: Int32Array,
    attention: Parameters<typeof plainAttention>[2],
  ): Values {
    const { run } = this;
    const normed = plainRmsNorm(run, [x], norm, EPS).outputs[0]!;
    const [q, k, v] = plainLinear(run, normed, columns, parts).outputs;
    const [turnedQ, turnedK] = plainRotary(run, [q!, k!], tables, x.length / columns).outputs;
    const width = attention.kvHeads * attention.headDim;
    for (const [i, row] of rows.entries()) {
      const from = keyRows[i]! * width;
      this.keys.set(turnedK!.subarray(from, from + width), row * width);
      this.values.set(v!.subarray(from, from + width), row * width);
    }
    return plainAttention(run, [turnedQ!, this.keys, this.values], attention).outputs[0]!;
  }
}

export async function runCache(
  lab: Laboratory,
  meter: Meter,
  { shape, steps, capacity, prefix = 0 }: CacheCase,
  tolerances: Tolerances,
): Promise<void> {
  const { engine } = lab;
  const { columns, heads, kvHeads, headDim } = shape;
  const { parameters, norm, made } = await attentionParts(lab, { ...shape, about: '', rows: 0 });
  const sequences = steps[0]!.length;
  const extents = [sequences * capacity, kvHeads * headDim];
  const [keys, values] = [engine.zeros(extents), engine.zeros(extents)];
  const caches = [false, true].map((isRounded) => new PlainCache(plainRun(parameters.values, isRounded), keys.size));
  const lengths = new Array<number>(sequences).fill(0);
  try {
    for (const [step, counts] of steps.entries()) {
      const layout = sharedLayout(
        step === 0 && prefix > 0 ? [{ prefix, own: counts }] : counts.map((count) => ({ prefix: 0, own: [count] })),
      );
      const rows = Int32Array.from(
        layout.keys.flatMap((count, s) => Array.from({ length: count }, (_, i) => s * capacity + lengths[s]! + i)),
      );
      for (const [s, count] of layout.keys.entries()) lengths[s]! += count;
      const x = await lab.tensor([layout.rows, columns]);
      const tables = await rotaryTables(lab, layout.rows, headDim, shape.queryScale ?? false);
      const segments = {
        queryStarts: Int32Array.from([
          0,
          ...counts.map((_, s) => layout.queries.slice(0, s + 1).reduce((a, b) => a + b)),
        ]),
        keyStarts: Int32Array.from(counts, (_, s) => s * capacity),
        keyLengths: Int32Array.from(lengths),
      };
      const attention = { heads, kvHeads, headDim, causal: true, scale: headDim ** -0.5, segments };
      const tape = new Tape(engine, { record: false });
      const [attended] = tape.apply('attentionBlock', [x.tensor], {
        norm: { weight: norm.weight, eps: EPS },
        projections: [made.parts[0]!, made.parts[1]!, made.parts[2]!],
        rotary: tables.attributes,
        attention,
        cache: { keys, values, rows },
        keyRows: prefix > 0 && step === 0 ? layout.keyRows : undefined,
      });
      const actual = await engine.read(attended!);
      tape.dispose();
      const [exact, rounded] = caches.map((cache) =>
        cache.step(x.values, norm.values, columns, made.plain, tables.plain, rows, layout.keyRows, attention),
      );
      meter.compare(`step ${step}`, actual, exact!, lab.isBfloat16 ? rounded : undefined, tolerances.forward);
    }
    const [exact, rounded] = caches as [PlainCache, PlainCache];
    for (const [name, tensor] of [
      ['keys', keys],
      ['values', values],
    ] as const) {
      const own = lab.isBfloat16 ? rounded[name] : undefined;
      meter.compare(`cached ${name}`, await engine.read(tensor), exact[name], own, tolerances.forward);
    }
  } finally {
    engine.release(keys);
    engine.release(values);
  }
}

function cacheCase(
  about: string,
  steps: CacheCase['steps'],
  capacity: number,
  shape: CacheCase['shape'],
  prefix = 0,
): CacheCase {
  const { heads, kvHeads, headDim, queryScale, ranks } = shape;
  const marks = [queryScale ? ', query scale' : '', ranks ? `, LoRA r=${ranks.join(', ')}` : ''].join('');
  const rows = steps.map((counts) => counts.join('+')).join(', ');
  return {
    prefix,
    title: `cache, ${about}: ${heads}/${kvHeads} heads of ${headDim}${marks}, rows ${rows}`,
    shape,
    steps,
    capacity,
  };
}

export const CACHE_CASES: readonly CacheCase[] = [
  cacheCase('one sequence', [[5], [1], [1], [1]], 9, {
    columns: 64,
    heads: 4,
    kvHeads: 1,
    headDim: 128,
    queryScale: true,
  }),
  cacheCase(
    'three sequences',
    [
      [4, 1, 7],
      [1, 1, 1],
      [1, 1, 1],
    ],
    11,
    {
      ...{ columns: 64, heads: 4, kvHeads: 2, headDim: 64, queryScale: true, ranks: [8, 8, 8] },
    },
  ),
  cacheCase(
    'several rows at a time',
    [
      [3, 2],
      [2, 3],
      [1, 1],
    ],
    8,
    { columns: 48, heads: 2, kvHeads: 2, headDim: 16 },
  ),
  cacheCase(
    'a sequence that is done',
    [
      [3, 2, 4],
      [1, 0, 1],
      [1, 0, 1],
    ],
    7,
    {
      ...{ columns: 64, heads: 8, kvHeads: 2, headDim: 64, ranks: [4, 0, 4] },
    },
  ),
  cacheCase('a long range', [[150], [1], [1]], 160, { columns: 64, heads: 4, kvHeads: 1, headDim: 64 }),
  cacheCase(
    'odd heads',
    [
      [3, 3],
      [1, 1],
      [1, 1],
    ],
    6,
    { columns: 64, heads: 3, kvHeads: 1, headDim: 6, queryScale: true },
  ),
  cacheCase('heads of 24', [[3], [1], [1]], 6, { columns: 64, heads: 2, kvHeads: 1, headDim: 24 }),
  cacheCase(
    'a common prefix of 21',
    [
      [3, 1, 6],
      [1, 1, 1],
      [2, 0, 1],
    ],
    32,
    { columns: 64, heads: 4, kvHeads: 1, headDim: 128, queryScale: true, ranks: [8, 8, 8] },
    21,
  ),
  cacheCase(
    'a common prefix of one, rows of one',
    [
      [0, 1],
      [1, 1],
    ],
    4,
    { columns: 64, heads: 3, kvHeads: 1, headDim: 6 },
    1,
  ),
];
