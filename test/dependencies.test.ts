import { readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
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

describe('an import of a door', () => {
  const source = fileURLToPath(new URL('../src', import.meta.url));

  /** What a file loads before it runs: files below src/, and packages. Types are not loaded. */
  function loadedBy(path: string, found = new Set<string>()): Set<string> {
    if (found.has(path)) return found;
    found.add(path);
    const code = readFileSync(join(source, path), 'utf8');
    const statements = /^(?:import|export)\s+(?!type\b)(?:[^;'"]*?\sfrom\s+)?'([^']+)';/gm;
    for (const [statement, name] of code.matchAll(statements)) {
      if (/\{[^}]*\}/.test(statement) && !/[{,]\s*(?!type\b)[\w$]/.test(statement)) continue;
      if (name!.startsWith('.')) {
        loadedBy(relative(source, join(source, dirname(path), name!)).replace(/\.js$/, '.ts'), found);
      } else if (!name!.startsWith('node:')) found.add(name!);
    }
    return found;
  }

  const doors = Object.keys(manifest.exports)
    .filter((subpath) => !subpath.endsWith('.json'))
    .map((subpath) => (subpath === '.' ? 'index.ts' : `${subpath.slice(2)}.ts`));

  it.each(doors)('%s loads no package that is installed with this one, and no engine', (door) => {
    const loaded = [...loadedBy(door)];
    const packages = loaded.filter((name) => !name.endsWith('.ts'));
    expect(packages.filter((name) => !['zod', '@huggingface/tokenizers'].includes(name))).toEqual([]);
    expect(
      loaded.filter((path) => /^engine\/(cpu|cuda|tfjs|webgpu)\/\w+-engine\.ts$|-kernels\.ts$/.test(path)),
    ).toEqual([]);
    // The walk sees something: every door but that of types alone needs the errors.
    expect(loaded.includes('errors.ts')).toBe(door !== 'types.ts');
  });
});
