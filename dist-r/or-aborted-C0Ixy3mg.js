import { t as onAbort } from "./on-abort-CCSG5d53.js";
// src/data/types.ts
const IGNORE_INDEX = -100;
// src/async/or-aborted.ts
function orAborted(promise, signal) {
	if (!signal) return Promise.resolve(promise);
	return afterAbort(promise, signal, 0, () => signal.reason);
}
function afterAbort(promise, signal, grace, onTimeout = () => signal.reason) {
	return new Promise((resolve, reject) => {
		let timer;
		const abort = () => {
			if (grace === 0) reject(onTimeout());
			else timer = setTimeout(() => reject(onTimeout()), grace);
		};
		const forget = signal.aborted ? void 0 : onAbort(signal, abort);
		if (!forget) abort();
		Promise.resolve(promise).then(resolve, reject).finally(() => {
			clearTimeout(timer);
			forget?.();
		});
	});
}
export { orAborted as n, IGNORE_INDEX as r, afterAbort as t };
