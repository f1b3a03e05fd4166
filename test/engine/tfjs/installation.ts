/** A TensorFlow.js installation that the environment variable MINISTRAL_TUNE_TFJS points to. */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import type { TfNamespace } from '../../../src/engine/tfjs/tf-namespace.js';
import { createTfjsEngine, type TfjsEngine } from '../../../src/engine/tfjs/tfjs-engine.js';

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
  async createEngine(backend: string): Promise<TfjsEngine> {
    await this.use(backend);
    return createTfjsEngine({ tf: this.tf });
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
