/** A short mark of a data set's content, so that a resume does not go on with other data. */
import { createHash } from 'node:crypto';
import type { Dataset, SftExample } from '../data/types.js';

/** Samples that are looked at, evenly spread. */
const PROBES = 16;

export interface DatasetFingerprint {
  readonly length: number;
  /** SHA-256 over the roles, texts and picture counts of up to 16 samples; paths play no part, so a folder may move. */
  readonly digest: string;
}

export async function fingerprintDataset(dataset: Dataset<SftExample>): Promise<DatasetFingerprint> {
  const hash = createHash('sha256');
  const probes = Math.min(PROBES, dataset.length);
  for (let i = 0; i < probes; i++) {
    const index = probes === 1 ? 0 : Math.round((i * (dataset.length - 1)) / (probes - 1));
    const { messages, images } = await dataset.get(index);
    const texts = messages.map(({ role, content }) => [
      role,
      typeof content === 'string' ? content : content.map((part) => (part.type === 'text' ? part.text : null)),
    ]);
    hash.update(JSON.stringify([index, texts, images?.length ?? 0]));
  }
  return { length: dataset.length, digest: hash.digest('hex') };
}
