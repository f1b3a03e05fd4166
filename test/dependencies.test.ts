import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import manifest from '../package.json' with { type: 'json' };

const text = readFileSync(new URL('../docs/dependencies.md', import.meta.url), 'utf8');

/** Package and version of each row of the table under a heading. */
function listed(heading: string): Record<string, string> {
  const section = text.split(/^## /m).find((part) => part.startsWith(`${heading}\n`));
  if (section === undefined) throw new Error(`docs/dependencies.md has no section "${heading}"`);
  const rows = [...section.matchAll(/^\| `([^`]+)` \| `([^`]+)` \|/gm)];
  return Object.fromEntries(rows.map(([, name, version]) => [name!, version!]));
}

describe('docs/dependencies.md', () => {
  it('lists exactly what package.json has', () => {
    expect(listed('Installed with the package')).toEqual(manifest.dependencies);
    expect(listed('Optional')).toEqual(manifest.optionalDependencies);
    expect(listed('Peers')).toEqual(manifest.peerDependencies);
    expect(Object.keys(manifest.peerDependenciesMeta)).toEqual(Object.keys(manifest.peerDependencies));
  });

  it('lists the packages whose code is inside, which are installed for development', () => {
    const section = text.split(/^## /m).find((part) => part.startsWith('Part of the package'))!;
    const inside = [...section.matchAll(/^\| `([^`]+)` \|/gm)].map(([, name]) => name!);
    expect(inside.sort()).toEqual(['@huggingface/tokenizers', 'uplot', 'zod']);
    for (const name of inside) expect(manifest.devDependencies).toHaveProperty([name]);
  });
});

describe('package.json', () => {
  it('runs nothing at installation', () => {
    const scripts = Object.keys(manifest.scripts);
    expect(scripts.filter((name) => /^(pre|post)?install$|^prepare$/.test(name))).toEqual([]);
  });

  it('asks for the Node that docs/dependencies.md names', () => {
    expect(manifest.engines.node).toBe('>=20.10.0');
    expect(text).toContain('Node 20.10 and later');
  });
});
