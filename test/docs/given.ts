/** The surroundings that a block of code may take for granted: a model, data, an evaluator; made anew for each. */
import {
  applyLora,
  createEngine,
  type Engine,
  type EvaluationReport,
  Evaluator,
  fromPretrained,
  ImageFolder,
  type ImageSample,
  type LoraAdapter,
  type ModelProcessor,
  type SftExample,
  SftTrainer,
  scoreLabels,
  type VisionLanguageModel,
  VlmCollator,
} from 'ministral-tune';
import type { GIVEN_NAMES } from './given-names.js';

const MODEL = 'mistralai/Ministral-3-3B-Instruct-2512-BF16';

const toExample = (sample: ImageSample): SftExample => ({
  id: sample.path,
  messages: [
    {
      role: 'user',
      content: [
        { type: 'text', text: 'Which fracture is it?' },
        { type: 'image', image: sample.image },
      ],
    },
    { role: 'assistant', content: [{ type: 'text', text: sample.className }] },
  ],
});

interface Parts {
  readonly engine: Engine;
  readonly model: VisionLanguageModel;
  readonly processor: ModelProcessor;
}

let parts: Promise<Parts> | undefined;
async function makeParts(): Promise<Parts> {
  const engine = await createEngine('cpu');
  const { model, processor } = await fromPretrained(MODEL, { engine });
  return { engine, model, processor };
}

/** Frees what the last block was given. */
export async function takeBack(): Promise<void> {
  if (!parts) return;
  const { model, engine } = await parts;
  parts = undefined;
  model.dispose();
  await engine.dispose();
}

async function makeWorld() {
  parts ??= makeParts();
  const { engine, model, processor } = await parts;
  const { tokenizer, imageProcessor } = processor;
  const chatTemplate = processor.chatTemplate!;
  const collator = new VlmCollator({ tokenizer, imageProcessor, chatTemplate });
  const data = await ImageFolder.load('xrays');
  const { train, test, classNames } = data;
  const trainDataset = train.map(toExample);
  const evalDataset = test.map(toExample);
  const examples = [await evalDataset.get(0), await evalDataset.get(1)];
  const evaluator = new Evaluator({
    classNames,
    mode: 'scored',
    score: async (batch, names) => scoreLabels(model, tokenizer, await collator.collatePrompts(batch), names),
  });
  const lora = { r: 4, targetModules: ['q_proj', 'v_proj'] };
  const config = { perDeviceTrainBatchSize: 8 };
  return {
    ...{ lora, config },
    ...{ engine, model, processor, tokenizer, imageProcessor, chatTemplate, collator },
    ...{ data, train, test, classNames, trainDataset, evalDataset, toExample, examples, evaluator },
  };
}

type World = Awaited<ReturnType<typeof makeWorld>>;
interface Made {
  readonly prompts: Awaited<ReturnType<VlmCollator['collatePrompts']>>;
  readonly adapter: LoraAdapter;
  readonly trainer: SftTrainer;
  readonly report: EvaluationReport;
  readonly before: EvaluationReport;
  readonly after: EvaluationReport;
}
export type Given = World & Made;

export async function given<Name extends (typeof GIVEN_NAMES)[number]>(...names: Name[]): Promise<Pick<Given, Name>> {
  const world = await makeWorld();
  const { model, collator, examples, evaluator, test, trainDataset, config, lora } = world;
  const asked = new Set<string>(names);
  const evaluate = () => evaluator.evaluate(test, { toExample });
  const made: Partial<{ -readonly [key in keyof Made]: Made[key] }> = {};
  if (asked.has('prompts')) made.prompts = await collator.collatePrompts(examples);
  if (asked.has('report') || asked.has('before')) made.report = made.before = await evaluate();
  if (asked.has('adapter') || asked.has('trainer')) made.adapter = applyLora(model, lora);
  if (asked.has('trainer')) made.trainer = new SftTrainer({ model, collator, trainDataset, config });
  if (asked.has('after')) made.after = await evaluate();
  return { ...world, ...made } as Given;
}
