/** What the page of a fracture adapter on the Hub says. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { EvaluationReport, ModelCard } from 'ministral-tune';
import { escapeMarkdown } from 'ministral-tune/charts';

export interface FractureRun {
  /** Folder with the images that the run drew. */
  readonly out: string;
  /** Where the data set comes from, in words. */
  readonly source: string;
  readonly classNames: readonly string[];
  readonly trainSamples: number;
  readonly prompt: string;
  /** Name of the base model on the Hub; undefined: what the adapter was saved with. */
  readonly baseModel: string | undefined;
  readonly config: Readonly<Record<string, unknown>>;
  readonly before: EvaluationReport;
  readonly after: EvaluationReport;
}

const IMAGES = {
  'confusion.png': 'Confusion matrix on the test images, after training',
  'loss.png': 'Training loss',
  'class-counts.png': 'Samples of each class',
};

export function fractureCard(run: FractureRun): ModelCard {
  const { before, after } = run;
  const images = Object.entries(IMAGES).map(([name, caption]) => ({ path: join(run.out, name), caption }));
  return {
    ...(run.baseModel ? { baseModel: run.baseModel } : {}),
    warning:
      'For education only. This is not a medical device, and nothing here is fit for diagnosis or any other medical ' +
      'use: the data set is small, nobody has verified its labels, and some of its test images may be near copies of ' +
      'training images. Decisions about patients belong to qualified people with proper equipment.',
    description:
      'It names the kind of bone fracture on an X-ray, as one of the classes that its prompt lists. It was trained with ' +
      "the plain chat template that ministral-tune exports as `TUTORIAL_TEMPLATE`, not with the model's own.",
    license: 'apache-2.0',
    language: ['en'],
    tags: ['image-classification', 'radiology', 'education'],
    data: `${run.trainSamples} images in ${run.classNames.length} classes (${run.classNames.map(escapeMarkdown).join(', ')}) from ${run.source}.`,
    prompt: run.prompt,
    config: Object.fromEntries(Object.entries(run.config).filter(([, value]) => value !== undefined)),
    metrics: [
      { type: 'accuracy', name: 'Accuracy', value: after.accuracy, before: before.accuracy },
      { type: 'f1', name: 'Macro-F1', value: after.macroF1, before: before.macroF1 },
    ],
    evaluatedOn: {
      name: 'Bone fractures',
      type: 'bone-break-classification',
      split: 'test',
      samples: after.samples.length,
    },
    pictures: images.filter(({ path }) => existsSync(path)),
  };
}
