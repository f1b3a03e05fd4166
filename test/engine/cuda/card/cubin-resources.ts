/** What each kernel of a compiled program takes of a multiprocessor, read from the machine code's own tables. */

export interface KernelResources {
  readonly name: string;
  readonly registers: number;
  /** Bytes of a thread's stack: spilled registers, and arrays that found no registers. */
  readonly stackBytes: number;
}

/** Of the section .nv.info: an entry is format, attribute, and, in this format, a size and a payload. */
const SIZED_FORMAT = 4;
const FRAME_SIZE = 0x11;
const REGISTER_COUNT = 0x2f;

interface Section {
  readonly name: string;
  readonly bytes: Buffer;
}

/** @param cubin an ELF file of 64 bits, as nvcc -cubin and NVRTC make it */
export function cubinResources(cubin: Uint8Array): KernelResources[] {
  const sections = readSections(Buffer.from(cubin.buffer, cubin.byteOffset, cubin.byteLength));
  const section = (name: string): Buffer => {
    const found = sections.find((one) => one.name === name);
    if (!found) throw new Error(`the machine code has no section ${name}`);
    return found.bytes;
  };
  const [symbols, names] = [section('.symtab'), section('.strtab')];
  const registers = new Map<string, number>();
  const stacks = new Map<string, number>();
  const info = section('.nv.info');
  for (let at = 0; at < info.length; ) {
    const isSized = info[at] === SIZED_FORMAT;
    const target = info[at + 1] === REGISTER_COUNT ? registers : info[at + 1] === FRAME_SIZE ? stacks : undefined;
    if (isSized && target) {
      const symbol = info.readUInt32LE(at + 4);
      target.set(textAt(names, symbols.readUInt32LE(24 * symbol)), info.readUInt32LE(at + 8));
    }
    at += 4 + (isSized ? info.readUInt16LE(at + 2) : 0);
  }
  return [...registers].map(([name, count]) => {
    const stackBytes = stacks.get(name);
    if (stackBytes === undefined) throw new Error(`the machine code does not say what stack ${name} takes`);
    return { name, registers: count, stackBytes };
  });
}

function readSections(elf: Buffer): Section[] {
  if (elf.readUInt32BE(0) !== 0x7f454c46 || elf[4] !== 2) throw new Error('the machine code is no ELF file of 64 bits');
  const [table, size, count, nameIndex] = [
    Number(elf.readBigUInt64LE(0x28)),
    elf.readUInt16LE(0x3a),
    elf.readUInt16LE(0x3c),
    elf.readUInt16LE(0x3e),
  ];
  const header = (i: number): { name: number; bytes: Buffer } => {
    const at = table + size * i;
    const start = Number(elf.readBigUInt64LE(at + 0x18));
    return {
      name: elf.readUInt32LE(at),
      bytes: elf.subarray(start, start + Number(elf.readBigUInt64LE(at + 0x20))),
    };
  };
  const names = header(nameIndex).bytes;
  return Array.from({ length: count }, (_, i) => header(i)).map(({ name, bytes }) => ({
    name: textAt(names, name),
    bytes,
  }));
}

function textAt(strings: Buffer, start: number): string {
  return strings.toString('latin1', start, strings.indexOf(0, start));
}
