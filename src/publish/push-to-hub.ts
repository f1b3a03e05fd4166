/** A folder with an adapter or a merged model, onto the Hub: checked, described, and uploaded as far as it changed. */
import { join } from 'node:path';
import { z } from 'zod';
import { type Mismatch, type NoMismatch, parseOptions, requirePath } from '../config.js';
import { ConfigError } from '../errors.js';
import { describeFolder } from '../files/describe-folder.js';
import { exists } from '../files/regular-file.js';
import {
  ownedRepoId,
  type PushedFile,
  type PushOptions,
  type PushResult,
  pushFiles,
  pushFilesSchema,
} from '../hub/push-files.js';
import { parseRepoId } from '../hub/repo-id.js';
import { ADAPTER_CONFIG_FILE, CHAT_TEMPLATE_FILE } from '../lora/adapter-folder.js';
import { whileUploading } from '../lora/adapter-lock.js';
import {
  type ChatTemplateSource,
  chatTemplateFields,
  chatTemplateText,
  type TemplateHolder,
} from '../lora/chat-template-option.js';
import { showValue } from '../messages/show-value.js';
import { adapterUpload } from './adapter-upload.js';
import { isReplaceable, markedCard } from './card-mark.js';
import { mergedUpload } from './merged-upload.js';
import { imagePath, type ModelCard, modelCardSchema, renderModelCard } from './model-card.js';
/** Options of {@link pushToHub}. */
export interface PushToHubOptions extends PushOptions {
  /** What the page says. Default: what the files alone say. */
  modelCard?: ModelCard | undefined;
  /**
   * Replace a README.md on the Hub that people have edited; else it is kept as it is, with a warning, and `kept` of the
   * result names it. Default: false.
   */
  overwriteCard?: boolean | undefined;
  /**
   * The chat template that the adapter was trained with, or its Jinja source: uploaded as chat_template.jinja.
   * Default: that of `processor`, else the folder's.
   */
  chatTemplate?: ChatTemplateSource | undefined;
  /** What `fromPretrained` gave: its chat template is taken. Default: none. */
  processor?: TemplateHolder | undefined;
}

/** Checks {@link PushToHubOptions}. */
const pushToHubSchema = pushFilesSchema.extend({
  modelCard: modelCardSchema.prefault({}),
  overwriteCard: z.boolean().default(false),
  chatTemplate: chatTemplateFields.chatTemplate,
  processor: chatTemplateFields.processor,
});

type _Input = NoMismatch<Mismatch<z.input<typeof pushToHubSchema>, PushToHubOptions>>;

/**
 * Uploads an adapter, as `saveAdapter` wrote it, or a merged model, as `mergeAdapter` did. Of an adapter:
 * `adapter_config.json`, `adapter_model.safetensors`; of a model: its safetensors files and their index, configuration,
 * generation settings and licence; of both: the chat template, the files of tokenizer and processor that the folder
 * has, a README.md made from `modelCard`, and its images; nothing else in the folder. The repository is made if need
 * be, public unless `private` says otherwise. Called again with the same content it commits nothing; after a failure it
 * goes on with what is missing. A README.md that people have edited on the Hub is kept, and nothing in the repository is
 * deleted: a model is refused where an adapter or other weights would stay beside it. (With `createPr` each call opens a
 * pull request, until one is merged.)
 * @param directory what `saveAdapter` or `mergeAdapter` wrote; where it has both, the adapter is meant
 * @param id `OWNER/NAME`, or a name alone for an owner that is whoever the token belongs to
 * @throws CheckpointError if the folder holds neither a sound adapter nor a sound model; ConfigError for bad options,
 *   without a token, or if the base model's name is a path of this machine; HubError, explained; the signal's reason
 * @example
 * ```ts
 * await saveAdapter(adapter, 'adapter');
 * const { url } = await pushToHub('adapter', 'USER/NAME');
 * ```
 */
export async function pushToHub(directory: string, id: string, options: PushToHubOptions = {}): Promise<PushResult> {
  requirePath(directory, 'pushToHub');
  const parsed = parseOptions(pushToHubSchema, options, 'pushToHub');
  // Before any file is read, since it is what is mistyped.
  if (typeof id === 'string' && /^([./\\~]|[A-Za-z]:[\\/])/.test(id)) {
    throw new ConfigError(`pushToHub: expected a repository's name, got the path ${showValue(id)}`, {
      hint: "The folder comes first: pushToHub(folder, 'OWNER/NAME').",
    });
  }
  parseRepoId(id);
  // Configuration and weights are read at different times, and must be of one save.
  return whileUploading(directory, parsed, () => push(directory, id, parsed));
}

async function push(directory: string, id: string, options: z.output<typeof pushToHubSchema>): Promise<PushResult> {
  const { modelCard: card, overwriteCard, chatTemplate, processor, ...push } = options;
  const template = chatTemplateText({ chatTemplate, processor });
  const isModel =
    (await describeFolder(directory)).kind === 'model' && !(await exists(join(directory, ADAPTER_CONFIG_FILE)));
  const what = isModel ? 'merged model' : 'adapter';
  const upload = await (isModel ? mergedUpload : adapterUpload)(directory, card.baseModel);
  const repoId = await ownedRepoId(id, push);
  const warn = push.onWarning ?? ((line: string) => process.emitWarning(line, 'LoraWarning'));
  for (const line of upload.warnings) warn(line);
  const hasTemplate = template !== undefined || upload.files.some(({ path }) => path === CHAT_TEMPLATE_FILE);
  const files: PushedFile[] = [
    ...upload.files.filter(({ path }) => template === undefined || path !== CHAT_TEMPLATE_FILE),
    ...(template === undefined ? [] : [{ path: CHAT_TEMPLATE_FILE, text: template }]),
    ...card.pictures.map(({ path }) => ({ path: imagePath(path), source: path })),
    cardFile(renderModelCard(card, upload.subject(repoId, hasTemplate)), overwriteCard),
  ];
  const names = files.map(({ path }) => path);
  const twice = names.filter((name, i) => names.indexOf(name) !== i);
  if (twice.length > 0)
    throw new ConfigError(`pushToHub: several images would become ${[...new Set(twice)].join(', ')}`);
  const commitMessage = push.commitMessage ?? `Upload ${what} with ministral-tune`;
  const result = await pushFiles(repoId, files, { ...push, commitMessage }, upload.refuse);
  if (result.kept.length > 0) {
    warn(
      `${repoId}: README.md on the Hub was edited there and is kept, so it does not show what \`modelCard\` says now; ` +
        '`overwriteCard: true` replaces it',
    );
  }
  return result;
}

/** The page, in place of one that this package has made, or that has no text; others only if they may be overwritten. */
function cardFile(card: string, overwrite: boolean): PushedFile {
  const merge = (there: string): string | undefined =>
    overwrite || isReplaceable(there) ? markedCard(card, there) : undefined;
  return { path: 'README.md', text: markedCard(card), merge };
}
