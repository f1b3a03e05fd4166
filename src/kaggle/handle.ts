/** How a Kaggle data set is named. */
import { ConfigError } from '../errors.js';

export interface KaggleHandle {
  readonly owner: string;
  readonly dataset: string;
  /** Undefined: the current one. */
  readonly version: number | undefined;
}

/** What may stand in a path and a URL as it is. */
const SLUG = /^[A-Za-z0-9_-]{1,100}$/;

/**
 * `owner/dataset` for the current version; `owner/dataset/versions/3` or `owner/dataset/3` for a certain one. The
 * address of the data set's page will do as well.
 * @throws ConfigError
 */
export function parseKaggleHandle(handle: string): KaggleHandle {
  const path = String(handle)
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
      hint: 'Expected owner/dataset, or owner/dataset/versions/N for a certain version.',
      details: { handle },
    });
  }
  return { owner, dataset, version: number === undefined ? undefined : Number(number) };
}

/** `owner/dataset`, with `/versions/N` if there is a version. */
export function formatKaggleHandle({ owner, dataset, version }: KaggleHandle): string {
  return `${owner}/${dataset}${version === undefined ? '' : `/versions/${version}`}`;
}
