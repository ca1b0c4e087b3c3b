// Writes zip archives (APPNOTE.TXT 4.3), right and wrong ones.

import { crc32 as nodeCrc, deflateRawSync } from "node:zlib";

/** Returns the CRC-32 of bytes, also where Node has none. */
export function crc32(bytes: Uint8Array): number {
  if (typeof nodeCrc === "function") return nodeCrc(bytes);
  let c = 0xffffffff;
  for (const octet of bytes) {
    c ^= octet;
    for (let bit = 0; bit < 8; bit++) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1;
  }
  return ~c >>> 0;
}

/** An entry. Fields that are given replace the right ones. */
export interface ZipEntry {
  readonly name: string;
  readonly data: Uint8Array;
  readonly stored?: boolean;
  readonly flags?: number;
  readonly method?: number;
  readonly crc?: number;
  readonly size?: number;
  readonly packed?: Uint8Array;
}

/** 2026-01-02, 03:04:06, as DOS writes it. */
const DATE = ((2026 - 1980) << 9) | (1 << 5) | 2;
const TIME = (3 << 11) | (4 << 5) | 3;
/** Names are UTF-8. */
const UTF8 = 0x800;

export function zipOf(entries: readonly ZipEntry[]): Buffer {
  const locals: Buffer[] = [];
  const directory: Buffer[] = [];
  let at = 0;
  for (const entry of entries) {
    const { name, data, stored = false } = entry;
    const packed = entry.packed ?? (stored ? data : deflateRawSync(data));
    const text = Buffer.from(name);
    const common = Buffer.alloc(26);
    common.writeUInt16LE(20, 0);
    common.writeUInt16LE((entry.flags ?? 0) | UTF8, 2);
    common.writeUInt16LE(entry.method ?? (stored ? 0 : 8), 4);
    common.writeUInt16LE(TIME, 6);
    common.writeUInt16LE(DATE, 8);
    common.writeUInt32LE(entry.crc ?? crc32(data), 10);
    common.writeUInt32LE(packed.length, 14);
    common.writeUInt32LE(entry.size ?? data.length, 18);
    common.writeUInt16LE(text.length, 22);
    const local = Buffer.concat([Buffer.from("PK\x03\x04"), common, text, packed]);
    const tail = Buffer.alloc(14);
    tail.writeUInt32LE(at, 10);
    const made = Buffer.from([20, 3]);
    directory.push(Buffer.concat([Buffer.from("PK\x01\x02"), made, common, tail, text]));
    locals.push(local);
    at += local.length;
  }
  const all = Buffer.concat(directory);
  const end = Buffer.alloc(22);
  end.write("PK\x05\x06", "latin1");
  end.writeUInt16LE(entries.length, 8);
  end.writeUInt16LE(entries.length, 10);
  end.writeUInt32LE(all.length, 12);
  end.writeUInt32LE(at, 16);
  return Buffer.concat([...locals, all, end]);
}
