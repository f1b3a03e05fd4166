/** Reads event files of TensorBoard, by the descriptions of the formats alone. */

/** Fields of a message by number; what is within is read by whoever knows that it is a message. */
export type Fields = Map<number, (number | Buffer)[]>;

/** CRC-32C bit by bit, masked as TFRecord has it. */
export function maskedCrc32c(bytes: Uint8Array): number {
  let crc = 0xffffffffn;
  for (const byte of bytes) {
    crc ^= BigInt(byte);
    for (let bit = 0; bit < 8; bit++) crc = crc & 1n ? (crc >> 1n) ^ 0x82f63b78n : crc >> 1n;
  }
  crc ^= 0xffffffffn;
  const turned = ((crc >> 15n) | (crc << 17n)) & 0xffffffffn;
  return Number((turned + 0xa282ead8n) & 0xffffffffn);
}

/** The contents of the records, whose checks must be right. */
export function recordsOf(file: Buffer): Buffer[] {
  const records: Buffer[] = [];
  for (let at = 0; at < file.length; ) {
    const length = Number(file.readBigUInt64LE(at));
    if (file.readUInt32LE(at + 8) !== maskedCrc32c(file.subarray(at, at + 8))) throw new Error(`length at ${at}`);
    const content = file.subarray(at + 12, at + 12 + length);
    if (file.readUInt32LE(at + 12 + length) !== maskedCrc32c(content)) throw new Error(`content at ${at}`);
    records.push(content);
    at += 16 + length;
  }
  return records;
}

export function fieldsOf(message: Buffer): Fields {
  const fields: Fields = new Map();
  let at = 0;
  const varint = (): number => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = message[at++]!;
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return Number(value);
    }
  };
  while (at < message.length) {
    const tag = varint();
    const type = tag % 8;
    let value: number | Buffer;
    if (type === 0) value = varint();
    else {
      const length = type === 1 ? 8 : type === 5 ? 4 : varint();
      const bytes = message.subarray(at, at + length);
      at += length;
      if (type === 1) value = bytes.readDoubleLE();
      else if (type === 5) value = bytes.readFloatLE();
      else if (type === 2) value = bytes;
      else throw new Error(`wire type ${type}`);
    }
    const field = Math.floor(tag / 8);
    fields.set(field, [...(fields.get(field) ?? []), value]);
  }
  return fields;
}

/** What an event says, in one line. */
export function describeEvent(record: Buffer): string {
  const event = fieldsOf(record);
  const step = event.get(2)?.[0] ?? 0;
  const version = event.get(3)?.[0];
  if (version) return `version ${version}`;
  const session = event.get(7)?.[0] as Buffer | undefined;
  if (session) return `session ${fieldsOf(session).get(1)} at ${step}`;
  const summary = fieldsOf(event.get(5)![0] as Buffer);
  const values = summary.get(1)!.map((bytes) => {
    const value = fieldsOf(bytes as Buffer);
    const [scalar] = value.get(2) ?? [];
    if (scalar !== undefined) return `${value.get(1)}=${(scalar as number).toPrecision(4)}`;
    const tensor = fieldsOf(value.get(8)![0] as Buffer);
    const plugin = fieldsOf(fieldsOf(value.get(9)![0] as Buffer).get(1)![0] as Buffer).get(1);
    return `${value.get(1)} (${plugin}, type ${tensor.get(1)}): ${tensor.get(8)}`;
  });
  return `${step}: ${values.join(' ')}`;
}
