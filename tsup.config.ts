import { defineConfig } from 'tsup';

export default defineConfig({
  // One door each; what several of them need lies in shared chunks, so that a class exists once.
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
      'types',
    ].map((door) => `src/${door}.ts`),
    // The program of `bin`.
    'src/cli/main.ts',
  ],
  format: ['esm'],
  target: 'node20',
  platform: 'node',
  // The declarations name types that TypeScript loads by default only for the newest targets.
  dts: { banner: '/// <reference lib="esnext.disposable" />' },
  clean: true,
  sourcemap: true,
  // Native packages and optional peers are the user's to install.
  external: ['sharp', 'koffi', '@tensorflow/tfjs-node', '@tensorflow/tfjs-node-gpu'],
});
