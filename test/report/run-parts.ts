/** Parts of a report of a run that never was: any number of classes and samples, the same each time. */

import type { EvaluatedSample, EvaluationReport } from '../../src/eval/evaluation-report.js';
import { Evaluator } from '../../src/eval/evaluator.js';
import { MersenneTwister } from '../../src/random.js';
import type { RunReportParts } from '../../src/report/report-parts.js';
import type { EvalEntry, LogEntry } from '../../src/train/events.js';

export interface RunShape {
  readonly classNames: readonly string[];
  readonly samples: number;
  /** Shares of right answers. */
  readonly before?: number;
  readonly after?: number;
  readonly steps?: number;
  readonly isScored?: boolean;
  readonly id?: (index: number) => string;
}

export const FRACTURES: readonly string[] = [
  'Avulsion fracture',
  'Comminuted fracture',
  'Compression-Crush fracture',
  'Fracture Dislocation',
  'Greenstick fracture',
  'Hairline Fracture',
  'Impacted fracture',
  'Intra-articular fracture',
  'Longitudinal fracture',
  'Spiral Fracture',
];

export const CHINESE: readonly string[] = [
  '撕脱性骨折',
  '粉碎性骨折',
  '压缩性骨折',
  '骨折脱位',
  '青枝骨折',
  '发丝状骨折',
  '嵌插骨折',
  '关节内骨折',
  '纵行骨折',
  '螺旋形骨折',
];

export function runParts({
  classNames,
  samples,
  before = 0.2,
  after = 0.8,
  steps = 120,
  isScored = false,
  id = (i) => `test/${classNames[i % classNames.length]}/image-${String(i).padStart(4, '0')}.jpg`,
}: RunShape): RunReportParts {
  return {
    title: 'Kinds of fractures on X-rays',
    before: evaluation(classNames, samples, before, 1, isScored, id),
    after: evaluation(classNames, samples, after, 2, isScored, id),
    training: {
      ...trainingCourse(steps),
      totalSteps: steps,
      samples: 989,
      trainableParameters: 65_077_248,
      config: { numTrainEpochs: 1, learningRate: 2e-4, outputDir: 'out/checkpoints', optim: 'adamw_8bit' },
    },
    provenance: {
      date: '2026-11-30T08:00:00.000Z',
      version: '0.1.0',
      node: 'v20.20.2 on linux x64',
      engine: 'cuda: NVIDIA H200, 139.8 GiB',
      baseModel: 'mistralai/Ministral-3-14B-Instruct-2512',
      baseRevision: '0123456789abcdef0123456789abcdef01234567',
      adapter: { r: 16, lora_alpha: 32, target_modules: ['q_proj', 'k_proj'] },
      dataset: { samples: 989, digest: '5f8a0c1e9b7d2a46' },
      command: 'node examples/bone-fracture.ts --epochs 1',
    },
  };
}

function evaluation(
  classNames: readonly string[],
  count: number,
  share: number,
  seed: number,
  isScored: boolean,
  id: (index: number) => string,
): EvaluationReport {
  const random = new MersenneTwister(seed);
  const draw = (): number => random.nextUint32() / 2 ** 32;
  const samples = Array.from({ length: count }, (_, i): EvaluatedSample => {
    const expected = i % classNames.length;
    const u = draw();
    const wrong = Math.floor(draw() ** 2 * classNames.length);
    const isInvalid = !isScored && u > 1 - (1 - share) * 0.15;
    const predicted = isInvalid ? null : u < share ? expected : wrong;
    const confidence = Math.min(0.999, (predicted === expected ? 0.55 : 0.4) + 0.45 * draw());
    const rest = Math.log((1 - confidence) / (classNames.length - 1));
    return {
      id: id(i),
      expected,
      predicted,
      answer:
        predicted === null
          ? 'The image shows an X-ray of a hand. I cannot tell which kind of fracture it is.'
          : classNames[predicted]!,
      ...(isScored && {
        scores: classNames.map((_, c) => (c === predicted ? Math.log(confidence) : rest)),
        confidence,
      }),
    };
  });
  const evaluator = new Evaluator({ classNames, generate: async () => [], answerMode: 'exact' });
  return evaluator.report(samples, { datasetLength: count, seconds: 40 }) as EvaluationReport;
}

export function trainingCourse(steps: number): { logs: LogEntry[]; evaluations: EvalEntry[] } {
  const random = new MersenneTwister(3);
  const noise = (): number => random.nextUint32() / 2 ** 32 - 0.5;
  const logs = Array.from({ length: steps }, (_, i): LogEntry => {
    const step = i + 1;
    return {
      step,
      epoch: step / steps,
      loss: 0.3 + 2 * Math.exp((-5 * step) / steps) + 0.25 * noise(),
      gradNorm: 0.8 + Math.exp(-step / 20) + 0.4 * noise(),
      learningRate: 2e-4 * Math.min(step / 25, 1 - step / (steps + 1)),
      tokensPerSecond: 21_000 + 3000 * noise(),
      seconds: 1.6,
      dataWaitShare: 0.02 + 0.01 * noise(),
      modelTflops: 410,
      modelFlopsUtilization: 0.52 + 0.02 * noise(),
      sharedTokenShare: 0.31,
      memoryBytes: 31 * 2 ** 30,
      peakMemoryBytes: (38 + Math.min(step, 9) / 10) * 2 ** 30,
    };
  });
  const evaluations = [0.25, 0.5, 0.75, 1].map((part): EvalEntry => {
    const step = Math.max(1, Math.round(part * steps));
    return {
      step,
      epoch: part,
      evalLoss: 0.4 + 1.2 * Math.exp(-4 * part),
      evalRuntime: 9,
      evalSamplesPerSecond: 15,
      metrics: { accuracy: 0.5 + 0.35 * part },
    };
  });
  return { logs, evaluations };
}
