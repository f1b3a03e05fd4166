import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import manifest from '../../package.json' with { type: 'json' };
// @ts-expect-error a program of the build, without types
import { packagedReadme } from '../../scripts/package-readme.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const readme = readFileSync(join(root, 'README.md'), 'utf8');
const packed: string = packagedReadme(readme, { ...manifest, version: '1.2.3' });

describe('the README of the package', () => {
  it('has no address that needs a checkout', () => {
    const addresses = [...packed.matchAll(/\]\(([^)\s]+)\)|\b(?:src|srcset|href)="([^"]+)"/g)].map(
      ([, link, attribute]) => link ?? attribute!,
    );
    expect(addresses.length).toBeGreaterThan(20);
    expect(addresses.filter((address) => !/^https:\/\//.test(address))).toEqual([]);
  });

  it('shows the images of its version, and leads to pages of the site and to files', () => {
    const text =
      '![a](docs/images/a.png) [b](docs/guides/README.md#x) [c](examples/README.md) [d](#e) [f](https://g.h)';
    expect(packagedReadme(`${text} <img src="docs/i.svg">`, { ...manifest, version: '1.2.3' })).toBe(
      [
        '![a](https://raw.githubusercontent.com/ministral-tune/ministral-tune/v1.2.3/docs/images/a.png)',
        '[b](https://ministral-tune.github.io/ministral-tune/guides/index.html#x)',
        '[c](https://github.com/ministral-tune/ministral-tune/blob/v1.2.3/examples/README.md) [d](#e) [f](https://g.h)',
        '<img src="https://raw.githubusercontent.com/ministral-tune/ministral-tune/v1.2.3/docs/i.svg">',
      ].join(' '),
    );
  });

  it('names files that exist', () => {
    const paths = [...readme.matchAll(/\]\((?![a-z]+:|#)([^)\s#]+)|\b(?:src|srcset)="(?![a-z]+:)([^"]+)"/g)].map(
      ([, link, attribute]) => link ?? attribute!,
    );
    expect(paths.filter((path) => !existsSync(join(root, path)))).toEqual([]);
  });
});
