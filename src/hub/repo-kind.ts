/** Kinds of repositories on the Hub. Inside this folder a data set is called `datasets/OWNER/NAME`, as in its address. */
import { ConfigError } from '../errors.js';
import { showValue } from '../messages/show-value.js';
import { decoded } from '../transfer/address.js';

const DATASET = 'datasets/';

/** Below `/api/`: `models/OWNER/NAME` or `datasets/OWNER/NAME`. */
export function apiPath(repoId: string): string {
  return repoId.startsWith(DATASET) ? repoId : `models/${repoId}`;
}

/** Name of its folder in the cache. */
export function cacheName(repoId: string): string {
  return apiPath(repoId).split('/').join('--');
}

/** What an address names beside repositories, by its first part. */
const OTHER_PAGES: Readonly<Record<string, string>> = {
  spaces: 'a Space, an application',
  buckets: 'a storage bucket',
  kernels: 'a kernel',
  collections: 'a collection of repositories',
  papers: 'a paper',
  docs: 'a page of documentation',
  blog: 'an article',
  organizations: "an organisation's page",
  settings: 'a page of your account',
};

const HUB_ADDRESS = /^(?:https?:\/\/)?(?:www\.)?(?:huggingface\.co|hf\.co)(?:\/|$)|^hf:\/\//i;
const KAGGLE_ADDRESS = /^(?:https?:\/\/)?(?:\w+\.)?kaggle\.com(?:\/|$)|^kagglehub\.|^[!$%]?\s*kaggle /i;

/**
 * Refuses what names something else than a model: data sets, Spaces and other pages of the Hub, and what is on Kaggle.
 * @throws ConfigError that says what it is, and which function takes it
 */
export function refuseOtherThanModel(text: string): void {
  const given = text.trim();
  if (KAGGLE_ADDRESS.test(given)) {
    const hint = 'Image data sets from there are read by KaggleImageFolder.download.';
    throw wrongKind(text, 'is on Kaggle, not on the Hugging Face Hub', hint);
  }
  const isAddress = HUB_ADDRESS.test(given);
  const [kind = '', owner, name] = given.replace(HUB_ADDRESS, '').split(/[/?#@]/);
  if (kind === 'datasets') {
    const id = [owner, name].filter(Boolean).join('/') || 'owner/name';
    const hint = `Image data sets are read by HubImageFolder.download('${id}'), files of any kind fetched by snapshotDownload('datasets/${id}').`;
    throw wrongKind(text, 'is a data set, not a model', hint);
  }
  // Without an address the first part may be somebody's name.
  if (Object.hasOwn(OTHER_PAGES, kind) && (isAddress || kind === 'spaces')) {
    throw wrongKind(text, `is ${OTHER_PAGES[kind]!}, not a model`, 'Expected "owner/name" of a model.');
  }
}

interface DatasetName {
  /** `OWNER/NAME`, or a bare name from the Hub's first days. */
  readonly repoId: string;
  /** In the address. */
  readonly revision: string | undefined;
  /** Folder in the repository, in the address. */
  readonly folder: string | undefined;
}

const EXPECTED = 'Expected "owner/name" of a data set on the Hub, e.g. "AI-Lab-Makerere/beans".';
const NAME = /^\w(?:[\w.-]{0,94}\w)?$/;
const OWNER = /^[A-Za-z0-9](?:[\w.-]*\w)?$/;

/**
 * `owner/name`, the address of a page of the data set, or a command or line of Python with one of them.
 * @throws ConfigError that says what it is instead
 */
export function parseDatasetName(text: string): DatasetName {
  const wrong = (what: string, hint = EXPECTED): ConfigError => wrongKind(text, what, hint);
  const given = unwrapped(text.length > 2000 ? '' : text.trim());
  if (KAGGLE_ADDRESS.test(given)) {
    throw wrong('is on Kaggle, not on the Hugging Face Hub', 'Use KaggleImageFolder.download for it.');
  }
  if (/^([./~\\]|[A-Za-z]:[\\/])/.test(given)) {
    throw wrong('is a path, not a data set on the Hub', 'A folder on this machine is read by ImageFolder.load.');
  }
  const isAddress = HUB_ADDRESS.test(given);
  if (!isAddress && /^[a-z][a-z0-9+.-]*:/i.test(given)) throw wrong('is no address of the Hugging Face Hub');
  const parts = given
    .replace(HUB_ADDRESS, '')
    .replace(/[?#].*$/s, '')
    .replace(/^\/+|\/+$/g, '')
    .split('/');
  if (isAddress && parts[0] === 'api') parts.shift();
  const kind = parts[0]!;
  if (kind === 'datasets') parts.shift();
  else if (isAddress && Object.hasOwn(OTHER_PAGES, kind)) {
    throw wrong(`is ${OTHER_PAGES[kind]!}, not a data set`);
  } else if (kind === 'spaces') throw wrong(`is ${OTHER_PAGES.spaces!}, not a data set`);
  else if (isAddress) {
    const name = parts.slice(0, 2).join('/');
    throw parts.length > 1
      ? wrong(
          'is a model, not a data set',
          `Models are loaded by fromPretrained('${name}'); a data set's address has /datasets/ in it.`,
        )
      : wrong('names no data set');
  }
  if (parts.length === 0) throw wrong('names no data set');
  const bare = parts.length === 1 || ['tree', 'blob', 'resolve', 'viewer'].includes(parts[1]!);
  const id = parts.splice(0, bare ? 1 : 2);
  let revision: string | undefined;
  // `hf://datasets/owner/name@revision/folder`
  const [name = '', at] = id.at(-1)!.split('@');
  id[id.length - 1] = name;
  let folder: string[] = [];
  const takeRevision = (first: string | undefined, more: readonly string[]): void => {
    revision = first && wholeRevision(first, more);
    folder = more.slice((revision?.split('/').length ?? 1) - (first?.split(/\/|%2f/i).length ?? 1));
  };
  if (at !== undefined || /^hf:/i.test(given)) takeRevision(at, parts);
  else if (parts[0] === 'tree') takeRevision(parts[1], parts.slice(2));
  else if (parts[0] === 'commit') revision = parts[1];
  else if (parts[0] === 'blob' || parts[0] === 'resolve') {
    throw wrong(
      'is a single file of a data set',
      `Use HubImageFolder.download('${id.join('/')}'), with \`dataDir\` for a folder in it.`,
    );
  } else if (
    parts.length > 0 &&
    !(kind === 'datasets' && /^(viewer|discussions|settings|commits?|sql|embed)$/.test(parts[0]!))
  ) {
    throw wrong('names no data set');
  }
  const isName = NAME.test(name) && (bare || OWNER.test(id[0]!)) && !/--|\.\.|\.git$/.test(id.join('/'));
  if (!isName) throw wrong('names no data set on the Hub');
  return {
    repoId: id.join('/'),
    revision,
    folder: folder.length > 0 ? folder.map(decoded).join('/') : undefined,
  };
}

/** A revision of an address, with what belongs to it of the parts behind: `refs/pr/3`, `refs/convert/parquet`. */
export function wholeRevision(first: string, more: readonly string[]): string {
  const isSpecial = first === 'refs' && /^(pr|convert|heads|tags)$/.test(more[0] ?? '') && more.length > 1;
  return decoded(isSpecial ? [first, ...more.slice(0, 2)].join('/') : first);
}

/** Out of `load_dataset("owner/name", ...)`, `hf download owner/name --repo-type dataset`, `git clone ADDRESS`. */
function unwrapped(text: string): string {
  const [, argument] = /\b(?:load_dataset|snapshot_download)\(\s*(?:\w+\s*=\s*)?["']([^"']+)["']/.exec(text) ?? [];
  if (argument !== undefined) return argument;
  const words = text.split(/[\s<>"'()[\]]+/).filter(Boolean);
  if (words.length < 2) return words[0] ?? '';
  const address = words.find((word) => HUB_ADDRESS.test(word) || KAGGLE_ADDRESS.test(word));
  if (address !== undefined) return address.replace(/\.git$/, '');
  const at = words.findIndex(
    (word, i) => word === 'download' && /^[!$%]?(hf|huggingface-cli)$/.test(words[i - 1] ?? ''),
  );
  return at < 0 ? text : (words.slice(at + 1).find((word) => word.includes('/') && !word.startsWith('-')) ?? text);
}

function wrongKind(text: string, what: string, hint: string): ConfigError {
  return new ConfigError(`${showValue(text)} ${what}`, { hint, details: { given: text.slice(0, 200) } });
}
