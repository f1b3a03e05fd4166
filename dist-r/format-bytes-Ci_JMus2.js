// src/messages/format-bytes.ts
function formatBytes(bytes) {
	const units = [
		"bytes",
		"KiB",
		"MiB",
		"GiB"
	];
	let value = bytes;
	let unit = 0;
	while (value >= 1024 && unit < 3) {
		value /= 1024;
		unit++;
	}
	return `${unit === 0 ? value : value.toFixed(2)} ${units[unit]}`;
}
export { formatBytes as t };
