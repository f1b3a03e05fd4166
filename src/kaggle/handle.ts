/** How a Kaggle data set is named. */
import { ConfigError } from '../errors.js';
import { describeGiven } from '../given-kind.js';

export interface KaggleHandle {
  readonly owner: string;
  readonly dataset: string;
  /** Undefined: the current one. */
  readonly version: number | undefined;
}

const EXPECTED = 'Expected owner/dataset, or owner/dataset/versions/N for a certain version.';

/** What may stand in a path and a URL as it is. */
const SLUG = /^[A-Za-z0-9_-]{1,100}$/;

/**
 * `owner/dataset` for the current version; `owner/dataset/versions/3` or `owner/dataset/3` for a certain one. The
 * address of the data set's page will do as well.
 * @throws ConfigError
 */
export function parseKaggleHandle(handle: string): KaggleHandle {
  if (typeof handle !== 'string') {
    throw new ConfigError(`expected the name of a Kaggle data set, got ${describeGiven(handle)}`, { hint: EXPECTED });
  }
  const path = handle
    .trim()
    .replace(/^https:\/\/(www\.)?kaggle\.com\/datasets\//, '')
    .replace(/[?#].*$/, '')
    .replace(/\/$/, '');
  const parts = path.split('/');
  const [owner = '', dataset = ''] = parts;
  const number = parts.length === 4 && parts[2] === 'versions' ? parts[3] : parts.length === 3 ? parts[2] : undefined;
  const known = parts.length === 2 || (number !== undefined && /^[1-9]\d{0,8}$/.test(number));
  if (!known || !SLUG.test(owner) || !SLUG.test(dataset)) {
    throw new ConfigError(`"${handle}" names no Kaggle data set`, {
      hint: EXPECTED,
      details: { handle },
    });
  }
  return { owner, dataset, version: number === undefined ? undefined : Number(number) };
}

/** `owner/dataset`, with `/versions/N` if there is a version. */
export function formatKaggleHandle({ owner, dataset, version }: KaggleHandle): string {
  return `${owner}/${dataset}${version === undefined ? '' : `/versions/${version}`}`;
}
