/** What the docs site is in order: of documents, and of the API by the story that the README tells. */

export const API_GROUP = 'API';
/** The navigation's parts, in order. Doors are in that of the API, with the categories of the story. */
export const DOCUMENT_GROUPS = ['Guides', 'Concepts', API_GROUP, 'In depth', 'Project'];

/** Documents first in their group, by their path below docs/; others follow by title. */
export const DOCUMENT_ORDER = [
  'guides/README.md',
  'guides/first-run.md',
  'guides/your-own-data.md',
  'guides/masking.md',
  'guides/rent-a-card.md',
  'guides/a-24-gb-card.md',
  'guides/memory.md',
  'guides/several-gpus.md',
  'guides/resume.md',
  'guides/evaluate.md',
  'guides/serve.md',
  'guides/from-trl.md',
  'guides/from-unsloth.md',
  'troubleshooting.md',
  'concepts/tokens-and-labels.md',
  'concepts/lora.md',
  'concepts/training-step.md',
  'concepts/memory.md',
  'concepts/engines.md',
  'options.md',
  'data-flow.md',
];

/** Documents of the top folder that speak of the project, not of its use. */
const PROJECT = new Set([
  ...[
    'CHANGELOG.md',
    'CONTRIBUTING.md',
    'SECURITY.md',
    'design.md',
    'extending.md',
    'performance.md',
    'performance-webgpu.md',
    'performance-log.md',
  ],
  ...['dependencies.md', 'mutation-testing.md'],
]);

/** The part of the navigation where a document stands. */
export function groupOf(path) {
  if (path.startsWith('guides/') || path === 'troubleshooting.md') return 'Guides';
  if (path.startsWith('concepts/')) return 'Concepts';
  return PROJECT.has(path) ? 'Project' : 'In depth';
}

/** The story, in order: what a folder or file of src/ belongs to. The longest path that fits decides. */
const STORY = [
  ['Data', ['data/', 'kaggle/', 'archive/', 'random', 'audit/']],
  [
    'Templates',
    [
      'data/chat-template',
      'data/vlm-collator',
      'data/collator-options',
      'data/mask-',
      'data/format-mask',
      'train/trainable-model',
    ],
  ],
  ['Model', ['model/', 'pretrained/', 'data/image-processor', 'data/tokenizer']],
  ['LoRA', ['lora/']],
  ['Planning', ['plan/', 'cli/', 'demo/']],
  ['Training', ['train/', 'batch/', 'distributed/', 'config']],
  ['Monitoring', ['monitor/']],
  ['Evaluation', ['eval/']],
  ['Reports', ['report/', 'chart/', 'page/', 'messages/']],
  ['Publishing', ['hub/', 'publish/', 'transfer/']],
  ['Engines', ['engine/']],
  ['Files', ['formats/', 'files/', 'ownership/', 'async/']],
  ['Errors', ['errors']],
];
export const STORY_ORDER = STORY.map(([title]) => title);

/** What an export belongs to, by the path of its file below src/. */
export function storyOf(path, name) {
  if (name.endsWith('Error') || name === 'TuneErrorCode') return 'Errors';
  let best = ['Other', ''];
  for (const [title, paths] of STORY) {
    for (const start of paths) if (path.startsWith(start) && start.length > best[1].length) best = [title, start];
  }
  return best[0];
}
