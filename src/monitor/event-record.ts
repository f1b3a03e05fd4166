/**
 * Records of TensorBoard's event files: `Event` messages in the frames of TFRecord. Fields are those of
 * tensorflow/core/util/event.proto, framework/summary.proto and framework/tensor.proto.
 */
import { Crc } from '../files/crc.js';
import { ProtobufMessage } from './protobuf-message.js';

/** What the first record says: TensorBoard's readers purge by it. */
const FILE_VERSION = 'brain.Event:2';
/** `SessionLog.SessionStatus.START`: what earlier files hold from the event's step on is void. */
const SESSION_START = 1;
/** `DataType.DT_STRING`. */
const STRING_TYPE = 7;

/** A value by its tag. */
type Scalars = readonly (readonly [tag: string, value: number])[];

/** The first record of a file. @param time in seconds since 1970, as for the others */
export function versionRecord(time: number): Buffer {
  return record(new ProtobufMessage().double(1, time).bytes(3, FILE_VERSION));
}

/** Tells readers to forget what earlier files of the folder hold from `step` on. */
export function purgeRecord(time: number, step: number): Buffer {
  const session = new ProtobufMessage().integer(1, SESSION_START);
  return record(eventAt(time, step).bytes(7, session));
}

export function scalarsRecord(time: number, step: number, scalars: Scalars): Buffer {
  const summary = new ProtobufMessage();
  for (const [tag, value] of scalars) summary.bytes(1, new ProtobufMessage().bytes(1, tag).float(2, value));
  return record(eventAt(time, step).bytes(5, summary));
}

/** @param text Markdown, as TensorBoard's text dashboard shows it */
export function textRecord(time: number, step: number, tag: string, text: string): Buffer {
  const plugin = new ProtobufMessage().bytes(1, 'text');
  const metadata = new ProtobufMessage().bytes(1, plugin);
  const shape = new ProtobufMessage().bytes(2, new ProtobufMessage().integer(1, 1));
  const tensor = new ProtobufMessage().integer(1, STRING_TYPE).bytes(2, shape).bytes(8, text);
  const value = new ProtobufMessage().bytes(1, `${tag}/text_summary`).bytes(8, tensor).bytes(9, metadata);
  return record(eventAt(time, step).bytes(5, new ProtobufMessage().bytes(1, value)));
}

function eventAt(time: number, step: number): ProtobufMessage {
  return new ProtobufMessage().double(1, time).integer(2, step);
}

/** Length, its check, content, its check. */
function record(event: ProtobufMessage): Buffer {
  const content = event.encode();
  const head = Buffer.alloc(12);
  head.writeBigUInt64LE(BigInt(content.length));
  head.writeUInt32LE(maskedCrc(head.subarray(0, 8)), 8);
  const tail = Buffer.alloc(4);
  tail.writeUInt32LE(maskedCrc(content));
  return Buffer.concat([head, content, tail]);
}

/** CRC-32C, turned and moved: a check of bytes that hold checks would be of little use. */
function maskedCrc(bytes: Uint8Array): number {
  const crc = new Crc('crc32c').update(bytes).value;
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}
