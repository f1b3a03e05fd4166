import { createCudaEngine } from '../../../src/engine/cuda/cuda-engine.js';
import { leftOut } from '../../where.js';
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
if (reason) leftOut('engine cuda', reason);
else describeConformance('cuda', () => createCudaEngine());
