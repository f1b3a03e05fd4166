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
import { createCudaEngine } from '../../src/engine/cuda/cuda-engine.js';
import { applyLora } from '../../src/lora/apply-lora.js';
import { LAYER_PROJECTIONS } from '../../src/lora/lora-config.js';
import { generateTokens } from '../../src/model/generate.js';
import { median } from './median.js';
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
const engine = createCudaEngine();
console.log(engine.description);
const model = await randomModel(engine, values.size as Size, undefined, values.quantization);
applyLora(model, { r: 16, alpha: 32, targetModules: [...LAYER_PROJECTIONS] });

/** Where the time of the steps went, in milliseconds; sums. */
const spent = { queueing: 0, waiting: 0 };
const [rowLogits, read] = [model.rowLogits.bind(model), engine.read.bind(engine)];
model.rowLogits = async (...given) => {
  const start = performance.now();
  const waited = spent.waiting;
  const result = await rowLogits(...given);
  spent.queueing += performance.now() - start - (spent.waiting - waited);
  return result;
};
engine.read = async (tensor) => {
  const start = performance.now();
  const numbers = await read(tensor);
  spent.waiting += performance.now() - start;
  return numbers;
};

interface Decoded {
  /** Seconds. */
  readonly prefill: number;
  readonly total: number;
  /** Milliseconds a token of each sequence: all of it, queueing the work, waiting for the logits, and the rest. */
  readonly perToken: number;
  readonly queueing: number;
  readonly waiting: number;
  readonly choosing: number;
}

async function decode(prompts: VlmBatch, tokens: number): Promise<Decoded> {
  const start = performance.now();
  let first = 0;
  let steps = 0;
  const rows = prompts.inputIds.shape[0]!;
  for await (const { sequence } of generateTokens(model, prompts, { maxNewTokens: tokens, eosTokenIds: [1_000_000] })) {
    if (sequence !== rows - 1 || steps++ > 0) continue;
    first = performance.now();
    Object.assign(spent, { queueing: 0, waiting: 0 });
  }
  const end = performance.now();
  const [perToken, queueing, waiting] = [end - first, spent.queueing, spent.waiting].map((sum) => sum / (tokens - 1));
  return {
    prefill: (first - start) / 1000,
    total: (end - start) / 1000,
    ...{ perToken: perToken!, queueing: queueing!, waiting: waiting!, choosing: perToken! - queueing! - waiting! },
  };
}

const withoutLabels = ({ labels: _, ...batch }: VlmBatch): VlmBatch => batch;
const single = withoutLabels(workloadBatches(values.workload!, 1).next().value as VlmBatch);
await decode(single, 4);
const ours: number[] = [];
for (let i = 0; i < Number(values.repeat); i++) {
  const { prefill, total, perToken, queueing, waiting, choosing } = await decode(single, Number(values.tokens));
  ours.push((1000 * total) / Number(values.tokens));
  const parts = { queueing, waiting, choosing };
  console.log(
    `RESULT ${JSON.stringify({ bench: 'decode', size: values.size, batch: 1, promptTokens: single.inputIds.shape[1], prefillSeconds: prefill, millisecondsPerToken: perToken, parts })}`,
  );
}
const batches = workloadBatches(values.workload!, Number(values.batch));
const start = performance.now();
let count = 0;
while (count < Number(values.answers)) {
  const prompts = withoutLabels(batches.next().value as VlmBatch);
  await decode(prompts, Number(values['answer-tokens']));
  count += prompts.inputIds.shape[0]!;
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
