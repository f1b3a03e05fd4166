/** What of a merged model's folder is published, and what its page says. */
import { readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { requireUnchanged } from '../files/file-digests.js';
import { ShardedCheckpoint } from '../formats/safetensors.js';
import { ADAPTER_CONFIG_FILE, ADAPTER_WEIGHTS_FILE, PROCESSOR_FILES } from '../lora/adapter-folder.js';
import { smallFiles } from '../lora/merge-files.js';
import { formatBytes } from '../messages/format-bytes.js';
import { baseLink, type CardSubject, fence, row, usageSection } from './model-card.js';
import { hubName, type Upload } from './upload.js';

/** Beside the weights, their index and the files of the processor. */
const PUBLISHED = /^((generation_)?config\.json|tekken\.json|SYSTEM_PROMPT\.txt|(LICEN[CS]E|NOTICE).*)$/i;
const WEIGHTS = /^model.*\.safetensors(\.index\.json)?$/;

/**
 * @param base the base model's name. Default: that of the README.md which `mergeAdapter` wrote
 * @throws CheckpointError if a shard is missing or damaged; ConfigError for a base model that is a folder
 */
export async function mergedUpload(directory: string, base: string | undefined): Promise<Upload> {
  const baseModel = await hubName(base ?? (await writtenBase(directory)), 'model');
  const checkpoint = await ShardedCheckpoint.open(directory);
  try {
    const shards = checkpoint.files.map(({ path }) => basename(path));
    await requireUnchanged(directory, shards);
    const { indexFile } = checkpoint;
    const small = (await smallFiles(checkpoint)).filter(
      ([name]) => name === indexFile || PROCESSOR_FILES.includes(name) || PUBLISHED.test(name),
    );
    const tensors = [...checkpoint.tensors.values()];
    const facts = {
      baseModel,
      parameters: tensors.reduce((sum, { shape }) => sum + shape.reduce((size, extent) => size * extent, 1), 0),
      dtypes: [...new Set(tensors.map(({ dtype }) => dtype))].sort(),
      bytes: tensors.reduce((sum, { byteLength }) => sum + byteLength, 0),
    };
    const files = [
      ...small.map(([path, source]) => ({ path, source })),
      ...shards.map((path) => ({ path, source: join(directory, path) })),
    ];
    const names = files.map(({ path }) => path);
    return {
      files,
      warnings: [],
      subject: (repoId) => mergedSubject({ repoId, ...facts }),
      // Loaders put an adapter that they find onto the model, and prefer one file of weights to an index.
      refuse: (paths) => {
        const other = paths.find(
          (path) =>
            path === ADAPTER_CONFIG_FILE ||
            path === ADAPTER_WEIGHTS_FILE ||
            (WEIGHTS.test(path) && !names.includes(path)),
        );
        return other && `it holds ${other}, which would be loaded with or in place of the merged model`;
      },
    };
  } finally {
    await checkpoint.close();
  }
}

/** The name in the page that `mergeAdapter` wrote; undefined if there is none, or another page. */
async function writtenBase(directory: string): Promise<string | undefined> {
  const page = await readFile(join(directory, 'README.md'), 'utf8').catch(() => '');
  const [, metadata = ''] = /^---\n([\s\S]*?)\n---\n/.exec(page) ?? [];
  return /^base_model: "?([\w.-]+\/[\w.-]+)"?$/m.exec(metadata)?.[1];
}

interface MergedFacts {
  readonly repoId: string;
  readonly baseModel: string | undefined;
  readonly parameters: number;
  /** Number formats of the weights, by their names in the files. */
  readonly dtypes: readonly string[];
  /** Of all weights. */
  readonly bytes: number;
}

/** What the page says of a merged model. */
function mergedSubject({ repoId, baseModel, parameters, dtypes, bytes }: MergedFacts): CardSubject {
  const model = [
    '## Model',
    '',
    '| | |',
    '| --- | --- |',
    row(['parameters', parameters.toLocaleString('en-US')]),
    row(['stored as', dtypes.join(', ')]),
    row(['size of the weights', formatBytes(bytes)]),
  ].join('\n');
  const typescript = [
    "import { fromPretrained } from 'ministral-tune';",
    '',
    `const { model, processor } = await fromPretrained('${repoId}');`,
  ];
  const python = [
    'from transformers import AutoModelForImageTextToText, AutoProcessor',
    '',
    `model = AutoModelForImageTextToText.from_pretrained("${repoId}", dtype="auto", device_map="auto")`,
    `processor = AutoProcessor.from_pretrained("${repoId}")`,
  ];
  const serve = `vllm serve ${repoId} \\\n  --config-format hf --load-format safetensors --tokenizer-mode hf`;
  return {
    repoId,
    baseModel,
    noun: 'model',
    introduction: `${baseModel ? baseLink(baseModel) : 'A model'} with a LoRA adapter merged into its weights by ministral-tune.`,
    library: 'transformers',
    // The Hub's `merge` is several models made one.
    relation: 'finetune',
    tags: ['lora', 'ministral-tune'],
    sections: [model, usageSection(typescript, python), `### vLLM\n\n${fence(serve, 'sh')}`],
  };
}
