/** What the wrong uses are written with: a tiny model, data and files, by the names that the table shows. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import * as audit from '../../src/audit.js';
import * as charts from '../../src/charts.js';
import * as data from '../../src/data.js';
import * as evaluation from '../../src/eval.js';
import * as hub from '../../src/hub.js';
import * as api from '../../src/index.js';
import * as monitor from '../../src/monitor.js';
import * as plan from '../../src/plan.js';
import * as report from '../../src/report.js';
import * as safetensors from '../../src/safetensors.js';
import { makeExamples, makeTinyWorld } from '../e2e/tiny-model.js';

export const DOORS = {
  ...api,
  ...audit,
  ...charts,
  ...data,
  ...evaluation,
  ...hub,
  ...monitor,
  ...plan,
  ...report,
  ...safetensors,
};

export interface WrongUseWorld {
  /** Names in scope, beside those of the doors. */
  readonly scope: Readonly<Record<string, unknown>>;
  /** Where `./` lies. */
  readonly dir: string;
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
  const scope = {
    ...{ engine, model, plainModel, processor, adapter, collator, folder, samples, toExample, evaluator },
    ...{
      tokenizer: processor.tokenizer,
      imageProcessor: processor.imageProcessor,
      chatTemplate: processor.chatTemplate,
    },
    ...{ trainDataset: folder.train.map(toExample), batch: await collator.collatePrompts(samples) },
    report: await evaluator.evaluate(folder.test, { toExample }),
    auditReport: await audit.auditDataset(folder),
  };
  const remove = async (): Promise<void> => {
    plainModel.dispose();
    adapter.dispose();
    await tiny.dispose();
    await rm(dir, { recursive: true, force: true });
  };
  // The checkpoint lies under its own name beside the rest.
  const { symlink } = await import('node:fs/promises');
  await symlink(checkpoint, join(dir, 'model'), 'dir');
  return { scope, dir, remove };
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

/** Runs the text as a user's program would; what is iterated is asked once. @returns what it throws, or undefined */
export async function runWrongUse(code: string, { scope, dir }: WrongUseWorld): Promise<unknown> {
  const names = { ...DOORS, ...scope };
  const at = code.lastIndexOf('; ');
  const body = `${at < 0 ? '' : code.slice(0, at + 2)}return (${code.slice(at < 0 ? 0 : at + 2)});`;
  const program = new AsyncFunction(...Object.keys(names), body.replaceAll("'./", `'${dir}/`));
  try {
    const result = (await program(...Object.values(names))) as Partial<AsyncIterator<unknown>> | undefined;
    if (typeof result?.next === 'function') await result.next();
    return undefined;
  } catch (error) {
    return error;
  }
}
