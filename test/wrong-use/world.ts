/** What the wrong uses are written with: a tiny model, data and files, by the names that the table shows. */
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import * as audit from '../../src/audit.js';
import * as charts from '../../src/charts.js';
import { runCommand } from '../../src/cli/run-command.js';
import * as data from '../../src/data.js';
import { ConfigError, type TuneError } from '../../src/errors.js';
import * as evaluation from '../../src/eval.js';
import * as hub from '../../src/hub.js';
import * as api from '../../src/index.js';
import * as monitor from '../../src/monitor.js';
import * as plan from '../../src/plan.js';
import * as report from '../../src/report.js';
import * as safetensors from '../../src/safetensors.js';
import { makeExamples, makeTinyWorld } from '../e2e/tiny-model.js';

/** By the name that one imports. */
export const DOORS: Readonly<Record<string, object>> = {
  'ministral-tune': api,
  'ministral-tune/data': data,
  'ministral-tune/hub': hub,
  'ministral-tune/charts': charts,
  'ministral-tune/safetensors': safetensors,
  'ministral-tune/audit': audit,
  'ministral-tune/eval': evaluation,
  'ministral-tune/plan': plan,
  'ministral-tune/monitor': monitor,
  'ministral-tune/report': report,
};

export interface WrongUseWorld {
  /** Names in scope, beside those of the doors. */
  readonly scope: Readonly<Record<string, unknown>>;
  /** Where `./` lies. */
  readonly dir: string;
  /** When the runs that a wrong use began have ended. */
  settled(): Promise<void>;
  remove(): Promise<void>;
}

export async function makeWrongUseWorld(): Promise<WrongUseWorld> {
  const tiny = await makeTinyWorld();
  const dir = await mkdtemp(join(tmpdir(), 'wrong-uses-'));
  const { engine, model, processor, collator, checkpoint } = tiny;
  await drawFolder(join(dir, 'xrays'));
  await mkdir(join(dir, 'empty'));
  await writeFile(join(dir, 'notes.txt'), 'x\n');
  await writeFile(join(dir, 'settings.json'), '{}\n');
  await writeFile(join(dir, 'train.jsonl'), '{"question": "What is it?", "reply": "A hand."}\n');
  const adapter = api.applyLora(model, { r: 2, alpha: 4, targetModules: ['q_proj'] }, { onWarning: () => undefined });
  await api.saveAdapter(adapter, join(dir, 'adapter'));
  const plainModel = await api.loadModel(checkpoint, { engine });
  const folder = await api.ImageFolder.load(join(dir, 'xrays'));
  const samples = makeExamples(2);
  const toExample = (item: api.ImageSample): api.SftExample => ({
    id: item.path,
    messages: [
      {
        role: 'user',
        content: [
          { type: 'text', text: 'What is it?' },
          { type: 'image', image: item.image },
        ],
      },
      { role: 'assistant', content: item.className },
    ],
  });
  const evaluator = new api.Evaluator({
    classNames: folder.classNames,
    generate: async (examples) => examples.map(() => 'broken'),
  });
  const trainDataset = folder.train.map(toExample);
  const config = { outputDir: join(dir, 'run'), maxSteps: 1, saveStrategy: 'no', progress: 'none' } as const;
  const trainer = new api.SftTrainer({ model, collator, trainDataset, config });
  const runs: Promise<unknown>[] = [];
  const recorded = new Proxy(trainer, {
    get: (target, name) => {
      if (name !== 'train') return (target[name as keyof api.SftTrainer] as () => unknown).bind?.(target);
      return (options?: object) => {
        const run = target.train(options);
        runs.push(run.catch(() => undefined));
        return run;
      };
    },
  });
  const disposedEngine = await api.createEngine('cpu', { threads: 1 });
  const disposedModel = await api.loadModel(checkpoint, { engine: disposedEngine });
  const disposedAdapter = api.applyLora(disposedModel, { r: 2 }, { onWarning: () => undefined });
  disposedAdapter.dispose();
  disposedModel.dispose();
  await disposedEngine.dispose();
  const scope = {
    ...{ engine, model, plainModel, processor, adapter, collator, folder, samples, toExample, evaluator, trainDataset },
    ...{
      tokenizer: processor.tokenizer,
      imageProcessor: processor.imageProcessor,
      chatTemplate: processor.chatTemplate,
    },
    ...{ disposedEngine, disposedModel, disposedAdapter },
    trainer: recorded,
    batch: await collator.collatePrompts(samples),
    report: await evaluator.evaluate(folder.test, { toExample }),
    auditReport: await audit.auditDataset(folder),
  };
  await symlink(checkpoint, join(dir, 'model'), 'dir');
  const settled = async (): Promise<void> => {
    await Promise.all(runs);
  };
  const remove = async (): Promise<void> => {
    plainModel.dispose();
    adapter.dispose();
    await tiny.dispose();
    await rm(dir, { recursive: true, force: true });
  };
  return { scope, dir, settled, remove };
}

/** Two classes, each with two images in Train and in Test. */
async function drawFolder(root: string): Promise<void> {
  const classes = ['broken', 'healthy'];
  for (const [label, name] of classes.entries()) {
    for (const [at, split] of ['Train', 'Test'].entries()) {
      const place = join(root, name, split);
      await mkdir(place, { recursive: true });
      for (let i = 0; i < 2; i++) {
        const pixels = Uint8Array.from(
          { length: 32 * 32 * 3 },
          (_, k) => (k * (7 + 3 * i + 5 * label + 11 * at)) % 251,
        );
        await sharp(pixels, { raw: { width: 32, height: 32, channels: 3 } })
          .png()
          .toFile(join(place, `${i}.png`));
      }
    }
  }
}

type Runner = (...values: readonly unknown[]) => Promise<unknown>;
const AsyncFunction = (async () => undefined).constructor as new (...names: string[]) => Runner;

export const COMMAND = 'npx ministral-tune ';

/** Runs the text as a user's program would; what is iterated is asked once. @returns what it throws, or undefined */
export async function runWrongUse(code: string, world: WrongUseWorld): Promise<unknown> {
  const here = code.replaceAll("'./", `'${world.dir}/`);
  if (code.startsWith(COMMAND)) return runCommandLine(code.slice(COMMAND.length).replaceAll('./', `${world.dir}/`));
  const names: Readonly<Record<string, unknown>> = { ...Object.assign({}, ...Object.values(DOORS)), ...world.scope };
  const at = here.lastIndexOf('; await ');
  const body = at < 0 ? `return (${here});` : `${here.slice(0, at)}; return ${here.slice(at + 2)};`;
  const program = new AsyncFunction(...Object.keys(names), body);
  try {
    const result = (await program(...Object.values(names))) as Partial<AsyncIterator<unknown>> | undefined;
    if (typeof result?.next === 'function') await result.next();
    return undefined;
  } catch (error) {
    return error;
  } finally {
    await world.settled();
  }
}

/** What a command that fails prints for it, without the text of --help. */
async function runCommandLine(line: string): Promise<TuneError | undefined> {
  const printed: string[] = [];
  const print = (text: string): void => void printed.push(text);
  const code = await runCommand(line.split(' '), { print, printError: print });
  return code === 0 ? undefined : new ConfigError(printed.join('\n').split('\n\n', 1)[0]!);
}
