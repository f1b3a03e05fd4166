/**
 * Decoding speed of a real-sized model with random weights, adapter not merged: one sequence, and a test split at once.
 *
 *   npm run bench:generate -- --size 14B --workload FILE [--tokens 48] [--answers 140] [--batch 70] [--answer-tokens 8]
 *                             [--repeat 1] [--quantization nf4|fp8] [--peer FILE [--python python3] [--peer-args "--merge"]]
 *
 * With --peer, then runs that program (transformers + peft) on the same card and prints a RESULT line with both: time a
 * token, the prompt's pass included, medians of the repetitions.
 */
import { parseArgs } from 'node:util';
import type { VlmBatch } from '../../src/data/types.js';
import { offset } from '../../src/engine/cuda/launch.js';
import type { DeviceBlock } from '../../src/engine/cuda/memory.js';
import type { RowMaxima } from '../../src/engine/engine.js';
import { applyLora } from '../../src/lora/apply-lora.js';
import { LAYER_PROJECTIONS } from '../../src/lora/lora-config.js';
import { generate } from '../../src/model/generate.js';
import { median } from './median.js';
import { openCuda } from './open-cuda.js';
import { PEER_OPTIONS, runPeer } from './peer.js';
import { randomModel, type Size } from './random-model.js';
import { workloadBatches } from './workload.js';

const { values } = parseArgs({
  options: {
    size: { type: 'string', default: '14B' },
    workload: { type: 'string' },
    tokens: { type: 'string', default: '48' },
    answers: { type: 'string', default: '140' },
    batch: { type: 'string', default: '70' },
    'answer-tokens': { type: 'string', default: '8' },
    repeat: { type: 'string', default: '1' },
    quantization: { type: 'string' },
    ...PEER_OPTIONS,
  },
});
const COPIED = 4 * 2 ** 30;
const { driver, engine } = openCuda();
console.log(engine.description);
const model = await randomModel(engine, values.size as Size, undefined, values.quantization);
applyLora(model, { r: 16, alpha: 32, targetModules: [...LAYER_PROJECTIONS] });

/** Where the time of the steps went, in milliseconds; sums. Launching, the driver's share, is a part of queueing. */
const spent = { queueing: 0, launching: 0, waiting: 0 };
const launch = driver.launch.bind(driver);
driver.launch = (kernel, ...rest) => {
  const start = performance.now();
  launch(kernel, ...rest);
  spent.launching += performance.now() - start;
};
const [rowMaxima, read] = [model.rowMaxima.bind(model), engine.rowMaxima.bind(engine)];
/** When the first token of each sequence was there. */
let first: number | undefined;
/** Set while the card is measured alone: a block of which copies keep the card busy until a token is queued. */
let ahead: DeviceBlock | undefined;
const events = [driver.createEvent(true), driver.createEvent(true)] as const;
const cardTimes: number[] = [];
async function timed(given: Parameters<typeof rowMaxima>): Promise<RowMaxima> {
  if (ahead) {
    for (let i = 0; i < 10; i++) driver.copy(offset(ahead.address, COPIED), ahead.address, COPIED);
    driver.recordEvent(events[0]);
  }
  const start = performance.now();
  const waited = spent.waiting;
  const result = await rowMaxima(...given)!;
  spent.queueing += performance.now() - start - (spent.waiting - waited);
  if (first === undefined) {
    first = performance.now();
    Object.assign(spent, { queueing: 0, launching: 0, waiting: 0 });
  }
  return result;
}
model.rowMaxima = (...given) => timed(given);
engine.rowMaxima = async (tensor) => {
  const start = performance.now();
  const reading = read(tensor);
  if (ahead) driver.recordEvent(events[1]);
  const found = await reading;
  if (ahead) cardTimes.push(driver.elapsedMilliseconds(...events));
  spent.waiting += performance.now() - start;
  return found;
};

interface Decoded {
  /** Seconds. */
  readonly prefill: number;
  readonly total: number;
  /** Milliseconds a token of each sequence: all of it, queueing the work, waiting for the logits, and the rest. */
  readonly perToken: number;
  readonly queueing: number;
  readonly launching: number;
  readonly waiting: number;
  readonly choosing: number;
}

async function decode(prompts: VlmBatch, tokens: number): Promise<Decoded> {
  const start = performance.now();
  first = undefined;
  await generate(model, prompts, { maxNewTokens: tokens, eosTokenIds: [1_000_000] });
  const end = performance.now();
  const sums = [end - first!, spent.queueing, spent.launching, spent.waiting];
  const [perToken, queueing, launching, waiting] = sums.map((sum) => sum / (tokens - 1)) as [
    number,
    number,
    number,
    number,
  ];
  return {
    prefill: (first! - start) / 1000,
    total: (end - start) / 1000,
    ...{ perToken, queueing, launching, waiting, choosing: perToken - queueing - waiting },
  };
}

const withoutLabels = ({ labels: _, ...batch }: VlmBatch): VlmBatch => batch;
const single = withoutLabels(workloadBatches(values.workload!, 1).next().value as VlmBatch);
await decode(single, 4);
const ours: number[] = [];
for (let i = 0; i < Number(values.repeat); i++) {
  const { prefill, total, perToken, ...parts } = await decode(single, Number(values.tokens));
  ours.push((1000 * total) / Number(values.tokens));
  console.log(
    `RESULT ${JSON.stringify({ bench: 'decode', size: values.size, batch: 1, promptTokens: single.inputIds.shape[1], prefillSeconds: prefill, millisecondsPerToken: perToken, parts })}`,
  );
}
ahead = engine.allocator.allocate(2 * COPIED);
const { launching, queueing } = await decode(single, 8);
engine.allocator.free(ahead);
ahead = undefined;
const cardMilliseconds = median(cardTimes.slice(1));
console.log(
  `RESULT ${JSON.stringify({ bench: 'decode, card alone', size: values.size, cardMilliseconds, launching, queueing })}`,
);
const batches = workloadBatches(values.workload!, Number(values.batch));
// Made before the clock starts: random pixels take longer than what they stand for.
const all: VlmBatch[] = [];
let count = 0;
while (count < Number(values.answers)) {
  const prompts = withoutLabels(batches.next().value as VlmBatch);
  all.push(prompts);
  count += prompts.inputIds.shape[0]!;
}
const start = performance.now();
for (const prompts of all) {
  const { prefill, perToken, total: _, ...parts } = await decode(prompts, Number(values['answer-tokens']));
  console.log(`batch of ${prompts.inputIds.shape[0]}: ${JSON.stringify({ prefill, perToken, parts })}`);
}
console.log(
  `RESULT ${JSON.stringify({ bench: 'answers', size: values.size, answers: count, batch: Number(values.batch), tokensEach: Number(values['answer-tokens']), seconds: (performance.now() - start) / 1000, peakGiB: engine.memory().peakBytes / 2 ** 30 })}`,
);
await engine.dispose();
if (values.peer) {
  const peer: number[] = [];
  for (let i = 0; i < Number(values.repeat); i++) {
    const measured = await runPeer(values.python, values.peer, [
      ...['--size', values.size, '--workload', values.workload!, '--micro', '1', '--variants', 'sdpa,0,0,1'],
      ...['--generate', values.tokens, ...values['peer-args'].split(' ').filter(Boolean)],
    ]);
    peer.push(...measured.millisecondsPerToken);
  }
  const figures = { ours: median(ours), peer: median(peer), ratio: median(peer) / median(ours), runs: { ours, peer } };
  console.log(`RESULT ${JSON.stringify({ bench: 'decode beside peer', size: values.size, ...figures })}`);
}
