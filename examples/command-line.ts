/** The example's command line: its help, and options checked before anything is done. */
import { existsSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { TuneError } from 'ministral-tune';

const HELP = `npm run example                                         a demonstration on drawn images and a tiny model
npm run example -- --data DIR --model NAME [--engine E] the real thing
npm run example -- --kaggle --model NAME                the same, with the tutorial's images from Kaggle

--data DIR      folder with <Class>/{Train,Test}/*, {Train,Test}/<Class>/* or <Class>/* at any depth (default: drawn by
                ministral-tune/demo)
--holdout SHARE where DIR has no test images: keep this share of each class for the test, e.g. 0.2
--labels FILE   CSV or JSON Lines with the classes of the images below DIR, by file name; see ImageFolder.fromTable
--kaggle        download the tutorial's data set, or take it from the cache; see KaggleImageFolder.download
--model NAME    Ministral 3 model: a name on the Hugging Face Hub, e.g. mistralai/Ministral-3-3B-Instruct-2512-BF16,
                or a folder (default: random weights in a tiny model, made by ministral-tune/demo)
--adapter NAME  start from this LoRA adapter, a name on the Hub or a folder, instead of a new one
--push-to-hub REPO    upload the adapter with a card that says all of the above; HF_TOKEN must be able to write
--base-model NAME     for that card: the base model's name on the Hub, where --model is a folder
--resume        go on where a stopped training left its checkpoint (Ctrl-C and a closed terminal save one)
--epochs N      passes over the training set       --limit N   use N training and N test samples
--engine NAME   auto, cpu, cuda, webgpu; or a TensorFlow.js that you installed: tfjs-node, tfjs-node-gpu, tfjs (either)
--quantization nf4|fp8|none  the decoder's linear layers in 4, 8 or 16 bits (default: as stored, FP8 as bfloat16)
--plan          say what the run takes, and on which cards it fits, and end: no card and no weights are needed
--evaluate free|constrained|scored   answers as they come, one of the classes, or the likeliest class (default: free)
--live          a page in the browser shows the run, pauses it and stops it; on this machine alone
--precision bf16|fp8-backward|fp8   e4m3 products in training, on cuda (default: bf16)
--no-share-prefix       compute common prefixes of samples for each of them again
--memory-budget GIB   most memory that training may take, weights included (default: what there is)
--out DIR       results (default: runs/bone-fracture)`;

function parse() {
  const { values } = parseArgs({
    options: {
      data: { type: 'string' },
      kaggle: { type: 'boolean', default: false },
      holdout: { type: 'string' },
      labels: { type: 'string' },
      model: { type: 'string' },
      adapter: { type: 'string' },
      resume: { type: 'boolean', default: false },
      'push-to-hub': { type: 'string' },
      'base-model': { type: 'string' },
      epochs: { type: 'string' },
      limit: { type: 'string' },
      engine: { type: 'string', default: 'auto' },
      quantization: { type: 'string' },
      plan: { type: 'boolean', default: false },
      evaluate: { type: 'string', default: 'free' },
      live: { type: 'boolean', default: false },
      precision: { type: 'string', default: 'bf16' },
      'no-share-prefix': { type: 'boolean', default: false },
      'memory-budget': { type: 'string' },
      out: { type: 'string', default: 'runs/bone-fracture' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values['push-to-hub'] && !values['base-model'] && !(values.model && !existsSync(values.model))) {
    throw new Error(
      '--push-to-hub: the card needs the name that the base model has on the Hub: give --model by that name, or --base-model beside a folder',
    );
  }
  if (values.labels && !values.data) throw new Error('--labels: give the folder of the images by --data');
  const { epochs, limit, holdout, 'memory-budget': budget, 'no-share-prefix': isApart, ...others } = values;
  return {
    ...others,
    quantization: oneOf('quantization', METHODS, values.quantization),
    precision: oneOf('precision', PRECISIONS, values.precision)!,
    evaluate: oneOf('evaluate', MODES, values.evaluate)!,
    sharePrefix: !isApart,
    epochs: positive('epochs', epochs),
    limit: whole('limit', limit),
    holdout: share('holdout', holdout),
    memoryBudget: positive('memory-budget', budget),
  };
}

const METHODS = ['nf4', 'fp8', 'none'] as const;
const MODES = ['free', 'constrained', 'scored'] as const;
const PRECISIONS = ['bf16', 'fp8-backward', 'fp8'] as const;

function oneOf<T extends string>(name: string, words: readonly T[], text: string | undefined): T | undefined {
  const word = words.find((known) => known === text);
  if (word !== undefined || text === undefined) return word;
  throw new Error(`--${name}: expected ${words.join(', ')}, got "${text}"`);
}

function positive(name: string, text: string | undefined): number | undefined {
  if (text === undefined || Number(text) > 0) return text === undefined ? undefined : Number(text);
  throw new Error(`--${name}: expected a number above 0, got "${text}"`);
}

function whole(name: string, text: string | undefined): number | undefined {
  const value = positive(name, text);
  if (value === undefined || Number.isInteger(value)) return value;
  throw new Error(`--${name}: expected a whole number, got "${text}"`);
}

function share(name: string, text: string | undefined): number | undefined {
  const value = Number(text);
  if (text === undefined) return undefined;
  if (value > 0 && value < 1) return value;
  throw new Error(`--${name}: expected a share above 0 and below 1, e.g. 0.2, got "${text}"`);
}

/**
 * From here on an error ends the process with its message: what is wrong with data or options needs no stack. That nobody
 * reads the output any more (`| head -1`, a closed terminal) is none: it costs what is shown, not what is learned.
 */
export function endWithMessage(): void {
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);
  process.on('uncaughtException', (error: unknown) => {
    const isOwn = error instanceof TuneError;
    const { name, message } = error instanceof Error ? error : { name: 'Error', message: String(error) };
    console.error(isOwn ? `\n${message}` : `\n${name}: ${message}`);
    if (!isOwn && process.env['EXAMPLE_STACK']) console.error(error);
    process.exit(1);
  });
}

/** The options; ends the process for --help, and for what it does not understand. */
export function readCommandLine(): ReturnType<typeof parse> {
  try {
    const options = parse();
    if (!options.help) return options;
    console.log(HELP);
  } catch (error) {
    console.error(`${(error as Error).message}\n\n${HELP}`);
    process.exit(2);
  }
  process.exit(0);
}

/** Names of files and classes, and what a model says, for a terminal: what could move its cursor becomes a question mark. */
export function plain(text: string): string {
  return text.replace(/[^\P{C}\n]/gu, '?');
}
