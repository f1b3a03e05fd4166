/** The declarations in the package, checked as they are by each version of TypeScript, in each kind of project. */
import { cpSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export const TYPESCRIPTS = ['5.6', '5.7', '5.8', '5.9', '6', '7'];

/** Compiler options by project; `skipLibCheck` is off. */
const PROJECTS = {
  'NodeNext, modules': [{ module: 'NodeNext' }, 'consumer.ts'],
  'NodeNext, CommonJS': [{ module: 'NodeNext' }, 'consumer.cts'],
  Bundler: [{ module: 'ESNext', moduleResolution: 'Bundler' }, 'consumer.ts'],
  'node10, CommonJS': [{ module: 'CommonJS', moduleResolution: 'node10' }, 'consumer.cts'],
};

export function checkTypes({ tarball, root, run, step, folderOf, asked }) {
  const folder = folderOf('TypeScript');
  const aliases = TYPESCRIPTS.map((version) => `typescript${version}@npm:typescript@${version}`);
  run('npm', ['install', '--ignore-scripts', '--no-audit', '--no-fund', tarball, ...aliases], { cwd: folder });
  for (const file of ['consumer.ts', 'consumer.cts'])
    cpSync(join(root, 'test/consumer/consumer.ts'), join(folder, file));
  const base = { target: 'ES2022', strict: true, exactOptionalPropertyTypes: true, types: [], noEmit: true };
  for (const version of TYPESCRIPTS.filter((one) => `TypeScript ${one}`.includes(asked.only))) {
    for (const [project, [options, file]] of Object.entries(PROJECTS)) {
      // Deprecated in 6, gone in 7.
      if (project.startsWith('node10') && Number(version) >= 6) continue;
      const config = join(folder, 'tsconfig.json');
      writeFileSync(config, JSON.stringify({ compilerOptions: { ...base, ...options }, files: [file] }));
      const compiler = join(folder, `node_modules/typescript${version}/bin/tsc`);
      step(`TypeScript ${version}`, project, () => run('node', [compiler, '-p', config], { cwd: folder }));
    }
  }
}
