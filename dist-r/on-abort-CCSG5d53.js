// src/async/on-abort.ts
const shared = new WeakMap();
function onAbort(signal, abort) {
	if (!signal) return () => void 0;
	const found = shared.get(signal) ?? listen(signal);
	const call = () => abort();
	found.waiting.add(call);
	return () => {
		if (!found.waiting.delete(call) || found.waiting.size > 0) return;
		signal.removeEventListener("abort", found.listener);
		shared.delete(signal);
	};
}
function listen(signal) {
	const waiting = new Set();
	const listener = () => {
		shared.delete(signal);
		for (const abort of [...waiting]) if (waiting.delete(abort)) abort();
	};
	signal.addEventListener("abort", listener, { once: true });
	const made = {
		waiting,
		listener
	};
	shared.set(signal, made);
	return made;
}
export { onAbort as t };
