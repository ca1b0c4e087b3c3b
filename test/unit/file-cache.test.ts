// The cache of files: how long entries hold, and which ones are dropped when there is no room.

import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { FileSystem } from "../../host/handler";
import { FileCache, type Kept } from "../../worker/mount/cache";

const cache = suite("file cache");

/** Files of 1000 bytes, whose looks are counted by path. */
function counted(): { files: FileSystem; looks: Map<string, number>; version: { tag: string } } {
  const looks = new Map<string, number>();
  const version = { tag: "a" };
  const files: FileSystem = {
    open(path) {
      looks.set(path, (looks.get(path) ?? 0) + 1);
      if (path.startsWith("/none")) return undefined;
      const bytes = new Uint8Array(1000);
      return { size: 1000, modified: 0, etag: version.tag, read: () => bytes };
    },
  };
  return { files, looks, version };
}

/** Bytes that an entry of `counted` with a path of two characters counts, about. */
const ENTRY = 2036;

cache(
  "an entry holds for a second, then one look serves all requests, and bytes stay",
  async () => {
    let now = 0;
    const { files, looks, version } = counted();
    const kept = new FileCache(100000, () => now);
    const find = (): unknown => kept.find(files, "m", "/a", "client");
    const [one, same] = await Promise.all([find(), find()]);
    assert.is(one, same);
    assert.is(looks.get("/a"), 1);
    now = 999;
    assert.is(find(), one, "no promise");
    assert.is(kept.until, 1000);
    assert.ok(kept.isBefore(kept.until));
    now = 1000;
    assert.not.ok(kept.isBefore(kept.until));
    assert.is(await find(), one, "the entity tag is the same");
    assert.is(looks.get("/a"), 2);
    now = 2000;
    version.tag = "b";
    assert.is(((await find()) as Kept).etag, "b");
  },
);

cache(
  "entries that were used stay when there is no room, and bytes never exceed the limit",
  async () => {
    const { files, looks } = counted();
    const most = ENTRY * 4;
    const kept = new FileCache(most, () => 0);
    for (const path of ["/a", "/b", "/c"]) await kept.find(files, "m", path, "client");
    kept.find(files, "m", "/a", "client");
    for (const path of ["/d", "/e", "/f", "/g"]) {
      await kept.find(files, "m", path, "client");
      assert.ok(kept.bytes <= most, `${kept.bytes} bytes`);
      kept.find(files, "m", "/a", "client");
    }
    assert.is(looks.get("/a"), 1, "it was used again and again");
    await kept.find(files, "m", "/b", "client");
    assert.is(looks.get("/b"), 2, "it was dropped");
    for (let i = 0; i < 1000; i++) await kept.find(files, "m", `/none${i}`, "client");
    assert.ok(kept.bytes <= most, "names that a client makes up are not kept");
    assert.is(looks.get("/a"), 1);
  },
);

cache("a file that no cache has room for is served, and not kept", async () => {
  const { files, looks } = counted();
  const kept = new FileCache(500, () => 0);
  for (let i = 0; i < 3; i++)
    assert.is(((await kept.find(files, "m", "/a", "client")) as Kept).size, 1000);
  assert.equal([kept.bytes, looks.get("/a")], [0, 3]);
});

cache.run();
