/** Patterns for paths in a repository, as Python's `fnmatch` reads them: `*` goes over slashes too. */
import { z } from 'zod';
import { lazySchema } from '../config.js';

const pattern = lazySchema(() => z.string().min(1));

/** One pattern or a list of them. */
export const patternsSchema = lazySchema(() =>
  z.union([pattern(), z.array(pattern()).readonly()], {
    error: 'expected a pattern, such as "*.json", or a list of patterns',
  }),
);

/** Paths that match one of `allow` (undefined: all do), and none of `ignore`. */
export function selectPaths(
  paths: Iterable<string>,
  allow: string | readonly string[] | undefined,
  ignore: string | readonly string[] = [],
): string[] {
  const allowed = allow === undefined ? undefined : [allow].flat().map(toRegExp);
  const ignored = [ignore].flat().map(toRegExp);
  const matches = (patterns: readonly RegExp[], path: string): boolean =>
    patterns.some((pattern) => pattern.test(path));
  return [...paths].filter((path) => (!allowed || matches(allowed, path)) && !matches(ignored, path));
}

function toRegExp(pattern: string): RegExp {
  // Paths on the Hub have slashes alone, so a backslash is a separator as Windows writes it, and `./` means nothing.
  const path = pattern.replaceAll('\\', '/').replace(/^(\.\/)+/, '');
  // A pattern for a folder means everything in it.
  const whole = path.endsWith('/') ? `${path}*` : path;
  const source = whole.replace(/\[(!?)([^\]]+)\]|[\s\S]/g, (part, not: string | undefined, set: string | undefined) => {
    if (set !== undefined) return `[${not ? '^' : ''}${set.replace(/[\\\]^]/g, '\\$&')}]`;
    if (part === '*') return '[\\s\\S]*';
    if (part === '?') return '[\\s\\S]';
    return part.replace(/[.+^${}()|[\]\\]/, '\\$&');
  });
  return new RegExp(`^${source}$`);
}
