import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ConfigError, DiskError } from '../../src/errors.js';
import { versionRecord } from '../../src/monitor/event-record.js';
import { scalarsOf } from '../../src/monitor/event-scalars.js';
import { ProtobufMessage } from '../../src/monitor/protobuf-message.js';
import { type TensorBoardOptions, tensorBoard } from '../../src/monitor/tensorboard.js';
import { linearDataset, linearModel, linearTrainer } from '../train/linear-model.js';
import { describeEvent, fieldsOf, maskedCrc32c, recordsOf } from './event-file.js';
import { evaluateEvent } from './scripted-run.js';

let outputDir: string;
beforeEach(async () => {
  outputDir = await mkdtemp(join(tmpdir(), 'tensorboard-'));
});
afterEach(() => rm(outputDir, { recursive: true }));
afterEach(() => void vi.restoreAllMocks());

const run = (options?: TensorBoardOptions, config: object = {}, more: object = {}) =>
  linearTrainer(
    linearModel(),
    { outputDir, saveStrategy: 'no', loggingSteps: 3, ...config },
    { callbacks: [tensorBoard(options)], ...more },
  );

/** The events of each file of a folder, in the order of their names. */
async function eventsIn(folder: string): Promise<string[][]> {
  const names = (await readdir(folder)).sort();
  expect(names.filter((name) => !/^events\.out\.tfevents\.\d{10}\.[\w.-]+\.\d+\.[0-9a-f]{6}$/.test(name))).toEqual([]);
  return Promise.all(names.map(async (name) => recordsOf(await readFile(join(folder, name))).map(describeEvent)));
}

describe('tensorBoard', () => {
  it('writes the values under the tags of transformers, the configuration and warnings as text', async () => {
    const evaluated = {
      evalDataset: linearDataset(10, 20),
      computeMetrics: () => ({ accuracy: 0.75, 'a b': Number.NaN }),
    };
    const config = { evalStrategy: 'steps', evalSteps: 3, warmupRatio: 0.1 };
    await run(undefined, config, evaluated).train();
    const [events, ...others] = await eventsIn(join(outputDir, 'runs'));
    expect(others).toEqual([]);
    expect(events!.slice(0, 2)).toEqual(['version brain.Event:2', 'session 1 at 0']);
    expect(events![2]).toMatch(/^0: config\/text_summary \(text, type 7\): {5}\{\n {6}"outputDir": ".*\n {4}\}$/s);
    expect(events![3]).toMatch(/^0: warnings\/text_summary \(text, type 7\): {5}step 0: `warmupRatio` is the older/);
    expect(events!.slice(4).map((event) => event.replace(/=\S+/g, '').replace(/^\d: warnings.*/, 'warning'))).toEqual([
      '3: train/loss train/grad_norm train/learning_rate train/epoch train/tokens_per_second train/peak_memory_gib',
      '3: eval/loss eval/runtime eval/samples_per_second eval/accuracy eval/a b',
      '6: train/loss train/grad_norm train/learning_rate train/epoch train/tokens_per_second train/peak_memory_gib',
      '6: eval/loss eval/runtime eval/samples_per_second eval/accuracy eval/a b',
      '6: train/train_loss train/train_runtime',
    ]);
    expect(events!.at(-3)).toMatch(/train\/epoch=3\.000 .* train\/peak_memory_gib=4\.000$/);
    expect(events!.at(-2)).toMatch(/eval\/accuracy=0\.7500 eval\/a b=NaN$/);
  });

  it('keeps its own values apart from metrics of the same name', () => {
    expect(scalarsOf(evaluateEvent(3, { loss: 9, accuracy: 1 }))).toEqual({
      'eval/loss': 0.5,
      'eval/runtime': 1,
      'eval/samples_per_second': 1,
      'eval/metrics/loss': 9,
      'eval/accuracy': 1,
    });
  });

  it('takes the loss of each step if asked to', async () => {
    await run({ folder: join(outputDir, 'tb', 'first'), every: 'step' }).train();
    const [events] = await eventsIn(join(outputDir, 'tb', 'first'));
    const tags = events!.slice(3).map((event) => event.replace(/=\S+/g, ''));
    const learning = 'train/loss train/grad_norm train/learning_rate train/epoch';
    const others = 'train/tokens_per_second train/peak_memory_gib';
    expect(tags.slice(0, 4)).toEqual([`1: ${learning}`, `2: ${learning}`, `3: ${learning}`, `3: ${others}`]);
  });

  it('goes on after a resume, with what came after the checkpoint purged', async () => {
    const settings = { saveStrategy: 'steps', saveSteps: 2, loggingSteps: 1 };
    await run(undefined, settings).train();
    await run(undefined, settings).train({ resumeFromCheckpoint: join(outputDir, 'checkpoint-4') });
    const [before, after, ...others] = await eventsIn(join(outputDir, 'runs'));
    expect(others).toEqual([]);
    expect(after!.slice(0, 2)).toEqual(['version brain.Event:2', 'session 1 at 5']);
    const loss = (events: string[]) => events.flatMap((event) => /^\d: train\/loss=\S+/.exec(event) ?? []);
    expect(loss(before!)).toHaveLength(6);
    expect(loss(after!)).toEqual(loss(before!).slice(4));
  });

  it('checks its options, and its folder when the run begins', async () => {
    expect(() => tensorBoard({ logdir: 'x' } as object)).toThrow(ConfigError);
    expect(() => tensorBoard({ logdir: 'x' } as object)).toThrow(/`folder`/);
    expect(() => tensorBoard({ folder: '' })).toThrow(ConfigError);
    expect(() => tensorBoard({ every: 'epoch' as 'log' })).toThrow('`every`: expected "log" or "step", got "epoch"');
    const held = run({ folder: join(outputDir, 'train-log.jsonl') });
    await run().train();
    const error: unknown = await held.train().then(undefined, (fault: unknown) => fault);
    expect((error as Error).message).toMatch(/the callback "tensorBoard" failed in onStart: .*train-log.jsonl: cannot/);
    expect((error as Error).cause).toBeInstanceOf(DiskError);
  });
});

describe('records', () => {
  it('have the checks of published files', () => {
    // RFC 3720, B.4: 32 bytes of zeros, ones, rising and falling; before the mask.
    const unmask = (masked: number): number => {
      const turned = (masked - 0xa282ead8) >>> 0;
      return ((turned >>> 17) | (turned << 15)) >>> 0;
    };
    const rising = Uint8Array.from({ length: 32 }, (_, i) => i);
    const published = [new Uint8Array(32), new Uint8Array(32).fill(255), rising, rising.toReversed()];
    expect(published.map((bytes) => unmask(maskedCrc32c(bytes)))).toEqual([
      0x8a9136aa, 0x62a8ab43, 0x46dd794e, 0x113fdb5c,
    ]);
    // The first record of each file that TensorFlow and tensorboardX write, but for its time: 24 bytes with this check.
    const record = versionRecord(1);
    expect(record.readBigUInt64LE()).toBe(24n);
    expect(record.subarray(8, 12).toString('hex')).toBe('a37f4b22');
    expect(recordsOf(record)).toHaveLength(1);
  });

  it('hold whole numbers of any size, and any text', () => {
    const numbers = [0, 127, 128, 300, 2 ** 31, 2 ** 32 + 1, Number.MAX_SAFE_INTEGER];
    const message = new ProtobufMessage();
    for (const number of numbers) message.integer(2, number);
    message.bytes(17, '骨折 🦴').bytes(17, '\ud800').bytes(17, '');
    const fields = fieldsOf(message.encode());
    expect(fields.get(2)).toEqual(numbers);
    expect(fields.get(17)!.map(String)).toEqual(['骨折 🦴', '\ufffd', '']);
    // The example of the encoding's description.
    expect(new ProtobufMessage().integer(1, 150).encode().toString('hex')).toBe('089601');
  });
});
