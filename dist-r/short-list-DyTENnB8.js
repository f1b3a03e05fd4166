// src/messages/short-list.ts
function firstLines(lines, most, what = "") {
	const more = lines.length - most;
	return more > 0 ? [...lines.slice(0, most), `and ${more} more${what && ` ${what}`}`] : [...lines];
}
function shortList(items, most, write) {
	const more = items.length - most;
	return items.slice(0, most).map(write).join(", ") + (more > 0 ? ` and ${more} more` : "");
}
export { shortList as n, firstLines as t };
