/** What an adapter was trained with, in a file beside it: an evaluation asks the same question again. */
import { join } from 'node:path';
import { z } from 'zod';
import { parseOptions } from '../config.js';
import { writeNamedFile } from '../files/atomic-file.js';
import { readJson } from '../files/read-json.js';
import { exists } from '../files/regular-file.js';
import { VERSION } from '../generated/version.js';

const RECORD_FILE = 'ministral-tune.json';

const schema = z.object({
  /** Of this package. */
  version: z.string(),
  /** Options of the run, each by its name. */
  settings: z.record(z.string(), z.unknown()),
  model: z.string(),
  /** The question, the list of classes included; none for conversations. */
  prompt: z.string().optional(),
  system: z.string().optional(),
  classNames: z.array(z.string()).optional(),
  trainSamples: z.number().optional(),
  testSamples: z.number().optional(),
  accuracy: z.object({ before: z.number().optional(), after: z.number() }).optional(),
});

export type AdapterRecord = z.output<typeof schema>;

export async function writeAdapterRecord(folder: string, record: Omit<AdapterRecord, 'version'>): Promise<void> {
  const text = `${JSON.stringify({ version: VERSION, ...record }, null, 2)}\n`;
  await writeNamedFile(join(folder, RECORD_FILE), text, 'train');
}

/** undefined where there is none, as beside an adapter of another tool. @throws DataError if it is not readable */
export async function readAdapterRecord(folder: string): Promise<AdapterRecord | undefined> {
  const file = join(folder, RECORD_FILE);
  return (await exists(file)) ? parseOptions(schema, await readJson(file), file) : undefined;
}
