/** Runs the modules of a page one after the other, in its folder, and says how each of them ended. */
import { pathToFileURL } from 'node:url';

const { modules, given } = JSON.parse(process.argv[2]);
const { takeBack } = await import(pathToFileURL(given).href);
/** What goes wrong outside of the module's own promise, such as an event without a listener. */
let fail;
process.on('uncaughtException', (error) => fail?.(error));
process.on('unhandledRejection', (error) => fail?.(error));
for (const path of modules) {
  const start = performance.now();
  const outside = new Promise((_, reject) => {
    fail = reject;
  });
  const failure = await Promise.race([import(pathToFileURL(path).href), outside]).then(
    () => undefined,
    (error) => (error instanceof Error ? (error.stack ?? error.message) : String(error)),
  );
  fail = undefined;
  const back = await takeBack().then(
    () => undefined,
    (error) => error.stack,
  );
  process.send({ path, seconds: (performance.now() - start) / 1000, failure: failure ?? back });
}
// Servers and threads that a module leaves open do not keep it.
process.exit();
