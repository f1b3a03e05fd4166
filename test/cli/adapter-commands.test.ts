import { readdir, readFile, writeFile } from 'node:fs/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { runDemo } from '../../src/cli/demo.js';
import { HubServer } from '../servers/hub-server.js';
import { type CommandBed, commandBed, QUIET, run } from './command-bed.js';

let bed: CommandBed;
let adapter: string;
beforeAll(async () => {
  bed = await commandBed();
  const outputDir = bed.at('run');
  const parts = ['--data', bed.data, '--model', bed.model, '--output-dir', outputDir, '--max-steps', '1', ...QUIET];
  expect((await run('train', ...parts, '--no-report', '--prompt', 'Which one?')).code).toBe(0);
  adapter = bed.at('run', 'adapter');
}, 60_000);
afterAll(() => bed.remove());
afterEach(() => vi.unstubAllEnvs());

describe('evaluate', () => {
  it('asks as the training did, and writes predictions and report', async () => {
    const outputDir = bed.at('evaluation');
    const parts = ['--adapter', adapter, '--engine', 'cpu', '--output-dir', outputDir, '--json'];
    const { code, out } = await run('evaluate', ...parts, '--mode', 'scored');
    expect(code).toBe(0);
    expect(out).toContain('asked with: Which one?');
    expect(out).toContain('log loss');
    expect(JSON.parse(out.trimEnd().split('\n').at(-1)!)).toMatchObject({ samples: 10, engine: 'cpu' });
    expect(await readdir(outputDir)).toEqual(['predictions.csv', 'report.json']);
    expect(JSON.parse(await readFile(`${outputDir}/report.json`, 'utf8'))).toMatchObject({ mode: 'scored', count: 10 });
  });

  it('takes a model alone, another split, and a plain prompt', async () => {
    const parts = ['--model', bed.model, '--data', bed.data, '--engine', 'cpu', '--output-dir', bed.at('base')];
    const { code, out } = await run('evaluate', ...parts, '--split', 'train', '--limit', '4', '--mode', 'constrained');
    expect(code).toBe(0);
    expect(out).toContain('asked with: Name the class of this image.');
    expect(out).toMatch(/of 4 samples right, 0 answers that are no class name/);
  });

  it('says what is missing', async () => {
    expect(await run('evaluate')).toMatchObject({ code: 2, err: expect.stringContaining('--adapter') });
    expect(await run('evaluate', '--model', bed.model)).toMatchObject({
      code: 2,
      err: expect.stringContaining('--data is missing'),
    });
    const split = await run('evaluate', '--adapter', adapter, '--split', 'validation');
    const model = await run('evaluate', '--adapter', bed.model, '--data', bed.data, '--engine', 'cpu');
    expect(model).toMatchObject({ code: 1, err: expect.stringContaining('so it is no adapter') });
    expect(split).toMatchObject({
      code: 1,
      err: expect.stringMatching(/no validation images, only: train 20, test 10/),
    });
    // Before the model is asked, whose answers would be lost.
    const file = bed.at('a-file');
    await writeFile(file, '');
    const nowhere = await run('evaluate', '--adapter', adapter, '--output-dir', file);
    expect(nowhere).toMatchObject({
      code: 1,
      err: expect.stringContaining(`${file}: cannot be written: another file`),
    });
    expect(nowhere.out).not.toContain('asked with');
    expect(await run('evaluate', '--adapter', adapter, '--mode', 'score')).toMatchObject({
      code: 2,
      err: expect.stringContaining('Did you mean scored?'),
    });
  });
});

describe('merge', () => {
  it('writes a model, which evaluate takes as one', async () => {
    const output = bed.at('merged');
    const { code, out } = await run('merge', '--adapter', adapter, '--output', output, '--json');
    expect(code).toBe(0);
    expect(out).toContain('28 layers merged');
    expect(JSON.parse(out.trimEnd().split('\n').at(-1)!).files).toContain('model.safetensors');
    const again = await run('merge', '--adapter', adapter, '--output', output);
    expect(again).toMatchObject({ code: 1, err: expect.stringContaining(output) });
    expect(await run('merge', '--adapter', adapter)).toMatchObject({
      code: 2,
      err: expect.stringContaining('merge: --output is missing'),
    });
    const model = await run('merge', '--adapter', adapter, '--output', bed.at('b'), '--model', bed.data);
    expect(model.code).toBe(1);
    const none = { code: 1, err: expect.stringMatching(/--adapter: there is no folder "adaptr"\n.*adapter\/ of its/) };
    expect(await run('merge', '--adapter', 'adaptr', '--output', bed.at('c'))).toMatchObject(none);
    expect(await run('evaluate', '--adapter', 'adaptr', '--data', bed.data)).toMatchObject(none);
  });
});

describe('push', () => {
  it('asks whether it may, uploads, and describes the training', async () => {
    const server = await HubServer.start();
    vi.stubEnv('HF_ENDPOINT', server.endpoint);
    vi.stubEnv('HF_HOME', bed.at('hub'));
    vi.stubEnv('HF_TOKEN', 'hf_writer');
    try {
      const { code, out } = await run('push', adapter, 'user/fracture', '--private', '--base-model', 'org/base');
      expect(out).toContain(`pushed to ${server.endpoint}/user/fracture`);
      expect(code).toBe(0);
      const files = server.head('user/fracture').files;
      expect([...files.keys()].sort()).toEqual([
        ...['.gitattributes', 'README.md', 'adapter_config.json', 'adapter_model.safetensors', 'chat_template.jinja'],
      ]);
      const card = files.get('README.md')!.toString();
      expect(card).toContain('Which one?');
      expect(card).toContain('20 samples in 10 classes (Avulsion fracture');
      expect(card).not.toContain(bed.dir);
      const again = await run('push', adapter, 'user/fracture', '--base-model', 'org/base');
      expect(again).toMatchObject({ code: 0, out: expect.stringContaining('has this already') });
      const parts = ['--data', bed.data, '--model', bed.model, '--base-model', 'org/base', ...QUIET, '--no-report'];
      const more = ['--max-steps', '1', '--no-evaluate', '--output-dir', bed.at('pushed'), '--push-to-hub', 'trained'];
      const trained = await run('train', ...parts, ...more);
      expect(trained.out).toMatch(/^will push to user\/trained\n/);
      expect(trained.out).toContain(`Hub        ${server.endpoint}/user/trained`);
      vi.stubEnv('HF_TOKEN', 'hf_reader');
      expect(await run('push', adapter, 'user/fracture')).toMatchObject({
        code: 1,
        err: expect.stringContaining('may only read'),
      });
    } finally {
      await server.close();
    }
  });

  it('says what is missing', async () => {
    expect(await run('push')).toMatchObject({
      code: 2,
      err: expect.stringContaining("missing required argument 'dir'"),
    });
    expect(await run('push', bed.at('nothing'), 'a/b')).toMatchObject({
      code: 1,
      err: expect.stringContaining(`there is no folder ${bed.at('nothing')}`),
    });
  });
});

describe('demo', () => {
  it('draws, trains, compares, and says what to do next', async () => {
    let out = '';
    const output = {
      print: (text: string) => {
        out += `${text}\n`;
      },
      printError: () => undefined,
    };
    const flags = { outputDir: bed.at('demo'), json: true };
    const counts = { trainPerClass: 2, testPerClass: 1 };
    expect(await runDemo(flags, output, counts, { progress: 'none', maxSteps: 1 })).toBe(0);
    expect(out).toContain('drew 10 × (2 + 1) images');
    expect(out).toMatch(/Of 10 samples in both/);
    expect(out).toContain('It says nothing about real X-rays.');
    expect(out).toContain('npx ministral-tune train --data DIR --model 3B');
    expect(JSON.parse(out.trimEnd().split('\n').at(-1)!)).toMatchObject({ classes: 10, steps: 1 });
    // A second time it replaces the first.
    expect(await runDemo(flags, output, counts, { progress: 'none', maxSteps: 1 })).toBe(0);
  });
});
