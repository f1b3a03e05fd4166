// src/async/event-loop.ts
const SLICE_MS = 15;
let lastTurn = Number.NEGATIVE_INFINITY;
function isTurnDue() {
	return performance.now() - lastTurn > SLICE_MS;
}
const STRETCH = 65536;
async function findIndexInTurns(array, isFound) {
	for (let from = 0; from < array.length; from += STRETCH) {
		if (from > 0 && isTurnDue()) await eventLoopTurn();
		for (let i = from, end = Math.min(array.length, from + STRETCH); i < end; i++) if (isFound(array[i])) return i;
	}
	return -1;
}
function findNotFinite(array) {
	return findIndexInTurns(array, isNotFinite);
}
const isNotFinite = (value) => value - value !== 0;
async function copyInTurns(arrays) {
	const copies = arrays.map((array) => new array.constructor(array.length));
	for (const copy of copies) {
		const perPage = PAGE_BYTES / copy.BYTES_PER_ELEMENT;
		for (let i = 0; i < copy.length; i += perPage) {
			copy[i] = 0;
			if (i % (PAGES * perPage) === 0 && i > 0 && isTurnDue()) await eventLoopTurn();
		}
	}
	for (const [i, copy] of copies.entries()) copy.set(arrays[i]);
	return copies;
}
const PAGE_BYTES = 4096;
const PAGES = 256;
async function eventLoopTurn() {
	await new Promise((resolve) => setImmediate(resolve));
	lastTurn = performance.now();
}
export { isTurnDue as a, findNotFinite as i, eventLoopTurn as n, findIndexInTurns as r, copyInTurns as t };
