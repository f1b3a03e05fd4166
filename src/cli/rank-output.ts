/** Of several ranks that run one command, rank 0 speaks and writes; what fails is said by each. */
import { isMainProcess } from '../distributed/main-process.js';
import type { Output } from './usage.js';

export function outputOfRank(output: Output): Output {
  return isMainProcess() ? output : { print: () => undefined, printError: () => undefined };
}
