/** Loads TensorFlow.js with its native binding from the user's own project; this package does not depend on it. */
import { createRequire } from 'node:module';
import { resolve } from 'node:path';
import * as util from 'node:util';
import { requirePath } from '../../config.js';
import { EngineError, reasonOf } from '../../errors.js';
import { describeGiven } from '../../messages/given-kind.js';
import { asTfNamespace, type TfNamespace } from './tf-namespace.js';

/** `tfjs` is whichever of the two is installed, the one for GPUs first. */
export type TfjsPackage = 'tfjs' | 'tfjs-node' | 'tfjs-node-gpu';

const PACKAGES = {
  'tfjs-node-gpu':
    'for an NVIDIA card under Linux or Windows on x64, with the libraries of CUDA 11.2 and cuDNN 8.1: those of CUDA 12 and 13 do not serve',
  'tfjs-node': 'for the CPU',
} as const;
const NODE_LIMIT = 'Node 22 is the newest that they run on.';

const installing = (name: keyof typeof PACKAGES): string => `npm install @tensorflow/${name} (${PACKAGES[name]})`;

/**
 * The namespace for `createEngine('tfjs', { tf: await loadTfjs('tfjs-node-gpu') })`.
 * @param from folder of the project whose node_modules holds the package. Default: the working directory
 * @throws EngineError if the package is not installed, if its native part is missing, or if Node is too new for it
 * @example
 * ```ts compile
 * const engine = await createEngine('tfjs', { tf: await loadTfjs('tfjs-node') }); // npm install @tensorflow/tfjs-node
 * ```
 */
export async function loadTfjs(choice: TfjsPackage = 'tfjs', from: string = process.cwd()): Promise<TfNamespace> {
  if (choice !== 'tfjs' && !Object.hasOwn(PACKAGES, choice)) {
    throw new EngineError(`there is no TensorFlow.js package ${describeGiven(choice)} to load`, {
      hint: 'choose one of: tfjs, tfjs-node, tfjs-node-gpu; any other namespace is passed to createEngine as `tf`',
    });
  }
  requirePath(from, 'loadTfjs: `from`');
  // Not `import`: bundlers leave this alone, and it looks in the user's project and not beside this file.
  const load = createRequire(resolve(from, 'index.js'));
  const wanted = choice === 'tfjs' ? (Object.keys(PACKAGES) as (keyof typeof PACKAGES)[]) : [choice];
  const found = wanted.find((name) => isInstalled(load, name));
  if (!found) {
    const packages = wanted.map((one) => `@tensorflow/${one}`).join(' or ');
    throw new EngineError(`${packages} is not installed for ${from}`, {
      hint: `${wanted.map(installing).join(', or ')}. ${NODE_LIMIT}`,
      details: { from, packages: wanted },
    });
  }
  if (typeof (util as { isNullOrUndefined?: unknown }).isNullOrUndefined !== 'function') {
    throw new EngineError(
      `@tensorflow/${found} does not run on Node ${process.versions.node}: it calls util.isNullOrUndefined, which Node 23 removed`,
      { hint: 'use Node 22 or 20 with engine tfjs, or engine cuda or cpu with this one' },
    );
  }
  try {
    return asTfNamespace(load(`@tensorflow/${found}`) as object);
  } catch (cause) {
    if (cause instanceof EngineError) throw cause;
    throw new EngineError(`@tensorflow/${found} is installed but cannot be loaded: ${reasonOf(cause)}`, {
      hint:
        'its install script downloads or builds the native part (tfjs_binding.node, libtensorflow); if it was not run or had ' +
        `no network: npm rebuild @tensorflow/${found} --build-addon-from-source. It is ${PACKAGES[found]}. ${NODE_LIMIT}`,
      cause,
    });
  }
}

function isInstalled(load: NodeJS.Require, name: string): boolean {
  try {
    load.resolve(`@tensorflow/${name}`);
    return true;
  } catch {
    return false;
  }
}
