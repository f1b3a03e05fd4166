import { access, open } from "node:fs/promises";
import { constants as constants$1 } from "node:fs";
// src/files/regular-file.ts
async function openRegularFile(path) {
	const file = await open(path, constants$1.O_RDONLY | (constants$1.O_NONBLOCK ?? 0));
	try {
		const entry = await file.stat();
		if (entry.isFile()) return {
			file,
			size: entry.size
		};
		throw new Error(entry.isDirectory() ? "a folder, not a file" : "not a regular file");
	} catch (error) {
		await file.close();
		throw error;
	}
}
async function readRegularFile(path, maxBytes) {
	const { file, size } = await openRegularFile(path);
	try {
		if (size > maxBytes) throw new Error(`it has ${size} bytes, at most ${maxBytes} are read`);
		const bytes = Buffer.allocUnsafeSlow(size);
		let done = 0;
		while (done < size) {
			const { bytesRead } = await file.read(bytes, done, size - done, done);
			if (bytesRead === 0) break;
			done += bytesRead;
		}
		return bytes.subarray(0, done);
	} finally {
		await file.close();
	}
}
async function exists(path) {
	return access(path).then(() => true, () => false);
}
export { openRegularFile as n, readRegularFile as r, exists as t };
