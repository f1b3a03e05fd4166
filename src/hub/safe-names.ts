/** Names of callers and servers that become paths in the cache: checked before anything is asked or written. */

import { nameFault } from '../archive/zip-entry-name.js';
import { ConfigError } from '../errors.js';
import { describeGiven } from '../messages/given-kind.js';
import { showValue } from '../messages/show-value.js';

/** What git allows in the name of a branch or tag, and so the Hub: slashes too, but nothing that leads elsewhere. */
const NOT_IN_REF = /\.\.|\/\/|@\{|[\s~^:?*[\\]|\.$|\.lock(\/|$)|(^|\/)\.|^\/|\/$|^@$/;

/** What is no text in any encoding, and so in no address: JSON can spell it. */
const HALF_LETTER = /\p{Surrogate}/u;

/**
 * A branch, a tag, `refs/pr/3` or a commit.
 * @throws ConfigError for what cannot be one, or would be a path outside of the cache
 */
export function parseRevision(revision: string): string {
  if (typeof revision === 'string' && revision !== '' && !NOT_IN_REF.test(revision) && !pathFault(revision)) {
    return revision;
  }
  const given = typeof revision === 'string' ? showValue(revision) : describeGiven(revision);
  throw new ConfigError(`${given} is not the name of a revision`, {
    hint: 'Expected a branch or tag such as "main" or "refs/pr/3", or the 40 digits of a commit.',
    details: { revision: typeof revision === 'string' ? revision.slice(0, 200) : revision },
  });
}

/** What is wrong with a path in a repository, or undefined. */
export function pathFault(path: string): string | undefined {
  if (HALF_LETTER.test(path)) return 'half a letter in the name';
  return path.endsWith('/') ? 'a folder in place of a file' : nameFault(path);
}

/**
 * Why some of these paths cannot be files beside each other in one folder, or undefined: one is the other's folder, or
 * on a disk that ignores case they are the same.
 */
export function clashOf(paths: readonly string[], ignoresCase: boolean): string | undefined {
  const key = (path: string): string => (ignoresCase ? path.normalize('NFC').toLowerCase() : path);
  const byKey = new Map<string, string>();
  for (const path of paths) {
    const other = byKey.get(key(path));
    if (other !== undefined) return `"${other}" and "${path}" differ by case alone, which this disk ignores`;
    byKey.set(key(path), path);
  }
  for (const path of paths) {
    for (let end = path.indexOf('/'); end >= 0; end = path.indexOf('/', end + 1)) {
      const other = byKey.get(key(path.slice(0, end)));
      if (other !== undefined) return `"${other}" is a file and the folder of "${path}" at once`;
    }
  }
  return undefined;
}
