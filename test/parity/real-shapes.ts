/**
 * An engine on real layer shapes: logits and losses of the labelled tokens and every adapter gradient, judged by the
 * gap that transformers itself leaves between bfloat16 and float32.
 *
 *   python3 test/parity/real-shapes.py DIR [--size 14B]        makes the folder, on a card in under a minute
 *   npm run parity:real -- DIR [--engine cuda] [--ratio 1.5] [--verbose]
 *
 * Errors are relative L2 distances to the float32 values. An engine that computes in bfloat16 passes where its error is
 * at most `--ratio` times that of transformers in bfloat16: the largest one of its two attention implementations and of
 * the same with nudged pictures (the printed ratios leave the nudged ones out). The cpu engine computes in float32 and
 * has fixed bounds.
 * "All cases" pools the cases of the folder, which have different adapters, pictures and tokens: chance is averaged
 * out there, and an excess that an operation causes stays. Ends with a RESULT line and `N passed, N failed`.
 */
import { readdir } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { createEngine, type EngineChoice } from '../../src/engine/create-engine.js';
import { Tape } from '../../src/engine/tape.js';
import { loadAdapter } from '../../src/lora/adapter-file.js';
import { loadModel } from '../../src/model/load.js';
import type { VisionLanguageModel } from '../../src/model/network/vision-language-model.js';
import { countLabels } from '../../src/train/trainable-model.js';
import { accumulateGradients } from '../../src/train/window-step.js';
import { CheckList } from './check-list.js';
import { type Gap, GapTable, projectionOf, ratioOf } from './gap-table.js';
import { ReferenceFolder } from './reference-folder.js';

/** What a float32 engine may differ by: sums in another order. */
const FLOAT32_BOUNDS = { forward: 1e-5, gradient: 1e-4 };

const { positionals, values: options } = parseArgs({
  allowPositionals: true,
  options: {
    engine: { type: 'string', default: 'cuda' },
    ratio: { type: 'string', default: '1.5' },
    verbose: { type: 'boolean', default: false },
  },
});
const dir = positionals[0];
if (!dir) {
  console.error('usage: npm run parity:real -- DIR   (a folder made by test/parity/real-shapes.py)');
  process.exit(2);
}
const allowed = Number(options.ratio);
const checks = new CheckList({ quiet: !options.verbose });
const folder = new ReferenceFolder(dir);
const engine = await createEngine(options.engine as EngineChoice);
const isFloat32 = engine.name !== 'cuda';
console.log(engine.description);
const start = performance.now();
const model = await loadModel(folder.path('checkpoint'), { engine });
const seconds = (since: number): string => `${((performance.now() - since) / 1000).toFixed(1)} s`;
console.log(`${JSON.stringify(await folder.json('versions.json'))}, loaded in ${seconds(start)}`);

function check(what: string, gap: Gap, bound: number): void {
  if (isFloat32) checks.atMost(what, gap.ours, bound);
  else checks.atMost(`${what}, error ${gap.ours.toExponential(2)} of`, ratioOf(gap), allowed, ' × the gap');
}

/** Losses and logits [L, V] of the labelled tokens, without dropout. */
async function forward(batch: Parameters<VisionLanguageModel['pack']>[0]): Promise<Map<string, Float32Array>> {
  const tape = new Tape(engine, { record: false });
  try {
    const packed = model.pack(batch);
    const hidden = model.hidden(tape, packed, {});
    const [labelled] = tape.apply('gatherRows', [hidden], { rows: packed.labelRows });
    const [, rowLoss] = tape.apply('crossEntropy', [labelled!], {
      head: model.modules.lmHead,
      targets: packed.labelTargets,
      scale: 1 / packed.labelRows.length,
    });
    const logits = await engine.read(model.logits(tape, hidden, packed.labelRows));
    return new Map([
      ['token_losses', await engine.read(rowLoss!)],
      ['logits', logits],
    ]);
  } finally {
    tape.dispose();
  }
}

const forwardGaps = new GapTable();
const gradientGaps = new GapTable();
const lossGaps: Gap[] = [];
let tokenNoise = 0;
const cases = (await readdir(dir)).filter((name) => name.startsWith('case-')).sort();
for (const name of cases) {
  const begun = performance.now();
  const adapter = await loadAdapter(folder.path(name, 'adapter'), model);
  const batch = await folder.arrays(`${name}/batch.safetensors`, (file) => folder.batch(file));
  await folder.arrays(`${name}/float32.safetensors`, (exact) =>
    folder.arrays(`${name}/bfloat16.safetensors`, async (theirs) => {
      const variants = (key: string): Promise<Float32Array[]> =>
        Promise.all(['sdpa', 'plain'].map((variant) => theirs.readFloat32(`${variant}/${key}`)));
      /** With the errors of runs that bfloat16 cannot tell apart. */
      const widened = async (key: string, { ours, theirs: own }: Gap): Promise<Gap> => {
        const nudged = `nudged/${key}`;
        const other = theirs.tensors.has(nudged) ? (await theirs.readFloat32(nudged))[0]! : 0;
        return { ours, theirs: Math.max(own, other) };
      };
      for (const [key, actual] of await forward(batch)) {
        const gap = forwardGaps.add(key, actual, await exact.readFloat32(key), await variants(key));
        check(`${name}: ${key}`, await widened(key, gap), FLOAT32_BOUNDS.forward);
        console.log(`${name} ${key}: ${describe(gap)}`);
      }
      engine.zeroGradients(adapter.parameters);
      const loss = await accumulateGradients(model, [batch], {
        labelCount: countLabels(batch),
        dropoutSeeds: [1],
        gradientCheckpointing: false,
      });
      const [meanLoss, tokenLosses] = [await exact.readFloat32('loss'), await exact.readFloat32('token_losses')];
      lossGaps.push(
        lossGap(await loss(), meanLoss[0]!, await variants('loss'), tokenLosses, await variants('token_losses')),
      );
      const gradients = await engine.readGradients(adapter.parameters);
      const here = new GapTable();
      for (const { name: key, offset, size } of adapter.parameters.parameters) {
        const [reference, others] = [await exact.readFloat32(key), await variants(key)];
        const actual = gradients.subarray(offset, offset + size);
        gradientGaps.add(key, actual, reference, others);
        const gap = await widened(key, here.add(key, actual, reference, others));
        check(`${name}: gradient ${shorten(key)}`, gap, FLOAT32_BOUNDS.gradient);
      }
      console.log(`${name} gradients: ${here.describe(allowed)}`);
    }),
  );
  adapter.dispose();
  console.log(`${name} took ${seconds(begun)}`);
}

/** Errors of the mean loss; also notes by how much a mean of these token losses scatters in bfloat16. */
function lossGap(
  actual: number,
  exact: number,
  variants: readonly Float32Array[],
  tokens: Float32Array,
  tokenVariants: readonly Float32Array[],
): Gap {
  for (const other of tokenVariants) {
    const squares = tokens.reduce((sum, value, i) => sum + (other[i]! - value) ** 2, 0);
    tokenNoise += squares / tokens.length ** 2 / tokenVariants.length;
  }
  const others = variants.map(([value]) => value!);
  console.log(`loss ${actual} against ${exact} (float32) and ${others.join(', ')} (bfloat16)`);
  return { ours: Math.abs(actual - exact), theirs: Math.max(...others.map((value) => Math.abs(value - exact))) };
}

// One number a case says little: by chance transformers' own loss may come out exact. So the cases are pooled, and the
// gap is at least twice the deviation that independent errors of the token losses leave in their mean.
const pooled = (pick: (gap: Gap) => number): number =>
  Math.sqrt(lossGaps.reduce((sum, gap) => sum + pick(gap) ** 2, 0) / lossGaps.length);
const noise = Math.sqrt(tokenNoise / lossGaps.length);
const loss: Gap = {
  ours: pooled(({ ours }) => ours),
  theirs: Math.max(
    2 * noise,
    pooled(({ theirs }) => theirs),
  ),
};
check('loss, all cases', loss, FLOAT32_BOUNDS.forward);
console.log(`all cases, loss: ${describe(loss)} (token errors alone leave ${noise.toExponential(2)})`);
for (const [key, gap] of gradientGaps.pooled()) {
  check(`all cases: gradient ${shorten(key)}`, gap, FLOAT32_BOUNDS.gradient);
}
console.log(`all cases, gradients: ${gradientGaps.describe(allowed)}`);
console.log('pooled by kind of module:');
for (const [kind, gap] of gradientGaps.byKind(kindOf)) console.log(`  ${kind.padEnd(18)} ${describe(gap)}`);
console.log(
  `RESULT ${JSON.stringify({
    bench: 'parity:real',
    engine: engine.name,
    cases: cases.length,
    logits: ratioOf(forwardGaps.total('logits')),
    tokenLosses: ratioOf(forwardGaps.total('token_losses')),
    loss: ratioOf(loss),
    gradients: gradientGaps.summary(allowed),
    passed: checks.passed,
    failed: checks.failed,
  })}`,
);
model.dispose();
await engine.dispose();
console.log(checks.summary());
process.exitCode = checks.failed > 0 || checks.passed === 0 ? 1 : 0;

function describe(gap: Gap): string {
  return `ours ${gap.ours.toExponential(2)}, transformers ${gap.theirs.toExponential(2)}, ratio ${ratioOf(gap).toFixed(3)}`;
}
function shorten(name: string): string {
  return name.replace(/^base_model\.model\.model\./, '').replace(/\.weight$/, '');
}
function kindOf(name: string): string {
  return `${projectionOf(name)} ${/lora_([AB])/.exec(name)![1]}`;
}
