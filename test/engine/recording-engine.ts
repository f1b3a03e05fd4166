/** The `cuda` engine on a card that computes nothing and writes down what it is told to launch. */
import { CudaEngine, type CudaParts, type EngineDriver } from '../../src/engine/cuda/cuda-engine.js';
import type { CudaEngineOptions } from '../../src/engine/cuda/cuda-options.js';
import type { PhysicalMemory } from '../../src/engine/cuda/memory.js';
import { EngineError } from '../../src/errors.js';

export interface Launch {
  /** Of the kernel, or 'product'. */
  readonly name: string;
  readonly grid: readonly (number | undefined)[];
  /** By name; addresses of absent tensors are undefined. */
  readonly parameters: Readonly<Record<string, unknown>>;
}

const TOTAL_BYTES = 2 ** 34;

function nothing(): void {}

function driver(): EngineDriver {
  let next = 1;
  return {
    device: {
      ordinal: 0,
      name: 'recorder',
      capability: 90,
      multiprocessors: 132,
      totalBytes: TOTAL_BYTES,
      driverVersion: 13000,
      hasVirtualMemory: false,
    },
    stream: 1,
    launches: 0,
    copyStream: 2,
    allocatePinned: (bytes) => ({ bytes: new Uint8Array(bytes), free: nothing }),
    createEvent: () => next++,
    eventDone: () => true,
    elapsedMilliseconds: () => 1,
    ...{ upload: nothing, uploadRows: nothing, copy: nothing, copyFromPeer: nothing, copyRows: nothing },
    // What a card that computes nothing has: zeros.
    downloadAsync: ({ buffer, byteOffset, byteLength }) => {
      new Uint8Array(buffer, byteOffset, byteLength).fill(0);
    },
    ...{ fillBytes: nothing, clearRows: nothing, recordEvent: nothing, synchronizeEvent: nothing },
    ...{ destroyEvent: nothing, synchronize: nothing, waitEvent: nothing, dispose: nothing },
  };
}

function memory(): PhysicalMemory {
  let next = 2 ** 40;
  return {
    isVirtual: false,
    granularity: 2 << 20,
    reserve: () => 0,
    map: (_address, bytes) => {
      next += bytes;
      return { address: next - bytes, handle: next - bytes };
    },
    memoryInfo: () => ({ free: TOTAL_BYTES, total: TOTAL_BYTES }),
    ...{ move: nothing, release: nothing, dispose: nothing, synchronize: nothing },
  };
}

/**
 * @param changed what the driver does otherwise than nothing
 * @param prepared when the kernels are compiled
 * @param e4m3Scales of another library than the recorder's
 */
export function recordingEngine(
  options: CudaEngineOptions = {},
  changed: Partial<EngineDriver> = {},
  prepared?: Promise<void>,
  e4m3Scales?: CudaParts['e4m3Scales'],
): { engine: CudaEngine; launches: Launch[]; driver: EngineDriver } {
  const launches: Launch[] = [];
  let next = 1;
  const kernels: CudaParts['kernels'] = {
    multiprocessors: 132,
    hasWarpgroups: true,
    launch: ({ name }, grid, parameters) => {
      for (const [key, value] of Object.entries(parameters as object)) {
        const isComplete = [value].flat().every((each) => each === undefined || Number.isFinite(each));
        if (!isComplete) throw new EngineError(`${name}: ${key} is ${value}`);
      }
      launches.push({ name, grid, parameters: parameters as Launch['parameters'] });
    },
    dispose: nothing,
  };
  const library: CudaParts['library'] = {
    version: 1,
    descriptor: () => 1,
    e4m3Descriptor: () => 2,
    setScales: nothing,
    createLayout: () => next++,
    firstChoice: () => new BigUint64Array(8),
    check: () => 0,
    matmul: (_handles, _algorithm, _alpha, a, b, beta, d) => {
      launches.push({ name: 'product', grid: [], parameters: { a, b, d, beta } });
      return 0;
    },
    ...{ destroyLayout: nothing, dispose: nothing },
  };
  const used = { ...driver(), ...changed };
  const parts = { driver: used, memory: memory(), kernels, library, compilerVersion: 'none' };
  return {
    engine: new CudaEngine({ ...parts, ...(prepared && { prepared }), ...(e4m3Scales && { e4m3Scales }) }, options),
    launches,
    driver: used,
  };
}
