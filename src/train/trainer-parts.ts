/** What a trainer is given, checked by what it is: each error says what came and what to write instead. */
import { IndexedDataset } from '../data/dataset.js';
import type { Dataset, TrainingExample } from '../data/types.js';
import type { Engine } from '../engine/engine.js';
import { ConfigError, DataError } from '../errors.js';
import { isKind, isObject, isPromise } from '../messages/given-kind.js';
import { showValue } from '../messages/show-value.js';

/** Names that people bring from transformers and TRL. */
const OTHER_NAMES: Readonly<Record<string, string>> = {
  args: 'config',
  dataCollator: 'collator',
  data_collator: 'collator',
  dataset: 'trainDataset',
};

type Fields = Readonly<Record<string, unknown>>;
const isDataset = (value: unknown): value is Dataset<unknown> => isKind(value, 'dataset');
const isImageFolder = (value: unknown): boolean => !isDataset(value) && isKind(value, 'imageFolder');

/**
 * Checks everything but the data sets, as far as given; others report missing and unknown names.
 * @param configNames options that belong into `config`
 * @throws ConfigError
 */
export function checkTrainerOptions(options: unknown, configNames: readonly string[]): void {
  if (isPromise(options)) throw wrong('SftTrainer', 'an object of options', 'a promise', 'Await it.');
  if (isKind(options, 'model')) {
    const hint = 'Write new SftTrainer({ model, trainDataset, collator, config }).';
    throw wrong('SftTrainer', 'one object of options', 'a model', hint);
  }
  if (!isObject(options)) return;
  const misplaced = configNames.filter((name) => name in options);
  if (misplaced.length > 0) {
    const names = misplaced.map((name) => `\`${name}\``).join(', ');
    throw new ConfigError(`SftTrainer: ${names}: ${misplaced.length === 1 ? 'an option' : 'options'} of \`config\``, {
      hint: `Write new SftTrainer({ model, trainDataset, collator, config: { ${misplaced[0]}: … } }).`,
      details: { misplaced },
    });
  }
  for (const [other, name] of Object.entries(OTHER_NAMES)) {
    if (other in options) throw new ConfigError(`SftTrainer: \`${other}\` is called \`${name}\` here`);
  }
  const { model, collator, config, saveAdapter, computeMetrics, callbacks } = options;
  if (model !== undefined) requireModel(model);
  if (collator !== undefined) requireCollator(collator);
  if (isPromise(config)) throw wrong('SftTrainer: `config`', 'an object of options', 'a promise', 'Await it.');
  const save = 'Write saveAdapter: (directory) => saveAdapter(adapter, directory).';
  requireFunction(saveAdapter, 'saveAdapter', save);
  requireFunction(computeMetrics, 'computeMetrics', 'It returns values by name, such as { accuracy: 0.9 }.');
  if (callbacks !== undefined) requireCallbacks(callbacks);
  requireGroup(options.processGroup);
}

/**
 * @param what who asks, for messages
 * @throws ConfigError for several processes with an engine that cannot sum their gradients
 */
export function requireRanks(engine: Engine, worldSize: number, what = 'SftTrainer'): void {
  if (worldSize <= 1 || engine.joinGroup) return;
  if (engine.devices) {
    throw new ConfigError(
      `${what}: ${worldSize} processes are to train together, and the model of this one lies on several cards (deviceMap)`,
      {
        hint: 'Leave deviceMap out: each process then trains on a card of its own. Or start the program without a launcher.',
        details: { worldSize, engine: engine.name },
      },
    );
  }
  throw new ConfigError(
    `${what}: ${worldSize} processes are to train together, and the engine ${engine.name} cannot sum their gradients`,
    {
      hint:
        'Only `cuda` trains on several GPUs. For one process unset RANK and WORLD_SIZE (or those of Slurm), or start the program ' +
        'without a launcher.',
      details: { worldSize, engine: engine.name },
    },
  );
}

function requireGroup(group: unknown): void {
  if (group === undefined) return;
  const what = 'SftTrainer: `processGroup`';
  const hint = "Write await processGroup(), of 'ministral-tune/distributed', or leave it out.";
  if (isPromise(group)) throw wrong(what, 'a group of processes', 'a promise', 'Await it.');
  if (isObject(group) && typeof group.allGather === 'function' && Number.isInteger(group.worldSize)) return;
  throw wrong(what, 'a group of processes', describe(group), hint);
}

const CALLBACK_METHODS = ['onStart', 'onEvent', 'onClose'];

function requireCallbacks(callbacks: unknown): void {
  const what = 'SftTrainer: `callbacks`';
  if (!Array.isArray(callbacks)) {
    const hint = isPromise(callbacks) ? 'Await it.' : 'Write one as [one].';
    throw wrong(what, 'a list of callbacks', isPromise(callbacks) ? 'a promise' : describe(callbacks), hint);
  }
  // Holes of a sparse array count as well.
  for (let i = 0; i < callbacks.length; i++) {
    const callback: unknown = callbacks[i];
    const one = `${what}[${i}]`;
    const expected = 'a callback';
    if (isPromise(callback)) throw wrong(one, expected, 'a promise', 'Await it.');
    if (typeof callback === 'function') {
      throw wrong(one, expected, 'a function', 'Call it, if it makes one; else write { onEvent: (event) => … }.');
    }
    if (!isObject(callback)) throw wrong(one, expected, describe(callback), 'Write { onEvent: (event) => … }.');
    const given = CALLBACK_METHODS.filter((name) => callback[name] !== undefined);
    if (given.length === 0) {
      const hint = 'It has `onStart`, `onEvent` or `onClose`: what `event.type` tells apart all goes to `onEvent`.';
      throw wrong(one, expected, `an object without ${CALLBACK_METHODS.join(', ')}`, hint);
    }
    for (const name of given) {
      if (typeof callback[name] !== 'function')
        throw wrong(`${one}.${name}`, 'a function', describe(callback[name]), 'Leave it out, or write a function.');
    }
    if (callback.name !== undefined && typeof callback.name !== 'string') {
      throw wrong(`${one}.name`, 'a text', describe(callback.name), 'It is the name in messages.');
    }
  }
}

function requireModel(model: unknown): void {
  const what = 'SftTrainer: `model`';
  const expected = 'a model with an adapter';
  if (isKind(model, 'model')) {
    if ((model as Fields).isDisposed !== true) return;
    throw new ConfigError(`${what}: the model was disposed of`, { hint: 'Load it anew, and apply the adapter again.' });
  }
  if (isPromise(model)) throw wrong(what, expected, 'a promise', 'Await it.');
  if (typeof model === 'string') throw wrong(what, expected, showValue(model), 'Load it first, with fromPretrained.');
  if (isKind(model, 'engine')) throw wrong(what, expected, 'an engine', 'Load a model onto it, with fromPretrained.');
  if (isImageFolder(model) || isDataset(model)) {
    throw wrong(what, expected, isDataset(model) ? 'a data set' : 'an image folder', 'It belongs to `trainDataset`.');
  }
  if (isObject(model)) {
    const hint = 'Give the model itself; its adapter is on it.';
    if (isKind(model.model, 'model')) throw wrong(what, expected, 'an object that holds one', 'Give its `model`.');
    if (isKind(model, 'adapter')) throw wrong(what, expected, 'an adapter', hint);
  }
  throw wrong(what, expected, describe(model), 'Load one with fromPretrained and call applyLora.');
}

function requireCollator(collator: unknown): void {
  const what = 'SftTrainer: `collator`';
  const hint = 'Write new VlmCollator({ ...processor }), with the processor of fromPretrained.';
  if (isObject(collator) && typeof collator.collate === 'function') return;
  if (isPromise(collator)) throw wrong(what, 'a VlmCollator', 'a promise', 'Await it.');
  if (typeof collator === 'function') {
    throw wrong(what, 'a VlmCollator', 'a function', 'An own collator is an object with the method `collate`.');
  }
  if (isObject(collator) && 'tokenizer' in collator) throw wrong(what, 'a VlmCollator', 'a processor', hint);
  throw wrong(what, 'a VlmCollator', describe(collator), hint);
}

function requireFunction(value: unknown, name: string, hint: string): void {
  if (value === undefined || typeof value === 'function') return;
  throw wrong(`SftTrainer: \`${name}\``, 'a function', isPromise(value) ? 'a promise' : describe(value), hint);
}

/**
 * A data set that throws a DataError, naming the index, for an item that is no sample; an array's items are checked now.
 * @throws ConfigError for anything that is neither a data set nor an array
 */
export function asDataset(given: unknown, name: string): Dataset<TrainingExample> {
  const what = `\`${name}\``;
  if (Array.isArray(given)) {
    // Holes of a sparse array count as well.
    for (let index = 0; index < given.length; index++) checkSample(given[index], `${name}[${index}]`);
    // Checked again when read: it may have shrunk by then.
    return new CheckedDataset(IndexedDataset.from(given as unknown[]), name);
  }
  if (isDataset(given)) {
    if (Number.isSafeInteger(given.length) && given.length >= 0) return new CheckedDataset(given, name);
    throw new ConfigError(`${what}: expected a data set with a whole number of samples, its length is ${given.length}`);
  }
  const expected = 'a data set or an array of samples';
  if (isPromise(given)) throw wrong(what, expected, 'a promise', 'Await it.');
  if (isImageFolder(given)) {
    const { train, test } = given as Fields;
    const split = isDataset(test) && (name !== 'trainDataset' || !isDataset(train)) ? 'test' : 'train';
    throw wrong(what, expected, 'an image folder', `Write ${name}: folder.${split}.map(toExample).`);
  }
  if (typeof given === 'string') {
    throw wrong(what, expected, showValue(given), 'Read the file or the folder first.');
  }
  if (typeof given === 'function') throw wrong(what, expected, 'a function', 'Call it.');
  if (isObject(given) && Symbol.iterator in given) {
    throw wrong(what, expected, 'an iterable', 'Samples are read by index: write [...samples].');
  }
  if (isObject(given) && Symbol.asyncIterator in given) {
    const hint = 'Samples are read by index: collect them in an array with `for await`.';
    throw wrong(what, expected, 'an asynchronous iterable', hint);
  }
  if (isObject(given) && 'messages' in given) throw wrong(what, expected, 'a single sample', 'Write [sample].');
  const split = isObject(given) && ['train', 'test', 'validation'].find((key) => Array.isArray(given[key]));
  if (split) throw wrong(what, expected, `an object of ${Object.keys(given).join(', ')}`, `Give its \`${split}\`.`);
  const hint = 'A data set has `length` and `get(index)`, as those of ConversationDataset and ImageFolder have.';
  throw wrong(what, expected, describe(given), hint);
}

/**
 * What `computeMetrics` gave, copied; undefined for nothing. NaN is a value like others.
 * @throws ConfigError for anything but numbers by name
 */
export function checkMetrics(given: unknown): Readonly<Record<string, number>> | undefined {
  if (given === undefined || given === null) return undefined;
  const what = '`computeMetrics`';
  const expected = 'numbers by name, such as { accuracy: 0.9 }';
  if (given instanceof Map) throw wrong(what, expected, 'a Map', 'Write Object.fromEntries(map).');
  if (!isObject(given) || Array.isArray(given) || ArrayBuffer.isView(given)) {
    throw wrong(what, expected, describe(given), 'Give each value a name.');
  }
  const bad = Object.entries(given).find(([, value]) => typeof value !== 'number');
  if (!bad) return { ...(given as Readonly<Record<string, number>>) };
  throw wrong(`${what}: \`${bad[0]}\``, 'a number', describe(bad[1]), 'Leave out what is none, or write Number(…).');
}

/** Checks each sample when it is asked for. */
class CheckedDataset implements Dataset<TrainingExample> {
  readonly #given: Dataset<unknown>;
  readonly #name: string;

  constructor(given: Dataset<unknown>, name: string) {
    this.#given = given;
    this.#name = name;
  }

  get length(): number {
    return this.#given.length;
  }

  async get(index: number): Promise<TrainingExample> {
    const sample = await this.#given.get(index);
    checkSample(sample, `${this.#name}[${index}]`);
    return sample as TrainingExample;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<TrainingExample, void, undefined> {
    for (let index = 0; index < this.length; index++) yield await this.get(index);
  }
}

function checkSample(sample: unknown, where: string): void {
  const fault = (came: string, hint: string): DataError =>
    new DataError(`${where}: expected a sample { messages: […] }, got ${came}`, { hint, details: { where } });
  if (isPromise(sample)) throw fault('a promise', 'Await all of them: await Promise.all(samples).');
  if (!isObject(sample)) {
    const hint = sample === undefined ? 'Does the function that makes it return it?' : 'See `TrainingExample`.';
    throw fault(describe(sample), hint);
  }
  if ('messages' in sample) return;
  if ('image' in sample && 'label' in sample) {
    throw fault('one of an image folder', 'Map it to its messages: map(toExample).');
  }
  if (Array.isArray(sample)) throw fault('an array', 'A list of messages is a sample as { messages }.');
}

function describe(value: unknown): string {
  if (typeof value === 'function') return 'a function';
  return showValue(value);
}

function wrong(what: string, expected: string, came: string, hint: string): ConfigError {
  return new ConfigError(`${what}: expected ${expected}, got ${came}`, { hint });
}
