import { defineConfig } from 'tsup';

export default defineConfig({
  entry: ['src/index.ts'],
  format: ['esm'],
  target: 'node20',
  platform: 'node',
  dts: true,
  clean: true,
  sourcemap: true,
  // Native packages and optional peers are the user's to install.
  external: ['sharp', 'koffi', '@tensorflow/tfjs-node', '@tensorflow/tfjs-node-gpu'],
});
