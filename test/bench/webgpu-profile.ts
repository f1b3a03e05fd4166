/**
 * Where the time of a training step on the webgpu engine goes: each launch in a compute pass of its own between two
 * timestamps, summed up by kernel. Passes of their own take a little longer than launches that share one.
 *
 *   npx tsx test/bench/webgpu-profile.ts --workload FILE [--size 3B] [--layers TEXT,VISION] [--budget GIB]
 *     [--quantization nf4] [--micro 2] [--accumulation 4] [--plain] [--variants] [--software]
 *
 * MINISTRAL_TUNE_WEBGPU is the project that has `webgpu`. --plain: without subgroup matrices. --variants: by what a program of
 * a kernel defines, too. One step warms up, the next is measured.
 */
import { parseArgs } from 'node:util';
import type { VlmBatch } from '../../src/data/types.js';
import type { GpuBuffer, GpuComputePass, GpuDevice, GpuPipeline } from '../../src/engine/webgpu/gpu-types.js';
import { loadWebgpu, openDevice } from '../../src/engine/webgpu/load-webgpu.js';
import { MATRIX_FLAGS } from '../../src/engine/webgpu/matrix-unit.js';
import { WebgpuEngine } from '../../src/engine/webgpu/webgpu-engine.js';
import { applyLora } from '../../src/lora/apply-lora.js';
import { LAYER_PROJECTIONS } from '../../src/lora/lora-config.js';
import { countLabels } from '../../src/train/trainable-model.js';
import { accumulateGradients } from '../../src/train/window-step.js';
import { findSwiftShader } from '../engine/webgpu/open.js';
import { OPTIMIZER_SETTINGS } from './optimizer-settings.js';
import { randomModel, type Size } from './random-model.js';
import { workloadBatches } from './workload.js';

const { values } = parseArgs({
  options: {
    size: { type: 'string', default: '3B' },
    workload: { type: 'string' },
    layers: { type: 'string' },
    budget: { type: 'string', default: '40' },
    quantization: { type: 'string' },
    micro: { type: 'string', default: '2' },
    accumulation: { type: 'string', default: '4' },
    plain: { type: 'boolean', default: false },
    variants: { type: 'boolean', default: false },
    software: { type: 'boolean', default: false },
  },
});
if (!values.workload) throw new Error('--workload: expected a file, as for train.ts');

/** What the queries of a command buffer say, once it has run. */
interface Timed {
  readonly labels: readonly string[];
  readonly read: GpuBuffer;
}

/** The encoder of Dawn, as far as timestamps go. */
interface TimingEncoder {
  beginComputePass(descriptor: object): GpuComputePass;
  resolveQuerySet(set: object, first: number, count: number, target: GpuBuffer, offset: number): void;
  copyBufferToBuffer(source: GpuBuffer, from: number, target: GpuBuffer, to: number, size: number): void;
  finish(): object;
}

/** Launches of a command buffer at most: the queue sends as many. */
const MOST = 256;
const QUERY_RESOLVE = 0x200;
let isMeasuring = false;
const timed: Timed[] = [];

/** The device, whose encoders give each launch a pass between two timestamps while `isMeasuring`. */
function timingDevice(device: GpuDevice): GpuDevice {
  const names = new Map<GpuPipeline, string>();
  const queries = device as GpuDevice & { createQuerySet(descriptor: object): object };
  const createComputePipeline = (descriptor: object): GpuPipeline => {
    const pipeline = device.createComputePipeline(descriptor);
    names.set(pipeline, (descriptor as { label: string }).label);
    return pipeline;
  };
  const createCommandEncoder = () => {
    const encoder = device.createCommandEncoder();
    if (!isMeasuring) return encoder;
    const timing = encoder as unknown as TimingEncoder;
    const set = queries.createQuerySet({ type: 'timestamp', count: 2 * MOST });
    const labels: string[] = [];
    const beginComputePass = (): GpuComputePass => {
      let pipeline: GpuPipeline;
      let group: Parameters<GpuComputePass['setBindGroup']>;
      return {
        setPipeline(next) {
          pipeline = next;
        },
        // The offsets are written anew for each launch.
        setBindGroup(index, next, offsets) {
          group = [index, next, [...(offsets ?? [])]];
        },
        dispatchWorkgroups(x, y, z) {
          const first = 2 * labels.length;
          labels.push(names.get(pipeline)!);
          const timestampWrites = {
            querySet: set,
            beginningOfPassWriteIndex: first,
            endOfPassWriteIndex: first + 1,
          };
          const pass = timing.beginComputePass({ timestampWrites });
          pass.setPipeline(pipeline);
          pass.setBindGroup(...group);
          pass.dispatchWorkgroups(x, y, z);
          pass.end();
        },
        end() {},
      };
    };
    const finish = (): object => {
      if (labels.length > 0) {
        const size = 16 * labels.length;
        // Copy source and query resolve; copy target and map read.
        const resolved = device.createBuffer({ size, usage: 0x4 | QUERY_RESOLVE });
        const read = device.createBuffer({ size, usage: 0x8 | 0x1 });
        timing.resolveQuerySet(set, 0, 2 * labels.length, resolved, 0);
        timing.copyBufferToBuffer(resolved, 0, read, 0, size);
        timed.push({ labels, read });
      }
      return timing.finish();
    };
    return {
      beginComputePass,
      copyBufferToBuffer: encoder.copyBufferToBuffer.bind(encoder),
      clearBuffer: encoder.clearBuffer.bind(encoder),
      finish,
    };
  };
  const own: Partial<Record<PropertyKey, unknown>> = { createComputePipeline, createCommandEncoder };
  return new Proxy(device, {
    get(target, name) {
      if (own[name] !== undefined) return own[name];
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

const driver = findSwiftShader();
if (values.software && driver) process.env.VK_DRIVER_FILES ??= driver;
// Timestamps are in steps of 0.1 ms otherwise.
const flags = [...MATRIX_FLAGS, 'disable-dawn-features=timestamp_quantization'];
const open = await openDevice(await loadWebgpu(process.env.MINISTRAL_TUNE_WEBGPU, flags));
if (!open.device.features.has('timestamp-query')) throw new Error('the device has no timestamp-query');
const budget = { bytes: Number(values.budget) * 2 ** 30, source: 'for the profile' };
const engine = new WebgpuEngine({ ...open, device: timingDevice(open.device) }, budget);
if (!values.plain) await engine.useMatrices();
console.log(engine.description);
const [text, vision] = values.layers?.split(',').map(Number) ?? [];
const fewer = text ? { text, ...(vision && { vision }) } : undefined;
const model = await randomModel(engine, values.size as Size, fewer, values.quantization);
const adapter = applyLora(model, { r: 16, alpha: 32, dropout: 0.05, targetModules: [...LAYER_PROJECTIONS] });
const state = engine.createOptimizerState(adapter.parameters, 'adamw8bit');
const batches = workloadBatches(values.workload, Number(values.micro));

async function step(seed: number): Promise<number> {
  const window = Array.from({ length: Number(values.accumulation) }, () => batches.next().value as VlmBatch);
  const start = performance.now();
  const loss = await accumulateGradients(model, window, {
    labelCount: window.reduce((sum, batch) => sum + countLabels(batch), 0),
    dropoutSeeds: window.map((_, i) => 1000 * seed + i),
    gradientCheckpointing: 'auto',
    sharePrefix: true,
  });
  const norm = engine.optimizerStep(adapter.parameters, state, { kind: 'adamw8bit', ...OPTIMIZER_SETTINGS });
  engine.zeroGradients(adapter.parameters);
  await norm();
  await loss();
  return performance.now() - start;
}

await step(1);
const usual = await step(2);
isMeasuring = true;
const measured = await step(3);
isMeasuring = false;

const kernels = new Map<string, { count: number; nanoseconds: number }>();
for (const { labels, read } of timed) {
  await read.mapAsync(1);
  const times = new BigUint64Array(read.getMappedRange().slice(0));
  for (const [i, label] of labels.entries()) {
    const name = values.variants ? label : label.split(' ')[0]!;
    const sum = kernels.get(name) ?? { count: 0, nanoseconds: 0 };
    sum.count++;
    sum.nanoseconds += Number(times[2 * i + 1]! - times[2 * i]!);
    kernels.set(name, sum);
  }
  read.destroy();
}
const rows = [...kernels].sort(([, one], [, other]) => other.nanoseconds - one.nanoseconds);
const total = rows.reduce((sum, [, { nanoseconds }]) => sum + nanoseconds, 0);
console.log(
  `a step: ${usual.toFixed(0)} ms; with timestamps ${measured.toFixed(0)} ms, kernels ${(total / 1e6).toFixed(0)} ms`,
);
for (const [name, { count, nanoseconds }] of rows.slice(0, values.variants ? 40 : 25)) {
  const share = ((100 * nanoseconds) / total).toFixed(1).padStart(5);
  console.log(`${share} %  ${(nanoseconds / 1e6).toFixed(2).padStart(9)} ms  ${String(count).padStart(6)} ×  ${name}`);
}
await engine.dispose();
