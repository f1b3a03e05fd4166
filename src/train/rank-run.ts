/** What a run is and where it writes, of one process or of several ranks. */
import type { Collator } from '../data/data-loader.js';
import type { Dataset, TrainingExample } from '../data/types.js';
import { DistributedError, reasonOf } from '../errors.js';
import { listCheckpoints, savedFingerprints } from './checkpoint.js';
import type { RunIdentity } from './checkpoint-state.js';
import { runSettings } from './compare-runs.js';
import { fingerprintDataset } from './dataset-fingerprint.js';
import { requireAlike } from './rank-agreement.js';
import type { RankExchange } from './rank-exchange.js';
import { claimRunFolder, type RunFolder } from './run-folder.js';
import type { SftConfig } from './sft-config.js';
import type { TrainableModel } from './trainable-model.js';

interface RunParts {
  readonly model: TrainableModel;
  readonly config: SftConfig;
  readonly dataset: Dataset<TrainingExample>;
  readonly evalDataset: Dataset<TrainingExample> | undefined;
  readonly collator: Collator;
  readonly signal: AbortSignal;
  readonly ranks: RankExchange | undefined;
}

/** Work of the rank that has the files; of a process by itself. */
export function onMain<T>(ranks: RankExchange | undefined, what: string, work: () => Promise<T>): Promise<T> {
  return ranks ? ranks.fromMain(what, work) : work();
}

/** As long as torch.distributed waits. */
const TOGETHER_MS = 1_800_000;

/**
 * What rank 0 writes while the others wait for it.
 * @returns an error if it is written and the others have not come: they have ended, or do something else
 */
export async function writeTogether(
  ranks: RankExchange,
  directory: string,
  write: () => Promise<void>,
  limitMs = TOGETHER_MS,
): Promise<DistributedError | undefined> {
  let isWritten = false;
  const work = async (): Promise<void> => {
    await write();
    isWritten = true;
  };
  try {
    await ranks.fromMain('saveModel', work, limitMs);
  } catch (error) {
    if (!isWritten) throw error;
    return leftAlone(directory, error);
  }
  return ranks.isAlone ? leftAlone(directory, ranks.group.failure.reason) : undefined;
}

function leftAlone(directory: string, reason: unknown): DistributedError {
  const rank = reason instanceof DistributedError ? reason.rank : undefined;
  const message = `saveModel: ${directory} is written, but not all ranks came to it: ${reasonOf(reason)}`;
  const hint =
    'Call saveModel on all ranks, and not within `if (isMainProcess())`: rank 0 alone writes, the others wait for it.';
  return new DistributedError(message, { rank, hint, cause: reason });
}

/** The last save: once more where `saveAdapter` does not answer. All ranks try again, or none: one of them writes. */
export async function saveLast(
  ranks: RankExchange | undefined,
  adapter: { readonly isSilent: boolean },
  save: () => Promise<boolean>,
): Promise<boolean> {
  if (await save()) return true;
  const isSilent = await onMain(ranks, 'whether saveAdapter answers', async () => adapter.isSilent);
  return isSilent && save();
}

/**
 * What must be the same for a run to go on, and on all of its ranks.
 * @throws DistributedError if it is not on those
 */
export async function identifyRun(parts: RunParts, resumeFrom: string | true | undefined): Promise<RunIdentity> {
  const { model, config, dataset, evalDataset, collator, signal, ranks } = parts;
  const evaluated = config.evalStrategy !== 'no' || config.evalOnStart ? evalDataset : undefined;
  const saved = await onMain(ranks, 'data of the checkpoint', async () => {
    const from = resumeFrom === true ? (await listCheckpoints(config.outputDir)).at(-1)?.path : resumeFrom;
    const found = from === undefined ? {} : await savedFingerprints(from);
    return { dataset: found.dataset, evalDataset: found.evalDataset };
  });
  const worldSize = ranks?.group.worldSize ?? 1;
  const identity = {
    config,
    ...(worldSize > 1 && { worldSize }),
    settings: runSettings(model, collator),
    dataset: await fingerprintDataset(dataset, signal, { before: saved.dataset }),
    ...(evaluated && { evalDataset: await fingerprintDataset(evaluated, signal, { before: saved.evalDataset }) }),
    parameters: model.trainable.parameters.map(({ name, shape }) => ({ name, shape })),
  };
  if (ranks) await requireAlike(ranks, model, identity, resumeFrom !== undefined);
  return identity;
}

/** The output folder: owned by the first of several ranks, and by the one that saves where that is lost. */
export class RunOutputFolder {
  readonly #path: string;
  readonly #ranks: RankExchange | undefined;
  #folder: RunFolder | undefined;
  /** Of the first rank's lock. */
  #token: string | undefined;

  constructor(path: string, ranks: RankExchange | undefined) {
    this.#path = path;
    this.#ranks = ranks;
  }

  /** @throws as `claimRunFolder` */
  async claim(options: { readonly signal: AbortSignal; readonly onWait: (message: string) => void }): Promise<void> {
    this.#token = await onMain(this.#ranks, 'output folder', async () => {
      this.#folder = await claimRunFolder(this.#path, options);
      return this.#folder.token;
    });
  }

  /** For the rank that saves after a failure. @throws as `claimRunFolder` */
  async takeOver(): Promise<void> {
    if (this.#folder || !this.#ranks?.isAlone) return;
    this.#folder = await claimRunFolder(this.#path, { heirOf: this.#token });
  }

  async release(): Promise<void> {
    await this.#folder?.release();
  }
}
