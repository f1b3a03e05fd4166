/** What of the cuda engine's needs this machine has, found without creating a context: nothing is taken on a card. */
import { EngineError } from '../../errors.js';
import { foreignCalls } from './foreign-calls.js';
import { foreignFunctions, type LibraryName, libraryNeeds, loadLibrary } from './library-search.js';

/** A library of NVIDIA's, found or not. */
export interface FoundLibrary {
  readonly name: LibraryName;
  /** File names that are looked for, in order of preference. */
  readonly fileNames: readonly string[];
  /** Where it was found; undefined if it was not. */
  readonly path: string | undefined;
  /** How to get it. */
  readonly cure: string;
  /** Folders that were looked through, beside the loader's own path; empty where it was found. */
  readonly folders: readonly string[];
}

/** A card that the driver shows. */
export interface FoundCard {
  readonly ordinal: number;
  readonly name: string;
  readonly totalBytes: number;
  /** Compute capability as one number: 90 is 9.0. */
  readonly capability: number;
}

export interface FoundMachine {
  readonly libraries: readonly FoundLibrary[];
  /** Newest CUDA version that the driver supports, e.g. 13000; undefined without a driver. */
  readonly driverVersion: number | undefined;
  readonly cards: readonly FoundCard[];
  /** Why there are no cards though there is a driver; undefined otherwise. */
  readonly fault: string | undefined;
}

const MAJOR = 75;
const MINOR = 76;
const NAME_BYTES = 256;

/** @throws EngineError of `foreignCalls`: without it nothing can be looked for */
export function inspectMachine(): FoundMachine {
  foreignCalls();
  const libraries = (['driver', 'nvml', 'nvrtc', 'cublasLt'] as const).map(findLibrary);
  if (libraries[0]!.path === undefined) return { libraries, driverVersion: undefined, cards: [], fault: undefined };
  try {
    const found = readCards();
    return { libraries: found.cards.length > 1 ? [...libraries, findLibrary('nccl')] : libraries, ...found };
  } catch (error) {
    return {
      libraries,
      driverVersion: undefined,
      cards: [],
      fault: error instanceof Error ? error.message : String(error),
    };
  }
}

function findLibrary(name: LibraryName): FoundLibrary {
  const { names: fileNames, cure } = libraryNeeds(name);
  try {
    return { name, fileNames, cure, path: loadLibrary(name).path, folders: [] };
  } catch (error) {
    const folders = error instanceof EngineError ? (error.details.folders as readonly string[]) : [];
    return { name, fileNames, cure, path: undefined, folders };
  }
}

function readCards(): Omit<FoundMachine, 'libraries'> {
  const call = foreignFunctions(loadLibrary('driver').library);
  const integer = (name: string, types: readonly string[], ...values: readonly unknown[]): number => {
    const out = new Int32Array(1);
    const status = call(name, ['void*', ...types])(out, ...values);
    if (status !== 0) throw new EngineError(`${name} gave ${status}`);
    return out[0]!;
  };
  const driverVersion = integer('cuDriverGetVersion', []);
  const status = call('cuInit', ['uint'])(0);
  // CUDA_ERROR_NO_DEVICE
  if (status === 100) return { driverVersion, cards: [], fault: 'the driver shows no card' };
  if (status !== 0) return { driverVersion, cards: [], fault: `the driver does not start: cuInit gave ${status}` };
  const count = integer('cuDeviceGetCount', []);
  const cards = Array.from({ length: count }, (_, ordinal): FoundCard => {
    const device = integer('cuDeviceGet', ['int'], ordinal);
    const name = Buffer.alloc(NAME_BYTES);
    const total = new BigUint64Array(1);
    call('cuDeviceGetName', ['void*', 'int', 'int'])(name, NAME_BYTES, device);
    call('cuDeviceTotalMem_v2', ['void*', 'int'])(total, device);
    const attribute = (which: number): number => integer('cuDeviceGetAttribute', ['int', 'int'], which, device);
    return {
      ordinal,
      name: name.toString('utf8').split('\0')[0]!,
      totalBytes: Number(total[0]),
      capability: 10 * attribute(MAJOR) + attribute(MINOR),
    };
  });
  return { driverVersion, cards, fault: cards.length === 0 ? 'the driver shows no card' : undefined };
}
