// The files of a zip archive. Its directory is read once. A deflated file is sent to clients that take gzip as it is in
// the archive, between the head and the trailer of gzip (RFC 1952), and inflated for others.
//
// Invariant: the bytes of a file are the ones that its length and CRC-32 state, or the response breaks off before its
// last byte. An entry that is encrypted, coded otherwise, or has a name with a second reading, is not there.

import * as fs from "node:fs";
import { Readable, pipeline } from "node:stream";
import { createInflateRaw } from "node:zlib";
import {
  type Entry,
  RandomAccessReader,
  type ZipFile,
  fromRandomAccessReader,
  getFileNameLowLevel,
} from "yauzl";
import type { FileSystem, FoundFile, ServedFile } from "../../../host/handler";
import { closeFile, readFrom } from "./disk";

/** Most entries of an archive. More is a RangeError. */
const MAX_ENTRIES = 100000;
/** Bits of an entry's flags: encrypted, and strongly so. */
const ENCRYPTED = 0x41;
const STORED = 0;
const DEFLATED = 8;
/** Bytes of an entry's local head before its name (APPNOTE 4.3.7), and the offsets of two lengths in it. */
const LOCAL_BYTES = 30;
const LOCAL_SIGNATURE = 0x04034b50;
const NAME_LENGTH_AT = 26;
const EXTRA_LENGTH_AT = 28;
/** Bytes of gzip's head and trailer. */
const GZIP_HEAD = Uint8Array.of(0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff);
const GZIP_TRAILER = 8;
/** End of the name under which a deflated file is found in its gzip form. */
const GZIP_END = ".gz";
/** Bytes of the archive that are read at a time. */
const PIECE = 65536;

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, i) => {
  let c = i;
  for (let bit = 0; bit < 8; bit++) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1;
  return c;
});

/** Returns the CRC-32 of bytes that follow others. @param before that of the others, 0 at the beginning */
function crc32(before: number, bytes: Uint8Array): number {
  let c = ~before;
  for (const octet of bytes) c = (CRC_TABLE[(c ^ octet) & 0xff] as number) ^ (c >>> 8);
  return ~c >>> 0;
}

/** An entry of the archive's directory. */
interface Place {
  readonly method: number;
  readonly size: number;
  readonly packedSize: number;
  readonly crc: number;
  readonly modified: number;
  /** Offset of its local head. */
  readonly head: number;
}

/** Compares the bytes of a file that is read from its beginning to its end with its CRC-32. */
class Check {
  readonly #place: Place;
  #crc = 0;
  #at = 0;

  constructor(place: Place) {
    this.#place = place;
  }

  /** @throws Error after the last byte, when the CRC differs */
  add(start: number, bytes: Uint8Array): void {
    // A range is not checked, nor is a part that is read again.
    if (start !== this.#at) return;
    this.#crc = crc32(this.#crc, bytes);
    this.#at += bytes.length;
    if (this.#at === this.#place.size && this.#crc !== this.#place.crc)
      throw new Error("the file in the archive is broken: its CRC-32 differs");
  }
}

/** Inflates a file from its beginning on. */
class Inflation {
  readonly #stream: ReturnType<typeof createInflateRaw>;
  readonly #pieces: AsyncIterator<Uint8Array>;
  #rest: Uint8Array = new Uint8Array(0);
  /** Offset of the next byte. */
  at = 0;

  constructor(packed: AsyncIterable<Uint8Array>) {
    this.#stream = createInflateRaw();
    // A failure destroys the stream, so its reader gets the error.
    pipeline(Readable.from(packed), this.#stream, () => undefined);
    this.#pieces = this.#stream[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>;
  }

  /** Returns the next bytes, at most `most`; undefined at the end. */
  async next(most: number): Promise<Uint8Array | undefined> {
    while (this.#rest.length === 0) {
      const step = await this.#pieces.next();
      if (step.done) return undefined;
      this.#rest = step.value;
    }
    const bytes = this.#rest.subarray(0, most);
    this.#rest = this.#rest.subarray(bytes.length);
    this.at += bytes.length;
    return bytes;
  }

  end(): void {
    this.#stream.destroy();
  }
}

export class Archive implements FileSystem {
  readonly #fd: number;
  readonly #places: ReadonlyMap<string, Place>;
  readonly #folders: ReadonlySet<string>;
  /** Files that are open. The descriptor is closed after the last one. */
  #users = 1;

  private constructor(fd: number, places: ReadonlyMap<string, Place>) {
    this.#fd = fd;
    this.#places = places;
    const folders = new Set<string>();
    for (const name of places.keys())
      for (let at = name.lastIndexOf("/"); at > 0; at = name.lastIndexOf("/", at - 1)) {
        const folder = name.slice(0, at);
        if (folders.has(folder)) break;
        folders.add(folder);
      }
    this.#folders = folders;
  }

  /** Opens an archive, and reads its directory. @throws Error when that is broken; RangeError for too many entries */
  static async open(file: string): Promise<Archive> {
    const fd = await new Promise<number>((resolve, reject) => {
      fs.open(file, "r", (error, opened) => (error ? reject(error) : resolve(opened)));
    });
    try {
      return new Archive(fd, await readDirectory(fd));
    } catch (thrown) {
      closeFile(fd);
      throw thrown;
    }
  }

  open(path: string): FoundFile {
    const place = this.#places.get(path);
    if (place) return this.#plain(place);
    if (this.#folders.has(path)) return "folder";
    const packed = path.endsWith(GZIP_END) && this.#places.get(path.slice(0, -GZIP_END.length));
    return packed && packed.method === DEFLATED ? this.#gzip(packed) : undefined;
  }

  /** Closes the archive, once its files are closed. */
  close(): void {
    if (--this.#users === 0) closeFile(this.#fd);
  }

  #use(): () => void {
    this.#users++;
    let isOpen = true;
    return () => {
      if (isOpen) this.close();
      isOpen = false;
    };
  }

  /** Returns the offset of a file's bytes. */
  async #dataOf({ head, packedSize }: Place): Promise<number> {
    const bytes = Buffer.from((await readFrom(this.#fd, head, head + LOCAL_BYTES)).buffer);
    if (bytes.readUInt32LE(0) !== LOCAL_SIGNATURE || packedSize < 0)
      throw new Error("the file in the archive is broken: it has no local head");
    const lengths = bytes.readUInt16LE(NAME_LENGTH_AT) + bytes.readUInt16LE(EXTRA_LENGTH_AT);
    return head + LOCAL_BYTES + lengths;
  }

  #plain(place: Place): ServedFile {
    const { size, packedSize, modified, method, crc } = place;
    const close = this.#use();
    const etag = `${crc.toString(36)}-${size.toString(36)}-${packedSize.toString(36)}`;
    const check = new Check(place);
    if (method === STORED) {
      let data: Promise<number> | undefined;
      const read = async (start: number, end: number): Promise<Uint8Array> => {
        data ??= this.#dataOf(place);
        const from = await data;
        const bytes = await readFrom(this.#fd, from + start, from + end);
        check.add(start, bytes);
        return bytes;
      };
      return { size, modified, etag, read, close };
    }
    let inflation: Inflation | undefined;
    const read = async (start: number, end: number): Promise<Uint8Array> => {
      if (!inflation || inflation.at > start) {
        inflation?.end();
        inflation = new Inflation(this.#packed(place));
      }
      const bytes = new Uint8Array(end - start);
      for (let done = 0; done < bytes.length; ) {
        const skip = start - inflation.at;
        const piece = await inflation.next(skip > 0 ? Math.min(skip, PIECE) : bytes.length - done);
        if (!piece)
          throw new Error(`the file in the archive is broken: it has less than ${end} bytes`);
        check.add(inflation.at - piece.length, piece);
        if (skip > 0) continue;
        bytes.set(piece, done);
        done += piece.length;
      }
      if (end === size && (await inflation.next(1)))
        throw new Error(`the file in the archive is broken: it has more than ${size} bytes`);
      return bytes;
    };
    const end = (): void => {
      inflation?.end();
      close();
    };
    return { size, modified, etag, read, close: end };
  }

  /** Returns the deflated bytes of a file, piece by piece. */
  async *#packed(place: Place): AsyncGenerator<Uint8Array> {
    const from = await this.#dataOf(place);
    for (let at = 0; at < place.packedSize; at += PIECE)
      yield readFrom(this.#fd, from + at, from + Math.min(place.packedSize, at + PIECE));
  }

  #gzip(place: Place): ServedFile {
    const { packedSize, size, crc, modified } = place;
    const close = this.#use();
    const trailer = new Uint8Array(new Uint32Array([crc, size]).buffer);
    const total = GZIP_HEAD.length + packedSize + GZIP_TRAILER;
    const etag = `${crc.toString(36)}-${size.toString(36)}-${packedSize.toString(36)}`;
    let data: Promise<number> | undefined;
    const read = async (start: number, end: number): Promise<Uint8Array> => {
      data ??= this.#dataOf(place);
      const from = await data;
      const [first, last] = [GZIP_HEAD.length, GZIP_HEAD.length + packedSize];
      const bytes = new Uint8Array(end - start);
      if (start < first) bytes.set(GZIP_HEAD.subarray(start, end));
      const [inner, outer] = [Math.max(start, first), Math.min(end, last)];
      if (outer > inner) {
        const packed = await readFrom(this.#fd, from + inner - first, from + outer - first);
        bytes.set(packed, inner - start);
      }
      if (end > last) {
        const at = Math.max(start, last);
        bytes.set(trailer.subarray(at - last, end - last), at - start);
      }
      return bytes;
    };
    return { size: total, modified, etag, read, close };
  }
}

/** Returns the name of an entry as the path of a URL; undefined for one that has a second reading. */
function pathOf(entry: Entry): string | undefined {
  const raw = entry.fileName as unknown as Buffer;
  const name = getFileNameLowLevel(entry.generalPurposeBitFlag, raw, entry.extraFields, true);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are the characters to refuse
  const isOne = !/^\/|\/(?=\/)|(?:^|\/)\.\.?(?:\/|$)|[\0-\x1f\x7f\\]|\/$/.test(name);
  return isOne && name !== "" ? `/${name}` : undefined;
}

function placeOf(entry: Entry): Place | undefined {
  const { compressionMethod: method, generalPurposeBitFlag: flags } = entry;
  const { uncompressedSize: size, compressedSize: packedSize } = entry;
  if ((flags & ENCRYPTED) !== 0 || (method !== STORED && method !== DEFLATED)) return undefined;
  if (method === STORED && size !== packedSize) return undefined;
  if (!Number.isSafeInteger(size) || !Number.isSafeInteger(packedSize)) return undefined;
  const modified = entry.getLastModDate().getTime();
  return {
    ...{ method, size, packedSize, crc: entry.crc32 },
    modified: Number.isNaN(modified) ? 0 : modified,
    head: entry.relativeOffsetOfLocalHeader,
  };
}

/** Reads a file block by block, because the entries of a directory are read one by one, and are short. */
class BlockReader extends RandomAccessReader {
  readonly #fd: number;
  #block: Uint8Array = new Uint8Array(0);
  #at = 0;

  constructor(fd: number) {
    super();
    this.#fd = fd;
  }

  override read(
    buffer: Buffer,
    offset: number,
    length: number,
    position: number,
    callback: (error: Error | null, bytes: number) => void,
  ): void {
    const from = position - this.#at;
    if (from >= 0 && from + length <= this.#block.length) {
      buffer.set(this.#block.subarray(from, from + length), offset);
      callback(null, length);
      return;
    }
    const block = new Uint8Array(Math.max(length, PIECE));
    fs.read(this.#fd, block, 0, block.length, position, (error, n) => {
      if (error) return callback(error, 0);
      this.#block = block.subarray(0, n);
      this.#at = position;
      const bytes = this.#block.subarray(0, length);
      buffer.set(bytes, offset);
      callback(null, bytes.length);
    });
  }
}

/** Reads the directory of an archive. Of entries with the same name the last one counts. */
function readDirectory(fd: number): Promise<Map<string, Place>> {
  return new Promise((resolve, reject) => {
    const options = {
      lazyEntries: true,
      autoClose: false,
      decodeStrings: false,
      validateEntrySizes: false,
    } as const;
    const reader = new BlockReader(fd);
    fromRandomAccessReader(reader, fs.fstatSync(fd).size, options, (error, zip: ZipFile) => {
      if (error) return reject(error);
      if (zip.entryCount > MAX_ENTRIES)
        return reject(new RangeError(`${zip.entryCount} entries are more than ${MAX_ENTRIES}`));
      const places = new Map<string, Place>();
      zip.on("error", reject);
      zip.on("end", () => resolve(places));
      zip.on("entry", (entry: Entry) => {
        const path = pathOf(entry);
        const place = placeOf(entry);
        if (path !== undefined && place) places.set(path, place);
        zip.readEntry();
      });
      zip.readEntry();
    });
  });
}
