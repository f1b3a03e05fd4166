/** A short mark of a data set's content, so that a resume does not go on with other data. */
import { createHash } from 'node:crypto';
import { basename } from 'node:path';
import type {
  Dataset,
  ImageInput,
  Message,
  PromptCompletionExample,
  SftExample,
  TextExample,
  TrainingExample,
} from '../data/types.js';
import { showValue } from '../show-value.js';

/** Samples that are looked at; of a larger set these, evenly spread. */
const PROBES = 10_000;
/** Each has its own digest, so that a difference can be placed. */
const BLOCKS = 16;

export interface DatasetFingerprint {
  readonly length: number;
  /**
   * Of each of up to 16 equal blocks, the beginning of a SHA-256 over the roles, texts, calls and tools of its samples and
   * the names of their picture files. Folders play no part, so the data may move.
   */
  readonly digests: readonly string[];
}

/** Makes every sample of the set, up to 10,000; reads no picture. */
export async function fingerprintDataset(dataset: Dataset<TrainingExample>): Promise<DatasetFingerprint> {
  const { length } = dataset;
  const probes = Math.min(PROBES, length);
  const blocks = Math.min(BLOCKS, length);
  const digests: string[] = [];
  for (let block = 0; block < blocks; block++) {
    const hash = createHash('sha256');
    for (let i = Math.ceil((block * probes) / blocks); i < Math.ceil(((block + 1) * probes) / blocks); i++) {
      const index = Math.floor((i * length) / probes);
      hash.update(JSON.stringify([index, ...contentOf(await dataset.get(index))]));
    }
    digests.push(hash.digest('hex').slice(0, 16));
  }
  return { length, digests };
}

/** What differs, in words that follow the name of the set; undefined if nothing does. */
export function compareDatasets(before: DatasetFingerprint, now: DatasetFingerprint): string | undefined {
  if (before.length !== now.length) return `had ${before.length} samples, now ${now.length}`;
  const blocks = now.digests.length;
  const changed = now.digests.flatMap((digest, block) => (digest === before.digests[block] ? [] : [block]));
  if (changed.length === 0) return undefined;
  const first = Math.ceil((changed[0]! * now.length) / blocks);
  const last = Math.ceil(((changed.at(-1)! + 1) * now.length) / blocks) - 1;
  return `has other texts or picture files than before, somewhere from sample ${first} to ${last}`;
}

/** A sample that is malformed is the collator's to tell of, by name: here it must only not fail. */
function contentOf(example: TrainingExample): unknown[] {
  try {
    return contentOfSample(example);
  } catch {
    return [showValue(example)];
  }
}

function contentOfSample(example: TrainingExample): unknown[] {
  const { messages, images, prompt, completion, text, tools } = example as Partial<
    Pick<SftExample, 'messages' | 'images' | 'tools'> & PromptCompletionExample & TextExample
  >;
  const texts = (messages ?? []).map(contentOfMessage);
  const rest = {
    ...(tools && { tools }),
    ...(prompt !== undefined && { prompt: typeof prompt === 'string' ? prompt : prompt.map(contentOfMessage) }),
    ...(completion !== undefined && {
      completion: typeof completion === 'string' ? completion : completion.map(contentOfMessage),
    }),
    ...(text !== undefined && { text }),
  };
  return [texts, (images ?? []).map(nameOf), ...(Object.keys(rest).length > 0 ? [rest] : [])];
}

/** Role and content; what else a message holds only where it holds something: other fingerprints stay what they were. */
function contentOfMessage(message: Message): unknown[] {
  const { role, content, ...others } = message;
  const parts =
    typeof content === 'string'
      ? content
      : content.map((part) => {
          if (part.type === 'text') return part.text;
          if (part.type === 'thinking') return { thinking: part.thinking, closed: part.closed };
          return [part.image === undefined ? null : nameOf(part.image)];
        });
  const held = Object.entries(others)
    .filter(([, value]) => value !== undefined && value !== null)
    .sort(([a], [b]) => (a < b ? -1 : 1));
  return held.length > 0 ? [role, parts, held] : [role, parts];
}

/** The name of a picture's file; a picture that is no file has none. */
function nameOf(image: ImageInput): string | null {
  if (typeof image === 'string') return basename(image);
  return 'path' in image ? basename(image.path) : null;
}
