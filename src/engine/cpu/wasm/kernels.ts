// The kernels of the cpu engine, compiled with AssemblyScript by scripts/generate.mjs. Each file exports functions of the
// form (args: usize, start: i32, end: i32): void, called by name through CpuRuntime.parallel.
export { setScratch } from './thread';
export * from './matmul';
export { gatherWeightRows } from './widen';
export * from './elementwise';
export * from './normalization';
export * from './rotary';
export * from './rows';
export * from './softmax';
export * from './attention';
export * from './optimizer';
