/** What a machine has and lacks for this package, found without network and without taking memory on a card. */

import { access, constants, stat, statfs } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { availableParallelism, homedir, totalmem } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { rankPlace } from '../distributed/rank-place.js';
import { kernelCacheFolder } from '../engine/cuda/cache-file.js';
import type { FoundLibrary, FoundMachine } from '../engine/cuda/inspect-machine.js';
import type { GpuAdapter } from '../engine/webgpu/gpu-types.js';
import { adapterIsSoftware, findAdapter, loadWebgpu } from '../engine/webgpu/load-webgpu.js';
import { describeUnit, findUnit, MATRIX_FLAGS } from '../engine/webgpu/matrix-unit.js';
import { memorySize } from '../engine/webgpu/memory-size.js';
import { reasonOf, TuneError } from '../errors.js';
import { hubCacheFolder } from '../hub/environment.js';
import { findHubToken, TOKEN_HINT } from '../hub/token.js';
import { CREDENTIALS_HINT, findKaggleCredentials } from '../kaggle/credentials.js';
import { kaggleCacheFolder } from '../kaggle/dataset-cache.js';
import { formatBytes } from '../messages/format-bytes.js';
import { oneLine } from '../messages/one-line.js';

/** One thing that was looked at. */
export interface Check {
  readonly name: string;
  /** `missing` keeps something from working, `optional` only makes it slower or private names unreachable. */
  readonly state: 'ok' | 'optional' | 'missing';
  /** What was found. */
  readonly found: string;
  /** What to do, where something is to be done. */
  readonly cure?: string | undefined;
}

interface DoctorOptions {
  readonly env?: Readonly<Record<string, string | undefined>> | undefined;
  readonly home?: string | undefined;
  /** Default: what the engine finds. */
  readonly machine?: (() => Promise<FoundMachine>) | undefined;
  /** Default: what WebGPU finds, where its package is installed. */
  readonly adapter?: (() => Promise<GpuAdapter>) | undefined;
}

const LEAST_NODE = [20, 10] as const;
/** bfloat16 products. */
const LEAST_CAPABILITY = 80;
const E4M3_CAPABILITY = 89;
/** The weights of 14B in 16 bits, and room for checkpoints. */
const WANTED_DISK = 40 * 2 ** 30;

export async function doctorChecks(options: DoctorOptions = {}): Promise<Check[]> {
  const { env = process.env, home = homeFolder(), machine = findMachine, adapter = findGpu } = options;
  return [
    nodeCheck(process.versions.node),
    { name: 'host', state: 'ok', found: `${availableParallelism()} cores, ${formatBytes(totalmem())} of memory` },
    ...(await cardChecks(machine)),
    ...(await Promise.all([
      diskCheck('Hub cache', () => hubCacheFolder(undefined, env)),
      diskCheck('Kaggle cache', () => kaggleCacheFolder(undefined, env)),
      diskCheck('kernel cache', () => kernelCacheFolder(env as NodeJS.ProcessEnv)),
      diskCheck('working folder', () => process.cwd()),
      tokenCheck('Hub token', TOKEN_HINT, async () => (await findHubToken(undefined, env))?.source),
      tokenCheck('Kaggle token', CREDENTIALS_HINT, async () => {
        return (await findKaggleCredentials(undefined, { env, home, onWarning: () => undefined }))?.source;
      }),
    ])),
    ...peerChecks(),
    await webgpuCheck(adapter),
    ...launcherChecks(env),
  ];
}

/** What a launcher's variables say, where there are any. */
function launcherChecks(env: Readonly<Record<string, string | undefined>>): Check[] {
  const name = 'launcher';
  try {
    const place = rankPlace(env);
    if (!place) return [];
    const { launcher, rank, worldSize, localRank, masterAddr, masterPort } = place;
    const where = worldSize === 1 ? '' : `, which meet at ${oneLine(masterAddr)}:${masterPort}`;
    return [{ name, state: 'ok', found: `${launcher}: rank ${rank} of ${worldSize}${where}; local rank ${localRank}` }];
  } catch (error) {
    if (!(error instanceof TuneError)) throw error;
    return [{ name, state: 'missing', found: error.summary, cure: error.hint }];
  }
}

/** A user without a home, as in some containers, keeps no tokens there. */
function homeFolder(): string {
  try {
    return homedir();
  } catch {
    return '/';
  }
}

/** Loaded when it is asked for: the package that calls libraries may have no binary for this system. */
async function findMachine(): Promise<FoundMachine> {
  const { inspectMachine } = await import('../engine/cuda/inspect-machine.js');
  return inspectMachine();
}

function nodeCheck(version: string): Check {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const isEnough = major > LEAST_NODE[0] || (major === LEAST_NODE[0] && minor >= LEAST_NODE[1]);
  const found = `${version}, ${process.platform} ${process.arch}`;
  if (isEnough) return { name: 'Node', state: 'ok', found };
  return { name: 'Node', state: 'missing', found, cure: `install Node ${LEAST_NODE.join('.')} or newer (nodejs.org)` };
}

async function cardChecks(machine: () => Promise<FoundMachine>): Promise<Check[]> {
  if (process.platform !== 'linux' && machine === findMachine) {
    return [
      {
        name: 'cuda engine',
        state: 'optional',
        found: `runs on Linux, not on ${process.platform}`,
        cure: 'use the cpu engine here',
      },
    ];
  }
  let found: FoundMachine;
  try {
    found = await machine();
  } catch (error) {
    const cure = 'reinstall with `npm install`, for this system and without --omit=optional';
    return [
      { name: 'cuda engine', state: 'optional', found: `cannot be looked for: ${oneLine(reasonOf(error))}`, cure },
    ];
  }
  const { libraries, driverVersion, cards, fault } = found;
  const version =
    driverVersion === undefined
      ? ''
      : `, for CUDA ${Math.floor(driverVersion / 1000)}.${Math.floor((driverVersion % 1000) / 10)}`;
  const first = libraries.find(({ path }) => path === undefined);
  const checks = libraries.map((library) => {
    // The folders are the same for all.
    return libraryCheck(
      library === first ? library : { ...library, folders: [] },
      library.name === 'driver' ? version : '',
    );
  });
  if (cards.length > 0) return [...checks, ...cards.map(cardCheck)];
  if (libraries[0]?.path === undefined) return checks;
  const cure =
    'check nvidia-smi and CUDA_VISIBLE_DEVICES; in a container, start it with GPU access (docker run --gpus all)';
  return [...checks, { name: 'card', state: 'optional', found: oneLine(fault ?? 'none'), cure }];
}

const LIBRARY_TITLES = {
  driver: 'NVIDIA driver',
  nvml: 'NVML',
  nvrtc: 'NVRTC',
  cublasLt: 'cuBLASLt',
  nccl: 'NCCL, to train on several cards',
} as const;

function libraryCheck({ name, fileNames, path, cure, folders }: FoundLibrary, version: string): Check {
  const title = LIBRARY_TITLES[name];
  if (path !== undefined) return { name: title, state: 'ok', found: `${oneLine(path)}${version}` };
  const places = folders.length > 0 ? `; looked in the loader's path and ${folders.map(oneLine).join(', ')}` : '';
  return { name: title, state: 'optional', found: `${fileNames.join(' or ')} not found${places}`, cure };
}

function cardCheck({ ordinal, name, totalBytes, capability }: FoundMachine['cards'][number]): Check {
  const shown = `${Math.floor(capability / 10)}.${capability % 10}`;
  const found = `${oneLine(name)}, ${formatBytes(totalBytes)}, compute capability ${shown}`;
  if (capability < LEAST_CAPABILITY) {
    const cure = 'the cuda engine computes in bfloat16, which needs compute capability 8.0 (Ampere) or newer';
    return { name: `card ${ordinal}`, state: 'optional', found, cure };
  }
  const e4m3 = capability >= E4M3_CAPABILITY ? 'bf16 and e4m3 products' : 'bf16 products; e4m3 ones need 8.9';
  return { name: `card ${ordinal}`, state: 'ok', found: `${found}: ${e4m3}` };
}

async function diskCheck(name: string, folderOf: () => string): Promise<Check> {
  let folder: string;
  try {
    folder = folderOf();
  } catch (error) {
    const found = error instanceof TuneError ? error.summary : oneLine(reasonOf(error));
    const cure = error instanceof TuneError ? error.hint : 'set HOME to a folder of this user';
    return { name, state: 'missing', found, cure };
  }
  // It may not be there yet: then the disk of the nearest folder above counts.
  for (let at = resolve(folder); ; at = dirname(at)) {
    const disk = await statfs(at).catch(() => undefined);
    if (!disk) {
      if (at === dirname(at)) return { name, state: 'optional', found: `${oneLine(folder)}: its disk cannot be asked` };
      continue;
    }
    const free = disk.bavail * disk.bsize;
    const fault = await writeFault(at);
    if (fault !== undefined) {
      const cure = `${UNWRITABLE[name] ?? 'work in another folder'}; what lies there already can be read`;
      return { name, state: 'optional', found: `${oneLine(folder)}: ${oneLine(at)} ${fault}`, cure };
    }
    const found = `${oneLine(folder)}: ${formatBytes(free)} free`;
    if (free >= WANTED_DISK || name === 'kernel cache') return { name, state: 'ok', found };
    const cure = `a 14B model in 16 bits takes 28 GB, a checkpoint under 1 GB; ${MOVES[name] ?? 'free some of it'}`;
    return { name, state: 'optional', found, cure };
  }
}

/** Why nothing can be written into the folder; undefined if something can. */
async function writeFault(folder: string): Promise<string | undefined> {
  if (!(await stat(folder)).isDirectory()) return 'is not a folder';
  return access(folder, constants.W_OK | constants.X_OK).then(
    () => undefined,
    () => 'cannot be written to',
  );
}

const UNWRITABLE: Readonly<Record<string, string>> = {
  'Hub cache': 'downloads need another one: set HF_HUB_CACHE',
  'Kaggle cache': 'downloads need another one: set KAGGLEHUB_CACHE',
  'kernel cache': 'each start compiles the kernels anew: set MINISTRAL_TUNE_CACHE to a folder that can be written to',
  'working folder': 'checkpoints need another one: set outputDir, or start elsewhere',
};

const MOVES: Readonly<Record<string, string>> = {
  'Hub cache': 'HF_HUB_CACHE moves it to a larger disk',
  'Kaggle cache': 'KAGGLEHUB_CACHE moves it to a larger disk',
};

/** Where a token was found, never what it is. */
async function tokenCheck(name: string, cure: string, find: () => Promise<string | undefined>): Promise<Check> {
  try {
    const source = await find();
    if (source !== undefined) return { name, state: 'ok', found: `found: ${oneLine(source)}` };
    return { name, state: 'optional', found: 'none: public names need none', cure };
  } catch (error) {
    if (error instanceof TuneError) return { name, state: 'missing', found: error.summary, cure: error.hint ?? cure };
    // The text of an error that nobody foresaw may quote what was read.
    const code = error instanceof Error ? ((error as NodeJS.ErrnoException).code ?? error.name) : 'unknown fault';
    return { name, state: 'optional', found: `cannot be looked for: ${code}; is there a HOME?`, cure };
  }
}

async function findGpu(): Promise<GpuAdapter> {
  return findAdapter(await loadWebgpu(process.cwd(), MATRIX_FLAGS));
}

/** Whether the webgpu engine can run: its package, and a GPU that it finds. Opens no device. */
async function webgpuCheck(find: () => Promise<GpuAdapter>): Promise<Check> {
  const name = 'webgpu engine';
  try {
    const adapter = await find();
    const { info } = adapter;
    const found = oneLine([info?.description, info?.device, info?.architecture].filter(Boolean).join(', ') || 'a GPU');
    if (!adapterIsSoftware(adapter)) {
      const { bytes, source } = await memorySize({ info: info ?? {}, isSoftware: false });
      const unit = describeUnit(findUnit(adapter, info ?? {}));
      return { name, state: 'ok', found: `${found}; ${unit}; up to ${formatBytes(bytes)} (${source})` };
    }
    const cure = 'only the processor computes there: check the Vulkan driver of the GPU (vulkaninfo --summary)';
    return { name, state: 'optional', found: `${found}: no GPU`, cure };
  } catch (error) {
    if (!(error instanceof TuneError)) throw error;
    return { name, state: 'optional', found: oneLine(error.summary), cure: error.hint };
  }
}

const PEERS: Readonly<Record<string, string>> = {
  '@tensorflow/tfjs-node-gpu': 'only for the tfjs engine on a card: npm install @tensorflow/tfjs-node-gpu',
  '@tensorflow/tfjs-node': 'only for the tfjs engine: npm install @tensorflow/tfjs-node',
};

function peerChecks(): Check[] {
  const load = createRequire(join(process.cwd(), 'index.js'));
  return Object.entries(PEERS).map(([name, cure]): Check => {
    try {
      load.resolve(name);
      return { name, state: 'ok', found: 'installed' };
    } catch {
      return { name, state: 'optional', found: 'not installed', cure };
    }
  });
}
