import { describe, it } from 'vitest';
import { createCudaEngine } from '../../../src/engine/cuda/cuda-engine.js';
import { describeConformance } from '../conformance/conformance.js';

/** Why the engine cannot run here, or undefined. */
async function missing(): Promise<string | undefined> {
  try {
    await createCudaEngine().dispose();
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message.split('\n')[0]! : String(error);
  }
}

const reason = await missing();
if (reason) describe('engine cuda', () => it.skip(reason, () => {}));
else describeConformance('cuda', () => createCudaEngine());
