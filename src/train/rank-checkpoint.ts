/** Checkpoints of several ranks: the first one finds and reads them; the others read the same, or get it from there. */
import { createHash } from 'node:crypto';
import { eventLoopTurn } from '../async/event-loop.js';
import { CheckpointError } from '../errors.js';
import type { ReadCheckpoint } from './checkpoint.js';
import type { TrainerState, TrainingTensors } from './checkpoint-state.js';
import type { RankExchange } from './rank-exchange.js';

/** Bytes that are digested between two turns of the event loop. */
const STRETCH = 1 << 24;

/** What rank 0 says of what it has read. */
interface Told<Place> {
  readonly place: Place;
  readonly path: string;
  readonly damaged: readonly string[];
  readonly warnings: readonly string[];
  readonly digest: string;
  /** Arrays in order: the parameters, and those of the optimizer. */
  readonly arrays: readonly { readonly name: string; readonly isFloat: boolean; readonly length: number }[];
}

/** As a manager opens it, with its own notes on where the run's checkpoints are. */
interface Opened extends ReadCheckpoint {
  readonly damaged: readonly string[];
  readonly latest: { readonly path: string; readonly step: number };
  readonly kept: readonly { readonly path: string; readonly step: number }[];
}

/**
 * The checkpoint that rank 0 opens, on all ranks.
 * @param open finds and reads it on rank 0
 * @param read reads one of another rank's own disk: where that is not the same content, or none, it comes from rank 0
 */
export async function shareCheckpoint(
  ranks: RankExchange,
  open: () => Promise<Opened>,
  read: (path: string) => Promise<ReadCheckpoint>,
): Promise<Opened> {
  let opened: Opened | undefined;
  const told = await ranks.fromMain(
    'checkpoint to go on from',
    async (): Promise<Told<Pick<Opened, 'latest' | 'kept'>>> => {
      opened = await open();
      const { tensors, latest, kept, damaged, warnings } = opened;
      const arrays = arraysOf(tensors).map(({ name, data }) => {
        return { name, isFloat: data instanceof Float32Array, length: data.length };
      });
      return { place: { latest, kept }, path: latest.path, damaged, warnings, arrays, digest: await digestOf(tensors) };
    },
  );
  const text = opened && new TextEncoder().encode(JSON.stringify(opened.state));
  const state = JSON.parse(new TextDecoder().decode(await ranks.bytesFromMain('state', text))) as TrainerState;
  let tensors = opened?.tensors ?? (await readSame(told, read));
  const has = await ranks.gather('checkpoint read', tensors !== undefined);
  if (!has.every(Boolean)) {
    const bytes = await ranks.bytesFromMain('content of the checkpoint', opened && joined(opened.tensors));
    tensors ??= split(bytes, told);
  }
  return { state, tensors: tensors!, damaged: told.damaged, warnings: told.warnings, ...told.place };
}

/** The parameters of the best step, as rank 0 has them on its disk or in memory. */
export async function shareBest<T extends { readonly parameters: Float32Array; readonly fault: string | undefined }>(
  ranks: RankExchange,
  read: () => Promise<T>,
): Promise<{ parameters: Float32Array; fault: string | undefined }> {
  let own: T | undefined;
  const { fault } = await ranks.fromMain('best step', async () => {
    own = await read();
    return { fault: own.fault };
  });
  const bytes = await ranks.bytesFromMain('parameters of the best step', own && bytesOf(own.parameters));
  return { parameters: own?.parameters ?? new Float32Array(new Uint8Array(bytes).buffer), fault };
}

/** SHA-256 over names and values. */
export async function digestOf(tensors: TrainingTensors): Promise<string> {
  const hash = createHash('sha256');
  for (const { name, data } of arraysOf(tensors)) {
    hash.update(`${name} ${data.length}\n`);
    const bytes = bytesOf(data);
    for (let at = 0; at < bytes.length; at += STRETCH) {
      hash.update(bytes.subarray(at, at + STRETCH));
      if (at + STRETCH < bytes.length) await eventLoopTurn();
    }
  }
  return hash.digest('hex');
}

async function readSame(
  { path, digest }: Pick<Told<unknown>, 'path' | 'digest'>,
  read: (path: string) => Promise<ReadCheckpoint>,
): Promise<TrainingTensors | undefined> {
  try {
    const { tensors } = await read(path);
    return (await digestOf(tensors)) === digest ? tensors : undefined;
  } catch (error) {
    if (error instanceof CheckpointError) return undefined;
    throw error;
  }
}

function arraysOf({ parameters, optimizer }: TrainingTensors) {
  const moments = Object.entries(optimizer).map(([name, data]) => ({ name, data }));
  moments.sort((a, b) => (a.name < b.name ? -1 : 1));
  return [{ name: '', data: parameters as Float32Array | Uint8Array }, ...moments];
}

function bytesOf({ buffer, byteOffset, byteLength }: Float32Array | Uint8Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

function joined(tensors: TrainingTensors): Uint8Array {
  return Buffer.concat(arraysOf(tensors).map(({ data }) => bytesOf(data)));
}

function split(bytes: Uint8Array, { arrays }: Pick<Told<unknown>, 'arrays'>): TrainingTensors {
  let at = 0;
  const [parameters, ...others] = arrays.map(({ name, isFloat, length }) => {
    // Copied, so that floats lie where floats may.
    const piece = new Uint8Array(bytes.subarray(at, at + (isFloat ? 4 : 1) * length));
    at += piece.length;
    return [name, isFloat ? new Float32Array(piece.buffer) : piece] as const;
  });
  return { parameters: parameters![1] as Float32Array, optimizer: Object.fromEntries(others) };
}
