/** Uploads an adapter with a page that says how it was trained. */
import { basename } from 'node:path';
import { escapeMarkdown } from '../messages/markdown.js';
import { oneLine } from '../messages/one-line.js';
import { type PushToHubOptions, pushToHub } from '../publish/push-to-hub.js';
import { type AdapterRecord, readAdapterRecord } from './adapter-record.js';
import type { Output } from './usage.js';

interface PushParts {
  readonly isPrivate?: boolean | undefined;
  readonly commitMessage?: string | undefined;
  readonly signal: AbortSignal;
  readonly output: Output;
}

/** @returns the address of its page @throws as `pushToHub` */
export async function pushAdapter(
  folder: string,
  repo: string,
  { baseModel }: { readonly baseModel?: string | undefined },
  { isPrivate, commitMessage, signal, output }: PushParts,
): Promise<string> {
  const record = await readAdapterRecord(folder);
  const { url, changed } = await pushToHub(folder, repo, {
    modelCard: { ...(record ? cardOf(record) : {}), ...(baseModel === undefined ? {} : { baseModel }) },
    ...(isPrivate ? { private: true } : {}),
    ...(commitMessage === undefined ? {} : { commitMessage }),
    signal,
    onWarning: (line) => output.printError(`note: ${line}`),
  });
  output.print(changed ? `pushed to ${url}` : `${url} has this already`);
  return url;
}

/** Options that say where things lie on this machine, or what no page needs. */
const HIDDEN = [
  'data',
  'labels',
  'model',
  'baseModel',
  'adapter',
  'prompt',
  'system',
  'outputDir',
  'engine',
  'processor',
];
/** Longer lists of classes are cut. */
const MAX_CLASSES = 50;

function cardOf(record: AdapterRecord): NonNullable<PushToHubOptions['modelCard']> {
  const { settings, prompt, classNames, trainSamples, testSamples, accuracy } = record;
  const data = typeof settings.data === 'string' ? basename(settings.data) : 'data of its author';
  const names = classNames?.slice(0, MAX_CLASSES).map((name) => escapeMarkdown(oneLine(name)));
  const classes = names ? ` in ${classNames!.length} classes (${names.join(', ')})` : '';
  return {
    ...(prompt === undefined ? {} : { prompt }),
    ...(trainSamples === undefined ? {} : { data: `${trainSamples} samples${classes}.` }),
    config: Object.fromEntries(Object.entries(settings).filter(([name]) => !HIDDEN.includes(name))),
    ...(accuracy && testSamples
      ? {
          metrics: [
            {
              ...{ type: 'accuracy', name: 'Accuracy', value: accuracy.after },
              ...(accuracy.before === undefined ? {} : { before: accuracy.before }),
            },
          ],
          evaluatedOn: { name: oneLine(data), type: 'image-classification', split: 'test', samples: testSamples },
        }
      : {}),
  };
}
