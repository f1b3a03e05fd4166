import { defineConfig } from 'tsup';

/** The declarations alone: scripts/build.mjs makes the code. */
export default defineConfig({
  // One door each; what several of them need lies in shared files, so that a class is declared once.
  entry: [
    ...[
      'index',
      'data',
      'engine',
      'safetensors',
      'hub',
      'charts',
      'audit',
      'eval',
      'plan',
      'monitor',
      'report',
      'demo',
      'distributed',
      'types',
    ].map((door) => `src/${door}.ts`),
  ],
  format: ['esm'],
  // The declarations name types that TypeScript loads by default only for the newest targets.
  dts: { only: true, banner: '/// <reference lib="esnext.disposable" />' },
});
