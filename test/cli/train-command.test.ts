import { mkdir, readdir, readFile, rename, writeFile } from 'node:fs/promises';
import { relative } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { type CommandBed, commandBed, QUIET, run } from './command-bed.js';

let bed: CommandBed;
beforeAll(async () => {
  bed = await commandBed();
}, 60_000);
afterAll(() => bed.remove());

const json = async (...path: string[]) => JSON.parse(await readFile(bed.at(...path), 'utf8'));
const train = (...more: string[]) => run('train', '--data', bed.data, '--model', bed.model, ...QUIET, ...more);

describe('train', () => {
  it('goes from class folders to an adapter, and says what it did and what comes next', async () => {
    const outputDir = bed.at('classes');
    const { code, out } = await train('--output-dir', outputDir, '--max-steps', '2', '--json');
    expect(code).toBe(0);
    expect(out).toContain('10 classes (Avulsion fracture');
    expect(out).toContain('2 steps of up to 8 samples; learning rate 0.0002, warm-up 0 steps');
    expect(out).toMatch(/samples {4}20 of 10 classes, 10 for the test\nsteps {6}2 in /);
    expect(out).toMatch(/accuracy {3}0\.0 % before, \d+\.\d % after/);
    expect(out).toContain(`npx ministral-tune evaluate --adapter ${outputDir}/adapter --data ${bed.data}`);
    const summary = JSON.parse(out.trimEnd().split('\n').at(-1)!);
    expect(summary).toMatchObject({ engine: 'cpu', trainSamples: 20, testSamples: 10, classes: 10, steps: 2 });
    expect(summary.loss.first).toBeGreaterThan(0);
    expect((await readdir(outputDir)).sort()).toEqual([
      'adapter',
      'before.json',
      'checkpoints',
      'predictions.csv',
      'report.html',
      'report.json',
      'settings.json',
    ]);
    expect(await json('classes', 'adapter', 'adapter_config.json')).toMatchObject({ r: 16, lora_alpha: 32 });
    const record = await json('classes', 'adapter', 'ministral-tune.json');
    expect(record).toMatchObject({ trainSamples: 20, testSamples: 10, accuracy: { before: 0 } });
    expect(record.classNames).toHaveLength(10);
    expect(await json('classes', 'settings.json')).toMatchObject({ data: bed.data, maxSteps: 2 });
  });

  it('does not mix with an earlier run, and replaces it only when told', async () => {
    const again = await train('--output-dir', bed.at('classes'), '--max-steps', '1');
    expect(again).toMatchObject({
      code: 1,
      err: expect.stringMatching(/holds an adapter and checkpoints up to step 2 .*\n.*--resume .*--overwrite/),
    });
    const both = await train('--output-dir', bed.at('classes'), '--resume', '--overwrite');
    expect(both).toMatchObject({ code: 2, err: expect.stringContaining('contradict each other') });
    const anew = await train('--output-dir', bed.at('classes'), '--max-steps', '1', '--overwrite', '--no-evaluate');
    expect(anew.code).toBe(0);
    expect(await readdir(bed.at('classes', 'checkpoints'))).not.toContain('checkpoint-2');
    // Of the earlier adapter.
    expect(await readdir(bed.at('classes'))).not.toContain('predictions.csv');
    expect(await json('classes', 'adapter', 'ministral-tune.json')).not.toHaveProperty('accuracy');
    expect((await run('demo', '--output-dir', bed.at('classes'))).err).toMatch(/of an earlier run\n.*another folder/);
    expect(await readdir(bed.at('classes'))).not.toContain('tiny-model');
  });

  it('loses no earlier run to data, a model or an option that is wrong', async () => {
    const outputDir = bed.at('kept');
    await mkdir(bed.at('kept', 'checkpoints', 'checkpoint-7'), { recursive: true });
    await mkdir(bed.at('kept', 'adapter'));
    const wrong = [
      ['--data', bed.at('nothing')],
      ['--model', bed.at('none')],
      ['--adapter', bed.at('kept', 'adapter'), '--rank', '4'],
    ];
    const codes = [];
    for (const more of wrong) codes.push((await train('--output-dir', outputDir, '--overwrite', ...more)).code);
    expect(codes).toEqual([1, 1, 2]);
    expect(await readdir(bed.at('kept', 'checkpoints'))).toEqual(['checkpoint-7']);
  });

  it('says at once what it cannot go on with, or write to', async () => {
    await mkdir(bed.at('bare'));
    const resume = await run('train', '--resume', '--output-dir', bed.at('bare'));
    expect(resume).toMatchObject({ code: 1, err: expect.stringContaining('bare holds no checkpoint to go on from') });
    await writeFile(bed.at('file'), '');
    const unwritable = await train('--output-dir', bed.at('file', 'out'));
    expect(unwritable).toMatchObject({
      code: 1,
      err: expect.stringMatching(/out: cannot be written: /),
    });
  });

  it('is stopped with its step saved, and goes on with the settings that it had', async () => {
    const outputDir = bed.at('stopped');
    const more = ['--max-steps', '16', '--gradient-accumulation', '1', '--no-report'];
    const atExit = new Set(process.listeners('exit'));
    let isSent = false;
    // As Ctrl-C does, once the first step was taken.
    const stopAt = setInterval(async () => {
      const log = await readFile(`${outputDir}/checkpoints/train-log.jsonl`, 'utf8').catch(() => '');
      if (isSent || !log.includes('"step":1')) return;
      isSent = true;
      process.emit('SIGINT', 'SIGINT');
    }, 1);
    const stopped = await train('--output-dir', outputDir, '--set', 'loggingSteps=1', '--batch-size', '1', ...more);
    clearInterval(stopAt);
    expect(stopped.code).toBe(1);
    expect(stopped.err).toMatch(/SIGINT: saving; again ends it at once/);
    const [, step] = /stopped after step (\d+), which is saved; to go on:\n {2}npx ministral-tune train --resume/.exec(
      stopped.err,
    )!;
    // It would end the process of the tests with the signal's code.
    for (const listener of process.listeners('exit')) if (!atExit.has(listener)) process.off('exit', listener);
    // Refused, which leaves the settings as they were.
    const refused = await run('train', '--resume', '--output-dir', outputDir, '--rank', '3');
    expect(refused).toMatchObject({
      code: 1,
      err: expect.stringContaining('`train --adapter CHECKPOINT` without --resume'),
    });
    // Moved since, and named by a file.
    await rename(outputDir, bed.at('moved'));
    await writeFile(bed.at('moved.json'), JSON.stringify({ outputDir: bed.at('moved') }));
    const { code, out } = await run('train', '--resume', '--config', bed.at('moved.json'), '--json');
    expect(code).toBe(0);
    expect(Number(step)).toBeLessThan(16);
    expect(out).toMatch(new RegExp(`steps {6}16, ${16 - Number(step)} of them now, in `));
    // The model as it was is asked once for both.
    const [, accuracy] = /^accuracy before: (.*)$/m.exec(stopped.out)!;
    expect(out).toContain(`accuracy before: ${accuracy}, as the run began\n`);
  });

  it('keeps a share for the test where there is none, and says that without it nothing is measured', async () => {
    const folder = bed.at('plain');
    for (const name of ['a', 'b']) {
      await mkdir(bed.at('plain', name), { recursive: true });
      for (const i of [0, 1, 2]) {
        const source = `${bed.data}/${name === 'a' ? 'Avulsion fracture' : 'Spiral Fracture'}/Train/000${i % 2}.png`;
        await writeFile(bed.at('plain', name, `${i}.png`), await readFile(source));
      }
    }
    const parts = ['--data', folder, '--model', bed.model, ...QUIET, '--max-steps', '1', '--no-report'];
    const without = await run('train', ...parts, '--output-dir', bed.at('without'));
    expect(without).toMatchObject({ code: 0, out: expect.stringContaining('--holdout 0.2 keeps a fifth') });
    const held = await run('train', ...parts, '--output-dir', bed.at('held'), '--holdout', '0.34');
    expect(held).toMatchObject({ code: 0, out: expect.stringMatching(/4 of 2 classes, 2 for the test/) });
    const twice = await train('--holdout', '0.2', '--output-dir', bed.at('twice'));
    expect(twice).toMatchObject({ code: 1, err: expect.stringContaining('there is a test split already') });
  });

  it('learns from conversations, and measures the loss of those held out', async () => {
    const file = bed.at('chat.jsonl');
    const row = (i: number) => ({
      messages: [
        { role: 'user', content: `What is ${i}?` },
        { role: 'assistant', content: `A number, ${i}.` },
      ],
    });
    await writeFile(file, Array.from({ length: 8 }, (_, i) => `${JSON.stringify(row(i))}\n`).join(''));
    const parts = ['--data', file, '--model', bed.model, ...QUIET, '--max-steps', '1', '--output-dir', bed.at('chat')];
    const { code, out } = await run('train', ...parts, '--holdout', '0.25', '--set', 'maskPrompt=false', '--json');
    expect(code).toBe(0);
    expect(out).toContain('6 training and 2 test conversations');
    expect(out).toMatch(/test loss {2}\d\.\d{4} before, \d\.\d{4} after/);
    const prompt = await run('train', ...parts, '--overwrite', '--prompt', 'What?');
    expect(prompt).toMatchObject({ code: 2, err: expect.stringContaining('--prompt has no effect') });
    const evaluated = await run('evaluate', '--adapter', bed.at('chat', 'adapter'), '--engine', 'cpu', '--json');
    expect(evaluated).toMatchObject({ code: 0, out: expect.stringMatching(/of 2 conversations/) });
    // Of the same tokens.
    const [trained, asked] = [out, evaluated.out].map((text) => JSON.parse(text.trimEnd().split('\n').at(-1)!));
    expect(asked.evalLoss).toBeCloseTo(trained.evalLoss.after, 3);
    // The same data by another name: what was trained on is not asked.
    const more = ['--adapter', bed.at('chat', 'adapter'), '--data', relative(process.cwd(), file), '--engine', 'cpu'];
    expect((await run('evaluate', ...more)).out).toMatch(/of 2 conversations/);
    expect((await run('evaluate', ...more, '--split', 'validation')).err).toContain('have no validation part');
    expect((await run('evaluate', ...more, '--mode', 'free')).err).toContain('--mode has no effect');
  });

  it('is refused as one of several processes on an engine without sums, before the model is loaded', async () => {
    const ranks = { RANK: '0', LOCAL_RANK: '0', WORLD_SIZE: '2', LOCAL_WORLD_SIZE: '2', MASTER_ADDR: '127.0.0.1' };
    for (const [name, value] of Object.entries({ ...ranks, MASTER_PORT: '29500' })) vi.stubEnv(name, value);
    try {
      const none = bed.at('no', 'model');
      const parts = ['--data', bed.data, '--model', none, ...QUIET, '--output-dir', bed.at('ranks')];
      const { code, err } = await run('train', ...parts);
      expect(code).toBe(1);
      expect(err).toContain('train: 2 processes are to train together, and the engine cpu cannot sum their gradients');
    } finally {
      vi.unstubAllEnvs();
    }
  });
});
