/** `createEngine('webgpu')`: options, the device, and how much of its memory. */
import { z } from 'zod';
import { type Given, lazySchema, type Mismatch, type NoMismatch, parseOptions } from '../../config.js';
import { ConfigError, EngineError } from '../../errors.js';
import { describeGiven, isPromise } from '../../messages/given-kind.js';
import { memoryBudgetSchema } from '../memory-budget.js';
import type { GpuDevice } from './gpu-types.js';
import { loadWebgpu, type OpenDevice, openDevice } from './load-webgpu.js';
import { MATRIX_FLAGS } from './matrix-unit.js';
import { memorySize } from './memory-size.js';
import { WebgpuEngine } from './webgpu-engine.js';

/** Options of the `webgpu` engine: `createEngine('webgpu', { webgpu: … })`. */
export interface WebgpuEngineOptions {
  /**
   * A device of your own, given as `createEngine('webgpu', { device })`. It stays yours: `dispose` frees what the engine
   * made and leaves the device open. Keep a reference to the GPU object that it came from as long as it is used. Default:
   * the engine opens the fastest GPU, with the `webgpu` package of your project.
   */
  device?: GpuDevice;
  /**
   * Most bytes that weights and tensors may take on the GPU. Default: 92 % of what an NVIDIA card has (nvidia-smi) or an
   * AMD card under Linux; two thirds of the system's memory on a Mac, half of it on other integrated GPUs; else 6 GiB, a
   * guess.
   */
  memoryBudget?: number;
  /**
   * An optimizer step runs in packed passes of up to about so many tokens, fewer where memory requires. Larger passes use
   * a GPU better and take more memory. Default: 4096.
   */
  tokensPerPass?: number;
  /**
   * Also take an adapter that computes on the processor, such as SwiftShader or llvmpipe: slower than the cpu engine, for
   * tests. Default: false.
   */
  software?: boolean;
  /**
   * Products run on subgroup matrices (tensor cores and their like) where the device has them: in f16, float32 values as two
   * halves, with sums and accuracy of float32. They are an experiment of Dawn, so that a small product is compared with a
   * plain one first; the engine's description says which it is. Default: true.
   */
  subgroupMatrices?: boolean;
}

const optionsSchema = lazySchema(() =>
  z.strictObject({
    memoryBudget: memoryBudgetSchema().optional(),
    tokensPerPass: z.int().nonnegative().optional(),
    software: z.boolean().optional(),
    subgroupMatrices: z.boolean().optional(),
  } satisfies Record<Exclude<keyof WebgpuEngineOptions, 'device'>, z.ZodType>),
);
type _Input = NoMismatch<
  Mismatch<Given<z.input<ReturnType<typeof optionsSchema>>>, Given<Omit<WebgpuEngineOptions, 'device'>>>
>;

/** @throws ConfigError for options that are wrong. @param what name of the public function, for messages */
export function parseWebgpuOptions(options: unknown, what: string): z.output<ReturnType<typeof optionsSchema>> {
  return parseOptions(optionsSchema(), options, what);
}

/** How a device is opened; a test gives a stand-in. */
export type Opener = (subgroupMatrices: boolean) => Promise<OpenDevice>;

/**
 * @throws ConfigError for options that are wrong
 * @throws EngineError if the package is not installed, or finds no GPU, or only one that computes on the processor
 */
export async function createWebgpuEngine(
  options: WebgpuEngineOptions = {},
  open: Opener = async (matrices) => openDevice(await loadWebgpu(process.cwd(), matrices ? MATRIX_FLAGS : [])),
): Promise<WebgpuEngine> {
  const { device, ...others } = options;
  const given = parseWebgpuOptions(others, 'webgpu engine');
  const { memoryBudget, tokensPerPass, software = false, subgroupMatrices = true } = given;
  if (device !== undefined) requireDevice(device);
  const opened = device ? ownDevice(device) : await open(subgroupMatrices);
  try {
    if (opened.isSoftware && !software && !device) throw softwareOnly(opened);
    const size =
      memoryBudget === undefined ? await memorySize(opened) : { bytes: memoryBudget, source: 'as memoryBudget says' };
    const engine = new WebgpuEngine(opened, size, tokensPerPass);
    if (!subgroupMatrices || (await engine.useMatrices())) return engine;
    if (device) engine.store.queue.requireSound();
    // The experiment cost the device: a new one goes on without.
    await engine.dispose();
    const plain = await createWebgpuEngine({ ...options, subgroupMatrices: false }, open);
    plain.products = engine.products;
    return plain;
  } catch (error) {
    if (!device) opened.device.destroy();
    throw error;
  }
}

/** @throws ConfigError for what is no `GPUDevice` */
export function requireDevice(device: unknown): void {
  const known = device as Partial<GpuDevice> | null;
  if (typeof known === 'object' && typeof known?.createComputePipeline === 'function' && known.queue) return;
  const cure =
    typeof device === 'number'
      ? "The number of an NVIDIA card goes to the cuda engine: createEngine('cuda', { cuda: { device } })."
      : isPromise(device)
        ? 'Await it.'
        : 'Give what `await adapter.requestDevice()` of the webgpu package gives, or leave it out.';
  throw new ConfigError(`createEngine: \`device\`: expected a GPUDevice, got ${describeGiven(device)}`, { hint: cure });
}

function ownDevice(device: GpuDevice): OpenDevice {
  return { device, info: device.adapterInfo ?? {}, isSoftware: false, isBorrowed: true };
}

function softwareOnly({ info }: OpenDevice): EngineError {
  const name = info.description || info.architecture || 'an adapter';
  return new EngineError(`WebGPU finds no GPU here, only ${name}, which computes on the processor`, {
    hint:
      "createEngine('cpu') is faster than that; webgpu: { software: true } takes it for tests. For a GPU, check its Vulkan " +
      'driver (vulkaninfo --summary).',
  });
}
