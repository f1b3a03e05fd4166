/** A TensorFlow.js installation that the environment variable MINISTRAL_TUNE_TFJS points to. */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { TfNamespace } from '../../../src/engine/tfjs/tf-namespace.js';
import { createTfjsEngine, type TfjsEngine, type TfjsEngineOptions } from '../../../src/engine/tfjs/tfjs-engine.js';

type Namespace = TfNamespace & { setBackend(name: string): Promise<boolean> };

export class TfjsInstallation {
  readonly tf: Namespace;
  /** Names of the backends that can be used: tensorflow (tfjs-node), wasm, cpu. */
  readonly backends: readonly string[];

  constructor(tf: Namespace, backends: readonly string[]) {
    this.tf = tf;
    this.backends = backends;
  }

  /** An engine on a backend. The backend is TensorFlow.js's global choice: call `use` before running it again. */
  async createEngine(backend: string, options: Omit<TfjsEngineOptions, 'tf'> = {}): Promise<TfjsEngine> {
    await this.use(backend);
    return createTfjsEngine({ ...options, tf: this.tf });
  }

  async use(backend: string): Promise<void> {
    if (!(await this.tf.setBackend(backend))) throw new Error(`TensorFlow.js cannot start its backend ${backend}`);
  }
}

/** The installation, or the reason why there is none. */
export async function findTfjs(folder = process.env.MINISTRAL_TUNE_TFJS): Promise<TfjsInstallation | string> {
  if (!folder) return 'MINISTRAL_TUNE_TFJS does not name a folder with @tensorflow/tfjs-node or @tensorflow/tfjs';
  const load = createRequire(join(resolve(folder), 'index.js'));
  const has = (name: string): boolean => existsSync(join(resolve(folder), 'node_modules', '@tensorflow', name));
  const main = ['tfjs-node-gpu', 'tfjs-node', 'tfjs'].find(has);
  if (!main) return `${folder}/node_modules has neither @tensorflow/tfjs-node nor @tensorflow/tfjs`;
  const tf = load(`@tensorflow/${main}`) as Namespace;
  const backends = main === 'tfjs' ? [] : ['tensorflow'];
  if (has('tfjs-backend-wasm')) {
    load('@tensorflow/tfjs-backend-wasm');
    backends.push('wasm');
  }
  return new TfjsInstallation(tf, [...backends, 'cpu']);
}

/** What is used of the backend `webgpu` beyond its interface. */
interface WebgpuBackend {
  readonly device: {
    addEventListener(type: 'uncapturederror', listener: (event: { error: Error }) => void): void;
    readonly lost: Promise<{ readonly message: string }>;
  };
  readonly queue: { onSubmittedWorkDone(): Promise<unknown> };
  readonly bufferManager: {
    acquireBuffer(bytes: number, ...rest: unknown[]): unknown;
    readonly freeBuffers: Map<string, { readonly size: number; destroy(): void }[]>;
    numFreeBuffers: number;
    numBytesAllocated: number;
  };
}

/**
 * An engine on the backend `webgpu`, which is made for browsers, on the Dawn of the package `webgpu` in the same folder.
 * Its buffers are kept by exact size and never given back, so those that are free go when `bytes` are allocated; it checks
 * no call, so an error of the device ends the program.
 * It reads nothing synchronously outside of a browser: await `readGradients` before `optimizerStep`.
 * @throws Error if the packages are not there, or there is no GPU
 */
export async function openTfjsWebgpu(folder: string, bytes: number): Promise<TfjsEngine> {
  const load = createRequire(join(resolve(folder), 'index.js'));
  const { create, globals } = (await import(pathToFileURL(load.resolve('webgpu')).href)) as {
    create(flags: string[]): object;
    globals: object;
  };
  Object.assign(globalThis, globals);
  const navigator = { gpu: create([]), userAgent: 'node' };
  Object.defineProperty(globalThis, 'navigator', { value: navigator, configurable: true });
  const tf = load('@tensorflow/tfjs') as Namespace;
  load('@tensorflow/tfjs-backend-webgpu');
  const engine = await new TfjsInstallation(tf, ['webgpu']).createEngine('webgpu', { memoryBudget: bytes });
  const { device, queue, bufferManager } = tf.backend!() as WebgpuBackend;
  const end = ({ message }: { readonly message: string }): never => {
    console.error(`tfjs, backend webgpu: ${message}`);
    process.exit(1);
  };
  device.addEventListener('uncapturederror', ({ error }) => end(error));
  void device.lost.then(end);
  const acquire = bufferManager.acquireBuffer.bind(bufferManager);
  bufferManager.acquireBuffer = (size, ...rest) => {
    if (bufferManager.numBytesAllocated + size > bytes) {
      for (const buffers of bufferManager.freeBuffers.values()) {
        for (const buffer of buffers.splice(0)) {
          bufferManager.numBytesAllocated -= buffer.size;
          bufferManager.numFreeBuffers--;
          buffer.destroy();
        }
      }
      // Memory is given back while somebody waits for the queue.
      void queue.onSubmittedWorkDone();
    }
    return acquire(size, ...rest);
  };
  return engine;
}
