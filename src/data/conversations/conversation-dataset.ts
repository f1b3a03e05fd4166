/** Files of conversations, in the forms in which people have them, as samples to train on. */
import { dirname, resolve } from 'node:path';
import { z } from 'zod';
import {
  callback,
  type Given,
  lazySchema,
  type Mismatch,
  type NoMismatch,
  parseOptions,
  pathOption,
  requirePath,
} from '../../config.js';
import { ConfigError, DataError } from '../../errors.js';
import { oneLine, warningLine } from '../../messages/one-line.js';
import { IndexedDataset } from '../dataset.js';
import type { SkippedSample, TrainingExample } from '../types.js';
import { type ConversationForm, FORMS } from './form-names.js';
import type { LoadedRows, ReadOptions } from './load-rows.js';

const conversationOptionsSchema = lazySchema(
  () =>
    z.strictObject({
      form: z.enum(FORMS).optional(),
      imageRoot: pathOption().optional(),
      imageMarker: z.union([z.string().min(1), z.literal(false)]).default('<image>'),
      ignoreColumns: z.array(z.string().min(1)).default([]),
      onBadImage: z.enum(['error', 'skip']).default('error'),
      verify: z.boolean().optional(),
      maxPixels: z.number().int().positive().optional(),
      onWarning: callback<string>().optional(),
    }) satisfies z.ZodType<unknown, ConversationOptions>,
);
type _Input = NoMismatch<
  Mismatch<Given<z.input<ReturnType<typeof conversationOptionsSchema>>>, Given<ConversationOptions>>
>;

/** Options of `ConversationDataset.fromFile` and `fromRows`. */
export interface ConversationOptions {
  /** The form, where columns of several are present: those of the others are left out. Default: told from the rows. */
  form?: ConversationForm | undefined;
  /** What paths of images are relative to. Default: the folder of the file; for `fromRows` the current folder. */
  imageRoot?: string | undefined;
  /**
   * What marks the place of an image in a text, if images stand beside the conversation. False: a text is only text,
   * and the images go before the first user text. Default: `<image>`.
   */
  imageMarker?: string | false | undefined;
  /**
   * Columns that are left out, as `remove_columns` of Hugging Face's data sets does. Keys of messages are written
   * `messages.name` (or `conversations.name`), those of their parts `messages.content.name`. Default: none, so that a
   * column that nothing reads is an error.
   */
  ignoreColumns?: string[] | undefined;
  /**
   * What becomes of a row whose image is missing or no image: an error that names all of them, or it is left out and
   * listed in `skipped`. It travels with the image, as that of `ImageFolder` does. Default: `error`.
   */
  onBadImage?: 'error' | 'skip' | undefined;
  /** Decode every image while loading, not only look at its first bytes. Default: true with `onBadImage: 'skip'`, else false. */
  verify?: boolean | undefined;
  /** Refuse images of more pixels than this. Default: 178,956,970. */
  maxPixels?: number | undefined;
  /** Receives in one line what may be a mistake, with the number of its rows. Default: `process.emitWarning`. */
  onWarning?: ((line: string) => void) | undefined;
}

const FORM_NAMES: Readonly<Record<ConversationForm, string>> = {
  messages: 'messages of role and text',
  openai: 'OpenAI messages',
  mistral: 'Mistral messages',
  trl: 'TRL messages with images or completions',
  'prompt-completion': 'prompt and completion',
  text: 'plain text',
  sharegpt: 'ShareGPT conversations',
  alpaca: 'alpaca instructions',
};

/**
 * Conversations of a JSON Lines or JSON file, or of rows in memory, as samples. The form is detected from the rows:
 *
 * - OpenAI and Mistral: `messages` with `image_url` parts, `tools`, `tool_calls`, `weight`, `prefix`, `thinking`
 * - TRL: `messages` with `images` or `image`; `prompt` and `completion`; `text`
 * - ShareGPT, LLaVA and LLaMA-Factory: `conversations` with `<image>` markers; `instruction`, `input`, `output`
 *
 * Rows are parsed each time they are asked for. Of a file above 64 MiB only the places of its rows are kept in memory, and
 * it must stay as it is.
 */
export class ConversationDataset extends IndexedDataset<TrainingExample> {
  /** As the options say, else that of most rows that show one. */
  readonly form: ConversationForm;
  /** Number of rows by form. `messages` goes with all forms that have roles. */
  readonly forms: ReadonlyMap<ConversationForm, number>;
  /** Form, number of samples and notes in one line, for a log. */
  readonly description: string;
  /** What was done with rows, each with their number: where images were put, what was not used. */
  readonly notes: readonly string[];
  /** Rows left out by `onBadImage: 'skip'`, with the reason. */
  readonly skipped: readonly SkippedSample[];

  private constructor(
    what: string,
    loaded: LoadedRows,
    form: ConversationForm | undefined,
    make: (row: number) => TrainingExample | Promise<TrainingExample>,
  ) {
    super(loaded.indices.length, (index) => make(loaded.indices[index]!));
    const byCount = [...loaded.counts].sort(([, a], [, b]) => b - a);
    const shown = byCount.filter(([name]) => name !== 'messages' || byCount.length === 1);
    this.form = form ?? shown[0]![0];
    this.forms = new Map(byCount);
    this.notes = loaded.notes;
    this.skipped = loaded.skipped;
    const forms =
      byCount.length === 1 || form !== undefined
        ? FORM_NAMES[this.form]
        : byCount.map(([name, rows]) => `${FORM_NAMES[name]} (${rows})`).join(', ');
    const samples = `${this.length} ${this.length === 1 ? 'sample' : 'samples'}`;
    this.description = [`${what}: ${samples}, ${forms}`, ...this.notes].join('; ');
  }

  /**
   * Reads a `.jsonl`, `.ndjson` or `.json` file, recognised by its content. All rows are read once, now: a row that is
   * wrong, a column that nothing reads or an image that is missing shows before the training.
   * @throws DataError naming line and column, row or key; ImageError for images; ConfigError for bad options
   * @example
   * ```ts
   * const dataset = await ConversationDataset.fromFile('train.jsonl');
   * console.log(dataset.description); // the form it saw, and what was done with images
   * ```
   */
  static async fromFile(path: string, options: ConversationOptions = {}): Promise<ConversationDataset> {
    requirePath(path, 'ConversationDataset.fromFile');
    const parsed = parseOptions(conversationOptionsSchema, options, 'ConversationDataset.fromFile', ALIASES);
    const [{ isFolder, JsonRowFile }, { RowLoader, sampleOf }] = await Promise.all([
      import('./json-rows.js'),
      import('./load-rows.js'),
    ]);
    const file = resolve(path);
    if (await isFolder(file)) {
      throw new DataError(`${oneLine(file)}: a folder, not a file of conversations`, {
        hint: 'give the .jsonl or .json file in it; `ImageFolder` reads folders of images',
        details: { path: file },
      });
    }
    const settings = settingsOf(parsed, dirname(file));
    const loader = new RowLoader(oneLine(file), settings);
    const rows = await JsonRowFile.scan(file, (row, index, scanned) => loader.add(row, index, scanned.nameOf(index)));
    const loaded = await loader.finish();
    warn(loaded, oneLine(file), parsed.onWarning);
    return new ConversationDataset(oneLine(file), loaded, parsed.form, async (index) =>
      sampleOf(await rows.read(index), rows.nameOf(index), settings),
    );
  }

  /**
   * The same of rows in memory, which may hold images themselves where a file holds paths. The list is kept, not copied.
   * @throws as `fromFile`
   */
  static async fromRows(rows: readonly object[], options: ConversationOptions = {}): Promise<ConversationDataset> {
    if (!Array.isArray(rows)) {
      throw new ConfigError('ConversationDataset.fromRows: expected a list of rows', {
        hint: 'for a file: `ConversationDataset.fromFile(path)`',
      });
    }
    const parsed = parseOptions(conversationOptionsSchema, options, 'ConversationDataset.fromRows', ALIASES);
    const { RowLoader, sampleOf } = await import('./load-rows.js');
    const settings = settingsOf(parsed, process.cwd());
    const loader = new RowLoader('the rows', settings);
    const nameOf = (index: number) => `row ${index}`;
    for (const [index, row] of rows.entries()) await loader.add(row, index, nameOf(index));
    const loaded = await loader.finish();
    warn(loaded, 'conversations', parsed.onWarning);
    return new ConversationDataset('rows', loaded, parsed.form, (index) =>
      sampleOf(rows[index], nameOf(index), settings),
    );
  }
}

const ALIASES = {
  removecolumns: 'ignoreColumns',
  imagefolder: 'imageRoot',
  imagedir: 'imageRoot',
  mediadir: 'imageRoot',
  basedir: 'imageRoot',
  formatting: 'form',
  format: 'form',
};

function settingsOf(parsed: z.output<ReturnType<typeof conversationOptionsSchema>>, folder: string): ReadOptions {
  const { form, imageRoot, imageMarker, ignoreColumns, onBadImage, verify, maxPixels } = parsed;
  return {
    form,
    imageRoot: imageRoot === undefined ? folder : resolve(imageRoot),
    imageMarker: imageMarker === false ? undefined : imageMarker,
    ignoreColumns: new Set(ignoreColumns),
    onBadImage,
    verify: verify ?? onBadImage === 'skip',
    maxPixels,
  };
}

function warn(loaded: LoadedRows, what: string, onWarning: ((line: string) => void) | undefined): void {
  const report = onWarning ?? ((line: string) => process.emitWarning(line, 'ConversationWarning'));
  for (const warning of loaded.warnings) report(warningLine(`${what}: ${warning}`));
}
