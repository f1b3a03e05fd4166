import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

setFlagsFromString('--expose-gc');

/** Collects all garbage now, so that what memory is measured does not depend on how busy the machine is. */
export const collectGarbage = runInNewContext('gc') as () => void;
