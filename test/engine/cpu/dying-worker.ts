/** A pool worker that does what `TEST_POOL` says when it takes a chunk: "exit|odd error|slow : KERNEL : Nth time". */

const PRELUDE = `{
  const { workerData } = require('node:worker_threads');
  const [how, kernel, at] = (process.env.TEST_POOL ?? '').split(':');
  const control = new Int32Array(workerData.memory.buffer, 0, 16);
  const names = WebAssembly.Module.exports(workerData.module).filter(({ kind }) => kind === 'function').map(({ name }) => name);
  const add = Atomics.add;
  let times = 0;
  Atomics.add = (array, index, value) => {
    const got = add(array, index, value);
    const takesChunk = index === 4 && array.length === 16;
    if (!how || !takesChunk || names[control[1]] !== kernel || ++times !== Number(at)) return got;
    if (how === 'exit') process.exit(7);
    if (how === 'odd error') throw Symbol('odd');
    if (how === 'slow') Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 900);
    return got;
  };
}
`;

export function dyingWorker(program: string): string {
  return PRELUDE + program;
}
