/** Patterns for paths in a repository, as Python's `fnmatch` reads them: `*` goes over slashes too. */

/** Paths that match one of `allow` (undefined: all do), and none of `ignore`. */
export function selectPaths(
  paths: Iterable<string>,
  allow: readonly string[] | undefined,
  ignore: readonly string[] = [],
): string[] {
  const [allowed, ignored] = [allow?.map(toRegExp), ignore.map(toRegExp)];
  const matches = (patterns: readonly RegExp[], path: string): boolean =>
    patterns.some((pattern) => pattern.test(path));
  return [...paths].filter((path) => (!allowed || matches(allowed, path)) && !matches(ignored, path));
}

function toRegExp(pattern: string): RegExp {
  // A pattern for a folder means everything in it.
  const whole = pattern.endsWith('/') ? `${pattern}*` : pattern;
  const source = whole.replace(/\[(!?)([^\]]+)\]|[\s\S]/g, (part, not: string | undefined, set: string | undefined) => {
    if (set !== undefined) return `[${not ? '^' : ''}${set.replace(/[\\\]^]/g, '\\$&')}]`;
    if (part === '*') return '[\\s\\S]*';
    if (part === '?') return '[\\s\\S]';
    return part.replace(/[.+^${}()|[\]\\]/, '\\$&');
  });
  return new RegExp(`^${source}$`);
}
